#pragma once
// SPDX-License-Identifier: Apache-2.0
// Normalisations that a file spells out become one node: LayerNormalization, RMSNormalization,
// Softmax.
//
//   rms         u / √(mean(u²) + ε)
//   layer norm  the same with u = x − mean(x)
//   softmax     exp(x − max x) / Σ exp(x − max x)

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include <ptq/graph/infer.hpp>
#include <ptq/graph/match.hpp>
#include <ptq/graph/rewrite.hpp>

namespace ptq::fusing {

/// First of the trailing axes that node n reduces, its extents kept; -1 if it reduces others.
inline int trailing_axis(const rewriter& g, int n, value_id x) {
  const auto* o = match::as<op::reduce>(g, n);
  if (!o || !o->keepdims || match::operand(g, n, 0) != x || !g[x].shaped) return -1;
  const int rank = g[x].dims.rank();
  auto axes = match::integers(g, match::operand(g, n, 1));
  if (!axes || axes->empty() || static_cast<int>(axes->size()) > rank) return -1;
  for (auto& a : *axes) a += a < 0 ? rank : 0;
  std::sort(axes->begin(), axes->end());
  for (std::size_t i = 0; i < axes->size(); ++i)
    if ((*axes)[i] != rank - static_cast<int>(axes->size()) + static_cast<int>(i)) return -1;
  return static_cast<int>((*axes)[0]);
}

/// u if `id` is u²
inline value_id squared(const rewriter& g, value_id id) {
  const int n = match::real_producer(g, id);
  if (match::is(g, n, binary_kind::mul) && match::operand(g, n, 0) == match::operand(g, n, 1))
    return match::operand(g, n, 0);
  if (match::is(g, n, binary_kind::pow) && match::is_number(g, match::operand(g, n, 1), 2.0))
    return match::operand(g, n, 0);
  return none;
}

struct rms_core {
  value_id u = none;
  int axis = -1;
  float epsilon = 0.0f;
};

/// √(mean(u²) + ε)
inline std::optional<rms_core> root_of(const rewriter& g, value_id id) {
  const int root = match::real_producer(g, id);
  const bool power =
      match::is(g, root, binary_kind::pow) && match::is_number(g, match::operand(g, root, 1), 0.5);
  if (!power && !match::is(g, root, unary_kind::sqrt)) return std::nullopt;
  const int sum = match::real_producer(g, match::operand(g, root, 0));
  if (!match::is(g, sum, binary_kind::add)) return std::nullopt;
  std::optional<rms_core> r;
  match::either_way(g, sum, [&](value_id mean, value_id number) {
    const auto epsilon = match::scalar(g, number);
    const int m = match::real_producer(g, mean);
    if (!epsilon || !match::is(g, m, reduce_kind::mean)) return false;
    const auto u = squared(g, match::operand(g, m, 0));
    if (u == none) return false;
    // The squares have u's extents, so the axes read the same on both.
    const int axis = trailing_axis(g, m, match::operand(g, m, 0));
    if (axis < 0) return false;
    r = rms_core{u, axis, *epsilon};
    return true;
  });
  return r;
}

/// 1/root: Reciprocal, 1 / root, or (…)^-0.5 is not followed (files write the first two)
inline std::optional<rms_core> inverse_root_of(const rewriter& g, value_id id) {
  const int n = match::real_producer(g, id);
  if (match::is(g, n, unary_kind::reciprocal)) return root_of(g, match::operand(g, n, 0));
  if (match::is(g, n, binary_kind::div) && match::is_number(g, match::operand(g, n, 0), 1.0))
    return root_of(g, match::operand(g, n, 1));
  return std::nullopt;
}

/// n computes u / √(mean(u²) + ε)
inline std::optional<rms_core> rms_of(const rewriter& g, int n) {
  std::optional<rms_core> r;
  if (match::is(g, n, binary_kind::div)) {
    r = root_of(g, match::operand(g, n, 1));
    if (r && r->u != match::operand(g, n, 0)) return std::nullopt;
  } else if (match::is(g, n, binary_kind::mul)) {
    match::either_way(g, n, [&](value_id u, value_id inverse) {
      r = inverse_root_of(g, inverse);
      if (r && r->u != u) r.reset();
      return r.has_value();
    });
  }
  return r;
}

/// x if u = x − mean(x) over the same axes
inline value_id centred(const rewriter& g, const rms_core& core) {
  const int n = match::real_producer(g, core.u);
  if (!match::is(g, n, binary_kind::sub)) return none;
  const auto x = match::operand(g, n, 0);
  const int m = match::real_producer(g, match::operand(g, n, 1));
  return match::is(g, m, reduce_kind::mean) && trailing_axis(g, m, x) == core.axis ? x : none;
}

/// A constant as a tensor of the normalised extents; nothing if it runs along other axes.
inline std::optional<tensor> over_axes(const tensor& t, const shape& normal) {
  shape d = t.dims();
  while (d.rank() > normal.rank() && d[0] == 1) d.dims.erase(d.dims.begin());
  if (d == normal) return t.reshaped(normal);
  if (t.size() != 1) return std::nullopt;
  tensor full(dtype::f32, normal);
  for (auto& e : full.mutable_view<float>()) e = t.view<float>()[0];
  return full;
}

/// The one reader of node n, if it combines the result with a constant over the normalised axes.
struct next_constant {
  int n = -1;
  tensor t;
};
inline std::optional<next_constant> followed_by(const rewriter& g, int n, binary_kind k,
                                                const shape& normal) {
  const auto y = match::result(g, n);
  const int next = match::sole_consumer(g, y);
  if (!match::is(g, next, k)) return std::nullopt;
  const auto* t = match::real_constant(g, match::other(g, next, y));
  auto full = t ? over_axes(*t, normal) : std::nullopt;
  return full ? std::optional(next_constant{next, std::move(*full)}) : std::nullopt;
}

inline bool normalized(rewriter& g, int n) {
  const auto core = rms_of(g, n);
  if (!core) return false;
  const auto centre = centred(g, *core);
  const auto x = centre == none ? core->u : centre;
  const auto& d = g[x].dims.dims;
  const shape normal(std::vector<std::int64_t>(d.begin() + core->axis, d.end()));
  if (!normal.known() || normal.size() == 0) return false;
  int last = n;
  tensor scale(dtype::f32, normal);
  for (auto& e : scale.mutable_view<float>()) e = 1.0f;
  if (auto m = followed_by(g, n, binary_kind::mul, normal)) {
    last = m->n;
    scale = std::move(m->t);
  }
  std::optional<tensor> bias;
  if (auto a = followed_by(g, last, binary_kind::add, normal)) {
    last = a->n;
    bias = std::move(a->t);
  }
  const auto name = g.at(last).name;
  std::vector<value_id> inputs{x, g.add_constant(name + "_scale", std::move(scale))};
  if (bias) inputs.push_back(g.add_constant(name + "_bias", std::move(*bias)));
  // Counted from the end where the axis is the last, as exporters write it.
  const std::int64_t axis = core->axis == g[x].dims.rank() - 1 ? -1 : core->axis;
  g.set(last, op::layer_norm{axis, core->epsilon, centre == none}, std::move(inputs));
  return true;
}

/// The one axis along which a node reduces `of`, its extent kept.
inline std::optional<std::int64_t> single_axis(const rewriter& g, int reduce, value_id of) {
  const auto* o = match::as<op::reduce>(g, reduce);
  const auto axes = match::integers(g, match::operand(g, reduce, 1));
  if (!o->keepdims || match::operand(g, reduce, 0) != of || !g[of].shaped) return std::nullopt;
  if (!axes || axes->size() != 1) return std::nullopt;
  return (*axes)[0] < 0 ? (*axes)[0] + g[of].dims.rank() : (*axes)[0];
}

struct shifted_rows {
  value_id x = none;
  std::int64_t axis = 0;
};

/// x if `id` is x − max(x)
inline std::optional<shifted_rows> shifted_by_largest(const rewriter& g, value_id id) {
  const int sub = match::real_producer(g, id);
  if (!match::is(g, sub, binary_kind::sub)) return std::nullopt;
  const auto x = match::operand(g, sub, 0);
  const int max = match::real_producer(g, match::operand(g, sub, 1));
  if (!match::is(g, max, reduce_kind::max)) return std::nullopt;
  const auto axis = single_axis(g, max, x);
  return axis ? std::optional(shifted_rows{x, *axis}) : std::nullopt;
}

inline bool softmax_spelled_out(rewriter& g, int n) {
  if (!match::is(g, n, binary_kind::div)) return false;
  const auto e = match::operand(g, n, 0);
  const int sum = match::real_producer(g, match::operand(g, n, 1));
  const int exp = match::real_producer(g, e);
  if (!match::is(g, sum, reduce_kind::sum) || !match::is(g, exp, unary_kind::exp)) return false;
  const auto axis = single_axis(g, sum, e);
  if (!axis) return false;
  auto x = match::operand(g, exp, 0);
  if (const auto shifted = shifted_by_largest(g, x); shifted && shifted->axis == *axis) x = shifted->x;
  g.set(n, op::softmax{*axis, false, false}, {x});
  return true;
}

/// e^(x − max) that no softmax has become of: attention normalised behind its product. Once, behind all that
/// looks for a softmax.
inline void exponentials(graph& g) {
  rewriter edit(infer(std::move(g)));
  const int count = edit.node_count();
  for (int n = 0; n < count; ++n) {
    if (edit.removed(n) || !match::is(edit, n, unary_kind::exp)) continue;
    if (const auto rows = shifted_by_largest(edit, match::operand(edit, n, 0)))
      edit.set(n, op::softmax{.axis = rows->axis, .normalized = false}, {rows->x});
  }
  g = edit.finish();
}

/// One sweep; true if something fused.
inline bool normalizations(graph& g) {
  rewriter edit(infer(std::move(g)));
  const int count = edit.node_count();
  for (int n = 0; n < count; ++n) {
    if (edit.removed(n)) continue;
    if (!normalized(edit, n) && !edit.removed(n)) softmax_spelled_out(edit, n);
  }
  const bool changed = edit.changed();
  g = edit.finish();
  return changed;
}

}  // namespace ptq::fusing
