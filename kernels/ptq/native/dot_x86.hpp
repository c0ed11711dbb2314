#pragma once
// SPDX-License-Identifier: Apache-2.0
// `simd` (dot.hpp, which includes this) on x86: 128, 256 and 512 bits. Members with the same name
// do the same on every width; a narrower width on a wider ISA (blocks of 16 channels under AVX-512)
// takes that ISA's instructions.
//
// `clamp` keeps the specification's std::max, then std::min also for -0: maxps and minps return
// their second operand when both compare equal.

#include <cstdint>
#include <cstring>

#include <ptq/native/dot.hpp>

namespace ptq::native {

template <class Isa>
struct simd<Isa, 16> : simd_layout<Isa, 4> {
  using ints = __m128i;
  using floats = __m128;

  static PTQ_ALWAYS_INLINE ints load(const void* p) {
    return _mm_loadu_si128(static_cast<const __m128i*>(p));
  }
  static PTQ_ALWAYS_INLINE floats load(const float* p) { return _mm_loadu_ps(p); }
  static PTQ_ALWAYS_INLINE void store(void* p, ints x) {
    _mm_storeu_si128(static_cast<__m128i*>(p), x);
  }
  static PTQ_ALWAYS_INLINE void store(float* p, floats x) { _mm_storeu_ps(p, x); }
  static PTQ_ALWAYS_INLINE ints zero() { return _mm_setzero_si128(); }
  static PTQ_ALWAYS_INLINE ints set(std::int32_t x) { return _mm_set1_epi32(x); }
  static PTQ_ALWAYS_INLINE floats set(float x) { return _mm_set1_ps(x); }
  static PTQ_ALWAYS_INLINE ints add(ints a, ints b) { return _mm_add_epi32(a, b); }
  static PTQ_ALWAYS_INLINE floats add(floats a, floats b) { return _mm_add_ps(a, b); }
  static PTQ_ALWAYS_INLINE floats multiply(floats a, floats b) { return _mm_mul_ps(a, b); }
  static PTQ_ALWAYS_INLINE floats divide(floats a, floats b) { return _mm_div_ps(a, b); }
  static PTQ_ALWAYS_INLINE floats clamp(floats x, floats low, floats high) {
    return _mm_min_ps(high, _mm_max_ps(low, x));
  }
  static PTQ_ALWAYS_INLINE floats least(floats x, floats high) { return _mm_min_ps(high, x); }
  static PTQ_ALWAYS_INLINE floats greatest(floats a, floats b) { return _mm_max_ps(a, b); }
  static PTQ_ALWAYS_INLINE floats to_float(ints x) { return _mm_cvtepi32_ps(x); }
  static PTQ_ALWAYS_INLINE ints round(floats x) { return _mm_cvtps_epi32(x); }
  /// Half to even, |x| < 2^22.
  static PTQ_ALWAYS_INLINE floats nearest(floats x) {
#if XSIMD_WITH_SSE4_1
    return _mm_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
    return to_float(round(x));
#endif
  }

  static PTQ_ALWAYS_INLINE ints broadcast4(const std::uint8_t* p) {
    std::int32_t x;
    std::memcpy(&x, p, 4);
    return _mm_set1_epi32(x);
  }
  template <int Step>
  static PTQ_ALWAYS_INLINE ints split(ints x) {
    if constexpr (Step == 0) return _mm_and_si128(x, _mm_set1_epi32(0x00ff00ff));
    return _mm_srli_epi16(x, 8);
  }
  static PTQ_ALWAYS_INLINE ints weight_pairs(const std::int8_t* p) {
    const ints x = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
#if XSIMD_WITH_SSE4_1
    return _mm_cvtepi8_epi16(x);
#else
    return _mm_srai_epi16(_mm_unpacklo_epi8(x, x), 8);
#endif
  }
  static PTQ_ALWAYS_INLINE ints dot2(ints acc, ints a, ints w) {
    return add_in_place<simd>(acc, _mm_madd_epi16(a, w));
  }
#if defined(__SSSE3__)
  static PTQ_ALWAYS_INLINE ints dot4(ints acc, ints a, ints w) {
    if constexpr (has_dpbusd<Isa>)
      return Isa::dpbusd(acc, a, w);
    else
      return dot2(acc, _mm_maddubs_epi16(a, w), _mm_set1_epi16(1));
  }
  /// 16, 8 or 4 bytes, as often as they fit.
  template <int Bytes>
  static PTQ_ALWAYS_INLINE ints repeat(const std::uint8_t* p) {
    if constexpr (Bytes == 16) return load(p);
    if constexpr (Bytes == 4) return broadcast4(p);
    long long x;
    std::memcpy(&x, p, 8);
    return _mm_set1_epi64x(x);
  }
  /// For every byte of `which` that one of x, in the same 16.
  static PTQ_ALWAYS_INLINE ints pick(ints x, ints which) { return _mm_shuffle_epi8(x, which); }
#endif

  /// Bytes less 128: u8 codes as s8.
  static PTQ_ALWAYS_INLINE ints flip_signs(ints x) {
    return _mm_xor_si128(x, _mm_set1_epi8(static_cast<char>(0x80)));
  }
  static PTQ_ALWAYS_INLINE ints load_codes(const std::uint8_t* p) {
    std::int32_t x;
    std::memcpy(&x, p, 4);
    const ints bytes = _mm_unpacklo_epi8(_mm_cvtsi32_si128(x), zero());
    return _mm_unpacklo_epi16(bytes, zero());
  }
  static PTQ_ALWAYS_INLINE ints set_words(int x) { return _mm_set1_epi16(static_cast<short>(x)); }
  static PTQ_ALWAYS_INLINE ints set_bytes(int x) { return _mm_set1_epi8(static_cast<char>(x)); }
  /// Roundings of four registers → bytes, in interleaved order: saturated; or after `zero_point` is
  /// added, within [low, high].
  static PTQ_ALWAYS_INLINE ints pack(const ints (&x)[4]) {
    return _mm_packus_epi16(_mm_packs_epi32(x[0], x[1]), _mm_packs_epi32(x[2], x[3]));
  }
  static PTQ_ALWAYS_INLINE ints pack(const ints (&x)[4], ints zero_point, ints low, ints high) {
    const ints words01 = _mm_adds_epi16(_mm_packs_epi32(x[0], x[1]), zero_point);
    const ints words23 = _mm_adds_epi16(_mm_packs_epi32(x[2], x[3]), zero_point);
    return _mm_min_epu8(_mm_max_epu8(_mm_packus_epi16(words01, words23), low), high);
  }
  /// The bytes of `pack` of Count registers from First on, in the order of lanes.
  template <int Count, int First>
  static PTQ_ALWAYS_INLINE void store_codes(std::uint8_t* p, ints packed) {
    static_assert(Count == 1 || (Count == 2 && First % 2 == 0));
    const ints codes = _mm_srli_si128(packed, 4 * First);
    if constexpr (Count == 2) {
      _mm_storel_epi64(reinterpret_cast<__m128i*>(p), codes);
    } else {
      const std::int32_t four = _mm_cvtsi128_si32(codes);
      std::memcpy(p, &four, 4);
    }
  }
  /// Four registers of bytes → four registers whose lanes hold the four bytes of one channel.
  static PTQ_ALWAYS_INLINE void interleave(const ints* t, ints* out) {
    const ints low01 = _mm_unpacklo_epi8(t[0], t[1]), high01 = _mm_unpackhi_epi8(t[0], t[1]);
    const ints low23 = _mm_unpacklo_epi8(t[2], t[3]), high23 = _mm_unpackhi_epi8(t[2], t[3]);
    out[0] = _mm_unpacklo_epi16(low01, low23);
    out[1] = _mm_unpackhi_epi16(low01, low23);
    out[2] = _mm_unpacklo_epi16(high01, high23);
    out[3] = _mm_unpackhi_epi16(high01, high23);
  }
};

#if XSIMD_WITH_AVX2
template <class Isa>
struct simd<Isa, 32> : simd_layout<Isa, 8> {
  using ints = __m256i;
  using floats = __m256;

  static PTQ_ALWAYS_INLINE ints load(const void* p) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(p));
  }
  static PTQ_ALWAYS_INLINE floats load(const float* p) { return _mm256_loadu_ps(p); }
  static PTQ_ALWAYS_INLINE void store(void* p, ints x) {
    _mm256_storeu_si256(static_cast<__m256i*>(p), x);
  }
  static PTQ_ALWAYS_INLINE void store(float* p, floats x) { _mm256_storeu_ps(p, x); }
  static PTQ_ALWAYS_INLINE ints zero() { return _mm256_setzero_si256(); }
  static PTQ_ALWAYS_INLINE ints set(std::int32_t x) { return _mm256_set1_epi32(x); }
  static PTQ_ALWAYS_INLINE floats set(float x) { return _mm256_set1_ps(x); }
  static PTQ_ALWAYS_INLINE ints add(ints a, ints b) { return _mm256_add_epi32(a, b); }
  static PTQ_ALWAYS_INLINE floats add(floats a, floats b) { return _mm256_add_ps(a, b); }
  static PTQ_ALWAYS_INLINE floats multiply(floats a, floats b) { return _mm256_mul_ps(a, b); }
  static PTQ_ALWAYS_INLINE floats divide(floats a, floats b) { return _mm256_div_ps(a, b); }
  static PTQ_ALWAYS_INLINE floats clamp(floats x, floats low, floats high) {
    return _mm256_min_ps(high, _mm256_max_ps(low, x));
  }
  static PTQ_ALWAYS_INLINE floats least(floats x, floats high) { return _mm256_min_ps(high, x); }
  static PTQ_ALWAYS_INLINE floats greatest(floats a, floats b) { return _mm256_max_ps(a, b); }
  static PTQ_ALWAYS_INLINE floats to_float(ints x) { return _mm256_cvtepi32_ps(x); }
  static PTQ_ALWAYS_INLINE ints round(floats x) { return _mm256_cvtps_epi32(x); }
  static PTQ_ALWAYS_INLINE floats nearest(floats x) {
    return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }

  static PTQ_ALWAYS_INLINE ints broadcast4(const std::uint8_t* p) {
    std::int32_t x;
    std::memcpy(&x, p, 4);
    return _mm256_set1_epi32(x);
  }
  template <int Step>
  static PTQ_ALWAYS_INLINE ints split(ints x) {
    if constexpr (Step == 0) return _mm256_and_si256(x, _mm256_set1_epi32(0x00ff00ff));
    return _mm256_srli_epi16(x, 8);
  }
  static PTQ_ALWAYS_INLINE ints weight_pairs(const std::int8_t* p) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static PTQ_ALWAYS_INLINE ints dot2(ints acc, ints a, ints w) {
    return add_in_place<simd>(acc, _mm256_madd_epi16(a, w));
  }
  static PTQ_ALWAYS_INLINE ints dot4(ints acc, ints a, ints w) {
    if constexpr (has_dpbusd<Isa>)
      return Isa::dpbusd(acc, a, w);
    else
      return dot2(acc, _mm256_maddubs_epi16(a, w), _mm256_set1_epi16(1));
  }
  template <int Bytes>
  static PTQ_ALWAYS_INLINE ints repeat(const std::uint8_t* p) {
    if constexpr (Bytes == 16)
      return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    if constexpr (Bytes == 4) return broadcast4(p);
    long long x;
    std::memcpy(&x, p, 8);
    return _mm256_set1_epi64x(x);
  }
  static PTQ_ALWAYS_INLINE ints pick(ints x, ints which) { return _mm256_shuffle_epi8(x, which); }

  static PTQ_ALWAYS_INLINE ints load_codes(const std::uint8_t* p) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }
  static PTQ_ALWAYS_INLINE ints set_words(int x) {
    return _mm256_set1_epi16(static_cast<short>(x));
  }
  static PTQ_ALWAYS_INLINE ints set_bytes(int x) { return _mm256_set1_epi8(static_cast<char>(x)); }
  static PTQ_ALWAYS_INLINE ints pack(const ints (&x)[4]) {
    return _mm256_packus_epi16(_mm256_packs_epi32(x[0], x[1]), _mm256_packs_epi32(x[2], x[3]));
  }
  static PTQ_ALWAYS_INLINE ints pack(const ints (&x)[4], ints zero_point, ints low, ints high) {
    const ints words01 = _mm256_adds_epi16(_mm256_packs_epi32(x[0], x[1]), zero_point);
    const ints words23 = _mm256_adds_epi16(_mm256_packs_epi32(x[2], x[3]), zero_point);
    return _mm256_min_epu8(_mm256_max_epu8(_mm256_packus_epi16(words01, words23), low), high);
  }
  template <int Count, int First>
  static PTQ_ALWAYS_INLINE void store_codes(std::uint8_t* p, ints packed) {
    static_assert(Count == 1 || (Count == 2 && First % 2 == 0));
    // packs works within 128-bit halves: dwords j and 4 + j hold register j
    const ints order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const ints codes = _mm256_permutevar8x32_epi32(packed, order);
    const __m128i half =
        First < 2 ? _mm256_castsi256_si128(codes) : _mm256_extracti128_si256(codes, 1);
    if constexpr (Count == 2)
      _mm_storeu_si128(reinterpret_cast<__m128i*>(p), half);
    else if constexpr (First % 2 == 0)
      _mm_storel_epi64(reinterpret_cast<__m128i*>(p), half);
    else
      _mm_storeh_pd(reinterpret_cast<double*>(p), _mm_castsi128_pd(half));
  }
  static PTQ_ALWAYS_INLINE void interleave(const ints* t, ints* out) {
    const ints low01 = _mm256_unpacklo_epi8(t[0], t[1]), high01 = _mm256_unpackhi_epi8(t[0], t[1]);
    const ints low23 = _mm256_unpacklo_epi8(t[2], t[3]), high23 = _mm256_unpackhi_epi8(t[2], t[3]);
    out[0] = _mm256_unpacklo_epi16(low01, low23);
    out[1] = _mm256_unpackhi_epi16(low01, low23);
    out[2] = _mm256_unpacklo_epi16(high01, high23);
    out[3] = _mm256_unpackhi_epi16(high01, high23);
  }
};
#endif

#if XSIMD_WITH_AVX512BW
template <class Isa>
struct simd<Isa, 64> : simd_layout<Isa, 16> {
  using ints = __m512i;
  using floats = __m512;

  static PTQ_ALWAYS_INLINE ints load(const void* p) { return _mm512_loadu_si512(p); }
  static PTQ_ALWAYS_INLINE floats load(const float* p) { return _mm512_loadu_ps(p); }
  static PTQ_ALWAYS_INLINE void store(void* p, ints x) { _mm512_storeu_si512(p, x); }
  static PTQ_ALWAYS_INLINE void store(float* p, floats x) { _mm512_storeu_ps(p, x); }
  static PTQ_ALWAYS_INLINE ints zero() { return _mm512_setzero_si512(); }
  static PTQ_ALWAYS_INLINE ints set(std::int32_t x) { return _mm512_set1_epi32(x); }
  static PTQ_ALWAYS_INLINE floats set(float x) { return _mm512_set1_ps(x); }
  static PTQ_ALWAYS_INLINE ints add(ints a, ints b) { return _mm512_add_epi32(a, b); }
  static PTQ_ALWAYS_INLINE floats add(floats a, floats b) { return _mm512_add_ps(a, b); }
  static PTQ_ALWAYS_INLINE floats multiply(floats a, floats b) { return _mm512_mul_ps(a, b); }
  static PTQ_ALWAYS_INLINE floats divide(floats a, floats b) { return _mm512_div_ps(a, b); }
  static PTQ_ALWAYS_INLINE floats clamp(floats x, floats low, floats high) {
    return _mm512_min_ps(high, _mm512_max_ps(low, x));
  }
  static PTQ_ALWAYS_INLINE floats least(floats x, floats high) { return _mm512_min_ps(high, x); }
  static PTQ_ALWAYS_INLINE floats greatest(floats a, floats b) { return _mm512_max_ps(a, b); }
  static PTQ_ALWAYS_INLINE floats to_float(ints x) { return _mm512_cvtepi32_ps(x); }
  static PTQ_ALWAYS_INLINE ints round(floats x) { return _mm512_cvtps_epi32(x); }
  static PTQ_ALWAYS_INLINE floats nearest(floats x) {
    return _mm512_maskz_roundscale_ps(0xffff, x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }

  static PTQ_ALWAYS_INLINE ints broadcast4(const std::uint8_t* p) {
    std::int32_t x;
    std::memcpy(&x, p, 4);
    return _mm512_set1_epi32(x);
  }
  template <int Step>
  static PTQ_ALWAYS_INLINE ints split(ints x) {
    if constexpr (Step == 0) return _mm512_and_si512(x, _mm512_set1_epi32(0x00ff00ff));
    return _mm512_srli_epi16(x, 8);
  }
  static PTQ_ALWAYS_INLINE ints weight_pairs(const std::int8_t* p) {
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static PTQ_ALWAYS_INLINE ints dot2(ints acc, ints a, ints w) {
    return add_in_place<simd>(acc, _mm512_madd_epi16(a, w));
  }
  static PTQ_ALWAYS_INLINE ints dot4(ints acc, ints a, ints w) {
    if constexpr (has_dpbusd<Isa>)
      return Isa::dpbusd(acc, a, w);
    else
      return dot2(acc, _mm512_maddubs_epi16(a, w), _mm512_set1_epi16(1));
  }
  template <int Bytes>
  static PTQ_ALWAYS_INLINE ints repeat(const std::uint8_t* p) {
    if constexpr (Bytes == 16)
      return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    if constexpr (Bytes == 4) return broadcast4(p);
    long long x;
    std::memcpy(&x, p, 8);
    return _mm512_set1_epi64(x);
  }
  static PTQ_ALWAYS_INLINE ints pick(ints x, ints which) { return _mm512_shuffle_epi8(x, which); }

  static PTQ_ALWAYS_INLINE ints load_codes(const std::uint8_t* p) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static PTQ_ALWAYS_INLINE ints set_words(int x) {
    return _mm512_set1_epi16(static_cast<short>(x));
  }
  static PTQ_ALWAYS_INLINE ints set_bytes(int x) { return _mm512_set1_epi8(static_cast<char>(x)); }
  static PTQ_ALWAYS_INLINE ints pack(const ints (&x)[4]) {
    return _mm512_packus_epi16(_mm512_packs_epi32(x[0], x[1]), _mm512_packs_epi32(x[2], x[3]));
  }
  static PTQ_ALWAYS_INLINE ints pack(const ints (&x)[4], ints zero_point, ints low, ints high) {
    const ints words01 = _mm512_adds_epi16(_mm512_packs_epi32(x[0], x[1]), zero_point);
    const ints words23 = _mm512_adds_epi16(_mm512_packs_epi32(x[2], x[3]), zero_point);
    return _mm512_min_epu8(_mm512_max_epu8(_mm512_packus_epi16(words01, words23), low), high);
  }
  template <int Count, int First>
  static PTQ_ALWAYS_INLINE void store_codes(std::uint8_t* p, ints packed) {
    static_assert(Count != 3 || First == 0);
    const ints order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const ints codes = _mm512_permutexvar_epi32(order, packed);
    if constexpr (Count == 4)
      store(p, codes);
    else if constexpr (Count == 1)
      _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_extracti32x4_epi32(codes, First));
    else
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                          _mm512_extracti64x4_epi64(codes, First / 2));
    if constexpr (Count == 3)
      _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 32), _mm512_extracti32x4_epi32(codes, 2));
  }
  static PTQ_ALWAYS_INLINE void interleave(const ints* t, ints* out) {
    const ints low01 = _mm512_unpacklo_epi8(t[0], t[1]), high01 = _mm512_unpackhi_epi8(t[0], t[1]);
    const ints low23 = _mm512_unpacklo_epi8(t[2], t[3]), high23 = _mm512_unpackhi_epi8(t[2], t[3]);
    out[0] = _mm512_unpacklo_epi16(low01, low23);
    out[1] = _mm512_unpackhi_epi16(low01, low23);
    out[2] = _mm512_unpacklo_epi16(high01, high23);
    out[3] = _mm512_unpackhi_epi16(high01, high23);
  }
};
#endif

}  // namespace ptq::native
