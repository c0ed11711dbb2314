// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <string>

#include <ptq/execute/sweep.hpp>
#include <ptq/kernels/reference.hpp>
#include <ptq/quantize.hpp>
#include <ptq/recovery/held_back.hpp>
#include <ptq/recovery/layer_sweeps.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#endif

#include "quantize/network.hpp"
#include "support/noise.hpp"

namespace {

using namespace ptq;
using ptq_test::network;
using ptq_test::positive;

samples images(std::int64_t count) { return ptq_test::noise(count, {1, 3, 10, 10}, 0.3f); }

/// Four layers, of which each hands its errors to the next.
graph chain() {
  network n;
  auto x = n.conv("a", n.input("x", {1, 3, 10, 10}), 3, 12, positive, 3);
  x = n.conv("b", x, 12, 12, positive, 3);
  x = n.conv("c", x, 12, 12, positive, 3);
  n.output(n.conv("d", x, 12, 6));
  return n.done();
}

struct setting {
  graph real = chain(), quantized;
  setting() {
    quantize_options o;
    o.weights.bits = 4;
    quantized = quantize(real, kernels::reference_kernels(), images(24), o).network;
  }
  recovering::layer_sweeps sweeps(std::size_t memory, int threads) const {
    return {real, quantized, images(24), kernels::reference_kernels(),
            {.count = 24, .memory = memory, .threads = threads}};
  }
};

constexpr int limit = 7;  // 4 bits

/// Weights and biases of every layer.
std::string codes_of(const graph& g) {
  std::string all;
  for (const auto& n : g.nodes)
    for (auto id : n.inputs)
      if (id != none && g[id].constant) {
        const auto& t = *g[id].constant;
        all.append(reinterpret_cast<const char*>(t.data()), t.byte_count());
        for (float s : g[id].quant->scale) all += std::to_string(s) + " ";
      }
  return all;
}

}  // namespace

TEST_CASE("layers rounded for the float network's outputs make up for those before them") {
  const setting s;
  const recovering::held_back judge(s.real, kernels::reference_kernels(),
                                    recovering::chosen(images(40), {30, 31, 32, 33, 34, 35}), 1,
                                    1 << 20);
  const auto sweeps = s.sweeps(1 << 24, 1);
  const double plain = judge.error(s.quantized), corrected = judge.error(sweeps.corrected());
  const auto rounded = sweeps.rounded(limit);
  check(rounded);
  CHECK(corrected < plain);
  // The same without the float network's inputs beside: each layer for itself.
  const auto& table = kernels::reference_kernels();
  activation_cache cache(1 << 24);
  sweep run(s.quantized, images(24), 24, table, cache), none_beside = run;
  quantization::real_inputs nothing(s.real, quantization::real_layers{}, none_beside);
  const auto layers =
      recovering::real_layers_of(s.real, s.quantized, images(24), 24, table, 1);
  const auto alone =
      quantization::rounded_for_inputs(s.quantized, layers, limit, run, nothing);
  CHECK(judge.error(alone) < 0.8 * corrected);
  CHECK(judge.error(rounded) < 0.9 * judge.error(alone));
}

TEST_CASE("rounding in sequence gives the same codes whatever the memory and the threads") {
  const setting s;
  const auto once = codes_of(s.sweeps(1 << 24, 1).rounded(limit));
  CHECK(once != codes_of(s.quantized));
  CHECK(once == codes_of(s.sweeps(0, 2).rounded(limit)));
}
