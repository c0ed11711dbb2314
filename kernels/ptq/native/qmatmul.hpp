#pragma once
// SPDX-License-Identifier: Apache-2.0
// Batched product of two activations. b's u8 codes become s8 (less 128), so that the kernel of
// gemm.hpp serves:
//   Σ (a − za)(b − zb) = Σ a·b' − zb'·Σa − za·Σb' + k·za·zb'      b' = b − 128, zb' = zb − 128
// with −za·Σb' + k·za·zb' as the columns' bias and −zb'·Σa as the rows' terms. A unit is one batch
// item times one panel of columns, packed in scratch. Sums may wrap on the way; the result is
// exact.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include <ptq/kernels/args.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/native/gemm.hpp>
#include <ptq/native/object.hpp>
#include <ptq/native/tile_gemm.hpp>
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
              tiles_at = 0;  // in scratch
  bool tiled = false;        // tile_gemm.hpp
  tile_cut cut;
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
  std::memset(weights, 0, static_cast<std::size_t>(groups * group_bytes));
  for (std::int64_t group = 0; group < groups; ++group) {
    std::int8_t* to = weights + group * group_bytes;
    // the last group of a k that is no multiple of 4 begins at depth − 4; bytes covered before it
    // weigh nothing
    const bool last = tail != 0 && group == q.depth / 4;
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
  const bool copied = q.a_trans || q.k < 4;
  const bool widened = usual_way<Isa>::bytes == 2;
  auto* wide = reinterpret_cast<std::uint16_t*>(scratch + q.wide_at);
  if (copied) std::memset(copy, 0, static_cast<std::size_t>(q.m * q.depth));
  if (copied)
    for (std::int64_t k = 0; k < q.k; ++k)
      for (std::int64_t i = 0; i < q.m; ++i)
        copy[i * q.depth + k] = q.a_trans ? a[k * q.m + i] : a[i * q.k + k];
  for (std::int64_t i = 0; i < q.m; ++i) {
    const std::uint8_t* row = copied ? copy + i * q.depth : a + i * q.k;
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

template <class Isa>
void run_qmatmul(const void* object, const kernels::operands& io, std::byte* scratch,
                 work_range range) {
  constexpr std::int64_t lanes = simd<Isa, register_bytes<Isa>>::lanes;
  constexpr std::int64_t widest = gemm_shape<Isa>::vectors * lanes;
  const auto& q = *static_cast<const qmatmul_object*>(object);
  const std::int64_t element = q.rule.what == epilogue_rule::kind::reals ? 4 : 1;
  const tile_rows<Isa> tiles{q.cut, q.m, scratch + q.tiles_at};
  const configured_tiles<Isa> configured{q.tiled, q.cut};
  std::int64_t filled = -1;  // the batch item whose rows the table holds
  for (std::int64_t unit = range.begin; unit < range.end; ++unit) {
    const std::int64_t item = unit / q.panels, first = unit % q.panels * widest;
    const std::int64_t columns = std::min(widest, q.n - first);
    const bool next_item = item != filled;
    if (next_item)
      find_a_rows<Isa>(q, static_cast<const std::uint8_t*>(io.src[0]) + q.a_offset[item], scratch);
    filled = item;
    pack_b<Isa>(q, static_cast<const std::uint8_t*>(io.src[1]) + q.b_offset[item], first, columns,
                scratch);
    gemm_tile t;
    t.rows = reinterpret_cast<const std::uint8_t**>(scratch + q.table_at);
    t.depth = q.depth;
    t.weights = reinterpret_cast<const std::int8_t*>(scratch + q.weights_at);
    t.bias = reinterpret_cast<const std::int32_t*>(scratch + q.bias_at);
    t.multiplier = q.multiplier;
    if (q.b_zero_point != 0)
      t.row_terms = reinterpret_cast<const std::int32_t*>(scratch + q.terms_at);
    t.rule = &q.rule;
    t.to.dst = static_cast<std::byte*>(io.dst) + (item * q.m * q.n + first) * element;
    t.to.stride = q.n;
    t.to.rows = q.m;
    t.to.columns = columns;
    const auto vectors = static_cast<int>((columns + lanes - 1) / lanes);
    if constexpr (Isa::has_tiles) {
      if (q.tiled) {
        if (next_item) tiles.fill(t);
        run_tiled_panel<Isa>(t, vectors, tiles);
        continue;
      }
    }
    run_panel<Isa, usual_way<Isa>>(t, vectors);
  }
}

/// Batched u8 · u8 product, see qmatmul_args; bit-equal to reference::qmatmul.
template <class Isa>
kernels::prepared qmatmul(const kernels::qmatmul_args& a) {
  constexpr std::int64_t widest = gemm_shape<Isa>::vectors * simd<Isa, register_bytes<Isa>>::lanes;
  qmatmul_object q;
  q.m = a.m;
  q.n = a.n;
  q.k = a.k;
  q.depth = std::max<std::int64_t>(a.k, 4);
  q.a_trans = a.a_trans;
  q.b_trans = a.b_trans;
  q.batch = static_cast<std::int64_t>(a.a_offset.size());
  q.panels = (a.n + widest - 1) / widest;
  q.a_zero_point = a.a_zero_point;
  q.b_zero_point = a.b_zero_point - 128;
  q.rule = make_rule<Isa>(a.epilogue);
  q.tiled = tiles_pay<Isa>(q.m, q.n, q.depth);
  if (q.tiled) q.cut = tile_cut(1, q.depth);

  block_layout<Isa> scratch;
  const std::int64_t rows = a.m + gemm_shape<Isa>::rows(1);
  q.bias_at = scratch.template add<std::int32_t>(widest);
  q.terms_at = scratch.template add<std::int32_t>(rows);
  q.table_at = scratch.template add<const std::uint8_t*>(rows);
  q.weights_at =
      scratch.template add<std::int8_t>(panel_bytes<Isa>(1, q.depth, gemm_shape<Isa>::vectors));
  q.rows_at = scratch.template add<std::uint8_t>(a.a_trans || a.k < 4 ? a.m * q.depth : 0);
  q.wide_at = scratch.template add<std::uint16_t>(
      usual_way<Isa>::bytes == 2 ? a.m * wide_pitch(q.depth) : 0);
  q.tiles_at =
      scratch.template add<std::byte>(q.tiled ? tile_rows<Isa>::scratch_bytes(q.cut, q.m) : 0);

  block_layout<Isa> layout;
  layout.template add<qmatmul_object>(1);
  const std::size_t multiplier_at = layout.template add<float>(widest);
  const std::size_t a_offset_at = layout.template add<std::int64_t>(q.batch);
  const std::size_t b_offset_at = layout.template add<std::int64_t>(q.batch);
  kernels::prepared p = blank<Isa>(layout.bytes);
  auto* object = object_of<qmatmul_object>(p);
  auto* multiplier = at_offset<float>(object, multiplier_at);
  auto* a_offset = at_offset<std::int64_t>(object, a_offset_at);
  auto* b_offset = at_offset<std::int64_t>(object, b_offset_at);
  for (std::int64_t i = 0; i < widest; ++i) multiplier[i] = *a.epilogue.multiplier.data();
  for (std::int64_t i = 0; i < q.batch; ++i) {
    a_offset[i] = a.a_offset.data()[i];
    b_offset[i] = a.b_offset.data()[i];
  }
  q.multiplier = multiplier;
  q.a_offset = a_offset;
  q.b_offset = b_offset;
  std::memcpy(static_cast<void*>(object), &q, sizeof q);
  p.run = run_qmatmul<Isa>;
  p.units = q.batch * q.panels;
  p.scratch = scratch.bytes;
  p.name = q.tiled ? "batched gemm, tiles" : "batched gemm";
  return p;
}

}  // namespace ptq::native
