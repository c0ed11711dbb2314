#pragma once
// SPDX-License-Identifier: Apache-2.0
// Convolution, transposed convolution and matrix product seen as one thing: a constant weight whose
// elements each belong to an output and an input channel, and a bias. What folding arithmetic into
// weights needs to know of them.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <ptq/graph/match.hpp>
#include <ptq/graph/rewrite.hpp>

namespace ptq::folding {

/// What conv, conv_transpose and matmul have in common: a constant weight with an output and an
/// input channel per element, and a bias.
struct linear {
  const tensor* w = nullptr;
  std::int64_t outputs = 0, inputs = 0;
  int output_axis = 1, input_axis = 1;
  bool padded = false;      // sums at the border miss terms
  bool transposed = false;  // conv_transpose: every border sum misses terms
  bool clamped = false;
  // Element i of w belongs to output (i / o_step) % o_count + o_base(group) and likewise for
  // inputs.
  std::int64_t groups = 1;
  enum class layout { oi, io, kn, nk } how = layout::oi;

  /// Output and input channel of element i of w.
  std::pair<std::int64_t, std::int64_t> channels_of(std::int64_t i) const {
    const auto& d = w->dims();
    std::int64_t inner = 1;
    for (int a = 2; a < d.rank(); ++a) inner *= d[a];
    const auto first = i / (d[1] * inner), second = i / inner % d[1];
    switch (how) {
      case layout::oi:
        return {first, first / (outputs / groups) * d[1] + second};
      case layout::io:
        return {first / (inputs / groups) * d[1] + second, first};
      case layout::kn:
        return {second, first};
      default:
        return {first, second};
    }
  }
};

inline std::optional<linear> linear_of(const rewriter& g, int n) {
  linear l;
  l.w = n < 0 || g.removed(n) ? nullptr : match::real_constant(g, match::operand(g, n, 1));
  const auto x = n < 0 || g.removed(n) ? none : match::operand(g, n, 0);
  if (!l.w || x == none || l.w->size() == 0) return std::nullopt;
  const auto& d = l.w->dims();
  if (const auto* c = match::as<op::conv>(g, n)) {
    l.groups = c->groups;
    l.outputs = d[0];
    l.inputs = d[1] * c->groups;
    l.clamped = c->act.active();
    l.padded = c->win.same != op::window::auto_pad::none ||
               std::any_of(c->win.pads.begin(), c->win.pads.end(), [](auto p) { return p != 0; });
  } else if (const auto* t = match::as<op::conv_transpose>(g, n)) {
    l.how = linear::layout::io;
    l.groups = t->groups;
    l.inputs = d[0];
    l.outputs = d[1] * t->groups;
    l.clamped = t->act.active();
    l.transposed = true;
  } else if (const auto* m = match::as<op::matmul>(g, n)) {
    if (d.rank() != 2 || m->trans_a || !g[x].shaped || g[x].dims.rank() < 2) return std::nullopt;
    l.how = m->trans_b ? linear::layout::nk : linear::layout::kn;
    l.outputs = d[m->trans_b ? 0 : 1];
    l.inputs = d[m->trans_b ? 1 : 0];
    l.output_axis = l.input_axis = g[x].dims.rank() - 1;
    l.clamped = m->act.active();
  } else {
    return std::nullopt;
  }
  return l;
}

/// The bias as doubles, one per output channel; zeros where there is none, nothing where it is no
/// such vector.
inline std::optional<std::vector<double>> bias_of(const rewriter& g, int n, const linear& l) {
  std::vector<double> b(static_cast<std::size_t>(l.outputs));
  const auto id = match::operand(g, n, 2);
  if (id == none) return b;
  const auto* t = match::real_constant(g, id);
  if (!t || (t->size() != 1 && t->size() != l.outputs)) return std::nullopt;
  if (t->size() != 1 && t->dims()[t->dims().rank() - 1] != l.outputs) return std::nullopt;
  const auto v = t->view<float>();
  for (std::size_t i = 0; i < b.size(); ++i) b[i] = static_cast<double>(v[t->size() == 1 ? 0 : i]);
  return b;
}

inline std::optional<tensor> rounded(const std::vector<double>& v, const shape& dims) {
  tensor t(dtype::f32, dims);
  auto out = t.mutable_view<float>();
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<float>(v[i]);
    if (!std::isfinite(out[i])) return std::nullopt;
  }
  return t;
}

/// New weights of layer n, and a new bias unless that stays as it is.
struct replacement {
  int n = -1;
  tensor weights;
  std::optional<tensor> bias;
};

/// Rounds both; nothing if a number leaves f32's range. A bias of zeros that was absent stays
/// absent.
inline std::optional<replacement> replaced(const rewriter& g, int n, const linear& l,
                                           const std::vector<double>& w,
                                           const std::vector<double>* b) {
  auto weights = rounded(w, l.w->dims());
  if (!weights) return std::nullopt;
  replacement r{n, std::move(*weights), std::nullopt};
  if (!b) return r;
  const bool needed = match::operand(g, n, 2) != none ||
                      std::any_of(b->begin(), b->end(), [](double v) { return v != 0.0; });
  if (needed) {
    r.bias = rounded(*b, shape{l.outputs});
    if (!r.bias) return std::nullopt;
  }
  return r;
}

inline void store(rewriter& g, replacement r) {
  g.set_constant(r.n, 1, std::move(r.weights));
  if (!r.bias) return;
  if (match::operand(g, r.n, 2) != none)
    g.set_constant(r.n, 2, std::move(*r.bias));
  else
    g.set_input(r.n, 2, g.add_constant(g.at(r.n).name + "_bias", std::move(*r.bias)));
}

inline std::vector<double> weights_of(const linear& l) {
  const auto v = l.w->view<float>();
  return {v.begin(), v.end()};
}

}  // namespace ptq::folding
