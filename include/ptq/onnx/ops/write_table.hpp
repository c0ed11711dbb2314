#pragma once
// SPDX-License-Identifier: Apache-2.0
// Every operator's writing function, and the opset that each needs.

#include <algorithm>
#include <variant>

#include <ptq/onnx/exporter.hpp>
#include <ptq/onnx/ops/names.hpp>
#include <ptq/onnx/ops/write_control.hpp>
#include <ptq/onnx/ops/write_elementwise.hpp>
#include <ptq/onnx/ops/write_layout.hpp>
#include <ptq/onnx/ops/write_recurrent.hpp>
#include <ptq/onnx/ops/write_window.hpp>

namespace ptq::onnx {

/// Q and DQ per channel came with this one.
inline constexpr int lowest_written_opset = 13;

inline int opset_for(const graph& g);

namespace detail_opset {

template <class Op>
int needed(const graph&, const node&, const Op&) {
  return lowest_written_opset;
}
inline int needed(const graph&, const node&, const op::unary& u) {
  for (const auto& row : unary_names)
    if (row.kind == u.kind) return row.since;
  return u.kind == unary_kind::gelu || u.kind == unary_kind::gelu_tanh ? 20 : lowest_written_opset;
}
inline bool short_integer(dtype t) {
  return t == dtype::s8 || t == dtype::u8 || t == dtype::s16 || t == dtype::u16;
}
inline int needed(const graph& g, const node& n, const op::binary&) {
  return short_integer(g[n.inputs[0]].type) ? 14 : lowest_written_opset;
}
/// Parts that may be uneven need num_outputs.
inline int needed(const graph& g, const node& n, const op::split& s) {
  if (n.inputs.size() > 1 && n.inputs[1] != none) return lowest_written_opset;
  const value& x = g[n.inputs[0]];
  const int rank = x.shaped ? x.dims.rank() : 0;
  const auto axis = s.axis < 0 ? s.axis + rank : s.axis;
  const auto extent = axis >= 0 && axis < rank ? x.dims[static_cast<int>(axis)] : unknown;
  const auto parts = static_cast<std::int64_t>(n.outputs.size());
  return extent >= 0 && extent % parts == 0 ? lowest_written_opset : 18;
}
inline int needed(const graph&, const node&, const op::layer_norm& l) { return l.rms ? 23 : 17; }
inline int needed(const graph&, const node&, const op::group_norm& o) {
  return o.groups ? 21 : lowest_written_opset;
}
inline int needed(const graph&, const node&, const op::pool& p) {
  if (p.global || p.kind == pool_kind::max) return lowest_written_opset;
  if (p.kind == pool_kind::average) return dilated(p.win) ? 19 : lowest_written_opset;
  return dilated(p.win) || p.ceil_mode ? 18 : lowest_written_opset;
}
inline int needed(const graph& g, const node& n, const op::reduce& r) {
  if (r.kind == reduce_kind::sum) return lowest_written_opset;
  if (g[n.inputs[0]].type == dtype::boolean) return 20;
  if (n.inputs.size() < 2 || n.inputs[1] == none)
    return r.noop_with_empty_axes ? 18 : lowest_written_opset;
  const tensor* axes = g.constant_of(n.inputs[1]);
  return axes && axes->size() > 0 && axes->type() == dtype::s64 ? lowest_written_opset : 18;
}
inline int needed(const graph&, const node&, const op::reshape& r) {
  return r.allow_zero ? 14 : lowest_written_opset;
}
inline int needed(const graph&, const node& n, const op::pad& p) {
  if (p.how == op::pad::mode::wrap) return 19;
  return n.inputs.size() > 3 && n.inputs[3] != none ? 18 : lowest_written_opset;
}
inline int needed(const graph&, const node&, const op::resize& r) {
  if (r.at == op::resize::coordinates::half_pixel_symmetric) return 19;
  return r.antialias || !r.axes.empty() || r.keep_aspect != op::resize::policy::stretch
             ? 18
             : lowest_written_opset;
}
inline int needed(const graph&, const node&, const op::shape_of& s) {
  return s == op::shape_of{} ? lowest_written_opset : 15;
}
inline int needed(const graph&, const node&, const op::triangle&) { return 14; }

inline int needed(const graph&, const node&, const op::recurrent& r) {
  return r.batch_first ? 14 : lowest_written_opset;
}

inline int needed(const graph&, const node&, const op::control& c) {
  int opset = lowest_written_opset;
  for (const auto& b : c.bodies) opset = std::max(opset, opset_for(*b));
  return opset;
}

/// 16-bit codes.
inline bool wide(dtype t) { return t == dtype::s16 || t == dtype::u16; }
inline bool float8(dtype t) { return t == dtype::f8e4m3 || t == dtype::f8e5m2; }

inline int needed(const graph& g, const node& n, const op::quantize_linear&) {
  return wide(g[n.outputs[0]].type) ? 21 : lowest_written_opset;
}
inline int needed(const graph& g, const node& n, const op::dequantize_linear&) {
  return wide(g[n.inputs[0]].type) ? 21 : lowest_written_opset;
}

}  // namespace detail_opset

/// The lowest opset that has all of a graph's operators in the form in which they are written.
inline int opset_for(const graph& g) {
  int opset = lowest_written_opset;
  for (const auto& n : g.nodes)
    opset = std::max(
        opset, n.what.visit([&](const auto& o) { return detail_opset::needed(g, n, o); }));
  for (const auto& v : g.values)
    if (v.quant && detail_opset::float8(v.quant->type)) opset = std::max(opset, 19);
  for (const auto& v : g.values)
    if (v.quant && detail_opset::wide(v.quant->type)) opset = std::max(opset, 21);
  return opset;
}

inline void write_node(exporter& e, const node& n) {
  n.what.visit([&](const auto& o) { write(e, n, o); });
}

}  // namespace ptq::onnx
