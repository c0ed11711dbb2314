#pragma once
// SPDX-License-Identifier: Apache-2.0
// What conv.hpp prepares, and where a block of output pixels finds its rows: pointers per tap, copied
// windows, or 16-bit copies.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include <ptq/kernels/args.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/native/gemm.hpp>
#include <ptq/native/widen.hpp>

namespace ptq::native {

/// A conv_object's columns lie in panels; a panel belongs to one group.
struct conv_panel {
  std::int64_t weights = 0;  // byte offset
  std::int64_t group = 0, channel = 0, columns = 0;
  std::int64_t padded = 0;      // offset into bias and multiplier
  std::int64_t extra = 0;       // offset of the first
  std::int64_t extras[4] = {};  // per vector
  int vectors = 0;
};

/// What the tiles of a group of output pixels skip, see conv_border.hpp.
struct conv_border {
  const std::int32_t* taps = nullptr;  // those that are multiplied
  std::int64_t count = 0;
  const std::int32_t* bias = nullptr;  // as conv_object's, with their zero points only
};

struct conv_object {
  enum class way { direct, indirect, runs, gathered } rows_by = way::direct;
  kernels::conv_geometry g;
  epilogue_rule rule;
  std::int64_t taps = 1, depth = 1, slot = 0;  // slot: bytes of a copied window
  std::int64_t pixels = 0, block = 1, blocks = 1, panels = 0, panels_per_unit = 1;
  bool kept = false;  // a thread's pointers to all pixels, which many panels share
  std::uint8_t zero_point = 0;
  bool wide = false;   // rows are copied as 16 bits, taps behind each other (`pairs` of gemm.hpp)
  const conv_panel* panel = nullptr;
  const gemm_extra* extra = nullptr;
  const std::int8_t* weights = nullptr;
  const std::int32_t* bias = nullptr;
  const float* multiplier = nullptr;
  const std::uint8_t* padding = nullptr;  // a row of zero points, as long as any row
  const std::int32_t* order = nullptr;    // [pixels] by what they skip, or null: as they lie
  std::int64_t border_tile = 0;           // pixels, in this order, that skip the same
  const std::uint8_t* border_of = nullptr;     // [pixels / border_tile]; inside_tile: see below
  const std::int64_t* group_offset = nullptr;  // [taps][depth / 4] bytes from tap 0, inside the image
  const conv_border* border = nullptr;      // 0: nothing is skipped
};

/// A tile without padding: its rows are pointed at once, for tap 0.
inline constexpr std::uint8_t inside_tile = 255;

/// Rows of a block, and of its pointer table: a last tile may read pointers beyond the block.
inline constexpr std::int64_t largest_block = 80, block_pitch = 96;

/// As far as the last tile may read: it has 6 or 12 rows, with 512-bit registers 16 at most.
template <class Isa>
PTQ_ALWAYS_INLINE std::int64_t rows_read(std::int64_t count) {
  return register_bytes<Isa> == 64 ? count + 15 : (count + 11) / 12 * 12;
}

/// Rows of a thread's pointer table.
PTQ_ALWAYS_INLINE std::int64_t pitch_of(const conv_object& c) {
  return c.kept ? c.pixels + block_pitch - largest_block : block_pitch;
}

/// Bytes of the windows that a thread may copy.
PTQ_ALWAYS_INLINE std::int64_t copied_bytes(const conv_object& c) {
  return (c.taps * pitch_of(c) * c.slot + 63) / 64 * 64;
}

/// Pointers (and copied windows) of a block of output pixels.
template <class Isa>
struct conv_rows {
  const conv_object& c;
  const std::uint8_t* src;
  const std::uint8_t** table;  // [taps][pitch]
  std::uint8_t* windows;
  std::int64_t pitch = pitch_of(c);

  /// Neighbouring pixels of one output row: rows [at, at + count) of the table. (y, x): the image
  /// position of the first one's top left tap.
  struct segment {
    const std::uint8_t* image;
    std::int64_t at, count, y, x;
  };

  void fill(std::int64_t first, std::int64_t count, std::int64_t group) const {
    const kernels::conv_geometry& g = c.g;
    const auto pixel_at = [&](std::int64_t i) { return c.order ? c.order[first + i] : first + i; };
    for (std::int64_t i = 0; i < count;) {
      const std::int64_t pixel = pixel_at(i);
      const std::int64_t ox = pixel % g.out_w, oy = pixel / g.out_w % g.out_h;
      const std::uint8_t* image =
          src + pixel / (g.out_w * g.out_h) * g.in_h * g.in_w * g.src_pixel();
      std::int64_t length = std::min(count - i, g.out_w - ox);
      bool inside = false;
      if (c.order) {
        const std::int64_t tile = (first + i) / c.border_tile;
        inside = c.border_of[tile] == inside_tile;
        length = std::min(length, (tile + 1) * c.border_tile - first - i);
        for (std::int64_t j = 1; j < length; ++j)
          if (pixel_at(i + j) != pixel + j) length = j;
      }
      const segment s{image, i + (c.kept ? first : 0), length, oy * g.stride_h - g.pad_top,
                      ox * g.stride_w - g.pad_left};
      if (c.rows_by == conv_object::way::runs)
        fill_runs(s);
      else if (c.rows_by == conv_object::way::gathered)
        gather(s, group * g.group_in());
      else if (inside)
        point(table + s.at, image + (s.y * g.in_w + s.x) * g.src_pixel(),
              g.stride_w * g.src_pixel(), {0, length});
      else
        fill_taps(s);
      i += length;
    }
    if (c.kept) return;
    for (std::int64_t tap = 0; tap < c.taps; ++tap)
      for (std::int64_t i = count; i < rows_read<Isa>(count); ++i) table[tap * pitch + i] = c.padding;
  }

  /// Valid pointers everywhere, before blocks of a kept table are filled.
  void clear() const {
    for (std::int64_t i = 0; i < c.taps * pitch; ++i) table[i] = c.padding;
  }

  /// Pixels of a segment whose image columns x, x + stride_w, … lie in [0, end).
  work_range inside(const segment& s, std::int64_t x, std::int64_t end) const {
    const std::int64_t stride = c.g.stride_w;
    const std::int64_t from = x >= 0 ? 0 : (stride - 1 - x) / stride;
    const std::int64_t to = end <= x ? 0 : (end - x + stride - 1) / stride;
    const std::int64_t first = std::min(from, s.count);
    return {first, std::max(first, std::min(to, s.count))};
  }

  /// table[i] = from + i · step; four at a time, or adding up takes longer than storing.
  static PTQ_ALWAYS_INLINE void point(const std::uint8_t** to, const std::uint8_t* from,
                                      std::int64_t step, work_range r) {
    std::int64_t i = r.begin;
    for (from += i * step; i + 4 <= r.end; i += 4, from += 4 * step) {
      to[i] = from;
      to[i + 1] = from + step;
      to[i + 2] = from + 2 * step;
      to[i + 3] = from + 3 * step;
    }
    for (; i < r.end; ++i, from += step) to[i] = from;
  }

  void fill_taps(const segment& s) const {
    const kernels::conv_geometry& g = c.g;
    if (s.count == 1) return fill_pixel(s);
    const std::int64_t step = g.stride_w * g.src_pixel();
    const std::uint8_t** to = table + s.at;
    for (std::int64_t kw = 0; kw < g.kernel_w; ++kw) {
      const std::int64_t x = s.x + kw * g.dilation_w;
      const work_range in = inside(s, x, g.in_w);
      for (std::int64_t kh = 0; kh < g.kernel_h; ++kh) {
        const std::int64_t y = s.y + kh * g.dilation_h;
        const std::uint8_t** tap = to + (kh * g.kernel_w + kw) * pitch;
        const bool outside = y < 0 || y >= g.in_h;
        const std::int64_t begin = outside ? s.count : in.begin;
        const std::int64_t end = outside ? s.count : in.end;
        const std::uint8_t* from = s.image + (y * g.in_w + x) * g.src_pixel();
        for (std::int64_t i = 0; i < begin; ++i) tap[i] = c.padding;
        point(tap, from, step, {begin, end});
        for (std::int64_t i = end; i < s.count; ++i) tap[i] = c.padding;
      }
    }
  }

  void fill_pixel(const segment& s) const {
    const kernels::conv_geometry& g = c.g;
    const std::uint8_t** to = table + s.at;
    for (std::int64_t kh = 0; kh < g.kernel_h; ++kh) {
      const std::int64_t y = s.y + kh * g.dilation_h;
      const bool outside = y < 0 || y >= g.in_h;
      const std::uint8_t* row = s.image + y * g.in_w * g.src_pixel();
      std::int64_t x = s.x;
      for (std::int64_t kw = 0; kw < g.kernel_w; ++kw, x += g.dilation_w, to += pitch)
        *to = outside || x < 0 || x >= g.in_w ? c.padding : row + x * g.src_pixel();
    }
  }

  void fill_runs(const segment& s) const {
    const kernels::conv_geometry& g = c.g;
    const work_range in = inside(s, s.x, g.in_w - g.kernel_w + 1);
    const std::int64_t step = g.stride_w * g.in_c, crossing = s.count - (in.end - in.begin);
    const bool strip = crossing > 2 && g.stride_w <= g.kernel_w;  // at once
    for (std::int64_t kh = 0; kh < g.kernel_h; ++kh) {
      const std::int64_t y = s.y + kh * g.dilation_h;
      const std::uint8_t** tap = table + kh * pitch + s.at;
      if (y < 0 || y >= g.in_h) {
        for (std::int64_t i = 0; i < s.count; ++i) tap[i] = c.padding;
        continue;
      }
      const std::uint8_t* row = s.image + y * g.in_w * g.in_c;
      std::uint8_t* window = windows + (kh * pitch + s.at) * c.slot;
      if (strip) {
        copy_strip(row, s.x, s.count, window);
        point(tap, window, step, {0, s.count});
        continue;
      }
      const auto copy = [&](std::int64_t i) {
        copy_strip(row, s.x + i * g.stride_w, 1, window + i * c.slot);
        tap[i] = window + i * c.slot;
      };
      for (std::int64_t i = 0; i < in.begin; ++i) copy(i);
      point(tap, row + s.x * g.in_c, step, in);
      for (std::int64_t i = in.end; i < s.count; ++i) copy(i);
    }
  }

  /// The pixels of `count` windows, the first from column x of a row on; zero points outside of the row. No more than
  /// count · slot bytes where windows overlap or touch.
  void copy_strip(const std::uint8_t* row, std::int64_t x, std::int64_t count,
                  std::uint8_t* to) const {
    const kernels::conv_geometry& g = c.g;
    const std::int64_t length = (count - 1) * g.stride_w + g.kernel_w;
    const std::int64_t begin = std::clamp<std::int64_t>(-x, 0, length);
    const std::int64_t end = std::clamp<std::int64_t>(g.in_w - x, begin, length);
    const auto bytes = [&](std::int64_t pixels) { return static_cast<std::size_t>(pixels * g.in_c); };
    if (begin > 0) std::memset(to, c.zero_point, bytes(begin));
    if (begin < end) std::memcpy(to + begin * g.in_c, row + (x + begin) * g.in_c, bytes(end - begin));
    if (end < length) std::memset(to + end * g.in_c, c.zero_point, bytes(length - end));
  }

  /// The windows of a segment, all taps of a pixel behind each other.
  void gather(const segment& s, std::int64_t channel) const {
    const kernels::conv_geometry& g = c.g;
    const std::int64_t in = g.group_in(), run = g.kernel_w * in;
    std::uint8_t* const window = windows + s.at * c.slot;
    point(table + s.at, window, c.slot, {0, s.count});
    // Neighbouring bytes four at a time: the next run, or the rest of the slot, takes what is too many.
    work_range fours{0, 0};
    if (g.dilation_w == 1 && g.src_pixel() == in && run <= 4) {
      fours = inside(s, s.x, g.in_w - (4 + in - 1) / in + 1);
      for (std::int64_t kh = 0; kh < g.kernel_h; ++kh) {
        const std::int64_t y = s.y + kh * g.dilation_h;
        const bool outside = y < 0 || y >= g.in_h;
        copy_fours(window + fours.begin * c.slot + kh * run, c.slot,
                   outside ? c.padding : s.image + (y * g.in_w + s.x + fours.begin * g.stride_w) * in,
                   outside ? 0 : g.stride_w * in, fours.end - fours.begin);
      }
    }
    for (std::int64_t j = 0; j < fours.begin; ++j)
      gather_taps(s, s.x + j * g.stride_w, channel, window + j * c.slot);
    for (std::int64_t j = fours.end; j < s.count; ++j)
      gather_taps(s, s.x + j * g.stride_w, channel, window + j * c.slot);
  }
  static PTQ_ALWAYS_INLINE void copy_fours(std::uint8_t* to, std::int64_t slot,
                                           const std::uint8_t* from, std::int64_t step,
                                           std::int64_t count) {
    for (; count > 0; --count, to += slot, from += step) std::memcpy(to, from, 4);
  }
  void gather_taps(const segment& s, std::int64_t x, std::int64_t channel,
                   std::uint8_t* window) const {
    const kernels::conv_geometry& g = c.g;
    const std::int64_t in = g.group_in();
    std::memset(window, c.zero_point, static_cast<std::size_t>(c.slot));
    for (std::int64_t kh = 0; kh < g.kernel_h; ++kh) {
      const std::int64_t iy = s.y + kh * g.dilation_h;
      if (iy < 0 || iy >= g.in_h) continue;
      for (std::int64_t kw = 0; kw < g.kernel_w; ++kw) {
        const std::int64_t ix = x + kw * g.dilation_w;
        if (ix < 0 || ix >= g.in_w) continue;
        const std::uint8_t* from = s.image + (iy * g.in_w + ix) * g.src_pixel() + channel;
        std::uint8_t* to = window + (kh * g.kernel_w + kw) * in;
        for (std::int64_t b = 0; b < in; ++b) to[b] = from[b];
      }
    }
  }
};

/// 16-bit copies of a block's rows, taps behind each other, in scratch.
template <class Isa>
struct wide_rows {
  const std::uint8_t** table;  // [block_pitch]
  std::uint16_t* rows;         // [largest_block][wide_pitch]

  void fill(const conv_object& c, const std::uint8_t* const* taps, std::int64_t count,
            std::int64_t offset) const {
    const std::int64_t pitch = wide_pitch(c.taps * c.depth);
    for (std::int64_t i = 0; i < count; ++i) {
      std::uint16_t* to = rows + i * pitch;
      table[i] = reinterpret_cast<const std::uint8_t*>(to);
      for (std::int64_t tap = 0; tap < c.taps; ++tap, to += c.depth)
        widen<Isa>(taps[tap * block_pitch + i] + offset, to, c.depth);
    }
    for (std::int64_t i = count; i < rows_read<Isa>(count); ++i) table[i] = table[0];
  }
};

}  // namespace ptq::native
