// SPDX-License-Identifier: Apache-2.0
// Programs in files: the same bits after loading, weights read where the file is mapped, and an error for whatever
// doesn't match.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <ptq/execute.hpp>
#include <ptq/fold.hpp>
#include <ptq/fuse.hpp>
#include <ptq/import.hpp>
#include <ptq/kernels/reference.hpp>
#include <ptq/lower.hpp>
#include <ptq/quantize.hpp>
#include <ptq/save.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#include <ptq/dispatch.hpp>
#endif

#include "quantize/network.hpp"
#include "support/data_dir.hpp"
#include "support/rare_steps.hpp"
#include "support/samples.hpp"
#include "support/temp_folder.hpp"

namespace {

using namespace ptq;
using ptq_test::network;
using ptq_test::temp_folder;
using ptq_test::text_of;

std::vector<const kernels::kernel_table*> tables() {
  std::vector<const kernels::kernel_table*> all{&kernels::reference_kernels()};
#ifdef PTQ_TEST_DISPATCH
  for (const auto* t : available_kernels()) all.push_back(t);
#endif
  return all;
}
const kernels::kernel_table& table() { return *tables()[tables().size() > 1 ? 1 : 0]; }

/// Every kind of integer convolution, with sums, a gate, a mean, a product and layers left in float.
graph small_network() {
  network n;
  const auto x = n.input("x", {1, 3, 16, 16});
  const auto a = n.conv("a", x, 3, 24, ptq_test::positive, 3);
  const auto b = n.conv("b", a, 24, 24, {}, 3);
  const auto sum = n.binary("sum", b, a, binary_kind::add, ptq_test::positive);
  op::conv depthwise;
  depthwise.groups = 24;
  depthwise.win.kernel = {3, 3};
  depthwise.win.pads = {1, 1, 1, 1};
  const auto d = n.add("d", depthwise, {sum, n.random("d.w", {24, 1, 3, 3}), n.random("d.b", {24})});
  const auto gate = n.unary("gate", n.conv("g", d, 24, 24), unary_kind::sigmoid);
  const auto gated = n.binary("gated", sum, gate, binary_kind::mul);
  n.output(n.linear("logits", n.flatten("flat", n.average("mean", gated)), 24, 10));
  return n.done();
}
graph quantized(const graph& g, int activation_bits = 8) {
  shape dims = g[g.inputs[0]].dims;
  for (auto& d : dims.dims) d = d < 0 ? 1 : d;
  quantize_options o;
  o.activations.bits = activation_bits;
  return quantize(g, table(), ptq_test::images(2, dims), o).network;
}

program savable(const graph& g, const kernels::kernel_table& t, bool keep_values = false, bool fast_float = true) {
  lower_options o;
  o.keep_values = keep_values;
  o.fast_float = fast_float;
  o.keep_recipes = true;
  return lower(g, t, o);
}

std::vector<tensor> inputs_of(const program& p, unsigned seed = 3) {
  std::vector<tensor> inputs;
  for (std::size_t i = 0; i < p.inputs.size(); ++i) {
    const auto& s = p.input(i);
    inputs.push_back(s.type == dtype::f32 ? ptq_test::normal(s.dims, seed) : tensor(s.type, s.dims));
  }
  return inputs;
}

execute_options on(int threads) {
  execute_options o;
  o.threads = threads;
  return o;
}

/// Whether both programs give the same bits on the same inputs, on one thread and on two.
bool same_outputs(const program& a, const program& b) {
  for (int threads : {1, 2}) {
    const auto x = inputs_of(a);
    const auto want = execute(a, x, on(threads)), have = execute(b, x, on(threads));
    if (want.size() != have.size()) return false;
    for (std::size_t i = 0; i < want.size(); ++i)
      if (want[i].dims() != have[i].dims() ||
          std::memcmp(want[i].data(), have[i].data(), want[i].byte_count()) != 0)
        return false;
  }
  return true;
}

/// x [5 1 6] → an LSTM, so that both its products can be on codes.
graph lstm_alone() {
  network n;
  op::recurrent lstm;
  using kind = op::cell_function::kind;
  lstm.functions = {{kind::sigmoid, 0, 0}, {kind::tanh, 0, 0}, {kind::tanh, 0, 0}};
  n.output(n.add("lstm", lstm, {n.input("x", {5, 1, 6}), n.random("w", {1, 32, 6}), n.random("r", {1, 32, 8})}));
  return n.done();
}

/// Two samples of numbers for every input; zeros where it takes integers.
samples samples_of(const graph& g) {
  return samples([&g](std::int64_t i) -> std::optional<sample> {
    if (i >= 2) return std::nullopt;
    sample s;
    for (auto id : g.inputs) {
      shape dims = g[id].dims;
      for (auto& d : dims.dims) d = d < 0 ? 1 : d;
      s.inputs.push_back({g[id].name, g[id].type == dtype::f32 ? ptq_test::normal(dims, static_cast<unsigned>(i) + 5)
                                                               : tensor(g[id].type, dims)});
    }
    return s;
  });
}

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

TEST_CASE("XXH64 gives the specification's values") {
  const auto hash = [](std::string_view s) { return hash_of(std::as_bytes(std::span(s.data(), s.size()))); };
  CHECK(hash("") == 0xEF46DB3751D8E999ULL);
  CHECK(hash("a") == 0xD24EC4F1A98C6E5BULL);
  CHECK(hash("abc") == 0x44BC2CF5AD770999ULL);
  CHECK(hash("xxhash") == 0x32DD38952C4BC720ULL);
  std::string text;
  for (int i = 0; i < 1000; ++i) text += static_cast<char>(i * 7);
  const auto whole = hash(text);
  for (std::size_t step : {1, 3, 31, 32, 33, 500}) {
    hasher h;
    for (std::size_t i = 0; i < text.size(); i += step) {
      const auto piece = std::string_view(text).substr(i, step);
      h.add(std::as_bytes(std::span(piece.data(), piece.size())));
    }
    CHECK(h.value() == whole);
  }
}

TEST_CASE("a loaded program has the bits of the saved one, with every table, in integers and in float") {
  const temp_folder folder;
  const auto file = folder.path() / "p.ptq";
  const graph real = small_network(), integer = quantized(real), wide = quantized(real, 16);
  for (const auto* t : tables())
    for (const auto* g : {&real, &integer, &wide})
      for (bool keep_values : {false, true})
        for (bool fast : {false, true}) {
          INFO(t->isa << (g == &real ? " float" : g == &wide ? " 16 bits" : " integer") << keep_values << fast);
          const auto p = savable(*g, *t, keep_values, fast);
          save_program(p, *t, file);
          const auto loaded = load_program(file, *t);
          CHECK(loaded.integer() == p.integer());
          CHECK(loaded.scratch_bytes == p.scratch_bytes);
          CHECK(loaded.notes == p.notes);
          CHECK(same_outputs(p, loaded));
        }
}

TEST_CASE("plain kernels, recurrent layers and bodies inside bodies are the same after loading") {
  const temp_folder folder;
  const auto file = folder.path() / "p.ptq";
  auto layers = ptq_test::recurrent_layers();
  const auto codes = quantize(infer(lstm_alone()), table(), ptq_test::images(4, {5, 1, 6})).network;
  REQUIRE(std::any_of(codes.values.begin(), codes.values.end(), [](const value& v) { return v.quant.has_value(); }));
  for (const auto* t : tables())
    for (const auto& g : {ptq_test::rare_kernels(), layers, codes, ptq_test::turns_in_a_branch()}) {
      INFO(t->isa << " " << g.nodes.back().name);
      const auto p = savable(g, *t);
      save_program(p, *t, file);
      const auto loaded = load_program(file, *t);
      CHECK(loaded.scratch_bytes == p.scratch_bytes);
      CHECK(loaded.arena_bytes == p.arena_bytes);
      CHECK(same_outputs(p, loaded));
    }
  // Both branches.
  const auto p = savable(ptq_test::turns_in_a_branch(), table());
  save_program(p, table(), file);
  const auto loaded = load_program(file, table());
  const auto x = tensor::from<float>({2}, {1.0f, 3.0f});
  CHECK(execute(loaded, std::vector{tensor::scalar(true), x})[0].view<float>()[1] == 24);
  CHECK(execute(loaded, std::vector{tensor::scalar(false), x})[0].view<float>()[1] == 4);
  CHECK(execute(loaded, std::vector{tensor::scalar(true), x})[1].view<float>()[4] == 4);
}

TEST_CASE("weights of a loaded program lie in the mapped file, and stay there while any copy lives") {
  const temp_folder folder;
  const auto file = folder.path() / "p.ptq";
  const graph narrow = quantized(small_network()), wide = quantized(small_network(), 16);
  for (const auto* t : tables())
    for (const auto* g : {&narrow, &wide}) {
      if (t == &kernels::reference_kernels()) continue;
      INFO(t->isa << (g == &wide ? " 16 bits" : ""));
      const auto p = savable(*g, *t);
      save_program(p, *t, file);
      const auto copy = [&] { return program(load_program(file, *t)); }();
      std::filesystem::remove(file);
      int packed = 0;
      for (std::size_t i = 0; i < p.steps.size(); ++i) {
        const auto &was = p.steps[i].kernel.packed, &is = copy.steps[i].kernel.packed;
        REQUIRE(was.bytes == is.bytes);
        if (was.bytes == 0) continue;
        ++packed;
        CHECK(reinterpret_cast<std::uintptr_t>(is.data) % tensor_alignment == 0);
        CHECK(std::memcmp(was.data, is.data, was.bytes) == 0);
      }
      CHECK(packed == 5);
      CHECK(same_outputs(p, copy));
    }
}

TEST_CASE("sessions of several threads share one loaded program") {
  const temp_folder folder;
  const auto p = savable(quantized(small_network()), table());
  save_program(p, table(), folder.path() / "p.ptq");
  const auto loaded = load_program(folder.path() / "p.ptq", table());
  const auto x = inputs_of(p);
  const auto want = execute(p, x)[0];
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      session s(loaded);
      for (int i = 0; i < 20; ++i)
        wrong += std::memcmp(s.run(x)[0].data(), want.data(), want.byte_count()) != 0;
    });
  for (auto& t : threads) t.join();
  CHECK(wrong == 0);
}

TEST_CASE("a program that does not match is refused with both values") {
  const temp_folder folder;
  const auto file = folder.path() / "p.ptq";
  const auto& t = kernels::reference_kernels();
  const auto p = savable(quantized(small_network()), t);
  save_program(p, t, file);
  const auto whole = bytes_of(file);

  auto other = t;
  other.isa = "another";
  CHECK(text_of<unsupported>([&] { load_program(file, other); }) ==
        "load: 'p.ptq': ISA: expected another, got reference: prepare it again");
  other = t;
  other.softmax = nullptr;
  CHECK(ptq_test::contains(text_of<unsupported>([&] { load_program(file, other); }), "kernel table: expected"));

  auto bytes = whole;
  bytes[8] = 8;
  CHECK(text_of<unsupported>([&] { load_program(folder.write("f", bytes), t); }) ==
        "load: 'f': format: expected 7, got 8");
  bytes = whole;
  const auto at = bytes.find(version);
  REQUIRE(at != std::string::npos);
  bytes[at] = '7';
  const auto hash = hash_of(std::as_bytes(std::span(bytes)).subspan(saving::hashed_from));
  std::memcpy(bytes.data() + 24, &hash, sizeof hash);
  CHECK(ptq_test::contains(text_of<unsupported>([&] { load_program(folder.write("v", bytes), t); }),
                           "version of the library: expected " + std::string(version) + ", got 7"));

  CHECK(ptq_test::contains(text_of<import_error>([&] { load_program(folder.write("c", whole.substr(0, 3000)), t); }),
                           "bytes: expected " + std::to_string(whole.size()) + ", got 3000"));
  CHECK(ptq_test::contains(text_of<import_error>([&] { load_program(folder.write("e", ""), t); }), "got 0"));
  CHECK(ptq_test::contains(text_of<import_error>([&] { load_program(folder.write("o", std::string(5000, 'x')), t); }),
                           "another kind of file"));
  CHECK(ptq_test::contains(text_of<io_error>([&] { load_program(folder.path() / "none", t); }), "expected a file"));
  CHECK_THROWS_AS(save_program(lower(small_network(), t), t, file), unsupported);
  other = t;
  other.isa = "another";
  CHECK_THROWS_AS(save_program(p, other, file), unsupported);
  CHECK_THROWS_AS(save_program(p, t, folder.path() / "no" / "such"), io_error);
  CHECK(bytes_of(file) == whole);  // what failed left it alone
}

TEST_CASE("the default models are the same after loading") {
  const temp_folder folder;
  for (const char* name : {"fashion_resnet", "fashion_mobilenet", "fashion_vit"}) {
    INFO(name);
    const auto g = quantized(fuse(fold(import_model(std::filesystem::path(PTQ_TEST_MODELS) / (std::string(name) + ".onnx")))));
    for (const auto* t : tables()) {
      if (t == &kernels::reference_kernels()) continue;
      INFO(t->isa);
      const auto p = savable(g, *t);
      save_program(p, *t, folder.path() / "p.ptq");
      CHECK(same_outputs(p, load_program(folder.path() / "p.ptq", *t)));
    }
  }
}

TEST_CASE("networks of the zoo are the same after loading" * doctest::skip(!ptq_test::data_dir())) {
  const temp_folder folder;
  // Together: every plain kernel that can be saved, 8-bit files, and layers left in float.
  for (const char* name : {"prequantized/mobilenet_v1_0.5_128_qdq_uint8", "prequantized/mobilenet_v2_torch_qlinear",
                           "cifar10/resnet20_cifar10", "face/yunet_s_320_320", "detection/nanodet_m_416",
                           "lm/stories260k_llama", "misc/magika_standard_v3_3"}) {
    INFO(name);
    const auto file = *ptq_test::data_dir() / "models" / (std::string(name) + ".onnx");
    const auto g = fuse(fold(import_model(file)));
    const auto p = savable(g, table(), false, false);
    save_program(p, table(), folder.path() / "p.ptq");
    CHECK(same_outputs(p, load_program(folder.path() / "p.ptq", table())));
  }
}

TEST_CASE("every model of the zoo can be saved, in integers and in float" * doctest::skip(!ptq_test::data_dir())) {
  const temp_folder folder;
  for (const char* name : {"audio/dtln_model_1", "audio/silero_vad_16k_op15", "cifar10/vit_pgd_2_3_16"}) {
    INFO(name);
    auto g = fuse(fold(import_model(*ptq_test::data_dir() / "models" / (std::string(name) + ".onnx"))));
    for (auto id : g.inputs)
      if (g[id].name == "input" && g[id].dims.rank() == 2) g[id].dims = {1, 576};  // samples of sound
    for (const auto& version : {g, quantize(g, table(), samples_of(g)).network}) {
      const auto p = savable(version, table());
      save_program(p, table(), folder.path() / "p.ptq");
      CHECK(same_outputs(p, load_program(folder.path() / "p.ptq", table())));
    }
  }
}
