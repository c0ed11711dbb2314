#pragma once
// SPDX-License-Identifier: Apache-2.0
// Stage: nodes that belong together become one, so that quantization and execution meet whole
// layers. Runs after fold.
//   normalizations, activations   spelled-out forms, before arithmetic is folded beneath them
//   batch_norms                   between transposes: multiply and add in place
//   affine (fold)                 the arithmetic that is left, now also into the layers after it
//   paddings                      Pad into the window of convolutions and poolings
//   clamps                        Relu, Relu6, Clip into the layer before
//   exponentials                  e^(x − max) that belongs to no softmax
//   transposed_convolutions       an ordinary one, depth to space, and a slice
//   heads                         a last 1x1 convolution on one pixel: a matrix product
//   rows                          products of rank > 2 with a constant matrix: reshape to rank 2
//   wide_weights                  foreign codes that less their zero point need 9 bits: two of 8
//   no_ops, constants (fold)      what that leaves behind
//
// Values that survive keep their names, and so do the nodes of layers. No pass looks through a
// value with qparams.

#include <utility>

#include <ptq/fold.hpp>
#include <ptq/fuse/activations.hpp>
#include <ptq/fuse/clamps.hpp>
#include <ptq/fuse/heads.hpp>
#include <ptq/fuse/normalizations.hpp>
#include <ptq/fuse/padding.hpp>
#include <ptq/fuse/rows.hpp>
#include <ptq/fuse/transposed.hpp>
#include <ptq/fuse/wide_weights.hpp>
#include <ptq/graph/graph.hpp>

namespace ptq {

/// The graph with whole layers.
///
/// g       folded
/// throws  shape_error if extents contradict each other
/// exact   up to rounding of folded weights and the order of a normalisation's sums
template <class = void>
graph fuse(graph g) {
  // Each round shrinks the graph or ends; two are usual. The bound is for hostile chains.
  constexpr int most_rounds = 16;
  for_each_body(g, [](graph body) { return fuse(std::move(body)); });
  g = infer(std::move(g));
  bool changed = true;
  for (int i = 0; changed && i < most_rounds; ++i) {
    changed = fusing::normalizations(g);
    changed = fusing::activations(g) || changed;
    changed = fusing::batch_norms(g) || changed;
    changed = folding::affine(g, folding::affine_scope::all) || changed;
    g = infer(std::move(g));
    changed = fusing::paddings(g) || changed;
    changed = fusing::clamps(g) || changed;
    changed = folding::no_ops(g) || changed;
  }
  fusing::exponentials(g);
  fusing::transposed_convolutions(g);
  fusing::heads(g);
  fusing::rows(g);
  fusing::wide_weights(g);
  g = fold(std::move(g));
  return infer(std::move(g));
}

/// Ifs whose condition follows from extents → the taken branch, for the extents given. Only those free dimensions
/// become fixed that a condition depends on: the graph then holds for them alone, and says so in its inputs.
///
/// extents  of inputs by name; those not listed stay free
/// throws   shape_error as bind_inputs
inline graph decide_branches(const graph& g, const std::vector<binding>& extents) {
  const auto left = [](const graph& of) {
    std::size_t n = 0;
    for (const auto& node : of.nodes) {
      const auto* c = std::get_if<op::control>(&node.what);
      n += c && c->what == op::control::kind::branch ? 1 : 0;
    }
    return n;
  };
  const auto with = [&](const std::vector<binding>& b) { return fold(bind_inputs(g, b)); };
  auto needed = extents;
  auto best = with(needed);
  if (left(best) == left(g)) return g;
  for (auto& b : needed)
    for (auto& e : b.dims.dims) {
      const auto was = std::exchange(e, unknown);
      auto freer = with(needed);
      if (left(freer) == left(best))
        best = std::move(freer);
      else
        e = was;
    }
  return fuse(std::move(best));
}

}  // namespace ptq
