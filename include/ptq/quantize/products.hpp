#pragma once
// SPDX-License-Identifier: Apache-2.0
// Products that take the factors of equalisation where nothing else can: y = x · 1 behind a GELU, a
// SiLU, a product of two activations and their like, and behind the network's inputs, before the layers
// that read it. Outliers of a few channels are the rule behind a GELU, which does not commute with
// factors; features and spectra come in all sizes. The product and what makes x run in float, so that
// codes are rounded once, behind them.

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <ptq/graph/graph.hpp>
#include <ptq/quantize/homogeneous.hpp>
#include <ptq/quantize/traits.hpp>

namespace ptq::quantization {

/// Axis of the layer's input that its input channels lie on; −1 if the node is no such layer.
inline int read_axis(const graph& g, const node& n, value_id x) {
  if (n.inputs.size() < 2 || n.inputs[0] != x || !g.constant_of(n.inputs[1])) return -1;
  if (std::holds_alternative<op::conv>(n.what)) return 1;
  const bool rows =
      std::holds_alternative<op::matmul>(n.what) || std::holds_alternative<op::recurrent>(n.what);
  return rows ? rank_of(g, x) - 1 : -1;
}

/// Axis of a constant that holds one factor for each channel; −1 if it holds anything else.
inline int factor_axis(const shape& dims) {
  int axis = -1;
  for (int i = 0; i < dims.rank(); ++i) {
    if (dims[i] == 1) continue;
    if (axis >= 0) return -1;
    axis = i;
  }
  return axis;
}

/// The channel axis of a value that could take a product: the layers that read it, maybe behind a move
/// of rows, agree on it, and nothing else reads it. −1 if it could not.
inline int product_axis(const graph& g, const uses& edges, value_id id) {
  int axis = -1;
  if (edges.is_output[static_cast<std::size_t>(id)]) return -1;
  for (const auto& c : edges.consumers[static_cast<std::size_t>(id)]) {
    const auto& n = g.nodes[static_cast<std::size_t>(c.node)];
    const bool moved = std::holds_alternative<op::reshape>(n.what) ||
                       std::holds_alternative<op::transpose>(n.what);
    const int a = moved ? rank_of(g, id) - 1 : read_axis(g, n, id);
    if (a < 0 || (axis >= 0 && a != axis)) return -1;
    axis = a;
  }
  return axis;
}

/// Whether an operator computes what factors don't pass through.
inline bool stops_factors(const graph& g, const node& n) {
  if (const auto* b = std::get_if<op::binary>(&n.what))
    return b->kind == binary_kind::mul && !g.constant_of(n.inputs[0]) && !g.constant_of(n.inputs[1]);
  const auto* f = std::get_if<op::unary>(&n.what);
  return f && f->kind != unary_kind::relu && f->kind != unary_kind::leaky_relu &&
         traits_of(g, n).what == trait::lookup;
}

/// A product by ones behind every value that factors can't be folded into; names end in _scaled.
inline graph with_products(graph g) {
  const uses edges(g);
  std::vector<node> nodes;
  const auto insert = [&](value_id x) {
    const int axis = g[x].type == dtype::f32 ? product_axis(g, edges, x) : -1;
    const auto channels = axis < 0 ? unknown : extent_of(g, x, axis);
    if (channels < 2) return;
    std::vector<std::int64_t> dims(static_cast<std::size_t>(rank_of(g, x) - axis), 1);
    dims[0] = channels;
    tensor ones(dtype::f32, shape(dims));
    std::ranges::fill(ones.mutable_view<float>(), 1.0f);
    const auto factors = g.add_constant(g[x].name + "_factors", std::move(ones));
    value y = g[x];
    y.name += "_scaled";
    const auto scaled = g.add(std::move(y));
    for (const auto& c : edges.consumers[static_cast<std::size_t>(x)]) {
      const auto reader = static_cast<std::size_t>(c.node);  // behind: not moved yet
      g.nodes[reader].inputs[static_cast<std::size_t>(c.port)] = scaled;
    }
    nodes.push_back({g[scaled].name, op::binary{.kind = binary_kind::mul, .act = {}}, {x, factors},
                     {scaled}, ""});
  };
  for (auto x : g.inputs)
    if (!g[x].constant) insert(x);
  for (auto& n : g.nodes) {
    const bool stops = stops_factors(g, n);
    nodes.push_back(std::move(n));
    if (stops) insert(nodes.back().outputs[0]);
  }
  g.nodes = std::move(nodes);
  return g;
}

/// Without the products of with_products whose factors are all 1.
inline graph without_ones(graph g) {
  std::vector<value_id> instead(g.values.size());
  for (std::size_t i = 0; i < instead.size(); ++i) instead[i] = static_cast<value_id>(i);
  std::vector<node> nodes;
  for (auto& n : g.nodes) {
    for (auto& id : n.inputs)
      if (id != none) id = instead[static_cast<std::size_t>(id)];
    const auto* b = std::get_if<op::binary>(&n.what);
    const auto* ones = b && b->kind == binary_kind::mul && g[n.outputs[0]].name == n.name &&
                               n.name.ends_with("_scaled")
                           ? g.constant_of(n.inputs[1])
                           : nullptr;
    const bool drop = ones && std::ranges::all_of(ones->view<float>(), [](float f) { return f == 1; });
    if (drop)
      instead[static_cast<std::size_t>(n.outputs[0])] = n.inputs[0];
    else
      nodes.push_back(std::move(n));
  }
  g.nodes = std::move(nodes);
  return pruned(std::move(g));
}

}  // namespace ptq::quantization
