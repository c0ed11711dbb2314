#pragma once
// SPDX-License-Identifier: Apache-2.0
// Two changes of layout that leave a plain matrix product.
//   rows          x [a,b,k] · w [k,n] + bias becomes reshape to [-1,k], a product of rank 2,
//   reshape back: quantized, that
//                 is one GEMM with an int32 bias. Needs at most one free extent in the result.
//   batch_norms   transpose → batch-norm → transpose back, as in networks that keep tokens last but
//   normalise channels:
//                 a multiply and an add along the axis itself, which fold then puts into the
//                 products that follow.

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <ptq/fold/affine.hpp>
#include <ptq/graph/infer.hpp>
#include <ptq/graph/match.hpp>
#include <ptq/graph/rewrite.hpp>

namespace ptq::fusing {

inline tensor target_of(const op::ints& extents) {
  return tensor::from<std::int64_t>({static_cast<std::int64_t>(extents.size())},
                                    std::span<const std::int64_t>(extents));
}

inline bool product_of_rows(const rewriter& g, int n) {
  const auto* m = match::as<op::matmul>(g, n);
  if (!m || m->trans_a) return false;
  const auto a = match::operand(g, n, 0), b = match::operand(g, n, 1), c = match::operand(g, n, 2);
  const auto y = match::result(g, n);
  const auto* w = match::real_constant(g, b);
  if (!w || w->dims().rank() != 2 || g[a].quant || g[a].constant || g[y].quant) return false;
  if (!g[a].shaped || g[a].dims.rank() < 3 || !match::nearly_known(g[y])) return false;
  if (c == none) return true;
  const auto* bias = match::real_constant(g, c);
  return bias && (bias->size() == 1 || bias->dims() == shape{g[y].dims[g[y].dims.rank() - 1]});
}

/// One sweep; true if something changed.
inline bool rows(graph& g) {
  rewriter edit(infer(std::move(g)));
  const int count = edit.node_count();
  std::map<value_id, value_id> flat;    // products of one value share its rows
  std::map<op::ints, value_id> shapes;  // a transformer has dozens of reshapes, and a few shapes
  const auto shape_of = [&](const op::ints& extents) {
    const auto [it, fresh] = shapes.emplace(extents, none);
    if (fresh) it->second = edit.add_constant("rows_shape", target_of(extents));
    return it->second;
  };
  for (int n = 0; n < count; ++n) {
    if (edit.removed(n) || !product_of_rows(edit, n)) continue;
    const bool trans_b = std::get<op::matmul>(edit.at(n).what).trans_b;
    const auto k = edit[match::operand(edit, n, 1)].dims[trans_b ? 1 : 0];
    const auto a = match::operand(edit, n, 0), y = match::result(edit, n);
    const auto name = edit.at(n).name, y_name = edit[y].name, a_name = edit[a].name;
    if (!flat.count(a)) {
      flat[a] = edit.add_value(a_name + "_rows");
      edit.insert(rewriter::side::before, n,
                  {name + "_to_rows", op::reshape{}, {a, shape_of({-1, k})}, {flat[a]}, {}});
    }
    const auto flat_y = edit.add_value(y_name + "_rows");
    const auto back = shape_of(edit[y].dims.dims);
    edit.take_over(n, flat_y);
    edit.set_input(n, 0, flat[a]);
    edit.insert(rewriter::side::after, n,
                {name + "_from_rows", op::reshape{}, {flat_y, back}, {y}, {}});
  }
  const bool changed = edit.changed();
  g = edit.finish();
  return changed;
}

/// perm and then its inverse
inline bool undone(const op::transpose& there, const op::transpose& back) {
  if (there.perm.empty() || there.perm.size() != back.perm.size()) return false;
  for (std::size_t i = 0; i < there.perm.size(); ++i)
    if (there.perm[static_cast<std::size_t>(back.perm[i])] != static_cast<std::int64_t>(i))
      return false;
  return true;
}

inline tensor along(const std::vector<double>& v, int axes_behind) {
  shape dims{static_cast<std::int64_t>(v.size())};
  for (int i = 0; i < axes_behind; ++i) dims.dims.push_back(1);
  tensor t(dtype::f32, dims);
  auto out = t.mutable_view<float>();
  for (std::size_t i = 0; i < v.size(); ++i) out[i] = static_cast<float>(v[i]);
  return t;
}

/// One sweep; true if something changed.
inline bool batch_norms(graph& g) {
  rewriter edit(infer(std::move(g)));
  const int count = edit.node_count();
  for (int n = 0; n < count; ++n) {
    const auto map = edit.removed(n) ? std::nullopt : folding::batch_norm_map(edit, n);
    if (!map || !folding::finite(*map)) continue;
    const int first = match::real_producer(edit, map->x);
    const int last = match::sole_consumer(edit, match::result(edit, n));
    const auto* there = match::as<op::transpose>(edit, first);
    const auto* back = match::as<op::transpose>(edit, last);
    if (!there || !back || !undone(*there, *back)) continue;
    const auto rank = static_cast<int>(there->perm.size());
    const int behind = rank - 1 - static_cast<int>(there->perm[1]);
    const auto x = match::operand(edit, first, 0);
    const auto name = edit.at(n).name;
    const auto scale = edit.add_constant(name + "_scale", along(map->scale, behind));
    const auto shift = edit.add_constant(name + "_shift", along(map->shift, behind));
    const auto scaled = edit.add_value(edit[match::result(edit, n)].name + "_scaled");
    edit.insert(rewriter::side::before, last,
                {name, op::binary{binary_kind::mul, {}}, {x, scale}, {scaled}, {}});
    edit.set(last, op::binary{binary_kind::add, {}}, {scaled, shift});
  }
  const bool changed = edit.changed();
  g = edit.finish();
  return changed;
}

}  // namespace ptq::fusing
