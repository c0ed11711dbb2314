#pragma once
// SPDX-License-Identifier: Apache-2.0
// Pooling over n h w c, in the words of the specification. Each output takes its window's taps
// inside the image in the order kernel row, kernel column; one unit is one output row. A window
// with no tap inside gives the lowest value (max) or zero (average, lp).

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>

#include <ptq/core/elementary.hpp>
#include <ptq/core/numeric.hpp>
#include <ptq/kernels/args.hpp>
#include <ptq/kernels/table.hpp>

namespace ptq::kernels::reference {

namespace pooling {

/// Taps [begin, end) of one axis that fall on [low, high).
struct taps {
  std::int64_t begin = 0, end = 0;
  std::int64_t count() const { return end - begin; }
};
inline taps taps_inside(std::int64_t first, std::int64_t dilation, std::int64_t kernel,
                        std::int64_t low, std::int64_t high) {
  taps t{0, 0};
  while (t.begin < kernel && first + t.begin * dilation < low) ++t.begin;
  t.end = t.begin;
  while (t.end < kernel && first + t.end * dilation < high) ++t.end;
  return t;
}

/// The window of one output pixel: taps inside the image, and what an average divides by.
struct window {
  taps h, w;
  std::int64_t first_h = 0, first_w = 0, count = 0;
};
template <class Args>
inline window window_at(const Args& args, std::int64_t oh, std::int64_t ow) {
  const conv_geometry& g = args.geometry;
  window v;
  v.first_h = oh * g.stride_h - g.pad_top;
  v.first_w = ow * g.stride_w - g.pad_left;
  v.h = taps_inside(v.first_h, g.dilation_h, g.kernel_h, 0, g.in_h);
  v.w = taps_inside(v.first_w, g.dilation_w, g.kernel_w, 0, g.in_w);
  v.count = v.h.count() * v.w.count();
  if (args.count_include_pad) {
    const auto h =
        taps_inside(v.first_h, g.dilation_h, g.kernel_h, -g.pad_top, g.in_h + args.pad_bottom);
    const auto w =
        taps_inside(v.first_w, g.dilation_w, g.kernel_w, -g.pad_left, g.in_w + args.pad_right);
    v.count = h.count() * w.count();
  }
  v.count = std::max<std::int64_t>(v.count, 1);
  return v;
}

/// f(x) for each tap of the window in order, channel c.
template <class T, class F>
inline void for_taps(const conv_geometry& g, const window& v, const T* image, std::int64_t c, F f) {
  for (std::int64_t kh = v.h.begin; kh < v.h.end; ++kh)
    for (std::int64_t kw = v.w.begin; kw < v.w.end; ++kw)
      f(image[((v.first_h + kh * g.dilation_h) * g.in_w + v.first_w + kw * g.dilation_w) *
                  g.src_pixel() +
              c]);
}

/// write(image, window, c, dst) for each output of the rows in range
template <class T, class Args, class F>
inline void for_outputs(const Args& args, const operands& io, work_range range, F write) {
  const conv_geometry& g = args.geometry;
  for (std::int64_t row = range.begin; row < range.end; ++row) {
    const T* image =
        static_cast<const T*>(io.src[0]) + row / g.out_h * g.in_h * g.in_w * g.src_pixel();
    T* dst = static_cast<T*>(io.dst) + row * g.out_w * g.dst_pixel();
    for (std::int64_t ow = 0; ow < g.out_w; ++ow, dst += g.dst_pixel()) {
      const window v = window_at(args, row % g.out_h, ow);
      for (std::int64_t c = 0; c < g.out_c; ++c) write(image, v, c, dst[c]);
    }
  }
}

inline float pooled(const pool_args& p, const float* image, const window& v, std::int64_t c) {
  using lane = scalar_lane;
  float acc = p.kind == pool_kind::max ? -std::numeric_limits<float>::infinity() : 0.0f;
  if (p.kind == pool_kind::max) {
    for_taps(p.geometry, v, image, c, [&](float x) { acc = elementary::max<lane>(acc, x); });
  } else if (p.kind == pool_kind::average) {
    for_taps(p.geometry, v, image, c, [&](float x) { acc += x; });
    acc /= static_cast<float>(v.count);
  } else if (p.p == 1) {
    for_taps(p.geometry, v, image, c, [&](float x) { acc += elementary::abs<lane>(x); });
  } else if (p.p == 2) {
    for_taps(p.geometry, v, image, c, [&](float x) { acc = fused_multiply_add(x, x, acc); });
    acc = std::sqrt(acc);
  } else {
    const auto order = static_cast<float>(p.p);
    for_taps(p.geometry, v, image, c,
             [&](float x) { acc += elementary::pow<lane>(elementary::abs<lane>(x), order); });
    acc = elementary::pow<lane>(acc, 1.0f / order);
  }
  return acc;
}

}  // namespace pooling

/// max: the largest code. average: requantize_value(Σ(x − x_zero_point), float(multiplier / count),
/// zero_point, 0, 255)
inline prepared qpool(const qpool_args& args) {
  prepared p;
  p.object = std::make_shared<const qpool_args>(args);
  p.units = args.geometry.batch * args.geometry.out_h;
  p.name = "qpool";
  p.run = [](const void* object, const operands& io, std::byte*, work_range range) {
    const auto& q = *static_cast<const qpool_args*>(object);
    pooling::for_outputs<std::uint8_t>(
        q, io, range,
        [&q](const std::uint8_t* image, const pooling::window& v, std::int64_t c,
             std::uint8_t& dst) {
          std::int32_t acc = 0;
          pooling::for_taps(q.geometry, v, image, c, [&](std::int32_t x) {
            acc = q.average ? acc + x - q.x_zero_point : std::max(acc, x);
          });
          if (q.average)
            acc = requantize_value(acc,
                                   static_cast<float>(q.multiplier / static_cast<double>(v.count)),
                                   q.zero_point, 0, 255);
          dst = static_cast<std::uint8_t>(acc);
        });
  };
  return p;
}

/// max: NaN where the window holds one. average: the sum in order, divided by the count. lp:
/// (Σ|x|^p)^(1/p), for p = 2 a chain of fused multiply-adds.
inline prepared pool(const pool_args& args) {
  prepared p;
  p.object = std::make_shared<const pool_args>(args);
  p.units = args.geometry.batch * args.geometry.out_h;
  p.name = "pool";
  p.run = [](const void* object, const operands& io, std::byte*, work_range range) {
    const auto& f = *static_cast<const pool_args*>(object);
    pooling::for_outputs<float>(f, io, range,
                                [&f](const float* image, const pooling::window& v, std::int64_t c,
                                     float& dst) { dst = pooling::pooled(f, image, v, c); });
  };
  return p;
}

}  // namespace ptq::kernels::reference
