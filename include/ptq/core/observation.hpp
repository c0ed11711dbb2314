#pragma once
// SPDX-License-Identifier: Apache-2.0
// The two passes of calibration over a value's numbers, and their specification in scalar code:
// `observe` finds the extremes, proves all numbers finite and sums channels; `count` fills a
// histogram. A kernel table may hold faster ones, equal bit for bit.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace ptq {

/// f32 [rows, channels], contiguous, at least one number.
struct observed_matrix {
  const float* x = nullptr;
  std::int64_t rows = 1, channels = 1;

  std::int64_t size() const { return rows * channels; }
};

struct observation {
  float min = 0, max = 0;  // void unless finite
  bool finite = true;
};

/// Rows that are added in float before they reach a double: the rounding stays below 2^-19 of the
/// largest sum.
inline constexpr std::int64_t observe_block = 32;

/// Counters of a histogram.
struct bin_counters {
  static constexpr std::int64_t bins = 2048;

  float inverse_width = 1;          // a power of two, from 2^-126 to 2^126
  std::int32_t first = 0;           // index of bin 0: its lower edge in widths
  std::uint64_t* counts = nullptr;  // [bins]
  std::uint64_t zeros = 0;          // numbers that are exactly 0
};

/// sums [channels] or null: added to, in blocks of rows from first to last
using observe_function = observation (*)(const observed_matrix&, double* sums);
/// x [n]; floor(x · inverse_width) − first must be a bin for every number
using count_function = void (*)(const float* x, std::int64_t n, bin_counters&);

inline observation observe_scalar(const observed_matrix& m, double* sums) {
  observation o{m.x[0], m.x[0], true};
  float residue = 0;  // NaN for ever after a NaN or an infinity
  for (std::int64_t i = 0; i < m.size(); ++i) {
    const float v = m.x[i];
    o.min = v < o.min ? v : o.min;
    o.max = v > o.max ? v : o.max;
    residue += v - v;
  }
  o.finite = residue == 0.0f;
  for (std::int64_t r = 0; sums && r < m.rows; r += observe_block)
    for (std::int64_t c = 0; c < m.channels; ++c) {
      float sum = 0;
      for (std::int64_t i = r; i < std::min(r + observe_block, m.rows); ++i)
        sum += m.x[i * m.channels + c];
      sums[c] += static_cast<double>(sum);
    }
  return o;
}

inline void count_scalar(const float* x, std::int64_t n, bin_counters& b) {
  for (std::int64_t i = 0; i < n; ++i) {
    // Towards zero, then down where that went up; compared in units of x, where nothing underflows.
    const auto whole = static_cast<std::int32_t>(x[i] * b.inverse_width);
    const bool above = x[i] < static_cast<float>(whole) * (1 / b.inverse_width);
    const std::int32_t bin = whole - (above ? 1 : 0) - b.first;
    ++b.counts[bin];
    b.zeros += x[i] == 0.0f ? 1 : 0;
  }
}

/// What calibration walks over values with.
struct observation_passes {
  observe_function observe = observe_scalar;
  count_function count = count_scalar;
};

}  // namespace ptq
