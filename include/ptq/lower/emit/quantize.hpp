#pragma once
// SPDX-License-Identifier: Apache-2.0
// QuantizeLinear and DequantizeLinear as nodes: where codes enter or leave the graph as integer tensors.

#include <string>

#include <ptq/lower/emit/elementwise.hpp>
#include <ptq/lower/emitter.hpp>

namespace ptq::lowering {

template <class = void>
grid grid_of(const emitter& e, const node& n, std::int64_t axis_attribute, dtype fallback) {
  const auto who = "lower: node '" + n.name + "' (" + op_name(n.what) + ")";
  const auto* s = e.constant(n.inputs[1]);
  const auto zero_id = n.inputs.size() > 2 ? n.inputs[2] : none;
  if (!s || (zero_id != none && !e.constant(zero_id)))
    throw unsupported(who + ": a scale or zero point that is computed from data");
  grid g;
  for (float v : s->view<float>()) g.scale.push_back(v);
  g.zero_point.assign(g.scale.size(), 0);
  g.type = fallback;
  if (zero_id != none) {
    const auto& z = *e.constant(zero_id);
    g.type = z.type();
    if (is_float8(g.type)) throw unsupported(who + ": FP8 outside of a Q/DQ pair");
    if (z.size() != s->size())
      throw shape_error(who + ": zero point: expected " + std::to_string(s->size()) +
                        " elements, got " + std::to_string(z.size()));
    with_type(z.type(), [&](auto zero) {
      const auto v = z.template view<decltype(zero)>();
      for (std::size_t i = 0; i < v.size(); ++i) g.zero_point[i] = static_cast<std::int32_t>(v[i]);
    });
  }
  if (g.scale.size() > 1) {
    const shape d = e.dims(n.inputs[0]);
    const int axis = normalized_axis(axis_attribute, d.rank(), who);
    if (d[axis] != static_cast<std::int64_t>(g.scale.size()))
      throw shape_error(who + ": scale: expected " + std::to_string(d[axis]) + " elements, got " +
                        std::to_string(g.scale.size()));
    for (int i = axis + 1; i < d.rank(); ++i) g.inner *= d[i];
  }
  return g;
}

template <class = void>
void emit_quantize_linear(emitter& e, const node& n, const op::quantize_linear& q) {
  const auto x = n.inputs[0], y = n.outputs[0];
  const auto g = grid_of(e, n, q.axis, dtype::u8);
  const int src = e.real_plain(x);
  const int dst = e.create(e.at(y).name, g.type, e.dims(y), plain_order(e.dims(y).rank()));
  e.emit(n, e.plain(quantize_elements{e.dims(x).size(), g}), {src}, dst);
  e.produced(y, dst);
}

template <class = void>
void emit_dequantize_linear(emitter& e, const node& n, const op::dequantize_linear& q) {
  const auto x = n.inputs[0], y = n.outputs[0];
  const auto t = e.at(x).type;
  const auto g = grid_of(e, n, q.axis, t);
  const auto plain = plain_order(e.dims(y).rank());
  const bool eight_bits = t == dtype::u8 || t == dtype::s8;
  if (e.has_codes(y) && g.scale.size() == 1 && eight_bits) {
    const code c{g.scale[0], g.zero_point[0] + (t == dtype::s8 ? 128 : 0), dtype::u8};
    const int src = e.real_plain(x);
    if (c == e.codes_of(y)) {
      int s;
      if (t == dtype::u8) {
        s = e.view(src, e.at(y).name, e.dims(y), plain);
        e.slot_at(s).codes = c;
      } else {
        std::array<std::uint8_t, 256> flip{};
        for (int i = 0; i < 256; ++i) flip[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(i ^ 128);
        s = e.create_codes(y, plain);
        e.emit(n, lookup(e, e.dims(y).size(), flip), {src}, s, true);
      }
      return e.produced(y, s);
    }
  }
  const int src = e.real_plain(x);
  const int dst = e.create_real(y, plain);
  e.emit(n, e.plain(dequantize_elements{e.dims(x).size(), t, g}), {src}, dst);
  e.produced(y, dst);
}

}  // namespace ptq::lowering
