#pragma once
// SPDX-License-Identifier: Apache-2.0
// y = s[c]·x + t[c] (batch-norm; add, sub, mul, div by a constant) goes into the weights of the
// convolution or matrix product before it, or of those after it. Exact in real numbers; computed in
// double and rounded once.
//
//   after:  w'[o] = s[o]·w[o], b' = s·b + t
//   before: w'[o,i] = s[i]·w[o,i], b'[o] = b[o] + Σ w[o,i,…]·t[i]; with padding only if t = 0,
//   since what is padded is 0
//           and not t

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <ptq/fold/linear.hpp>
#include <ptq/graph/infer.hpp>
#include <ptq/graph/match.hpp>
#include <ptq/graph/rewrite.hpp>

namespace ptq::folding {

/// One factor and one shift per index of `axis`; axis -1: one for all.
struct affine_map {
  value_id x = none;
  int axis = -1;
  std::vector<double> scale, shift;

  double scale_at(std::int64_t c) const { return axis < 0 ? scale[0] : scale[index(c)]; }
  double shift_at(std::int64_t c) const { return axis < 0 ? shift[0] : shift[index(c)]; }
  bool shifts() const {
    return std::any_of(shift.begin(), shift.end(), [](double t) { return t != 0.0; });
  }
  /// Fits `channels` indices of `wanted` axis.
  bool over(int wanted, std::int64_t channels) const {
    return axis < 0 || (axis == wanted && static_cast<std::int64_t>(scale.size()) == channels);
  }

 private:
  static std::size_t index(std::int64_t c) { return static_cast<std::size_t>(c); }
};

inline bool finite(const affine_map& a) {
  const auto ok = [](double v) { return std::isfinite(v); };
  return std::all_of(a.scale.begin(), a.scale.end(), ok) &&
         std::all_of(a.shift.begin(), a.shift.end(), ok);
}

/// s = scale / √(variance + ε), t = bias − mean · s
inline std::optional<affine_map> batch_norm_map(const rewriter& g, int n) {
  const auto* o = match::as<op::batch_norm>(g, n);
  if (!o) return std::nullopt;
  const tensor* p[4];
  for (std::size_t i = 0; i < 4; ++i) {
    p[i] = match::real_constant(g, match::operand(g, n, i + 1));
    if (!p[i] || p[i]->dims().rank() != 1 || p[i]->size() != p[0]->size()) return std::nullopt;
  }
  affine_map a{match::operand(g, n, 0), 1, {}, {}};
  for (std::size_t c = 0; c < static_cast<std::size_t>(p[0]->size()); ++c) {
    const auto at = [&](std::size_t i) { return static_cast<double>(p[i]->view<float>()[c]); };
    const double s = at(0) / std::sqrt(at(3) + static_cast<double>(o->epsilon));
    a.scale.push_back(s);
    a.shift.push_back(at(1) - at(2) * s);
  }
  return a;
}

/// Axis of x that a constant's extents run along; -1 if it is one number, nothing if it runs along
/// several or widens x.
inline std::optional<int> axis_of(const shape& constant, const shape& x) {
  const int offset = x.rank() - constant.rank();
  if (offset < 0) return std::nullopt;
  int axis = -1;
  for (int i = 0; i < constant.rank(); ++i) {
    if (constant[i] == 1) continue;
    if (axis >= 0 || x[offset + i] != constant[i]) return std::nullopt;
    axis = offset + i;
  }
  return axis;
}

inline std::optional<affine_map> binary_map(const rewriter& g, int n) {
  const auto* o = match::as<op::binary>(g, n);
  if (!o || o->act.active()) return std::nullopt;
  const auto* second = match::real_constant(g, match::operand(g, n, 1));
  const auto* k = second ? second : match::real_constant(g, match::operand(g, n, 0));
  affine_map a{match::operand(g, n, second ? 0 : 1), -1, {}, {}};
  if (!k || g[a.x].constant || !g[a.x].shaped || k->size() == 0) return std::nullopt;
  const auto axis = axis_of(k->dims(), g[a.x].dims);
  if (!axis) return std::nullopt;
  a.axis = *axis;
  for (float v : k->view<float>()) {
    const auto e = static_cast<double>(v);
    switch (o->kind) {
      case binary_kind::add:
        a.scale.push_back(1.0), a.shift.push_back(e);
        break;
      case binary_kind::sub:
        a.scale.push_back(second ? 1.0 : -1.0), a.shift.push_back(second ? -e : e);
        break;
      case binary_kind::mul:
        a.scale.push_back(e), a.shift.push_back(0.0);
        break;
      case binary_kind::div:
        if (!second) return std::nullopt;
        a.scale.push_back(1.0 / e), a.shift.push_back(0.0);
        break;
      default:
        return std::nullopt;
    }
  }
  return a;
}

inline std::optional<affine_map> affine_of(const rewriter& g, int n) {
  auto a = batch_norm_map(g, n);
  if (!a) a = binary_map(g, n);
  return a && finite(*a) ? a : std::nullopt;
}

/// Folds n into the layer that produces its operand.
inline bool into_producer(rewriter& g, int n, const affine_map& a) {
  const int p = match::sole_producer(g, a.x);
  const auto l = linear_of(g, p);
  if (!l || l->clamped || !a.over(l->output_axis, l->outputs)) return false;
  auto b = bias_of(g, p, *l);
  if (!b) return false;
  auto w = weights_of(*l);
  for (std::size_t i = 0; i < w.size(); ++i)
    w[i] *= a.scale_at(l->channels_of(static_cast<std::int64_t>(i)).first);
  for (std::int64_t o = 0; o < l->outputs; ++o) {
    auto& e = (*b)[static_cast<std::size_t>(o)];
    e = e * a.scale_at(o) + a.shift_at(o);
  }
  auto r = replaced(g, p, *l, w, &*b);
  if (!r) return false;
  store(g, std::move(*r));
  g.take_over(p, match::result(g, n));
  return true;
}

inline bool takes(const rewriter& g, int reader, value_id y, const affine_map& a) {
  const auto l = linear_of(g, reader);
  if (!l || match::operand(g, reader, 0) != y || match::operand(g, reader, 2) == y) return false;
  if (!a.over(l->input_axis, l->inputs)) return false;
  return !a.shifts() || (!l->padded && !l->transposed && bias_of(g, reader, *l));
}

/// Folds n into the layers that read its result: all of them, or none.
inline bool into_consumers(rewriter& g, int n, const affine_map& a) {
  const auto y = match::result(g, n);
  if (g.is_output(y) || g[y].quant || g[a.x].quant || g.consumers(y).empty()) return false;
  const auto readers = g.consumers(y);
  for (int r : readers)
    if (!takes(g, r, y, a)) return false;
  std::vector<replacement> fresh;  // all are computed before the first is stored
  for (int r : readers) {
    const auto l = linear_of(g, r);
    auto w = weights_of(*l);
    auto b = a.shifts() ? bias_of(g, r, *l) : std::nullopt;
    for (std::size_t i = 0; i < w.size(); ++i) {
      const auto [o, c] = l->channels_of(static_cast<std::int64_t>(i));
      if (b) (*b)[static_cast<std::size_t>(o)] += w[i] * a.shift_at(c);
      w[i] *= a.scale_at(c);
    }
    auto next = replaced(g, r, *l, w, b ? &*b : nullptr);
    if (!next) return false;
    fresh.push_back(std::move(*next));
  }
  for (auto& r : fresh) store(g, std::move(r));
  g.redirect(y, a.x);
  g.remove(n);
  return true;
}

/// Which maps are folded.
enum class affine_scope {
  /// Batch-norms anywhere; other maps into the layer before them, unless a clip to a finite range
  /// follows: that may be
  /// a hard sigmoid, which fuse wants to see whole.
  before_fusion,
  all
};

inline bool may_be_spelled_out(const rewriter& g, int n) {
  const int c = match::sole_consumer(g, match::result(g, n));
  const auto* u = match::as<op::unary>(g, c);
  return u && u->kind == unary_kind::clip && std::isfinite(u->beta);
}

/// One sweep; true if something folded.
inline bool affine(graph& g, affine_scope scope) {
  rewriter edit(infer(std::move(g)));
  const int count = edit.node_count();
  bool changed = false;
  for (int n = 0; n < count; ++n) {
    if (edit.removed(n)) continue;
    const auto a = affine_of(edit, n);
    if (!a || edit[a->x].constant) continue;
    const bool norm = match::as<op::batch_norm>(edit, n) != nullptr;
    const bool early = scope == affine_scope::before_fusion && !norm;
    if (early && may_be_spelled_out(edit, n)) continue;
    changed = into_producer(edit, n, *a) || (!early && into_consumers(edit, n, *a)) || changed;
  }
  g = edit.finish();
  return changed;
}

}  // namespace ptq::folding
