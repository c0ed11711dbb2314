#pragma once
// SPDX-License-Identifier: Apache-2.0
// What reductions, softmax and layer normalisation share: the accumulation that the reference
// fixes for contiguous rows (16 interleaved partial results, which are one, two or four registers,
// then a tree), steps over the elements of a row, and how [outer, size, inner] is cut into units.

#include <cstdint>
#include <limits>

#include <ptq/core/elementary.hpp>
#include <ptq/native/lanes.hpp>
#include <ptq/native/runs.hpp>

namespace ptq::native {

template <class Isa>
struct row_math {
  using lane = lanes<Isa>;
  using scalar = scalar_lane_of<Isa>;
  using real = typename lane::real;
  static constexpr int width = lane::width, count = 16 / width;
  static constexpr float infinity = std::numeric_limits<float>::infinity();

  /// Folds n contiguous floats. step(part, x) with x = fill leaves a part as it is.
  template <class Step, class Join>
  PTQ_ALWAYS_INLINE static float fold(const float* x, std::int64_t n, float start, float fill,
                                      Step step, Join join) {
    real part[count];
    for (real& p : part) p = lane::constant(start);
    const auto sixteen = [&](const float* p) PTQ_INLINE_LAMBDA {
      for (int k = 0; k < count; ++k) part[k] = step(part[k], lane::load(p + k * width));
    };
    std::int64_t i = 0;
    for (; i + 16 <= n; i += 16) sixteen(x + i);
    alignas(64) float last[16];
    if (i < n) {
      for (std::int64_t j = 0; j < 16; ++j) last[j] = i + j < n ? x[i + j] : fill;
      sixteen(last);
    }
    for (int k = 0; k < count; ++k) lane::store(last + k * width, part[k]);
    for (int half = 8; half > 0; half /= 2)
      for (int j = 0; j < half; ++j) last[j] = join(last[j], last[j + half]);
    return last[0];
  }

  struct add {
    template <class T>
    PTQ_ALWAYS_INLINE T operator()(T a, T b) const {
      return a + b;
    }
  };
  struct multiply {
    template <class T>
    PTQ_ALWAYS_INLINE T operator()(T a, T b) const {
      return a * b;
    }
  };
  struct add_square {
    PTQ_ALWAYS_INLINE real operator()(real a, real b) const { return lane::fma(b, b, a); }
  };
  struct add_abs {
    PTQ_ALWAYS_INLINE real operator()(real a, real b) const { return a + elementary::abs<lane>(b); }
  };
  struct larger {
    PTQ_ALWAYS_INLINE real operator()(real a, real b) const { return elementary::max<lane>(a, b); }
    PTQ_ALWAYS_INLINE float operator()(float a, float b) const {
      return elementary::max<scalar>(a, b);
    }
  };
  struct smaller {
    PTQ_ALWAYS_INLINE real operator()(real a, real b) const { return elementary::min<lane>(a, b); }
    PTQ_ALWAYS_INLINE float operator()(float a, float b) const {
      return elementary::min<scalar>(a, b);
    }
  };

  PTQ_ALWAYS_INLINE static float sum(const float* x, std::int64_t n) {
    return fold(x, n, 0.0f, 0.0f, add{}, add{});
  }
  PTQ_ALWAYS_INLINE static float sum_square(const float* x, std::int64_t n) {
    return fold(x, n, 0.0f, 0.0f, add_square{}, add{});
  }
  PTQ_ALWAYS_INLINE static float largest(const float* x, std::int64_t n) {
    return fold(x, n, -infinity, -infinity, larger{}, larger{});
  }
  PTQ_ALWAYS_INLINE static float exp_sum(const float* x, std::int64_t n, float shift) {
    const real m = lane::constant(shift);
    return fold(
        x, n, 0.0f, -infinity,
        [m](real p, real v) PTQ_INLINE_LAMBDA { return p + elementary::exp<lane>(v - m); }, add{});
  }
  /// f(i, number of lanes) over n elements
  template <class F>
  PTQ_ALWAYS_INLINE static void each(std::int64_t n, F f) {
    std::int64_t i = 0;
    for (; i + width <= n; i += width) f(i, std::int64_t{width});
    if (i < n) f(i, n - i);
  }
  PTQ_ALWAYS_INLINE static real load(const float* p, std::int64_t n) {
    return n == width ? lane::load(p) : lane::load(p, n);
  }
  PTQ_ALWAYS_INLINE static void store(float* p, real v, std::int64_t n) {
    n == width ? lane::store(p, v) : lane::store(p, v, n);
  }
};

/// Units over [outer, size, inner]: groups of rows if inner is 1, otherwise stripes of columns.
template <class Isa>
struct axis_split {
  static constexpr std::int64_t stripe = 64;
  std::int64_t outer, size, inner, group, stripes;

  static axis_split of(std::int64_t outer, std::int64_t size, std::int64_t inner) {
    std::int64_t group = chunk_elements / (size < 1 ? 1 : size);
    group = group < 1 ? 1 : group;
    return {outer, size, inner, group, (inner + stripe - 1) / stripe};
  }
  std::int64_t units() const { return inner == 1 ? (outer + group - 1) / group : outer * stripes; }
  template <class F>
  PTQ_ALWAYS_INLINE void for_rows(work_range range, F f) const {
    const std::int64_t last = least<Isa>(range.end * group, outer);
    for (std::int64_t r = range.begin * group; r < last; ++r) f(r);
  }
  /// f(outer index, column, columns): at most a register of columns
  template <class F>
  PTQ_ALWAYS_INLINE void for_columns(work_range range, F f) const {
    constexpr std::int64_t width = lanes<Isa>::width;
    for (std::int64_t u = range.begin; u < range.end; ++u) {
      const std::int64_t begin = u % stripes * stripe, end = least<Isa>(begin + stripe, inner);
      for (std::int64_t c = begin; c < end; c += width)
        f(u / stripes, c, least<Isa>(width, end - c));
    }
  }
};

}  // namespace ptq::native
