// SPDX-License-Identifier: Apache-2.0
// Whole models: the bits of the reference table, one sample on one thread, are those of every table that this CPU runs,
// of any number of threads, and of any split of a batch.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <ptq/execute.hpp>
#include <ptq/fold.hpp>
#include <ptq/fuse.hpp>
#include <ptq/import.hpp>
#include <ptq/kernels/reference.hpp>
#include <ptq/lower.hpp>
#include <ptq/quantize.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#include <ptq/dispatch.hpp>
#endif

#include "support/data_dir.hpp"
#include "support/samples.hpp"

namespace {

using namespace ptq;

std::vector<const kernels::kernel_table*> tables() {
  std::vector<const kernels::kernel_table*> all;
#ifdef PTQ_TEST_DISPATCH
  for (const auto* t : available_kernels()) all.push_back(t);
#else
  all.push_back(&kernels::reference_kernels());
#endif
  return all;
}

/// One sample's tensors for the inputs of a graph: numbers, bytes, or zeros, which are valid indices.
std::vector<tensor> sample_of(const graph& g, unsigned seed) {
  std::vector<tensor> x;
  for (auto id : g.inputs) {
    shape dims = g[id].dims;
    for (auto& d : dims.dims) d = d < 0 ? 1 : d;
    if (g[id].type == dtype::f32) {
      x.push_back(ptq_test::normal(dims, seed++));
      continue;
    }
    tensor t(g[id].type, dims);
    if (t.type() == dtype::u8)
      for (unsigned i = seed; auto& v : t.mutable_view<std::uint8_t>()) v = static_cast<std::uint8_t>((i += 7) * 13);
    x.push_back(std::move(t));
  }
  return x;
}

/// Free axes but the first, which is the batch, get `extent`.
graph imported(const std::filesystem::path& file, std::int64_t extent = 1) {
  auto g = fuse(fold(import_model(file)));
  for (auto id : g.inputs) {
    auto& v = g[id];
    for (std::size_t i = 1; i < v.dims.dims.size(); ++i)
      if (v.dims.dims[i] < 0) v.dims.dims[i] = i < v.dim_names.size() && v.dim_names[i] == "batch" ? 1 : extent;
  }
  return g;
}

graph quantized(const graph& g) {
  for (const auto& v : g.values)
    if (v.quant) return g;  // it is already
  const samples data([&g](std::int64_t i) -> std::optional<sample> {
    if (i >= 2) return std::nullopt;
    sample s;
    for (std::size_t k = 0; auto& t : sample_of(g, 20 + static_cast<unsigned>(i)))
      s.inputs.push_back({g[g.inputs[k++]].name, std::move(t)});
    return s;
  });
  return quantize(g, *tables().front(), data).network;
}

program lowered(const graph& g, const kernels::kernel_table& t, std::int64_t batch = 1) {
  lower_options o;
  o.fast_float = false;
  for (auto id : g.inputs) {
    shape dims = g[id].dims;
    for (auto& d : dims.dims) d = d < 0 ? 1 : d;
    if (dims.rank() > 0 && g[id].dims[0] < 0) dims[0] = batch;
    o.input_shapes.emplace_back(g[id].name, std::move(dims));
  }
  return lower(g, t, o);
}

std::vector<tensor> run(const program& p, const std::vector<tensor>& x, int threads) {
  execute_options o;
  o.threads = threads;
  return execute(p, x, o);
}

bool same_bytes(const std::vector<tensor>& a, const std::vector<tensor>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const tensor& l, const tensor& r) {
    return l.dims() == r.dims() && std::memcmp(l.data(), r.data(), l.byte_count()) == 0;
  });
}

/// Every table and number of threads against the reference.
void check_tables(const graph& g, unsigned seed) {
  const auto x = sample_of(g, seed);
  const auto want = run(lowered(g, kernels::reference_kernels()), x, 1);
  for (const auto* t : tables()) {
    const auto p = lowered(g, *t);
    for (int threads : {1, 2, 3}) {
      INFO(t->isa << ", " << threads << " threads");
      CHECK(same_bytes(run(p, x, threads), want));
    }
  }
}

/// `samples` runs at once, and in parts of each size, against one after the other. The first axis of inputs and outputs
/// is the batch.
void check_batches(const graph& g, std::int64_t samples) {
  for (const auto* t : tables()) {
    std::vector<std::vector<tensor>> x, want;
    const auto single = lowered(g, *t);
    for (std::int64_t i = 0; i < samples; ++i) {
      x.push_back(sample_of(g, 300 + 10 * static_cast<unsigned>(i)));
      want.push_back(run(single, x.back(), 1));
    }
    const auto joined = [](const std::vector<std::vector<tensor>>& all, std::size_t first, std::size_t count) {
      std::vector<tensor> out;
      for (std::size_t k = 0; k < all[first].size(); ++k) {
        shape dims = all[first][k].dims();
        dims[0] *= static_cast<std::int64_t>(count);
        tensor whole(all[first][k].type(), dims);
        for (std::size_t i = 0; i < count; ++i) {
          const auto& part = all[first + i][k];
          std::memcpy(whole.mutable_data() + i * part.byte_count(), part.data(), part.byte_count());
        }
        out.push_back(std::move(whole));
      }
      return out;
    };
    for (std::size_t size = 2; size <= x.size(); ++size) {
      const auto p = lowered(g, *t, static_cast<std::int64_t>(size));
      for (std::size_t first = 0; first + size <= x.size(); first += size)
        for (int threads : {1, 3}) {
          INFO(t->isa << ", batch of " << size << " from " << first << ", " << threads << " threads");
          CHECK(same_bytes(run(p, joined(x, first, size), threads), joined(want, first, size)));
        }
    }
  }
}

}  // namespace

TEST_CASE("the default models have the same bits for every table, number of threads and split of a batch") {
  for (const char* name : {"fashion_resnet", "fashion_mobilenet", "fashion_vit"}) {
    INFO(name);
    const auto real = imported(std::filesystem::path(PTQ_TEST_MODELS) / (std::string(name) + ".onnx"));
    const auto g = quantized(real);
    REQUIRE(lowered(g, kernels::reference_kernels()).integer());
    check_tables(g, 100);
    check_batches(g, 5);
    // Float programs without fast_float keep to the same specification.
    check_tables(real, 110);
  }
}

TEST_CASE("networks of the zoo have the same bits for every table, number of threads and split of a batch" *
          doctest::skip(!ptq_test::data_dir())) {
  const auto models = *ptq_test::data_dir() / "models";
  // Between them: look-ups, gates, several outputs, bytes in, integers that came quantized, recurrent layers, an If,
  // attention, embeddings.
  const std::pair<const char*, std::int64_t> single[] = {
      {"imagenet/mobilenet_v1_0.25_224_keras", 1}, {"mlperf_tiny/kws_dscnn_deq", 1}, {"cifar10/resnet20_cifar10", 1},
      {"face/yunet_s_320_320", 1}, {"face/blazeface_front_128x128", 1}, {"audio/dtln_model_1", 1},
      {"audio/silero_vad_16k_op15", 576}, {"lm/stories260k_llama", 24},
      {"prequantized/mobilenet_v1_0.5_128_qdq_uint8", 1}};
  for (const auto& [name, extent] : single) {
    INFO(name);
    check_tables(quantized(imported(models / (std::string(name) + ".onnx"), extent)), 200);
  }
  // A free first axis.
  for (const char* name : {"cifar10/vit_pgd_2_3_16", "ocr/ch_PP-OCRv4_rec_infer", "misc/magika_standard_v3_3"}) {
    INFO(name);
    const auto g = quantized(imported(models / (std::string(name) + ".onnx"), 64));
    check_tables(g, 210);
    check_batches(g, 3);
  }
}
