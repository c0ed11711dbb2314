#pragma once
// SPDX-License-Identifier: Apache-2.0
// The products of qmatmul.hpp by tiles: rows are read where they lie, as far as a step reaches beyond
// them; what it finds there meets weights of 0.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include <ptq/native/object.hpp>
#include <ptq/native/qmatmul_pack.hpp>
#include <ptq/native/tile_gemm.hpp>

namespace ptq::native {

/// The rows of an item's last tile: a copy, unless no more is read than there is.
PTQ_ALWAYS_INLINE const std::uint8_t* find_last_rows(const qmatmul_object& q,
                                                     const std::uint8_t* first,
                                                     std::uint8_t* copy) noexcept {
  const std::int64_t tile = std::min(q.m, tile_side);
  const std::int64_t pitch = q.copies_rows() ? q.row_bytes() : q.k;
  const std::uint8_t* last = first + (q.m - tile) * pitch;
  if (q.row_bytes() == pitch) return last;
  std::memcpy(copy, last, static_cast<std::size_t>(tile * pitch));
  return copy;
}

/// All rows of an item times a panel, by tiles. `last_rows`: where the rows of a last tile begin.
template <class Isa>
PTQ_ALWAYS_INLINE void multiply_by_tiles(const qmatmul_object& q, const gemm_tile& t, int vectors,
                                         const std::uint8_t* last_rows,
                                         tile_pipeline<Isa>& pipeline) {
  const std::int64_t tile = std::min(q.m, tile_side), last = q.m - tile;
  const std::int64_t pitch = q.copies_rows() ? q.row_bytes() : q.k;
  const std::int64_t element = q.rule.what == epilogue_rule::kind::reals ? 4 : 1;
  for (std::int64_t row = 0; row < q.m; row += tile_block_rows) {
    const std::int64_t rows = std::min(tile_block_rows, q.m - row);
    const std::int64_t at[2] = {std::min(row, last), std::min(row + tile, last)};
    tile_block b;
    b.row_pitch = pitch;
    b.offset = q.offset;
    b.steps = q.steps;
    b.weight_pitch = vectors * 64;
    b.weight_tile = 64;
    b.weight_step = q.width * vectors * 64;
    for (int i = 0; i < 2; ++i) b.rows[i] = at[i] == last ? last_rows : t.rows[0] + at[i] * pitch;
    const int tiles = rows > tile ? 2 : 1;
    for (int pair = 0; pair < vectors; pair += 2) {
      const std::int64_t column = pair * tile_side;
      b.weights = t.weights + pair * 64;
      b.bias = t.bias + column;
      tile_results& r = pipeline.next();
      r.rows = rows;
      r.left = r.run = tile_block_rows;
      r.gap = 0;
      if (tiles == 2 && at[1] < row + tile) {
        r.left = tile;
        r.gap = row + tile - at[1];
      }
      r.chunks = (rows + 3) / 4 + 1;
      r.rule = &q.rule;
      r.row_terms = t.row_terms ? t.row_terms + row : nullptr;
      r.vectors = std::min(2, vectors - pair);
      r.multiplier = q.multiplier;
      r.to.stride = q.n;
      r.to.dst = static_cast<std::byte*>(t.to.dst) + (row * q.n + column) * element;
      r.to.columns = std::min(tile_panel, t.to.columns - column);
      pipeline.multiply(b, tiles, row - at[0]);
    }
  }
}

}  // namespace ptq::native
