#pragma once
// SPDX-License-Identifier: Apache-2.0
// Two-dimensional transposes in tiles: dst[i·dst_step + j] = src[j·src_step + i]. Tiles of 4×4
// words and 16×16 bytes on x86, single elements elsewhere and at the edges. Three columns of bytes
// or words (the planes of a picture) are no tile: registers interleave them.

#include <cstdint>
#include <cstring>

#include <ptq/native/isa.hpp>
#include <ptq/native/object.hpp>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace ptq::native {

template <int Bytes>
struct element;
template <>
struct element<1> {
  using type = std::uint8_t;
};
template <>
struct element<2> {
  using type = std::uint16_t;
};
template <>
struct element<4> {
  using type = std::uint32_t;
};
template <>
struct element<8> {
  using type = std::uint64_t;
};

/// One element, moved without a promise of alignment or type.
template <class T>
PTQ_ALWAYS_INLINE void move_element(std::byte* dst, const std::byte* src) {
  T v;
  std::memcpy(&v, src, sizeof(T));
  std::memcpy(dst, &v, sizeof(T));
}

#if defined(__SSE2__)
PTQ_ALWAYS_INLINE void transpose_tile_4(const std::byte* src, std::int64_t src_bytes,
                                        std::byte* dst, std::int64_t dst_bytes) {
  __m128i row[4];
  for (int k = 0; k < 4; ++k)
    row[k] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(src + k * src_bytes));
  const __m128i a = _mm_unpacklo_epi32(row[0], row[1]), b = _mm_unpackhi_epi32(row[0], row[1]);
  const __m128i c = _mm_unpacklo_epi32(row[2], row[3]), d = _mm_unpackhi_epi32(row[2], row[3]);
  const __m128i out[4] = {_mm_unpacklo_epi64(a, c), _mm_unpackhi_epi64(a, c),
                          _mm_unpacklo_epi64(b, d), _mm_unpackhi_epi64(b, d)};
  for (int k = 0; k < 4; ++k)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(dst + k * dst_bytes), out[k]);
}

/// Four words of each of three planes → twelve, one of each plane after the other.
PTQ_ALWAYS_INLINE void interleave_three_words(const std::byte* src, std::int64_t plane_bytes, std::byte* dst) {
  const auto words = [&](int k) PTQ_INLINE_LAMBDA {
    return _mm_loadu_ps(reinterpret_cast<const float*>(src + k * plane_bytes));
  };
  const __m128 x = words(0), y = words(1), z = words(2);
  const __m128 z0x1 = _mm_shuffle_ps(z, x, _MM_SHUFFLE(1, 1, 0, 0));
  const __m128 y1z1 = _mm_shuffle_ps(y, z, _MM_SHUFFLE(1, 1, 1, 1));
  const __m128 z2x3 = _mm_shuffle_ps(z, x, _MM_SHUFFLE(3, 3, 2, 2));
  const __m128 y3z3 = _mm_shuffle_ps(y, z, _MM_SHUFFLE(3, 3, 3, 3));
  auto* to = reinterpret_cast<float*>(dst);
  _mm_storeu_ps(to, _mm_shuffle_ps(_mm_unpacklo_ps(x, y), z0x1, _MM_SHUFFLE(2, 0, 1, 0)));
  _mm_storeu_ps(to + 4, _mm_shuffle_ps(y1z1, _mm_unpackhi_ps(x, y), _MM_SHUFFLE(1, 0, 2, 0)));
  _mm_storeu_ps(to + 8, _mm_shuffle_ps(z2x3, y3z3, _MM_SHUFFLE(2, 0, 2, 0)));
}

/// Four rounds of interleaving row k with row k + 8 transpose 16 rows of 16 bytes.
PTQ_ALWAYS_INLINE void transpose_tile_16(const std::byte* src, std::int64_t src_bytes,
                                         std::byte* dst, std::int64_t dst_bytes) {
  __m128i a[16], b[16];
  for (int k = 0; k < 16; ++k)
    a[k] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(src + k * src_bytes));
  for (int round = 0; round < 4; ++round) {
    for (int k = 0; k < 8; ++k) {
      b[2 * k] = _mm_unpacklo_epi8(a[k], a[k + 8]);
      b[2 * k + 1] = _mm_unpackhi_epi8(a[k], a[k + 8]);
    }
    for (int k = 0; k < 16; ++k) a[k] = b[k];
  }
  for (int k = 0; k < 16; ++k)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(dst + k * dst_bytes), a[k]);
}
#endif

#if defined(__SSSE3__)
/// 16 bytes of each of three planes → 48 bytes, plane after plane. Byte b of the result is byte
/// b / 3 of plane b % 3: each third of it takes what it needs of every plane, zeros elsewhere.
PTQ_ALWAYS_INLINE void interleave_three(const std::byte* src, std::int64_t plane, std::byte* dst) {
  const auto bytes = [&](int k) PTQ_INLINE_LAMBDA {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(src + k * plane));
  };
  const __m128i x = bytes(0), y = bytes(1), z = bytes(2);
  const __m128i a0 = _mm_setr_epi8(0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1, -1, 5);
  const __m128i a1 = _mm_setr_epi8(-1, -1, 6, -1, -1, 7, -1, -1, 8, -1, -1, 9, -1, -1, 10, -1);
  const __m128i a2 = _mm_setr_epi8(-1, 11, -1, -1, 12, -1, -1, 13, -1, -1, 14, -1, -1, 15, -1, -1);
  const __m128i b0 = _mm_setr_epi8(-1, 0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1, -1);
  const __m128i b1 = _mm_setr_epi8(5, -1, -1, 6, -1, -1, 7, -1, -1, 8, -1, -1, 9, -1, -1, 10);
  const __m128i b2 = _mm_setr_epi8(-1, -1, 11, -1, -1, 12, -1, -1, 13, -1, -1, 14, -1, -1, 15, -1);
  const __m128i c0 = _mm_setr_epi8(-1, -1, 0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1);
  const __m128i c1 = _mm_setr_epi8(-1, 5, -1, -1, 6, -1, -1, 7, -1, -1, 8, -1, -1, 9, -1, -1);
  const __m128i c2 = _mm_setr_epi8(10, -1, -1, 11, -1, -1, 12, -1, -1, 13, -1, -1, 14, -1, -1, 15);
  const auto third = [&](int k, __m128i a, __m128i b, __m128i c) PTQ_INLINE_LAMBDA {
    const __m128i xy = _mm_or_si128(_mm_shuffle_epi8(x, a), _mm_shuffle_epi8(y, b));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(dst) + k, _mm_or_si128(xy, _mm_shuffle_epi8(z, c)));
  };
  third(0, a0, b0, c0);
  third(1, a1, b1, c1);
  third(2, a2, b2, c2);
}
#endif

/// Rows [begin, end) of the destination, each `columns` long. Steps are in elements of `Bytes`.
template <class Isa, int Bytes>
PTQ_ALWAYS_INLINE void transpose_rows(const std::byte* src, std::int64_t src_step, std::byte* dst,
                                      std::int64_t dst_step, std::int64_t begin, std::int64_t end,
                                      std::int64_t columns) {
  using type = typename element<Bytes>::type;
  const auto one = [&](std::int64_t i, std::int64_t j) PTQ_INLINE_LAMBDA {
    move_element<type>(dst + (i * dst_step + j) * Bytes, src + (j * src_step + i) * Bytes);
  };
  std::int64_t i = begin;
#if defined(__SSSE3__)
  if constexpr (Bytes == 1)
    if (columns == 3 && dst_step == 3)
      for (; i + 16 <= end; i += 16) interleave_three(src + i, src_step, dst + i * 3);
#endif
#if defined(__SSE2__)
  if constexpr (Bytes == 4)
    if (columns == 3 && dst_step == 3)
      for (; i + 4 <= end; i += 4) interleave_three_words(src + i * 4, src_step * 4, dst + i * 12);
  if constexpr (Bytes == 4 || Bytes == 1) {
    constexpr std::int64_t tile = Bytes == 4 ? 4 : 16;
    for (; i + tile <= end; i += tile) {
      std::int64_t j = 0;
      for (; j + tile <= columns; j += tile) {
        const std::byte* from = src + (j * src_step + i) * Bytes;
        std::byte* to = dst + (i * dst_step + j) * Bytes;
        if constexpr (Bytes == 4)
          transpose_tile_4(from, src_step * 4, to, dst_step * 4);
        else
          transpose_tile_16(from, src_step, to, dst_step);
      }
      for (; j < columns; ++j)
        for (std::int64_t k = 0; k < tile; ++k) one(i + k, j);
    }
  }
#endif
  for (; i < end; ++i)
    for (std::int64_t j = 0; j < columns; ++j) one(i, j);
}

}  // namespace ptq::native
