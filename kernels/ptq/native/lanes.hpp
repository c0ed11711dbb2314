#pragma once
// SPDX-License-Identifier: Apache-2.0
// Registers of floats as lanes of the elementary functions (core/lane.hpp states the rules), with
// loads and stores of whole registers, of the first n elements, and of u8 codes. Every operation
// has the bits of the scalar lane's. Nothing reads or writes past the n elements that it is given.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <ptq/core/lane.hpp>
#include <ptq/native/isa.hpp>
#include <ptq/native/object.hpp>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace ptq::native {

/// fused_multiply_add on the registers of plain C++ (`simd` without intrinsics).
template <class Isa, class Floats>
requires requires(Floats x) { x.v[0]; }
PTQ_ALWAYS_INLINE Floats fused(Floats a, Floats b, Floats c) {
  for (std::size_t i = 0; i < sizeof(Floats) / sizeof(float); ++i)
    c.v[i] = fused_multiply_add(a.v[i], b.v[i], c.v[i]);
  return c;
}

#if defined(__SSE2__)
PTQ_ALWAYS_INLINE __m128 rounded(__m128 x) {
#if defined(__SSE4_1__)
  return _mm_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
  // Adding and subtracting 2^23 rounds; there is no FMA below SSE4.1 that could swallow the
  // addition.
  const __m128 sign = _mm_and_ps(x, _mm_set1_ps(-0.0f)), a = _mm_xor_ps(x, sign);
  const __m128 magic = _mm_set1_ps(8388608.0f);
  const __m128 r = _mm_or_ps(_mm_sub_ps(_mm_add_ps(a, magic), magic), sign);
  const __m128 small = _mm_cmplt_ps(a, magic);  // not NaN, not integral already
  return _mm_or_ps(_mm_and_ps(small, r), _mm_andnot_ps(small, x));
#endif
}
/// Two products and sums in double, rounded to odd so that the conversion to float rounds once
/// (Boldo & Melquiond 2008).
PTQ_ALWAYS_INLINE __m128d fused_odd(__m128d a, __m128d b, __m128d c) {
  const __m128d p = _mm_mul_pd(a, b), s = _mm_add_pd(p, c), t = _mm_sub_pd(s, p);  // p is exact
  const __m128d error = _mm_add_pd(_mm_sub_pd(p, _mm_sub_pd(s, t)), _mm_sub_pd(c, t));
  const __m128d zero = _mm_setzero_pd();
  const __m128i up = _mm_castpd_si128(_mm_cmplt_pd(zero, error));
  const __m128i down = _mm_castpd_si128(_mm_cmplt_pd(error, zero));
  const __m128i bits = _mm_castpd_si128(s), one = _mm_set_epi64x(1, 1);
  const __m128i negative = _mm_castpd_si128(_mm_cmplt_pd(s, zero));
  // An inexact even s moves one step towards the exact sum: away from zero if the error has the
  // sign of s.
  const __m128i even = _mm_sub_epi64(_mm_and_si128(bits, one), one);  // all ones where even
  const __m128i inexact = _mm_and_si128(_mm_or_si128(up, down), even);
  const __m128i shrink = _mm_xor_si128(down, negative);
  const __m128i step = _mm_or_si128(_mm_and_si128(inexact, one), _mm_and_si128(inexact, shrink));
  return _mm_castsi128_pd(_mm_add_epi64(bits, step));
}
#if defined(__FMA__)
template <class Isa>
PTQ_ALWAYS_INLINE __m128 fused(__m128 a, __m128 b, __m128 c) {
  return _mm_fmadd_ps(a, b, c);
}
#else
template <class Isa>
[[gnu::noinline]] __m128 fused_carefully(__m128 a, __m128 b, __m128 c) {
  const __m128d low = fused_odd(_mm_cvtps_pd(a), _mm_cvtps_pd(b), _mm_cvtps_pd(c));
  const __m128d high =
      fused_odd(_mm_cvtps_pd(_mm_movehl_ps(a, a)), _mm_cvtps_pd(_mm_movehl_ps(b, b)),
                _mm_cvtps_pd(_mm_movehl_ps(c, c)));
  return _mm_movelh_ps(_mm_cvtpd_ps(low), _mm_cvtpd_ps(high));
}
/// The product is exact in double, the sum is rounded once there and once to float. That differs
/// from one rounding only if the double lies halfway between two floats: its low 29 bits are
/// 1 00…0, or it is below the normal floats, where halves lie elsewhere.
template <class Isa>
PTQ_ALWAYS_INLINE __m128 fused(__m128 a, __m128 b, __m128 c) {
  const __m128d low = _mm_add_pd(_mm_mul_pd(_mm_cvtps_pd(a), _mm_cvtps_pd(b)), _mm_cvtps_pd(c));
  const __m128d high =
      _mm_add_pd(_mm_mul_pd(_mm_cvtps_pd(_mm_movehl_ps(a, a)), _mm_cvtps_pd(_mm_movehl_ps(b, b))),
                 _mm_cvtps_pd(_mm_movehl_ps(c, c)));
  const __m128 x = _mm_castpd_ps(low), y = _mm_castpd_ps(high);
  const __m128i tails = _mm_castps_si128(_mm_shuffle_ps(x, y, _MM_SHUFFLE(2, 0, 2, 0)));
  const __m128i heads = _mm_and_si128(
      _mm_set1_epi32(0x7fffffff), _mm_castps_si128(_mm_shuffle_ps(x, y, _MM_SHUFFLE(3, 1, 3, 1))));
  const __m128i halfway =
      _mm_cmpeq_epi32(_mm_and_si128(tails, _mm_set1_epi32(0x1fffffff)), _mm_set1_epi32(0x10000000));
  // 0x381 is the exponent of 2^-126; a sum of floats is 0 or far above the subnormal doubles.
  const __m128i below = _mm_and_si128(_mm_cmplt_epi32(heads, _mm_set1_epi32(0x38100000)),
                                      _mm_cmpgt_epi32(heads, _mm_setzero_si128()));
  if (__builtin_expect(_mm_movemask_epi8(_mm_or_si128(halfway, below)) != 0, 0))
    return fused_carefully<Isa>(a, b, c);
  return _mm_movelh_ps(_mm_cvtpd_ps(low), _mm_cvtpd_ps(high));
}
#endif
PTQ_ALWAYS_INLINE __m128 lesser(__m128 a, __m128 b) { return _mm_min_ps(a, b); }
PTQ_ALWAYS_INLINE __m128 greater(__m128 a, __m128 b) { return _mm_max_ps(a, b); }
PTQ_ALWAYS_INLINE __m128i truncated(__m128 x) { return _mm_cvttps_epi32(x); }
PTQ_ALWAYS_INLINE __m128i load_codes(const std::uint8_t* p, __m128i) {
  std::int32_t four;
  std::memcpy(&four, p, 4);
  const __m128i v = _mm_cvtsi32_si128(four), zero = _mm_setzero_si128();
  return _mm_unpacklo_epi16(_mm_unpacklo_epi8(v, zero), zero);
}
PTQ_ALWAYS_INLINE void store_codes(std::uint8_t* p, __m128i v) {
  const __m128i words = _mm_packs_epi32(v, v);
  const std::int32_t four = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
  std::memcpy(p, &four, 4);
}
#endif

#if defined(__AVX2__) && defined(__FMA__)
PTQ_ALWAYS_INLINE __m256 rounded(__m256 x) {
  return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
template <class Isa>
PTQ_ALWAYS_INLINE __m256 fused(__m256 a, __m256 b, __m256 c) {
  return _mm256_fmadd_ps(a, b, c);
}
PTQ_ALWAYS_INLINE __m256 lesser(__m256 a, __m256 b) { return _mm256_min_ps(a, b); }
PTQ_ALWAYS_INLINE __m256 greater(__m256 a, __m256 b) { return _mm256_max_ps(a, b); }
PTQ_ALWAYS_INLINE __m256i truncated(__m256 x) { return _mm256_cvttps_epi32(x); }
PTQ_ALWAYS_INLINE __m256i load_codes(const std::uint8_t* p, __m256i) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}
PTQ_ALWAYS_INLINE void store_codes(std::uint8_t* p, __m256i v) {
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
}
#endif

#if defined(__AVX512F__)
// The forms with a full zeroing mask are the plain instructions; the plain intrinsics of g++ 12
// warn of a register that they leave undefined on purpose.
PTQ_ALWAYS_INLINE __m512 rounded(__m512 x) {
  return _mm512_maskz_roundscale_ps(0xffff, x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
template <class Isa>
PTQ_ALWAYS_INLINE __m512 fused(__m512 a, __m512 b, __m512 c) {
  return _mm512_fmadd_ps(a, b, c);
}
PTQ_ALWAYS_INLINE __m512 lesser(__m512 a, __m512 b) { return _mm512_maskz_min_ps(0xffff, a, b); }
PTQ_ALWAYS_INLINE __m512 greater(__m512 a, __m512 b) { return _mm512_maskz_max_ps(0xffff, a, b); }
PTQ_ALWAYS_INLINE __m512i truncated(__m512 x) { return _mm512_maskz_cvttps_epi32(0xffff, x); }
PTQ_ALWAYS_INLINE __m512i load_codes(const std::uint8_t* p, __m512i) {
  return _mm512_maskz_cvtepu8_epi32(0xffff, _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
PTQ_ALWAYS_INLINE void store_codes(std::uint8_t* p, __m512i v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_maskz_cvtepi32_epi8(0xffff, v));
}
#endif

#if defined(__aarch64__)
PTQ_ALWAYS_INLINE float32x4_t rounded(float32x4_t x) { return vrndnq_f32(x); }
template <class Isa>
PTQ_ALWAYS_INLINE float32x4_t fused(float32x4_t a, float32x4_t b, float32x4_t c) {
  return vfmaq_f32(c, a, b);
}
PTQ_ALWAYS_INLINE float32x4_t lesser(float32x4_t a, float32x4_t b) {
  return vbslq_f32(vcltq_f32(a, b), a, b);
}
PTQ_ALWAYS_INLINE float32x4_t greater(float32x4_t a, float32x4_t b) {
  return vbslq_f32(vcgtq_f32(a, b), a, b);
}
PTQ_ALWAYS_INLINE int32x4_t truncated(float32x4_t x) { return vcvtq_s32_f32(x); }
PTQ_ALWAYS_INLINE int32x4_t load_codes(const std::uint8_t* p, int32x4_t) {
  std::uint32_t four;
  std::memcpy(&four, p, 4);
  const uint8x8_t v = vreinterpret_u8_u32(vdup_n_u32(four));
  return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(v))));
}
PTQ_ALWAYS_INLINE void store_codes(std::uint8_t* p, int32x4_t v) {
  const uint16x4_t words = vqmovun_s32(v);
  const std::uint32_t four =
      vget_lane_u32(vreinterpret_u32_u8(vmovn_u16(vcombine_u16(words, words))), 0);
  std::memcpy(p, &four, 4);
}
#endif

/// The registers of `Isa` as a lane.
template <class Isa>
struct lanes {
  using real = f32s<Isa>;
  using whole = s32s<Isa>;
  using truth = typename real::batch_bool_type;
  using real_register = typename real::register_type;
  using whole_register = typename whole::register_type;
  static constexpr int width = static_cast<int>(real::size);

  PTQ_ALWAYS_INLINE static real constant(float v) { return real(v); }
  PTQ_ALWAYS_INLINE static whole constant_whole(std::int32_t v) { return whole(v); }
  PTQ_ALWAYS_INLINE static real fma(real a, real b, real c) {
    return real(fused<Isa>(static_cast<real_register>(a), static_cast<real_register>(b),
                           static_cast<real_register>(c)));
  }
  PTQ_ALWAYS_INLINE static real sqrt(real x) { return xsimd::sqrt(x); }
  PTQ_ALWAYS_INLINE static real select(truth t, real a, real b) { return xsimd::select(t, a, b); }
  PTQ_ALWAYS_INLINE static truth both(truth a, truth b) { return a & b; }
  PTQ_ALWAYS_INLINE static truth either(truth a, truth b) { return a | b; }
  PTQ_ALWAYS_INLINE static truth unordered(real x) { return xsimd::isnan(x); }
  PTQ_ALWAYS_INLINE static whole bits(real x) { return xsimd::bitwise_cast<whole>(x); }
  PTQ_ALWAYS_INLINE static real from_bits(whole x) { return xsimd::bitwise_cast<real>(x); }
  PTQ_ALWAYS_INLINE static whole to_whole(real x) {
    return whole(truncated(static_cast<real_register>(x)));
  }
  PTQ_ALWAYS_INLINE static real to_real(whole x) { return xsimd::to_float(x); }
  PTQ_ALWAYS_INLINE static whole shift_left_23(whole x) { return x << 23; }
  PTQ_ALWAYS_INLINE static whole shift_right_23(whole x) { return x >> 23; }
  PTQ_ALWAYS_INLINE static whole shift_right_1(whole x) { return x >> 1; }
  PTQ_ALWAYS_INLINE static real lesser(real a, real b) {
    return real(native::lesser(static_cast<real_register>(a), static_cast<real_register>(b)));
  }
  PTQ_ALWAYS_INLINE static real greater(real a, real b) {
    return real(native::greater(static_cast<real_register>(a), static_cast<real_register>(b)));
  }
  PTQ_ALWAYS_INLINE static real round(real x) {
    return real(rounded(static_cast<real_register>(x)));
  }
  /// max(farthest, |x − round(x)|); a NaN leaves it as it is, and infinities are 0 away.
  PTQ_ALWAYS_INLINE static real farther_from_whole(real x, real farthest) {
#if defined(__AVX512DQ__)
    if constexpr (width == 16) {
      constexpr int to_nearest = 0x08, larger_magnitude = 0x0b;  // the sign is cleared
      const __m512 off = _mm512_maskz_reduce_ps(0xffff, static_cast<__m512>(x), to_nearest);
      return real(
          _mm512_maskz_range_ps(0xffff, off, static_cast<__m512>(farthest), larger_magnitude));
    }
#endif
    const real off = x - round(x);
    return greater(from_bits(bits(off) & constant_whole(0x7fffffff)), farthest);
  }
  template <class F>
  PTQ_ALWAYS_INLINE static real each(real x, F f) {
    alignas(64) float v[static_cast<std::size_t>(width)];
    x.store_aligned(v);
    for (float& e : v) e = f(e);
    return real::load_aligned(v);
  }
  template <class F>
  PTQ_ALWAYS_INLINE static real each(real x, real y, F f) {
    alignas(64) float v[static_cast<std::size_t>(width)], w[static_cast<std::size_t>(width)];
    x.store_aligned(v);
    y.store_aligned(w);
    for (int i = 0; i < width; ++i) v[i] = f(v[i], w[i]);
    return real::load_aligned(v);
  }

  PTQ_ALWAYS_INLINE static real load(const float* p) { return real::load_unaligned(p); }
  PTQ_ALWAYS_INLINE static void store(float* p, real v) { v.store_unaligned(p); }
  PTQ_ALWAYS_INLINE static whole load(const std::uint8_t* p) {
    return whole(load_codes(p, whole_register{}));
  }
  /// Each lane in [0, 255].
  PTQ_ALWAYS_INLINE static void store(std::uint8_t* p, whole v) {
    store_codes(p, static_cast<whole_register>(v));
  }

  /// x[0], x[stride], …, the first n; `fill` in the other lanes. n <= width.
  PTQ_ALWAYS_INLINE static real gather(const float* p, std::int64_t stride, std::int64_t n,
                                       float fill) {
    alignas(64) float v[static_cast<std::size_t>(width)];
    for (float& e : v) e = fill;
    for (std::int64_t i = 0; i < n; ++i) v[i] = p[i * stride];
    return real::load_aligned(v);
  }
  PTQ_ALWAYS_INLINE static whole gather(const std::uint8_t* p, std::int64_t stride,
                                        std::int64_t n) {
    alignas(64) std::int32_t v[static_cast<std::size_t>(width)] = {};
    for (std::int64_t i = 0; i < n; ++i) v[i] = p[i * stride];
    return whole::load_aligned(v);
  }
  PTQ_ALWAYS_INLINE static real load(const float* p, std::int64_t n, float fill = 0.0f) {
#if defined(__AVX512F__)
    if constexpr (width == 16)
      return real(
          _mm512_mask_loadu_ps(_mm512_set1_ps(fill), static_cast<__mmask16>((1u << n) - 1u), p));
#endif
    return gather(p, 1, n, fill);
  }
  PTQ_ALWAYS_INLINE static void store(float* p, real v, std::int64_t n) {
#if defined(__AVX512F__)
    if constexpr (width == 16)
      return _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1u),
                                   static_cast<__m512>(v));
#endif
    alignas(64) float e[static_cast<std::size_t>(width)];
    v.store_aligned(e);
    for (std::int64_t i = 0; i < n; ++i) p[i] = e[i];
  }
  PTQ_ALWAYS_INLINE static whole load(const std::uint8_t* p, std::int64_t n) {
    return gather(p, 1, n);
  }
  PTQ_ALWAYS_INLINE static void store(std::uint8_t* p, whole v, std::int64_t n) {
    alignas(64) std::int32_t e[static_cast<std::size_t>(width)];
    v.store_aligned(e);
    for (std::int64_t i = 0; i < n; ++i) p[i] = static_cast<std::uint8_t>(e[i]);
  }
};

}  // namespace ptq::native
