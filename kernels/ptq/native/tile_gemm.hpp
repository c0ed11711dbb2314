#pragma once
// SPDX-License-Identifier: Apache-2.0
// The micro-kernel of ISAs with tiles (AMX): 2 × 2 tiles of 16 × 16 int32 sums, or 1 × 2 for the last
// rows, through the whole of K, which is cut into steps of at most 64 bytes. Where a step's
// activations begin is an offset from its row: matrices and convolutions (tile_source.hpp) differ in
// nothing else.
//
// A step takes 64 cycles whatever its width, and 8 instructions. Meanwhile the registers requantize
// what the block before left behind: sums pass through a buffer of two blocks. (Products alone, both
// operands in the second-level cache: 0.84 of what tdpbusd does without loads, Sapphire Rapids.)
//
// Tiles: 0 to 3 sums, 4 and 5 activations, 6 and 7 weights.

#include <algorithm>
#include <cstdint>

#include <ptq/native/dot.hpp>
#include <ptq/native/epilogue.hpp>

namespace ptq::native {

/// Rows of a tile; groups of four bytes, or int32 sums, in one of its rows.
inline constexpr std::int64_t tile_side = 16;
/// Rows of a block, and columns of a panel.
inline constexpr std::int64_t tile_block_rows = 2 * tile_side, tile_panel = 2 * tile_side;

/// Tiles of `rows` rows of activations and sums, and of `width` groups of K, as long as this lives;
/// nothing where rows are 0. Whatever ran before in the thread may have released them or configured
/// others; nothing is left behind.
template <class Isa>
struct configured_tiles {
  const bool used;

  PTQ_ALWAYS_INLINE configured_tiles(std::int64_t rows, std::int64_t width) : used(rows > 0) {
    if constexpr (Isa::has_tiles) {
      if (!used) return;
      tile_config c;
      for (int tile = 0; tile < 8; ++tile) {
        const bool activations = tile == 4 || tile == 5, weights = tile > 5;
        c.rows[tile] = static_cast<std::uint8_t>(weights ? width : rows);
        c.row_bytes[tile] = static_cast<std::uint16_t>(4 * (activations ? width : tile_side));
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

/// A block's sums, on their way to the destination. Of its rows `run` are results, then `gap` are
/// not, and so on (a convolution's rows, as they lie in a padded image).
struct tile_results {
  const std::int32_t* sums = nullptr;  // the next row; 16 · vectors from row to row
  std::int64_t rows = 0;               // results left
  std::int64_t left = 0;               // of the current run
  std::int64_t run = 0, gap = 0;
  std::int64_t chunks = 0;  // of tile_rows_at_once, that all of it takes at most
  int vectors = 1;
  const float* multiplier = nullptr;        // [vectors · 16]
  const std::int32_t* row_terms = nullptr;  // of the next row, added to every column, or null
  const epilogue_rule* rule = nullptr;
  tile_target to;  // dst and residual: of the next result; rows: unused
};

/// Rows that are requantized at once, of one run.
inline constexpr int tile_rows_at_once = 4;

/// What becomes of whole rows of codes. Bare: from 0 to 255 with zero point 0, unguarded.
enum class code_kind { bare, plain, added };

/// Requantizes whole rows of codes, what most layers end with: all that it needs is in registers.
template <class Isa, int Vectors, code_kind Kind>
struct code_requantizer {
  using S = simd<Isa, register_bytes<Isa>>;
  using ints = typename S::ints;
  static constexpr int together = rows_per_pack<S, Vectors>;
  const epilogue<S> e;
  const float* multiplier;
  const std::int32_t* sums;
  std::uint8_t* y;
  const std::uint8_t* residual;
  const std::int64_t stride, run, gap;
  std::int64_t rows, left;

  PTQ_ALWAYS_INLINE explicit code_requantizer(const tile_results& r)
      : e(*r.rule),
        multiplier(r.multiplier),
        sums(r.sums),
        y(static_cast<std::uint8_t*>(r.to.dst)),
        residual(r.to.residual),
        stride(r.to.stride),
        run(r.run),
        gap(r.gap),
        rows(r.rows),
        left(r.left) {}

  /// A row's codes for `pack`; `x`: the residual's.
  PTQ_ALWAYS_INLINE void codes_of(const ints* acc, const std::uint8_t* x, ints* code) const {
    if constexpr (Kind == code_kind::added) {
      ints other[Vectors];
      unrolled<Vectors>([&](auto v) PTQ_INLINE_LAMBDA {
        constexpr int at = decltype(v)::value;
        other[at] = S::load_codes(x + at * S::lanes);
      });
      e.template sums<Vectors>(acc, multiplier, other, code);
    } else {
      e.template rounded<Vectors, Kind != code_kind::bare>(acc, multiplier, code);
    }
  }

  PTQ_ALWAYS_INLINE void operator()(std::int64_t chunks) {
    for (; chunks > 0 && rows > 0; --chunks) {
      const std::int64_t count = std::min(std::min<std::int64_t>(tile_rows_at_once, left), rows);
      unrolled<tile_rows_at_once / together>([&](auto p) PTQ_INLINE_LAMBDA {
        constexpr int first = decltype(p)::value * together;
        if (first >= count) return;
        ints acc[4], code[4];
        unrolled<4>([&](auto i) PTQ_INLINE_LAMBDA {
          constexpr int at = decltype(i)::value;
          acc[at] = S::load(sums + (first * Vectors + at) * S::lanes);
        });
        unrolled<together>([&](auto i) PTQ_INLINE_LAMBDA {
          constexpr int row = first + decltype(i)::value, at = decltype(i)::value * Vectors;
          const std::uint8_t* x = residual;
          if constexpr (Kind == code_kind::added) x += (row < count ? row : first) * stride;
          codes_of(acc + at, x, code + at);
        });
        const ints packed = e.template packed<Kind == code_kind::bare>(code);
        unrolled<together>([&](auto i) PTQ_INLINE_LAMBDA {
          constexpr int row = first + decltype(i)::value, at = decltype(i)::value * Vectors;
          if (row < count) S::template store_codes<Vectors, at>(y + row * stride, packed);
        });
      });
      y += count * stride;
      if constexpr (Kind == code_kind::added) residual += count * stride;
      rows -= count;
      left -= count;
      sums += (count + (left == 0 ? gap : 0)) * Vectors * tile_side;
      if (left == 0) left = run;
    }
  }
};

/// Requantizes any results.
template <class Isa, int Vectors>
void requantize_any(tile_results& r, std::int64_t chunks) {
  using S = simd<Isa, register_bytes<Isa>>;
  constexpr int together = tile_rows_at_once;
  for (; chunks > 0 && r.rows > 0; --chunks) {
    const std::int64_t rows = std::min(std::min<std::int64_t>(together, r.left), r.rows);
    typename S::ints acc[together][Vectors];
    unrolled<together>([&](auto i) PTQ_INLINE_LAMBDA {
      constexpr int row = decltype(i)::value;
      unrolled<Vectors>([&](auto v) PTQ_INLINE_LAMBDA {
        constexpr int at = decltype(v)::value;
        acc[row][at] = S::load(r.sums + (row * Vectors + at) * S::lanes);
      });
    });
    if (r.row_terms) {
      unrolled<together>([&](auto i) PTQ_INLINE_LAMBDA {
        constexpr int row = decltype(i)::value;
        const auto term = S::set(r.row_terms[row < rows ? row : 0]);
        unrolled<Vectors>([&](auto v) PTQ_INLINE_LAMBDA {
          acc[row][decltype(v)::value] = S::add(acc[row][decltype(v)::value], term);
        });
      });
      r.row_terms += rows;
    }
    r.to.rows = rows;
    store_tile<S, together, Vectors>(acc, *r.rule, r.multiplier, r.to);
    const std::int64_t element = r.rule->what == epilogue_rule::kind::reals ? 4 : 1;
    r.to.dst = static_cast<std::byte*>(r.to.dst) + rows * r.to.stride * element;
    if (r.to.residual) r.to.residual += rows * r.to.stride;
    r.rows -= rows;
    r.left -= rows;
    r.sums += (rows + (r.left == 0 ? r.gap : 0)) * Vectors * S::lanes;
    if (r.left == 0) r.left = r.run;
  }
}

/// Calls f(requantize) with what requantizes the results: requantize(n) does at most n chunks.
template <class Isa, int Vectors, class F>
PTQ_ALWAYS_INLINE void with_requantizer(tile_results& r, F f) {
  using S = simd<Isa, register_bytes<Isa>>;
  static_assert(S::lanes == tile_side);
  if (r.rows == 0) return f([](std::int64_t) PTQ_INLINE_LAMBDA {});
  const epilogue_rule& rule = *r.rule;
  if (rule.what == epilogue_rule::kind::reals || rule.shaped() || r.row_terms ||
      r.to.columns != Vectors * S::lanes)
    return f([&](std::int64_t chunks)
                 PTQ_INLINE_LAMBDA { requantize_any<Isa, Vectors>(r, chunks); });
  if (rule.what == epilogue_rule::kind::codes_added)
    return f(code_requantizer<Isa, Vectors, code_kind::added>(r));
  if (epilogue<S>::is_bare(rule) && !rule.guarded)
    return f(code_requantizer<Isa, Vectors, code_kind::bare>(r));
  f(code_requantizer<Isa, Vectors, code_kind::plain>(r));
}
template <class Isa, int Vectors>
void requantize(tile_results& r) {
  with_requantizer<Isa, Vectors>(r, [&](auto all) PTQ_INLINE_LAMBDA { all(r.chunks); });
}
template <class Isa>
PTQ_ALWAYS_INLINE void requantize(tile_results& r) {
  r.vectors == 2 ? requantize<Isa, 2>(r) : requantize<Isa, 1>(r);
  r.rows = 0;
}

/// Operands of a block of rows × a panel of columns.
struct tile_block {
  const std::uint8_t* rows[2] = {};      // the first row of each tile
  std::int64_t row_pitch = 0;            // bytes from row to row
  const std::int64_t* offset = nullptr;  // [steps] bytes from a row
  std::int64_t steps = 1;
  const std::int8_t* weights = nullptr;
  std::int64_t weight_pitch = 0;                  // bytes between a tile's rows,
  std::int64_t weight_tile = 0, weight_step = 0;  // to the second tile, to the next step
  const std::int32_t* bias = nullptr;             // [vectors · 16]
  bool distant = false;                           // weights beyond the second-level cache
};

/// Few rows read all weights for little work: those of a step to come. (One row, 16 MiB: 44 to 55
/// GOP/s; weights in the second-level cache: a fifth slower.)
PTQ_ALWAYS_INLINE void fetch_weights(const std::int8_t* w, std::int64_t bytes) {
#if defined(__GNUC__)
  for (std::int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(w + i);
#endif
}

/// sums [Rows · 16][Vectors · 16], `pitch` from row to row, = bias + rows · weights; `meanwhile(n)` is
/// called at every step, with `chunks` in all.
template <class Isa, int Rows, int Vectors, class Meanwhile>
PTQ_ALWAYS_INLINE void multiply_steps(const tile_block& b, std::int32_t* sums, std::int64_t pitch,
                                      std::int64_t chunks, Meanwhile meanwhile) {
  using tiles = typename Isa::tiles;
  unrolled<Rows * Vectors>([&](auto i) PTQ_INLINE_LAMBDA {
    constexpr int tile = decltype(i)::value;
    tiles::template load<tile>(b.bias + tile % Vectors * tile_side, 0);  // the same in all rows
  });
  const std::int64_t per_step = (chunks + b.steps - 1) / b.steps;
  const std::int8_t* w = b.weights;
  for (std::int64_t step = 0; step < b.steps; ++step, w += b.weight_step) {
    const std::int64_t at = b.offset[step];
    if constexpr (Rows == 1)
      if (b.distant) fetch_weights(w + 4 * b.weight_step, b.weight_step);
    tiles::template load<6>(w, b.weight_pitch);
    tiles::template load<4>(b.rows[0] + at, b.row_pitch);
    if constexpr (Rows == 2) tiles::template load<5>(b.rows[1] + at, b.row_pitch);
    tiles::template dot<0, 4, 6>();
    if constexpr (Rows == 2) tiles::template dot<Vectors, 5, 6>();
    if constexpr (Vectors == 2) {
      tiles::template load<7>(w + b.weight_tile, b.weight_pitch);
      tiles::template dot<1, 4, 7>();
      if constexpr (Rows == 2) tiles::template dot<3, 5, 7>();
    }
    meanwhile(per_step);
  }
  unrolled<Rows * Vectors>([&](auto i) PTQ_INLINE_LAMBDA {
    constexpr int tile = decltype(i)::value, row = tile / Vectors, column = tile % Vectors;
    tiles::template store<tile>(sums + (row * pitch + column) * tile_side, 4 * pitch);
  });
}

/// A block's sums, while the block `before` is requantized.
template <class Isa, int Rows, int Vectors>
void multiply_block(const tile_block& b, std::int32_t* sums, tile_results& before) {
  if (before.vectors != Vectors) requantize<Isa>(before);
  with_requantizer<Isa, Vectors>(before, [&](auto meanwhile) PTQ_INLINE_LAMBDA {
    multiply_steps<Isa, Rows, Vectors>(b, sums, Vectors * tile_side, before.chunks, meanwhile);
  });
}

/// Multiplies block after block; the last one's results are out when `finish` returns.
template <class Isa>
struct tile_pipeline {
  // the last chunk reads whole rows
  static constexpr std::int64_t room = (tile_block_rows + tile_rows_at_once) * tile_panel;
  alignas(64) std::int32_t sums[2][room];
  tile_results results[2];
  int turn = 0;

  /// Describes the results of the block that is multiplied next, but for their sums.
  PTQ_ALWAYS_INLINE tile_results& next() { return results[turn]; }
  /// `first`: the row of the block that is its first result.
  PTQ_ALWAYS_INLINE void multiply(const tile_block& b, std::int64_t tiles, std::int64_t first) {
    tile_results& r = results[turn];
    std::int32_t* to = sums[turn];
    turn = 1 - turn;
    if (r.vectors == 2)
      tiles == 2 ? multiply_block<Isa, 2, 2>(b, to, results[turn])
                 : multiply_block<Isa, 1, 2>(b, to, results[turn]);
    else
      tiles == 2 ? multiply_block<Isa, 2, 1>(b, to, results[turn])
                 : multiply_block<Isa, 1, 1>(b, to, results[turn]);
    r.sums = to + first * r.vectors * tile_side;
  }
  PTQ_ALWAYS_INLINE void finish() { requantize<Isa>(results[1 - turn]); }
};

}  // namespace ptq::native
