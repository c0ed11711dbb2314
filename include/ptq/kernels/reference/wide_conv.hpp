#pragma once
// SPDX-License-Identifier: Apache-2.0
// The specification of convolutions and matrix products on codes of up to 16 bits: one 64-bit
// accumulator, which no layer that fits in memory can overflow, requantized in double, where every
// such sum below 2^53 is exact. Quantizing to and from 16-bit codes is here too: the formulas of
// core/numeric.hpp, with more codes.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include <ptq/core/numeric.hpp>
#include <ptq/kernels/args.hpp>
#include <ptq/kernels/reference/elementwise.hpp>
#include <ptq/kernels/table.hpp>

namespace ptq::kernels::reference {

namespace wide {

struct conv_object {
  wide_conv_args rule;
  std::vector<std::int16_t> weights;
  std::vector<std::int32_t> bias;
  std::vector<double> multiplier;

  template <class X>
  std::int64_t accumulate(const X* x, std::int64_t oy, std::int64_t ox, std::int64_t o) const {
    const auto& g = rule.geometry;
    const std::int64_t in = g.group_in(), first = o / g.group_out() * in;
    std::int64_t acc = bias.empty() ? 0 : bias[static_cast<std::size_t>(o)];
    for (std::int64_t kh = 0; kh < g.kernel_h; ++kh) {
      const std::int64_t iy = oy * g.stride_h - g.pad_top + kh * g.dilation_h;
      if (iy < 0 || iy >= g.in_h) continue;
      for (std::int64_t kw = 0; kw < g.kernel_w; ++kw) {
        const std::int64_t ix = ox * g.stride_w - g.pad_left + kw * g.dilation_w;
        if (ix < 0 || ix >= g.in_w) continue;
        const X* a = x + (iy * g.in_w + ix) * g.src_pixel() + first;
        const std::int16_t* w = weights.data() + ((o * g.kernel_h + kh) * g.kernel_w + kw) * in;
        for (std::int64_t i = 0; i < in; ++i)
          acc += static_cast<std::int64_t>(a[i] - rule.x_zero_point) * w[i];
      }
    }
    return acc;
  }

  void store(std::int64_t acc, std::int64_t c, void* dst, std::int64_t at) const {
    const double m = multiplier[multiplier.size() == 1 ? 0 : static_cast<std::size_t>(c)];
    if (rule.y_type == dtype::f32) {
      const auto y = static_cast<float>(static_cast<double>(acc) * m);
      static_cast<float*>(dst)[at] = std::min(std::max(y, rule.float_low), rule.float_high);
      return;
    }
    const auto q = requantize_wide(acc, m, rule.zero_point, rule.low, rule.high);
    if (rule.y_type == dtype::u16)
      static_cast<std::uint16_t*>(dst)[at] = static_cast<std::uint16_t>(q);
    else
      static_cast<std::uint8_t*>(dst)[at] = static_cast<std::uint8_t>(q);
  }
};

template <class X>
void run_conv(const void* object, const operands& io, std::byte*, work_range range) {
  const auto& c = *static_cast<const conv_object*>(object);
  const auto& g = c.rule.geometry;
  for (std::int64_t pixel = range.begin; pixel < range.end; ++pixel) {
    const std::int64_t ox = pixel % g.out_w;
    const std::int64_t oy = pixel / g.out_w % g.out_h;
    const std::int64_t n = pixel / g.out_w / g.out_h;
    const X* x = static_cast<const X*>(io.src[0]) + n * g.in_h * g.in_w * g.src_pixel();
    for (std::int64_t o = 0; o < g.out_c; ++o)
      c.store(c.accumulate(x, oy, ox, o), o, io.dst, pixel * g.dst_pixel() + o);
  }
}

}  // namespace wide

/// See wide_conv_args. One unit is one output pixel.
inline prepared wide_conv(const wide_conv_args& a) {
  const auto& g = a.geometry;
  const std::int64_t taps = g.out_c * g.kernel_h * g.kernel_w * g.group_in();
  auto object = std::make_shared<wide::conv_object>(
      wide::conv_object{.rule = a,
                        .weights = {a.weights, a.weights + taps},
                        .bias = a.bias ? std::vector<std::int32_t>(a.bias, a.bias + g.out_c)
                                       : std::vector<std::int32_t>{},
                        .multiplier = {a.multiplier.begin(), a.multiplier.end()}});
  object->rule.weights = nullptr;
  object->rule.bias = nullptr;
  object->rule.multiplier = {};
  return {
      .object = std::move(object),
      .run = a.x_type == dtype::u16 ? wide::run_conv<std::uint16_t> : wide::run_conv<std::uint8_t>,
      .units = g.batch * g.out_h * g.out_w,
      .name = "wide reference"};
}

/// f32 → u16
inline prepared wide_quantize(const quantize_args& args) {
  return elementwise::keep(
      args,
      [](const void* object, const operands& io, std::byte*, work_range range) {
        const auto& q = *static_cast<const quantize_args*>(object);
        const auto* src = static_cast<const float*>(io.src[0]);
        auto* dst = static_cast<std::uint16_t*>(io.dst);
        for (std::int64_t i = range.begin; i < range.end; ++i)
          dst[i] = static_cast<std::uint16_t>(
              quantize_value(src[i], q.scale, q.zero_point, 0, highest_code(dtype::u16)));
      },
      args.size, "quantize 16 bits");
}

/// u16 → f32
inline prepared wide_dequantize(const dequantize_args& args) {
  return elementwise::keep(
      args,
      [](const void* object, const operands& io, std::byte*, work_range range) {
        const auto& q = *static_cast<const dequantize_args*>(object);
        const auto* src = static_cast<const std::uint16_t*>(io.src[0]);
        auto* dst = static_cast<float*>(io.dst);
        for (std::int64_t i = range.begin; i < range.end; ++i)
          dst[i] = dequantize_value(src[i], q.scale, q.zero_point);
      },
      args.size, "dequantize 16 bits");
}

}  // namespace ptq::kernels::reference
