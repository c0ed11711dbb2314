#pragma once
// SPDX-License-Identifier: Apache-2.0
// Float convolution as a matrix product, bit-equal to the reference: rows are output pixels, k runs
// over kernel row, kernel column, channel of the group, columns are the group's output channels.
//
// The rows of a tile are gathered (im2col) one unit at a time, into the second-level cache, never
// for the whole image; a tap outside the image becomes zeros there. One input channel per group
// goes to float_depthwise.hpp.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <ptq/kernels/args.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/native/float_depthwise.hpp>
#include <ptq/native/float_tile.hpp>

namespace ptq::native {

namespace float_conv {

using float_gemm::ceil_div;
using float_gemm::least;

template <class Isa>
struct convolution {
  kernels::conv_geometry g;
  float* weights = nullptr;  // [groups] packed panels of [k, group_out]
  float* start = nullptr;    // [groups, start_size]: bias in whole registers
  std::int64_t k = 1, pixels = 0, weights_size = 0, start_size = 0;
  std::int64_t width = 1,
               step = 1;  // of a tap: channels of the group; elements from pixel to pixel
  bool joined = false;    // the taps of a kernel row are neighbours in the source
  std::int64_t top = 0, bottom = 0, left = 0, right = 0;  // outputs whose taps all lie in the image
  float low = 0, high = 0;
  std::int64_t tiles = 1;  // of rows per unit
  std::int64_t row_blocks = 1, column_blocks = 1;
};

/// An output pixel; stepping to the next needs no division.
template <class Isa>
struct pixel {
  std::int64_t image, oh, ow;
  pixel(const kernels::conv_geometry& g, std::int64_t index)
      : image(index / (g.out_h * g.out_w)), oh(index / g.out_w % g.out_h), ow(index % g.out_w) {}
  void step(const kernels::conv_geometry& g) {
    if (++ow < g.out_w) return;
    ow = 0;
    if (++oh < g.out_h) return;
    oh = 0;
    ++image;
  }
};

/// Gathers the taps of one output pixel; `x` is the group's first channel of the image's first
/// pixel.
template <class Isa>
void gather_pixel(const convolution<Isa>& o, const float* x, const pixel<Isa>& at, float* row) {
  const kernels::conv_geometry& g = o.g;
  const std::int64_t left = at.ow * g.stride_w - g.pad_left;
  float_gemm::row_writer<Isa> out(row);
  for (std::int64_t kh = 0; kh < g.kernel_h; ++kh) {
    const std::int64_t ih = at.oh * g.stride_h - g.pad_top + kh * g.dilation_h;
    if (ih < 0 || ih >= g.in_h) {
      out.zero(g.kernel_w * o.width);
    } else if (o.joined) {
      const std::int64_t before = least(left < 0 ? -left : 0, g.kernel_w);
      const std::int64_t end =
          least(left + g.kernel_w, g.in_w) - left;  // first tap beyond the image
      const std::int64_t inside = end > before ? end - before : 0;
      out.zero(before * o.width);
      out.copy(x + (ih * g.in_w + left + before) * o.step, inside * o.width);
      out.zero((g.kernel_w - before - inside) * o.width);
    } else {
      for (std::int64_t kw = 0; kw < g.kernel_w; ++kw) {
        const std::int64_t iw = left + kw * g.dilation_w;
        if (iw < 0 || iw >= g.in_w)
          out.zero(o.width);
        else
          out.copy(x + (ih * g.in_w + iw) * o.step, o.width);
      }
    }
  }
}

/// The same where all taps lie in the image and k in one chunk: copies alone. Deciding per tap
/// would cost as much as the arithmetic of a first layer (27 terms).
template <class Isa>
void gather_inside(const convolution<Isa>& o, const float* x, const pixel<Isa>& at, float* row) {
  const kernels::conv_geometry& g = o.g;
  const std::int64_t runs = o.joined ? 1 : g.kernel_w,
                     length = o.joined ? g.kernel_w * o.width : o.width;
  const std::int64_t tap = g.dilation_w * o.step, line = g.dilation_h * g.in_w * o.step;
  const float* s =
      x + ((at.oh * g.stride_h - g.pad_top) * g.in_w + at.ow * g.stride_w - g.pad_left) * o.step;
  for (std::int64_t kh = 0; kh < g.kernel_h; ++kh, s += line)
    for (std::int64_t i = 0; i < runs; ++i, row += length)
      float_gemm::copy_floats<Isa>(row, s + i * tap, length);
}

/// Output pixels [first, first + height) → tiles; `x` starts at the group's first channel.
template <class Isa>
void gather_rows(const convolution<Isa>& o, const float* x, float* tiles, std::int64_t first,
                 std::int64_t height) {
  const std::int64_t image_size = o.g.in_h * o.g.in_w * o.step;
  const std::int64_t size = float_gemm::tile_size<Isa>(o.k);
  pixel<Isa> at(o.g, first);
  for (std::int64_t r = 0; r < height; r += float_gemm::rows<Isa>, tiles += size) {
    const std::int64_t count = least(height - r, float_gemm::rows<Isa>);
    for (std::int64_t i = 0; i < count; ++i, at.step(o.g)) {
      float* row = tiles + i * float_gemm::pitch;
      if (o.k <= float_gemm::chunk && at.oh >= o.top && at.oh < o.bottom && at.ow >= o.left &&
          at.ow < o.right)
        gather_inside(o, x + at.image * image_size, at, row);
      else
        gather_pixel(o, x + at.image * image_size, at, row);
    }
  }
}

/// Outputs [first, end) of one dimension whose taps all lie in the image.
template <class Isa>
work_range inner(std::int64_t in, std::int64_t kernel, std::int64_t stride, std::int64_t dilation,
                 std::int64_t pad) {
  const std::int64_t room = in - (kernel - 1) * dilation - 1 + pad;  // the last tap's limit
  return {pad > 0 ? ceil_div(pad, stride) : 0, room < 0 ? 0 : room / stride + 1};
}

/// A unit is (rows, group, columns), columns innermost: they share the gathered rows.
template <class Isa>
void run_convolution(const void* object, const kernels::operands& io, std::byte* scratch,
                     work_range range) {
  const auto& o = *static_cast<const convolution<Isa>*>(object);
  const kernels::conv_geometry& g = o.g;
  const std::int64_t stride = g.dst_stride ? g.dst_stride : g.out_c, out = g.out_c / g.groups;
  constexpr int rows = float_gemm::rows<Isa>;
  float* tiles = reinterpret_cast<float*>(scratch);
  std::int64_t gathered = -1;
  for (std::int64_t unit = range.begin; unit < range.end; ++unit) {
    const std::int64_t block = unit / o.column_blocks;
    const std::int64_t column = unit % o.column_blocks * float_gemm::unit_columns;
    const std::int64_t group = block % g.groups, row = block / g.groups * o.tiles * rows;
    const std::int64_t height = least(o.pixels - row, o.tiles * rows);
    if (block != gathered)
      gather_rows(o, static_cast<const float*>(io.src[0]) + group * o.width, tiles, row, height);
    gathered = block;
    float_gemm::multiply_block<Isa>(
        {.a = tiles,
         .height = height,
         .b = o.weights + group * o.weights_size + column * o.k,
         .start = o.start + group * o.start_size + column,
         .k = o.k,
         .n = least(out - column, float_gemm::unit_columns),
         .c = static_cast<float*>(io.dst) + row * stride + group * out + column,
         .c_stride = stride,
         .low = o.low,
         .high = o.high});
  }
}

}  // namespace float_conv

/// Convolution over n h w c: y = clamp(bias + Σ w · x), as a matrix product or, for one input and
/// one output channel per group, channel by channel.
///
/// args     weights [out_c, kernel_h, kernel_w, in_c / groups], bias [out_c] or null; both are
/// packed returns  src: x f32; dst: f32; scratch for the gathered rows of one unit exact    equals
/// reference::conv bit for bit (payloads of NaN apart)
template <class Isa>
kernels::prepared prepare_conv(const kernels::conv_args& args) {
  using namespace float_conv;
  const kernels::conv_geometry& g = args.geometry;
  const std::int64_t out = g.out_c / g.groups;
  convolution<Isa> o{
      .g = g,
      .k = g.kernel_h * g.kernel_w * (g.in_c / g.groups),
      .pixels = g.batch * g.out_h * g.out_w,
      .start_size = ceil_div(out, float_gemm::columns<Isa>) * float_gemm::columns<Isa>,
      .low = args.act.low,
      .high = args.act.high};
  o.width = g.in_c / g.groups;
  o.step = g.src_stride ? g.src_stride : g.in_c;
  o.joined = g.dilation_w == 1 && (o.step == o.width || g.kernel_w == 1);
  const work_range h = inner<Isa>(g.in_h, g.kernel_h, g.stride_h, g.dilation_h, g.pad_top);
  const work_range w = inner<Isa>(g.in_w, g.kernel_w, g.stride_w, g.dilation_w, g.pad_left);
  o.top = h.begin;
  o.bottom = h.end;
  o.left = w.begin;
  o.right = w.end;
  o.weights_size = float_gemm::packed_size<Isa>(o.k, out);
  o.tiles = least(float_gemm::tiles_per_unit<Isa>(o.k), ceil_div(o.pixels, float_gemm::rows<Isa>));
  if (o.tiles < 1) o.tiles = 1;
  o.row_blocks = ceil_div(o.pixels, o.tiles * float_gemm::rows<Isa>);
  o.column_blocks = ceil_div(out, float_gemm::unit_columns);

  block_layout<Isa> own, packed;
  own.template add<convolution<Isa>>(1);
  const std::size_t start_at = packed.template add<float>(g.groups * o.start_size);
  const std::size_t weights_at = packed.template add<float>(g.groups * o.weights_size);
  kernels::prepared p = blank<Isa>(own, packed, args.packed);
  if (args.packed.data && args.packed.bytes != packed.bytes) return p;
  auto* block = object_of<convolution<Isa>>(p);
  o.start = packed_at<float>(p, start_at);
  o.weights = packed_at<float>(p, weights_at);
  for (std::int64_t i = 0; i < g.groups && !args.packed.data; ++i) {
    float_gemm::pack_panels<Isa>(o.weights + i * o.weights_size, args.weights + i * out * o.k, o.k,
                                 out, 1, o.k);
    if (args.bias)
      std::memcpy(o.start + i * o.start_size, args.bias + i * out,
                  static_cast<std::size_t>(out) * sizeof(float));
  }
  *block = o;
  p.run = run_convolution<Isa>;
  p.units = o.row_blocks * g.groups * o.column_blocks;
  p.scratch = static_cast<std::size_t>(o.tiles * float_gemm::tile_size<Isa>(o.k)) * sizeof(float);
  p.name = "float tiles";
  return p;
}

/// f32 convolution, see conv_args; bit-equal to reference::conv.
template <class Isa>
kernels::prepared conv(const kernels::conv_args& args) {
  const kernels::conv_geometry& g = args.geometry;
  if (g.groups > 1 && g.in_c == g.groups && g.out_c == g.groups) return depthwise_conv<Isa>(args);
  return prepare_conv<Isa>(args);
}

}  // namespace ptq::native
