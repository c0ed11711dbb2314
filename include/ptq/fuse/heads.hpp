#pragma once
// SPDX-License-Identifier: Apache-2.0
// A classifier's last 1x1 convolution, on a plane of one pixel, is a matrix product: written as one,
// its logits can stay real numbers while its inputs and weights are codes, in our executor and in
// runtimes that have an integer product with real results but no such convolution.

#include <algorithm>
#include <string>

#include <ptq/fuse/rows.hpp>
#include <ptq/graph/match.hpp>
#include <ptq/graph/rewrite.hpp>

namespace ptq::fusing {

/// True if nothing but movers, softmax and the like lies between `id` and outputs of the graph.
inline bool ends_the_graph(const rewriter& g, value_id id) {
  constexpr int longest = 8;
  for (int i = 0; i < longest; ++i) {
    if (g.is_output(id)) return true;
    const int n = match::sole_consumer(g, id);
    if (n < 0) return false;
    const auto& what = g.at(n).what;
    if (!std::holds_alternative<op::reshape>(what) && !std::holds_alternative<op::softmax>(what) &&
        !std::holds_alternative<op::transpose>(what))
      return false;
    id = match::result(g, n);
  }
  return false;
}

inline bool is_head(const rewriter& g, int n) {
  const auto* c = match::as<op::conv>(g, n);
  if (!c || c->groups != 1) return false;
  const auto x = match::operand(g, n, 0), y = match::result(g, n);
  const auto* w = match::real_constant(g, match::operand(g, n, 1));
  const auto bias = match::operand(g, n, 2);
  if (!w || w->dims().rank() < 3 || (bias != none && !match::real_constant(g, bias))) return false;
  if (!g[x].shaped || g[x].quant || g[y].quant || !match::nearly_known(g[y])) return false;
  for (int i = 2; i < w->dims().rank(); ++i)
    if (w->dims()[i] != 1 || g[x].dims[i] != 1 || g[y].dims[i] != 1) return false;
  return ends_the_graph(g, y);
}

/// One sweep; true if something changed.
inline bool heads(graph& g) {
  rewriter edit(infer(std::move(g)));
  const int count = edit.node_count();
  for (int n = 0; n < count; ++n) {
    if (edit.removed(n) || !is_head(edit, n)) continue;
    const auto x = match::operand(edit, n, 0), y = match::result(edit, n);
    const auto bias = match::operand(edit, n, 2);
    const tensor w = *match::real_constant(edit, match::operand(edit, n, 1));
    const auto name = edit.at(n).name, x_name = edit[x].name, y_name = edit[y].name;
    const auto act = std::get<op::conv>(edit.at(n).what).act;
    const auto to = edit.add_constant(x_name + "_rows_shape", target_of({-1, w.dims()[1]}));
    const auto rows = edit.add_value(x_name + "_rows"), result = edit.add_value(y_name + "_rows");
    const auto back = edit.add_constant(y_name + "_shape", target_of(edit[y].dims.dims));
    const auto matrix =
        edit.add_constant(edit[match::operand(edit, n, 1)].name + "_matrix",
                          w.reshaped(shape{w.dims()[0], w.dims()[1]}));
    edit.insert(rewriter::side::before, n, {name + "_to_rows", op::reshape{}, {x, to}, {rows}, {}});
    edit.take_over(n, result);
    std::vector<value_id> inputs{rows, matrix};
    if (bias != none) inputs.push_back(bias);
    edit.set(n, op::matmul{.trans_a = false, .trans_b = true, .act = act}, inputs);
    edit.insert(rewriter::side::after, n,
                {name + "_from_rows", op::reshape{}, {result, back}, {y}, {}});
  }
  const bool changed = edit.changed();
  g = edit.finish();
  return changed;
}

}  // namespace ptq::fusing
