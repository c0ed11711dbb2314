#pragma once
// SPDX-License-Identifier: Apache-2.0
// Calibration's passes in registers: extremes, a proof that all is finite and sums of channels in
// one reading of a value; bins of a histogram. Equal to core/observation.hpp bit for bit: a
// channel's sum takes its rows in the same order, whatever the width of a register.

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

template <class Isa>
inline void count(const float* x, std::int64_t n, bin_counters& b) {
  using lane = lanes<Isa>;
  using real = typename lane::real;
  using whole = typename lane::whole;
  constexpr std::int64_t width = lane::width, registers = 4, step = registers * width;
  constexpr std::int64_t tables = bin_counters::tables, bins = bin_counters::bins;
  static_assert(tables == 4 && bins <= 0x10000);
  const float wide = 1 / b.inverse_width;
  const real inverse = lane::constant(b.inverse_width), edge = lane::constant(wide);
  const real none = lane::constant(0.0f), one = lane::from_bits(lane::constant_whole(1));
  const whole first = lane::constant_whole(b.first);
  whole zeros = lane::constant_whole(0);
  std::uint32_t* const counts = b.counts;
  std::int64_t i = 0;
  const auto bin_of = [&](real v) PTQ_INLINE_LAMBDA {
    const whole w = lane::to_whole(v * inverse);
    const whole above = lane::bits(lane::select(v < lane::to_real(w) * edge, one, none));
    zeros = zeros + lane::bits(lane::select(v == none, one, none));
    return w - above - first;
  };
  for (; i + step <= n; i += step) {
    // Two bins in each lane, so that one load fetches four of them.
    alignas(64) std::int32_t pairs[step / 2];
    unrolled<registers / 2>([&](auto k) PTQ_INLINE_LAMBDA {
      const whole a = bin_of(lane::load(x + i + 2 * k.value * width));
      const whole b = bin_of(lane::load(x + i + (2 * k.value + 1) * width));
      (a | (b << 16)).store_aligned(pairs + k.value * width);
    });
    for (std::int64_t j = 0; j < step / 2; j += 2) {
      std::uint64_t four;
      std::memcpy(&four, pairs + j, sizeof four);
      ++counts[four & 0xffff];
      ++counts[bins + ((four >> 16) & 0xffff)];
      ++counts[2 * bins + ((four >> 32) & 0xffff)];
      ++counts[3 * bins + (four >> 48)];
    }
  }
  alignas(64) std::int32_t z[width];
  zeros.store_aligned(z);
  for (std::int32_t e : z) b.zeros += static_cast<std::uint32_t>(e);
  for (; i < n; ++i) {
    const auto w = static_cast<std::int32_t>(x[i] * b.inverse_width);
    const std::int32_t above = x[i] < static_cast<float>(w) * wide ? 1 : 0;
    ++counts[i % tables * bins + w - above - b.first];
    b.zeros += x[i] == 0.0f ? 1 : 0;
  }
}

}  // namespace ptq::native
