#pragma once
// SPDX-License-Identifier: Apache-2.0
// The specification of the integer matrix and convolution kernels: plain loops, one accumulator,
// the formulas of core/numeric.hpp. Every fast kernel equals these bit for bit, whatever its
// blocking or the split of its units. One unit is one output pixel (convolution) or one output row
// (matrix product).

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <ptq/core/elementary.hpp>
#include <ptq/core/numeric.hpp>
#include <ptq/kernels/args.hpp>
#include <ptq/kernels/table.hpp>

namespace ptq::kernels::reference {

namespace integer_conv {

/// An epilogue that owns its multipliers.
struct owned_epilogue {
  int_epilogue rule;
  std::vector<float> multiplier;

  explicit owned_epilogue(const int_epilogue& e)
      : rule(e), multiplier(e.multiplier.begin(), e.multiplier.end()) {
    rule.multiplier = {};
  }

  float shaped(float y) const {
    const auto& f = rule.function;
    return unary_value(f.what == epilogue_function::kind::leaky_relu ? unary_kind::leaky_relu
                                                                     : unary_kind::hard_swish,
                       f.alpha, 0.0f, y);
  }

  /// Writes element `at` of dst from the accumulator of channel `c`; `r` is the residual or null.
  void store(std::int32_t acc, std::int64_t c, const std::uint8_t* r, void* dst,
             std::int64_t at) const {
    const float m = multiplier[multiplier.size() == 1 ? 0 : static_cast<std::size_t>(c)];
    if (rule.to_float) {
      const float y = static_cast<float>(acc) * m;
      static_cast<float*>(dst)[at] = std::min(std::max(y, rule.float_low), rule.float_high);
      return;
    }
    std::int32_t q = rule.function.what == epilogue_function::kind::none
                         ? requantize_value(acc, m, rule.zero_point, rule.low, rule.high)
                         : quantize_value(shaped(static_cast<float>(acc) * m), rule.function.scale,
                                          rule.zero_point, rule.low, rule.high);
    if (rule.add)
      q = rule.residual_first ? add_value(r[at], q, rule.sum) : add_value(q, r[at], rule.sum);
    static_cast<std::uint8_t*>(dst)[at] = static_cast<std::uint8_t>(q);
  }
};

struct qconv_object {
  conv_geometry g;
  std::vector<std::int8_t> weights;
  std::vector<std::int32_t> bias;
  std::int32_t x_zero_point;
  owned_epilogue epilogue;

  /// Accumulator of output channel `o` at (oy, ox) of the image `x`.
  std::int32_t accumulate(const std::uint8_t* x, std::int64_t oy, std::int64_t ox,
                          std::int64_t o) const {
    const std::int64_t in = g.group_in();
    const std::int64_t first = o / g.group_out() * in;  // the group's first input channel
    std::int32_t acc = bias.empty() ? 0 : bias[static_cast<std::size_t>(o)];
    for (std::int64_t kh = 0; kh < g.kernel_h; ++kh) {
      const std::int64_t iy = oy * g.stride_h - g.pad_top + kh * g.dilation_h;
      if (iy < 0 || iy >= g.in_h) continue;
      for (std::int64_t kw = 0; kw < g.kernel_w; ++kw) {
        const std::int64_t ix = ox * g.stride_w - g.pad_left + kw * g.dilation_w;
        if (ix < 0 || ix >= g.in_w) continue;
        const std::uint8_t* a = x + (iy * g.in_w + ix) * g.src_pixel() + first;
        const std::int8_t* w = weights.data() + ((o * g.kernel_h + kh) * g.kernel_w + kw) * in;
        for (std::int64_t i = 0; i < in; ++i) acc += (a[i] - x_zero_point) * w[i];
      }
    }
    return acc;
  }
};

inline void run_qconv(const void* object, const operands& io, std::byte*, work_range range) {
  const auto& c = *static_cast<const qconv_object*>(object);
  const conv_geometry& g = c.g;
  const auto* src = static_cast<const std::uint8_t*>(io.src[0]);
  const auto* residual = static_cast<const std::uint8_t*>(io.src[1]);
  for (std::int64_t pixel = range.begin; pixel < range.end; ++pixel) {
    const std::int64_t ox = pixel % g.out_w;
    const std::int64_t oy = pixel / g.out_w % g.out_h;
    const std::int64_t n = pixel / g.out_w / g.out_h;
    const std::uint8_t* x = src + n * g.in_h * g.in_w * g.src_pixel();
    for (std::int64_t o = 0; o < g.out_c; ++o)
      c.epilogue.store(c.accumulate(x, oy, ox, o), o, residual, io.dst, pixel * g.dst_pixel() + o);
  }
}

struct qmatmul_object {
  std::int64_t m, n, k, a_row, a_step, b_column,
      b_step;  // strides of a and b along m or n, and along k
  std::vector<std::int64_t> a_offset, b_offset;
  std::int32_t a_zero_point, b_zero_point;
  owned_epilogue epilogue;
};

inline void run_qmatmul(const void* object, const operands& io, std::byte*, work_range range) {
  const auto& p = *static_cast<const qmatmul_object*>(object);
  for (std::int64_t row = range.begin; row < range.end; ++row) {
    const auto batch = static_cast<std::size_t>(row / p.m);
    const auto* a = static_cast<const std::uint8_t*>(io.src[0]) + p.a_offset[batch];
    const auto* b = static_cast<const std::uint8_t*>(io.src[1]) + p.b_offset[batch];
    a += row % p.m * p.a_row;
    for (std::int64_t j = 0; j < p.n; ++j) {
      std::int32_t acc = 0;
      for (std::int64_t i = 0; i < p.k; ++i)
        acc += (a[i * p.a_step] - p.a_zero_point) *
               (b[j * p.b_column + i * p.b_step] - p.b_zero_point);
      p.epilogue.store(acc, 0, nullptr, io.dst, row * p.n + j);
    }
  }
}

}  // namespace integer_conv

/// u8 · s8 convolution, see qconv_args. One unit is one output pixel.
inline prepared qconv(const qconv_args& a) {
  const conv_geometry& g = a.geometry;
  const std::int64_t taps = g.out_c * g.kernel_h * g.kernel_w * g.group_in();
  auto object = std::make_shared<integer_conv::qconv_object>(integer_conv::qconv_object{
      .g = g,
      .weights = {a.weights, a.weights + taps},
      .bias = a.bias ? std::vector<std::int32_t>(a.bias, a.bias + g.out_c)
                     : std::vector<std::int32_t>{},
      .x_zero_point = a.x_zero_point,
      .epilogue = integer_conv::owned_epilogue(a.epilogue)});
  return {.object = std::move(object),
          .run = integer_conv::run_qconv,
          .units = g.batch * g.out_h * g.out_w,
          .name = "reference"};
}

/// Batched u8 · u8 product, see qmatmul_args. One unit is one row of one batch item.
inline prepared qmatmul(const qmatmul_args& a) {
  auto object = std::make_shared<integer_conv::qmatmul_object>(
      integer_conv::qmatmul_object{.m = a.m,
                                   .n = a.n,
                                   .k = a.k,
                                   .a_row = a.a_trans ? 1 : a.k,
                                   .a_step = a.a_trans ? a.m : 1,
                                   .b_column = a.b_trans ? a.k : 1,
                                   .b_step = a.b_trans ? 1 : a.n,
                                   .a_offset = {a.a_offset.begin(), a.a_offset.end()},
                                   .b_offset = {a.b_offset.begin(), a.b_offset.end()},
                                   .a_zero_point = a.a_zero_point,
                                   .b_zero_point = a.b_zero_point,
                                   .epilogue = integer_conv::owned_epilogue(a.epilogue)});
  return {.object = std::move(object),
          .run = integer_conv::run_qmatmul,
          .units = static_cast<std::int64_t>(a.a_offset.size()) * a.m,
          .name = "reference"};
}

}  // namespace ptq::kernels::reference
