// SPDX-License-Identifier: Apache-2.0
// Recurrent layers in integers, and where they stay in float.

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include <ptq/quantize.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#endif

#include "residual.hpp"
#include "support/noise.hpp"

namespace {

using namespace ptq;
using kind = op::cell_function::kind;

samples frames() { return ptq_test::noise(12, {5, 1, 6}, 0.2f); }

/// x [5, 1, 6] → LSTM of 8 → 3 numbers for each step
graph listener() {
  ptq_test::network n;
  op::recurrent lstm;
  lstm.hidden = 8;
  lstm.functions = {{.what = kind::sigmoid}, {.what = kind::tanh}, {.what = kind::tanh}};
  const auto y = n.add("lstm", lstm,
                       {n.input("x", {5, 1, 6}), n.random("w", {1, 32, 6}), n.random("r", {1, 32, 8})});
  n.output(n.linear("y", y, 8, 3));
  return n.done();
}

quantize_options fast() {
  quantize_options o;
  o.correction = bias_correction::none;
  return o;
}

const node& lstm_of(const graph& g) {
  return *std::ranges::find_if(g.nodes, [](const node& n) {
    return std::holds_alternative<op::recurrent>(n.what);
  });
}

bool integer(const graph& g) {
  const auto& n = lstm_of(g);
  return g[n.inputs[0]].quant && g[n.inputs[1]].quant && g[n.inputs[2]].quant;
}

}  // namespace

TEST_CASE("a recurrent layer multiplies codes of 8 bits") {
  const auto g = listener();
  const auto made = quantize(g, kernels::reference_kernels(), frames(), fast()).network;
  CHECK(integer(made));
  CHECK(ptq_test::sqnr(g, made, frames()) > 18);
}

TEST_CASE("asked for codes that it has no kernel for, a recurrent layer stays in float and says so") {
  const auto g = listener();
  const auto narrow = quantize(g, kernels::reference_kernels(), frames(), fast()).network;
  auto wide_weights = fast(), wide = fast(), float8 = fast();
  wide_weights.weights.bits = 16;
  wide.activations.bits = 16;
  float8.mode = quantize_mode::fp8_e4m3;
  for (const auto& o : {wide_weights, wide, float8}) {
    const auto made = quantize(g, kernels::reference_kernels(), frames(), o).network;
    CHECK_FALSE(integer(made));
    CHECK(lstm_of(made).note == "recurrent layers have kernels of 8-bit integers alone");
  }
  const auto made = quantize(g, kernels::reference_kernels(), frames(), wide_weights).network;
  CHECK(ptq_test::sqnr(g, made, frames()) > ptq_test::sqnr(g, narrow, frames()));
}
