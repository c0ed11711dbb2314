#pragma once
// SPDX-License-Identifier: Apache-2.0
// One pass over a sample's numbers that every observer starts from: smallest, largest, and a proof
// that all are finite. It runs at the speed of memory, so that calibration costs little more than
// the float inferences it watches.

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include <ptq/core/error.hpp>
#include <ptq/core/value_range.hpp>

namespace ptq::calibration {

/// Independent partial results: two AVX-512 registers, and enough to hide the latency of SSE.
inline constexpr std::size_t lanes = 32;

/// Smallest and largest of the numbers; `finite` is false if one of them is NaN or infinite (the
/// range is then void).
struct extremes {
  value_range range;
  bool finite = true;
};

/// cost    one pass; the compiler turns the fixed-size inner loops into vector code at -O2
inline extremes scan(std::span<const float> x) {
  if (x.empty()) return {};
  std::array<float, lanes> low, high, residue{};
  low.fill(x[0]);
  high.fill(x[0]);
  const std::size_t whole = x.size() / lanes * lanes;
  const float* p = x.data();
  for (std::size_t i = 0; i < whole; i += lanes)
    for (std::size_t j = 0; j < lanes; ++j) {
      const float v = p[i + j];
      low[j] = v < low[j] ? v : low[j];
      high[j] = v > high[j] ? v : high[j];
      residue[j] += v - v;  // 0, or NaN for ever after a NaN or an infinity
    }
  for (std::size_t i = whole; i < x.size(); ++i) {
    const float v = p[i];
    low[0] = v < low[0] ? v : low[0];
    high[0] = v > high[0] ? v : high[0];
    residue[0] += v - v;
  }
  extremes e{{low[0], high[0]}, true};
  for (std::size_t j = 0; j < lanes; ++j) {
    e.range = joined(e.range, {low[j], high[j]});
    e.finite = e.finite && residue[j] == 0.0f;
  }
  return e;
}

/// scan, for numbers that must be finite.
///
/// throws  calibration_error naming the value, the first number that is not finite, and its index
inline value_range scan_finite(std::span<const float> x, std::string_view value) {
  const extremes e = scan(x);
  if (e.finite) return e.range;
  std::size_t i = 0;
  while (i + 1 < x.size() && x[i] - x[i] == 0.0f) ++i;
  throw calibration_error("calibrate: value '" + std::string(value) +
                          "': expected finite numbers, got " + std::to_string(x[i]) +
                          " at element " + std::to_string(i) + " of " + std::to_string(x.size()));
}

}  // namespace ptq::calibration
