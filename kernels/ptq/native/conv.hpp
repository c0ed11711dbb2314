#pragma once
// SPDX-License-Identifier: Apache-2.0
// Integer convolution as a matrix product over rows that are only pointed at: no im2col. Four ways
// to find the rows, chosen when prepared; all run the one micro-kernel of gemm.hpp.
//   direct     1×1: a row is a source pixel
//   indirect   a pointer per tap and output pixel, to a row of zero points where the tap lies in
//              the padding; tiles whose taps all lie there skip them (conv_border.hpp)
//   runs       few channels: kernel_w · in_c neighbouring bytes of one image row are one run of K
//              (a first layer); windows that cross a side border are copied, padded, into scratch
//   gathered   the rest (fewer than 4 contiguous bytes, dilated first layers): every window is
//              copied
// Padding bytes hold the zero point, so that bias − zero_point · Σw, folded when packed, is right
// at the borders too.
//
// A unit is a block of output pixels times some panels of output channels; panels outermost, so
// that a thread keeps its share of the weights in its cache.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include <ptq/native/conv_border.hpp>
#include <ptq/native/conv_pack.hpp>
#include <ptq/native/conv_rows.hpp>
#include <ptq/native/depthwise.hpp>
#include <ptq/native/gemm.hpp>
#include <ptq/native/integer_winograd.hpp>
#include <ptq/native/object.hpp>
#include <ptq/native/tile_conv.hpp>

namespace ptq::native {

/// Chooses the taps of a tile whose first row is at `position` in the object's order.
PTQ_ALWAYS_INLINE void skip_border(const conv_object& c, const conv_panel& p, std::int64_t position,
                                   gemm_tile& t) {
  const std::int64_t begin = position / c.border_tile;
  const std::int64_t end = (position + t.to.rows - 1) / c.border_tile;
  std::int64_t kind = c.border_of[begin];
  t.group_offset = kind == inside_tile ? c.group_offset : nullptr;
  if (kind == inside_tile) kind = 0;
  for (std::int64_t i = begin + 1; i <= end; ++i) kind = c.border_of[i] == kind ? kind : 0;
  t.taps = c.border[kind].count;
  t.chosen = kind == 0 ? nullptr : c.border[kind].taps;
  t.bias = c.border[kind].bias + p.padded;
}

template <class Isa>
void run_qconv(const void* object, const kernels::operands& io, std::byte* scratch,
               work_range range) {
  const auto& c = *static_cast<const conv_object*>(object);
  const auto* src = static_cast<const std::uint8_t*>(io.src[0]);
  auto* table = reinterpret_cast<const std::uint8_t**>(scratch);
  auto* windows = reinterpret_cast<std::uint8_t*>(table + c.taps * pitch_of(c));
  const conv_rows<Isa> rows{c, src, table, windows};
  if (c.kept) rows.clear();
  auto* offsets = reinterpret_cast<std::int64_t*>(windows + copied_bytes(c));
  auto* wide = reinterpret_cast<std::uint8_t*>(offsets + block_pitch);
  const wide_rows<Isa> copies{reinterpret_cast<const std::uint8_t**>(wide),
                              reinterpret_cast<std::uint16_t*>(wide + block_pitch * 8)};
  const bool gathered = c.rows_by == conv_object::way::gathered, per_group = gathered || c.wide;
  const std::int64_t element = c.rule.what == epilogue_rule::kind::reals ? 4 : 1;
  const std::int64_t stride = c.g.dst_pixel();
  for (std::int64_t unit = range.begin; unit < range.end; ++unit) {
    const std::int64_t first = unit % c.blocks * c.block;
    const std::int64_t count = std::min(c.block, c.pixels - first);
    const std::int64_t panel = unit / c.blocks * c.panels_per_unit;
    const std::int64_t end = std::min(panel + c.panels_per_unit, c.panels);
    std::int64_t filled = -1;  // the group whose rows the table holds
    for (std::int64_t i = panel; i < end; ++i) {
      const conv_panel& p = c.panel[i];
      const bool next_group = filled != p.group;
      if (filled < 0 || (per_group && next_group)) {
        if (gathered || (filled < 0 && (!c.kept || unit - range.begin < c.blocks)))
          rows.fill(first, count, p.group);
        if (c.order)
          for (std::int64_t r = 0; r < count; ++r) offsets[r] = c.order[first + r] * stride;
        if (c.wide) copies.fill(c, table, count, gathered ? 0 : p.group * c.g.group_in());
      }
      filled = p.group;
      const std::int64_t at = (c.order ? 0 : first * stride) + p.channel;
      gemm_tile t;
      t.rows = c.wide ? copies.table : table + (c.kept ? first : 0);
      t.row_pitch = rows.pitch;
      t.offset = per_group ? 0 : p.group * c.g.group_in();
      t.taps = c.wide ? 1 : c.taps;
      t.depth = c.wide ? c.taps * c.depth : c.depth;
      t.extra = c.extra + p.extra;
      t.extras = p.extras;
      t.weights = c.weights + p.weights;
      t.bias = c.bias + p.padded;
      t.multiplier = c.multiplier + p.padded;
      t.rule = &c.rule;
      t.to.dst = static_cast<std::byte*>(io.dst) + at * element;
      t.to.residual = io.src[1] ? static_cast<const std::uint8_t*>(io.src[1]) + at : nullptr;
      t.to.stride = stride;
      t.to.rows = count;
      t.to.columns = p.columns;
      if constexpr (has_dpbusd<Isa>) {
        if (c.order) t.to.offset = offsets;
        const auto skip = [&](gemm_tile& tile, std::int64_t row)
                              PTQ_INLINE_LAMBDA { skip_border(c, p, first + row, tile); };
        c.order ? run_panel<Isa, quads>(t, p.vectors, skip) : run_panel<Isa, quads>(t, p.vectors);
      } else if constexpr (has_pair_add<Isa>) {
        c.wide ? run_panel<Isa, pairs>(t, p.vectors) : run_panel<Isa, quads>(t, p.vectors);
      } else {
        run_panel<Isa, pairs>(t, p.vectors);
      }
    }
  }
}

/// Convolution that is not depthwise.
template <class Isa>
kernels::prepared prepare_qconv(const kernels::qconv_args& a) {
  constexpr int lanes = simd<Isa, register_bytes<Isa>>::lanes;
  constexpr std::int64_t widest = gemm_shape<Isa>::vectors * lanes;
  const kernels::conv_geometry& g = a.geometry;
  conv_object c;
  c.g = g;
  c.rule = make_rule<Isa>(a.epilogue);
  c.zero_point = static_cast<std::uint8_t>(a.x_zero_point);
  choose_rows<Isa>(c);
  const std::int64_t group_panels = (g.group_out() + widest - 1) / widest;
  c.panels = g.groups * group_panels;
  std::int64_t extras = 0;
  if (a.packed.data)
    read_form<Isa>(c, a.packed, extras);
  else
    choose_way<Isa>(c, a, extras);
  choose_blocks<Isa>(c);
  const grouped_weights grouped = groups_of(c);

  const std::int64_t last =
      g.group_out() - (group_panels - 1) * widest;  // columns of a group's last panel
  const int last_vectors = static_cast<int>((last + lanes - 1) / lanes);
  const std::int64_t group_columns = (group_panels - 1) * widest + last_vectors * lanes;
  const auto bytes_of = [&](int vectors) {
    return panel_bytes<Isa>(grouped.taps, grouped.depth, vectors);
  };
  const std::int64_t group_bytes =
      (group_panels - 1) * bytes_of(gemm_shape<Isa>::vectors) + bytes_of(last_vectors);
  const std::int64_t weight_bytes = g.groups * group_bytes + extras * lanes * 8;
  const std::int64_t padding = std::max(g.in_c, c.depth);

  border_plan<Isa> border{g};
  border.tile = first_panel_rows<Isa>(c);
  // packed memory may be of another geometry, with any number of taps
  const bool fits = !a.packed.data || weight_bytes <= static_cast<std::int64_t>(a.packed.bytes);
  const bool skips = has_dpbusd<Isa> && fits &&
                     c.rows_by == conv_object::way::indirect && c.pixels <= border.largest &&
                     border.plan();
  constexpr std::int64_t kinds = border_plan<Isa>::most_kinds;
  const std::int64_t columns = g.groups * group_columns;

  block_layout<Isa> own, packed;
  own.template add<conv_object>(1);
  const std::size_t panels_at = own.template add<conv_panel>(c.panels);
  const std::size_t padding_at = own.template add<std::uint8_t>(padding);
  const std::size_t order_at = own.template add<std::int32_t>(skips ? c.pixels : 0);
  const std::size_t border_of_at =
      own.template add<std::uint8_t>(skips ? c.pixels / border.tile + 1 : 0);
  const std::size_t border_at = own.template add<conv_border>(skips ? kinds : 0);
  const std::size_t taps_at = own.template add<std::int32_t>(skips ? (kinds + 1) * c.taps : 0);
  const std::int64_t groups = c.taps * grouped.groups();
  const std::size_t group_offset_at = own.template add<std::int64_t>(skips ? groups : 0);
  const std::size_t border_bias_at =
      own.template add<std::int32_t>(skips && c.zero_point != 0 ? kinds * columns : 0);
  const std::size_t form_at = packed.template add<conv_form>(1);
  const std::size_t counts_at = packed.template add<std::int64_t>(4 * c.panels);
  const std::size_t weights_at = packed.template add<std::int8_t>(weight_bytes);
  const std::size_t extra_at = packed.template add<gemm_extra>(extras);
  const std::size_t bias_at = packed.template add<std::int32_t>(columns);
  const std::size_t multiplier_at = packed.template add<float>(columns);

  kernels::prepared p = blank<Isa>(own, packed, a.packed);
  if (a.packed.data && a.packed.bytes != packed.bytes) return p;
  auto* object = object_of<conv_object>(p);
  auto* panel = at_offset<conv_panel>(object, panels_at);
  auto* counts = packed_at<std::int64_t>(p, counts_at);
  auto* weights = packed_at<std::int8_t>(p, weights_at);
  auto* extra = packed_at<gemm_extra>(p, extra_at);
  auto* bias = packed_at<std::int32_t>(p, bias_at);
  auto* multiplier = packed_at<float>(p, multiplier_at);
  if (!a.packed.data)
    *packed_at<conv_form>(p, form_at) = {extras, c.wide ? 1 : 0};
  else if (!extras_fit<Isa>(c, extra, extras))
    return p;
  auto* zero_points = at_offset<std::uint8_t>(object, padding_at);
  std::memset(zero_points, c.zero_point, static_cast<std::size_t>(padding));
  c.panel = panel;
  c.weights = weights;
  c.extra = extra;
  c.bias = bias;
  c.multiplier = multiplier;
  c.padding = zero_points;
  auto* kind = at_offset<conv_border>(object, border_at);
  std::int64_t kinds_used = 0;
  if (skips) {
    auto* order = at_offset<std::int32_t>(object, order_at);
    auto* border_of = at_offset<std::uint8_t>(object, border_of_at);
    auto* group_offset = at_offset<std::int64_t>(object, group_offset_at);
    for (std::int64_t i = 0; i < groups; ++i) {
      const std::int64_t tap = i / grouped.groups(), h = tap / g.kernel_w, w = tap % g.kernel_w;
      const std::int64_t pixel = h * g.dilation_h * g.in_w + w * g.dilation_w;
      group_offset[i] = pixel * g.src_pixel() + grouped.first(i % grouped.groups());
    }
    c.group_offset = group_offset;
    const bool uniform = group_panels == 1 || gemm_shape<Isa>::rows(last_vectors) == border.tile;
    kinds_used =
        border.fill(order, border_of, kind, at_offset<std::int32_t>(object, taps_at), uniform);
    for (std::int64_t k = 0; k < kinds_used; ++k)
      kind[k].bias = c.zero_point == 0 || k == 0
                         ? bias
                         : at_offset<std::int32_t>(object, border_bias_at) + k * columns;
    c.order = order;
    c.border_tile = border.tile;
    c.border_of = border_of;
    c.border = kind;
  }
  std::memcpy(static_cast<void*>(object), &c, sizeof c);

  std::int64_t weights_used = 0, columns_used = 0, extras_used = 0;
  for (std::int64_t i = 0; i < c.panels; ++i) {
    conv_panel& q = panel[i];
    const std::int64_t first = i % group_panels * widest;
    q.group = i / group_panels;
    q.channel = q.group * g.group_out() + first;
    q.columns = std::min(g.group_out() - first, widest);
    q.vectors = static_cast<int>((q.columns + lanes - 1) / lanes);
    q.weights = weights_used;
    q.padded = columns_used;
    q.extra = extras_used;
    weights_used += bytes_of(q.vectors);
    columns_used += q.vectors * lanes;
    if (a.packed.data) {
      std::int64_t moved = 0;
      for (int v = 0; v < 4; ++v) moved += q.extras[v] = counts[4 * i + v];
      if (!counts_fit(q, extras - extras_used)) return p;
      weights_used += moved * lanes * 8;
      extras_used += moved;
      continue;
    }
    const std::int8_t* filters = a.weights + q.channel * grouped.count;
    for (int column = 0; column < q.columns; ++column) {
      const std::int64_t o = q.channel + column;
      const std::int8_t* filter = filters + column * grouped.count;
      std::int8_t* to = weights + q.weights;
      const std::int32_t sum =
          has_pair_add<Isa> && !c.wide
              ? pack_column<Isa, quads>(grouped, filter, to, column, q.vectors)
              : pack_column<Isa, usual_way<Isa>>(grouped, filter, to, column, q.vectors);
      bias[q.padded + column] = folded_bias(a.bias ? a.bias[o] : 0, a.x_zero_point, sum);
      multiplier[q.padded + column] =
          a.epilogue.multiplier.data()[a.epilogue.multiplier.size() == 1 ? 0 : o];
    }
    if (!has_pair_add<Isa> || c.wide) continue;
    const std::int64_t moved = move_excess<Isa>(grouped, weights + q.weights, q, extra + q.extra);
    for (int v = 0; v < 4; ++v) counts[4 * i + v] = q.extras[v];
    weights_used += moved * lanes * 8;
    extras_used += moved;
  }

  if (skips && c.zero_point != 0)
    for (std::int64_t i = 0; i < c.panels; ++i)
      for (std::int64_t k = 1; k < kinds_used; ++k)
        fold_border<Isa>(c, panel[i], kind[k],
                         at_offset<std::int32_t>(object, border_bias_at) + k * columns);

  p.run = run_qconv<Isa>;
  p.units = c.blocks * ((c.panels + c.panels_per_unit - 1) / c.panels_per_unit);
  p.scratch = static_cast<std::size_t>(c.taps * pitch_of(c)) * sizeof(void*) +
              static_cast<std::size_t>(copied_bytes(c)) +
              static_cast<std::size_t>(block_pitch) * sizeof(std::int64_t);
  if (c.wide)
    p.scratch += static_cast<std::size_t>(block_pitch) * sizeof(void*) +
                 static_cast<std::size_t>(c.block * wide_pitch(c.taps * c.depth)) * 2;
  p.name = name_of<Isa>(c);
  return p;
}

/// u8 · s8 convolution, see qconv_args; bit-equal to reference::qconv.
template <class Isa>
kernels::prepared qconv(const kernels::qconv_args& a) {
  if (a.geometry.depthwise()) return prepare_qdepthwise<Isa>(a);
  if constexpr (Isa::has_tiles)
    if (tiles_pay(a.geometry)) return prepare_tile_conv<Isa>(a);
  if constexpr (integer_winograd::there<Isa>)
    if (integer_winograd::takes<Isa>(a)) return integer_winograd::prepare<Isa>(a);
  return prepare_qconv<Isa>(a);
}

}  // namespace ptq::native
