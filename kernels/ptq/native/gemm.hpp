#pragma once
// SPDX-License-Identifier: Apache-2.0
// The micro-kernel of every integer product: a tile of rows × vectors of int32 accumulators stays
// in registers through the whole of K and is requantized from there. Rows are reached through
// pointers, one per row and "tap" (a run of `depth` contiguous bytes of K), so that one kernel
// serves matrix products, convolutions over indirect rows and batched products.
//
// Two ways to read the rows:
//   quads   bytes where they lie; dot4. Where that is vpmaddubsw, what a pair of weights exceeds its
//           16 bits by is multiplied in extra groups behind the panel's (pair_add.hpp), where every
//           lane picks its own four of a few neighbouring bytes of K
//   pairs   16-bit copies, one tap; dot2. Its two multiplications per group are as many as
//           vpmaddubsw takes with its own widening, and a mask and a shift less than splitting bytes
//           in the kernel (6 x 2 tile, Zen 3: 0.54 of the pair-add peak with the split)
//
// Weights of a panel of vectors · lanes columns are packed [tap][depth / 4][vector][lanes × 4
// bytes]. When depth is no multiple of 4, the last group of four lies at depth − 4 and its weights
// are 0 where an earlier group covered them: no activation outside a row is ever read. Hence depth
// ≥ 4.

#include <cstdint>
#include <type_traits>

#include <ptq/native/dot.hpp>
#include <ptq/native/epilogue.hpp>

namespace ptq::native {

/// Where an extra group picks its bytes: the first of extra_window(depth).
struct gemm_extra {
  std::int32_t tap = 0, k = 0;
};
constexpr std::int64_t extra_window(std::int64_t depth) {
  return depth >= 16 ? 16 : depth >= 8 ? 8 : 4;
}

/// The work of tiles one below the other. Unused rows (≥ to.rows) have valid pointers too.
struct gemm_tile {
  const std::uint8_t* const* rows = nullptr;  // [taps][row_pitch]
  std::int64_t row_pitch = 0;
  std::int64_t offset = 0;  // bytes added to every pointer: a group's first channel
  std::int64_t taps = 1, depth = 0;
  const std::int32_t* chosen = nullptr;      // [taps] which of the taps, or null: all
  const std::int64_t* group_offset = nullptr;  // [taps][depth / 4] bytes from tap 0, or null: `rows` has all taps
  const std::int8_t* weights = nullptr;
  const gemm_extra* extra = nullptr;        // vector by vector; behind the taps' weights, for each
                                            // a register of which bytes to pick, and their weights
  const std::int64_t* extras = nullptr;     // [vectors] how many
  const std::int32_t* bias = nullptr;       // [vectors · lanes]
  const float* multiplier = nullptr;        // [vectors · lanes]
  const std::int32_t* row_terms = nullptr;  // [rows] added to every column, or null
  const epilogue_rule* rule = nullptr;
  tile_target to;
};

struct quads {
  static constexpr int steps = 1, bytes = 1;  // bytes: of an activation
  /// Where weight `t` (0 … 3) of lane `l` lies within the 4 · lanes bytes of a group.
  static PTQ_ALWAYS_INLINE int position(int /*lanes*/, int l, int t) { return 4 * l + t; }
  template <class S, int>
  static PTQ_ALWAYS_INLINE typename S::ints weights(const std::int8_t* p) {
    return S::load(p);
  }
  template <class S>
  static PTQ_ALWAYS_INLINE typename S::ints dot(typename S::ints acc, typename S::ints a,
                                                typename S::ints w) {
    return S::dot4(acc, a, w);
  }
};
struct pairs {
  static constexpr int steps = 2, bytes = 2;
  static PTQ_ALWAYS_INLINE int position(int lanes, int l, int t) {
    return (t >> 1) * 2 * lanes + 2 * l + (t & 1);
  }
  template <class S, int Step>
  static PTQ_ALWAYS_INLINE typename S::ints weights(const std::int8_t* p) {
    return S::weight_pairs(p + Step * 2 * S::lanes);
  }
  template <class S>
  static PTQ_ALWAYS_INLINE typename S::ints dot(typename S::ints acc, typename S::ints a,
                                                typename S::ints w) {
    return S::dot2(acc, a, w);
  }
};
/// The way that any weights may go.
template <class Isa>
using usual_way = std::conditional_t<has_dpbusd<Isa>, quads, pairs>;

/// Tile shapes of an ISA: as many accumulators as leave registers for one row's and one tap's
/// operands.
template <class Isa, int Bytes = register_bytes<Isa>>
struct gemm_shape {
  static constexpr int vectors = 2;  // 16 registers: 6 × 2 or 12 × 1 accumulators
  static constexpr int rows(int n) { return n == 2 ? 6 : 12; }
};
template <class Isa>
struct gemm_shape<Isa, 64> {
  static constexpr int vectors =
      4;  // 32 registers: 24 accumulators, 16 where one vector is too few for more
  static constexpr int rows(int n) { return n == 4 ? 6 : n == 3 ? 8 : n == 2 ? 12 : 16; }
};

/// Bytes of a panel's weights.
template <class Isa>
PTQ_ALWAYS_INLINE std::int64_t panel_bytes(std::int64_t taps, std::int64_t depth, int vectors) {
  return taps * ((depth + 3) / 4) * vectors * simd<Isa, register_bytes<Isa>>::lanes * 4;
}

/// Adds the products of the tile whose first row is row `first`.
template <class Isa, class Way, int Rows, int Vectors, class Accumulators>
PTQ_ALWAYS_INLINE void add_products(const gemm_tile& t, std::int64_t first, Accumulators& acc) {
  using S = simd<Isa, register_bytes<Isa>>;
  using ints = typename S::ints;
  constexpr int bytes = 4 * S::lanes;  // of a register
  const std::int64_t depth = t.depth, whole = depth & ~std::int64_t{3};
  const std::int64_t tap_bytes = (depth + 3) / 4 * Vectors * bytes;
  const std::int8_t* w = t.weights;
  const std::uint8_t* a[Rows];
  const auto point_at = [&](std::int64_t tap) PTQ_INLINE_LAMBDA {
    const std::uint8_t* const* from = t.rows + tap * t.row_pitch + first;
    unrolled<Rows>([&](auto r) PTQ_INLINE_LAMBDA {
      a[decltype(r)::value] = in_register(from[decltype(r)::value] + t.offset);
    });
  };
  const auto multiply_group = [&](std::int64_t k) PTQ_INLINE_LAMBDA {
    unrolled<Way::steps>([&](auto s) PTQ_INLINE_LAMBDA {
      constexpr int step = decltype(s)::value;
      ints b[Vectors];
      unrolled<Vectors>([&](auto v) PTQ_INLINE_LAMBDA {
        b[decltype(v)::value] = Way::template weights<S, step>(w + decltype(v)::value * bytes);
      });
      unrolled<Rows>([&](auto r) PTQ_INLINE_LAMBDA {
        constexpr int row = decltype(r)::value;
        const ints x = S::broadcast4(a[row] + k * Way::bytes + 4 * step);
        unrolled<Vectors>([&](auto v) PTQ_INLINE_LAMBDA {
          constexpr int i = decltype(v)::value;
          acc[row][i] = Way::template dot<S>(acc[row][i], x, b[i]);
        });
      });
    });
    w += Vectors * bytes;
  };
  point_at(0);
  if (t.group_offset) {  // one loop: leaving one per tap costs as much as eight products
    const std::int64_t groups = t.taps * ((depth + 3) / 4);
    for (std::int64_t i = 0; i < groups; ++i) multiply_group(t.group_offset[i]);
  }
  for (std::int64_t i = 0; i < t.taps && !t.group_offset; ++i) {
    const std::int64_t tap = t.chosen ? t.chosen[i] : i;
    if (tap > 0) point_at(tap);
    if (t.chosen) w = t.weights + tap * tap_bytes;
    for (std::int64_t k = 0; k < whole; k += 4) multiply_group(k);
    if (whole != depth) multiply_group(depth - 4);
  }
  if constexpr (std::is_same_v<Way, quads> && has_pair_add<Isa>) {
    const gemm_extra* extra = t.extra;
    std::int64_t pointed = t.taps - 1;
    const auto add_extras = [&](auto window) PTQ_INLINE_LAMBDA {
      unrolled<Vectors>([&](auto v) PTQ_INLINE_LAMBDA {
        constexpr int i = decltype(v)::value;
        for (std::int64_t n = t.extras[i]; n > 0; --n, ++extra, w += 2 * bytes) {
          if (extra->tap != pointed) point_at(pointed = extra->tap);
          const ints which = S::load(w), b = S::load(w + bytes);
          unrolled<Rows>([&](auto r) PTQ_INLINE_LAMBDA {
            constexpr int row = decltype(r)::value;
            const ints x = S::template repeat<decltype(window)::value>(a[row] + extra->k);
            acc[row][i] = S::dot4(acc[row][i], S::pick(x, which), b);
          });
        }
      });
    };
    if (depth >= 16)
      add_extras(std::integral_constant<int, 16>{});
    else if (depth >= 8)
      add_extras(std::integral_constant<int, 8>{});
    else
      add_extras(std::integral_constant<int, 4>{});
  }
}

/// Tiles of Rows × (Vectors · lanes), one below the other: to.rows of them, the last may be short.
template <class Isa, class Way, int Rows, int Vectors>
void gemm_kernel(const gemm_tile& described) {
  using S = simd<Isa, register_bytes<Isa>>;
  using ints = typename S::ints;
  const gemm_tile t = described;  // a copy: stores of codes may alias anything that is not local
  const epilogue<S> e(*t.rule);
  const bool plain = e.rule.plain() && t.to.columns == Vectors * S::lanes && !t.to.offset;
  for (std::int64_t first = 0; first < t.to.rows; first += Rows) {
    ints acc[Rows][Vectors];
    unrolled<Vectors>([&](auto v) PTQ_INLINE_LAMBDA {
      const ints b = S::load(t.bias + decltype(v)::value * S::lanes);
      unrolled<Rows>([&](auto r)
                         PTQ_INLINE_LAMBDA { acc[decltype(r)::value][decltype(v)::value] = b; });
    });
    if (t.row_terms)
      unrolled<Rows>([&](auto r) PTQ_INLINE_LAMBDA {
        constexpr int row = decltype(r)::value;
        const ints term = S::set(t.row_terms[first + row]);
        unrolled<Vectors>([&](auto v) PTQ_INLINE_LAMBDA {
          acc[row][decltype(v)::value] = S::add(acc[row][decltype(v)::value], term);
        });
      });
    add_products<Isa, Way, Rows, Vectors>(t, first, acc);
    if (!plain || t.to.rows - first < Rows) {
      store_tile<S, Rows, Vectors>(acc, e, t.multiplier, t.to, first);
      continue;
    }
    auto* const dst = static_cast<std::uint8_t*>(t.to.dst) + first * t.to.stride;
    e.bare ? store_plain<S, Rows, Vectors, true>(acc, e, t.multiplier, dst, t.to.stride)
           : store_plain<S, Rows, Vectors, false>(acc, e, t.multiplier, dst, t.to.stride);
  }
}

/// Moves a tile on by `step` rows.
PTQ_ALWAYS_INLINE void advance(gemm_tile& t, std::int64_t step) {
  t.rows += step;
  if (t.row_terms) t.row_terms += step;
  t.to.rows -= step;
  if (t.to.offset) {
    t.to.offset += step;
    return;
  }
  const std::int64_t bytes = t.rule->what == epilogue_rule::kind::reals ? 4 : 1;
  t.to.dst = static_cast<std::byte*>(t.to.dst) + step * t.to.stride * bytes;
  if (t.to.residual) t.to.residual += step * t.to.stride;
}

/// Any number of rows, the last of them on the smallest kernel that holds them.
template <class Isa, class Way, int Vectors>
PTQ_ALWAYS_INLINE void run_tiles_of(gemm_tile t) {
  constexpr int rows = gemm_shape<Isa>::rows(Vectors);
  const std::int64_t all = t.to.rows, rest = all % rows;
  const std::int64_t large = rest > rows / 2 ? all : all - rest;
  if (large > 0) {
    t.to.rows = large;
    gemm_kernel<Isa, Way, rows, Vectors>(t);
    if (large == all) return;
    t.to.rows = all;
    advance(t, large);
  }
  if (rest > 1)
    gemm_kernel<Isa, Way, rows / 2, Vectors>(t);
  else
    gemm_kernel<Isa, Way, 1, Vectors>(t);
}

/// All rows of a block times one panel.
template <class Isa, class Way>
void run_panel(const gemm_tile& t, int vectors) {
  if (vectors == 1) run_tiles_of<Isa, Way, 1>(t);
  if (vectors == 2) run_tiles_of<Isa, Way, 2>(t);
  if constexpr (gemm_shape<Isa>::vectors == 4) {
    if (vectors == 3) run_tiles_of<Isa, Way, 3>(t);
    if (vectors == 4) run_tiles_of<Isa, Way, 4>(t);
  }
}

/// The same, tile by tile; `adapt(tile, row)` chooses taps and bias of the one that starts at a row.
template <class Isa, class Way, class Adapt>
PTQ_ALWAYS_INLINE void run_panel(gemm_tile t, int vectors, Adapt adapt) {
  const int step = gemm_shape<Isa>::rows(vectors);
  const std::int64_t rows = t.to.rows;
  for (std::int64_t row = 0; row < rows; row += step) {
    t.to.rows = rows - row < step ? rows - row : step;
    adapt(t, row);
    run_panel<Isa, Way>(t, vectors);
    t.to.rows = rows - row;
    advance(t, step);
  }
}

}  // namespace ptq::native
