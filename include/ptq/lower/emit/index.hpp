#pragma once
// SPDX-License-Identifier: Apache-2.0
// Operators that read by index: gather, pad, resize, and the rarely used rest (sorting, running sums, triangles, fills).
// Their kernels are plain loops: none is hot in the networks we know, but for gathers of whole rows and resizes, whose
// inner loop runs over contiguous memory.

#include <string>
#include <vector>

#include <ptq/lower/emit/elementwise.hpp>
#include <ptq/lower/emit/move.hpp>
#include <ptq/lower/emit/taps.hpp>
#include <ptq/lower/emitter.hpp>

namespace ptq::lowering {

template <class = void>
void emit_gather(emitter& e, const node& n, const op::gather& g) {
  const auto x = n.inputs[0], y = n.outputs[0];
  const auto plain = plain_order(e.dims(x).rank());
  const auto m = begin_move(e, x, y, plain, plain_order(e.dims(y).rank()));
  const int index = e.real_plain(n.inputs[1]);
  const shape data = e.dims(x), at = e.dims(n.inputs[1]);
  const auto t = e.at(n.inputs[1]).type;
  if (g.what == op::gather::kind::axis) {
    const int axis = normalized_axis(g.axis, data.rank(), "lower: node '" + n.name + "' (Gather)");
    std::int64_t outer = 1, inner = 1;
    for (int i = 0; i < axis; ++i) outer *= data[i];
    for (int i = axis + 1; i < data.rank(); ++i) inner *= data[i];
    const auto extent = data[axis], count = at.size();
    e.emit(n, e.plain(gather_rows{outer, count, extent, inner * m.bytes, t}), {m.src, index}, m.dst);
  } else if (g.what == op::gather::kind::elements) {
    const int axis = normalized_axis(g.axis, data.rank(), "lower: node '" + n.name + "' (GatherElements)");
    e.emit(n, e.plain(gather_elements{at.dims, strides_of(data), axis, data[axis], t, m.bytes}), {m.src, index}, m.dst);
  } else {
    const auto strides = strides_of(data);
    const auto depth = at[at.rank() - 1], batch = g.batch_dims;
    std::int64_t inner = 1;
    gather_tuples k{.tuples = 1, .batch_bytes = m.bytes, .extent = {}, .stride = {}, .index = t};
    for (int i = 0; i + 1 < at.rank(); ++i) k.tuples *= at[i];
    for (int i = static_cast<int>(batch); i + 1 < at.rank(); ++i) k.per_batch *= at[i];
    for (int i = static_cast<int>(batch); i < data.rank(); ++i) k.batch_bytes *= data[i];
    for (int i = static_cast<int>(batch + depth); i < data.rank(); ++i) inner *= data[i];
    for (auto d = batch; d < batch + depth; ++d) {
      k.extent.push_back(data[static_cast<int>(d)]);
      k.stride.push_back(strides[static_cast<std::size_t>(d)] * m.bytes);
    }
    k.run = inner * m.bytes;
    e.emit(n, e.plain(std::move(k)), {m.src, index}, m.dst);
  }
  e.produced(y, m.dst);
}

/// Fills a slot with one element, then the caller copies into it.
template <class = void>
void emit_fill(emitter& e, const node& n, int dst, const tensor& element) {
  e.emit(n, e.plain(fill_elements{e.slot_at(dst).dims.size(), element}), {}, dst,
         e.slot_at(dst).codes.has_value());
}

/// begin and end padding per axis
template <class = void>
std::vector<std::int64_t> pads_of(const emitter& e, const node& n) {
  const int rank = e.dims(n.inputs[0]).rank();
  const auto* t = e.constant(n.inputs[1]);
  if (!t) throw unsupported("lower: node '" + n.name + "' (Pad): pads that are computed from data");
  const auto v = t->view<std::int64_t>();
  std::vector<std::int64_t> pads(static_cast<std::size_t>(2 * rank), 0);
  std::vector<int> axes;
  if (n.inputs.size() > 3 && n.inputs[3] != none) {
    const auto* a = e.constant(n.inputs[3]);
    if (!a) throw unsupported("lower: node '" + n.name + "' (Pad): axes that are computed from data");
    for (auto i : a->view<std::int64_t>()) axes.push_back(normalized_axis(i, rank, "lower: Pad"));
  } else {
    axes = plain_order(rank);
  }
  if (v.size() != 2 * axes.size())
    throw shape_error("lower: node '" + n.name + "' (Pad): pads: expected " +
                      std::to_string(2 * axes.size()) + " entries, got " + std::to_string(v.size()));
  for (std::size_t i = 0; i < axes.size(); ++i) {
    pads[static_cast<std::size_t>(axes[i])] = v[i];
    pads[static_cast<std::size_t>(axes[i] + rank)] = v[i + axes.size()];
  }
  return pads;
}

template <class = void>
void emit_pad(emitter& e, const node& n, const op::pad& p) {
  const auto x = n.inputs[0], y = n.outputs[0];
  const shape in = e.dims(x), out = e.dims(y);
  const auto pads = pads_of(e, n);
  const auto o = e.order_of(x);
  const auto m = begin_move(e, x, y, o, o);
  const auto sx = strides_in(in, o), sy = strides_in(out, o);
  if (p.how != op::pad::mode::constant) {
    std::vector<axis_taps> taps;
    for (int a = 0; a < in.rank(); ++a) taps.push_back(pad_taps(p.how, in[a], out[a], pads[static_cast<std::size_t>(a)]));
    e.emit(n, e.plain(map_elements{walk_of(in, out, o, std::move(taps)), m.bytes}), {m.src}, m.dst,
           e.slot_at(m.dst).codes.has_value());
    return e.produced(y, m.dst);
  }
  const auto value_id_ = n.inputs.size() > 2 ? n.inputs[2] : none;
  if (value_id_ != none && !e.constant(value_id_))
    throw unsupported("lower: node '" + n.name + "' (Pad): a value that is computed from data");
  tensor element(e.slot_at(m.src).type, {1});
  if (e.slot_at(m.dst).codes) {
    const float real = value_id_ == none ? 0.0f : e.real_constant(value_id_).view<float>()[0];
    const auto c = e.codes_of(y);
    const auto q = quantize_value(real, c.scale, c.zero_point, 0, highest_code(c.type));
    if (c.type == dtype::u16)
      element.mutable_view<std::uint16_t>()[0] = static_cast<std::uint16_t>(q);
    else
      element.mutable_view<std::uint8_t>()[0] = static_cast<std::uint8_t>(q);
  } else if (value_id_ != none) {
    element = e.real_constant(value_id_);
  }
  emit_fill(e, n, m.dst, element);
  // Negative pads crop.
  shape part = in;
  std::int64_t src = 0, dst = 0;
  for (int a = 0; a < in.rank(); ++a) {
    const auto u = static_cast<std::size_t>(a);
    const auto begin = pads[u], end = pads[u + in.dims.size()];
    part[a] = std::max<std::int64_t>(0, in[a] + std::min<std::int64_t>(begin, 0) + std::min<std::int64_t>(end, 0));
    src += std::max<std::int64_t>(-begin, 0) * sx[u];
    dst += std::max<std::int64_t>(begin, 0) * sy[u];
  }
  if (part.size() > 0) {
    auto args = copy_between(part, sx, sy, m.bytes);
    args.src_offset = src;
    args.dst_offset = dst;
    emit_copy(e, n, args, m.src, m.dst);
  }
  e.produced(y, m.dst);
}

template <class = void>
void emit_resize(emitter& e, const node& n, const op::resize& r) {
  const auto x = n.inputs[0], y = n.outputs[0];
  const shape in = e.dims(x), out = e.dims(y);
  std::vector<axis_taps> taps;
  const auto* scales = e.constant(n.inputs.size() > 2 ? n.inputs[2] : none);
  const auto* roi = e.constant(n.inputs.size() > 1 ? n.inputs[1] : none);
  for (int a = 0; a < in.rank(); ++a) taps.push_back(resize_taps(r, a, in, out, scales, roi));
  const auto o = in.rank() >= 3 && in[1] == out[1] ? channels_last(in.rank()) : plain_order(in.rank());
  if (r.how == op::resize::mode::nearest && r.at != op::resize::coordinates::tf_crop_and_resize) {
    const auto m = begin_move(e, x, y, o, o);
    e.emit(n, e.plain(map_elements{walk_of(in, out, o, std::move(taps)), m.bytes}), {m.src}, m.dst,
           e.slot_at(m.dst).codes.has_value());
    return e.produced(y, m.dst);
  }
  if (e.at(x).type != dtype::f32)
    throw unsupported("lower: " + label(n) + ": interpolates f32, got " + name_of(e.at(x).type));
  const int src = e.real(x, o), dst = e.create_real(y, o);
  e.emit(n, e.plain(interpolate_elements{walk_of(in, out, o, std::move(taps)), r.extrapolation}), {src}, dst);
  e.produced(y, dst);
}

template <class = void>
void emit_arg_reduce(emitter& e, const node& n, const op::arg_reduce& a) {
  const auto x = n.inputs[0], y = n.outputs[0];
  const shape in = e.dims(x);
  const int axis = normalized_axis(a.axis, in.rank(), "lower: node '" + n.name + "'");
  std::int64_t outer = 1, inner = 1;
  for (int i = 0; i < axis; ++i) outer *= in[i];
  for (int i = axis + 1; i < in.rank(); ++i) inner *= in[i];
  const auto size = in[axis];
  const int src = e.real_plain(x);
  const int dst = e.create(e.at(y).name, dtype::s64, e.dims(y), plain_order(e.dims(y).rank()));
  e.emit(n, e.plain(arg_elements{e.at(x).type, outer, size, inner, a.max, a.select_last}), {src}, dst);
  e.produced(y, dst);
}

template <class = void>
void emit_top_k(emitter& e, const node& n, const op::top_k& t) {
  const auto x = n.inputs[0], y = n.outputs[0];
  const shape in = e.dims(x), out = e.dims(y);
  const int axis = normalized_axis(t.axis, in.rank(), "lower: node '" + n.name + "' (TopK)");
  std::int64_t outer = 1, inner = 1;
  for (int i = 0; i < axis; ++i) outer *= in[i];
  for (int i = axis + 1; i < in.rank(); ++i) inner *= in[i];
  const auto size = in[axis], k = out[axis];
  const int src = e.real_plain(x);
  const auto emit_part = [&](value_id id, bool indices) {
    if (id == none) return;
    const auto t_in = e.at(x).type;
    const int dst = e.create(e.at(id).name, indices ? dtype::s64 : t_in, out, plain_order(out.rank()));
    e.emit(n, e.plain(top_elements{t_in, outer, size, inner, k, t.largest, indices}), {src}, dst);
    e.produced(id, dst);
  };
  emit_part(y, false);
  emit_part(n.outputs.size() > 1 ? n.outputs[1] : none, true);
}

template <class = void>
void emit_cumulative_sum(emitter& e, const node& n, const op::cumulative_sum& c) {
  const auto x = n.inputs[0], y = n.outputs[0];
  const shape in = e.dims(x);
  const auto* t = e.constant(n.inputs[1]);
  if (!t) throw unsupported("lower: node '" + n.name + "' (CumSum): an axis that is computed from data");
  const auto raw = t->type() == dtype::s32 ? t->view<std::int32_t>()[0] : t->view<std::int64_t>()[0];
  const int axis = normalized_axis(raw, in.rank(), "lower: node '" + n.name + "' (CumSum)");
  std::int64_t inner = 1;
  for (int i = axis + 1; i < in.rank(); ++i) inner *= in[i];
  const auto size = in[axis], outer = size ? in.size() / size / std::max<std::int64_t>(inner, 1) : 0;
  const int src = e.real_plain(x), dst = e.create_real(y, plain_order(in.rank()));
  e.emit(n, e.plain(running_sum{e.at(x).type, outer, size, inner, c.exclusive, c.reverse}), {src}, dst);
  e.produced(y, dst);
}

template <class = void>
void emit_triangle(emitter& e, const node& n, const op::triangle& t) {
  const auto x = n.inputs[0], y = n.outputs[0];
  const shape in = e.dims(x);
  std::int64_t shift = 0;
  if (n.inputs.size() > 1 && n.inputs[1] != none) {
    const auto* k = e.constant(n.inputs[1]);
    if (!k) throw unsupported("lower: node '" + n.name + "' (Trilu): a diagonal computed from data");
    shift = k->view<std::int64_t>()[0];
  }
  const auto rows = in[in.rank() - 2], columns = in[in.rank() - 1], total = in.size();
  const int src = e.real_plain(x), dst = e.create_real(y, plain_order(in.rank()));
  const auto bytes = static_cast<std::int64_t>(size_of(e.at(x).type));
  e.emit(n, e.plain(triangle_elements{total, rows, columns, shift, bytes, t.upper}), {src}, dst);
  e.produced(y, dst);
}

template <class = void>
void emit_constant_of_shape(emitter& e, const node& n, const op::constant_of_shape& c) {
  const auto y = n.outputs[0];
  const int dst = e.create_real(y, plain_order(e.dims(y).rank()));
  emit_fill(e, n, dst, c.value.empty() ? tensor(dtype::f32, {1}) : c.value);
  e.produced(y, dst);
}

template <class = void>
void emit_range(emitter& e, const node& n) {
  const auto y = n.outputs[0];
  const int start = e.real_plain(n.inputs[0]), delta = e.real_plain(n.inputs[2]);
  const int dst = e.create_real(y, plain_order(1));
  e.emit(n, e.plain(range_elements{e.at(y).type, e.dims(y)[0]}), {start, delta}, dst);
  e.produced(y, dst);
}

template <class = void>
void emit_shape_of(emitter& e, const node& n, const op::shape_of& s) {
  const shape in = e.dims(n.inputs[0]);
  const auto rank = static_cast<std::int64_t>(in.rank());
  const auto bound = [&](std::int64_t v) { return std::clamp<std::int64_t>(v < 0 ? v + rank : v, 0, rank); };
  std::vector<std::int64_t> extents;
  for (auto i = bound(s.start); i < bound(s.end); ++i) extents.push_back(in[static_cast<int>(i)]);
  const auto y = n.outputs[0];
  const auto t = tensor::from<std::int64_t>({static_cast<std::int64_t>(extents.size())}, std::span<const std::int64_t>(extents));
  e.produced(y, e.add_constant(e.at(y).name, t, plain_order(1)));
}

}  // namespace ptq::lowering
