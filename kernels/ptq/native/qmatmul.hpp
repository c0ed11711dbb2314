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
#include <ptq/native/qmatmul_pack.hpp>
#include <ptq/native/tile_qmatmul.hpp>

namespace ptq::native {

/// For each unit's panel: packs it and calls multiply(tile, vectors, first of its item);
/// `next_item()` comes before the rows' terms of another item.
template <class Isa, class NextItem, class Multiply>
PTQ_ALWAYS_INLINE void for_panels(const qmatmul_object& q, const kernels::operands& io,
                                  std::byte* scratch, work_range range, NextItem begin_item,
                                  Multiply multiply) {
  constexpr std::int64_t lanes = simd<Isa, register_bytes<Isa>>::lanes;
  constexpr std::int64_t widest = gemm_shape<Isa>::vectors * lanes;
  const std::int64_t element = q.rule.what == epilogue_rule::kind::reals ? 4 : 1;
  std::int64_t filled = -1;  // the batch item whose rows the table holds
  for (std::int64_t unit = range.begin; unit < range.end; ++unit) {
    const std::int64_t item = unit / q.panels, first = unit % q.panels * widest;
    const std::int64_t columns = std::min(widest, q.n - first);
    const bool next_item = item != filled;
    if (next_item) begin_item();
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
    multiply(t, vectors, next_item);
  }
}

template <class Isa>
void run_qmatmul(const void* object, const kernels::operands& io, std::byte* scratch,
                 work_range range) {
  const auto& q = *static_cast<const qmatmul_object*>(object);
  if constexpr (Isa::has_tiles) {
    if (q.tiled) {
      const configured_tiles<Isa> configured(std::min(q.m, tile_side), q.width);
      tile_pipeline<Isa> pipeline;
      auto* copy = reinterpret_cast<std::uint8_t*>(scratch + q.tiles_at);
      const std::uint8_t* last = copy;
      for_panels<Isa>(
          q, io, scratch, range, [&]() PTQ_INLINE_LAMBDA { pipeline.finish(); },
          [&](const gemm_tile& t, int vectors, bool next_item) PTQ_INLINE_LAMBDA {
            if (next_item) last = find_last_rows(q, t.rows[0], copy);
            multiply_by_tiles<Isa>(q, t, vectors, last, pipeline);
          });
      return pipeline.finish();
    }
  }
  for_panels<Isa>(
      q, io, scratch, range, []() PTQ_INLINE_LAMBDA {},
      [](const gemm_tile& t, int vectors, bool)
          PTQ_INLINE_LAMBDA { run_panel<Isa, usual_way<Isa>>(t, vectors); });
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
  q.tiled = Isa::has_tiles && q.depth >= 16 && q.n >= 4 && q.m >= 4;
  const std::int64_t groups = (q.depth + 3) / 4;
  q.steps = (groups + tile_side - 1) / tile_side;
  q.width = (groups + q.steps - 1) / q.steps;

  block_layout<Isa> scratch;
  const std::int64_t rows = a.m + gemm_shape<Isa>::rows(1);
  q.bias_at = scratch.template add<std::int32_t>(widest);
  q.terms_at = scratch.template add<std::int32_t>(rows);
  q.table_at = scratch.template add<const std::uint8_t*>(rows);
  q.weights_at = scratch.template add<std::int8_t>(
      panel_bytes<Isa>(1, q.row_bytes(), gemm_shape<Isa>::vectors));
  q.rows_at = scratch.template add<std::uint8_t>(q.copies_rows() ? a.m * q.row_bytes() : 0);
  q.wide_at = scratch.template add<std::uint16_t>(
      usual_way<Isa>::bytes == 2 ? a.m * wide_pitch(q.depth) : 0);
  q.tiles_at = scratch.template add<std::uint8_t>(q.tiled ? tile_side * q.row_bytes() + 64 : 0);

  block_layout<Isa> layout;
  layout.template add<qmatmul_object>(1);
  const std::size_t multiplier_at = layout.template add<float>(widest);
  const std::size_t a_offset_at = layout.template add<std::int64_t>(q.batch);
  const std::size_t b_offset_at = layout.template add<std::int64_t>(q.batch);
  const std::size_t offset_at = layout.template add<std::int64_t>(q.steps);
  kernels::prepared p = blank<Isa>(layout.bytes);
  auto* object = object_of<qmatmul_object>(p);
  auto* multiplier = at_offset<float>(object, multiplier_at);
  auto* a_offset = at_offset<std::int64_t>(object, a_offset_at);
  auto* b_offset = at_offset<std::int64_t>(object, b_offset_at);
  auto* offset = at_offset<std::int64_t>(object, offset_at);
  for (std::int64_t i = 0; i < q.steps; ++i) offset[i] = 4 * q.width * i;
  q.offset = offset;
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
