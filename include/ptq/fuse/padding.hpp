#pragma once
// SPDX-License-Identifier: Apache-2.0
// A Pad goes into the window of what follows, where the result is the same number for number:
//   zeros into a convolution; zeros into an average that counts its padding, or has none of its
//   own; zeros into a maximum of values that are never negative, or −∞ into any maximum, as long as
//   each window also holds a real element.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include <ptq/fuse/clamps.hpp>
#include <ptq/graph/match.hpp>
#include <ptq/graph/rewrite.hpp>

namespace ptq::fusing {

struct constant_pad {
  value_id x = none;
  op::ints spatial;  // all begins, then all ends
  float value = 0.0f;
};

/// A constant Pad of spatial axes alone, by amounts ≥ 0.
inline std::optional<constant_pad> pad_of(const rewriter& g, int n) {
  const auto* o = match::as<op::pad>(g, n);
  if (!o || o->how != op::pad::mode::constant) return std::nullopt;
  constant_pad p{.x = match::operand(g, n, 0), .spatial = {}};
  const auto& x = g[p.x];
  const auto amounts = match::integers(g, match::operand(g, n, 1));
  if (!x.shaped || x.dims.rank() < 3 || !amounts) return std::nullopt;
  const auto rank = static_cast<std::size_t>(x.dims.rank());
  const auto axes_id = match::operand(g, n, 3);
  auto axes = axes_id == none ? std::optional<op::ints>(op::ints{}) : match::integers(g, axes_id);
  if (!axes) return std::nullopt;
  if (axes_id == none)
    for (std::size_t i = 0; i < rank; ++i) axes->push_back(static_cast<std::int64_t>(i));
  if (amounts->size() != 2 * axes->size()) return std::nullopt;
  if (const auto v = match::operand(g, n, 2); v != none) {
    const auto number = match::scalar(g, v);
    if (!number) return std::nullopt;
    p.value = *number;
  }
  p.spatial.assign(2 * (rank - 2), 0);
  for (std::size_t i = 0; i < axes->size(); ++i) {
    const auto begin = (*amounts)[i], end = (*amounts)[axes->size() + i];
    if (begin < 0 || end < 0) return std::nullopt;
    if (begin == 0 && end == 0) continue;
    auto a = (*axes)[i] + ((*axes)[i] < 0 ? static_cast<std::int64_t>(rank) : 0);
    if (a < 2) return std::nullopt;
    p.spatial[static_cast<std::size_t>(a - 2)] = begin;
    p.spatial[rank - 2 + static_cast<std::size_t>(a - 2)] = end;
  }
  return p;
}

inline bool never_negative(const rewriter& g, value_id x) {
  const int p = match::real_producer(g, x);
  if (p < 0) return false;
  if (const auto c = clamp_of(g, p)) return c->low >= 0.0f;
  if (const auto* c = match::as<op::conv>(g, p)) return c->act.low >= 0.0f;
  if (const auto* b = match::as<op::binary>(g, p)) return b->act.low >= 0.0f;
  return false;
}

inline std::optional<op::window> widened(op::window w, const op::ints& by) {
  if (w.same != op::window::auto_pad::none) return std::nullopt;
  if (w.pads.empty()) w.pads.assign(by.size(), 0);
  if (w.pads.size() != by.size()) return std::nullopt;
  for (std::size_t i = 0; i < by.size(); ++i) w.pads[i] += by[i];
  return w;
}

/// Padding narrower than the kernel, no dilation, no ceil mode: the windows are the same ones, and
/// none lies in padding.
inline bool windows_stay(const op::pool& o, const op::window& w) {
  const auto rank = w.kernel.size();
  if (o.ceil_mode || o.global || w.pads.size() != 2 * rank) return false;
  for (auto d : w.dilations)
    if (d != 1) return false;
  for (std::size_t i = 0; i < w.pads.size(); ++i)
    if (w.pads[i] >= w.kernel[i % rank]) return false;
  return true;
}

inline std::optional<operation> padded_pool(const rewriter& g, op::pool o, const constant_pad& p) {
  const auto w = widened(o.win, p.spatial);
  if (!w || !windows_stay(o, *w)) return std::nullopt;
  const bool own = std::any_of(o.win.pads.begin(), o.win.pads.end(), [](auto e) { return e != 0; });
  if (o.kind == pool_kind::average) {
    if (p.value != 0.0f || (own && !o.count_include_pad)) return std::nullopt;
    o.count_include_pad = true;
  } else if (o.kind == pool_kind::max) {
    const bool lowest = p.value == -std::numeric_limits<float>::infinity();
    if (!lowest && !(p.value == 0.0f && never_negative(g, p.x))) return std::nullopt;
  } else {
    return std::nullopt;
  }
  o.win = *w;
  return o;
}

/// The reader of a padded value with the padding in its own window.
inline std::optional<operation> padded(const rewriter& g, int reader, const constant_pad& p) {
  if (const auto* o = match::as<op::pool>(g, reader))
    return g.at(reader).outputs.size() == 1 ? padded_pool(g, *o, p) : std::nullopt;
  const auto* c = match::as<op::conv>(g, reader);
  if (!c || p.value != 0.0f) return std::nullopt;
  const auto w = widened(c->win, p.spatial);
  if (!w) return std::nullopt;
  auto o = *c;
  o.win = *w;
  return o;
}

/// One sweep; true if something fused.
inline bool paddings(graph& g) {
  rewriter edit(std::move(g));
  const int count = edit.node_count();
  for (int n = 0; n < count; ++n) {
    if (edit.removed(n)) continue;
    const auto p = pad_of(edit, n);
    const auto y = match::result(edit, n);
    if (!p || edit[y].quant) continue;
    const auto readers = edit.consumers(y);
    for (int r : readers) {
      if (match::operand(edit, r, 0) != y) continue;
      auto what = padded(edit, r, *p);
      if (!what) continue;
      auto inputs = edit.at(r).inputs;
      inputs[0] = p->x;
      edit.set(r, std::move(*what), std::move(inputs));
    }
  }
  const bool changed = edit.changed();
  g = edit.finish();
  return changed;
}

}  // namespace ptq::fusing
