#pragma once
// SPDX-License-Identifier: Apache-2.0
// Operands of qmatmul.hpp: columns of b as panels of weights, rows of a as pointers and their sums.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include <ptq/kernels/args.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/native/gemm.hpp>
#include <ptq/native/object.hpp>
#include <ptq/native/widen.hpp>

namespace ptq::native {

struct qmatmul_object {
  std::int64_t m = 1, n = 1, k = 1, depth = 4;  // depth: k, at least 4
  bool a_trans = false, b_trans = false;
  std::int64_t batch = 1, panels = 1;
  const std::int64_t* a_offset = nullptr;
  const std::int64_t* b_offset = nullptr;
  std::int32_t a_zero_point = 0, b_zero_point = 0;  // b's less 128
  epilogue_rule rule;
  const float* multiplier = nullptr;  // [widest panel]
  std::size_t bias_at = 0, terms_at = 0, table_at = 0, weights_at = 0, rows_at = 0, wide_at = 0,
              tiles_at = 0;              // in scratch
  bool tiled = false;                    // tile_gemm.hpp
  std::int64_t steps = 1, width = 1;     // of K, in tiles; groups that K lacks weigh nothing
  const std::int64_t* offset = nullptr;  // [steps]

  /// Bytes of a copied row: as far as tiles read.
  PTQ_ALWAYS_INLINE std::int64_t row_bytes() const { return tiled ? 4 * steps * width : depth; }
  PTQ_ALWAYS_INLINE bool copies_rows() const { return a_trans || k < 4; }
};

/// Stores a column's group of four weights (in K order) where the kernel reads them.
template <class S>
PTQ_ALWAYS_INLINE void put_group(std::int8_t* group, std::int64_t column, std::uint32_t four) {
  const auto lane = static_cast<int>(column % S::lanes);
  std::int8_t* vector = group + column / S::lanes * S::lanes * 4;
  if constexpr (S::steps == 1) {
    std::memcpy(vector + 4 * lane, &four, 4);
  } else {
    const auto first = static_cast<std::uint16_t>(four),
               second = static_cast<std::uint16_t>(four >> 16);
    std::memcpy(vector + pairs::position(S::lanes, lane, 0), &first, 2);
    std::memcpy(vector + pairs::position(S::lanes, lane, 2), &second, 2);
  }
}

/// A group of four rows of [k, n]: `b` points at the first row's first column, `t` rows of it weigh
/// nothing, `used` do.
template <class Isa>
PTQ_ALWAYS_INLINE void pack_rows(const std::uint8_t* b, std::int64_t n, std::int64_t columns,
                                 std::int8_t* group, int t, int used) {
  using S = simd<Isa, register_bytes<Isa>>;
  using S16 = simd<Isa, register_bytes<Isa> == 0 ? 0 : 16>;
  for (std::int64_t c = 0; c < columns; c += 16) {
    typename S16::ints row[4], four[4];
    for (int i = 0; i < 4; ++i) {
      row[i] = S16::zero();
      if (i < t || i >= t + used) continue;
      const std::uint8_t* from = b + (i - t) * n + c;
      if (columns - c >= 16) {
        row[i] = S16::flip_signs(S16::load(from));
      } else {
        std::uint8_t few[16] = {};
        copy_few<S, 8>(few, from, columns - c);
        row[i] = S16::flip_signs(S16::load(few));
      }
    }
    S16::interleave(row, four);
    if constexpr (S::steps == 1 && S::lanes == 16) {
      for (int i = 0; i < 4; ++i) S16::store(group + 4 * c + 16 * i, four[i]);
    } else {
      std::uint32_t column[16];
      for (int i = 0; i < 4; ++i) S16::store(column + 4 * i, four[i]);
      for (int i = 0; i < 16 && c + i < columns; ++i) put_group<S>(group, c + i, column[i]);
    }
  }
}

/// Packs columns [first, first + columns) of b and their bias.
template <class Isa>
void pack_b(const qmatmul_object& q, const std::uint8_t* b, std::int64_t first,
            std::int64_t columns, std::byte* scratch) noexcept {
  using S = simd<Isa, register_bytes<Isa>>;
  using ints = typename S::ints;
  const auto vectors = static_cast<int>((columns + S::lanes - 1) / S::lanes);
  auto* weights = reinterpret_cast<std::int8_t*>(scratch + q.weights_at);
  auto* bias = reinterpret_cast<std::int32_t*>(scratch + q.bias_at);
  const std::int64_t group_bytes = std::int64_t{vectors} * S::lanes * 4;
  const std::int64_t groups = (q.depth + 3) / 4, tail = q.depth % 4;
  std::memset(weights, 0, static_cast<std::size_t>((q.row_bytes() + 3) / 4 * group_bytes));
  for (std::int64_t group = 0; group < groups; ++group) {
    std::int8_t* to = weights + group * group_bytes;
    // the last group of a k that is no multiple of 4 begins at depth − 4; bytes covered before it
    // weigh nothing (tiles read beyond the row instead)
    const bool last = tail != 0 && group == q.depth / 4 && !q.tiled;
    const int t = last ? static_cast<int>(4 - tail) : 0;
    const std::int64_t k = 4 * group;
    const auto used = static_cast<int>(std::min<std::int64_t>(4 - t, q.k - k));
    if (!q.b_trans) {
      pack_rows<Isa>(b + k * q.n + first, q.n, columns, to, t, used);
      continue;
    }
    for (std::int64_t c = 0; c < columns; ++c) {
      const std::uint8_t* from = b + (first + c) * q.k + k;
      std::uint32_t four = 0;
      if (used == 4) {
        std::memcpy(&four, from, 4);
        four ^= 0x80808080u;
      } else {
        for (int i = 0; i < used; ++i) four |= (from[i] ^ 0x80u) << (8 * (t + i));
      }
      put_group<S>(to, c, four);
    }
  }
  const auto za = static_cast<std::uint32_t>(q.a_zero_point);
  const std::uint32_t constant =
      static_cast<std::uint32_t>(q.k) * za * static_cast<std::uint32_t>(q.b_zero_point);
  for (int v = 0; v < vectors; ++v) {
    ints sum = S::zero();  // of the packed weights: activations of 1
    for (std::int64_t group = 0; group < groups; ++group)
      unrolled<S::steps>([&](auto s) PTQ_INLINE_LAMBDA {
        using way = usual_way<Isa>;
        sum = way::template dot<S>(sum, S::set(way::bytes == 1 ? 0x01010101 : 0x00010001),
                                   way::template weights<S, decltype(s)::value>(
                                       weights + group * group_bytes + v * S::lanes * 4));
      });
    std::uint32_t lane[S::lanes];
    S::store(lane, sum);
    for (int l = 0; l < S::lanes; ++l)
      bias[v * S::lanes + l] = static_cast<std::int32_t>(constant - za * lane[l]);
  }
}

/// Σ of k bytes.
template <class Isa>
PTQ_ALWAYS_INLINE std::uint32_t sum_of_row(const std::uint8_t* row, std::int64_t k) {
  using S = simd<Isa, register_bytes<Isa>>;
  constexpr int bytes = 4 * S::lanes;
  const typename S::ints one = S::steps == 1 ? S::set(0x01010101) : S::set(0x00010001);
  typename S::ints sums = S::zero();
  std::int64_t i = 0;
  for (; i + bytes <= k; i += bytes)
    unrolled<S::steps>([&](auto s) PTQ_INLINE_LAMBDA {
      if constexpr (S::steps == 1)
        sums = S::dot4(sums, S::load(row + i), one);
      else
        sums = S::dot2(sums, S::template split<decltype(s)::value>(S::load(row + i)), one);
    });
  std::uint32_t lane[S::lanes], sum = 0;
  S::store(lane, sums);
  for (int l = 0; l < S::lanes; ++l) sum += lane[l];
  for (; i < k; ++i) sum += row[i];
  return sum;
}

/// Pointers to a's rows (copied where they are not contiguous or too short) and the rows' terms.
template <class Isa>
void find_a_rows(const qmatmul_object& q, const std::uint8_t* a, std::byte* scratch) noexcept {
  auto** table = reinterpret_cast<const std::uint8_t**>(scratch + q.table_at);
  auto* terms = reinterpret_cast<std::int32_t*>(scratch + q.terms_at);
  auto* copy = reinterpret_cast<std::uint8_t*>(scratch + q.rows_at);
  const bool copied = q.copies_rows();
  const bool widened = usual_way<Isa>::bytes == 2;
  auto* wide = reinterpret_cast<std::uint16_t*>(scratch + q.wide_at);
  const std::int64_t pitch = q.row_bytes();
  if (copied) std::memset(copy, 0, static_cast<std::size_t>(q.m * pitch));
  if (copied)
    for (std::int64_t k = 0; k < q.k; ++k)
      for (std::int64_t i = 0; i < q.m; ++i)
        copy[i * pitch + k] = q.a_trans ? a[k * q.m + i] : a[i * q.k + k];
  for (std::int64_t i = 0; i < q.m; ++i) {
    const std::uint8_t* row = copied ? copy + i * pitch : a + i * q.k;
    const std::uint32_t sum = q.b_zero_point != 0 ? sum_of_row<Isa>(row, q.k) : 0;
    terms[i] = static_cast<std::int32_t>(0u - static_cast<std::uint32_t>(q.b_zero_point) * sum);
    if (widened) {
      std::uint16_t* to = wide + i * wide_pitch(q.depth);
      widen<Isa>(row, to, q.depth);
      row = reinterpret_cast<const std::uint8_t*>(to);
    }
    table[i] = row;
  }
  // a last tile reads pointers and terms of up to a tile's rows: any valid row will do
  for (std::int64_t i = q.m; i < q.m + gemm_shape<Isa>::rows(1); ++i) {
    table[i] = table[0];
    terms[i] = 0;
  }
}

}  // namespace ptq::native
