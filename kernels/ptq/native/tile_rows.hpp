#pragma once
// SPDX-License-Identifier: Apache-2.0
// Activations as tiles of 16 rows × up to 64 bytes read them. K is the sequence of the groups of
// four bytes of all taps, in the order of gemm.hpp's weights. Every step takes the same number of
// groups, so that one configuration serves a whole call; where they don't divide, the last step
// begins earlier, and its activations are 0 where a step before it had them.
//
// A tile is read where it lies if its 16 rows are at equal distances: matrices, and convolutions
// away from borders. Otherwise (borders, steps across taps, rows beyond the last) its bytes are
// copied to scratch, once for all columns.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include <ptq/native/gemm.hpp>

namespace ptq::native {

/// Rows of a tile; groups of four bytes, or int32 sums, in one of its rows.
inline constexpr std::int64_t tile_side = 16, tile_bytes = tile_side * tile_side * 4;

/// Rows of a block that go through tiles. By throughput alone (vpdpbusd 128 products a cycle,
/// tdpbusd 1024) three rows of a last tile would pay for it.
PTQ_ALWAYS_INLINE std::int64_t tiled_rows(std::int64_t rows) {
  constexpr std::int64_t fewest = 4;
  return rows % tile_side < fewest ? rows / tile_side * tile_side : rows;
}

/// Whether tiles are worth their loads and stores: from one tile of sums and half a tile of
/// activations on. An estimate from throughputs, not measured.
template <class Isa>
PTQ_ALWAYS_INLINE bool tiles_pay(std::int64_t rows, std::int64_t columns, std::int64_t depth) {
  return Isa::has_tiles && rows >= tile_side && columns >= tile_side && depth >= 2 * tile_side;
}

/// K, cut into steps.
struct tile_cut {
  std::int64_t depth = 4;             // bytes of a tap
  std::int64_t groups = 1;            // of four bytes, of all taps
  std::int64_t steps = 1, width = 1;  // width: groups of a step

  PTQ_ALWAYS_INLINE tile_cut() = default;
  PTQ_ALWAYS_INLINE tile_cut(std::int64_t taps, std::int64_t tap_depth) : depth(tap_depth) {
    groups = taps * tap_groups();
    steps = (groups + tile_side - 1) / tile_side;
    width = (groups + steps - 1) / steps;
  }
  PTQ_ALWAYS_INLINE std::int64_t tap_groups() const { return (depth + 3) / 4; }
  PTQ_ALWAYS_INLINE std::int64_t first(std::int64_t step) const {
    return std::min(step * width, groups - width);
  }
  /// Tiles of a block of rows.
  PTQ_ALWAYS_INLINE std::int64_t tiles(std::int64_t rows) const {
    return (rows + tile_side - 1) / tile_side * steps;
  }
};

/// Where a tile's first row lies, and the bytes from row to row.
struct tile_place {
  const std::uint8_t* first;
  std::int64_t stride;
};

template <class Isa>
struct tile_rows {
  const tile_cut& cut;
  std::uint8_t* copies;  // scratch: [rows / 16][steps] tiles, as many of them as are copied
  tile_place* places;    // scratch: [rows / 16][steps]

  /// `scratch`: room for `rows` rows, aligned to 64.
  PTQ_ALWAYS_INLINE tile_rows(const tile_cut& k, std::int64_t rows, void* scratch)
      : cut(k),
        copies(static_cast<std::uint8_t*>(scratch)),
        places(reinterpret_cast<tile_place*>(copies + k.tiles(rows) * tile_bytes)) {}
  static PTQ_ALWAYS_INLINE std::int64_t scratch_bytes(const tile_cut& k, std::int64_t rows) {
    return k.tiles(rows) * (tile_bytes + static_cast<std::int64_t>(sizeof(tile_place)));
  }

  /// Finds the rows that `t` points at; the pointers of a last tile are valid to its 16th row.
  void fill(const gemm_tile& t) const {
    std::uint8_t* copy = copies;
    tile_place* place = places;
    for (std::int64_t row = 0; row < tiled_rows(t.to.rows); row += tile_side)
      for (std::int64_t step = 0; step < cut.steps; ++step, ++place) {
        const std::int64_t first = cut.first(step), k = 4 * (first % cut.tap_groups());
        const std::uint8_t* const* rows = t.rows + first / cut.tap_groups() * t.row_pitch + row;
        const bool in_one_tap = first == step * cut.width && k + 4 * cut.width <= cut.depth;
        if (in_one_tap && evenly_spaced(rows)) {
          *place = {rows[0] + t.offset + k, rows[1] - rows[0]};
        } else {
          copy_step(t, row, step, copy);
          *place = {copy, 4 * tile_side};
          copy += tile_bytes;
        }
      }
  }

  static PTQ_ALWAYS_INLINE bool evenly_spaced(const std::uint8_t* const* rows) {
    const auto at = [rows](std::int64_t i) { return reinterpret_cast<std::uintptr_t>(rows[i]); };
    const std::uintptr_t stride = at(1) - at(0);
    std::uintptr_t difference = 0;
    for (std::int64_t i = 2; i < tile_side; ++i) difference |= at(i) - at(i - 1) - stride;
    return difference == 0;
  }

  /// A step of 16 rows from `row` on, tap by tap.
  void copy_step(const gemm_tile& t, std::int64_t row, std::int64_t step, std::uint8_t* to) const {
    const std::int64_t first = cut.first(step), end = first + cut.width, whole = cut.depth / 4;
    if (first != step * cut.width) std::memset(to, 0, tile_bytes);
    for (std::int64_t group = step * cut.width; group < end;) {
      const std::int64_t tap = group / cut.tap_groups(), i = group % cut.tap_groups();
      // a last group that is no whole one lies at depth − 4, like its weights
      const std::int64_t count = i < whole ? std::min(end - group, whole - i) : 1;
      const std::int64_t from = t.offset + std::min(4 * i, cut.depth - 4);
      const std::uint8_t* const* rows = t.rows + tap * t.row_pitch + row;
      for (std::int64_t r = 0; r < tile_side; ++r)
        copy_few<Isa, 64>(to + (r * tile_side + group - first) * 4, rows[r] + from, 4 * count);
      group += count;
    }
  }
};

}  // namespace ptq::native
