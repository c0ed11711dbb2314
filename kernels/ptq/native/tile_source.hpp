#pragma once
// SPDX-License-Identifier: Apache-2.0
// A convolution's activations as tiles read them: 16 rows at equal distances. Three ways, of which
// the first is the second where nothing has to be moved:
//   direct    1×1: a row is a source pixel
//   padded    the image rows of a unit are copied, padded. The padding on the left of a row is that
//             on the right of the one above, so that a tile's rows lie at equal distances across the
//             ends of image rows: of the rows of a product few (for 3×3 one per image row) are no
//             results. Where the stride is s, columns and rows that lie s apart become neighbours:
//             images, at most s · s, of which each tap reads one
//   windows   few channels: all taps of a pixel are copied behind each other
// K is a sequence of runs of contiguous bytes, each cut into steps; where a run doesn't divide, its
// last step begins earlier and weighs nothing twice.

#include <algorithm>
#include <cstdint>

#include <ptq/kernels/args.hpp>
#include <ptq/native/object.hpp>
#include <ptq/native/tile_gemm.hpp>

namespace ptq::native {

/// Contiguous bytes of K: the taps (h, w), (h, w + w_step), … of `depth` channels each.
struct tile_run {
  std::int64_t offset = 0;  // bytes from a row
  std::int64_t h = 0, w = 0, w_step = 1, taps = 1, depth = 1;

  PTQ_ALWAYS_INLINE std::int64_t bytes() const { return taps * depth; }
  PTQ_ALWAYS_INLINE std::int64_t steps() const { return (bytes() + 63) / 64; }
  /// Where a step begins. A run below 64 bytes has one, which may read beyond it.
  PTQ_ALWAYS_INLINE std::int64_t begin(std::int64_t step) const {
    return std::min(64 * step, std::max<std::int64_t>(bytes() - 64, 0));
  }
};

struct tile_source {
  enum class way { direct, padded, windows } by = way::direct;
  kernels::conv_geometry g;
  std::uint8_t zero_point = 0;
  std::int64_t pixel = 1;                 // bytes from row to row of a product
  std::int64_t pitch = 1;                 // padded: pixels of an image row
  std::int64_t reach_h = 0, reach_w = 0;  // padded: rows and pixels beyond a unit's own

  /// Images of an axis: the phases of its taps repeat after as many taps.
  static PTQ_ALWAYS_INLINE std::int64_t images(std::int64_t taps, std::int64_t dilation,
                                               std::int64_t stride) {
    std::int64_t period = 1;
    while (period < taps && phase(period, dilation, stride) != 0) ++period;
    return period;
  }
  PTQ_ALWAYS_INLINE std::int64_t image_rows() const {
    return images(g.kernel_h, g.dilation_h, g.stride_h);
  }
  PTQ_ALWAYS_INLINE std::int64_t image_columns() const {
    return images(g.kernel_w, g.dilation_w, g.stride_w);
  }
  /// Phase of tap `i` of an axis, and its distance there.
  static PTQ_ALWAYS_INLINE std::int64_t phase(std::int64_t i, std::int64_t dilation,
                                              std::int64_t stride) {
    return i * dilation % stride;
  }
  static PTQ_ALWAYS_INLINE std::int64_t distance(std::int64_t i, std::int64_t dilation,
                                                 std::int64_t stride) {
    return i * dilation / stride;
  }

  /// Rows between two image rows' results that are none.
  PTQ_ALWAYS_INLINE std::int64_t gap() const { return by == way::padded ? pitch - g.out_w : 0; }
  /// Rows of a product that cover `lines` lines of results.
  PTQ_ALWAYS_INLINE std::int64_t rows_of(std::int64_t lines) const { return lines * pitch - gap(); }
  PTQ_ALWAYS_INLINE std::int64_t image_bytes(std::int64_t lines) const {
    return ((lines + reach_h) * pitch + reach_w) * pixel;
  }

  /// f(run), in the order of K, for a unit of `lines` lines of results. Their division into steps
  /// and their taps depend on neither `lines` nor the extents of the image.
  template <class F>
  PTQ_ALWAYS_INLINE void for_runs(std::int64_t lines, F f) const {
    const std::int64_t in = g.group_in();
    if (by == way::windows) {
      tile_run r;
      r.depth = in;
      r.taps = g.kernel_h * g.kernel_w;  // (h, w) in their order: kernel_w behind each other
      f(r);
      return;
    }
    // taps that lie a stride apart are neighbours in an image; without groups they join
    const bool joins = by == way::padded && g.groups == 1 && g.stride_w % g.dilation_w == 0;
    const std::int64_t w_step = joins ? g.stride_w / g.dilation_w : 1;
    const std::int64_t firsts = joins ? std::min(w_step, g.kernel_w) : g.kernel_w;
    for (std::int64_t h = 0; h < g.kernel_h; ++h)
      for (std::int64_t w = 0; w < firsts; ++w) {
        tile_run r;
        r.h = h;
        r.w = w;
        r.w_step = w_step;
        r.depth = in;
        r.taps = joins ? (g.kernel_w - w + w_step - 1) / w_step : 1;
        const std::int64_t image = h % image_rows() * image_columns() + w % image_columns();
        r.offset = image * image_bytes(lines) + (distance(h, g.dilation_h, g.stride_h) * pitch +
                                                 distance(w, g.dilation_w, g.stride_w)) *
                                                    pixel;
        f(r);
      }
  }

  PTQ_ALWAYS_INLINE std::int64_t steps() const {
    std::int64_t n = 0;
    for_runs(1, [&](const tile_run& r) PTQ_INLINE_LAMBDA { n += r.steps(); });
    return n;
  }
  /// Groups of four bytes of a step.
  PTQ_ALWAYS_INLINE std::int64_t width() const {
    std::int64_t most = 1;
    for_runs(1, [&](const tile_run& r) PTQ_INLINE_LAMBDA { most = std::max(most, r.bytes()); });
    return std::min((most + 3) / 4, tile_side);
  }

  /// Scratch of a unit of `lines` lines (padded) or rows (windows); a tile may read rows beyond.
  PTQ_ALWAYS_INLINE std::int64_t bytes(std::int64_t lines) const {
    if (by == way::direct) return 0;
    const std::int64_t beyond = tile_block_rows * pixel + 64;
    if (by == way::windows) return lines * pixel + beyond;
    return image_rows() * image_columns() * image_bytes(lines) + beyond;
  }
};

/// Which way, and the distances it takes. Depends on extents of the image nowhere but in `pitch`.
template <class Isa>
PTQ_ALWAYS_INLINE tile_source choose_source(const kernels::conv_geometry& g,
                                            std::int32_t zero_point) {
  tile_source s;
  s.g = g;
  s.zero_point = static_cast<std::uint8_t>(zero_point);
  s.pixel = g.in_c;
  using way = tile_source::way;
  const bool single = g.kernel_h == 1 && g.kernel_w == 1;
  // cycles per row: a step takes 16 for 16 × 16 sums; copying a window 3 and as many for 32 bytes
  const std::int64_t tiles = (g.group_out() + tile_side - 1) / tile_side;
  const std::int64_t bytes = g.kernel_h * g.kernel_w * g.group_in();
  s.by = way::padded;
  const bool lines = g.stride_w == 1 && g.src_pixel() == g.in_c;  // whole lines are copied
  const std::int64_t padded = s.steps() * tiles * g.groups +
                              s.image_rows() * s.image_columns() * ((lines ? 0 : 4) + g.in_c / 32);
  const std::int64_t copied = g.kernel_h * (3 + (g.kernel_w * g.group_in() + 31) / 32);
  const std::int64_t windows = ((bytes + 63) / 64 * tiles + copied) * g.groups;
  if (!single && windows < padded) {
    s.by = way::windows;
    s.pixel = (bytes + 63) / 64 * 64;
    return s;
  }
  const bool inside = g.pad_top == 0 && g.pad_left == 0 && g.stride_h == 1 && g.stride_w == 1 &&
                      g.out_h == g.in_h && g.out_w == g.in_w;
  if (single && inside && (bytes % 4 == 0 || bytes >= 64)) {
    s.by = way::direct;
    s.pixel = g.src_pixel();
    return s;
  }
  s.reach_h = tile_source::distance(g.kernel_h - 1, g.dilation_h, g.stride_h);
  s.reach_w = tile_source::distance(g.kernel_w - 1, g.dilation_w, g.stride_w);
  // what rows of an image share: columns left of the source image, and as many right of it
  s.pitch = g.out_w;
  for (std::int64_t i = 0; i < s.image_columns(); ++i) {
    const std::int64_t p = tile_source::phase(i, g.dilation_w, g.stride_w);
    const std::int64_t last = i + (g.kernel_w - 1 - i) / s.image_columns() * s.image_columns();
    const std::int64_t columns = g.out_w + tile_source::distance(last, g.dilation_w, g.stride_w);
    // columns below `begin` lie left of the image, those from `end` on right of it
    const std::int64_t begin = g.pad_left > p ? (g.pad_left - p + g.stride_w - 1) / g.stride_w : 0;
    const std::int64_t end =
        std::max<std::int64_t>(g.in_w + g.pad_left - p + g.stride_w - 1, 0) / g.stride_w;
    const std::int64_t left = std::min(begin, columns),
                       right = std::max<std::int64_t>(columns - end, 0);
    s.pitch = std::max(s.pitch, columns - std::min(left, right));
  }
  return s;
}

}  // namespace ptq::native
