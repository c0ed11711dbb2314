#pragma once
// SPDX-License-Identifier: Apache-2.0
// Codes of 8 or 16 bits → the signed 16-bit numbers that wide_gemm.hpp multiplies: x of u8 codes,
// x − 32768 of u16 codes. A convolution's taps are copied behind each other, a block of output
// pixels at a time, once for all its columns; taps outside the image hold the zero point.

#include <algorithm>
#include <cstdint>

#include <ptq/kernels/args.hpp>
#include <ptq/native/isa.hpp>
#include <ptq/native/object.hpp>
#include <ptq/native/widen.hpp>

namespace ptq::native {

/// What is taken off a code.
template <class X>
inline constexpr std::int32_t code_shift = sizeof(X) == 2 ? 32768 : 0;
/// The largest magnitude of what is left.
template <class X>
inline constexpr std::int64_t code_reach = sizeof(X) == 2 ? 32768 : 255;

template <class Isa>
PTQ_ALWAYS_INLINE void shift_codes(const std::uint8_t* from, std::int16_t* to, std::int64_t n) {
  if (n >= 4)
    widen<Isa>(from, reinterpret_cast<std::uint16_t*>(to), n);
  else
    for (std::int64_t i = 0; i < n; ++i) to[i] = from[i];
}
template <class Isa>
PTQ_ALWAYS_INLINE void shift_codes(const std::uint16_t* from, std::int16_t* to, std::int64_t n) {
  using words = xsimd::batch<std::uint16_t, typename Isa::arch>;
  constexpr auto width = static_cast<std::int64_t>(words::size);
  const words sign(static_cast<std::uint16_t>(0x8000));
  auto* out = reinterpret_cast<std::uint16_t*>(to);
  const auto shift = [&](std::int64_t i) PTQ_INLINE_LAMBDA {
    (words::load_unaligned(from + i) ^ sign).store_unaligned(out + i);
  };
  if (n < width) {
    for (std::int64_t i = 0; i < n; ++i) out[i] = static_cast<std::uint16_t>(from[i] ^ 0x8000);
    return;
  }
  std::int64_t i = 0;
  for (; i + width <= n; i += width) shift(i);
  if (i < n) shift(n - width);  // overlaps what was there already
}

/// The rows of output pixels, of one group's channels.
template <class Isa, class X>
struct wide_rows_of {
  const kernels::conv_geometry& g;
  const X* src;
  std::int16_t padding;  // the zero point, shifted
  std::int64_t group;

  /// Row after row, `pitch` elements apart; what a row is short of a whole pair is 0.
  void copy(work_range pixels, std::int16_t* to, std::int64_t pitch) const {
    const std::int64_t in = g.group_in(), count = g.kernel_h * g.kernel_w * in;
    for (std::int64_t pixel = pixels.begin; pixel < pixels.end; ++pixel, to += pitch) {
      copy_pixel(pixel, to);
      if (count % 2 != 0) to[count] = 0;
    }
  }

 private:
  void pad(std::int16_t* to, std::int64_t n) const {
    for (std::int64_t i = 0; i < n; ++i) to[i] = padding;
  }

  void copy_pixel(std::int64_t pixel, std::int16_t* to) const {
    const std::int64_t ox = pixel % g.out_w, oy = pixel / g.out_w % g.out_h;
    const X* image = src + pixel / (g.out_w * g.out_h) * g.in_h * g.in_w * g.src_pixel() +
                     group * g.group_in();
    const std::int64_t x = ox * g.stride_w - g.pad_left, y = oy * g.stride_h - g.pad_top;
    const std::int64_t in = g.group_in(), run = g.kernel_w * in;
    const bool neighbours = g.dilation_w == 1 && g.src_pixel() == in;
    for (std::int64_t kh = 0; kh < g.kernel_h; ++kh, to += run) {
      const std::int64_t iy = y + kh * g.dilation_h;
      if (iy < 0 || iy >= g.in_h) {
        pad(to, run);
        continue;
      }
      const X* row = image + iy * g.in_w * g.src_pixel();
      if (neighbours) {
        const std::int64_t begin = std::min(std::max<std::int64_t>(-x, 0), g.kernel_w);
        const std::int64_t end = std::max(begin, std::min(g.kernel_w, g.in_w - x));
        pad(to, begin * in);
        if (begin < end) shift_codes<Isa>(row + (x + begin) * in, to + begin * in, (end - begin) * in);
        pad(to + end * in, (g.kernel_w - end) * in);
        continue;
      }
      for (std::int64_t kw = 0; kw < g.kernel_w; ++kw) {
        const std::int64_t ix = x + kw * g.dilation_w;
        if (ix < 0 || ix >= g.in_w)
          pad(to + kw * in, in);
        else
          shift_codes<Isa>(row + ix * g.src_pixel(), to + kw * in, in);
      }
    }
  }
};

}  // namespace ptq::native
