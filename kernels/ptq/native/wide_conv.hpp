#pragma once
// SPDX-License-Identifier: Apache-2.0
// Convolution of codes of 8 or 16 bits with weights of up to 16, as a matrix product of rows that
// are copied block by block (wide_rows.hpp), multiplied in int32 over blocks of K (wide_gemm.hpp)
// and requantized in double (wide_sums.hpp). 8-bit weights are multiplied in tiles where the ISA has
// them (wide_tiles.hpp). One channel per group has a kernel of its own.
//
// A unit is a block of output pixels times some panels of output channels; panels outermost, so
// that a thread keeps its share of the weights in its cache.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include <ptq/kernels/args.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/native/object.hpp>
#include <ptq/native/wide_depthwise.hpp>
#include <ptq/native/wide_panels.hpp>

namespace ptq::native {

/// Block sizes, as conv_pack.hpp's of 16-bit copies.
template <class Isa>
PTQ_ALWAYS_INLINE void choose_wide_blocks(wide_conv_object& c) {
  constexpr std::int64_t usual_rows = 48, least_rows = 12, enough_units = 32;
  constexpr std::int64_t cached_bytes = 512 << 10, copy_bytes = 128 << 10;
  c.pixels = c.g.batch * c.g.out_h * c.g.out_w;
  const std::int64_t panel_bytes =
      c.tiled ? c.planes.depth * wide_columns<Isa> : c.cut.pairs * 4 * wide_columns<Isa>;
  c.panels_per_unit = std::clamp<std::int64_t>(cached_bytes / panel_bytes, 1, c.panels);
  const std::int64_t most =
      std::clamp<std::int64_t>(copy_bytes / (2 * c.pitch), least_rows, usual_rows);
  c.blocks = std::max<std::int64_t>(1, (c.pixels + most - 1) / most);
  const auto units = [&] {
    return c.blocks * ((c.panels + c.panels_per_unit - 1) / c.panels_per_unit);
  };
  while (units() < enough_units && c.panels_per_unit > 1)
    c.panels_per_unit = (c.panels_per_unit + 1) / 2;
  while (units() < enough_units && c.pixels / c.blocks >= 2 * least_rows) c.blocks *= 2;
  c.block = std::max<std::int64_t>(1, (c.pixels + c.blocks - 1) / c.blocks);
  const std::int64_t rows = c.tiled ? tile_side : gemm_shape<Isa>::rows(c.panel[0].vectors);
  if (c.blocks > 1) c.block = (c.block + rows - 1) / rows * rows;
  c.blocks = (c.pixels + c.block - 1) / c.block;
}

/// Weights of one channel's parts into its column, and Σw.
template <class Isa>
std::int64_t pack_wide_column(const std::int16_t* filter, std::int64_t count, const wide_cut& cut,
                              const wide_panel& p, int column, std::int16_t* to) noexcept {
  constexpr int lanes = simd<Isa, register_bytes<Isa>>::lanes;
  std::int64_t sum = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    sum += filter[i];
    for (std::int64_t part = 0; part < cut.parts; ++part) {
      const std::int64_t vector = column / lanes * cut.parts + part;
      to[((i / 2 * p.vectors + vector) * lanes + column % lanes) * 2 + i % 2] =
          weight_part(filter[i], cut.parts, part);
    }
  }
  return sum;
}

/// Wide convolution that is not depthwise.
template <class Isa>
kernels::prepared prepare_wide_conv(const kernels::wide_conv_args& a) {
  constexpr int lanes = simd<Isa, register_bytes<Isa>>::lanes;
  const kernels::conv_geometry& g = a.geometry;
  const bool words = a.x_type == dtype::u16;
  const std::int64_t count = g.kernel_h * g.kernel_w * g.group_in();
  wide_conv_object c;
  c.g = g;
  c.rule = make_wide_rule<Isa>(a);
  c.x_zero_point = a.x_zero_point;
  c.cut.pairs = (count + 1) / 2;
  c.pitch = wide_pitch(2 * c.cut.pairs);
  if (!a.packed.data) c.tiled = words && planes_pay<Isa>(a.weights, g.out_c, count, g.group_out());
  if (!a.packed.data && !c.tiled)
    c.cut = cut_for<Isa>(a.weights, g.out_c, count,
                         words ? code_reach<std::uint16_t> : code_reach<std::uint8_t>);
  const bool known =
      !a.packed.data || (read_wide_cut<Isa>(a.packed, c.cut, &c.tiled) && (words || !c.tiled));
  if (c.tiled) c.planes = plane_cut(count);
  const std::int32_t zero = a.x_zero_point - (words && !c.tiled ? code_shift<std::uint16_t> : 0);
  // elements of one register of columns' weights
  const std::int64_t vector_weights = c.tiled ? c.planes.depth * lanes : 2 * c.cut.pairs * lanes;
  const std::int64_t weight_bytes = c.tiled ? 1 : 2;
  const std::int64_t widest = wide_columns<Isa> / c.cut.parts;  // channels of a panel
  const std::int64_t group_panels = (g.group_out() + widest - 1) / widest;
  c.panels = g.groups * group_panels;
  const auto vectors_of = [&](std::int64_t columns) {
    return (columns + lanes - 1) / lanes * c.cut.parts;
  };
  const std::int64_t group_vectors = (group_panels - 1) * gemm_shape<Isa>::vectors +
                                     vectors_of(g.group_out() - (group_panels - 1) * widest);
  const std::int64_t vectors = g.groups * group_vectors, columns = vectors / c.cut.parts * lanes;

  block_layout<Isa> own, packed;
  own.template add<wide_conv_object>(1);
  const std::size_t panels_at = own.template add<wide_panel>(c.panels);
  const std::size_t form_at = packed.template add<std::int64_t>(3);
  const std::size_t weights_at =
      packed.template add<std::int8_t>(vectors * vector_weights * weight_bytes);
  const std::size_t constant_at = packed.template add<double>(columns);
  const std::size_t multiplier_at = packed.template add<double>(columns);
  kernels::prepared p = blank<Isa>(own, packed, a.packed);
  if (!known || (a.packed.data && a.packed.bytes != packed.bytes)) return p;
  auto* object = object_of<wide_conv_object>(p);
  auto* panel = at_offset<wide_panel>(object, panels_at);
  auto* form = packed_at<std::int64_t>(p, form_at);
  auto* weights = packed_at<std::int16_t>(p, weights_at);
  auto* constant = packed_at<double>(p, constant_at);
  auto* multiplier = packed_at<double>(p, multiplier_at);
  if (!a.packed.data) {
    form[0] = c.cut.parts;
    form[1] = c.cut.block;
    form[2] = c.tiled ? 1 : 0;
  }
  std::int64_t weights_used = 0, columns_used = 0;
  for (std::int64_t i = 0; i < c.panels; ++i) {
    wide_panel& q = panel[i];
    const std::int64_t first = i % group_panels * widest;
    q.group = i / group_panels;
    q.channel = q.group * g.group_out() + first;
    q.columns = std::min(g.group_out() - first, widest);
    q.vectors = static_cast<int>(vectors_of(q.columns));
    q.weights = weights_used;
    q.padded = columns_used;
    weights_used += q.vectors * vector_weights;
    columns_used += q.vectors / c.cut.parts * lanes;
    if (a.packed.data) continue;
    for (int column = 0; column < q.columns; ++column) {
      const std::int64_t o = q.channel + column;
      const std::int16_t* filter = a.weights + o * count;
      const std::int64_t sum =
          c.tiled ? pack_plane_column<Isa>(filter, count, column, q.vectors,
                                           reinterpret_cast<std::int8_t*>(weights) + q.weights)
                  : pack_wide_column<Isa>(filter, count, c.cut, q, column, weights + q.weights);
      constant[q.padded + column] = wide_constant(a.bias ? a.bias[o] : 0, zero, sum);
      multiplier[q.padded + column] = a.multiplier.data()[a.multiplier.size() == 1 ? 0 : o];
    }
  }
  c.panel = panel;
  c.weights = weights;
  c.constant = constant;
  c.multiplier = multiplier;
  choose_wide_blocks<Isa>(c);
  std::memcpy(static_cast<void*>(object), &c, sizeof c);

  p.run = words ? run_wide_conv<Isa, std::uint16_t> : run_wide_conv<Isa, std::uint8_t>;
  p.units = c.blocks * ((c.panels + c.panels_per_unit - 1) / c.panels_per_unit);
  p.scratch = static_cast<std::size_t>(wide_rows_bytes<Isa>(c) +
                                       (c.block + wide_overhang) * wide_columns<Isa> * 8);
  p.name = c.tiled ? "wide gemm, tiles" : c.cut.parts == 2 ? "wide gemm, two columns" : "wide gemm";
  return p;
}

/// Convolution of codes of 8 or 16 bits, see wide_conv_args; bit-equal to reference::wide_conv.
template <class Isa>
kernels::prepared wide_conv(const kernels::wide_conv_args& a) {
  if (a.geometry.depthwise() && a.geometry.group_out() == 1) return prepare_wide_depthwise<Isa>(a);
  return prepare_wide_conv<Isa>(a);
}

}  // namespace ptq::native
