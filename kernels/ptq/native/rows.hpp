#pragma once
// SPDX-License-Identifier: Apache-2.0
// Reductions, softmax and layer normalisation in registers, in the order that the reference fixes:
// along contiguous rows 16 interleaved partial results, which are one, two or four registers, then
// a tree; along any other axis one element after the other, neighbours side by side in the lanes.

#include <cstdint>
#include <cstring>

#include <ptq/core/elementary.hpp>
#include <ptq/kernels/args.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/native/lanes.hpp>
#include <ptq/native/row_math.hpp>

namespace ptq::native {

template <class Isa>
struct reduce_kernel {
  using math = row_math<Isa>;
  using lane = lanes<Isa>;
  using real = typename lane::real;
  using scalar = scalar_lane_of<Isa>;
  axis_split<Isa> split;

  template <reduce_kind K>
  PTQ_ALWAYS_INLINE static float row(const float* x, std::int64_t n) {
    using enum reduce_kind;
    constexpr float inf = math::infinity;
    if constexpr (K == mean) return math::sum(x, n) / static_cast<float>(n);
    if constexpr (K == sum) return math::sum(x, n);
    if constexpr (K == max) return math::largest(x, n);
    if constexpr (K == min)
      return math::fold(x, n, inf, inf, typename math::smaller{}, typename math::smaller{});
    if constexpr (K == prod)
      return math::fold(x, n, 1.0f, 1.0f, typename math::multiply{}, typename math::multiply{});
    if constexpr (K == l1)
      return math::fold(x, n, 0.0f, 0.0f, typename math::add_abs{}, typename math::add{});
    if constexpr (K == l2) return scalar::sqrt(math::sum_square(x, n));
    if constexpr (K == log_sum) return elementary::log<scalar>(math::sum(x, n));
    if constexpr (K == sum_square) return math::sum_square(x, n);
    if constexpr (K == log_sum_exp) {
      const float m = math::largest(x, n), shift = m - m == 0.0f ? m : 0.0f;
      return elementary::log<scalar>(math::exp_sum(x, n, shift)) + shift;
    }
  }

  /// load(i) is element i of the axis, for each lane
  template <reduce_kind K, class Load>
  PTQ_ALWAYS_INLINE static real column(std::int64_t n, Load load) {
    using enum reduce_kind;
    const auto fold = [&](float start, auto step) PTQ_INLINE_LAMBDA {
      real p = lane::constant(start);
      for (std::int64_t i = 0; i < n; ++i) p = step(p, load(i));
      return p;
    };
    const typename math::add add;
    const typename math::add_square add_square;
    if constexpr (K == mean) return fold(0.0f, add) / lane::constant(static_cast<float>(n));
    if constexpr (K == sum) return fold(0.0f, add);
    if constexpr (K == max) return fold(-math::infinity, typename math::larger{});
    if constexpr (K == min) return fold(math::infinity, typename math::smaller{});
    if constexpr (K == prod) return fold(1.0f, typename math::multiply{});
    if constexpr (K == l1) return fold(0.0f, typename math::add_abs{});
    if constexpr (K == l2) return lane::sqrt(fold(0.0f, add_square));
    if constexpr (K == log_sum) return elementary::log<lane>(fold(0.0f, add));
    if constexpr (K == sum_square) return fold(0.0f, add_square);
    if constexpr (K == log_sum_exp) {
      const real m = fold(-math::infinity, typename math::larger{}), zero = lane::constant(0.0f);
      const real shift = lane::select(m - m == zero, m, zero);
      const real s = fold(0.0f, [shift](real p, real v) PTQ_INLINE_LAMBDA {
        return p + elementary::exp<lane>(v - shift);
      });
      return elementary::log<lane>(s) + shift;
    }
  }

  template <reduce_kind K>
  static void apply(const void* object, const kernels::operands& io, std::byte*, work_range range) {
    const auto& s = static_cast<const reduce_kernel*>(object)->split;
    const auto* src = static_cast<const float*>(io.src[0]);
    auto* dst = static_cast<float*>(io.dst);
    if (s.inner == 1) {
      s.for_rows(range, [&](std::int64_t r)
                            PTQ_INLINE_LAMBDA { dst[r] = row<K>(src + r * s.size, s.size); });
      return;
    }
    s.for_columns(range, [&](std::int64_t o, std::int64_t c, std::int64_t n) PTQ_INLINE_LAMBDA {
      const float* x = src + o * s.size * s.inner + c;
      const real y = column<K>(
          s.size, [&](std::int64_t i) PTQ_INLINE_LAMBDA { return math::load(x + i * s.inner, n); });
      math::store(dst + o * s.inner + c, y, n);
    });
  }
};

template <class Isa>
inline kernels::prepared reduce(const kernels::reduce_args& args) {
  using kernel = reduce_kernel<Isa>;
  using enum reduce_kind;
  auto p = blank<Isa>(sizeof(kernel));
  object_of<kernel>(p)->split = axis_split<Isa>::of(args.outer, args.size, args.inner);
  p.units = object_of<kernel>(p)->split.units();
  switch (args.kind) {
    case mean:
      p.run = &kernel::template apply<mean>;
      break;
    case sum:
      p.run = &kernel::template apply<sum>;
      break;
    case max:
      p.run = &kernel::template apply<max>;
      break;
    case min:
      p.run = &kernel::template apply<min>;
      break;
    case prod:
      p.run = &kernel::template apply<prod>;
      break;
    case l1:
      p.run = &kernel::template apply<l1>;
      break;
    case l2:
      p.run = &kernel::template apply<l2>;
      break;
    case log_sum:
      p.run = &kernel::template apply<log_sum>;
      break;
    case log_sum_exp:
      p.run = &kernel::template apply<log_sum_exp>;
      break;
    case sum_square:
      p.run = &kernel::template apply<sum_square>;
      break;
  }
  p.name = "reduce registers";
  return p;
}

template <class Isa>
struct softmax_kernel {
  using math = row_math<Isa>;
  using lane = lanes<Isa>;
  using real = typename lane::real;
  axis_split<Isa> split;
  bool log, normalized;

  /// The destination holds the exponentials on the way; the logarithm needs their sum alone.
  PTQ_ALWAYS_INLINE void row(const float* x, float* y) const {
    const float m = math::largest(x, split.size);
    const real shift = lane::constant(m);
    if (log) {
      const real log_sum = elementary::log<lane>(lane::constant(math::exp_sum(x, split.size, m)));
      math::each(split.size, [&](std::int64_t i, std::int64_t n) PTQ_INLINE_LAMBDA {
        math::store(y + i, math::load(x + i, n) - shift - log_sum, n);
      });
      return;
    }
    math::each(split.size, [&](std::int64_t i, std::int64_t n) PTQ_INLINE_LAMBDA {
      math::store(y + i, elementary::exp<lane>(math::load(x + i, n) - shift), n);
    });
    if (!normalized) return;
    const real sum = lane::constant(math::sum(y, split.size));
    math::each(split.size, [&](std::int64_t i, std::int64_t n) PTQ_INLINE_LAMBDA {
      math::store(y + i, math::load(y + i, n) / sum, n);
    });
  }
  PTQ_ALWAYS_INLINE void columns(const float* x, float* y, std::int64_t n) const {
    const std::int64_t step = split.inner;
    real m = lane::constant(-math::infinity), sum = lane::constant(0.0f);
    for (std::int64_t i = 0; i < split.size; ++i)
      m = elementary::max<lane>(m, math::load(x + i * step, n));
    for (std::int64_t i = 0; i < split.size; ++i) {
      const real d = math::load(x + i * step, n) - m, e = elementary::exp<lane>(d);
      sum = sum + e;
      math::store(y + i * step, log ? d : e, n);
    }
    if (!log && !normalized) return;
    const real log_sum = elementary::log<lane>(sum);
    for (std::int64_t i = 0; i < split.size; ++i) {
      const real v = math::load(y + i * step, n);
      math::store(y + i * step, log ? v - log_sum : v / sum, n);
    }
  }
  static void apply(const void* object, const kernels::operands& io, std::byte*, work_range range) {
    const auto& k = *static_cast<const softmax_kernel*>(object);
    const auto& s = k.split;
    const auto* src = static_cast<const float*>(io.src[0]);
    auto* dst = static_cast<float*>(io.dst);
    if (s.inner == 1) {
      s.for_rows(range, [&](std::int64_t r)
                            PTQ_INLINE_LAMBDA { k.row(src + r * s.size, dst + r * s.size); });
    } else {
      s.for_columns(range, [&](std::int64_t o, std::int64_t c, std::int64_t n) PTQ_INLINE_LAMBDA {
        const std::int64_t at = o * s.size * s.inner + c;
        k.columns(src + at, dst + at, n);
      });
    }
  }
};

template <class Isa>
inline kernels::prepared softmax(const kernels::softmax_args& args) {
  using kernel = softmax_kernel<Isa>;
  auto p = blank<Isa>(sizeof(kernel));
  auto& k = *object_of<kernel>(p);
  k.split = axis_split<Isa>::of(args.outer, args.size, args.inner);
  k.log = args.log;
  k.normalized = args.normalized;
  p.units = k.split.units();
  p.run = &kernel::apply;
  p.name = "softmax registers";
  return p;
}

template <class Isa>
struct layer_norm_kernel {
  using math = row_math<Isa>;
  using lane = lanes<Isa>;
  using real = typename lane::real;
  axis_split<Isa> split;
  float epsilon;
  bool rms, has_scale, has_bias;
  std::size_t scale_at, bias_at;

  template <bool Scale, bool Bias>
  PTQ_ALWAYS_INLINE void row(const float* x, float* y, const float* scale,
                             const float* bias) const {
    const auto size = static_cast<float>(split.size);
    const real mean = lane::constant(rms ? 0.0f : math::sum(x, split.size) / size);
    math::each(split.size, [&](std::int64_t i, std::int64_t n) PTQ_INLINE_LAMBDA {
      math::store(y + i, math::load(x + i, n) - mean, n);
    });
    const float variance = math::sum_square(y, split.size) / size;
    const real deviation = lane::sqrt(lane::constant(variance + epsilon));
    math::each(split.size, [&](std::int64_t i, std::int64_t n) PTQ_INLINE_LAMBDA {
      real v = math::load(y + i, n) / deviation;
      if constexpr (Scale && Bias)
        v = lane::fma(v, math::load(scale + i, n), math::load(bias + i, n));
      else if constexpr (Scale)
        v = v * math::load(scale + i, n);
      else if constexpr (Bias)
        v = v + math::load(bias + i, n);
      math::store(y + i, v, n);
    });
  }
  static void apply(const void* object, const kernels::operands& io, std::byte*, work_range range) {
    const auto& k = *static_cast<const layer_norm_kernel*>(object);
    const auto* src = static_cast<const float*>(io.src[0]);
    const auto* block = static_cast<const std::byte*>(object);
    const void* scale_source = k.has_scale ? block + k.scale_at : io.src[1];
    const void* bias_source = k.has_bias ? block + k.bias_at : io.src[2];
    const auto* scale = static_cast<const float*>(scale_source);
    const auto* bias = static_cast<const float*>(bias_source);
    auto* dst = static_cast<float*>(io.dst);
    k.split.for_rows(range, [&](std::int64_t r) {
      const float* x = src + r * k.split.size;
      float* y = dst + r * k.split.size;
      if (scale && bias)
        k.template row<true, true>(x, y, scale, bias);
      else if (scale)
        k.template row<true, false>(x, y, scale, bias);
      else if (bias)
        k.template row<false, true>(x, y, scale, bias);
      else
        k.template row<false, false>(x, y, scale, bias);
    });
  }
};

template <class Isa>
inline kernels::prepared layer_norm(const kernels::layer_norm_args& args) {
  using kernel = layer_norm_kernel<Isa>;
  block_layout<Isa> layout;
  layout.template add<kernel>(1);
  const std::size_t scale_at = layout.template add<float>(args.scale ? args.size : 0);
  const std::size_t bias_at = layout.template add<float>(args.bias ? args.size : 0);
  auto p = blank<Isa>(layout.bytes);
  auto& k = *object_of<kernel>(p);
  k = {axis_split<Isa>::of(args.rows, args.size, 1),
       args.epsilon,
       args.rms,
       args.scale != nullptr,
       args.bias != nullptr,
       scale_at,
       bias_at};
  const auto bytes = static_cast<std::size_t>(args.size) * sizeof(float);
  if (args.scale) std::memcpy(at_offset<float>(&k, scale_at), args.scale, bytes);
  if (args.bias) std::memcpy(at_offset<float>(&k, bias_at), args.bias, bytes);
  p.units = k.split.units();
  p.run = &kernel::apply;
  p.name = "layer_norm registers";
  return p;
}

}  // namespace ptq::native
