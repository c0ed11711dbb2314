#pragma once
// SPDX-License-Identifier: Apache-2.0
// Pooling over n h w c, channels in the lanes: a block of channels keeps its results in registers
// over the whole window. Taps come in the reference's order (kernel row, kernel column), so floats
// equal it bit for bit.
//
// One unit is an output row; where the image shrinks to one pixel (global pooling), a block of
// channels of it.

#include <cstdint>
#include <limits>

#include <ptq/core/elementary.hpp>
#include <ptq/kernels/args.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/native/bytes.hpp>
#include <ptq/native/lanes.hpp>
#include <ptq/native/runs.hpp>

namespace ptq::native {

/// Where windows lie and how work is cut.
template <class Isa>
struct pool_frame {
  kernels::conv_geometry g;
  bool count_include_pad;
  std::int64_t pad_bottom, pad_right;
  std::int64_t block;  // channels of a unit

  template <class Args>
  static pool_frame of(const Args& args) {
    const auto& g = args.geometry;
    const bool one_pixel = g.out_h * g.out_w == 1;
    return {g, args.count_include_pad, args.pad_bottom, args.pad_right,
            one_pixel ? least<Isa>(64, g.out_c) : g.out_c};
  }
  std::int64_t blocks() const { return block > 0 ? (g.out_c + block - 1) / block : 0; }
  std::int64_t units() const { return g.batch * g.out_h * blocks(); }

  struct taps {
    std::int64_t begin, end;
  };
  /// Taps of one axis that fall on [low, high)
  PTQ_ALWAYS_INLINE static taps inside(std::int64_t first, std::int64_t dilation,
                                       std::int64_t kernel, std::int64_t low, std::int64_t high) {
    const std::int64_t before = low - first, until = high - first;
    const std::int64_t begin = before <= 0 ? 0 : (before + dilation - 1) / dilation;
    const std::int64_t end = until <= 0 ? 0 : (until + dilation - 1) / dilation;
    return {least<Isa>(begin, kernel), least<Isa>(end, kernel)};
  }
};

/// A window as the taps inside the image: `rows` × `columns` pixels from `first`.
struct pool_window {
  std::int64_t first = 0, rows = 0, columns = 0, row_step = 0, column_step = 0;  // elements
  std::int64_t count = 0;                                                        // of an average
};

template <class Isa, class T, class F>
PTQ_ALWAYS_INLINE void for_windows(const pool_frame<Isa>& frame, const kernels::operands& io,
                                   work_range range, F f) {
  const auto& g = frame.g;
  using frame_of = pool_frame<Isa>;
  const std::int64_t pixel = g.src_pixel(), blocks = frame.blocks();
  for (std::int64_t u = range.begin; u < range.end; ++u) {
    const std::int64_t row = u / blocks, channel = u % blocks * frame.block;
    const std::int64_t channels = least<Isa>(frame.block, g.out_c - channel);
    const T* image = static_cast<const T*>(io.src[0]) + row / g.out_h * g.in_h * g.in_w * pixel;
    T* dst = static_cast<T*>(io.dst) + row * g.out_w * g.dst_pixel() + channel;
    const std::int64_t h0 = row % g.out_h * g.stride_h - g.pad_top;
    const auto h = frame_of::inside(h0, g.dilation_h, g.kernel_h, 0, g.in_h);
    const auto padded_h =
        frame_of::inside(h0, g.dilation_h, g.kernel_h, -g.pad_top, g.in_h + frame.pad_bottom);
    for (std::int64_t ow = 0; ow < g.out_w; ++ow, dst += g.dst_pixel()) {
      const std::int64_t w0 = ow * g.stride_w - g.pad_left;
      const auto w = frame_of::inside(w0, g.dilation_w, g.kernel_w, 0, g.in_w);
      pool_window v;
      v.rows = h.end - h.begin;
      v.columns = w.end - w.begin;
      v.row_step = g.dilation_h * g.in_w * pixel;
      v.column_step = g.dilation_w * pixel;
      v.count = v.rows * v.columns;
      if (frame.count_include_pad) {
        const auto padded_w =
            frame_of::inside(w0, g.dilation_w, g.kernel_w, -g.pad_left, g.in_w + frame.pad_right);
        v.count = (padded_h.end - padded_h.begin) * (padded_w.end - padded_w.begin);
      }
      if (v.count < 1) v.count = 1;
      // An empty window may lie anywhere; its address is not formed.
      if (v.rows > 0 && v.columns > 0)
        v.first = ((h0 + h.begin * g.dilation_h) * g.in_w + w0 + w.begin * g.dilation_w) * pixel +
                  channel;
      f(image + v.first, v, dst, channels);
    }
  }
}

/// f(x) for each tap, x pointing at the first channel
template <class T, class F>
PTQ_ALWAYS_INLINE void for_taps(const T* first, const pool_window& v, F f) {
  for (std::int64_t r = 0; r < v.rows; ++r)
    for (std::int64_t c = 0; c < v.columns; ++c) f(first + r * v.row_step + c * v.column_step);
}

template <class Isa>
struct qpool_kernel {
  using lane = lanes<Isa>;
  using real = typename lane::real;
  using whole = typename lane::whole;
  pool_frame<Isa> frame;
  std::int32_t x_zero_point, zero_point;
  double multiplier;

  static void max(const void* object, const kernels::operands& io, std::byte*, work_range range) {
    const auto& k = *static_cast<const qpool_kernel*>(object);
    for_windows<Isa, std::uint8_t>(
        k.frame, io, range,
        [](const std::uint8_t* x, const pool_window& v, std::uint8_t* dst, std::int64_t channels) {
          for_bytes<Isa>(channels,
                         [&](auto bytes, std::int64_t c, std::int64_t n) PTQ_INLINE_LAMBDA {
                           auto m = bytes.zero();
                           for_taps(x + c, v, [&](const std::uint8_t* p) PTQ_INLINE_LAMBDA {
                             m = bytes.max(m, bytes.load(p, n));
                           });
                           bytes.store(dst + c, m, n);
                         });
        });
  }

  PTQ_ALWAYS_INLINE whole code(whole sum, const pool_window& v, float factor) const {
    const auto offset = static_cast<std::int32_t>(v.rows * v.columns) * x_zero_point;
    const real p = lane::to_real(sum - lane::constant_whole(offset)) * lane::constant(factor);
    const auto low = static_cast<float>(0 - zero_point),
               high = static_cast<float>(255 - zero_point);
    const real c = elementary::clamp<lane>(p, lane::constant(low), lane::constant(high));
    return lane::to_whole(lane::round(c)) + lane::constant_whole(zero_point);
  }
  template <int Registers>
  PTQ_ALWAYS_INLINE void average_block(const std::uint8_t* x, const pool_window& v, float factor,
                                       std::uint8_t* dst) const {
    whole sum[Registers];
    for (whole& s : sum) s = lane::constant_whole(0);
    for_taps(x, v, [&](const std::uint8_t* p) PTQ_INLINE_LAMBDA {
      for (int r = 0; r < Registers; ++r) sum[r] = sum[r] + lane::load(p + r * lane::width);
    });
    for (int r = 0; r < Registers; ++r) lane::store(dst + r * lane::width, code(sum[r], v, factor));
  }
  static void average(const void* object, const kernels::operands& io, std::byte*,
                      work_range range) {
    const auto& k = *static_cast<const qpool_kernel*>(object);
    for_windows<Isa, std::uint8_t>(
        k.frame, io, range,
        [&k](const std::uint8_t* x, const pool_window& v, std::uint8_t* dst,
             std::int64_t channels) {
          const auto factor = static_cast<float>(k.multiplier / static_cast<double>(v.count));
          std::int64_t c = 0;
          for (; c + 4 * lane::width <= channels; c += 4 * lane::width)
            k.template average_block<4>(x + c, v, factor, dst + c);
          for (; c + lane::width <= channels; c += lane::width)
            k.template average_block<1>(x + c, v, factor, dst + c);
          if (c == channels) return;
          whole sum = lane::constant_whole(0);
          for_taps(x + c, v, [&](const std::uint8_t* p) PTQ_INLINE_LAMBDA {
            sum = sum + lane::load(p, channels - c);
          });
          lane::store(dst + c, k.code(sum, v, factor), channels - c);
        });
  }
};

template <class Isa>
inline kernels::prepared qpool(const kernels::qpool_args& args) {
  using kernel = qpool_kernel<Isa>;
  auto p = blank<Isa>(sizeof(kernel));
  auto& k = *object_of<kernel>(p);
  k = {pool_frame<Isa>::of(args), args.x_zero_point, args.zero_point, args.multiplier};
  p.units = k.frame.units();
  p.run = args.average ? &kernel::average : &kernel::max;
  p.name = args.average ? "qpool average" : "qpool max";
  return p;
}

template <class Isa>
struct pool_kernel {
  using lane = lanes<Isa>;
  using real = typename lane::real;
  pool_frame<Isa> frame;
  float order;  // of lp

  enum class way : std::uint8_t { max, average, l1, l2, lp };

  template <way Way>
  PTQ_ALWAYS_INLINE real add(real acc, real x) const {
    if constexpr (Way == way::max) return elementary::max<lane>(acc, x);
    if constexpr (Way == way::average) return acc + x;
    if constexpr (Way == way::l1) return acc + elementary::abs<lane>(x);
    if constexpr (Way == way::l2) return lane::fma(x, x, acc);
    if constexpr (Way == way::lp)
      return acc + lane::each(elementary::abs<lane>(x),
                              [this](float e) { return elementary::pow<lane>(e, order); });
  }
  template <way Way>
  PTQ_ALWAYS_INLINE real finish(real acc, const pool_window& v) const {
    if constexpr (Way == way::average)
      return acc / lane::constant(static_cast<float>(v.count));
    else if constexpr (Way == way::l2)
      return lane::sqrt(acc);
    else if constexpr (Way == way::lp)
      return lane::each(acc, [this](float e) { return elementary::pow<lane>(e, 1.0f / order); });
    else
      return acc;
  }
  template <way Way, int Registers>
  PTQ_ALWAYS_INLINE void full(const float* x, const pool_window& v, float* dst) const {
    real acc[Registers];
    for (real& a : acc) a = lane::constant(start<Way>());
    for_taps(x, v, [&](const float* p) PTQ_INLINE_LAMBDA {
      for (int r = 0; r < Registers; ++r)
        acc[r] = add<Way>(acc[r], lane::load(p + r * lane::width));
    });
    for (int r = 0; r < Registers; ++r) lane::store(dst + r * lane::width, finish<Way>(acc[r], v));
  }
  template <way Way>
  static constexpr float start() {
    return Way == way::max ? -std::numeric_limits<float>::infinity() : 0.0f;
  }
  template <way Way>
  static void apply(const void* object, const kernels::operands& io, std::byte*, work_range range) {
    const auto& k = *static_cast<const pool_kernel*>(object);
    for_windows<Isa, float>(
        k.frame, io, range,
        [&k](const float* x, const pool_window& v, float* dst, std::int64_t channels) {
          std::int64_t c = 0;
          for (; c + 2 * lane::width <= channels; c += 2 * lane::width)
            k.template full<Way, 2>(x + c, v, dst + c);
          for (; c + lane::width <= channels; c += lane::width)
            k.template full<Way, 1>(x + c, v, dst + c);
          if (c == channels) return;
          real acc = lane::constant(start<Way>());
          for_taps(x + c, v, [&](const float* p) PTQ_INLINE_LAMBDA {
            acc = k.template add<Way>(acc, lane::load(p, channels - c));
          });
          lane::store(dst + c, k.template finish<Way>(acc, v), channels - c);
        });
  }
};

template <class Isa>
inline kernels::prepared pool(const kernels::pool_args& args) {
  using kernel = pool_kernel<Isa>;
  using way = typename kernel::way;
  auto p = blank<Isa>(sizeof(kernel));
  auto& k = *object_of<kernel>(p);
  k = {pool_frame<Isa>::of(args), static_cast<float>(args.p)};
  p.units = k.frame.units();
  if (args.kind == pool_kind::max)
    p.run = &kernel::template apply<way::max>;
  else if (args.kind == pool_kind::average)
    p.run = &kernel::template apply<way::average>;
  else if (args.p == 1)
    p.run = &kernel::template apply<way::l1>;
  else if (args.p == 2)
    p.run = &kernel::template apply<way::l2>;
  else
    p.run = &kernel::template apply<way::lp>;
  p.name = "pool registers";
  return p;
}

}  // namespace ptq::native
