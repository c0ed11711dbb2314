#pragma once
// SPDX-License-Identifier: Apache-2.0
// The range of real numbers that a value's codes will cover, and the rules by which calibration may
// choose it.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>

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

/// What is taken of one sample's numbers.
enum class range_statistic : std::uint8_t {
  min,
  max,
  abs_max,
  quantile,      // below which a share `outlier_prob` lies; of the upper side: above which it does
  abs_quantile,  // of the magnitudes: above which a share `outlier_prob` lies
  mean,
  raw  // the numbers themselves: for the aggregator `histogram`
};

/// How the samples' statistics become one number.
enum class range_aggregator : std::uint8_t {
  mean,
  max,
  min,
  median,
  mean_no_outliers,    // of those between the 1 % and the 99 % quantile
  median_no_outliers,  // likewise
  histogram,           // the pair of bounds with the least squared error (PyTorch's search)
  hl_estimator         // Hodges-Lehmann: median of the means of all pairs
};

/// How one bound of a range follows from samples.
struct range_side {
  range_statistic statistic = range_statistic::min;
  range_aggregator aggregator = range_aggregator::mean;
  double clipping_value = std::numeric_limits<double>::infinity();  // the bound's largest magnitude
  double outlier_prob = 1e-4;                                       // of the quantiles
  bool operator==(const range_side&) const = default;
};

/// How a range follows from samples.
enum class range_estimator : std::uint8_t {
  minmax,       // smallest and largest number seen
  mean_minmax,  // mean over samples of each sample's smallest and largest (NNCF's default)
  median_minmax,
  mean_no_outliers_minmax,
  mean_quantile,  // mean over samples of each sample's quantiles
  histogram,      // PyTorch's and NNCF's search for the least squared error
  percentile,     // quantiles of all numbers
  mse,            // the range with the least expected squared quantization error
  entropy,        // the symmetric range with the least Kullback-Leibler divergence
  automatic,      // for every value the one of the rules above that costs its numbers least
  custom          // the two sides as stated
};

/// Every estimator, with the name that options and reports use.
inline constexpr std::array<std::pair<range_estimator, const char*>, 11> range_estimators = {{
    {range_estimator::minmax, "minmax"},
    {range_estimator::mean_minmax, "mean_minmax"},
    {range_estimator::median_minmax, "median_minmax"},
    {range_estimator::mean_no_outliers_minmax, "mean_no_outliers_minmax"},
    {range_estimator::mean_quantile, "mean_quantile"},
    {range_estimator::histogram, "histogram"},
    {range_estimator::percentile, "percentile"},
    {range_estimator::mse, "mse"},
    {range_estimator::entropy, "entropy"},
    {range_estimator::automatic, "automatic"},
    {range_estimator::custom, "custom"},
}};
inline constexpr std::array<std::pair<range_statistic, const char*>, 7> range_statistics = {{
    {range_statistic::min, "min"},
    {range_statistic::max, "max"},
    {range_statistic::abs_max, "abs_max"},
    {range_statistic::quantile, "quantile"},
    {range_statistic::abs_quantile, "abs_quantile"},
    {range_statistic::mean, "mean"},
    {range_statistic::raw, "raw"},
}};
inline constexpr std::array<std::pair<range_aggregator, const char*>, 8> range_aggregators = {{
    {range_aggregator::mean, "mean"},
    {range_aggregator::max, "max"},
    {range_aggregator::min, "min"},
    {range_aggregator::median, "median"},
    {range_aggregator::mean_no_outliers, "mean_no_outliers"},
    {range_aggregator::median_no_outliers, "median_no_outliers"},
    {range_aggregator::histogram, "histogram"},
    {range_aggregator::hl_estimator, "hl_estimator"},
}};

constexpr const char* name_of(range_estimator e) {
  return range_estimators[static_cast<std::size_t>(e)].second;
}
constexpr const char* name_of(range_statistic s) {
  return range_statistics[static_cast<std::size_t>(s)].second;
}
constexpr const char* name_of(range_aggregator a) {
  return range_aggregators[static_cast<std::size_t>(a)].second;
}

}  // namespace ptq
