#pragma once
// SPDX-License-Identifier: Apache-2.0
// Stage: nodes that belong together become one, so that quantization and execution meet whole
// layers. Runs after fold.
//   normalizations, activations   spelled-out forms, before arithmetic is folded beneath them
//   batch_norms                   between transposes: multiply and add in place
//   affine (fold)                 the arithmetic that is left, now also into the layers after it
//   paddings                      Pad into the window of convolutions and poolings
//   clamps                        Relu, Relu6, Clip into the layer before
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
  fusing::heads(g);
  fusing::rows(g);
  fusing::wide_weights(g);
  g = fold(std::move(g));
  return infer(std::move(g));
}

}  // namespace ptq
