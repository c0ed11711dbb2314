#pragma once
// SPDX-License-Identifier: Apache-2.0
// Integer 3×3 convolution of stride 1 with a quarter of the products, and every bit of the definition:
// Winograd's F(4×4, 3×3) with points 0, ±1, ±2 and ∞ (Lavin and Gray, "Fast algorithms for convolutional
// neural networks", 2015) in integers. Its fractions are taken out of the filter's transform and put
// into the outputs', so that nothing is ever rounded:
//
//   inputs    Bᵀ d B of u8 codes: at most 68 · 255, 16 bits
//   filters   rows of G times 24, −6, −6, 24, 24 and 6: (6,0,0) (1,1,1) (1,−1,1) (1,2,4) (1,−2,4) (0,0,6);
//             at most 49 · 128, 16 bits
//   products  36 matrix products of 16-bit pairs, summed modulo 2^32
//   outputs   rows of Aᵀ times those scales give 24, 12, 6 and 6 times an output, of a line; so
//             9 · 2^s times the sum of an output, modulo 2^32. 9 has an inverse there, and a shift that keeps
//             the sign leaves the sum wherever it is below 2^25, which the weights prove when packed
//
// Pixels in the padding hold the zero point, and the folded −zero_point · Σw is right everywhere.
//
// For CPUs without vpdpbusd, where a product of 16 bits costs as much as one of 8. A unit is a block of
// tiles, whose transformed inputs stay in the second-level cache, times some panels of output channels.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <ptq/kernels/args.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/native/epilogue.hpp>
#include <ptq/native/gemm.hpp>
#include <ptq/native/integer_winograd_pack.hpp>
#include <ptq/native/object.hpp>
#include <ptq/native/wide_gemm.hpp>
#include <ptq/native/wide_words.hpp>
#include <ptq/native/widen.hpp>

namespace ptq::native {

namespace integer_winograd {

struct convolution {
  kernels::conv_geometry g;
  epilogue_rule rule;
  const std::int16_t* weights = nullptr;   // [panels][36][pairs of in_c][vectors][lanes][2]
  const std::int32_t* bias = nullptr;      // [out_c] in whole registers
  const float* multiplier = nullptr;       // the same
  const std::uint8_t* padding = nullptr;   // [in_c] zero points
  std::int64_t pairs = 0, pitch = 0;       // of a tile's channels; elements from tile to tile
  std::int64_t down = 0, across = 0, tiles = 0;  // tiles of an image's column and row, of all images
  std::int64_t block = 1, blocks = 1;            // tiles of a unit
  std::int64_t panels = 1, panels_per_unit = 1, panel_blocks = 1;
};

/// Elements from one of the 36 transformed inputs of a block to the next: never a power of two, which would map
/// all to the same lines of the first cache.
template <class Isa>
PTQ_ALWAYS_INLINE std::int64_t input_size(const convolution& o) {
  return (o.block + slack<Isa>) * o.pitch + 32;
}
template <class Isa>
PTQ_ALWAYS_INLINE std::int64_t sums_size(const convolution& o) {
  return (o.block + slack<Isa>) * panel_vectors<Isa> * lanes<Isa> + 16;
}

/// Six inputs in a line → six numbers.
template <class Isa>
PTQ_ALWAYS_INLINE void transform_input(const words<Isa> (&x)[reach], words<Isa> (&y)[reach]) {
  const words<Isa> even = x[4] - (x[2] << 2), odd = x[3] - (x[1] << 2);
  const words<Isa> a = x[4] - x[2], half = x[3] - x[1], b = half + half;
  y[0] = ((x[0] - x[2]) << 2) + a;
  y[1] = even + odd;
  y[2] = even - odd;
  y[3] = a + b;
  y[4] = a - b;
  y[5] = (x[5] - x[3]) - (b + b);
}

/// Six sums in a line → 24, 12, 6 and 6 times four outputs: 3 · 2^3, 2^2, 2 and 2.
template <class Isa>
PTQ_ALWAYS_INLINE void transform_output(const s32s<Isa> (&m)[reach], s32s<Isa> (&y)[side]) {
  const s32s<Isa> sum1 = m[1] + m[2], difference1 = m[1] - m[2];
  const s32s<Isa> sum2 = m[3] + m[4], difference2 = m[3] - m[4];
  y[0] = (m[0] + sum2) - (sum1 << 2);
  y[1] = difference2 - (difference1 + difference1);
  y[2] = sum2 - sum1;
  y[3] = (difference2 + difference2) - difference1 + m[5];
}

/// Where a tile lies: its image, and the first output.
struct tile_place {
  std::int64_t image, y, x;
  PTQ_ALWAYS_INLINE tile_place(const convolution& o, std::int64_t tile)
      : image(tile / (o.down * o.across)), y(tile / o.across % o.down * side), x(tile % o.across * side) {}
};

/// Transforms the inputs of a tile into the 36 operands at `to`, [in_c] each.
template <class Isa>
void read_tile(const convolution& o, const std::uint8_t* src, const tile_place& at, std::int16_t* to) {
  const kernels::conv_geometry& g = o.g;
  const std::uint8_t* pixel[reach][reach];
  for (std::int64_t i = 0; i < reach; ++i)
    for (std::int64_t j = 0; j < reach; ++j) {
      const std::int64_t y = at.y - g.pad_top + i, x = at.x - g.pad_left + j;
      const bool inside = y >= 0 && y < g.in_h && x >= 0 && x < g.in_w;
      pixel[i][j] = inside ? src + ((at.image * g.in_h + y) * g.in_w + x) * g.src_pixel() : o.padding;
    }
  const std::int64_t size = input_size<Isa>(o);
  constexpr std::int64_t step = words<Isa>::size;
  for (std::int64_t next = 0; next < g.in_c; next += step) {
    const std::int64_t c = next + step <= g.in_c ? next : g.in_c - step;  // some channels twice
    words<Isa> half[reach][reach];  // columns transformed: [row of the result][column]
    unrolled<reach>([&](auto at_j) PTQ_INLINE_LAMBDA {
      constexpr int j = decltype(at_j)::value;
      words<Isa> x[reach], y[reach];
      unrolled<reach>([&](auto i) PTQ_INLINE_LAMBDA {
        x[decltype(i)::value] = wide_words<Isa, register_bytes<Isa>>::load(pixel[decltype(i)::value][j] + c);
      });
      transform_input<Isa>(x, y);
      unrolled<reach>(
          [&](auto i) PTQ_INLINE_LAMBDA { half[decltype(i)::value][j] = y[decltype(i)::value]; });
    });
    std::int16_t* first = to + c;
    for (int i = 0; i < reach; ++i, first += reach * size) {
      words<Isa> y[reach];
      transform_input<Isa>(half[i], y);
      unrolled<reach>([&](auto j) PTQ_INLINE_LAMBDA {
        y[decltype(j)::value].store_unaligned(first + decltype(j)::value * size);
      });
    }
  }
}

/// Transforms the 36 sums at `from` to the outputs of a tile and stores them; `to` is the tile's first.
template <class Isa, int Vectors>
void write_tile(const convolution& o, const std::int32_t* from, std::int64_t column, tile_target to,
                std::int64_t rows) {
  using S = simd<Isa, register_bytes<Isa>>;
  using reg = s32s<Isa>;
  const std::int64_t size = sums_size<Isa>(o);
  constexpr int shift[side] = {3, 2, 1, 1};  // of transform_output
  typename S::ints y[side][side][Vectors];
  unrolled<Vectors>([&](auto at_v) PTQ_INLINE_LAMBDA {
    constexpr int v = decltype(at_v)::value;
    reg half[side][reach];
    unrolled<reach>([&](auto at_j) PTQ_INLINE_LAMBDA {
      constexpr int j = decltype(at_j)::value;
      reg m[reach], r[side];
      unrolled<reach>([&](auto i) PTQ_INLINE_LAMBDA {
        m[decltype(i)::value] =
            reg::load_unaligned(from + (decltype(i)::value * reach + j) * size + v * S::lanes);
      });
      transform_output<Isa>(m, r);
      unrolled<side>([&](auto i) PTQ_INLINE_LAMBDA { half[decltype(i)::value][j] = r[decltype(i)::value]; });
    });
    const reg bias = reg::load_unaligned(o.bias + column + v * S::lanes), inverse(ninth);
    for (int i = 0; i < side; ++i) {
      reg r[side];
      transform_output<Isa>(half[i], r);
      for (int j = 0; j < side; ++j)
        y[i][j][v] = ((r[j] * inverse) >> (shift[i] + shift[j])) + bias;
    }
  });
  const std::int64_t element = o.rule.what == epilogue_rule::kind::reals ? 4 : 1;
  const std::int64_t line = o.g.out_w * o.g.dst_pixel();
  for (std::int64_t i = 0; i < rows; ++i) {
    store_tile<S, side, Vectors>(y[i], o.rule, o.multiplier + column, to);
    to.dst = static_cast<std::byte*>(to.dst) + line * element;
    if (to.residual) to.residual += line;
  }
}

/// A block's transformed inputs times one panel, and back.
template <class Isa, int Vectors>
void run_panel(const convolution& o, std::int64_t first, std::int64_t height, std::int64_t panel,
               const std::int16_t* inputs, std::int32_t* sums, const kernels::operands& io) {
  constexpr std::int64_t width = Vectors * lanes<Isa>, step = gemm_shape<Isa>::rows(Vectors);
  const std::int64_t column = panel * panel_vectors<Isa> * lanes<Isa>;
  const std::int16_t* w = o.weights + products * o.pairs * 2 * column;
  for (int p = 0; p < products; ++p, w += o.pairs * 2 * width)
    for (std::int64_t r = 0; r < height; r += step)
      multiply_wide_rows<Isa, Vectors>(height - r < step ? height - r : step,
                                       inputs + p * input_size<Isa>(o) + r * o.pitch, o.pitch, w, o.pairs,
                                       sums + p * sums_size<Isa>(o) + r * width);
  const kernels::conv_geometry& g = o.g;
  const std::int64_t element = o.rule.what == epilogue_rule::kind::reals ? 4 : 1;
  tile_target to;
  to.stride = g.dst_pixel();
  to.columns = g.out_c - column < width ? g.out_c - column : width;
  for (std::int64_t i = 0; i < height; ++i) {
    const tile_place at(o, first + i);
    const std::int64_t pixel = (at.image * g.out_h + at.y) * g.out_w + at.x;
    const std::int64_t offset = pixel * g.dst_pixel() + column;
    to.dst = static_cast<std::byte*>(io.dst) + offset * element;
    to.residual = io.src[1] ? static_cast<const std::uint8_t*>(io.src[1]) + offset : nullptr;
    to.rows = g.out_w - at.x < side ? g.out_w - at.x : side;
    write_tile<Isa, Vectors>(o, sums + i * width, column, to, g.out_h - at.y < side ? g.out_h - at.y : side);
  }
}

template <class Isa>
void run(const void* object, const kernels::operands& io, std::byte* scratch, work_range range) {
  const auto& o = *static_cast<const convolution*>(object);
  auto* inputs = reinterpret_cast<std::int16_t*>(scratch);
  auto* sums = reinterpret_cast<std::int32_t*>(inputs + products * input_size<Isa>(o));
  std::int64_t transformed = -1;
  for (std::int64_t unit = range.begin; unit < range.end; ++unit) {
    const std::int64_t block = unit / o.panel_blocks, first = block * o.block;
    const std::int64_t height = o.tiles - first < o.block ? o.tiles - first : o.block;
    if (block != transformed)
      for (std::int64_t i = 0; i < height; ++i)
        read_tile<Isa>(o, static_cast<const std::uint8_t*>(io.src[0]), tile_place(o, first + i),
                       inputs + i * o.pitch);
    transformed = block;
    const std::int64_t begin = unit % o.panel_blocks * o.panels_per_unit;
    const std::int64_t end = begin + o.panels_per_unit < o.panels ? begin + o.panels_per_unit : o.panels;
    for (std::int64_t p = begin; p < end; ++p)
      unrolled<panel_vectors<Isa>>([&](auto v) PTQ_INLINE_LAMBDA {
        constexpr int vectors = decltype(v)::value + 1;
        if (vectors_of<Isa>(o.g.out_c, p) == vectors)
          run_panel<Isa, vectors>(o, first, height, p, inputs, sums, io);
      });
  }
}

/// u8 · s8 convolution by F(4×4, 3×3), see qconv_args; bit-equal to reference::qconv.
///
/// a  that `takes` said yes to
template <class Isa>
kernels::prepared prepare(const kernels::qconv_args& a) {
  const kernels::conv_geometry& g = a.geometry;
  convolution o;
  o.g = g;
  o.rule = make_rule<Isa>(a.epilogue);
  o.pairs = (g.in_c + 1) / 2;
  o.pitch = wide_pitch(g.in_c);
  o.down = (g.out_h + side - 1) / side;
  o.across = (g.out_w + side - 1) / side;
  o.tiles = g.batch * o.down * o.across;
  constexpr std::int64_t columns = panel_vectors<Isa> * lanes<Isa>, unit_columns = 64;
  o.panels = (g.out_c + columns - 1) / columns;
  o.panels_per_unit = columns < unit_columns ? unit_columns / columns : 1;
  o.panel_blocks = (o.panels + o.panels_per_unit - 1) / o.panels_per_unit;
  // As many tiles as stay in the second-level cache, fewer where threads would go without; below three steps their
  // weights cost too much (27×27×32 → 128: 6 %).
  constexpr std::int64_t cached_bytes = 384 << 10, enough_units = 16,
                         step = gemm_shape<Isa>::rows(panel_vectors<Isa>);
  std::int64_t fit = cached_bytes / (2 * products * o.pitch);
  if (fit < 2 * step) fit = 2 * step;
  std::int64_t parts = o.tiles > fit ? (o.tiles + fit - 1) / fit : 1;
  const std::int64_t wanted = (enough_units + o.panel_blocks - 1) / o.panel_blocks;
  while (parts < wanted && o.tiles / (parts + 1) >= 3 * step) ++parts;
  o.block = ((o.tiles + parts - 1) / parts + step - 1) / step * step;
  if (o.block > o.tiles) o.block = o.tiles;
  if (o.block < 1) o.block = 1;
  o.blocks = (o.tiles + o.block - 1) / o.block;  // 0 where there is no image

  block_layout<Isa> own;
  own.template add<convolution>(1);
  const std::size_t padding_at = own.template add<std::uint8_t>(g.in_c);
  const packed_layout<Isa> packed(g);
  kernels::prepared p = blank<Isa>(own, packed.bytes, a.packed);
  auto* block = object_of<convolution>(p);
  auto* padding = at_offset<std::uint8_t>(block, padding_at);
  std::memset(padding, a.x_zero_point, static_cast<std::size_t>(g.in_c));
  o.padding = padding;
  o.weights = packed_at<std::int16_t>(p, packed.weights);
  o.bias = packed_at<std::int32_t>(p, packed.bias);
  o.multiplier = packed_at<float>(p, packed.multiplier);
  if (!a.packed.data)
    pack_weights<Isa>(a, o.pairs, packed_at<std::int16_t>(p, packed.weights),
                      packed_at<std::int32_t>(p, packed.bias), packed_at<float>(p, packed.multiplier));
  std::memcpy(static_cast<void*>(block), &o, sizeof o);
  p.run = run<Isa>;
  p.units = o.blocks * o.panel_blocks;
  p.scratch = static_cast<std::size_t>(products) *
              (static_cast<std::size_t>(input_size<Isa>(o)) * sizeof(std::int16_t) +
               static_cast<std::size_t>(sums_size<Isa>(o)) * sizeof(std::int32_t));
  p.name = "exact Winograd 4x4";
  return p;
}

}  // namespace integer_winograd

}  // namespace ptq::native
