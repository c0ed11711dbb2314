#pragma once
// SPDX-License-Identifier: Apache-2.0
// Float depthwise convolution (one input and one output channel per group), bit-equal to the
// reference: lanes are channels, each with its own chain over the kernel's taps.
//
// Four neighbouring output pixels of a row share each load of weights. Where all their taps lie in
// the image, a tap is an offset from the pixel's corner; at the border each tap has an address of
// its own, that of a row of zeros outside the image. The last channels are covered by stepping
// back, so that nothing beyond a pixel is read: overlapping lanes compute the same bits twice.
// Fewer channels than lanes are loaded under a mask, or through a copy where there are no masks.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <ptq/kernels/args.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/native/float_tile.hpp>

namespace ptq::native {

namespace float_depthwise {

using float_gemm::lanes;

/// Output pixels computed together.
inline constexpr int pixels = 4;

template <class Isa>
struct depthwise {
  kernels::conv_geometry g;
  std::int64_t taps = 1, step = 1;  // step: elements from pixel to pixel of the source
  float* weights = nullptr;         // [taps, channels]
  float* start = nullptr;           // [channels]: bias
  float* zeros = nullptr;           // [channels]
  std::int64_t* offset = nullptr;   // [taps], elements from a pixel's first tap
  float low = 0, high = 0;
};

/// Where the taps of up to `pixels` outputs are: corner + offset, or one address each.
template <class Isa>
struct sources {
  const float* corner[pixels];
  const float* const* tap;  // [taps, pixels], or null: all inside
  float* dst[pixels];
  int count;  // valid outputs
};

/// `some` < lanes: only so many channels exist.
template <class Isa>
PTQ_ALWAYS_INLINE f32s<Isa> load_some(const float* p, std::int64_t some) {
#if defined(__AVX512F__)
  if constexpr (lanes<Isa> == 16)
    return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << some) - 1u), p);
#endif
  alignas(64) float part[static_cast<std::size_t>(lanes<Isa>)] = {};
  for (std::int64_t i = 0; i < some; ++i) part[i] = p[i];
  return f32s<Isa>::load_aligned(part);
}

/// Vectors · lanes channels from `c`, or the first `some` of one register if Partial.
template <class Isa, int Vectors, bool Partial>
void channels(const depthwise<Isa>& o, const sources<Isa>& s, std::int64_t c, std::int64_t some) {
  using reg = f32s<Isa>;
  constexpr int L = lanes<Isa>;
  const auto load = [&](const float* p) PTQ_INLINE_LAMBDA {
    if constexpr (Partial)
      return load_some<Isa>(p, some);
    else
      return reg::load_unaligned(p);
  };
  reg acc[pixels][Vectors];
  unrolled<Vectors>([&](auto at_v) PTQ_INLINE_LAMBDA {
    constexpr int v = decltype(at_v)::value;
    const reg start = load(o.start + c + v * L);
    unrolled<pixels>([&](auto at_p) PTQ_INLINE_LAMBDA { acc[decltype(at_p)::value][v] = start; });
  });
  const float* w = o.weights + c;
  for (std::int64_t t = 0; t < o.taps; ++t) {
    reg wv[Vectors];
    unrolled<Vectors>([&](auto at_v) PTQ_INLINE_LAMBDA {
      constexpr int v = decltype(at_v)::value;
      wv[v] = load(w + v * L);
    });
    const std::int64_t offset = o.offset[t] + c;
    unrolled<pixels>([&](auto at_p) PTQ_INLINE_LAMBDA {
      constexpr int p = decltype(at_p)::value;
      const float* x = s.tap ? s.tap[t * pixels + p] + c : s.corner[p] + offset;
      unrolled<Vectors>([&](auto at_v) PTQ_INLINE_LAMBDA {
        constexpr int v = decltype(at_v)::value;
        acc[p][v] = fused<Isa>(load(x + v * L), wv[v], acc[p][v]);
      });
    });
    w += o.g.in_c;
  }
  const reg low(o.low), high(o.high);
  unrolled<pixels>([&](auto at_p) PTQ_INLINE_LAMBDA {
    constexpr int p = decltype(at_p)::value;
    if (p >= s.count) return;
    unrolled<Vectors>([&](auto at_v) PTQ_INLINE_LAMBDA {
      constexpr int v = decltype(at_v)::value;
      float_gemm::store_some<Isa>(
          s.dst[p] + c + v * L, float_gemm::clamped<Isa>(acc[p][v], low, high), Partial ? some : L);
    });
  });
}

template <class Isa>
void all_channels(const depthwise<Isa>& o, const sources<Isa>& s) {
  constexpr int L = lanes<Isa>;
  constexpr int wide = L == 16 ? 4 : 2;  // pixels · wide accumulators in 32 or 16 registers
  const std::int64_t n = o.g.in_c;
  if (n < L) return channels<Isa, 1, true>(o, s, 0, n);
  std::int64_t c = 0;
  for (; c + wide * L <= n; c += wide * L) channels<Isa, wide, false>(o, s, c, L);
  if constexpr (wide > 2)
    for (; c + 2 * L <= n; c += 2 * L) channels<Isa, 2, false>(o, s, c, L);
  for (; c < n; c += L) channels<Isa, 1, false>(o, s, c + L <= n ? c : n - L, L);
}

/// One output row.
template <class Isa>
void output_row(const depthwise<Isa>& o, const float* image, float* dst, std::int64_t oh,
                const float** tap) {
  const kernels::conv_geometry& g = o.g;
  const std::int64_t dst_step = g.dst_stride ? g.dst_stride : g.out_c;
  const std::int64_t top = oh * g.stride_h - g.pad_top;
  const bool rows_inside = top >= 0 && top + (g.kernel_h - 1) * g.dilation_h < g.in_h;
  for (std::int64_t first = 0; first < g.out_w; first += pixels) {
    sources<Isa> s;
    s.count = static_cast<int>(float_gemm::least(pixels, g.out_w - first));
    const std::int64_t left = first * g.stride_w - g.pad_left;
    const std::int64_t last_left = left + (s.count - 1) * g.stride_w;
    const bool inside =
        rows_inside && left >= 0 && last_left + (g.kernel_w - 1) * g.dilation_w < g.in_w;
    s.tap = inside ? nullptr : tap;
    for (int p = 0; p < pixels; ++p) {
      const int q = p < s.count ? p : s.count - 1;  // the missing ones repeat the last
      s.dst[p] = dst + (first + q) * dst_step;
      const std::int64_t x0 = left + q * g.stride_w;
      if (inside) {
        s.corner[p] = image + (top * g.in_w + x0) * o.step;
        continue;
      }
      s.corner[p] = nullptr;
      for (std::int64_t kh = 0, t = 0; kh < g.kernel_h; ++kh)
        for (std::int64_t kw = 0; kw < g.kernel_w; ++kw, ++t) {
          const std::int64_t ih = top + kh * g.dilation_h, iw = x0 + kw * g.dilation_w;
          const bool in = ih >= 0 && ih < g.in_h && iw >= 0 && iw < g.in_w;
          tap[t * pixels + p] = in ? image + (ih * g.in_w + iw) * o.step : o.zeros;
        }
    }
    all_channels(o, s);
  }
}

/// One unit is one output row of one image.
template <class Isa>
void run_depthwise(const void* object, const kernels::operands& io, std::byte* scratch,
                   work_range range) {
  const auto& o = *static_cast<const depthwise<Isa>*>(object);
  const kernels::conv_geometry& g = o.g;
  const std::int64_t dst_step = g.dst_stride ? g.dst_stride : g.out_c;
  for (std::int64_t unit = range.begin; unit < range.end; ++unit)
    output_row(o, static_cast<const float*>(io.src[0]) + unit / g.out_h * g.in_h * g.in_w * o.step,
               static_cast<float*>(io.dst) + unit * g.out_w * dst_step, unit % g.out_h,
               reinterpret_cast<const float**>(scratch));
}

}  // namespace float_depthwise

/// Depthwise convolution, in_c == out_c == groups; see conv.
template <class Isa>
kernels::prepared depthwise_conv(const kernels::conv_args& args) {
  using namespace float_depthwise;
  const kernels::conv_geometry& g = args.geometry;
  depthwise<Isa> o{.g = g,
                   .taps = g.kernel_h * g.kernel_w,
                   .step = g.src_stride ? g.src_stride : g.in_c,
                   .low = args.act.low,
                   .high = args.act.high};
  block_layout<Isa> own, packed;
  own.template add<depthwise<Isa>>(1);
  const std::size_t zeros_at = own.template add<float>(g.in_c);
  const std::size_t offset_at = own.template add<std::int64_t>(o.taps);
  const std::size_t weights_at = packed.template add<float>(o.taps * g.in_c);
  const std::size_t start_at = packed.template add<float>(g.in_c);
  kernels::prepared p = blank<Isa>(own, packed, args.packed);
  if (args.packed.data && args.packed.bytes != packed.bytes) return p;
  auto* block = object_of<depthwise<Isa>>(p);
  o.weights = packed_at<float>(p, weights_at);
  o.start = packed_at<float>(p, start_at);
  o.zeros = at_offset<float>(block, zeros_at);
  o.offset = at_offset<std::int64_t>(block, offset_at);
  for (std::int64_t c = 0; c < g.in_c && !args.packed.data; ++c)
    for (std::int64_t t = 0; t < o.taps; ++t)
      o.weights[t * g.in_c + c] = args.weights[c * o.taps + t];
  if (args.bias && !args.packed.data)
    std::memcpy(o.start, args.bias, static_cast<std::size_t>(g.in_c) * sizeof(float));
  for (std::int64_t t = 0; t < o.taps; ++t)
    o.offset[t] = (t / g.kernel_w * g.dilation_h * g.in_w + t % g.kernel_w * g.dilation_w) * o.step;
  *block = o;
  p.run = run_depthwise<Isa>;
  p.units = g.batch * g.out_h;
  p.scratch = static_cast<std::size_t>(o.taps * pixels) * sizeof(const float*);
  p.name = "float depthwise";
  return p;
}

}  // namespace ptq::native
