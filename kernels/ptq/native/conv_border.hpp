#pragma once
// SPDX-License-Identifier: Apache-2.0
// Taps that lie in the padding for a whole tile are not multiplied. Rows of a tile are pointers, so
// its pixels need not be neighbours: those of the image's four sides are brought together, each side
// as many as fill tiles; then come the pixels inside, then what the sides left over. A 3×3 filter on
// 7×7 pixels so does 41 of 49 pixels' work, on 14×14 180 of 196.
//
// The folded −zero_point · Σw of such a tile takes the weights of the taps that it multiplies.

#include <algorithm>
#include <cstdint>

#include <ptq/kernels/args.hpp>
#include <ptq/native/conv_rows.hpp>
#include <ptq/native/object.hpp>

namespace ptq::native {

/// Taps [begin, end) of one axis.
struct tap_range {
  std::int64_t begin = 0, end = 0;
};

template <class Isa>
struct border_plan {
  static constexpr std::int64_t largest = 1 << 14;  // pixels: beyond, the sides are a 60th
  static constexpr std::int64_t most_kinds = 16;
  static constexpr std::int64_t sides = 4;

  const kernels::conv_geometry& g;
  std::int64_t tile = 1;
  std::int64_t start[sides + 2] = {};  // positions in the order: of each side, the inside, the rest

  /// The taps of an axis that lie inside at output position `at`.
  static PTQ_ALWAYS_INLINE tap_range inside(std::int64_t at, std::int64_t stride, std::int64_t pad,
                                            std::int64_t kernel, std::int64_t dilation,
                                            std::int64_t extent) {
    const std::int64_t first = at * stride - pad;
    tap_range r;
    r.begin = first >= 0 ? 0 : (dilation - 1 - first) / dilation;
    r.end = first >= extent ? 0 : std::min(kernel, (extent - first + dilation - 1) / dilation);
    r.begin = std::min(r.begin, r.end);
    return r;
  }
  PTQ_ALWAYS_INLINE tap_range rows_inside(std::int64_t y) const {
    return inside(y, g.stride_h, g.pad_top, g.kernel_h, g.dilation_h, g.in_h);
  }
  PTQ_ALWAYS_INLINE tap_range columns_inside(std::int64_t x) const {
    return inside(x, g.stride_w, g.pad_left, g.kernel_w, g.dilation_w, g.in_w);
  }

  /// 0 top, 1 right, 2 bottom, 3 left, each with the corner that it comes to first, clockwise; 4
  /// the inside.
  PTQ_ALWAYS_INLINE std::int64_t side_of(std::int64_t y, std::int64_t x) const {
    const tap_range v = rows_inside(y), h = columns_inside(x);
    const bool top = v.begin > 0, bottom = v.end < g.kernel_h;
    const bool left = h.begin > 0, right = h.end < g.kernel_w;
    if (top && !right) return 0;
    if (right && !bottom) return 1;
    if (bottom && !left) return 2;
    return left ? 3 : 4;
  }

  /// f(pixel, side) for all pixels as they lie.
  template <class F>
  PTQ_ALWAYS_INLINE void for_pixels(F f) const {
    std::int64_t pixel = 0;
    for (std::int64_t n = 0; n < g.batch; ++n)
      for (std::int64_t y = 0; y < g.out_h; ++y)
        for (std::int64_t x = 0; x < g.out_w; ++x) f(pixel++, side_of(y, x));
  }

  /// Finds how many pixels of each side fill tiles; false if none do.
  bool plan() noexcept {
    std::int64_t count[sides + 1] = {};
    for_pixels([&](std::int64_t, std::int64_t side) { ++count[side]; });
    for (std::int64_t s = 0; s < sides; ++s) start[s + 1] = start[s] + count[s] / tile * tile;
    start[sides + 1] = start[sides] + count[sides];
    return start[sides] > 0;
  }

  void fill(std::int32_t* order) const noexcept {
    std::int64_t next[sides + 2];
    for (std::int64_t s = 0; s < sides + 2; ++s) next[s] = start[s];
    for_pixels([&](std::int64_t pixel, std::int64_t side) {
      if (side < sides && next[side] == start[side + 1]) side = sides + 1;
      order[next[side]++] = static_cast<std::int32_t>(pixel);
    });
  }

  /// The taps inside for any of `count` pixels: [0] rows, [1] columns.
  void inside_of(const std::int32_t* pixels, std::int64_t count, tap_range (&r)[2]) const noexcept {
    r[0] = {g.kernel_h, 0};
    r[1] = {g.kernel_w, 0};
    for (std::int64_t i = 0; i < count; ++i) {
      const tap_range v = rows_inside(pixels[i] / g.out_w % g.out_h);
      const tap_range h = columns_inside(pixels[i] % g.out_w);
      r[0] = {std::min(r[0].begin, v.begin), std::max(r[0].end, v.end)};
      r[1] = {std::min(r[1].begin, h.begin), std::max(r[1].end, h.end)};
    }
  }

  /// Fills the order, the kinds of tiles and their taps; returns the number of kinds. Kind 0 skips
  /// nothing. `uniform`: all panels have tiles of this height.
  std::int64_t fill(std::int32_t* order, std::uint8_t* kind_of, conv_border* kind,
                    std::int32_t* taps, bool uniform) const noexcept {
    const std::int64_t all = g.kernel_h * g.kernel_w, pixels = g.batch * g.out_h * g.out_w;
    fill(order);
    std::int64_t kinds = 0;
    const auto kind_with = [&](const tap_range(&r)[2]) -> std::int64_t {
      std::int32_t* mine = taps + kinds * all;
      std::int64_t n = 0;
      for (std::int64_t h = r[0].begin; h < r[0].end; ++h)
        for (std::int64_t w = r[1].begin; w < r[1].end; ++w)
          mine[n++] = static_cast<std::int32_t>(h * g.kernel_w + w);
      for (std::int64_t k = 0; k < kinds; ++k) {
        if (kind[k].count != n) continue;
        bool same = true;
        for (std::int64_t i = 0; i < n; ++i) same = same && kind[k].taps[i] == mine[i];
        if (same) return k;
      }
      if (kinds == most_kinds || n == 0) return 0;
      kind[kinds] = {mine, n, nullptr};
      return kinds++;
    };
    const tap_range whole[2] = {{0, g.kernel_h}, {0, g.kernel_w}};
    kind_with(whole);
    for (std::int64_t i = 0; i * tile < pixels; ++i) {
      kind_of[i] = 0;
      if (i * tile >= start[sides]) {
        if (uniform && (i + 1) * tile <= start[sides + 1]) kind_of[i] = inside_tile;
        continue;
      }
      tap_range r[2];
      inside_of(order + i * tile, tile, r);
      kind_of[i] = static_cast<std::uint8_t>(kind_with(r));
    }
    return kinds;
  }
};

}  // namespace ptq::native
