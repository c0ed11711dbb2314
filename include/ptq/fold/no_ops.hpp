#pragma once
// SPDX-License-Identifier: Apache-2.0
// Nodes that hand on their input unchanged disappear; chains of transposes or of reshapes become
// one; a reshape whose target is computed from extents gets a constant target, with -1 for the one
// that is free.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include <ptq/graph/infer.hpp>
#include <ptq/graph/match.hpp>
#include <ptq/graph/rewrite.hpp>

namespace ptq::folding {

inline bool all_equal(const std::optional<op::ints>& v, std::int64_t e) {
  return v && std::all_of(v->begin(), v->end(), [&](auto x) { return x == e; });
}

/// Elementwise with a constant of only `neutral` that does not widen x.
inline bool neutral_operand(const rewriter& g, int n, std::size_t port, float neutral) {
  const auto* t = match::real_constant(g, match::operand(g, n, port));
  const auto& x = g[match::operand(g, n, 1 - port)];
  if (!t || x.constant || !x.shaped || t->dims().rank() > x.dims.rank()) return false;
  for (int i = 1; i <= t->dims().rank(); ++i) {
    const auto e = t->dims()[t->dims().rank() - i];
    if (e != 1 && e != x.dims[x.dims.rank() - i]) return false;
  }
  const auto v = t->view<float>();
  return std::all_of(v.begin(), v.end(), [&](float e) { return e == neutral; });
}

inline bool whole_slice(const rewriter& g, int n) {
  const auto steps = match::operand(g, n, 4);
  if (steps != none && !all_equal(match::integers(g, steps), 1)) return false;
  if (match::same_extents(g[match::operand(g, n, 0)], g[match::result(g, n)]) &&
      g[match::result(g, n)].dims.known())
    return true;
  const auto ends = match::integers(g, match::operand(g, n, 2));
  return all_equal(match::integers(g, match::operand(g, n, 1)), 0) && ends &&
         std::all_of(ends->begin(), ends->end(),
                     [](auto e) { return e >= std::numeric_limits<std::int32_t>::max(); });
}

inline bool identity_perm(const op::transpose& t, const value& x) {
  if (t.perm.empty()) return x.shaped && x.dims.rank() <= 1;
  for (std::size_t i = 0; i < t.perm.size(); ++i)
    if (t.perm[i] != static_cast<std::int64_t>(i)) return false;
  return true;
}

/// Whether y = x for the family; x and y are real.
struct is_no_op {
  const rewriter& g;
  int n;
  const value& x() const { return g[match::operand(g, n, 0)]; }
  const value& y() const { return g[match::result(g, n)]; }

  bool operator()(const op::identity&) const { return true; }
  bool operator()(const op::reshape&) const { return match::same_extents(x(), y()); }
  bool operator()(const op::transpose& o) const { return identity_perm(o, x()); }
  bool operator()(const op::cast& o) const { return x().type == o.to; }
  bool operator()(const op::slice&) const { return whole_slice(g, n); }
  bool operator()(const op::pad&) const {
    return all_equal(match::integers(g, match::operand(g, n, 1)), 0);
  }
  bool operator()(const op::expand&) const { return match::same_extents(x(), y()); }
  bool operator()(const op::tile&) const {
    return all_equal(match::integers(g, match::operand(g, n, 1)), 1);
  }
  bool operator()(const op::concat&) const { return g.at(n).inputs.size() == 1; }
  bool operator()(const op::split&) const { return g.at(n).outputs.size() == 1; }
  bool operator()(const op::depth_to_space& o) const { return o.block == 1; }
  bool operator()(const op::resize& o) const {
    return o.at != op::resize::coordinates::tf_crop_and_resize && y().dims.known() &&
           match::same_extents(x(), y()) && match::operand(g, n, 3) != none;
  }
  bool operator()(const op::unary& o) const {
    constexpr float inf = std::numeric_limits<float>::infinity();
    return o.kind == unary_kind::clip && o.alpha == -inf && o.beta == inf;
  }
  bool operator()(const op::binary& o) const {
    if (o.act.active()) return false;
    switch (o.kind) {
      case binary_kind::sub:
        return neutral_operand(g, n, 1, 0.0f);
      case binary_kind::add:
        return neutral_operand(g, n, 1, 0.0f);
      case binary_kind::mul:
      case binary_kind::div:
      case binary_kind::pow:
        return neutral_operand(g, n, 1, 1.0f);
      default:
        return false;
    }
  }
  template <class Op>
  bool operator()(const Op&) const {
    return false;
  }
};

/// x + 0 and 1 · x: the constant comes second, so that later patterns look in one place.
inline void constant_second(rewriter& g, int n) {
  const auto* o = match::as<op::binary>(g, n);
  if (!o || (o->kind != binary_kind::add && o->kind != binary_kind::mul)) return;
  const auto inputs = g.at(n).inputs;
  if (g[inputs[0]].constant && !g[inputs[1]].constant)
    g.set(n, g.at(n).what, {inputs[1], inputs[0]});
}

/// transpose(transpose(x, p), q) = transpose(x, p[q])
inline bool merge_transposes(rewriter& g, int n) {
  const auto* second = match::as<op::transpose>(g, n);
  const int p = second ? match::real_producer(g, match::operand(g, n, 0)) : -1;
  const auto* first = match::as<op::transpose>(g, p);
  if (!first || first->perm.empty() || second->perm.size() != first->perm.size()) return false;
  op::transpose both;
  for (auto i : second->perm) both.perm.push_back(first->perm[static_cast<std::size_t>(i)]);
  g.set(n, both, {match::operand(g, p, 0)});
  return true;
}

/// A constant target for a reshape that has a computed one, or that follows another reshape.
inline bool settle_reshape(rewriter& g, int n) {
  const auto* o = match::as<op::reshape>(g, n);
  const auto& y = g[match::result(g, n)];
  if (!o || !match::nearly_known(y)) return false;
  auto x = match::operand(g, n, 0);
  const int p = match::real_producer(g, x);
  const bool chained = match::as<op::reshape>(g, p) != nullptr;
  const bool computed =
      o->what == op::reshape::kind::to_shape && !g[match::operand(g, n, 1)].constant;
  if (!chained && !computed) return false;
  if (chained) x = match::operand(g, p, 0);
  const auto& d = y.dims.dims;
  auto target = tensor::from<std::int64_t>({static_cast<std::int64_t>(d.size())},
                                           std::span<const std::int64_t>(d));
  const auto id = g.add_constant(y.name + "_shape", std::move(target));
  g.set(n, op::reshape{}, {x, id});
  return true;
}

/// One sweep; true if something changed.
inline bool no_ops(graph& g) {
  rewriter edit(infer(std::move(g)));
  const int count = edit.node_count();
  bool changed = false;
  for (int n = 0; n < count; ++n) {
    if (edit.removed(n)) continue;
    constant_second(edit, n);
    while (merge_transposes(edit, n)) changed = true;
    changed = settle_reshape(edit, n) || changed;
    const auto x = match::operand(edit, n, 0), y = match::result(edit, n);
    if (x == none || y == none || edit[x].quant || edit[y].quant || edit[x].constant) continue;
    if (edit.at(n).what.visit(is_no_op{edit, n})) changed = edit.bypass(n) || changed;
  }
  g = edit.finish();
  return changed;
}

}  // namespace ptq::folding
