#pragma once
// SPDX-License-Identifier: Apache-2.0
// Registers of shifted 16-bit codes (wide_rows.hpp), one channel a lane, for depthwise kernels: two
// taps of 2 · lanes channels interleave to two registers of pairs, whose int32 sums `join` puts
// back into the order of channels.

#include <cstdint>

#include <ptq/native/dot.hpp>
#include <ptq/native/object.hpp>

namespace ptq::native {

template <class Isa, int Bytes>
struct wide_words {  // plain C++
  static constexpr int lanes = simd<Isa, Bytes>::lanes;
  using ints = typename simd<Isa, Bytes>::ints;
  struct words {
    std::int16_t v[static_cast<std::size_t>(2 * lanes)];
  };
  /// The channel, of 2 · lanes, of lane `l` of register `half` of a pair.
  static int channel(int half, int l) { return half * lanes + l; }
  template <class X>
  static words load(const X* p) {
    words r;
    for (int i = 0; i < 2 * lanes; ++i)
      r.v[i] = static_cast<std::int16_t>(p[i] - (sizeof(X) == 2 ? 32768 : 0));
    return r;
  }
  static void pair(words a, words b, ints& first, ints& second) {
    for (int i = 0; i < 2 * lanes; ++i)
      (i < lanes ? first : second).v[i % lanes] =
          static_cast<std::int32_t>((static_cast<std::uint32_t>(a.v[i]) & 0xffffu) |
                                    (static_cast<std::uint32_t>(b.v[i]) << 16));
  }
  static void join(ints&, ints&) {}
};

#if XSIMD_WITH_SSE2
template <class Isa>
struct wide_words<Isa, 16> {
  using words = __m128i;
  static int channel(int half, int l) { return half * 4 + l; }
  static PTQ_ALWAYS_INLINE words load(const std::uint16_t* p) {
    return _mm_xor_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)),
                         _mm_set1_epi16(static_cast<short>(0x8000)));
  }
  static PTQ_ALWAYS_INLINE words load(const std::uint8_t* p) {
    return _mm_unpacklo_epi8(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)),
                             _mm_setzero_si128());
  }
  static PTQ_ALWAYS_INLINE void pair(words a, words b, __m128i& first, __m128i& second) {
    first = _mm_unpacklo_epi16(a, b);
    second = _mm_unpackhi_epi16(a, b);
  }
  static PTQ_ALWAYS_INLINE void join(__m128i&, __m128i&) {}
};
#endif

#if XSIMD_WITH_AVX2
template <class Isa>
struct wide_words<Isa, 32> {
  using words = __m256i;
  /// Registers interleave within their 128-bit parts.
  static int channel(int half, int l) { return l / 4 * 8 + half * 4 + l % 4; }
  static PTQ_ALWAYS_INLINE words load(const std::uint16_t* p) {
    return _mm256_xor_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
                            _mm256_set1_epi16(static_cast<short>(0x8000)));
  }
  static PTQ_ALWAYS_INLINE words load(const std::uint8_t* p) {
    return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static PTQ_ALWAYS_INLINE void pair(words a, words b, __m256i& first, __m256i& second) {
    first = _mm256_unpacklo_epi16(a, b);
    second = _mm256_unpackhi_epi16(a, b);
  }
  static PTQ_ALWAYS_INLINE void join(__m256i& first, __m256i& second) {
    const __m256i low = _mm256_permute2x128_si256(first, second, 0x20);
    second = _mm256_permute2x128_si256(first, second, 0x31);
    first = low;
  }
};
#endif

#if XSIMD_WITH_AVX512BW
template <class Isa>
struct wide_words<Isa, 64> {
  using words = __m512i;
  static int channel(int half, int l) { return l / 4 * 8 + half * 4 + l % 4; }
  static PTQ_ALWAYS_INLINE words load(const std::uint16_t* p) {
    return _mm512_xor_si512(_mm512_loadu_si512(p), _mm512_set1_epi16(static_cast<short>(0x8000)));
  }
  static PTQ_ALWAYS_INLINE words load(const std::uint8_t* p) {
    return _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static PTQ_ALWAYS_INLINE void pair(words a, words b, __m512i& first, __m512i& second) {
    first = _mm512_unpacklo_epi16(a, b);
    second = _mm512_unpackhi_epi16(a, b);
  }
  static PTQ_ALWAYS_INLINE void join(__m512i& first, __m512i& second) {
    const __m512i low =
        _mm512_permutex2var_epi64(first, _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), second);
    second =
        _mm512_permutex2var_epi64(first, _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15), second);
    first = low;
  }
};
#endif

}  // namespace ptq::native
