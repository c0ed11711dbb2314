#pragma once
// SPDX-License-Identifier: Apache-2.0
// The scores that a classifier's softmax reads. Probabilities tell little of how good a network is: of
// most samples they are 0 or 1 whatever the error, and a few undecided ones make up all of a sum.

#include <variant>

#include <ptq/graph/graph.hpp>

namespace ptq {

/// The input of a final softmax, behind which values are moved and cast at most; the output itself
/// where there is none.
inline value_id scores_of(const graph& g, const uses& edges, value_id output) {
  for (value_id id = output;;) {
    const auto producer = edges.producer[static_cast<std::size_t>(id)];
    if (producer < 0) return output;
    const auto& n = g.nodes[static_cast<std::size_t>(producer)];
    const bool moves =
        std::holds_alternative<op::reshape>(n.what) || std::holds_alternative<op::transpose>(n.what) ||
        std::holds_alternative<op::identity>(n.what) || std::holds_alternative<op::cast>(n.what);
    const auto* s = std::get_if<op::softmax>(&n.what);
    const bool softmax = s && s->normalized;
    if (!moves && !softmax) return output;
    const auto& from = n.inputs[0];
    if (from == none || g[from].type != dtype::f32) return output;
    if (softmax) return from;
    id = from;
  }
}

}  // namespace ptq
