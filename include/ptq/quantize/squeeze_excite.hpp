#pragma once
// SPDX-License-Identifier: Apache-2.0
// Squeeze-and-excite blocks, found by structure:
//
//   x → mean over the plane → linear → activation → linear → gate → · x
//
// The gate scales whole channels, so an error in it is an error of every pixel, and its few
// multiplications cost nothing in float: NNCF's rule, which keeps MobileNetV3 and EfficientNet
// accurate. The mean and the product stay quantizable.

#include <cstdint>
#include <optional>
#include <vector>

#include <ptq/graph/graph.hpp>
#include <ptq/quantize/traits.hpp>

namespace ptq::quantization {

/// Marks the nodes between the mean and the product of every squeeze-and-excite block.
inline std::vector<bool> squeeze_excite_nodes(const graph& g,
                                              const std::vector<node_traits>& traits,
                                              const uses& edges) {
  std::vector<bool> marked(g.nodes.size());
  const auto producer = [&](value_id id) { return edges.producer[static_cast<std::size_t>(id)]; };
  const auto at = [&](std::int32_t n) -> const node& {
    return g.nodes[static_cast<std::size_t>(n)];
  };
  const auto kind = [&](std::int32_t n) { return traits[static_cast<std::size_t>(n)].what; };
  const auto gates = [&](std::int32_t n) {
    const auto* u = std::get_if<op::unary>(&at(n).what);
    return u && (u->kind == unary_kind::sigmoid || u->kind == unary_kind::hard_sigmoid);
  };
  // Walks from the gate up to the mean; nothing on the way may be read by others.
  const auto inner = [&](value_id gate) -> std::optional<std::vector<std::int32_t>> {
    std::vector<std::int32_t> path;
    int linear = 0;
    bool gated = false;
    for (value_id id = gate; producer(id) >= 0; id = at(producer(id)).inputs[0]) {
      const auto n = producer(id);
      const auto k = kind(n);
      if (k == trait::average)
        return gated && linear >= 1 && linear <= 2 ? std::optional(path) : std::nullopt;
      if (!edges.single_consumer(id)) return std::nullopt;
      if (k == trait::weighted)
        ++linear;
      else if (k == trait::lookup)
        gated = gated || (linear == 0 && gates(n));
      else if (k != trait::mover || std::holds_alternative<op::pool>(at(n).what))
        return std::nullopt;
      path.push_back(n);
    }
    return std::nullopt;
  };
  for (std::size_t n = 0; n < g.nodes.size(); ++n) {
    const auto* b = std::get_if<op::binary>(&g.nodes[n].what);
    if (!b || b->kind != binary_kind::mul || traits[n].what != trait::elementwise) continue;
    for (auto side : g.nodes[n].inputs)
      if (const auto path = inner(side))
        for (auto i : *path) marked[static_cast<std::size_t>(i)] = true;
  }
  return marked;
}

}  // namespace ptq::quantization
