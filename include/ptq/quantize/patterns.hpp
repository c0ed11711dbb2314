#pragma once
// SPDX-License-Identifier: Apache-2.0
// Parts of a network that stay in float wherever they occur, found by structure:
//
//   post-processing   what lies between the last layers and the outputs, on a way through TopK: codes
//                     there would order boxes by rounded scores
//   attention         softmax → movers → product with the values; of transformers only. Its rows add
//                     up to one, and most of their numbers lie below half a step
// Squeeze-and-excite blocks are in squeeze_excite.hpp. Spelled-out normalisations, hard-swish and the
// like need no rule: fuse has made one node of them, and a factor or summand that is constant keeps
// its node in float. Source: NNCF's ignored patterns and post-processing rule.

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include <ptq/graph/graph.hpp>
#include <ptq/quantize/scheme.hpp>
#include <ptq/quantize/traits.hpp>

namespace ptq::quantization {

/// Marks the nodes between the last layers with weights and the outputs that a TopK has a part in.
inline std::vector<bool> post_processing_nodes(const graph& g,
                                               const std::vector<node_traits>& traits,
                                               const uses& edges) {
  const auto u = [](std::int32_t i) { return static_cast<std::size_t>(i); };
  const std::size_t count = g.nodes.size();
  std::vector<bool> behind(count), above(count), below(count), marked(count);
  // From the outputs up to the layers.
  for (std::size_t n = count; n-- > 0;) {
    bool reached = false;
    for (auto id : g.nodes[n].outputs) {
      if (id == none) continue;
      reached = reached || edges.is_output[u(id)];
      for (const auto& c : edges.consumers[u(id)]) {
        reached = reached || behind[u(c.node)];
        above[n] = above[n] || above[u(c.node)];
      }
    }
    behind[n] = reached && traits[n].what != trait::weighted;
    above[n] = behind[n] && (above[n] || std::holds_alternative<op::top_k>(g.nodes[n].what));
  }
  for (std::size_t n = 0; n < count; ++n) {
    if (!behind[n]) continue;
    below[n] = std::holds_alternative<op::top_k>(g.nodes[n].what);
    for (auto id : g.nodes[n].inputs)
      if (id != none && edges.producer[u(id)] >= 0)
        below[n] = below[n] || below[u(edges.producer[u(id)])];
    marked[n] = above[n] || below[n];
  }
  return marked;
}

/// Marks products of two activations whose left side is a softmax, movers between them or not.
inline std::vector<bool> attention_outputs(const graph& g, const std::vector<node_traits>& traits,
                                           const uses& edges) {
  std::vector<bool> marked(g.nodes.size());
  for (std::size_t n = 0; n < g.nodes.size(); ++n) {
    if (traits[n].what != trait::product) continue;
    for (value_id id = g.nodes[n].inputs[0]; id != none;) {
      const auto p = edges.producer[static_cast<std::size_t>(id)];
      if (p < 0) break;
      const auto& from = g.nodes[static_cast<std::size_t>(p)];
      marked[n] = std::holds_alternative<op::softmax>(from.what);
      if (marked[n] || traits[static_cast<std::size_t>(p)].what != trait::mover) break;
      id = from.inputs[0];
    }
  }
  return marked;
}

/// Why a node stays in float by its place in the network; empty where it doesn't.
inline std::vector<std::string> structural_reasons(const graph& g,
                                                   const std::vector<node_traits>& traits,
                                                   const uses& edges, model_type type) {
  std::vector<std::string> why(g.nodes.size());
  const auto mark = [&](const std::vector<bool>& nodes, const char* reason) {
    for (std::size_t n = 0; n < why.size(); ++n)
      if (nodes[n] && traits[n].what != trait::outside && traits[n].what != trait::real)
        why[n] = reason;
  };
  mark(post_processing_nodes(g, traits, edges), "post-processing");
  if (type != model_type::transformer) return why;
  mark(attention_outputs(g, traits, edges), "the product of attention with its values");
  for (std::size_t n = 0; n < why.size(); ++n)
    if (traits[n].what == trait::elementwise || traits[n].what == trait::average)
      why[n] = std::string(op_name(g.nodes[n].what)) + " of a transformer";
  return why;
}

}  // namespace ptq::quantization
