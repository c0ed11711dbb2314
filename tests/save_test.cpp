// SPDX-License-Identifier: Apache-2.0
// Programs in files: the same bits after loading, weights read where the file is mapped, and an error for whatever
// doesn't match.
#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
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
graph quantized(const graph& g) {
  shape dims = g[g.inputs[0]].dims;
  for (auto& d : dims.dims) d = d < 0 ? 1 : d;
  return quantize(g, table(), ptq_test::images(2, dims)).network;
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
  const graph real = small_network(), integer = quantized(real);
  for (const auto* t : tables())
    for (const auto* g : {&real, &integer})
      for (bool keep_values : {false, true})
        for (bool fast : {false, true}) {
          INFO(t->isa << (g == &integer ? " integer" : " float") << keep_values << fast);
          const auto p = savable(*g, *t, keep_values, fast);
          save_program(p, *t, file);
          const auto loaded = load_program(file, *t);
          CHECK(loaded.integer() == p.integer());
          CHECK(loaded.scratch_bytes == p.scratch_bytes);
          CHECK(loaded.notes == p.notes);
          CHECK(same_outputs(p, loaded));
        }
}

TEST_CASE("weights of a loaded program lie in the mapped file, and stay there while any copy lives") {
  const temp_folder folder;
  const auto file = folder.path() / "p.ptq";
  const auto g = quantized(small_network());
  for (const auto* t : tables()) {
    if (t == &kernels::reference_kernels()) continue;
    INFO(t->isa);
    const auto p = savable(g, *t);
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
  bytes[8] = 2;
  CHECK(text_of<unsupported>([&] { load_program(folder.write("f", bytes), t); }) ==
        "load: 'f': format: expected 1, got 2");
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
  const auto recurrent = fuse(fold(import_model(*ptq_test::data_dir() / "models/audio/dtln_model_1.onnx")));
  CHECK(ptq_test::contains(
      text_of<unsupported>([&] { save_program(savable(recurrent, table()), table(), folder.path() / "r.ptq"); }),
      "kernel 'recurrence'"));
}
