#pragma once
// SPDX-License-Identifier: Apache-2.0
// Registers of bytes for kernels that take the larger of codes, and how a row of n bytes is covered
// by them: whole registers, then a masked one (AVX-512), 16 bytes (x86) or single bytes. Nothing
// past the n bytes is touched.

#include <cstdint>

#include <ptq/native/isa.hpp>
#include <ptq/native/object.hpp>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace ptq::native {

template <class Isa>
struct byte_1 {
  using vector = std::uint8_t;
  PTQ_ALWAYS_INLINE static vector zero() { return 0; }
  PTQ_ALWAYS_INLINE static vector load(const std::uint8_t* p, std::int64_t) { return *p; }
  PTQ_ALWAYS_INLINE static void store(std::uint8_t* p, vector v, std::int64_t) { *p = v; }
  PTQ_ALWAYS_INLINE static vector max(vector a, vector b) { return a > b ? a : b; }
};

#if defined(__SSE2__)
template <class Isa>
struct bytes_16 {
  using vector = __m128i;
  PTQ_ALWAYS_INLINE static vector zero() { return _mm_setzero_si128(); }
  PTQ_ALWAYS_INLINE static vector load(const std::uint8_t* p, std::int64_t) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  }
  PTQ_ALWAYS_INLINE static void store(std::uint8_t* p, vector v, std::int64_t) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), v);
  }
  PTQ_ALWAYS_INLINE static vector max(vector a, vector b) { return _mm_max_epu8(a, b); }
};
#elif defined(__aarch64__)
template <class Isa>
struct bytes_16 {
  using vector = uint8x16_t;
  PTQ_ALWAYS_INLINE static vector zero() { return vdupq_n_u8(0); }
  PTQ_ALWAYS_INLINE static vector load(const std::uint8_t* p, std::int64_t) { return vld1q_u8(p); }
  PTQ_ALWAYS_INLINE static void store(std::uint8_t* p, vector v, std::int64_t) { vst1q_u8(p, v); }
  PTQ_ALWAYS_INLINE static vector max(vector a, vector b) { return vmaxq_u8(a, b); }
};
#endif

#if defined(__AVX2__)
template <class Isa>
struct bytes_32 {
  using vector = __m256i;
  PTQ_ALWAYS_INLINE static vector zero() { return _mm256_setzero_si256(); }
  PTQ_ALWAYS_INLINE static vector load(const std::uint8_t* p, std::int64_t) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  PTQ_ALWAYS_INLINE static void store(std::uint8_t* p, vector v, std::int64_t) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v);
  }
  PTQ_ALWAYS_INLINE static vector max(vector a, vector b) { return _mm256_max_epu8(a, b); }
};
#endif

#if defined(__AVX512BW__)
template <class Isa>
struct bytes_64 {
  using vector = __m512i;
  PTQ_ALWAYS_INLINE static __mmask64 first(std::int64_t n) {
    return n >= 64 ? ~__mmask64{0} : (__mmask64{1} << n) - 1;
  }
  PTQ_ALWAYS_INLINE static vector zero() { return _mm512_setzero_si512(); }
  PTQ_ALWAYS_INLINE static vector load(const std::uint8_t* p, std::int64_t n) {
    return _mm512_maskz_loadu_epi8(first(n), p);
  }
  PTQ_ALWAYS_INLINE static void store(std::uint8_t* p, vector v, std::int64_t n) {
    _mm512_mask_storeu_epi8(p, first(n), v);
  }
  PTQ_ALWAYS_INLINE static vector max(vector a, vector b) { return _mm512_max_epu8(a, b); }
};
#endif

/// f(registers, first byte, bytes) over n bytes
template <class Isa, class F>
PTQ_ALWAYS_INLINE void for_bytes(std::int64_t n, F f) {
  std::int64_t i = 0;
  [[maybe_unused]] constexpr int width = static_cast<int>(f32s<Isa>::size) * 4;
#if defined(__AVX512BW__)
  if constexpr (width == 64) {
    for (; i < n; i += 64) f(bytes_64<Isa>{}, i, n - i < 64 ? n - i : 64);
    return;
  }
#endif
#if defined(__AVX2__)
  if constexpr (width >= 32)
    for (; i + 32 <= n; i += 32) f(bytes_32<Isa>{}, i, std::int64_t{32});
#endif
#if defined(__SSE2__) || defined(__aarch64__)
  for (; i + 16 <= n; i += 16) f(bytes_16<Isa>{}, i, std::int64_t{16});
#endif
  for (; i < n; ++i) f(byte_1<Isa>{}, i, std::int64_t{1});
}

}  // namespace ptq::native
