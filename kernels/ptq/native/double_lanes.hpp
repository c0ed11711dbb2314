#pragma once
// SPDX-License-Identifier: Apache-2.0
// Registers of doubles, for sums that int32 and float are too narrow for (wide_sums.hpp). A register
// of int32 lanes is two halves of them. `clamp` keeps the specification's std::max, then std::min, as
// in dot_x86.hpp; conversions to integers round half to even.

#include <cstdint>
#include <cstring>

#include <ptq/core/numeric.hpp>
#include <ptq/native/dot.hpp>
#include <ptq/native/lanes.hpp>

namespace ptq::native {

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
    return _mm512_maskz_cvtepi32_pd(0xff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
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
    const __m512i both = _mm512_maskz_inserti64x4(
        0xff, _mm512_castsi256_si512(_mm512_maskz_cvtpd_epi32(0xff, first)),
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
    const __m512 x =
        _mm512_maskz_insertf32x8(0xffff, _mm512_castps256_ps512(_mm512_maskz_cvtpd_ps(0xff, first)),
                                 _mm512_maskz_cvtpd_ps(0xff, second), 1);
    S::store(to, S::clamp(x, S::set(low), S::set(high)));
  }
};
#endif

}  // namespace ptq::native
