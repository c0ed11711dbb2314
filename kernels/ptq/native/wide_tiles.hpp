#pragma once
// SPDX-License-Identifier: Apache-2.0
// Products of u16 codes with s8 weights in tiles (AMX): 16 rows' high bytes are one tile of
// activations, their low bytes the other, and both meet the same weights. Sums are exact while
// Σ|w| · 255 < 2^31; 256 · high + low is left to wide_sums.hpp.
//
// Rows are copied as planes anyway, so K is padded to whole steps of equal length.

#include <algorithm>
#include <cstdint>

#include <ptq/native/tile_gemm.hpp>
#include <ptq/native/wide_gemm.hpp>
#include <ptq/native/wide_rows.hpp>
#include <ptq/native/wide_sums.hpp>

namespace ptq::native {

/// K in equal steps.
struct plane_cut {
  std::int64_t steps = 1, width = 1;  // width: groups of four of a step
  std::int64_t depth = 4;             // of all steps

  PTQ_ALWAYS_INLINE plane_cut() = default;
  PTQ_ALWAYS_INLINE explicit plane_cut(std::int64_t count) {
    const std::int64_t groups = (count + 3) / 4;
    steps = (groups + tile_side - 1) / tile_side;
    width = (groups + steps - 1) / steps;
    depth = 4 * steps * width;
  }
};

/// Whether weights are multiplied in tiles: it depends on them and their extents alone, as packed
/// memory has to.
template <class Isa>
bool planes_pay(const std::int16_t* weights, std::int64_t filters, std::int64_t count,
                std::int64_t group_out) noexcept {
  if (!Isa::has_tiles || group_out < tile_side || count < 2 * tile_side) return false;
  for (std::int64_t i = 0; i < filters * count; ++i)
    if (weights[i] < -128 || weights[i] > 127) return false;
  return count * 128 * 255 < std::int64_t{1} << 31;
}

/// Planes of a block's rows in scratch: [rows / 16][high, low][16] rows of `pitch` bytes.
template <class Isa>
struct wide_planes {
  const plane_cut& cut;
  std::int64_t pitch;  // an odd number of cache lines, so that a tile's rows lie in as many sets
  std::uint8_t* bytes;
  std::int64_t* offset;  // [steps] bytes from a row

  static PTQ_ALWAYS_INLINE std::int64_t pitch_for(const plane_cut& cut) {
    return 64 * ((cut.depth + 63) / 64 | 1);
  }
  static PTQ_ALWAYS_INLINE std::int64_t tiles(std::int64_t rows) {
    return (rows + tile_side - 1) / tile_side;
  }
  static PTQ_ALWAYS_INLINE std::int64_t scratch_bytes(const plane_cut& cut, std::int64_t rows) {
    return tiles(rows) * 2 * tile_side * pitch_for(cut) +
           (cut.steps + 7) / 8 * 8 * static_cast<std::int64_t>(sizeof(std::int64_t));
  }
  PTQ_ALWAYS_INLINE wide_planes(const plane_cut& k, std::int64_t rows, void* scratch)
      : cut(k),
        pitch(pitch_for(k)),
        bytes(static_cast<std::uint8_t*>(scratch)),
        offset(reinterpret_cast<std::int64_t*>(bytes + tiles(rows) * 2 * tile_side * pitch)) {}

  static PTQ_ALWAYS_INLINE std::int64_t count_of(work_range r) { return r.end - r.begin; }
  PTQ_ALWAYS_INLINE std::uint8_t* plane(std::int64_t tile, int which) const {
    return bytes + (2 * tile + which) * tile_side * pitch;
  }
  /// `count` elements of K of the output pixels; what K is padded with is 0, as its weights are.
  template <class Rows>
  void fill(work_range pixels, std::int64_t count, std::uint16_t zero_point,
            const Rows& rows) const {
    for (std::int64_t i = 0; i < count_of(pixels); ++i) {
      const std::int64_t at = i % tile_side * pitch;
      const plane_row<Isa> to{plane(i / tile_side, 0) + at, plane(i / tile_side, 1) + at,
                              zero_point};
      rows.copy(pixels.begin + i, to);
      for (std::int64_t k = count; k < cut.depth; ++k) to.high[k] = to.low[k] = 0;
    }
    for (std::int64_t step = 0; step < cut.steps; ++step) offset[step] = 4 * cut.width * step;
  }
};

/// Weights of one channel into its column, as gemm.hpp packs `quads`; Σw.
template <class Isa>
std::int64_t pack_plane_column(const std::int16_t* filter, std::int64_t count, int column,
                               int vectors, std::int8_t* to) noexcept {
  constexpr int lanes = simd<Isa, register_bytes<Isa>>::lanes;
  std::int64_t sum = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    sum += filter[i];
    to[((i / 4 * vectors + column / lanes) * lanes + column % lanes) * 4 + i % 4] =
        static_cast<std::int8_t>(filter[i]);
  }
  return sum;
}

/// The `tile`-th 16 rows times a panel's `Vectors` registers of columns → sums
/// [high, low][16][Vectors · 16].
template <class Isa, int Vectors>
void multiply_planes(const wide_planes<Isa>& planes, std::int64_t tile, const std::int8_t* weights,
                     std::int32_t* sums) {
  alignas(64) constexpr std::int32_t no_bias[tile_panel] = {};
  tile_block b;
  for (int i = 0; i < 2; ++i) b.rows[i] = planes.plane(tile, i);
  b.row_pitch = planes.pitch;
  b.offset = planes.offset;
  b.steps = planes.cut.steps;
  b.weight_pitch = Vectors * 64;
  b.weight_tile = 64;
  b.weight_step = planes.cut.width * Vectors * 64;
  b.bias = no_bias;
  unrolled<(Vectors + 1) / 2>([&](auto pair) PTQ_INLINE_LAMBDA {
    constexpr int first = 2 * decltype(pair)::value;
    b.weights = weights + first * 64;
    multiply_steps<Isa, 2, Vectors - first == 1 ? 1 : 2>(
        b, sums + first * tile_side, Vectors * tile_side, 0, [](std::int64_t) PTQ_INLINE_LAMBDA {});
  });
}

}  // namespace ptq::native
