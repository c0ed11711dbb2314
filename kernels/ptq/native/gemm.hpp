#pragma once
// SPDX-License-Identifier: Apache-2.0
// The micro-kernel of every integer product: a tile of rows × vectors of int32 accumulators stays
// in registers through the whole of K and is requantized from there. Rows are reached through
// pointers, one per row and "tap" (a run of `depth` contiguous bytes of K), so that one kernel
// serves matrix products, convolutions over indirect rows and batched products.
//
// Weights of a panel of vectors · lanes columns are packed [tap][depth / 4][vector][lanes × 4
// bytes]. When depth is no multiple of 4, the last group of four lies at depth − 4 and its weights
// are 0 where an earlier group covered them: no activation outside a row is ever read. Hence depth
// ≥ 4.

#include <cstdint>

#include <ptq/native/dot.hpp>
#include <ptq/native/epilogue.hpp>

namespace ptq::native {

/// One tile's work. Unused rows (≥ to.rows) have valid pointers too.
struct gemm_tile {
  const std::uint8_t* const* rows = nullptr;  // [taps][row_pitch]
  std::int64_t row_pitch = 0;
  std::int64_t offset = 0;  // bytes added to every pointer: a group's first channel
  std::int64_t taps = 1, depth = 0;
  const std::int8_t* weights = nullptr;
  const std::int32_t* bias = nullptr;       // [vectors · lanes]
  const float* multiplier = nullptr;        // [vectors · lanes]
  const std::int32_t* row_terms = nullptr;  // [rows] added to every column, or null
  const epilogue_rule* rule = nullptr;
  tile_target to;
};

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

/// Where K's byte (k of a tap) of `column` lies in its tap of a panel.
template <class Isa>
PTQ_ALWAYS_INLINE std::int64_t weight_offset(std::int64_t k, std::int64_t depth, int column,
                                             int vectors) {
  using S = simd<Isa, register_bytes<Isa>>;
  const std::int64_t tail = depth % 4, group = k / 4;
  // the last group ends with the tap: its bytes begin at depth − 4
  const auto t = static_cast<int>(k < depth - tail ? k % 4 : k - (depth - 4));
  const std::int64_t vector = group * vectors + column / S::lanes;
  return vector * S::lanes * 4 + S::weight_position(column % S::lanes, t);
}

template <class Isa, int Rows, int Vectors>
void gemm_kernel(const gemm_tile& t) {
  using S = simd<Isa, register_bytes<Isa>>;
  using ints = typename S::ints;
  ints acc[Rows][Vectors];
  unrolled<Vectors>([&](auto v) PTQ_INLINE_LAMBDA {
    const ints b = S::load(t.bias + decltype(v)::value * S::lanes);
    unrolled<Rows>([&](auto r)
                       PTQ_INLINE_LAMBDA { acc[decltype(r)::value][decltype(v)::value] = b; });
  });
  if (t.row_terms)
    unrolled<Rows>([&](auto r) PTQ_INLINE_LAMBDA {
      constexpr int row = decltype(r)::value;
      const ints term = S::set(t.row_terms[row]);
      unrolled<Vectors>([&](auto v) PTQ_INLINE_LAMBDA {
        acc[row][decltype(v)::value] = S::add(acc[row][decltype(v)::value], term);
      });
    });

  const std::int8_t* w = t.weights;
  const std::int64_t depth = t.depth, whole = depth & ~std::int64_t{3};
  for (std::int64_t tap = 0; tap < t.taps; ++tap) {
    const std::uint8_t* a[Rows];
    unrolled<Rows>([&](auto r) PTQ_INLINE_LAMBDA {
      a[decltype(r)::value] = t.rows[tap * t.row_pitch + decltype(r)::value] + t.offset;
    });
    const auto multiply_group = [&](std::int64_t k) PTQ_INLINE_LAMBDA {
      unrolled<S::steps>([&](auto s) PTQ_INLINE_LAMBDA {
        constexpr int step = decltype(s)::value;
        ints b[Vectors];
        unrolled<Vectors>([&](auto v) PTQ_INLINE_LAMBDA {
          b[decltype(v)::value] = S::template weights<step>(w + decltype(v)::value * S::lanes * 4);
        });
        unrolled<Rows>([&](auto r) PTQ_INLINE_LAMBDA {
          constexpr int row = decltype(r)::value;
          const ints x = S::template activations<step>(S::broadcast4(a[row] + k));
          unrolled<Vectors>([&](auto v) PTQ_INLINE_LAMBDA {
            constexpr int i = decltype(v)::value;
            acc[row][i] = S::dot(acc[row][i], x, b[i]);
          });
        });
      });
      w += Vectors * S::lanes * 4;
    };
    for (std::int64_t k = 0; k < whole; k += 4) multiply_group(k);
    if (whole != depth) multiply_group(depth - 4);
  }
  store_tile<S, Rows, Vectors>(acc, *t.rule, t.multiplier, t.to);
}

/// Runs a tile of at most gemm_shape::rows(Vectors) rows on the smallest kernel that holds it.
template <class Isa, int Vectors>
PTQ_ALWAYS_INLINE void run_tile_of(const gemm_tile& t) {
  constexpr int rows = gemm_shape<Isa>::rows(Vectors);
  if (t.to.rows > rows / 2)
    gemm_kernel<Isa, rows, Vectors>(t);
  else if (t.to.rows > 1)
    gemm_kernel<Isa, rows / 2, Vectors>(t);
  else
    gemm_kernel<Isa, 1, Vectors>(t);
}

/// All rows of a block times one panel: `t` describes the first tile with to.rows = the block's
/// rows.
template <class Isa>
void run_panel(gemm_tile t, int vectors) {
  const int step = gemm_shape<Isa>::rows(vectors);
  const std::int64_t rows = t.to.rows;
  const std::int64_t bytes = t.rule->what == epilogue_rule::kind::reals ? 4 : 1;
  for (std::int64_t row = 0; row < rows; row += step) {
    t.to.rows = rows - row < step ? rows - row : step;
    if (vectors == 1) run_tile_of<Isa, 1>(t);
    if (vectors == 2) run_tile_of<Isa, 2>(t);
    if constexpr (gemm_shape<Isa>::vectors == 4) {
      if (vectors == 3) run_tile_of<Isa, 3>(t);
      if (vectors == 4) run_tile_of<Isa, 4>(t);
    }
    t.rows += step;
    if (t.row_terms) t.row_terms += step;
    t.to.dst = static_cast<std::byte*>(t.to.dst) + step * t.to.stride * bytes;
    if (t.to.residual) t.to.residual += step * t.to.stride;
  }
}

}  // namespace ptq::native
