#pragma once
// SPDX-License-Identifier: Apache-2.0
// Bytes → 16 bits, for the kernels that multiply pairs of 16-bit numbers (gemm.hpp, `pairs`).

#include <cstdint>
#include <cstring>
#include <type_traits>

#include <ptq/native/dot.hpp>
#include <ptq/native/object.hpp>

namespace ptq::native {

/// 16-bit elements from row to row: rows begin on a cache line, and a power of two apart they would
/// all fall into the same sets of the first cache.
constexpr std::int64_t wide_pitch(std::int64_t depth) {
  const std::int64_t lines = (depth + 31) / 32;
  return 32 * (lines % 8 == 0 ? lines + 1 : lines);
}

template <class Isa>
struct widen_16 {
  static PTQ_ALWAYS_INLINE void run(const std::uint8_t* from, std::uint16_t* to) {
#if XSIMD_WITH_AVX2
    if constexpr (register_bytes<Isa> >= 32) {
      const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_cvtepu8_epi16(x));
      return;
    }
#endif
#if XSIMD_WITH_SSE2
    const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    const __m128i zero = _mm_setzero_si128();
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_unpacklo_epi8(x, zero));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 8), _mm_unpackhi_epi8(x, zero));
#else
    for (int i = 0; i < 16; ++i) to[i] = from[i];
#endif
  }
};

/// 8 or 4 bytes.
template <class Isa, int Count>
PTQ_ALWAYS_INLINE void widen_few(const std::uint8_t* from, std::uint16_t* to) {
#if XSIMD_WITH_SSE2
  std::conditional_t<Count == 8, std::int64_t, std::int32_t> bytes;
  std::memcpy(&bytes, from, Count);
  __m128i x;
  if constexpr (Count == 8)
    x = _mm_cvtsi64_si128(bytes);
  else
    x = _mm_cvtsi32_si128(bytes);
  x = _mm_unpacklo_epi8(x, _mm_setzero_si128());
  if constexpr (Count == 8)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), x);
  else
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), x);
#else
  for (int i = 0; i < Count; ++i) to[i] = from[i];
#endif
}

/// n ≥ 4 bytes at `from` → n 16-bit numbers; reads and writes nothing beyond them.
template <class Isa>
PTQ_ALWAYS_INLINE void widen(const std::uint8_t* from, std::uint16_t* to, std::int64_t n) {
  if (n >= 16) {
    std::int64_t i = 0;
    for (; i + 16 <= n; i += 16) widen_16<Isa>::run(from + i, to + i);
    if (i < n) widen_16<Isa>::run(from + n - 16, to + n - 16);
  } else if (n >= 8) {  // two parts that may overlap
    widen_few<Isa, 8>(from, to);
    widen_few<Isa, 8>(from + n - 8, to + n - 8);
  } else {
    widen_few<Isa, 4>(from, to);
    widen_few<Isa, 4>(from + n - 4, to + n - 4);
  }
}

}  // namespace ptq::native
