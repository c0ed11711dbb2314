#pragma once
// SPDX-License-Identifier: Apache-2.0
// Float 3×3 convolution of stride 1 with a quarter of the products: Winograd's F(4×4, 3×3), see Lavin
// and Gray, "Fast algorithms for convolutional neural networks" (2015). A tile of 4 × 4 outputs reads
// 6 × 6 inputs; both it and the filter are transformed to 36 numbers, whose products, summed over the
// channels, transform back to the 16 outputs. So 36 matrix products [tiles, in_c] · [in_c, out_c] take
// the place of one, and a tile takes 36 multiplications per pair of channels where the definition has 144.
//
// Not bit-equal to the reference: cancellation costs digits. The points are 0, ±√½, ±√2 and ∞, which
// lose fewer than the usual 0, ±1, ±2, ∞ (a third of the error on average). For float programs only.
//
// A unit is a block of tiles, whose transformed inputs stay in the second-level cache, times some panels
// of output channels; a panel's 36 products are transformed back while they are in the first.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include <ptq/kernels/args.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/native/float_tile.hpp>
#include <ptq/native/object.hpp>

namespace ptq::native {

namespace winograd {

using float_gemm::ceil_div;
using float_gemm::columns;
using float_gemm::lanes;
using float_gemm::least;

inline constexpr int side = 4, reach = 6, products = reach * reach;  // outputs and inputs of a tile
inline constexpr float half_root = 0.70710678118654752f, root = 1.41421356237309505f;

/// Panels of output channels that one unit covers, as float_gemm::unit_columns.
template <class Isa>
inline constexpr std::int64_t unit_panels = float_gemm::unit_columns / columns<Isa>;

template <class Isa>
struct convolution {
  kernels::conv_geometry g;
  const float* weights = nullptr;  // [panels][36][in_c][columns of the panel]
  const float* start = nullptr;    // [out_c] in whole registers: bias
  const float* zeros = nullptr;    // [max(in_c, columns)]
  std::int64_t down = 0, across = 0, tiles = 0;  // tiles of an image's column and row, of all images
  std::int64_t block = 1, blocks = 1;            // tiles of a unit
  std::int64_t panels = 1, panel_blocks = 1;
  float low = 0, high = 0;
};

/// Floats of a block's transformed inputs for one of the 36 products.
template <class Isa>
std::int64_t input_size(const convolution<Isa>& o) {
  return ceil_div(o.block, float_gemm::rows<Isa>) * float_gemm::tile_size<Isa>(o.g.in_c);
}

/// Width of a panel: the last is one register wide where that is enough.
template <class Isa>
PTQ_ALWAYS_INLINE std::int64_t width_of(std::int64_t out, std::int64_t panel) {
  return out - panel * columns<Isa> > lanes<Isa> ? columns<Isa> : lanes<Isa>;
}

/// Six inputs in a line → six numbers.
template <class Isa>
PTQ_ALWAYS_INLINE void transform_input(const f32s<Isa> (&x)[reach], f32s<Isa> (&y)[reach]) {
  using reg = f32s<Isa>;
  const reg middle(-2.5f), a(half_root), b(root);
  y[0] = fused<Isa>(x[2], middle, x[0] + x[4]);
  y[5] = fused<Isa>(x[3], middle, x[1] + x[5]);
  const reg even1 = fused<Isa>(x[2], reg(-2.0f), x[4]), even2 = fused<Isa>(x[2], reg(-0.5f), x[4]);
  const reg odd1 = fused<Isa>(x[1], reg(-root), x[3] * a), odd2 = fused<Isa>(x[1], reg(-half_root), x[3] * b);
  y[1] = even1 + odd1;
  y[2] = even1 - odd1;
  y[3] = even2 + odd2;
  y[4] = even2 - odd2;
}

/// Six sums of products in a line → four outputs.
template <class Isa>
PTQ_ALWAYS_INLINE void transform_output(const f32s<Isa> (&m)[reach], f32s<Isa> (&y)[side]) {
  using reg = f32s<Isa>;
  const reg sum1 = m[1] + m[2], difference1 = m[1] - m[2];
  const reg sum2 = m[3] + m[4], difference2 = m[3] - m[4];
  y[0] = m[0] + (sum1 + sum2);
  y[1] = fused<Isa>(difference1, reg(half_root), difference2 * reg(root));
  y[2] = fused<Isa>(sum1, reg(0.5f), sum2 + sum2);
  y[3] = fused<Isa>(difference1, reg(half_root / 2), fused<Isa>(difference2, reg(2 * root), m[5]));
}

/// A filter's nine weights of one input channel → 36.
inline void transform_filter(const float* w, std::int64_t tap, double (&u)[reach][reach]) noexcept {
  constexpr double a = 0.70710678118654752440, b = 1.41421356237309504880;
  constexpr double g[reach][3] = {{1, 0, 0},
                                  {-2.0 / 3, -2.0 / 3 * a, -1.0 / 3},
                                  {-2.0 / 3, 2.0 / 3 * a, -1.0 / 3},
                                  {1.0 / 6, b / 6, 1.0 / 3},
                                  {1.0 / 6, -b / 6, 1.0 / 3},
                                  {0, 0, 1}};
  for (int i = 0; i < reach; ++i)
    for (int j = 0; j < reach; ++j) {
      u[i][j] = 0;
      for (int h = 0; h < 3; ++h)
        for (int v = 0; v < 3; ++v)
          u[i][j] += g[i][h] * g[j][v] * static_cast<double>(w[(h * 3 + v) * tap]);
    }
}

template <class Isa>
void pack_weights(const kernels::conv_args& args, float* to) noexcept {
  const std::int64_t in = args.geometry.in_c, out = args.geometry.out_c;
  for (std::int64_t panel = 0; panel * columns<Isa> < out; ++panel) {
    const std::int64_t width = width_of<Isa>(out, panel);
    for (std::int64_t column = 0; column < width; ++column) {
      const std::int64_t o = panel * columns<Isa> + column;
      for (std::int64_t c = 0; c < in; ++c) {
        double u[reach][reach] = {};
        if (o < out) transform_filter(args.weights + o * 9 * in + c, in, u);
        for (int p = 0; p < products; ++p)
          to[(p * in + c) * width + column] = static_cast<float>(u[p / reach][p % reach]);
      }
    }
    to += products * in * width;
  }
}

/// Where a tile lies: its image, and the first output.
template <class Isa>
struct tile_place {
  std::int64_t image, y, x;
  tile_place(const convolution<Isa>& o, std::int64_t tile)
      : image(tile / (o.down * o.across)), y(tile / o.across % o.down * side), x(tile % o.across * side) {}
};

/// Transforms the inputs of tile `at` into row `row` of the 36 operands at `to`.
template <class Isa>
void read_tile(const convolution<Isa>& o, const float* src, const tile_place<Isa>& at, std::int64_t row,
               float* to) {
  using reg = f32s<Isa>;
  const kernels::conv_geometry& g = o.g;
  const float* pixel[reach][reach];
  for (std::int64_t i = 0; i < reach; ++i)
    for (std::int64_t j = 0; j < reach; ++j) {
      const std::int64_t y = at.y - g.pad_top + i, x = at.x - g.pad_left + j;
      const bool inside = y >= 0 && y < g.in_h && x >= 0 && x < g.in_w;
      pixel[i][j] = inside ? src + ((at.image * g.in_h + y) * g.in_w + x) * g.src_pixel() : o.zeros;
    }
  const std::int64_t size = input_size(o), step = float_gemm::rows<Isa> * float_gemm::pitch;
  to += row / float_gemm::rows<Isa> * float_gemm::tile_size<Isa>(g.in_c) +
        row % float_gemm::rows<Isa> * float_gemm::pitch;
  for (std::int64_t c = 0; c < g.in_c; c += lanes<Isa>) {
    reg half[reach][reach];  // columns transformed: [row of the result][column]
    unrolled<reach>([&](auto at_j) PTQ_INLINE_LAMBDA {
      constexpr int j = decltype(at_j)::value;
      reg x[reach], y[reach];
      unrolled<reach>([&](auto i) PTQ_INLINE_LAMBDA {
        x[decltype(i)::value] = reg::load_unaligned(pixel[decltype(i)::value][j] + c);
      });
      transform_input<Isa>(x, y);
      unrolled<reach>(
          [&](auto i) PTQ_INLINE_LAMBDA { half[decltype(i)::value][j] = y[decltype(i)::value]; });
    });
    float* first = to + c / float_gemm::chunk * step + c % float_gemm::chunk;
    for (int i = 0; i < reach; ++i, first += reach * size) {
      reg y[reach];
      transform_input<Isa>(half[i], y);
      unrolled<reach>([&](auto j) PTQ_INLINE_LAMBDA {
        y[decltype(j)::value].store_aligned(first + decltype(j)::value * size);
      });
    }
  }
}

/// Transforms row `row` of the 36 sums at `from`, [block][width] each, to the outputs of tile `at`.
template <class Isa>
void write_tile(const convolution<Isa>& o, const float* from, std::int64_t row, std::int64_t panel,
                const tile_place<Isa>& at, float* dst) {
  using reg = f32s<Isa>;
  const kernels::conv_geometry& g = o.g;
  const std::int64_t width = width_of<Isa>(g.out_c, panel), size = o.block * width;
  const reg low(o.low), high(o.high);
  const std::int64_t rows = least(side, g.out_h - at.y), across = least(side, g.out_w - at.x);
  for (std::int64_t v = 0; v < width; v += lanes<Isa>) {
    const std::int64_t channel = panel * columns<Isa> + v;
    if (channel >= g.out_c) return;
    const reg start = reg::load_aligned(o.start + channel);
    const float* sums = from + row * width + v;
    reg half[side][reach];
    unrolled<reach>([&](auto at_j) PTQ_INLINE_LAMBDA {
      constexpr int j = decltype(at_j)::value;
      reg m[reach], y[side];
      unrolled<reach>([&](auto i) PTQ_INLINE_LAMBDA {
        m[decltype(i)::value] = reg::load_aligned(sums + (decltype(i)::value * reach + j) * size);
      });
      transform_output<Isa>(m, y);
      unrolled<side>([&](auto i) PTQ_INLINE_LAMBDA { half[decltype(i)::value][j] = y[decltype(i)::value]; });
    });
    for (std::int64_t i = 0; i < rows; ++i) {
      reg y[side];
      transform_output<Isa>(half[i], y);
      float* to = dst + ((at.image * g.out_h + at.y + i) * g.out_w + at.x) * g.dst_pixel() + channel;
      for (std::int64_t j = 0; j < across; ++j, to += g.dst_pixel())
        float_gemm::store_some<Isa>(to, float_gemm::clamped<Isa>(y[j] + start, low, high), g.out_c - channel);
    }
  }
}

template <class Isa>
void run(const void* object, const kernels::operands& io, std::byte* scratch, work_range range) {
  const auto& o = *static_cast<const convolution<Isa>*>(object);
  auto* inputs = reinterpret_cast<float*>(scratch);
  float* sums = inputs + products * input_size(o);
  std::int64_t transformed = -1;
  for (std::int64_t unit = range.begin; unit < range.end; ++unit) {
    const std::int64_t block = unit / o.panel_blocks, first = block * o.block;
    const std::int64_t height = least(o.tiles - first, o.block);
    if (block != transformed)
      for (std::int64_t i = 0; i < height; ++i)
        read_tile(o, static_cast<const float*>(io.src[0]), tile_place<Isa>(o, first + i), i, inputs);
    transformed = block;
    const std::int64_t panel = unit % o.panel_blocks * unit_panels<Isa>;
    for (std::int64_t p = panel; p < least(panel + unit_panels<Isa>, o.panels); ++p) {
      const std::int64_t width = width_of<Isa>(o.g.out_c, p);
      const float* weights = o.weights + p * products * o.g.in_c * columns<Isa>;
      for (int i = 0; i < products; ++i)
        float_gemm::multiply_block<Isa>({.a = inputs + i * input_size(o),
                                         .height = height,
                                         .b = weights + i * o.g.in_c * width,
                                         .start = o.zeros,
                                         .k = o.g.in_c,
                                         .n = width,
                                         .c = sums + i * o.block * width,
                                         .c_stride = width,
                                         .low = -std::numeric_limits<float>::infinity(),
                                         .high = std::numeric_limits<float>::infinity()});
      for (std::int64_t i = 0; i < height; ++i)
        write_tile(o, sums, i, p, tile_place<Isa>(o, first + i), static_cast<float*>(io.dst));
    }
  }
}

/// Whether the arithmetic that is saved pays for the transforms, and the packed filters, four times as
/// large, are read often enough.
template <class Isa>
bool pays(const kernels::conv_geometry& g) {
  const bool fits = g.kernel_h == 3 && g.kernel_w == 3 && g.stride_h == 1 && g.stride_w == 1 &&
                    g.dilation_h == 1 && g.dilation_w == 1 && g.groups == 1;
  constexpr std::int64_t least_tiles = 4, least_channels = 16;
  constexpr std::int64_t most_weights = 1 << 14;  // per tile: 512 x 512 filters on 14 x 14 pixels
  const std::int64_t tiles = g.batch * ceil_div(g.out_h, side) * ceil_div(g.out_w, side);
  return fits && g.in_c % lanes<Isa> == 0 && g.in_c >= least_channels && g.out_c >= least_channels &&
         tiles >= least_tiles && g.in_c * g.out_c <= tiles * most_weights;
}

template <class Isa>
kernels::prepared prepare(const kernels::conv_args& args) {
  const kernels::conv_geometry& g = args.geometry;
  convolution<Isa> o{.g = g, .low = args.act.low, .high = args.act.high};
  const bool chosen = Isa::fma && pays<Isa>(g);
  o.down = ceil_div(g.out_h, side);
  o.across = ceil_div(g.out_w, side);
  o.tiles = chosen ? g.batch * o.down * o.across : 0;
  constexpr std::int64_t most = 5120;  // inputs per product: 720 KiB in all
  const std::int64_t fit = most / g.in_c > 8 ? most / g.in_c : 8;
  o.block = ceil_div(o.tiles, ceil_div(o.tiles, fit) > 0 ? ceil_div(o.tiles, fit) : 1);
  o.block = least(ceil_div(o.block, float_gemm::rows<Isa>) * float_gemm::rows<Isa>, o.tiles);
  if (o.block < 1) o.block = 1;
  o.blocks = ceil_div(o.tiles, o.block);
  o.panels = ceil_div(g.out_c, columns<Isa>);
  o.panel_blocks = ceil_div(o.panels, unit_panels<Isa>);
  const std::int64_t padded = ceil_div(g.out_c, lanes<Isa>) * lanes<Isa>;
  const std::int64_t zeros = g.in_c > columns<Isa> ? g.in_c : columns<Isa>;

  block_layout<Isa> own, packed;
  own.template add<convolution<Isa>>(1);
  const std::size_t zeros_at = own.template add<float>(zeros);
  const std::size_t start_at = packed.template add<float>(chosen ? padded : 0);
  const std::size_t weights_at = packed.template add<float>(chosen ? products * g.in_c * padded : 0);
  kernels::prepared p = blank<Isa>(own, packed, args.packed);
  if (!chosen || (args.packed.data && args.packed.bytes != packed.bytes)) return p;
  auto* block = object_of<convolution<Isa>>(p);
  o.zeros = at_offset<float>(block, zeros_at);
  o.start = packed_at<float>(p, start_at);
  o.weights = packed_at<float>(p, weights_at);
  if (!args.packed.data) {
    if (args.bias)
      std::memcpy(packed_at<float>(p, start_at), args.bias, static_cast<std::size_t>(g.out_c) * sizeof(float));
    pack_weights<Isa>(args, packed_at<float>(p, weights_at));
  }
  *block = o;
  p.run = run<Isa>;
  p.units = o.blocks * o.panel_blocks;
  p.scratch = static_cast<std::size_t>(products * (input_size(o) + o.block * columns<Isa>)) * sizeof(float);
  p.name = "Winograd 4x4";
  return p;
}

}  // namespace winograd

/// 3×3 convolution of stride 1 by F(4×4, 3×3).
///
/// args     as float_conv's
/// returns  src: x f32; dst: f32; empty where the definition is as fast or another kernel's
/// error    about 2^-21 · Σ|w · x|; the same for any split of the units, and on every ISA that has a fused
///          multiply-add
template <class Isa>
kernels::prepared winograd_conv(const kernels::conv_args& args) {
  return winograd::prepare<Isa>(args);
}

}  // namespace ptq::native
