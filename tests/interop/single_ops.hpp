#pragma once
// SPDX-License-Identifier: Apache-2.0
// Networks of one quantized operator each, with random weights, quantized by the library's own
// rules. Another runtime is fed the same input and has to come to the same codes.

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <ptq/ptq.hpp>

#include "quantize/network.hpp"

namespace ptq_interop {

using namespace ptq;
using ptq_test::network;

/// One operator, and what ONNX Runtime may call its integer form ("": it has none).
struct single_op {
  std::string name;
  graph network;                   // float
  std::vector<std::string> fused;  // any of these
  bool shared_grid = false;        // source and destination have one scale (movers, pools)
};

inline constexpr std::int64_t side = 20;

inline op::conv spatial(std::int64_t k, std::int64_t stride, std::int64_t groups, clamp act) {
  op::conv c;
  c.act = act;
  c.groups = groups;
  c.win.kernel = {k, k};
  c.win.strides = {stride, stride};
  c.win.dilations = {1, 1};
  c.win.pads = op::ints(4, k / 2);
  return c;
}

/// x [1,16,20,20] → conv → y
inline single_op conv_case(const std::string& name, const op::conv& c, std::int64_t out) {
  network n;
  const auto x = n.input("x", {1, 16, side, side});
  const auto k = c.win.kernel[0];
  n.output(n.add("y", c, {x, n.random("w", {out, 16 / c.groups, k, k}), n.random("b", {out})}));
  return {name, n.done(), {"QLinearConv"}};
}

/// relu(conv(x) + r): the residual block's end
inline single_op residual_case() {
  network n;
  const auto x = n.input("x", {1, 16, side, side});
  const auto r = n.input("r", {1, 16, side, side});
  const auto c =
      n.add("c", spatial(3, 1, 1, {}), {x, n.random("w", {16, 16, 3, 3}), n.random("b", {16})});
  n.output(n.binary("y", c, r, binary_kind::add, ptq_test::positive));
  return {"conv_add_relu", n.done(), {"QLinearAdd"}};
}

inline single_op gemm_case() {
  network n;
  n.output(n.linear("y", n.input("x", {7, 96}), 96, 40));
  return {"gemm", n.done(), {"QGemm", "QLinearMatMul"}};
}

inline single_op product_case() {
  network n;
  const auto a = n.input("a", {3, 24, 32}), b = n.input("b", {3, 32, 24});
  n.output(n.product("y", a, b));
  return {"matmul", n.done(), {"QLinearMatMul"}};
}

inline single_op binary_case(const std::string& name, binary_kind kind, const std::string& fused) {
  network n;
  const auto a = n.input("a", {1, 16, side, side}), b = n.input("b", {1, 16, side, side});
  n.output(n.binary("y", a, b, kind));
  return {name, n.done(), {fused}};
}

inline single_op unary_case(const std::string& name, unary_kind kind,
                            std::vector<std::string> fused) {
  network n;
  n.output(n.unary("y", n.input("x", {1, 16, side, side}), kind));
  return {name, n.done(), std::move(fused)};
}

inline single_op concat_case() {
  network n;
  const auto a = n.input("a", {1, 16, side, side}), b = n.input("b", {1, 8, side, side});
  n.output(n.add("y", op::concat{.axis = 1}, {a, b}));
  return {"concat", n.done(), {"QLinearConcat", "Concat"}, true};
}

inline single_op pool_case(const std::string& name, const op::pool& p,
                           std::vector<std::string> fused) {
  network n;
  n.output(n.add("y", p, {n.input("x", {1, 16, side, side})}));
  return {name, n.done(), std::move(fused), p.kind == pool_kind::max};
}

inline std::vector<single_op> single_ops() {
  op::pool average{.kind = pool_kind::average, .win = {}};
  average.win.kernel = {3, 3};
  average.win.strides = {2, 2};
  average.win.dilations = {1, 1};
  average.win.pads = {1, 1, 1, 1};
  op::pool largest = average;
  largest.kind = pool_kind::max;
  std::vector<single_op> all;
  all.push_back(conv_case("conv_3x3_stride_2_relu", spatial(3, 2, 1, ptq_test::positive), 24));
  all.push_back(conv_case("conv_1x1", spatial(1, 1, 1, {}), 40));
  all.push_back(conv_case("conv_5x5_two_groups_relu6", spatial(5, 1, 2, {0, 6}), 8));
  all.push_back(conv_case("conv_3x3_depthwise_relu6", spatial(3, 1, 16, {0, 6}), 16));
  all.push_back(residual_case());
  all.push_back(gemm_case());
  all.push_back(product_case());
  all.push_back(binary_case("add", binary_kind::add, "QLinearAdd"));
  all.push_back(binary_case("mul", binary_kind::mul, "QLinearMul"));
  all.push_back(concat_case());
  all.push_back(pool_case("average_pool", average, {"QLinearAveragePool"}));
  all.push_back(pool_case("global_average_pool",
                          {.kind = pool_kind::average, .win = {}, .global = true},
                          {"QLinearGlobalAveragePool"}));
  all.push_back(pool_case("max_pool", largest, {"MaxPool"}));
  all.push_back(unary_case("sigmoid", unary_kind::sigmoid, {"QLinearSigmoid"}));
  all.push_back(unary_case("tanh", unary_kind::tanh, {}));
  all.push_back(unary_case("hard_swish", unary_kind::hard_swish, {}));
  return all;
}

/// Standard normal inputs.
inline sample random_sample(const graph& g, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> d;
  sample s;
  for (auto id : g.inputs) {
    tensor t(dtype::f32, g[id].dims);
    for (auto& x : t.mutable_view<float>()) x = d(random);
    s.inputs.push_back({g[id].name, std::move(t)});
  }
  return s;
}

/// Every value of the float graph that has no grid yet gets one for its range. The stages leave a
/// network's outputs real, and an operator whose result is real has no codes to compare.
inline graph with_grids(graph g, const graph& real, const std::vector<sample>& data, bool shared) {
  std::map<std::string, value_range, std::less<>> ranges;
  runner run(real, kernels::reference_kernels(), {.keep_values = true});
  const tap_function tap = [&](const tapped& t) {
    const auto values = t.real();
    const auto [low, high] = std::ranges::minmax(values.view<float>());
    auto [at, fresh] = ranges.try_emplace(std::string(t.value), value_range{low, high});
    if (!fresh) at->second = joined(at->second, {low, high});
  };
  for (const auto& s : data) run.run(s, tap);
  value_range all = ranges.begin()->second;
  for (const auto& [name, r] : ranges) all = joined(all, r);
  for (auto& v : g.values)
    if (!v.constant && !v.quant && v.type == dtype::f32)
      v.quant =
          quantization::activation_params(shared ? all : ranges.at(v.name), false, {}, v.name);
  return g;
}

/// The operator on 8-bit codes, as it is exported.
inline graph quantized(const single_op& one) {
  std::vector<sample> data;
  for (std::uint32_t seed = 1; seed <= 8; ++seed) data.push_back(random_sample(one.network, seed));
  graph g = one.network;
  const bool weighted = one.network.values.size() > one.network.inputs.size() + 1;
  if (weighted)
    g = quantize(g, kernels::reference_kernels(), [&](std::int64_t i) -> std::optional<sample> {
          const auto at = static_cast<std::size_t>(i);
          return at < data.size() ? std::optional(data[at]) : std::nullopt;
        }).network;
  return with_grids(std::move(g), one.network, data, one.shared_grid);
}

}  // namespace ptq_interop
