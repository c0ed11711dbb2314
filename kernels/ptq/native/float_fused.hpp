#pragma once
// SPDX-License-Identifier: Apache-2.0
// a · b + c with one rounding, on every ISA: the step of which all float kernels are made.
//
// Without the instruction it is computed in double: the product of two floats is exact there, the
// sum is rounded once to 53 bits and again to 24. The second rounding is wrong only if the first
// landed exactly on the middle between two floats, or in the range of float's subnormals, where the
// middle lies elsewhere. Both are rare and seen in the bits; then std::fma decides.

#include <cmath>
#include <cstddef>

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include <ptq/native/isa.hpp>
#include <ptq/native/object.hpp>

namespace ptq::native {

namespace float_fused {

/// Lane by lane, for the cases that the fast path may get wrong.
template <class Isa>
[[gnu::noinline]] f32s<Isa> by_lane(f32s<Isa> a, f32s<Isa> b, f32s<Isa> c) {
  constexpr std::size_t n = f32s<Isa>::size;
  alignas(64) float x[n], y[n], z[n];
  a.store_aligned(x);
  b.store_aligned(y);
  c.store_aligned(z);
  for (std::size_t i = 0; i < n; ++i) z[i] = std::fma(x[i], y[i], z[i]);
  return f32s<Isa>::load_aligned(z);
}

#if defined(__SSE2__)
/// Two lanes in double: exact product, one rounding.
template <class Isa>
PTQ_ALWAYS_INLINE __m128d in_double(__m128 a, __m128 b, __m128 c) {
  return _mm_add_pd(_mm_mul_pd(_mm_cvtps_pd(a), _mm_cvtps_pd(b)), _mm_cvtps_pd(c));
}

template <class Isa>
PTQ_ALWAYS_INLINE f32s<Isa> emulated(f32s<Isa> a, f32s<Isa> b, f32s<Isa> c) {
  const __m128 x = a, y = b, z = c;
  const __m128d low = in_double<Isa>(x, y, z);
  const __m128d high =
      in_double<Isa>(_mm_movehl_ps(x, x), _mm_movehl_ps(y, y), _mm_movehl_ps(z, z));
  const __m128 l = _mm_castpd_ps(low), h = _mm_castpd_ps(high);
  // 53 - 24 = 29 bits are dropped; the middle is their top bit alone.
  const __m128i tail =
      _mm_and_si128(_mm_castps_si128(_mm_shuffle_ps(l, h, _MM_SHUFFLE(2, 0, 2, 0))),
                    _mm_set1_epi32((1 << 29) - 1));
  const __m128i tie = _mm_cmpeq_epi32(tail, _mm_set1_epi32(1 << 28));
  // Upper words below that of 2^-126 (exponent 1023 - 126) and not 0: the sum is subnormal as a
  // float.
  const __m128i top = _mm_and_si128(_mm_castps_si128(_mm_shuffle_ps(l, h, _MM_SHUFFLE(3, 1, 3, 1))),
                                    _mm_set1_epi32(0x7fffffff));
  const __m128i small = _mm_and_si128(_mm_cmpgt_epi32(top, _mm_setzero_si128()),
                                      _mm_cmplt_epi32(top, _mm_set1_epi32((1023 - 126) << 20)));
  if (__builtin_expect(_mm_movemask_epi8(_mm_or_si128(tie, small)) != 0, 0))
    return by_lane<Isa>(a, b, c);
  return f32s<Isa>(_mm_movelh_ps(_mm_cvtpd_ps(low), _mm_cvtpd_ps(high)));
}
#elif defined(__aarch64__)
template <class Isa>
PTQ_ALWAYS_INLINE f32s<Isa> emulated(f32s<Isa> a, f32s<Isa> b, f32s<Isa> c) {
  return f32s<Isa>(vfmaq_f32(c, a, b));
}
#else
template <class Isa>
PTQ_ALWAYS_INLINE f32s<Isa> emulated(f32s<Isa> a, f32s<Isa> b, f32s<Isa> c) {
  return by_lane<Isa>(a, b, c);
}
#endif

/// The instruction. xsimd 8.1 has no fma for AVX-512: it multiplies and adds, rounding twice unless
/// the compiler happens to join them.
template <class Isa>
PTQ_ALWAYS_INLINE f32s<Isa> instruction(f32s<Isa> a, f32s<Isa> b, f32s<Isa> c) {
#if defined(__AVX512F__)
  if constexpr (f32s<Isa>::size == 16) return f32s<Isa>(_mm512_fmadd_ps(a, b, c));
#endif
#if defined(__FMA__)
  if constexpr (f32s<Isa>::size == 8) return f32s<Isa>(_mm256_fmadd_ps(a, b, c));
#endif
  return xsimd::fma(a, b, c);
}

}  // namespace float_fused

/// a · b + c, rounded once; equals fused_multiply_add lane by lane.
template <class Isa>
PTQ_ALWAYS_INLINE f32s<Isa> fused(f32s<Isa> a, f32s<Isa> b, f32s<Isa> c) {
  if constexpr (Isa::fma)
    return float_fused::instruction<Isa>(a, b, c);
  else
    return float_fused::emulated<Isa>(a, b, c);
}

}  // namespace ptq::native
