#pragma once
// SPDX-License-Identifier: Apache-2.0
// q → mover → DQ  becomes  q → DQ → mover, the result carrying the same qparams. Some writers
// (tf2onnx) leave transposes and reshapes between Q and DQ; as operators on codes they would keep
// their neighbours from being seen as quantized. Exact: with one scale for the tensor, moving
// elements and taking maxima commute with DQ. Runs before merge_quantization.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <variant>

#include <ptq/graph/graph.hpp>
#include <ptq/onnx/merge_quantization.hpp>

namespace ptq::onnx {

namespace detail_hoist {

/// Operators whose result holds elements of their first input only.
inline bool moves(const operation& what) {
  if (const auto* g = std::get_if<op::gather>(&what)) return g->what == op::gather::kind::axis;
  if (const auto* p = std::get_if<op::pool>(&what)) return p->kind == pool_kind::max;
  return std::holds_alternative<op::reshape>(what) || std::holds_alternative<op::transpose>(what) ||
         std::holds_alternative<op::slice>(what) || std::holds_alternative<op::expand>(what) ||
         std::holds_alternative<op::tile>(what) || std::holds_alternative<op::depth_to_space>(what);
}

/// The one scale and zero point of a DQ node on codes of `type`, if they are sound constants.
inline std::optional<qparams> single_params(const graph& g, const node& n, dtype type) {
  const tensor* s = g.constant_of(n.inputs[1]);
  const bool has_zero = n.inputs.size() > 2 && n.inputs[2] != none;
  const tensor* z = has_zero ? g.constant_of(n.inputs[2]) : nullptr;
  if (!s || s->type() != dtype::f32 || s->size() != 1 || (has_zero && !z)) return std::nullopt;
  if (z && (z->type() != type || z->size() != 1)) return std::nullopt;
  const float scale = s->view<float>()[0];
  if (!(scale > 0.0f) || !std::isfinite(scale)) return std::nullopt;
  return qparams{type, {scale}, {z ? quantization_merger::code(*z, 0) : 0}, -1};
}

}  // namespace detail_hoist

/// g in topological order; returns it in topological order.
inline graph hoist_dequantize(graph g) {
  using namespace detail_hoist;
  uses u(g);
  const auto at = [](value_id id) { return static_cast<std::size_t>(id); };
  for (std::size_t n = g.nodes.size(); n-- > 0;) {
    for (std::size_t d = n; std::holds_alternative<op::dequantize_linear>(g.nodes[d].what);) {
      const value_id x = g.nodes[d].inputs[0], y = g.nodes[d].outputs[0];
      const dtype type = g[x].type;
      if (u.producer[at(x)] < 0 || !u.single_consumer(x)) break;
      const auto m = static_cast<std::size_t>(u.producer[at(x)]);
      if (!moves(g.nodes[m].what) || g.nodes[m].outputs.size() != 1) break;
      const value_id a = g.nodes[m].inputs[0];
      if ((type != dtype::u8 && type != dtype::s8) || g[a].type != type || g[a].quant) break;
      const auto q = single_params(g, g.nodes[d], type);
      if (!q) break;
      // a → mover → x → DQ → y  turns into  a → DQ → x → mover → y; nothing between the two reads
      // x.
      g.nodes[m].inputs[0] = x;
      g.nodes[m].outputs[0] = y;
      g.nodes[d].inputs[0] = a;
      g.nodes[d].outputs[0] = x;
      std::swap(g.nodes[m], g.nodes[d]);
      g[x].type = g[y].type = dtype::f32;
      g[x].dims = g[a].dims;
      g[x].shaped = g[a].shaped;
      g[y].quant = *q;
      u.producer[at(x)] = static_cast<std::int32_t>(m);  // the rest of `u` holds
      u.producer[at(y)] = static_cast<std::int32_t>(d);
      d = m;
    }
  }
  return g;
}

}  // namespace ptq::onnx
