#pragma once
// SPDX-License-Identifier: Apache-2.0
// From int32 sums of 16-bit products to the destination: what a block of K came to joins the other
// blocks in double, where every sum below 2^53 is exact, and is requantized there as
// requantize_wide says. Sums of a column may come in two parts, of its weights' high and low
// bytes: 256 · high + low.
//
// The product is followed by a clamp, so that no compiler can fuse it with an addition; 256 · high
// + low is exact fused or not. The conversion to integers rounds half to even.

#include <cstdint>
#include <cstring>

#include <ptq/core/numeric.hpp>
#include <ptq/kernels/args.hpp>
#include <ptq/native/dot.hpp>
#include <ptq/native/epilogue.hpp>
#include <ptq/native/lanes.hpp>

namespace ptq::native {

/// A wide_conv_args' destination, as the arithmetic wants it.
struct wide_rule {
  dtype type = dtype::u16;
  double low = 0, high = 65535;  // lo − z, hi − z
  std::int32_t zero_point = 0;
  float float_low = 0, float_high = 0;

  PTQ_ALWAYS_INLINE std::int64_t element() const {
    return type == dtype::f32 ? 4 : type == dtype::u16 ? 2 : 1;
  }
};

template <class Isa>
PTQ_ALWAYS_INLINE wide_rule make_wide_rule(const kernels::wide_conv_args& a) {
  return {a.y_type,
          static_cast<double>(a.low - a.zero_point),
          static_cast<double>(a.high - a.zero_point),
          a.zero_point,
          a.float_low,
          a.float_high};
}

/// A register's lanes of int32 as doubles, in two halves, and back.
template <class Isa, int Bytes>
struct double_lanes {  // plain C++
  static constexpr int lanes = simd<Isa, Bytes>::lanes, width = lanes / 2;
  struct reals {
    double v[static_cast<std::size_t>(width)];
  };
  template <class F>
  static PTQ_ALWAYS_INLINE reals each(F f) {
    reals r;
    for (int i = 0; i < width; ++i) r.v[i] = f(i);
    return r;
  }
  static reals of(const std::int32_t* p) {
    return each([&](int i) { return static_cast<double>(p[i]); });
  }
  static reals load(const double* p) {
    return each([&](int i) { return p[i]; });
  }
  static void store(double* p, reals x) { std::memcpy(p, x.v, sizeof x.v); }
  static reals set(double x) {
    return each([&](int) { return x; });
  }
  static reals add(reals a, reals b) {
    return each([&](int i) { return a.v[i] + b.v[i]; });
  }
  static reals multiply(reals a, reals b) {
    return each([&](int i) { return a.v[i] * b.v[i]; });
  }
  static reals clamp(reals x, reals low, reals high) {
    return each([&](int i) {
      const double y = x.v[i] < low.v[i] ? low.v[i] : x.v[i];
      return high.v[i] < y ? high.v[i] : y;
    });
  }
  template <class Code>
  static void store_codes(Code* to, reals first, reals second, std::int32_t zero_point) {
    for (int i = 0; i < lanes; ++i) {
      const double x = i < width ? first.v[i] : second.v[i - width];
      to[i] = static_cast<Code>(requantize_wide(1, x, 0, -65535, 65535) + zero_point);
    }
  }
  static void store_reals(float* to, reals first, reals second, float low, float high) {
    for (int i = 0; i < lanes; ++i) {
      const auto x = static_cast<float>(i < width ? first.v[i] : second.v[i - width]);
      const float y = x < low ? low : x;
      to[i] = high < y ? high : y;
    }
  }
};

#if XSIMD_WITH_SSE2
template <class Isa>
struct double_lanes<Isa, 16> {
  using S = simd<Isa, 16>;
  static constexpr int width = 2;
  using reals = __m128d;
  static PTQ_ALWAYS_INLINE reals of(const std::int32_t* p) {
    return _mm_cvtepi32_pd(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }
  static PTQ_ALWAYS_INLINE reals load(const double* p) { return _mm_loadu_pd(p); }
  static PTQ_ALWAYS_INLINE void store(double* p, reals x) { _mm_storeu_pd(p, x); }
  static PTQ_ALWAYS_INLINE reals set(double x) { return _mm_set1_pd(x); }
  static PTQ_ALWAYS_INLINE reals add(reals a, reals b) { return _mm_add_pd(a, b); }
  static PTQ_ALWAYS_INLINE reals multiply(reals a, reals b) { return _mm_mul_pd(a, b); }
  static PTQ_ALWAYS_INLINE reals clamp(reals x, reals low, reals high) {
    return _mm_min_pd(high, _mm_max_pd(low, x));
  }
  static PTQ_ALWAYS_INLINE __m128i whole(reals first, reals second, std::int32_t zero_point) {
    return _mm_add_epi32(_mm_unpacklo_epi64(_mm_cvtpd_epi32(first), _mm_cvtpd_epi32(second)),
                         _mm_set1_epi32(zero_point));
  }
  static PTQ_ALWAYS_INLINE void store_codes(std::uint16_t* to, reals first, reals second,
                                            std::int32_t zero_point) {
    // SSE2 packs to signed words alone
    const __m128i codes = whole(first, second, zero_point - 32768);
    const __m128i words = _mm_packs_epi32(codes, codes);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to),
                     _mm_xor_si128(words, _mm_set1_epi16(static_cast<short>(0x8000))));
  }
  static PTQ_ALWAYS_INLINE void store_codes(std::uint8_t* to, reals first, reals second,
                                            std::int32_t zero_point) {
    native::store_codes(to, whole(first, second, zero_point));
  }
  static PTQ_ALWAYS_INLINE void store_reals(float* to, reals first, reals second, float low,
                                            float high) {
    const __m128 x = _mm_movelh_ps(_mm_cvtpd_ps(first), _mm_cvtpd_ps(second));
    S::store(to, S::clamp(x, S::set(low), S::set(high)));
  }
};
#endif

#if XSIMD_WITH_AVX2
template <class Isa>
struct double_lanes<Isa, 32> {
  using S = simd<Isa, 32>;
  static constexpr int width = 4;
  using reals = __m256d;
  static PTQ_ALWAYS_INLINE reals of(const std::int32_t* p) {
    return _mm256_cvtepi32_pd(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static PTQ_ALWAYS_INLINE reals load(const double* p) { return _mm256_loadu_pd(p); }
  static PTQ_ALWAYS_INLINE void store(double* p, reals x) { _mm256_storeu_pd(p, x); }
  static PTQ_ALWAYS_INLINE reals set(double x) { return _mm256_set1_pd(x); }
  static PTQ_ALWAYS_INLINE reals add(reals a, reals b) { return _mm256_add_pd(a, b); }
  static PTQ_ALWAYS_INLINE reals multiply(reals a, reals b) { return _mm256_mul_pd(a, b); }
  static PTQ_ALWAYS_INLINE reals clamp(reals x, reals low, reals high) {
    return _mm256_min_pd(high, _mm256_max_pd(low, x));
  }
  static PTQ_ALWAYS_INLINE void store_codes(std::uint16_t* to, reals first, reals second,
                                            std::int32_t zero_point) {
    const __m128i z = _mm_set1_epi32(zero_point);
    const __m128i a = _mm_add_epi32(_mm256_cvtpd_epi32(first), z);
    const __m128i b = _mm_add_epi32(_mm256_cvtpd_epi32(second), z);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_packus_epi32(a, b));
  }
  static PTQ_ALWAYS_INLINE void store_codes(std::uint8_t* to, reals first, reals second,
                                            std::int32_t zero_point) {
    const __m128i z = _mm_set1_epi32(zero_point);
    const __m128i a = _mm_add_epi32(_mm256_cvtpd_epi32(first), z);
    const __m128i b = _mm_add_epi32(_mm256_cvtpd_epi32(second), z);
    const __m128i words = _mm_packs_epi32(a, b);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packus_epi16(words, words));
  }
  static PTQ_ALWAYS_INLINE void store_reals(float* to, reals first, reals second, float low,
                                            float high) {
    const __m256 x = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm256_cvtpd_ps(first)),
                                          _mm256_cvtpd_ps(second), 1);
    S::store(to, S::clamp(x, S::set(low), S::set(high)));
  }
};
#endif

#if XSIMD_WITH_AVX512BW && defined(__AVX512DQ__)
// The forms with a full zeroing mask are the plain instructions, see lanes.hpp.
template <class Isa>
struct double_lanes<Isa, 64> {
  using S = simd<Isa, 64>;
  static constexpr int width = 8;
  using reals = __m512d;
  static PTQ_ALWAYS_INLINE reals of(const std::int32_t* p) {
    return _mm512_maskz_cvtepi32_pd(0xff,
                                    _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static PTQ_ALWAYS_INLINE reals load(const double* p) { return _mm512_loadu_pd(p); }
  static PTQ_ALWAYS_INLINE void store(double* p, reals x) { _mm512_storeu_pd(p, x); }
  static PTQ_ALWAYS_INLINE reals set(double x) { return _mm512_set1_pd(x); }
  static PTQ_ALWAYS_INLINE reals add(reals a, reals b) { return _mm512_add_pd(a, b); }
  static PTQ_ALWAYS_INLINE reals multiply(reals a, reals b) { return _mm512_mul_pd(a, b); }
  static PTQ_ALWAYS_INLINE reals clamp(reals x, reals low, reals high) {
    return _mm512_maskz_min_pd(0xff, high, _mm512_maskz_max_pd(0xff, low, x));
  }
  static PTQ_ALWAYS_INLINE __m512i whole(reals first, reals second, std::int32_t zero_point) {
    const __m512i both =
        _mm512_maskz_inserti64x4(0xff, _mm512_castsi256_si512(_mm512_maskz_cvtpd_epi32(0xff, first)),
                                 _mm512_maskz_cvtpd_epi32(0xff, second), 1);
    return _mm512_add_epi32(both, _mm512_set1_epi32(zero_point));
  }
  static PTQ_ALWAYS_INLINE void store_codes(std::uint16_t* to, reals first, reals second,
                                            std::int32_t zero_point) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                        _mm512_maskz_cvtepi32_epi16(0xffff, whole(first, second, zero_point)));
  }
  static PTQ_ALWAYS_INLINE void store_codes(std::uint8_t* to, reals first, reals second,
                                            std::int32_t zero_point) {
    native::store_codes(to, whole(first, second, zero_point));
  }
  static PTQ_ALWAYS_INLINE void store_reals(float* to, reals first, reals second, float low,
                                            float high) {
    const __m512 x = _mm512_maskz_insertf32x8(
        0xffff, _mm512_castps256_ps512(_mm512_maskz_cvtpd_ps(0xff, first)),
        _mm512_maskz_cvtpd_ps(0xff, second), 1);
    S::store(to, S::clamp(x, S::set(low), S::set(high)));
  }
};
#endif

/// Sums of a tile: rows of `pitch` int32, each channel vector's Parts registers behind each other;
/// `before`, where not null: what earlier blocks came to, rows of `before_pitch` doubles.
struct wide_tile {
  const std::int32_t* sums = nullptr;
  std::int64_t pitch = 0;
  double* before = nullptr;
  std::int64_t before_pitch = 0;
  std::int64_t rows = 0;
  int vectors = 0;  // of channels
};

/// Half `h` of channel vector `v` of a row.
template <class Isa, int Parts>
PTQ_ALWAYS_INLINE auto wide_half(const std::int32_t* sums, int v, int h) {
  using D = double_lanes<Isa, register_bytes<Isa>>;
  const std::int32_t* p = sums + (2 * Parts * v + h) * D::width;
  if constexpr (Parts == 1) return D::of(p);
  else return D::add(D::multiply(D::of(p), D::set(256)), D::of(p + 2 * D::width));
}

/// Keeps what a block came to, added to what was before it.
template <class Isa, int Parts>
void add_wide_sums(const wide_tile& t, bool first) {
  using D = double_lanes<Isa, register_bytes<Isa>>;
  for (std::int64_t row = 0; row < t.rows; ++row)
    for (int v = 0; v < t.vectors; ++v)
      unrolled<2>([&](auto half) PTQ_INLINE_LAMBDA {
        constexpr int h = decltype(half)::value;
        double* to = t.before + row * t.before_pitch + (2 * v + h) * D::width;
        auto x = wide_half<Isa, Parts>(t.sums + row * t.pitch, v, h);
        if (!first) x = D::add(x, D::load(to));
        D::store(to, x);
      });
}

/// Where requantized rows go: `columns` of the first row from dst on, `stride` elements apart.
struct wide_target {
  std::byte* dst = nullptr;
  std::int64_t stride = 0, columns = 0;
};

template <class Isa, int Parts, class Y, bool Before>
void store_wide_rows(const wide_tile& t, const wide_rule& given, const double* constant,
                     const double* multiplier, const wide_target& to) {
  using D = double_lanes<Isa, register_bytes<Isa>>;
  using reals = typename D::reals;
  constexpr int lanes = 2 * D::width;
  // copies: stores of codes may alias anything that is not local
  const wide_rule rule = given;
  const std::int64_t rows = t.rows, pitch = t.pitch, before_pitch = t.before_pitch;
  const std::int64_t stride = to.stride, columns = to.columns;
  const int vectors = t.vectors;
  const reals low = D::set(rule.low), high = D::set(rule.high);
  for (int v = 0; v < vectors; ++v) {
    const std::int32_t* sums = t.sums;
    const double* before = Before ? t.before + v * lanes : nullptr;
    Y* y = reinterpret_cast<Y*>(to.dst) + v * lanes;
    const std::int64_t left = columns - v * lanes;
    reals c[2], m[2];
    unrolled<2>([&](auto half) PTQ_INLINE_LAMBDA {
      constexpr int h = decltype(half)::value;
      c[h] = D::load(constant + (2 * v + h) * D::width);
      m[h] = D::load(multiplier + (2 * v + h) * D::width);
    });
    for (std::int64_t row = 0; row < rows; ++row, sums += pitch, y += stride) {
      reals x[2];
      unrolled<2>([&](auto half) PTQ_INLINE_LAMBDA {
        constexpr int h = decltype(half)::value;
        x[h] = D::add(wide_half<Isa, Parts>(sums, v, h), c[h]);
        if constexpr (Before) x[h] = D::add(x[h], D::load(before + h * D::width));
        x[h] = D::multiply(x[h], m[h]);
        if constexpr (sizeof(Y) < 4) x[h] = D::clamp(x[h], low, high);
      });
      if constexpr (Before) before += before_pitch;
      Y few[static_cast<std::size_t>(lanes)];
      Y* out = left < lanes ? few : y;
      if constexpr (sizeof(Y) == 4)
        D::store_reals(out, x[0], x[1], rule.float_low, rule.float_high);
      else
        D::store_codes(out, x[0], x[1], rule.zero_point);
      if (left < lanes)
        copy_few<Isa, lanes * static_cast<int>(sizeof(Y)) / 2>(
            y, few, left * static_cast<std::int64_t>(sizeof(Y)));
    }
  }
}

template <class Isa, int Parts, class Y>
PTQ_ALWAYS_INLINE void store_wide_as(const wide_tile& t, const wide_rule& rule,
                                     const double* constant, const double* multiplier,
                                     const wide_target& to) {
  t.before ? store_wide_rows<Isa, Parts, Y, true>(t, rule, constant, multiplier, to)
           : store_wide_rows<Isa, Parts, Y, false>(t, rule, constant, multiplier, to);
}

/// Requantizes a tile; constant and multiplier have its columns, padding included.
template <class Isa, int Parts>
PTQ_ALWAYS_INLINE void store_wide(const wide_tile& t, const wide_rule& rule, const double* constant,
                                  const double* multiplier, const wide_target& to) {
  if (rule.type == dtype::u16)
    store_wide_as<Isa, Parts, std::uint16_t>(t, rule, constant, multiplier, to);
  else if (rule.type == dtype::f32)
    store_wide_as<Isa, Parts, float>(t, rule, constant, multiplier, to);
  else
    store_wide_as<Isa, Parts, std::uint8_t>(t, rule, constant, multiplier, to);
}

}  // namespace ptq::native
