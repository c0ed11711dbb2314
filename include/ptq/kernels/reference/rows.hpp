#pragma once
// SPDX-License-Identifier: Apache-2.0
// Reductions, softmax and layer normalisation, in the words of the specification. The order of
// accumulation is fixed:
//   along the innermost axis   16 partial results, element i going to i mod 16, joined 8-4-2-1
//   along any other axis       one after the other
// Sums of squares are chains of fused multiply-adds. A maximum or minimum is NaN where an element
// is.

#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include <ptq/core/elementary.hpp>
#include <ptq/kernels/args.hpp>
#include <ptq/kernels/table.hpp>

namespace ptq::kernels::reference {

namespace rows {

using lane = scalar_lane;
inline constexpr float infinity = std::numeric_limits<float>::infinity();

/// x[0], x[stride], …, folded by `step` (result, element) and, if contiguous, `join` (result,
/// result).
template <class Step, class Join>
inline float accumulate(const float* x, std::int64_t size, std::int64_t stride, float start,
                        Step step, Join join) {
  if (stride != 1) {
    for (std::int64_t i = 0; i < size; ++i) start = step(start, x[i * stride]);
    return start;
  }
  std::array<float, 16> part;
  part.fill(start);
  for (std::int64_t i = 0; i < size; ++i) {
    float& p = part[static_cast<std::size_t>(i % 16)];
    p = step(p, x[i]);
  }
  for (std::size_t half = 8; half > 0; half /= 2)
    for (std::size_t i = 0; i < half; ++i) part[i] = join(part[i], part[i + half]);
  return part[0];
}

inline float add(float a, float b) { return a + b; }

inline float sum(const float* x, std::int64_t size, std::int64_t stride) {
  return accumulate(x, size, stride, 0.0f, add, add);
}
inline float sum_square(const float* x, std::int64_t size, std::int64_t stride) {
  return accumulate(
      x, size, stride, 0.0f, [](float p, float v) { return fused_multiply_add(v, v, p); }, add);
}
inline float largest(const float* x, std::int64_t size, std::int64_t stride) {
  return accumulate(x, size, stride, -infinity, elementary::max<lane>, elementary::max<lane>);
}

/// log Σ e^x, shifted by the largest element where that is finite
inline float log_sum_exp(const float* x, std::int64_t size, std::int64_t stride) {
  const float m = largest(x, size, stride);
  const float shift = m - m == 0.0f ? m : 0.0f;
  const float s = accumulate(
      x, size, stride, 0.0f,
      [shift](float p, float v) { return p + elementary::exp<lane>(v - shift); }, add);
  return elementary::log<lane>(s) + shift;
}

inline float reduced(reduce_kind kind, const float* x, std::int64_t size, std::int64_t stride) {
  const auto multiply = [](float a, float b) { return a * b; };
  const auto add_abs = [](float p, float v) { return p + elementary::abs<lane>(v); };
  switch (kind) {
    case reduce_kind::mean:
      return sum(x, size, stride) / static_cast<float>(size);
    case reduce_kind::sum:
      return sum(x, size, stride);
    case reduce_kind::max:
      return largest(x, size, stride);
    case reduce_kind::min:
      return accumulate(x, size, stride, infinity, elementary::min<lane>, elementary::min<lane>);
    case reduce_kind::prod:
      return accumulate(x, size, stride, 1.0f, multiply, multiply);
    case reduce_kind::l1:
      return accumulate(x, size, stride, 0.0f, add_abs, add);
    case reduce_kind::l2:
      return std::sqrt(sum_square(x, size, stride));
    case reduce_kind::log_sum:
      return elementary::log<lane>(sum(x, size, stride));
    case reduce_kind::log_sum_exp:
      return log_sum_exp(x, size, stride);
    case reduce_kind::sum_square:
      return sum_square(x, size, stride);
  }
  return 0.0f;
}

struct layer_norm_object {
  layer_norm_args args;
  std::vector<float> scale, bias;  // empty where not constant
};

/// d = x − mean (rms: x), y = d / sqrt(mean(d²) + epsilon), then fma(y, scale, bias), y · scale or
/// y + bias. The destination holds d on the way.
inline void normalise(const layer_norm_args& args, const float* x, const float* scale,
                      const float* bias, float* y) {
  const auto n = static_cast<float>(args.size);
  const float mean = args.rms ? 0.0f : sum(x, args.size, 1) / n;
  for (std::int64_t i = 0; i < args.size; ++i) y[i] = x[i] - mean;
  const float deviation = std::sqrt(sum_square(y, args.size, 1) / n + args.epsilon);
  for (std::int64_t i = 0; i < args.size; ++i) {
    const float v = y[i] / deviation;
    if (scale && bias)
      y[i] = fused_multiply_add(v, scale[i], bias[i]);
    else if (scale)
      y[i] = v * scale[i];
    else if (bias)
      y[i] = v + bias[i];
    else
      y[i] = v;
  }
}

}  // namespace rows

/// One unit is one output.
inline prepared reduce(const reduce_args& args) {
  prepared p;
  p.object = std::make_shared<const reduce_args>(args);
  p.units = args.outer * args.inner;
  p.name = "reduce";
  p.run = [](const void* object, const operands& io, std::byte*, work_range range) {
    const auto& r = *static_cast<const reduce_args*>(object);
    const auto* src = static_cast<const float*>(io.src[0]);
    for (std::int64_t i = range.begin; i < range.end; ++i)
      static_cast<float*>(io.dst)[i] = rows::reduced(
          r.kind, src + i / r.inner * r.size * r.inner + i % r.inner, r.size, r.inner);
  };
  return p;
}

/// e = exp(x − max), y = e / Σe; log: y = (x − max) − log Σe; not normalized: y = e. One unit is one row along the axis.
inline prepared softmax(const softmax_args& args) {
  prepared p;
  p.object = std::make_shared<const softmax_args>(args);
  p.units = args.outer * args.inner;
  p.name = "softmax";
  p.run = [](const void* object, const operands& io, std::byte*, work_range range) {
    const auto& s = *static_cast<const softmax_args*>(object);
    using rows::lane;
    for (std::int64_t u = range.begin; u < range.end; ++u) {
      const std::int64_t at = u / s.inner * s.size * s.inner + u % s.inner;
      const float* x = static_cast<const float*>(io.src[0]) + at;
      float* y = static_cast<float*>(io.dst) + at;
      const float m = rows::largest(x, s.size, s.inner);
      const float total = rows::accumulate(
          x, s.size, s.inner, 0.0f,
          [m](float a, float v) { return a + elementary::exp<lane>(v - m); }, rows::add);
      const float log_total = elementary::log<lane>(total);
      for (std::int64_t i = 0; i < s.size; ++i) {
        const float d = x[i * s.inner] - m;
        y[i * s.inner] =
            s.log ? d - log_total : elementary::exp<lane>(d) / (s.normalized ? total : 1.0f);
      }
    }
  };
  return p;
}

/// One unit is one row. src: x, scale or null, bias or null; the last two count where args has
/// none.
inline prepared layer_norm(const layer_norm_args& args) {
  auto object = std::make_shared<rows::layer_norm_object>();
  object->args = args;
  if (args.scale) object->scale.assign(args.scale, args.scale + args.size);
  if (args.bias) object->bias.assign(args.bias, args.bias + args.size);
  prepared p;
  p.object = std::move(object);
  p.units = args.rows;
  p.name = "layer_norm";
  p.run = [](const void* held, const operands& io, std::byte*, work_range range) {
    const auto& o = *static_cast<const rows::layer_norm_object*>(held);
    const auto* scale = o.scale.empty() ? static_cast<const float*>(io.src[1]) : o.scale.data();
    const auto* bias = o.bias.empty() ? static_cast<const float*>(io.src[2]) : o.bias.data();
    for (std::int64_t r = range.begin; r < range.end; ++r)
      rows::normalise(o.args, static_cast<const float*>(io.src[0]) + r * o.args.size, scale, bias,
                      static_cast<float*>(io.dst) + r * o.args.size);
  };
  return p;
}

}  // namespace ptq::kernels::reference
