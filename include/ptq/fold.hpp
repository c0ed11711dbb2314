#pragma once
// SPDX-License-Identifier: Apache-2.0
// Stage: what can be computed before the first sample is computed now. Runs after import, before
// fuse and calibrate.
//   branches    of an If whose condition is known                        graph/inline_body.hpp
//   constants   nodes that read constants or known extents alone        fold/constants.hpp
//   no_ops      nodes that change nothing, chains of reshapes            fold/no_ops.hpp
//   affine      batch-norm and per-channel arithmetic into weights       fold/affine.hpp
//
// The network computes the same real numbers; names of values that survive stay. Values with
// qparams, and what is rounded by them, are left as they are.

#include <utility>

#include <ptq/fold/affine.hpp>
#include <ptq/fold/constants.hpp>
#include <ptq/fold/no_ops.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/graph/inline_body.hpp>

namespace ptq {

/// The graph without what is known in advance.
///
/// throws  shape_error if extents contradict each other
/// exact   up to rounding of folded weights to f32
/// cost    a few sweeps over the graph and its weights
template <class = void>
graph fold(graph g) {
  for_each_body(g, [](graph body) { return fold(std::move(body)); });
  std::int64_t growth = 0;
  // Each sweep removes nodes or settles them; real networks rest after three or four. The bound is
  // for hostile ones.
  constexpr int most_sweeps = 32;
  bool changed = true;
  for (int i = 0; changed && i < most_sweeps; ++i) {
    changed = folding::constants(g, growth);
    changed = take_known_branches(g) || changed;
    changed = folding::no_ops(g) || changed;
    changed = folding::affine(g, folding::affine_scope::before_fusion) || changed;
  }
  return infer(std::move(g));
}

}  // namespace ptq
