#pragma once
// SPDX-License-Identifier: Apache-2.0
// Relu, Relu6 and Clip become the bounds of the layer before them, which costs nothing in integers.
// A value with qparams in between keeps both nodes: it is rounded before it is clamped.

#include <algorithm>
#include <limits>
#include <optional>
#include <variant>

#include <ptq/graph/infer.hpp>
#include <ptq/graph/match.hpp>
#include <ptq/graph/rewrite.hpp>

namespace ptq::fusing {

/// The bounds that a node applies, if that is all it does.
inline std::optional<clamp> clamp_of(const rewriter& g, int n) {
  const auto* u = match::as<op::unary>(g, n);
  if (!u || g[match::operand(g, n, 0)].type != dtype::f32) return std::nullopt;
  if (u->kind == unary_kind::relu) return clamp{.low = 0.0f};
  if (u->kind == unary_kind::clip && u->alpha <= u->beta) return clamp{u->alpha, u->beta};
  return std::nullopt;
}

/// first, then second
inline clamp composed(clamp first, clamp second) {
  return {std::min(std::max(first.low, second.low), second.high),
          std::min(std::max(first.high, second.low), second.high)};
}

/// The operator with `c` applied to its result; nothing if it can't carry bounds.
struct with_clamp {
  clamp c;
  template <class Op>
  std::optional<operation> bounded(Op o) const {
    o.act = composed(o.act, c);
    return o;
  }
  std::optional<operation> operator()(const op::conv& o) const { return bounded(o); }
  std::optional<operation> operator()(const op::conv_transpose& o) const { return bounded(o); }
  std::optional<operation> operator()(const op::matmul& o) const { return bounded(o); }
  std::optional<operation> operator()(const op::binary& o) const {
    const bool arithmetic = o.kind == binary_kind::add || o.kind == binary_kind::sub ||
                            o.kind == binary_kind::mul || o.kind == binary_kind::div;
    return arithmetic ? bounded(o) : std::nullopt;
  }
  std::optional<operation> operator()(const op::unary& o) const {
    constexpr float inf = std::numeric_limits<float>::infinity();
    if (o.kind != unary_kind::relu && o.kind != unary_kind::clip) return std::nullopt;
    const bool relu = o.kind == unary_kind::relu;
    const clamp both = composed({relu ? 0.0f : o.alpha, relu ? inf : o.beta}, c);
    if (both == clamp{0.0f, inf}) return op::unary{unary_kind::relu};
    return op::unary{unary_kind::clip, both.low, both.high};
  }
  template <class Op>
  std::optional<operation> operator()(const Op&) const {
    return std::nullopt;
  }
};

/// One sweep; true if something fused.
inline bool clamps(graph& g) {
  rewriter edit(std::move(g));
  const int count = edit.node_count();
  for (int n = 0; n < count; ++n) {
    if (edit.removed(n)) continue;
    const auto c = clamp_of(edit, n);
    const int p = c ? match::sole_producer(edit, match::operand(edit, n, 0)) : -1;
    if (p < 0) continue;
    auto what = edit.at(p).what.visit(with_clamp{*c});
    if (!what) continue;
    edit.set(p, std::move(*what));
    edit.take_over(p, match::result(edit, n));
  }
  const bool changed = edit.changed();
  g = edit.finish();
  return changed;
}

}  // namespace ptq::fusing
