#pragma once
// SPDX-License-Identifier: Apache-2.0
// Bytes through a table of 256 bytes, the whole of an 8-bit activation or requantization. Where the
// CPU has VBMI the table lives in four registers; with AVX2 and AVX-512BW it is sixteen byte
// shuffles; below that, one load each.

#include <array>
#include <cstdint>

#include <ptq/native/isa.hpp>
#include <ptq/native/object.hpp>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace ptq::native {

/// Table of one kernel, as the shuffles want it: block 0 is entries 0–15, block k entries 16k… xor
/// the block before, and the same again from entry 128 on. Shuffling by x − 16k gives 0 once that
/// is negative, so the xor of all shuffles is the entry.
struct lookup_tables {
  alignas(64) std::array<std::uint8_t, 256> plain, folded;
};

template <class Isa>
PTQ_ALWAYS_INLINE void fold_table(lookup_tables& t) {
  for (std::size_t i = 0; i < 256; ++i)
    t.folded[i] = static_cast<std::uint8_t>(t.plain[i] ^ (i % 128 < 16 ? 0 : t.plain[i - 16]));
}

#if defined(__AVX512BW__) && defined(__GNUC__)
/// Whether look_up_vbmi may be called: no ISA of ours implies VBMI, which came after VNNI.
template <class Isa>
PTQ_ALWAYS_INLINE bool has_vbmi() {
  return __builtin_cpu_supports("avx512vbmi");
}
template <class Isa>
[[gnu::target("avx512vbmi")]] std::int64_t look_up_vbmi(const lookup_tables& t,
                                                        const std::uint8_t* src, std::uint8_t* dst,
                                                        std::int64_t n) {
  const __m512i t0 = _mm512_load_si512(t.plain.data()), t1 = _mm512_load_si512(&t.plain[64]);
  const __m512i t2 = _mm512_load_si512(&t.plain[128]), t3 = _mm512_load_si512(&t.plain[192]);
  std::int64_t i = 0;
  for (; i < n; i += 64) {
    const __mmask64 some = n - i >= 64 ? ~__mmask64{0} : (__mmask64{1} << (n - i)) - 1;
    const __m512i x = _mm512_maskz_loadu_epi8(some, src + i);
    const __m512i low = _mm512_permutex2var_epi8(t0, x, t1);
    const __m512i high = _mm512_permutex2var_epi8(t2, x, t3);
    _mm512_mask_storeu_epi8(dst + i, some,
                            _mm512_mask_blend_epi8(_mm512_movepi8_mask(x), low, high));
  }
  return n;
}
#else
template <class Isa>
PTQ_ALWAYS_INLINE bool has_vbmi() {
  return false;
}
#endif

#if defined(__AVX512BW__)
PTQ_ALWAYS_INLINE std::int64_t look_up_512(const lookup_tables& t, const std::uint8_t* src,
                                           std::uint8_t* dst, std::int64_t n) {
  const __m512i step = _mm512_set1_epi8(16);
  std::int64_t i = 0;
  for (; i + 64 <= n; i += 64) {
    const __m512i x = _mm512_loadu_si512(src + i);
    __m512i low = x, high = _mm512_xor_si512(x, _mm512_set1_epi8(-128));
    __m512i y = _mm512_setzero_si512();
    unrolled<8>([&](auto k) PTQ_INLINE_LAMBDA {
      constexpr std::size_t at = 16 * std::size_t{decltype(k)::value};
      const __m512i a =
          _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(&t.folded[at])));
      const __m512i b = _mm512_broadcast_i32x4(
          _mm_load_si128(reinterpret_cast<const __m128i*>(&t.folded[128 + at])));
      y = _mm512_xor_si512(y, _mm512_shuffle_epi8(a, low));
      y = _mm512_xor_si512(y, _mm512_shuffle_epi8(b, high));
      low = _mm512_subs_epi8(low, step);
      high = _mm512_subs_epi8(high, step);
    });
    _mm512_storeu_si512(dst + i, y);
  }
  return i;
}
#elif defined(__AVX2__)
PTQ_ALWAYS_INLINE std::int64_t look_up_256(const lookup_tables& t, const std::uint8_t* src,
                                           std::uint8_t* dst, std::int64_t n) {
  const __m256i step = _mm256_set1_epi8(16);
  std::int64_t i = 0;
  for (; i + 32 <= n; i += 32) {
    const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(src + i));
    __m256i low = x, high = _mm256_xor_si256(x, _mm256_set1_epi8(-128));
    __m256i y = _mm256_setzero_si256();
    unrolled<8>([&](auto k) PTQ_INLINE_LAMBDA {
      constexpr std::size_t at = 16 * std::size_t{decltype(k)::value};
      const __m256i a = _mm256_broadcastsi128_si256(
          _mm_load_si128(reinterpret_cast<const __m128i*>(&t.folded[at])));
      const __m256i b = _mm256_broadcastsi128_si256(
          _mm_load_si128(reinterpret_cast<const __m128i*>(&t.folded[128 + at])));
      y = _mm256_xor_si256(y, _mm256_shuffle_epi8(a, low));
      y = _mm256_xor_si256(y, _mm256_shuffle_epi8(b, high));
      low = _mm256_subs_epi8(low, step);
      high = _mm256_subs_epi8(high, step);
    });
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(dst + i), y);
  }
  return i;
}
#endif

/// vbmi: what has_vbmi says
template <class Isa>
PTQ_ALWAYS_INLINE void look_up(const lookup_tables& t, const std::uint8_t* src, std::uint8_t* dst,
                               std::int64_t n, [[maybe_unused]] bool vbmi) {
  std::int64_t i = 0;
  [[maybe_unused]] constexpr int bytes = static_cast<int>(f32s<Isa>::size) * 4;
#if defined(__AVX512BW__)
  if constexpr (bytes == 64) {
#if defined(__GNUC__)
    i = vbmi ? look_up_vbmi<Isa>(t, src, dst, n) : look_up_512(t, src, dst, n);
#else
    i = look_up_512(t, src, dst, n);
#endif
  }
#elif defined(__AVX2__)
  if constexpr (bytes == 32) i = look_up_256(t, src, dst, n);
#endif
  for (; i < n; ++i) dst[i] = t.plain[src[i]];
}

}  // namespace ptq::native
