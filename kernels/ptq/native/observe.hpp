#pragma once
// SPDX-License-Identifier: Apache-2.0
// Calibration's passes in registers: extremes, a proof that all is finite and sums of channels in
// one reading of a value; bins of a histogram. Equal to core/observation.hpp bit for bit: a
// channel's sum takes its rows in the same order, whatever the width of a register.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <ptq/core/observation.hpp>
#include <ptq/native/lanes.hpp>

namespace ptq::native {

template <class Isa>
struct observe_kernel {
  using lane = lanes<Isa>;
  using real = typename lane::real;
  static constexpr std::int64_t width = lane::width;

  /// `Count` independent sets of partial results, enough to hide the latency of their operations.
  template <int Count>
  struct partial {
    real low[Count], high[Count], residue[Count];

    PTQ_ALWAYS_INLINE explicit partial(float start) {
      unrolled<Count>([&](auto k) PTQ_INLINE_LAMBDA {
        low[k.value] = high[k.value] = lane::constant(start);
        residue[k.value] = lane::constant(0.0f);
      });
    }
    template <int K>
    PTQ_ALWAYS_INLINE void take(real v) {
      low[K] = lane::lesser(v, low[K]);
      high[K] = lane::greater(v, high[K]);
      residue[K] = residue[K] + (v - v);
    }
    PTQ_ALWAYS_INLINE void into(observation& o) const {
      alignas(64) float a[width], b[width], c[width];
      unrolled<Count>([&](auto k) PTQ_INLINE_LAMBDA {
        low[k.value].store_aligned(a);
        high[k.value].store_aligned(b);
        residue[k.value].store_aligned(c);
        for (std::int64_t i = 0; i < width; ++i) {
          o.min = a[i] < o.min ? a[i] : o.min;
          o.max = b[i] > o.max ? b[i] : o.max;
          o.finite = o.finite && c[i] == 0.0f;
        }
      });
    }
  };

  PTQ_ALWAYS_INLINE static void take(observation& o, float v) {
    o.min = v < o.min ? v : o.min;
    o.max = v > o.max ? v : o.max;
    o.finite = o.finite && v - v == 0.0f;
  }

  PTQ_ALWAYS_INLINE static void extremes(const observed_matrix& m, observation& o) {
    constexpr int sets = 4;
    partial<sets> all(m.x[0]);
    const std::int64_t n = m.size();
    std::int64_t i = 0;
    for (; i + sets * width <= n; i += sets * width)
      unrolled<sets>([&](auto k) PTQ_INLINE_LAMBDA {
        all.template take<k.value>(lane::load(m.x + i + k.value * width));
      });
    all.into(o);
    for (; i < n; ++i) take(o, m.x[i]);
  }

  /// Columns [c, c + Count · width) of rows [0, n).
  template <int Count>
  PTQ_ALWAYS_INLINE static void columns(const float* x, std::int64_t n, std::int64_t channels,
                                        partial<2>& all, double* sums) {
    real sum[Count];
    unrolled<Count>([&](auto k) PTQ_INLINE_LAMBDA { sum[k.value] = lane::constant(0.0f); });
    for (std::int64_t i = 0; i < n; ++i)
      unrolled<Count>([&](auto k) PTQ_INLINE_LAMBDA {
        const real v = lane::load(x + i * channels + k.value * width);
        all.template take<k.value>(v);
        sum[k.value] = sum[k.value] + v;
      });
    unrolled<Count>([&](auto k) PTQ_INLINE_LAMBDA {
      alignas(64) float s[width];
      sum[k.value].store_aligned(s);
      for (std::int64_t i = 0; i < width; ++i)
        sums[k.value * width + i] += static_cast<double>(s[i]);
    });
  }

  PTQ_ALWAYS_INLINE static void with_sums(const observed_matrix& m, observation& o, double* sums) {
    partial<2> all(m.x[0]);
    for (std::int64_t r = 0; r < m.rows; r += observe_block) {
      const std::int64_t n = m.rows - r < observe_block ? m.rows - r : observe_block;
      const float* x = m.x + r * m.channels;
      std::int64_t c = 0;
      for (; c + 2 * width <= m.channels; c += 2 * width)
        columns<2>(x + c, n, m.channels, all, sums + c);
      for (; c + width <= m.channels; c += width) columns<1>(x + c, n, m.channels, all, sums + c);
      for (; c < m.channels; ++c) {
        float sum = 0;
        for (std::int64_t i = 0; i < n; ++i) {
          const float v = x[i * m.channels + c];
          take(o, v);
          sum += v;
        }
        sums[c] += static_cast<double>(sum);
      }
    }
    all.into(o);
  }
};

template <class Isa>
inline observation observe(const observed_matrix& m, double* sums) {
  observation o{m.x[0], m.x[0], true};
  if (sums)
    observe_kernel<Isa>::with_sums(m, o, sums);
  else
    observe_kernel<Isa>::extremes(m, o);
  return o;
}

/// order[mask]: the indices of the lanes of an 8-bit mask, a byte each, from the lowest on.
template <class Isa>
struct kept_lanes {
  static constexpr std::array<std::uint64_t, 256> order = [] {
    std::array<std::uint64_t, 256> all{};
    for (std::size_t mask = 0; mask < all.size(); ++mask)
      for (std::uint64_t lane = 0, n = 0; lane < 8; ++lane)
        if (mask >> lane & 1u) all[mask] |= lane << (8 * n++);
    return all;
  }();
};

/// Stores the lanes of `codes`, each in [0, 65535], that `keep` holds for, next to each other, and
/// returns their number. Writes up to a whole register's worth of elements.
template <class Isa>
PTQ_ALWAYS_INLINE std::int64_t store_kept(std::uint16_t* out, typename lanes<Isa>::whole codes,
                                          typename lanes<Isa>::truth keep) {
  constexpr int width = lanes<Isa>::width;
#if defined(__AVX512F__)
  if constexpr (width == 16) {
    const auto k = static_cast<__mmask16>(keep);
    const __m512i together = _mm512_maskz_compress_epi32(k, static_cast<__m512i>(codes));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out),
                        _mm512_maskz_cvtepi32_epi16(0xffff, together));
    return __builtin_popcount(k);
  }
#endif
#if defined(__AVX2__)
  if constexpr (width == 8) {
    const auto k = static_cast<std::uint8_t>(_mm256_movemask_ps(static_cast<__m256>(keep)));
    const auto order = static_cast<long long>(kept_lanes<Isa>::order[k]);
    const __m256i together = _mm256_permutevar8x32_epi32(
        static_cast<__m256i>(codes), _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(order)));
    _mm_storeu_si128(
        reinterpret_cast<__m128i*>(out),
        _mm_packus_epi32(_mm256_castsi256_si128(together), _mm256_extracti128_si256(together, 1)));
    return __builtin_popcount(k);
  }
#endif
  alignas(64) std::int32_t all[width];
  alignas(64) bool kept[width];
  codes.store_aligned(all);
  keep.store_aligned(kept);
  std::int64_t n = 0;
  for (int i = 0; i < width; ++i) {
    out[n] = static_cast<std::uint16_t>(all[i]);
    n += kept[i] ? 1 : 0;
  }
  return n;
}

/// Bins are sorted out in two steps: in registers, the bins of the numbers that are not 0 are
/// computed and stored next to each other; then they are counted one by one. Zeros, half of the
/// numbers behind a ReLU, cost the first step alone.
template <class Isa>
inline void count(const float* x, std::int64_t n, bin_counters& b) {
  using lane = lanes<Isa>;
  using real = typename lane::real;
  using whole = typename lane::whole;
  constexpr std::int64_t width = lane::width, chunk = 1024;  // 2 KB of bins stay in L1
  static_assert(bin_counters::bins <= 0x10000 && chunk % width == 0);
  const float wide = 1 / b.inverse_width;
  const real inverse = lane::constant(b.inverse_width), edge = lane::constant(wide);
  const real none = lane::constant(0.0f), one = lane::from_bits(lane::constant_whole(1));
  const whole first = lane::constant_whole(b.first);
  std::uint64_t* const counts = b.counts;
  std::uint64_t zeros = 0;
  alignas(64) std::uint16_t kept[chunk + width];
  std::int64_t i = 0;
  while (i + width <= n) {
    const std::int64_t whole_registers = n - i < chunk ? (n - i) / width * width : chunk;
    std::int64_t some = 0;
    for (const std::int64_t end = i + whole_registers; i < end; i += width) {
      const real v = lane::load(x + i);
      const whole w = lane::to_whole(v * inverse);
      const whole above = lane::bits(lane::select(v < lane::to_real(w) * edge, one, none));
      some += store_kept<Isa>(kept + some, w - above - first, v != none);
    }
    zeros += static_cast<std::uint64_t>(whole_registers - some);
    std::int64_t j = 0;
    for (; j + 4 <= some; j += 4) {
      std::uint64_t four;
      std::memcpy(&four, kept + j, sizeof four);
      ++counts[four & 0xffff];
      ++counts[(four >> 16) & 0xffff];
      ++counts[(four >> 32) & 0xffff];
      ++counts[four >> 48];
    }
    for (; j < some; ++j) ++counts[kept[j]];
  }
  for (; i < n; ++i) {
    if (x[i] == 0.0f) {
      ++zeros;
      continue;
    }
    const auto w = static_cast<std::int32_t>(x[i] * b.inverse_width);
    ++counts[w - (x[i] < static_cast<float>(w) * wide ? 1 : 0) - b.first];
  }
  b.zeros += zeros;
  if (zeros > 0) counts[-b.first] += zeros;
}

}  // namespace ptq::native
