#pragma once
// SPDX-License-Identifier: Apache-2.0
// The range of real numbers that a value's codes will cover, and the rules by which calibration may
// choose it.

#include <algorithm>
#include <cstdint>

namespace ptq {

/// Closed interval of real numbers, finite, min <= max.
struct value_range {
  float min = 0, max = 0;
  bool operator==(const value_range&) const = default;
};

/// The smallest range that holds both.
inline value_range joined(value_range a, value_range b) {
  return {std::min(a.min, b.min), std::max(a.max, b.max)};
}

/// How a range follows from samples.
enum class range_estimator : std::uint8_t {
  minmax,       // smallest and largest number seen
  mean_minmax,  // mean over samples of each sample's smallest and largest (NNCF's default)
  percentile,   // quantiles of all numbers
  mse,          // the range with the least expected squared quantization error
  entropy,      // the symmetric range with the least Kullback-Leibler divergence
  automatic     // for every value the one of the rules above that costs its numbers least
};

constexpr const char* name_of(range_estimator e) {
  switch (e) {
    case range_estimator::minmax:
      return "minmax";
    case range_estimator::mean_minmax:
      return "mean_minmax";
    case range_estimator::percentile:
      return "percentile";
    case range_estimator::mse:
      return "mse";
    case range_estimator::entropy:
      return "entropy";
    case range_estimator::automatic:
      return "automatic";
  }
  return "?";
}

}  // namespace ptq
