#pragma once
// SPDX-License-Identifier: Apache-2.0
// What wide_conv.hpp prepares, and how it runs: a block of output pixels is copied, then multiplied
// with panel after panel of columns, block of K by block of K.

#include <algorithm>
#include <cstdint>

#include <ptq/kernels/args.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/native/object.hpp>
#include <ptq/native/wide_gemm.hpp>
#include <ptq/native/wide_rows.hpp>
#include <ptq/native/wide_sums.hpp>
#include <ptq/native/wide_tiles.hpp>

namespace ptq::native {

/// Columns of one group, as many as a tile has.
struct wide_panel {
  std::int64_t weights = 0;  // offset
  std::int64_t group = 0, channel = 0, columns = 0;
  std::int64_t padded = 0;  // offset into constant and multiplier
  int vectors = 0;          // of accumulators: parts for each vector of channels
};

struct wide_conv_object {
  kernels::conv_geometry g;
  wide_rule rule;
  wide_cut cut;
  std::int64_t pitch = 0;  // of copied rows
  std::int64_t pixels = 0, block = 1, blocks = 1, panels = 0, panels_per_unit = 1;
  std::int32_t x_zero_point = 0;
  bool tiled = false;
  plane_cut planes;  // of the tiled
  const wide_panel* panel = nullptr;
  const std::int16_t* weights = nullptr;  // s8 of the tiled
  const double* constant = nullptr;
  const double* multiplier = nullptr;
};

/// Rows that a last tile reads, or adds to, beyond a block.
inline constexpr std::int64_t wide_overhang = 16;

template <class Isa>
inline constexpr std::int64_t wide_columns =
    gemm_shape<Isa>::vectors* simd<Isa, register_bytes<Isa>>::lanes;

template <class Isa>
PTQ_ALWAYS_INLINE std::int64_t wide_rows_bytes(const wide_conv_object& c) {
  if (c.tiled) return wide_planes<Isa>::scratch_bytes(c.planes, c.block);
  return (c.block + wide_overhang) * c.pitch * 2;  // pitch: whole cache lines
}

/// A block's rows, `t.rows` of them, times a panel.
template <class Isa, int Vectors, int Parts>
void run_wide_panel(const wide_conv_object& c, const wide_panel& p, const std::int16_t* rows,
                    double* before, std::int64_t count, std::byte* dst) {
  using S = simd<Isa, register_bytes<Isa>>;
  constexpr int step = gemm_shape<Isa>::rows(Vectors);
  alignas(64) std::int32_t sums[static_cast<std::size_t>(step * Vectors * S::lanes)];
  const std::int64_t blocks = c.cut.blocks();
  for (std::int64_t b = 0; b < blocks; ++b) {
    const std::int64_t k = b * c.cut.block;
    const std::int64_t pairs = std::min(c.cut.block, c.cut.pairs - k);
    const std::int16_t* w = c.weights + p.weights + k * Vectors * 2 * S::lanes;
    for (std::int64_t row = 0; row < count; row += step) {
      const std::int64_t n = std::min<std::int64_t>(step, count - row);
      multiply_wide_rows<Isa, Vectors>(n, rows + row * c.pitch + 2 * k, c.pitch, w, pairs, sums);
      const wide_tile t{.sums = sums,
                        .pitch = Vectors * S::lanes,
                        .vector_step = Parts * S::lanes,
                        .part_step = S::lanes,
                        .before = b > 0 || blocks > 1 ? before + row * wide_columns<Isa> : nullptr,
                        .before_pitch = wide_columns<Isa>,
                        .rows = n,
                        .vectors = Vectors / Parts};
      if (b + 1 < blocks)
        add_wide_sums<Isa, Parts>(t, b == 0);
      else
        store_wide<Isa, Parts>(
            t, c.rule, c.constant + p.padded, c.multiplier + p.padded,
            {dst + row * c.g.dst_pixel() * c.rule.element(), c.g.dst_pixel(), p.columns});
    }
  }
}

template <class Isa>
PTQ_ALWAYS_INLINE void run_wide_panel(const wide_conv_object& c, const wide_panel& p,
                                      const std::int16_t* rows, double* before, std::int64_t count,
                                      std::byte* dst) {
  const bool two = c.cut.parts == 2;
  if (p.vectors == 1) run_wide_panel<Isa, 1, 1>(c, p, rows, before, count, dst);
  if (p.vectors == 2 && !two) run_wide_panel<Isa, 2, 1>(c, p, rows, before, count, dst);
  if (p.vectors == 2 && two) run_wide_panel<Isa, 2, 2>(c, p, rows, before, count, dst);
  if constexpr (gemm_shape<Isa>::vectors == 4) {
    if (p.vectors == 3) run_wide_panel<Isa, 3, 1>(c, p, rows, before, count, dst);
    if (p.vectors == 4 && !two) run_wide_panel<Isa, 4, 1>(c, p, rows, before, count, dst);
    if (p.vectors == 4 && two) run_wide_panel<Isa, 4, 2>(c, p, rows, before, count, dst);
  }
}

/// The same of a block's planes, in tiles.
template <class Isa, int Vectors>
void run_plane_panel(const wide_conv_object& c, const wide_panel& p, const wide_planes<Isa>& planes,
                     std::int64_t count, std::byte* dst) {
  if constexpr (Isa::has_tiles) {
    constexpr std::int64_t pitch = Vectors * tile_side;
    alignas(64) std::int32_t sums[2 * tile_side * pitch];
    const auto* w = reinterpret_cast<const std::int8_t*>(c.weights) + p.weights;
    for (std::int64_t row = 0; row < count; row += tile_side) {
      multiply_planes<Isa, Vectors>(planes, row / tile_side, w, sums);
      store_wide<Isa, 2>(
          {.sums = sums,
           .pitch = pitch,
           .vector_step = tile_side,
           .part_step = tile_side * pitch,
           .rows = std::min(tile_side, count - row),
           .vectors = Vectors},
          c.rule, c.constant + p.padded, c.multiplier + p.padded,
          {dst + row * c.g.dst_pixel() * c.rule.element(), c.g.dst_pixel(), p.columns});
    }
  }
}

template <class Isa>
PTQ_ALWAYS_INLINE void run_plane_panel(const wide_conv_object& c, const wide_panel& p,
                                       const wide_planes<Isa>& planes, std::int64_t count,
                                       std::byte* dst) {
  if (p.vectors == 1) run_plane_panel<Isa, 1>(c, p, planes, count, dst);
  if (p.vectors == 2) run_plane_panel<Isa, 2>(c, p, planes, count, dst);
  if constexpr (gemm_shape<Isa>::vectors == 4) {
    if (p.vectors == 3) run_plane_panel<Isa, 3>(c, p, planes, count, dst);
    if (p.vectors == 4) run_plane_panel<Isa, 4>(c, p, planes, count, dst);
  }
}

/// A block's rows of a group.
template <class Isa, class X>
PTQ_ALWAYS_INLINE void copy_wide_rows(const wide_conv_object& c, const wide_rows_of<X>& from,
                                      work_range pixels, std::int16_t* rows) {
  const std::int64_t count = c.g.kernel_h * c.g.kernel_w * c.g.group_in();
  const auto padding = static_cast<std::int16_t>(c.x_zero_point - code_shift<X>);
  for (std::int64_t i = pixels.begin; i < pixels.end; ++i, rows += c.pitch) {
    from.copy(i, word_row<Isa>{rows, padding});
    if (count % 2 != 0) rows[count] = 0;  // the last pair's other half
  }
}

template <class Isa, class X>
void run_wide_conv(const void* object, const kernels::operands& io, std::byte* scratch,
                   work_range range) {
  const auto& c = *static_cast<const wide_conv_object*>(object);
  auto* rows = reinterpret_cast<std::int16_t*>(scratch);
  auto* before = reinterpret_cast<double*>(scratch + wide_rows_bytes<Isa>(c));
  const wide_planes<Isa> planes(c.planes, c.block, scratch);
  const configured_tiles<Isa> configured(c.tiled ? tile_side : 0, c.planes.width);
  const std::int64_t depth = c.g.kernel_h * c.g.kernel_w * c.g.group_in();
  const std::int64_t pixel_bytes = c.g.dst_pixel() * c.rule.element();
  for (std::int64_t unit = range.begin; unit < range.end; ++unit) {
    const std::int64_t first = unit % c.blocks * c.block;
    const std::int64_t count = std::min(c.block, c.pixels - first);
    const std::int64_t panel = unit / c.blocks * c.panels_per_unit;
    const std::int64_t end = std::min(panel + c.panels_per_unit, c.panels);
    std::int64_t copied = -1;
    for (std::int64_t i = panel; i < end; ++i) {
      const wide_panel& p = c.panel[i];
      const wide_rows_of<X> from{c.g, static_cast<const X*>(io.src[0]), p.group};
      const bool copy = copied != p.group;
      copied = p.group;
      std::byte* dst =
          static_cast<std::byte*>(io.dst) + first * pixel_bytes + p.channel * c.rule.element();
      if constexpr (Isa::has_tiles && sizeof(X) == 2) {
        if (c.tiled) {
          if (copy)
            planes.fill({first, first + count}, depth, static_cast<std::uint16_t>(c.x_zero_point),
                        from);
          run_plane_panel<Isa>(c, p, planes, count, dst);
          continue;
        }
      }
      if (copy) copy_wide_rows<Isa>(c, from, {first, first + count}, rows);
      run_wide_panel<Isa>(c, p, rows, before, count, dst);
    }
  }
}

}  // namespace ptq::native
