#pragma once
// SPDX-License-Identifier: Apache-2.0
// Codes of 8 or 16 bits as the wide kernels multiply them: signed 16-bit numbers (x of u8 codes,
// x − 32768 of u16 codes), or planes of high and low bytes. A convolution's taps are copied behind
// each other, a block of output pixels at a time, once for all its columns; taps outside the image
// hold the zero point.

#include <algorithm>
#include <cstdint>
#include <cstring>

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

/// A row of shifted codes.
template <class Isa>
struct word_row {
  std::int16_t* to;
  std::int16_t padding;  // the zero point, shifted

  template <class X>
  PTQ_ALWAYS_INLINE void put(std::int64_t at, const X* from, std::int64_t n) const {
    shift_codes<Isa>(from, to + at, n);
  }
  PTQ_ALWAYS_INLINE void pad(std::int64_t at, std::int64_t n) const {
    for (std::int64_t i = 0; i < n; ++i) to[at + i] = padding;
  }
};

/// A row of u16 codes as two rows of bytes.
template <class Isa>
struct plane_row {
  std::uint8_t *high, *low;
  std::uint16_t padding;  // the zero point

  PTQ_ALWAYS_INLINE void put(std::int64_t at, const std::uint16_t* from, std::int64_t n) const {
    std::uint8_t *h = high + at, *l = low + at;
    std::int64_t i = 0;
#if XSIMD_WITH_AVX512BW
    for (; i < n; i += 32) {
      const auto mask =
          n - i < 32 ? static_cast<__mmask32>((1u << (n - i)) - 1u) : ~static_cast<__mmask32>(0);
      const __m512i x = _mm512_maskz_loadu_epi16(mask, from + i);
      _mm512_mask_cvtepi16_storeu_epi8(l + i, mask, x);
      _mm512_mask_cvtepi16_storeu_epi8(h + i, mask, _mm512_srli_epi16(x, 8));
    }
#endif
    for (; i < n; ++i) {
      h[i] = static_cast<std::uint8_t>(from[i] >> 8);
      l[i] = static_cast<std::uint8_t>(from[i] & 255);
    }
  }
  PTQ_ALWAYS_INLINE void pad(std::int64_t at, std::int64_t n) const {
    std::memset(high + at, padding >> 8, static_cast<std::size_t>(n));
    std::memset(low + at, padding & 255, static_cast<std::size_t>(n));
  }
};

/// The taps of output pixels, of one group's channels.
template <class X>
struct wide_rows_of {
  const kernels::conv_geometry& g;
  const X* src;
  std::int64_t group;

  template <class Row>
  PTQ_ALWAYS_INLINE void copy(std::int64_t pixel, const Row& to) const {
    const std::int64_t ox = pixel % g.out_w, oy = pixel / g.out_w % g.out_h;
    const X* image =
        src + pixel / (g.out_w * g.out_h) * g.in_h * g.in_w * g.src_pixel() + group * g.group_in();
    const std::int64_t x = ox * g.stride_w - g.pad_left, y = oy * g.stride_h - g.pad_top;
    const std::int64_t in = g.group_in(), run = g.kernel_w * in;
    const bool neighbours = g.dilation_w == 1 && g.src_pixel() == in;
    for (std::int64_t kh = 0, at = 0; kh < g.kernel_h; ++kh, at += run) {
      const std::int64_t iy = y + kh * g.dilation_h;
      if (iy < 0 || iy >= g.in_h) {
        to.pad(at, run);
        continue;
      }
      const X* row = image + iy * g.in_w * g.src_pixel();
      if (neighbours) {
        const std::int64_t begin = std::min(std::max<std::int64_t>(-x, 0), g.kernel_w);
        const std::int64_t end = std::max(begin, std::min(g.kernel_w, g.in_w - x));
        if (begin > 0) to.pad(at, begin * in);
        if (begin < end) to.put(at + begin * in, row + (x + begin) * in, (end - begin) * in);
        if (end < g.kernel_w) to.pad(at + end * in, (g.kernel_w - end) * in);
        continue;
      }
      for (std::int64_t kw = 0; kw < g.kernel_w; ++kw) {
        const std::int64_t ix = x + kw * g.dilation_w;
        if (ix < 0 || ix >= g.in_w)
          to.pad(at + kw * in, in);
        else
          to.put(at + kw * in, row + ix * g.src_pixel(), in);
      }
    }
  }
};

}  // namespace ptq::native
