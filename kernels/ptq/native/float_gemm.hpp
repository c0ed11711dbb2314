#pragma once
// SPDX-License-Identifier: Apache-2.0
// Batched float matrix product on the register tiles of float_tile.hpp, bit-equal to the reference.
//
// A constant right side is packed at preparation, one activation times another packs its slice of b
// in the unit that uses it. A unit is (batch, rows, columns): a few tiles of rows by 128 columns.
// Neighbouring units of one range share what is packed already.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <ptq/kernels/args.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/native/float_tile.hpp>

namespace ptq::native {

namespace float_gemm {

template <class Isa>
struct product {
  std::int64_t m = 1, n = 1, k = 1, batch = 1;
  bool a_trans = false, b_trans = false, constant = false;
  std::int64_t* a_offset = nullptr;  // [batch]
  std::int64_t* b_offset = nullptr;  // [batch]; of a constant b: where its packed copy starts
  float* b = nullptr;                // packed constant
  float* start = nullptr;            // [n], bias, in whole registers
  float low = 0, high = 0;
  std::int64_t tiles = 1;             // of a per unit
  std::int64_t width = unit_columns;  // columns per unit
  std::int64_t row_blocks = 1, column_blocks = 1;
};

/// One unit's place in the product.
template <class Isa>
struct place {
  std::int64_t batch, row_block, column_block;
};

/// Units in an order that keeps what is dear to pack: rows of a for a constant b, columns of b
/// otherwise.
template <class Isa>
place<Isa> place_of(const product<Isa>& o, std::int64_t unit) {
  const std::int64_t batch = unit / (o.row_blocks * o.column_blocks);
  const std::int64_t rest = unit % (o.row_blocks * o.column_blocks);
  if (o.constant) return {batch, rest / o.column_blocks, rest % o.column_blocks};
  return {batch, rest % o.row_blocks, rest / o.row_blocks};
}

/// Rows [first, first + height) of a → tiles.
template <class Isa>
void pack_rows(const product<Isa>& o, const float* a, float* tiles, std::int64_t first,
               std::int64_t height) {
  const std::int64_t size = tile_size<Isa>(o.k);
  for (std::int64_t r = 0; r < height; ++r) {
    float* row = tiles + r / rows<Isa> * size + r % rows<Isa> * pitch;
    if (!o.a_trans) row_writer<Isa>(row).copy(a + (first + r) * o.k, o.k);
  }
  if (!o.a_trans) return;
  for (std::int64_t i = 0; i < o.k; ++i) {
    const float* s = a + i * o.m + first;
    float* at = tiles + i / chunk * rows<Isa> * pitch + i % chunk;
    for (std::int64_t r = 0; r < height; ++r)
      at[r / rows<Isa> * size + r % rows<Isa> * pitch] = s[r];
  }
}

template <class Isa>
void run_product(const void* object, const kernels::operands& io, std::byte* scratch,
                 work_range range) {
  const auto& o = *static_cast<const product<Isa>*>(object);
  float* tiles = reinterpret_cast<float*>(scratch);
  float* columns_of_b = tiles + o.tiles * tile_size<Isa>(o.k);
  place<Isa> last{-1, -1, -1};
  for (std::int64_t unit = range.begin; unit < range.end; ++unit) {
    const place<Isa> at = place_of(o, unit);
    const std::int64_t row = at.row_block * o.tiles * rows<Isa>, column = at.column_block * o.width;
    const std::int64_t height = least(o.m - row, o.tiles * rows<Isa>);
    const std::int64_t n = least(o.n - column, o.width);
    if (at.batch != last.batch || at.row_block != last.row_block)
      pack_rows(o, static_cast<const float*>(io.src[0]) + o.a_offset[at.batch], tiles, row, height);
    const float* b = columns_of_b;
    if (o.constant)
      b = o.b + o.b_offset[at.batch] + column * o.k;
    else if (at.batch != last.batch || at.column_block != last.column_block)
      pack_panels<Isa>(columns_of_b,
                       static_cast<const float*>(io.src[1]) + o.b_offset[at.batch] +
                           column * (o.b_trans ? o.k : 1),
                       o.k, n, o.b_trans ? 1 : o.n, o.b_trans ? o.k : 1);
    last = at;
    multiply_block<Isa>({.a = tiles,
                         .height = height,
                         .b = b,
                         .start = o.start + column,
                         .k = o.k,
                         .n = n,
                         .c = static_cast<float*>(io.dst) + (at.batch * o.m + row) * o.n + column,
                         .c_stride = o.n,
                         .low = o.low,
                         .high = o.high});
  }
}

/// The first batch that has batch i's b.
template <class Isa>
std::int64_t first_use(const std::int64_t* offset, std::int64_t i) noexcept {
  std::int64_t j = 0;
  while (offset[j] != offset[i]) ++j;
  return j;
}

/// Packs each distinct constant b once, where it isn't packed yet, and turns the offsets into packed ones. noexcept, as all
/// that runs while an entry holds its object (see object.hpp).
template <class Isa>
void pack_constant(product<Isa>& o, const kernels::matmul_args& args) noexcept {
  const std::int64_t* offset = args.b_offset.data();
  std::int64_t next = 0;
  for (std::int64_t i = 0; i < o.batch; ++i) {
    const std::int64_t first = offset ? first_use<Isa>(offset, i) : 0;
    if (first < i) {
      o.b_offset[i] = o.b_offset[first];
      continue;
    }
    o.b_offset[i] = next;
    if (!args.packed.data)
      pack_panels<Isa>(o.b + next, args.b + (offset ? offset[i] : 0), o.k, o.n,
                       o.b_trans ? 1 : o.n, o.b_trans ? o.k : 1);
    next += packed_size<Isa>(o.k, o.n);
  }
}

/// Whether b is given now, rather than when the product runs.
template <class Isa>
PTQ_ALWAYS_INLINE bool constant_b(const kernels::matmul_args& args) {
  return args.b || args.packed.data;
}

/// Packed copies of a constant b.
template <class Isa>
std::int64_t copies_of(const kernels::matmul_args& args, std::int64_t batch) {
  if (!constant_b<Isa>(args)) return 0;
  if (args.b_offset.data() == nullptr) return 1;
  std::int64_t copies = 0;
  for (std::int64_t i = 0; i < batch; ++i) copies += first_use<Isa>(args.b_offset.data(), i) == i;
  return copies;
}

/// True for one constant b under contiguous rows of every batch: one taller product.
template <class Isa>
bool one_product(const kernels::matmul_args& args, std::int64_t batch) {
  if (!constant_b<Isa>(args) || args.a_trans || batch < 2) return false;
  const std::int64_t *a = args.a_offset.data(), *b = args.b_offset.data();
  for (std::int64_t i = 0; i < batch; ++i)
    if (!a || a[i] != a[0] + i * args.m * args.k || (b && b[i] != b[0])) return false;
  return true;
}

/// How the product is cut into units.
template <class Isa>
void cut(product<Isa>& o) {
  o.tiles = least(tiles_per_unit<Isa>(o.k), ceil_div(o.m, rows<Isa>));
  if (o.tiles < 1) o.tiles = 1;
  o.width = unit_columns;
  const std::int64_t panel_bytes = o.k * columns<Isa> * static_cast<std::int64_t>(sizeof(float));
  if (!o.constant && panel_bytes > 0) {
    const std::int64_t fit = unit_bytes / panel_bytes * columns<Isa>;
    o.width = least(unit_columns, fit > columns<Isa> ? fit : columns<Isa>);
  }
  o.row_blocks = ceil_div(o.m, o.tiles * rows<Isa>);
  o.column_blocks = ceil_div(o.n, o.width);
}

}  // namespace float_gemm

/// Batched product c = clamp(bias + a · b) in register tiles.
///
/// args     offsets [batch] of a and of b (none: one product at 0); b a constant (packed) or null:
/// the second source returns  src: a, [b] f32; dst: f32 [batch, m, n]; scratch for the packed rows
/// of a (and columns of b) exact    equals reference::matmul bit for bit (payloads of NaN apart)
template <class Isa>
kernels::prepared matmul(const kernels::matmul_args& args) {
  using namespace float_gemm;
  const std::size_t a_count = args.a_offset.size(), b_count = args.b_offset.size();
  const std::size_t count = a_count > b_count ? a_count : b_count;
  const std::int64_t all = count > 1 ? static_cast<std::int64_t>(count) : 1;
  const bool merged = one_product<Isa>(args, all);
  product<Isa> o{.m = merged ? args.m * all : args.m,
                 .n = args.n,
                 .k = args.k,
                 .batch = merged ? 1 : all,
                 .a_trans = args.a_trans,
                 .b_trans = args.b_trans,
                 .constant = constant_b<Isa>(args),
                 .low = args.act.low,
                 .high = args.act.high};
  cut(o);

  block_layout<Isa> own, packed;
  own.template add<product<Isa>>(1);
  const std::size_t a_at = own.template add<std::int64_t>(o.batch);
  const std::size_t b_at = own.template add<std::int64_t>(o.batch);
  // a product of two activations packs nothing: what a bias starts with is its own
  const std::size_t start_at =
      (o.constant ? packed : own).template add<float>(ceil_div(o.n, columns<Isa>) * columns<Isa>);
  const std::size_t panels_at =
      packed.template add<float>(copies_of<Isa>(args, o.batch) * packed_size<Isa>(o.k, o.n));
  kernels::prepared p = blank<Isa>(own, packed, args.packed);
  if (args.packed.data && args.packed.bytes != packed.bytes) return p;
  auto* block = object_of<product<Isa>>(p);
  o.a_offset = at_offset<std::int64_t>(block, a_at);
  o.b_offset = at_offset<std::int64_t>(block, b_at);
  o.start = o.constant ? packed_at<float>(p, start_at) : at_offset<float>(block, start_at);
  o.b = packed_at<float>(p, panels_at);
  if (!o.constant) p.packed = {};
  for (std::int64_t i = 0; i < o.batch; ++i) {
    if (a_count) o.a_offset[i] = args.a_offset.data()[i];
    if (b_count) o.b_offset[i] = args.b_offset.data()[i];
  }
  if (args.bias && !args.packed.data)
    std::memcpy(o.start, args.bias, static_cast<std::size_t>(o.n) * sizeof(float));
  if (o.constant) pack_constant(o, args);
  *block = o;

  const std::int64_t floats =
      o.tiles * tile_size<Isa>(o.k) + (o.constant ? 0 : packed_size<Isa>(o.k, least(o.width, o.n)));
  p.run = run_product<Isa>;
  p.units = o.batch * o.row_blocks * o.column_blocks;
  p.scratch = static_cast<std::size_t>(floats) * sizeof(float);
  p.name = "float tiles";
  return p;
}

}  // namespace ptq::native
