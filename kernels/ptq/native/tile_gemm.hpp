#pragma once
// SPDX-License-Identifier: Apache-2.0
// The micro-kernel of gemm.hpp for ISAs with tiles (AMX): 2 × 2 tiles of 16 × 16 int32 sums, or
// 1 × 4 for the last rows, through the whole of K. Weights are read as gemm.hpp packs them for
// 512-bit registers: a group of a vector is a tile's row. Sums pass through a buffer to gemm.hpp's
// epilogue, where the bias joins them; additions wrap, so their order doesn't matter.
//
// Tiles: 0 to 3 sums, 4 and 5 activations, 6 and 7 weights.

#include <algorithm>
#include <cstdint>

#include <ptq/native/gemm.hpp>
#include <ptq/native/tile_rows.hpp>

namespace ptq::native {

/// Tiles configured for a cut's steps, as long as this lives. Whatever ran before in the thread may
/// have released them or configured others; nothing is left behind.
template <class Isa>
struct configured_tiles {
  const bool used;

  PTQ_ALWAYS_INLINE configured_tiles(bool tiled, const tile_cut& cut) : used(tiled) {
    if constexpr (Isa::has_tiles) {
      if (!used) return;
      tile_config c;
      for (int tile = 0; tile < 8; ++tile) {
        const bool activations = tile == 4 || tile == 5, weights = tile > 5;
        c.rows[tile] = static_cast<std::uint8_t>(weights ? cut.width : tile_side);
        c.row_bytes[tile] = static_cast<std::uint16_t>(4 * (activations ? cut.width : tile_side));
      }
      Isa::tiles::configure(c);
    }
  }
  PTQ_ALWAYS_INLINE ~configured_tiles() {
    if constexpr (Isa::has_tiles)
      if (used) Isa::tiles::release();
  }
  configured_tiles(const configured_tiles&) = delete;
};

/// Sums of Rows × Columns tiles. `weights` and `sums` have `pitch` bytes from row to row.
template <class Isa, int Rows, int Columns>
void multiply_tiles(const tile_cut& cut, const tile_place* rows, const std::int8_t* weights,
                    std::int64_t pitch, std::int32_t* sums) {
  using tiles = typename Isa::tiles;
  unrolled<Rows * Columns>([](auto i)
                               PTQ_INLINE_LAMBDA { tiles::template zero<decltype(i)::value>(); });
  for (std::int64_t step = 0; step < cut.steps; ++step) {
    const std::int8_t* w = weights + cut.first(step) * pitch;
    unrolled<Rows>([&](auto r) PTQ_INLINE_LAMBDA {
      const tile_place& p = rows[decltype(r)::value * cut.steps + step];
      tiles::template load<4 + decltype(r)::value>(p.first, p.stride);
    });
    unrolled<Columns>([&](auto c) PTQ_INLINE_LAMBDA {
      constexpr int column = decltype(c)::value, b = 6 + column % 2;
      tiles::template load<b>(w + column * 4 * tile_side, pitch);
      unrolled<Rows>([&](auto r) PTQ_INLINE_LAMBDA {
        constexpr int row = decltype(r)::value;
        tiles::template dot<row * Columns + column, 4 + row, b>();
      });
    });
  }
  unrolled<Rows * Columns>([&](auto i) PTQ_INLINE_LAMBDA {
    constexpr int row = decltype(i)::value / Columns, column = decltype(i)::value % Columns;
    tiles::template store<decltype(i)::value>(
        sums + row * tile_side * (pitch / 4) + column * tile_side, pitch);
  });
}

/// Requantizes to.rows rows of sums [rows][Vectors · lanes], `t`'s bias and row terms added.
template <class Isa, int Vectors>
void store_sums(gemm_tile t, const std::int32_t* sums) {
  using S = simd<Isa, register_bytes<Isa>>;
  static_assert(S::lanes == tile_side);
  constexpr int together = 4;
  for (const std::int64_t rows = t.to.rows; t.to.rows > 0; advance(t, together)) {
    typename S::ints acc[together][Vectors];
    unrolled<together>([&](auto r) PTQ_INLINE_LAMBDA {
      constexpr int row = decltype(r)::value;
      const auto term = t.row_terms ? S::set(t.row_terms[row]) : S::zero();
      unrolled<Vectors>([&](auto v) PTQ_INLINE_LAMBDA {
        constexpr int i = decltype(v)::value;
        const auto sum = S::load(sums + ((rows - t.to.rows + row) * Vectors + i) * S::lanes);
        acc[row][i] = S::add(sum, S::add(S::load(t.bias + i * S::lanes), term));
      });
    });
    store_tile<S, together, Vectors>(acc, *t.rule, t.multiplier, t.to);
  }
}

/// The rows of a block that tiles take, times one panel.
template <class Isa, int Vectors>
void run_tiled_panel_of(gemm_tile t, const tile_rows<Isa>& a) {
  constexpr std::int64_t pitch = Vectors * 4 * tile_side, most = 2 * tile_side;
  alignas(64) std::int32_t sums[most * Vectors * tile_side];
  const tile_place* place = a.places;
  for (std::int64_t rows = t.to.rows; rows > 0; rows -= most, place += 2 * a.cut.steps) {
    if (rows > tile_side)
      unrolled<(Vectors + 1) / 2>([&](auto pair) PTQ_INLINE_LAMBDA {
        constexpr int first = 2 * decltype(pair)::value;
        multiply_tiles<Isa, 2, Vectors - first == 1 ? 1 : 2>(
            a.cut, place, t.weights + first * 4 * tile_side, pitch, sums + first * tile_side);
      });
    else
      multiply_tiles<Isa, 1, Vectors>(a.cut, place, t.weights, pitch, sums);
    t.to.rows = std::min(rows, most);
    store_sums<Isa, Vectors>(t, sums);
    advance(t, most);
  }
}

/// run_panel through tiles, with what is left of the rows through registers.
template <class Isa>
void run_tiled_panel(gemm_tile t, int vectors, const tile_rows<Isa>& a) {
  const std::int64_t rows = t.to.rows, tiled = tiled_rows(rows);
  t.to.rows = tiled;
  if (vectors == 1) run_tiled_panel_of<Isa, 1>(t, a);
  if (vectors == 2) run_tiled_panel_of<Isa, 2>(t, a);
  if (vectors == 3) run_tiled_panel_of<Isa, 3>(t, a);
  if (vectors == 4) run_tiled_panel_of<Isa, 4>(t, a);
  t.to.rows = rows;
  if (tiled == rows) return;
  advance(t, tiled);
  run_panel<Isa, quads>(t, vectors);
}

}  // namespace ptq::native
