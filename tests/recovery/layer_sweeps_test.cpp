// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cstring>
#include <string>

#include <ptq/execute/sweep.hpp>
#include <ptq/kernels/reference.hpp>
#include <ptq/lower/constants.hpp>
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
  sweep run(s.quantized, images(24), 24, table, cache);
  const auto layers =
      recovering::real_layers_of(s.real, s.quantized, images(24), 24, table, 1);
  const auto alone =
      quantization::rounded_for_inputs(s.quantized, layers, {.limit = limit}, run);
  CHECK(judge.error(alone) < 0.8 * corrected);
  CHECK(judge.error(rounded) < 0.9 * judge.error(alone));
}

TEST_CASE("small convolutions alone are rounded for what arrives there, and every bias is corrected") {
  const setting s;
  const recovering::held_back judge(s.real, kernels::reference_kernels(),
                                    recovering::chosen(images(40), {30, 31, 32, 33, 34, 35}), 1,
                                    1 << 20);
  const auto sweeps = s.sweeps(1 << 24, 1);
  const auto corrected = sweeps.corrected();
  const auto rounded = sweeps.rounded_where_small(limit);
  REQUIRE(rounded);
  check(*rounded);
  const auto constant = [](const graph& g, const std::string& layer, std::size_t port) {
    for (const auto& n : g.nodes)
      if (n.name == layer) return *g[n.inputs[port]].constant;
    FAIL("no layer " << layer);
    return tensor();
  };
  const auto same = [](const tensor& a, const tensor& b) {
    return a.byte_count() == b.byte_count() && std::memcmp(a.data(), b.data(), a.byte_count()) == 0;
  };
  // 27 and 12 numbers under the window; 108 are not few
  for (const char* small : {"a", "d"})
    CHECK_FALSE(same(constant(*rounded, small, 1), constant(s.quantized, small, 1)));
  for (const char* large : {"b", "c"}) {
    CHECK(same(constant(*rounded, large, 1), constant(s.quantized, large, 1)));
    CHECK_FALSE(same(constant(*rounded, large, 2), constant(s.quantized, large, 2)));
  }
  CHECK(judge.error(*rounded) < 0.95 * judge.error(corrected));
  CHECK(codes_of(*rounded) == codes_of(*s.sweeps(0, 2).rounded_where_small(limit)));

  // Weights that are codes already lose nothing: the network of dequantized weights is left.
  auto exact = s.real;
  for (const auto& layer : s.quantized.nodes)
    for (auto& n : exact.nodes)
      if (n.name == layer.name)
        exact[n.inputs[1]].constant = lowering::real_numbers(s.quantized[layer.inputs[1]]);
  CHECK_FALSE(recovering::layer_sweeps(exact, s.quantized, images(24), kernels::reference_kernels(),
                                       {.count = 24, .memory = 1 << 24})
                  .rounded_where_small(limit));

  network n;
  n.output(n.linear("only", n.input("x", {1, 8}), 8, 4));
  const auto real = n.done();
  const auto data = ptq_test::noise(4, {1, 8}, 0.3f);
  const auto& table = kernels::reference_kernels();
  CHECK_FALSE(recovering::layer_sweeps(real, quantize(real, table, data).network, data, table,
                                       {.count = 4, .memory = 1 << 20})
                  .rounded_where_small(limit));
}

TEST_CASE("rounding in sequence gives the same codes whatever the memory and the threads") {
  const setting s;
  const auto once = codes_of(s.sweeps(1 << 24, 1).rounded(limit));
  CHECK(once != codes_of(s.quantized));
  CHECK(once == codes_of(s.sweeps(0, 2).rounded(limit)));
}
