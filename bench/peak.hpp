#pragma once
// SPDX-License-Identifier: Apache-2.0
// What the machine can do at best, measured once per run: multiply-adds of one core, and bytes copied.

#include <cstring>
#include <ctime>
#include <vector>

#include <ptq/report/peak.hpp>

namespace ptq_bench {

/// Seconds of processor time, so that a busy machine disturbs less.
inline double seconds_used() {
  return static_cast<double>(std::clock()) / static_cast<double>(CLOCKS_PER_SEC);
}

struct peaks : ptq::machine_peaks {
  double copy = 0;  // bytes read and written per second, far beyond the caches
};

inline peaks measure() {
  peaks p{ptq::measure_peaks(), 0};
  constexpr std::size_t bytes = std::size_t{128} << 20;
  std::vector<char> from(bytes, 1), to(bytes);
  p.copy = ptq::detail_peak::best_rate(2.0 * static_cast<double>(bytes), 1, [&] {
    std::memcpy(to.data(), from.data(), bytes);
#if defined(__GNUC__)
    asm volatile("" : : "r"(to.data()) : "memory");
#endif
  });
  return p;
}

/// Measured before anything else.
inline const peaks& machine() {
  static const peaks p = measure();
  return p;
}

}  // namespace ptq_bench
