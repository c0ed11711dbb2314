#pragma once
// SPDX-License-Identifier: Apache-2.0
// Data movers. They move codes where input and output share a grid, and whatever else the value is otherwise. Reshape
// and transpose are views.

#include <algorithm>
#include <string>
#include <vector>

#include <ptq/lower/emit/elementwise.hpp>
#include <ptq/lower/emitter.hpp>

namespace ptq::lowering {

/// True when the mover may carry codes from x to y.
template <class = void>
bool moves_codes(const emitter& e, value_id x, value_id y) {
  const auto coded = [&](value_id id) { return e.has_codes(id) || e.has_wide_codes(id); };
  return coded(x) && coded(y) && e.codes_of(x) == e.codes_of(y);
}

/// A source slot and a fresh destination slot of one form.
struct move_pair {
  int src, dst;
  int bytes;
};
template <class = void>
move_pair begin_move(emitter& e, value_id x, value_id y, const order& from, const order& to) {
  move_pair m{};
  if (moves_codes(e, x, y)) {
    m.src = e.codes(x, from);
    m.dst = e.create_codes(y, to);
  } else {
    m.src = e.real(x, from);
    m.dst = e.create_real(y, to);
  }
  m.bytes = static_cast<int>(size_of(e.slot_at(m.src).type));
  return m;
}

template <class = void>
step& emit_copy(emitter& e, const node& n, kernels::copy_args args, int src, int dst) {
  const bool codes = e.slot_at(dst).codes.has_value();
  return e.emit(n, e.prepare(&kernels::kernel_table::copy, args), {src}, dst, codes);
}

template <class = void>
void emit_reshape(emitter& e, const node& n) {
  const auto x = n.inputs[0], y = n.outputs[0];
  const auto plain = plain_order(e.dims(x).rank());
  const bool codes = moves_codes(e, x, y);
  const int src = codes ? e.codes(x, plain) : e.real(x, plain);
  e.produced(y, e.view(src, e.at(y).name, e.dims(y), plain_order(e.dims(y).rank())));
}

template <class = void>
void emit_transpose(emitter& e, const node& n, const op::transpose& t) {
  const auto x = n.inputs[0], y = n.outputs[0];
  const int rank = e.dims(x).rank();
  std::vector<int> position(static_cast<std::size_t>(rank));
  for (int i = 0; i < rank; ++i) {
    const int from = t.perm.empty() ? rank - 1 - i : static_cast<int>(t.perm[static_cast<std::size_t>(i)]);
    position[static_cast<std::size_t>(from)] = i;
  }
  const auto o = e.order_of(x);
  const int src = moves_codes(e, x, y) ? e.codes(x, o) : e.real(x);
  order memory;
  for (int axis : e.slot_at(src).memory) memory.push_back(position[static_cast<std::size_t>(axis)]);
  e.produced(y, e.view(src, e.at(y).name, e.dims(y), memory));
}

template <class = void>
void emit_identity(emitter& e, const node& n) {
  const auto x = n.inputs[0], y = n.outputs[0];
  const auto o = e.order_of(x);
  if (e.has_codes(x) && e.has_codes(y) && !moves_codes(e, x, y)) {
    const int src = e.codes(x, o), dst = e.create_codes(y, o);
    const auto table = table_of(e.codes_of(x), e.codes_of(y), [](float v) { return v; });
    e.emit(n, lookup(e, e.dims(x).size(), table), {src}, dst, true);
    return e.produced(y, dst);
  }
  const int src = moves_codes(e, x, y) ? e.codes(x, o) : e.real(x);
  e.produced(y, e.view(src, e.at(y).name, e.dims(y), e.slot_at(src).memory));
}

/// One input of a concatenation to its place: a copy, a requantizing look-up, or a quantization first.
template <class = void>
void emit_concat_input(emitter& e, const node& n, value_id x, value_id y, int dst,
                       const order& o, std::int64_t element) {
  const auto dst_strides = strides_in(e.dims(y), o);
  int src;
  if (!e.slot_at(dst).codes) {
    src = e.real(x, e.dims(x).rank() == e.dims(y).rank() ? o : plain_order(e.dims(x).rank()));
  } else if (moves_codes(e, x, y)) {
    src = e.codes(x, o);
  } else if (e.has_codes(x)) {
    const int from = e.codes(x, o);
    src = e.create(e.at(x).name, dtype::u8, e.dims(x), o, e.codes_of(y));
    const auto table = table_of(e.codes_of(x), e.codes_of(y), [](float v) { return v; });
    e.emit(n, lookup(e, e.dims(x).size(), table), {from}, src, true);
  } else {
    const int from = e.real(x, o);
    src = e.create(e.at(x).name, dtype::u8, e.dims(x), o, e.codes_of(y));
    const auto c = e.codes_of(y);
    e.emit(n,
           e.prepare(&kernels::kernel_table::quantize,
                     {.size = e.dims(x).size(), .scale = c.scale, .zero_point = c.zero_point}),
           {from}, src);
  }
  auto args = copy_between(e.dims(x), strides_in(e.dims(x), e.slot_at(src).memory), dst_strides,
                           static_cast<int>(size_of(e.slot_at(src).type)));
  args.dst_offset = element;
  emit_copy(e, n, args, src, dst);
}

template <class = void>
void emit_concat(emitter& e, const node& n, const op::concat& c) {
  const auto y = n.outputs[0];
  const int rank = e.dims(y).rank();
  const int axis = normalized_axis(c.axis, rank, "lower: concat");
  order o = plain_order(rank);
  for (auto x : n.inputs)
    if (!e.constant(x)) {
      o = e.order_of(x);
      break;
    }
  const bool moved = std::all_of(n.inputs.begin(), n.inputs.end(), [&](value_id x) {
    return moves_codes(e, x, y) && !e.constant(x);
  });
  const int dst = e.has_codes(y) || moved ? e.create_codes(y, o) : e.create_real(y, o);
  const auto stride = strides_in(e.dims(y), o)[static_cast<std::size_t>(axis)];
  std::int64_t at = 0;
  for (auto x : n.inputs) {
    if (e.dims(x).size() > 0) emit_concat_input(e, n, x, y, dst, o, at * stride);
    at += e.dims(x)[axis];
  }
  e.produced(y, dst);
}

template <class = void>
void emit_split(emitter& e, const node& n, const op::split& s) {
  const auto x = n.inputs[0];
  const int axis = normalized_axis(s.axis, e.dims(x).rank(), "lower: split");
  const auto o = e.order_of(x);
  std::int64_t at = 0;
  for (auto y : n.outputs) {
    if (y == none) continue;
    const auto m = begin_move(e, x, y, o, o);
    const auto src_strides = strides_in(e.dims(x), o);
    auto args = copy_between(e.dims(y), src_strides, strides_in(e.dims(y), o), m.bytes);
    args.src_offset = at * src_strides[static_cast<std::size_t>(axis)];
    emit_copy(e, n, args, m.src, m.dst);
    at += e.dims(y)[axis];
    e.produced(y, m.dst);
  }
}

/// Start and step of every axis of a slice, clamped as ONNX says.
struct slice_plan {
  std::vector<std::int64_t> start, step;
};
template <class = void>
slice_plan plan_slice(const emitter& e, const node& n) {
  const auto list = [&](std::size_t i) {
    std::vector<std::int64_t> v;
    if (i >= n.inputs.size() || n.inputs[i] == none) return v;
    const auto* t = e.constant(n.inputs[i]);
    if (!t) throw unsupported("lower: node '" + n.name + "' (Slice): bounds that are computed from data");
    if (t->type() == dtype::s32)
      for (auto q : t->view<std::int32_t>()) v.push_back(q);
    else
      for (auto q : t->view<std::int64_t>()) v.push_back(q);
    return v;
  };
  const shape in = e.dims(n.inputs[0]);
  const auto starts = list(1), axes = list(3), steps = list(4);
  slice_plan p{std::vector<std::int64_t>(in.dims.size(), 0), std::vector<std::int64_t>(in.dims.size(), 1)};
  for (std::size_t i = 0; i < starts.size(); ++i) {
    const int axis = axes.empty() ? static_cast<int>(i)
                                  : normalized_axis(axes[i], in.rank(), "lower: node '" + n.name + "' (Slice)");
    const auto extent = in[axis];
    const auto step = steps.empty() ? 1 : steps[i];
    auto start = starts[i] < 0 ? starts[i] + extent : starts[i];
    start = std::clamp<std::int64_t>(start, 0, step > 0 ? extent : extent - 1);
    p.start[static_cast<std::size_t>(axis)] = start;
    p.step[static_cast<std::size_t>(axis)] = step;
  }
  return p;
}

template <class = void>
void emit_slice(emitter& e, const node& n) {
  const auto x = n.inputs[0], y = n.outputs[0];
  const auto p = plan_slice(e, n);
  const auto o = e.order_of(x);
  const auto m = begin_move(e, x, y, o, o);
  auto strides = strides_in(e.dims(x), o);
  std::int64_t offset = 0;
  for (std::size_t i = 0; i < strides.size(); ++i) {
    offset += p.start[i] * strides[i];
    strides[i] *= p.step[i];
  }
  if (e.dims(y).size() > 0) {
    auto args = copy_between(e.dims(y), strides, strides_in(e.dims(y), o), m.bytes);
    args.src_offset = offset;
    emit_copy(e, n, args, m.src, m.dst);
  }
  e.produced(y, m.dst);
}

template <class = void>
void emit_expand(emitter& e, const node& n) {
  const auto x = n.inputs[0], y = n.outputs[0];
  const auto from = plain_order(e.dims(x).rank()), to = plain_order(e.dims(y).rank());
  const auto m = begin_move(e, x, y, from, to);
  const operand_view view{e.dims(x), from};
  emit_copy(e, n, copy_between(e.dims(y), view.strides_for(e.dims(y)), strides_in(e.dims(y), to), m.bytes),
            m.src, m.dst);
  e.produced(y, m.dst);
}

template <class = void>
void emit_tile(emitter& e, const node& n) {
  const auto x = n.inputs[0], y = n.outputs[0];
  const auto plain = plain_order(e.dims(x).rank());
  const auto m = begin_move(e, x, y, plain, plain);
  const auto sx = strides_in(e.dims(x), plain), sy = strides_in(e.dims(y), plain);
  shape extent;
  std::vector<std::int64_t> src, dst;
  for (int i = 0; i < e.dims(x).rank(); ++i) {
    const auto u = static_cast<std::size_t>(i);
    if (e.dims(x)[i] == 0) continue;
    extent.dims.insert(extent.dims.end(), {e.dims(y)[i] / e.dims(x)[i], e.dims(x)[i]});
    src.insert(src.end(), {0, sx[u]});
    dst.insert(dst.end(), {sy[u] * e.dims(x)[i], sy[u]});
  }
  if (e.dims(y).size() > 0) emit_copy(e, n, copy_between(extent, src, dst, m.bytes), m.src, m.dst);
  e.produced(y, m.dst);
}

template <class = void>
void emit_depth_to_space(emitter& e, const node& n, const op::depth_to_space& d) {
  const auto x = n.inputs[0], y = n.outputs[0];
  const auto o = channels_last(4);
  const auto m = begin_move(e, x, y, o, o);
  // Deep side [n, c·b·b, h, w], wide side [n, c, h·b, w·b]; both seen as (n, bh, bw, c, h, w).
  const auto deep_id = d.inverse ? y : x, wide_id = d.inverse ? x : y;
  const shape deep = e.dims(deep_id), wide = e.dims(wide_id);
  const auto sd = strides_in(deep, o), sw = strides_in(wide, o);
  const auto b = d.block, c = wide[1];
  const shape extent{deep[0], b, b, c, deep[2], deep[3]};
  const std::vector<std::int64_t> deep_strides =
      d.column_row_depth
          ? std::vector<std::int64_t>{sd[0], sd[1] * b, sd[1], sd[1] * b * b, sd[2], sd[3]}
          : std::vector<std::int64_t>{sd[0], sd[1] * b * c, sd[1] * c, sd[1], sd[2], sd[3]};
  const std::vector<std::int64_t> wide_strides{sw[0], sw[2], sw[3], sw[1], sw[2] * b, sw[3] * b};
  const auto args = d.inverse ? copy_between(extent, wide_strides, deep_strides, m.bytes)
                              : copy_between(extent, deep_strides, wide_strides, m.bytes);
  emit_copy(e, n, args, m.src, m.dst);
  e.produced(y, m.dst);
}

}  // namespace ptq::lowering
