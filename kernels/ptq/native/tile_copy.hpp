#pragma once
// SPDX-License-Identifier: Apache-2.0
// Fills what tile_source.hpp lays out: padded images, and windows.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include <ptq/native/epilogue.hpp>
#include <ptq/native/object.hpp>
#include <ptq/native/tile_source.hpp>

namespace ptq::native {

/// n ≥ 1 bytes: whole words of a size, the last one overlapping.
template <class S>
PTQ_ALWAYS_INLINE void copy_bytes(std::uint8_t* to, const std::uint8_t* from, std::int64_t n) {
  constexpr std::int64_t wide = 4 * S::lanes;
  if (n >= wide) {
    for (std::int64_t i = 0; i + wide <= n; i += wide) S::store(to + i, S::load(from + i));
    return S::store(to + n - wide, S::load(from + n - wide));
  }
  const auto twice = [&](auto size) PTQ_INLINE_LAMBDA {
    constexpr std::size_t bytes = decltype(size)::value;
    std::uint8_t first[bytes], last[bytes];
    std::memcpy(first, from, bytes);
    std::memcpy(last, from + n - bytes, bytes);
    std::memcpy(to, first, bytes);
    std::memcpy(to + n - bytes, last, bytes);
  };
  if (n >= 32) return twice(constant<32>{});
  if (n >= 16) return twice(constant<16>{});
  if (n >= 8) return twice(constant<8>{});
  if (n >= 4) return twice(constant<4>{});
  if (n >= 2) return twice(constant<2>{});
  *to = *from;
}

/// The padded images of `lines` lines of results from line `first` of an image on; scratch is laid
/// out for units of `most` lines.
template <class Isa>
void fill_padded(const tile_source& s, const std::uint8_t* image, std::int64_t first,
                 std::int64_t lines, std::int64_t most, std::uint8_t* to) {
  using S = simd<Isa, register_bytes<Isa>>;
  const kernels::conv_geometry& g = s.g;
  const std::int64_t step = g.stride_w * g.src_pixel();
  const auto pad = [&](std::uint8_t* at, std::int64_t pixels) PTQ_INLINE_LAMBDA {
    if (pixels > 0) std::memset(at, s.zero_point, static_cast<std::size_t>(pixels * s.pixel));
  };
  const std::int64_t columns = s.image_columns();
  for (std::int64_t p = 0; p < s.image_rows() * columns; ++p) {
    const std::int64_t row_phase = tile_source::phase(p / columns, g.dilation_h, g.stride_h);
    const std::int64_t column_phase = tile_source::phase(p % columns, g.dilation_w, g.stride_w);
    std::uint8_t* row = to + p * s.image_bytes(most);
    // columns [begin, end) of the image's rows are pixels
    const std::int64_t x0 = column_phase - g.pad_left;
    const std::int64_t begin = std::min(s.pitch, x0 >= 0 ? 0 : (g.stride_w - 1 - x0) / g.stride_w);
    const std::int64_t inside = g.in_w <= x0 ? 0 : (g.in_w - x0 + g.stride_w - 1) / g.stride_w;
    const std::int64_t end = std::max(begin, std::min(s.pitch, inside));
    for (std::int64_t i = 0; i < lines + s.reach_h; ++i, row += s.pitch * s.pixel) {
      const std::int64_t y = (first + i) * g.stride_h + row_phase - g.pad_top;
      if (y < 0 || y >= g.in_h || begin == end) {
        pad(row, s.pitch);
        continue;
      }
      const std::uint8_t* from = image + (y * g.in_w + x0 + begin * g.stride_w) * g.src_pixel();
      pad(row, begin);
      if (step == s.pixel)
        copy_bytes<S>(row + begin * s.pixel, from, (end - begin) * s.pixel);
      else
        for (std::int64_t x = begin; x < end; ++x, from += step)
          copy_bytes<S>(row + x * s.pixel, from, s.pixel);
      pad(row + end * s.pixel, s.pitch - end);
    }
    pad(row, s.reach_w);
  }
}

/// Windows of neighbouring pixels of one line, all taps inside the image, in lines of `line` bytes
/// that are copied as words of Word bytes where it isn't 0: a word's end is overwritten by the next
/// line, or weighs nothing.
template <class Isa, int Word>
PTQ_ALWAYS_INLINE void copy_windows(const tile_source& s, const std::uint8_t* from,
                                    std::int64_t count, std::int64_t line, std::uint8_t* to) {
  using S = simd<Isa, register_bytes<Isa>>;
  const kernels::conv_geometry& g = s.g;
  const std::int64_t step = g.stride_w * g.src_pixel();
  const std::int64_t below = g.dilation_h * g.in_w * g.src_pixel();
  const std::int64_t lines = g.kernel_h, slot = s.pixel;
  for (std::int64_t i = 0; i < count; ++i, from += step, to += slot) {
    const std::uint8_t* source = from;
    std::uint8_t* next = to;
    for (std::int64_t h = 0; h < lines; ++h, next += line, source += below) {
      if constexpr (Word > 0)
        std::memcpy(next, source, Word);
      else
        copy_bytes<S>(next, source, line);
    }
  }
}

/// The window of any pixel: y and x, of its first tap, may lie outside.
template <class Isa>
void copy_window(const tile_source& s, const std::uint8_t* image, std::int64_t y, std::int64_t x,
                 std::uint8_t* to) {
  using S = simd<Isa, register_bytes<Isa>>;
  const kernels::conv_geometry& g = s.g;
  const std::int64_t in = g.group_in();
  std::memset(to, s.zero_point, static_cast<std::size_t>(s.pixel));
  for (std::int64_t h = 0; h < g.kernel_h; ++h) {
    const std::int64_t iy = y + h * g.dilation_h;
    if (iy < 0 || iy >= g.in_h) continue;
    for (std::int64_t w = 0; w < g.kernel_w; ++w) {
      const std::int64_t ix = x + w * g.dilation_w;
      if (ix < 0 || ix >= g.in_w) continue;
      copy_bytes<S>(to + (h * g.kernel_w + w) * in, image + (iy * g.in_w + ix) * g.src_pixel(), in);
    }
  }
}

/// The windows of `count` output pixels from `first` (of all images) on, for one group.
template <class Isa>
void fill_windows(const tile_source& s, const std::uint8_t* src, std::int64_t first,
                  std::int64_t count, std::int64_t group, std::uint8_t* to) {
  const kernels::conv_geometry& g = s.g;
  const std::int64_t in = g.group_in(), line = g.kernel_w * in;
  const bool joined = g.dilation_w == 1 && g.src_pixel() == in;
  // columns whose windows lie inside
  const std::int64_t begin = std::min((g.pad_left + g.stride_w - 1) / g.stride_w, g.out_w);
  const std::int64_t room = g.in_w + g.pad_left - (g.kernel_w - 1) * g.dilation_w - 1;
  const std::int64_t end = room < 0 ? 0 : std::min(room / g.stride_w + 1, g.out_w);
  for (std::int64_t i = 0; i < count;) {
    const std::int64_t at = first + i, column = at % g.out_w, row = at / g.out_w % g.out_h;
    const std::uint8_t* image =
        src + (at / (g.out_w * g.out_h) * g.in_h * g.in_w) * g.src_pixel() + group * in;
    const std::int64_t y = row * g.stride_h - g.pad_top, x = column * g.stride_w - g.pad_left;
    const std::int64_t last_y = y + (g.kernel_h - 1) * g.dilation_h;
    if (!joined || y < 0 || last_y >= g.in_h || column < begin || column >= end) {
      copy_window<Isa>(s, image, y, x, to + i * s.pixel);
      ++i;
      continue;
    }
    const std::int64_t n = std::min(end - column, count - i);
    const std::uint8_t* from = image + (y * g.in_w + x) * in;
    // what the words of the last pixel's last line read beyond it must be of the image
    const auto fits = [&](std::int64_t word) PTQ_INLINE_LAMBDA {
      const std::int64_t last = (last_y * g.in_w + x + (n - 1) * g.stride_w) * in + word;
      return line <= word && last <= g.in_h * g.in_w * in &&
             (g.kernel_h - 1) * line + word <= s.pixel;
    };
    std::uint8_t* next = to + i * s.pixel;
    if (fits(16))
      copy_windows<Isa, 16>(s, from, n, line, next);
    else if (fits(32))
      copy_windows<Isa, 32>(s, from, n, line, next);
    else if (fits(64))
      copy_windows<Isa, 64>(s, from, n, line, next);
    else
      copy_windows<Isa, 0>(s, from, n, line, next);
    i += n;
  }
}

}  // namespace ptq::native
