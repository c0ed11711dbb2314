#pragma once
// SPDX-License-Identifier: Apache-2.0
// Plain kernels over n h w c: transposed convolution, convolution with computed weights, local response normalisation.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <ptq/core/elementary.hpp>
#include <ptq/core/kinds.hpp>
#include <ptq/core/numeric.hpp>
#include <ptq/core/tensor.hpp>
#include <ptq/kernels/reference.hpp>
#include <ptq/kernels/table.hpp>

namespace ptq::lowering {

/// y[o] = b[o] + Σ x[i] · w[i, o]: gathered per output pixel, so that a pixel is written once. Rows of dst are work items.
struct transposed_conv {
  static constexpr const char* name = "transposed convolution";
  kernels::conv_geometry geometry;  // of the forward window: in is src, out is dst; pixels are dense
  tensor weights, bias;             // f32 [in_c, kernel_h, kernel_w, out_c / groups], [out_c]
  clamp act;

  std::int64_t units() const { return geometry.batch * geometry.out_h; }
  void operator()(const kernels::operands& io, work_range r) const {
    const auto& g = geometry;
    const auto bias_of = bias.view<float>();
    for (auto row = r.begin; row < r.end; ++row)
      for (std::int64_t ow = 0; ow < g.out_w; ++ow) {
        float* p = static_cast<float*>(io.dst) + (row * g.out_w + ow) * g.out_c;
        std::copy(bias_of.begin(), bias_of.end(), p);
        gather(static_cast<const float*>(io.src[0]), row, ow, p);
        for (std::int64_t o = 0; o < g.out_c; ++o) p[o] = p[o] < act.low ? act.low : p[o] > act.high ? act.high : p[o];
      }
  }

 private:
  void gather(const float* in, std::int64_t row, std::int64_t ow, float* p) const {
    const auto& g = geometry;
    const auto image = row / g.out_h, oh = row % g.out_h, gi = g.group_in(), go = g.group_out();
    const auto w = weights.view<float>();
    for (std::int64_t kh = 0; kh < g.kernel_h; ++kh) {
      const auto th = oh + g.pad_top - kh * g.dilation_h;
      if (th < 0 || th % g.stride_h || th / g.stride_h >= g.in_h) continue;
      for (std::int64_t kw = 0; kw < g.kernel_w; ++kw) {
        const auto tw = ow + g.pad_left - kw * g.dilation_w;
        if (tw < 0 || tw % g.stride_w || tw / g.stride_w >= g.in_w) continue;
        const float* q = in + ((image * g.in_h + th / g.stride_h) * g.in_w + tw / g.stride_w) * g.in_c;
        for (std::int64_t i = 0; i < g.in_c; ++i) {
          const float* ws = w.data() + ((i * g.kernel_h + kh) * g.kernel_w + kw) * go;
          float* to = p + i / gi * go;
          for (std::int64_t o = 0; o < go; ++o) to[o] = fused_multiply_add(q[i], ws[o], to[o]);
        }
      }
    }
  }
};

/// Weights that another node computes: laid out anew in each run. Rare, so kept simple. src: x, weights o i h w, [bias].
struct computed_conv {
  static constexpr const char* name = "conv, weights at run time";
  kernels::conv_geometry geometry;
  clamp act;
  bool bias = false;

  std::int64_t units() const { return 1; }
  void operator()(const kernels::operands& io, work_range) const {
    const auto& g = geometry;
    const auto taps = g.kernel_h * g.kernel_w, in = g.group_in();
    const auto* from = static_cast<const float*>(io.src[1]);
    std::vector<float> w(static_cast<std::size_t>(g.out_c * taps * in));
    for (std::int64_t o = 0; o < g.out_c; ++o)
      for (std::int64_t i = 0; i < in; ++i)
        for (std::int64_t t = 0; t < taps; ++t)
          w[static_cast<std::size_t>((o * taps + t) * in + i)] = from[(o * in + i) * taps + t];
    const auto k = kernels::reference_kernels().conv(
        {.geometry = g, .weights = w.data(), .bias = bias ? static_cast<const float*>(io.src[2]) : nullptr, .act = act});
    k.run(k.object.get(), {.src = {io.src[0]}, .dst = io.dst}, nullptr, {0, k.units});
  }
};

/// y = x / (bias + alpha / size · Σ x² of the neighbouring channels)^beta. Pixels are work items.
struct local_response {
  static constexpr const char* name = "local response norm";
  std::int64_t pixels = 0, channels = 0, size = 1;
  float alpha = 0, beta = 0, bias = 1;

  std::int64_t units() const { return pixels; }
  void operator()(const kernels::operands& io, work_range r) const {
    for (auto row = r.begin; row < r.end; ++row) {
      const float* in = static_cast<const float*>(io.src[0]) + row * channels;
      float* out = static_cast<float*>(io.dst) + row * channels;
      for (std::int64_t i = 0; i < channels; ++i) {
        const auto lo = std::max<std::int64_t>(0, i - (size - 1) / 2);
        const auto hi = std::min(channels - 1, i + size / 2);
        float sum = 0;
        for (auto k = lo; k <= hi; ++k) sum = fused_multiply_add(in[k], in[k], sum);
        const float d = fused_multiply_add(alpha / static_cast<float>(size), sum, bias);
        out[i] = in[i] / binary_value(binary_kind::pow, d, beta);
      }
    }
  }
};

}  // namespace ptq::lowering
