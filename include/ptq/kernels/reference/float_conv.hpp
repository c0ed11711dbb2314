#pragma once
// SPDX-License-Identifier: Apache-2.0
// Float convolution and matrix product, in the words of the specification.
//
// Each output is one chain of fused multiply-adds that starts at the bias (0 without one) and runs
// in increasing k; for a convolution k counts kernel row, kernel column, channel of the group, in
// that order. Taps outside the image are zeros that take part in the chain. The result is
// min(max(acc, low), high), which lets a NaN through. Fast kernels repeat the chain, so they equal
// this bit for bit on every ISA.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include <ptq/core/numeric.hpp>
#include <ptq/kernels/args.hpp>
#include <ptq/kernels/table.hpp>

namespace ptq::kernels::reference {

namespace float_conv {

struct conv_object {
  conv_args args;
  std::vector<float> weights;  // [out_c, kernel_h, kernel_w, in_c / groups]
  std::vector<float> bias;     // [out_c]
};

struct matmul_object {
  matmul_args args;
  std::vector<std::int64_t> a_offset, b_offset;  // [batch]
  bool constant = false;                         // b is ours, not the second source
  std::vector<float> b;
  std::vector<float> bias;  // [n]
};

inline float clamped(float acc, const clamp& act) {
  return std::min(std::max(acc, act.low), act.high);
}

inline float conv_output(const conv_object& c, const float* image, std::int64_t oh, std::int64_t ow,
                         std::int64_t oc) {
  const conv_geometry& g = c.args.geometry;
  const std::int64_t first = oc / g.group_out() * g.group_in();
  const float* w = c.weights.data() + oc * g.kernel_h * g.kernel_w * g.group_in();
  float acc = c.bias[static_cast<std::size_t>(oc)];
  for (std::int64_t kh = 0; kh < g.kernel_h; ++kh)
    for (std::int64_t kw = 0; kw < g.kernel_w; ++kw) {
      const std::int64_t ih = oh * g.stride_h - g.pad_top + kh * g.dilation_h;
      const std::int64_t iw = ow * g.stride_w - g.pad_left + kw * g.dilation_w;
      const bool inside = ih >= 0 && ih < g.in_h && iw >= 0 && iw < g.in_w;
      const float* x = inside ? image + (ih * g.in_w + iw) * g.src_pixel() + first : nullptr;
      for (std::int64_t i = 0; i < g.group_in(); ++i)
        acc = fused_multiply_add(inside ? x[i] : 0.0f, *w++, acc);
    }
  return clamped(acc, c.args.act);
}

/// One unit is one output pixel.
inline void run_conv(const void* object, const operands& io, std::byte*, work_range range) {
  const auto& c = *static_cast<const conv_object*>(object);
  const conv_geometry& g = c.args.geometry;
  for (std::int64_t p = range.begin; p < range.end; ++p) {
    const std::int64_t ow = p % g.out_w, oh = p / g.out_w % g.out_h, b = p / g.out_w / g.out_h;
    const float* image = static_cast<const float*>(io.src[0]) + b * g.in_h * g.in_w * g.src_pixel();
    float* y = static_cast<float*>(io.dst) + p * g.dst_pixel();
    for (std::int64_t oc = 0; oc < g.out_c; ++oc) y[oc] = conv_output(c, image, oh, ow, oc);
  }
}

/// One unit is one row of one product.
inline void run_matmul(const void* object, const operands& io, std::byte*, work_range range) {
  const auto& o = *static_cast<const matmul_object*>(object);
  const matmul_args& s = o.args;
  const float* all_b = o.constant ? o.b.data() : static_cast<const float*>(io.src[1]);
  for (std::int64_t unit = range.begin; unit < range.end; ++unit) {
    const auto batch = static_cast<std::size_t>(unit / s.m);
    const std::int64_t i = unit % s.m;
    const float* a = static_cast<const float*>(io.src[0]) + o.a_offset[batch];
    const float* b = all_b + o.b_offset[batch];
    float* c = static_cast<float*>(io.dst) + unit * s.n;
    for (std::int64_t j = 0; j < s.n; ++j) {
      float acc = o.bias[static_cast<std::size_t>(j)];
      for (std::int64_t k = 0; k < s.k; ++k)
        acc = fused_multiply_add(a[s.a_trans ? k * s.m + i : i * s.k + k],
                                 b[s.b_trans ? j * s.k + k : k * s.n + j], acc);
      c[j] = clamped(acc, s.act);
    }
  }
}

inline std::vector<float> copied(const float* p, std::int64_t n) {
  return p ? std::vector<float>(p, p + n) : std::vector<float>(static_cast<std::size_t>(n), 0.0f);
}

}  // namespace float_conv

/// Convolution over n h w c: y = clamp(bias + Σ w · x).
///
/// args     weights [out_c, kernel_h, kernel_w, in_c / groups], bias [out_c] or null; both are
/// copied returns  src: x f32; dst: f32; one unit per output pixel, no scratch exact    this is the
/// definition
inline prepared conv(const conv_args& args) {
  const conv_geometry& g = args.geometry;
  auto o = std::make_shared<float_conv::conv_object>();
  o->args = args;
  o->weights = float_conv::copied(args.weights, g.out_c * g.kernel_h * g.kernel_w * g.group_in());
  o->bias = float_conv::copied(args.bias, g.out_c);
  o->args.weights = o->args.bias = nullptr;
  return {.object = std::move(o),
          .run = float_conv::run_conv,
          .units = g.batch * g.out_h * g.out_w,
          .name = "scalar"};
}

/// Batched product c = clamp(bias + a · b).
///
/// args     offsets [batch] of a and of b (none: one product at 0); b a constant (copied) or null:
/// the second source returns  src: a, [b] f32; dst: f32 [batch, m, n]; one unit per row, no scratch
/// exact    this is the definition
inline prepared matmul(const matmul_args& args) {
  auto o = std::make_shared<float_conv::matmul_object>();
  const std::size_t batch = std::max({args.a_offset.size(), args.b_offset.size(), std::size_t{1}});
  o->args = args;
  o->a_offset.assign(args.a_offset.begin(), args.a_offset.end());
  o->b_offset.assign(args.b_offset.begin(), args.b_offset.end());
  o->a_offset.resize(batch);
  o->b_offset.resize(batch);
  o->bias = float_conv::copied(args.bias, args.n);
  if (args.b) {
    o->constant = true;
    const std::int64_t last = *std::max_element(o->b_offset.begin(), o->b_offset.end());
    o->b = float_conv::copied(args.b, last + args.k * args.n);
  }
  o->args.b = o->args.bias = nullptr;
  o->args.a_offset = o->args.b_offset = {};
  return {.object = std::move(o),
          .run = float_conv::run_matmul,
          .units = static_cast<std::int64_t>(batch) * args.m,
          .name = "scalar"};
}

}  // namespace ptq::kernels::reference
