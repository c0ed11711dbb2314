#pragma once
// SPDX-License-Identifier: Apache-2.0
// The micro-kernel of products of 16-bit codes: pairs of s16 products added to int32 lanes
// (vpmaddwd, or vpdpwssd where the ISA has it) over a block of K that the weights prove to fit.
//
//   s = x − 32768 of u16 codes, x of u8 codes; |s| ≤ reach
//   every block of K has Σ|w| · reach < 2^31 in every column, and so has every partial sum
//
// Weights too large for blocks of a useful length are two columns, of w = 256 · high + low with
// |high| ≤ 128 and |low| ≤ 128: twice the products, and blocks as long as those of 8 bits.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include <ptq/native/dot.hpp>
#include <ptq/native/gemm.hpp>
#include <ptq/native/object.hpp>

namespace ptq::native {

/// Two products of s16 added to each lane; acc wraps.
template <class Isa, class Ints>
PTQ_ALWAYS_INLINE Ints dot_words(Ints acc, Ints a, Ints w) {
  if constexpr (requires { acc.v[0]; }) {  // plain C++
    const auto low = [](std::int32_t x) { return static_cast<std::int16_t>(x & 0xffff); };
    for (std::size_t i = 0; i < sizeof(Ints) / 4; ++i) {
      const auto sum = static_cast<std::uint32_t>(low(a.v[i]) * low(w.v[i])) +
                       static_cast<std::uint32_t>((a.v[i] >> 16) * (w.v[i] >> 16));
      acc.v[i] = static_cast<std::int32_t>(static_cast<std::uint32_t>(acc.v[i]) + sum);
    }
    return acc;
  } else {
#if defined(__AVX512VNNI__)
    if constexpr (has_dpbusd<Isa> && sizeof(Ints) == 64) return _mm512_dpwssd_epi32(acc, a, w);
#endif
#if defined(__AVXVNNI__)
    if constexpr (has_dpbusd<Isa> && sizeof(Ints) == 32) return _mm256_dpwssd_avx_epi32(acc, a, w);
#endif
    return simd<Isa, sizeof(Ints)>::dot2(acc, a, w);
  }
}

/// `pairs` pairs of K of Rows rows, `pitch` elements apart, times a panel of Vectors registers of
/// columns ([pair][vector][lane][2]) → sums [Rows][Vectors · lanes].
template <class Isa, int Rows, int Vectors>
void multiply_wide(const std::int16_t* rows, std::int64_t pitch, const std::int16_t* weights,
                   std::int64_t pairs, std::int32_t* sums) {
  using S = simd<Isa, register_bytes<Isa>>;
  using ints = typename S::ints;
  ints acc[Rows][Vectors];
  const std::uint8_t* a[Rows];
  unrolled<Rows>([&](auto r) PTQ_INLINE_LAMBDA {
    constexpr int row = decltype(r)::value;
    a[row] = reinterpret_cast<const std::uint8_t*>(rows + row * pitch);
    unrolled<Vectors>([&](auto v) PTQ_INLINE_LAMBDA { acc[row][decltype(v)::value] = S::zero(); });
  });
  const std::int16_t* w = weights;
  for (std::int64_t k = 0; k < 4 * pairs; k += 4, w += Vectors * 2 * S::lanes) {
    ints b[Vectors];
    unrolled<Vectors>([&](auto v) PTQ_INLINE_LAMBDA {
      b[decltype(v)::value] = S::load(w + decltype(v)::value * 2 * S::lanes);
    });
    unrolled<Rows>([&](auto r) PTQ_INLINE_LAMBDA {
      constexpr int row = decltype(r)::value;
      const ints x = S::broadcast4(a[row] + k);
      unrolled<Vectors>([&](auto v) PTQ_INLINE_LAMBDA {
        constexpr int i = decltype(v)::value;
        acc[row][i] = dot_words<Isa>(acc[row][i], x, b[i]);
      });
    });
  }
  unrolled<Rows>([&](auto r) PTQ_INLINE_LAMBDA {
    constexpr int row = decltype(r)::value;
    unrolled<Vectors>([&](auto v) PTQ_INLINE_LAMBDA {
      constexpr int i = decltype(v)::value;
      S::store(sums + (row * Vectors + i) * S::lanes, acc[row][i]);
    });
  });
}

/// The same for at most gemm_shape::rows(Vectors) rows; those beyond `count` are read all the same.
template <class Isa, int Vectors>
PTQ_ALWAYS_INLINE void multiply_wide_rows(std::int64_t count, const std::int16_t* rows,
                                          std::int64_t pitch, const std::int16_t* weights,
                                          std::int64_t pairs, std::int32_t* sums) {
  constexpr int most = gemm_shape<Isa>::rows(Vectors);
  if (count > most / 2)
    multiply_wide<Isa, most, Vectors>(rows, pitch, weights, pairs, sums);
  else if (count > 1)
    multiply_wide<Isa, most / 2, Vectors>(rows, pitch, weights, pairs, sums);
  else
    multiply_wide<Isa, 1, Vectors>(rows, pitch, weights, pairs, sums);
}

/// How K is cut, and whether weights are two columns.
struct wide_cut {
  std::int64_t pairs = 0, parts = 1;
  std::int64_t block = 1;  // pairs of a block

  PTQ_ALWAYS_INLINE std::int64_t blocks() const { return (pairs + block - 1) / block; }
};

/// Part `part` of a weight. Halves are rounded up, so that 128 > |low|, and 32767 has 128 above.
PTQ_ALWAYS_INLINE std::int16_t weight_part(std::int16_t w, std::int64_t parts, std::int64_t part) {
  if (parts == 1) return w;
  const int high = (w + 128) >> 8;
  return static_cast<std::int16_t>(part == 0 ? high : w - 256 * high);
}

/// Σ|w| of a filter's part over the elements [first, end), the largest of the parts.
template <class Isa>
PTQ_ALWAYS_INLINE std::int64_t absolute_sum(const std::int16_t* filter, std::int64_t parts,
                                            work_range r) {
  std::int64_t sum[2] = {};
  for (std::int64_t i = r.begin; i < r.end; ++i)
    for (std::int64_t p = 0; p < parts; ++p) {
      const std::int64_t w = weight_part(filter[i], parts, p);
      sum[p] += w < 0 ? -w : w;
    }
  return std::max(sum[0], sum[1]);
}

/// Whether every block of every filter keeps within int32.
template <class Isa>
bool blocks_fit(const std::int16_t* weights, std::int64_t filters, std::int64_t count,
                std::int64_t reach, const wide_cut& cut) noexcept {
  for (std::int64_t f = 0; f < filters; ++f)
    for (std::int64_t b = 0; b < count; b += 2 * cut.block) {
      const work_range part{b, std::min(count, b + 2 * cut.block)};
      if (absolute_sum<Isa>(weights + f * count, cut.parts, part) * reach >= std::int64_t{1} << 31)
        return false;
    }
  return true;
}

/// The longest equal blocks, of `cut.parts`. A last resort of one pair needs |w| < 32768 / 2 … 128.
template <class Isa>
bool longest_blocks(const std::int16_t* weights, std::int64_t filters, std::int64_t count,
                    std::int64_t reach, wide_cut& cut) noexcept {
  std::int64_t most = 0;
  for (std::int64_t f = 0; f < filters; ++f)
    most = std::max(most, absolute_sum<Isa>(weights + f * count, cut.parts, {0, count}));
  std::int64_t blocks = most * reach / (std::int64_t{1} << 31) + 1;
  for (;; blocks += 1 + blocks / 4) {
    cut.block = std::max<std::int64_t>(1, (cut.pairs + blocks - 1) / blocks);
    if (blocks_fit<Isa>(weights, filters, count, reach, cut)) return true;
    if (cut.block == 1) return false;
  }
}

/// The cut for these filters of `count` elements each. Adding up a block's sums takes as long as
/// eight products of pairs; shorter ones are worth a second column.
template <class Isa>
PTQ_ALWAYS_INLINE wide_cut cut_for(const std::int16_t* weights, std::int64_t filters,
                                   std::int64_t count, std::int64_t reach) {
  constexpr std::int64_t shortest = 8;
  wide_cut cut{.pairs = (count + 1) / 2};
  const bool fits = longest_blocks<Isa>(weights, filters, count, reach, cut);
  if (fits && (cut.block >= shortest || cut.block == cut.pairs)) return cut;
  cut.parts = 2;
  longest_blocks<Isa>(weights, filters, count, reach, cut);
  return cut;
}

}  // namespace ptq::native
