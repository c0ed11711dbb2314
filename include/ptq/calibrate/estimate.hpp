#pragma once
// SPDX-License-Identifier: Apache-2.0
// Sketch → range, by every estimator: two sides, each a statistic of a sample and an aggregator
// over samples, as POT and NNCF define them, or a search over the histogram of all numbers.

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <utility>

#include <ptq/calibrate/automatic.hpp>
#include <ptq/calibrate/entropy.hpp>
#include <ptq/calibrate/l2_search.hpp>
#include <ptq/calibrate/mse.hpp>
#include <ptq/calibrate/scalar_set.hpp>
#include <ptq/calibrate/sketch.hpp>
#include <ptq/core/error.hpp>
#include <ptq/core/observation.hpp>
#include <ptq/core/value_range.hpp>

namespace ptq {

/// How a range follows from what was seen of a value.
struct observer_options {
  range_estimator estimator = range_estimator::mean_minmax;
  double percentile_tail = 1e-4;  // share of numbers clipped at each side, by `percentile`
  bool symmetric = true;          // of the codes whose error `mse` and `automatic` minimise
  int codes = 256;
  double outlier_prob = 1e-4;  // of `mean_quantile`
  range_side min = {};         // of `custom`
  range_side max = {.statistic = range_statistic::max};
};

namespace calibration {

/// The two sides of an estimator that has sides.
inline std::pair<range_side, range_side> sides_of(const observer_options& o) {
  const auto extremes = [](range_aggregator low, range_aggregator high) {
    return std::pair<range_side, range_side>{
        {.statistic = range_statistic::min, .aggregator = low},
        {.statistic = range_statistic::max, .aggregator = high}};
  };
  using enum range_aggregator;
  switch (o.estimator) {
    case range_estimator::minmax:
      return extremes(min, max);
    case range_estimator::median_minmax:
      return extremes(median, median);
    case range_estimator::mean_no_outliers_minmax:
      return extremes(mean_no_outliers, mean_no_outliers);
    case range_estimator::mean_quantile: {
      const range_side side{.statistic = range_statistic::quantile,
                            .aggregator = mean,
                            .outlier_prob = o.outlier_prob};
      return {side, side};
    }
    case range_estimator::histogram: {
      const range_side side{.statistic = range_statistic::raw, .aggregator = histogram};
      return {side, side};
    }
    case range_estimator::custom:
      return {o.min, o.max};
    default:
      return extremes(mean, mean);
  }
}

/// throws  calibration_error for options that make no range
inline void check(const observer_options& o) {
  const auto share = [](const char* what, double p) {
    if (!(p >= 0 && p < 0.5))
      throw calibration_error(std::string("calibrate: ") + what +
                              ": expected a share from 0 to below 0.5, got " + std::to_string(p));
  };
  share("percentile tail", o.percentile_tail);
  share("outlier probability", o.outlier_prob);
  const auto [low, high] = sides_of(o);
  for (const auto& side : {low, high}) {
    share("outlier probability", side.outlier_prob);
    if (!(side.clipping_value > 0))
      throw calibration_error("calibrate: clipping value: expected a positive number, got " +
                              std::to_string(side.clipping_value));
    if ((side.statistic == range_statistic::raw) !=
        (side.aggregator == range_aggregator::histogram))
      throw calibration_error(std::string("calibrate: range estimator: expected statistic raw and "
                                          "aggregator histogram together, got ") +
                              name_of(side.statistic) + " and " + name_of(side.aggregator));
  }
  if ((low.statistic == range_statistic::raw) != (high.statistic == range_statistic::raw))
    throw calibration_error(
        "calibrate: range estimator: expected raw / histogram on both sides, "
        "got it on one");
}

/// What a sketch must keep for these options.
inline sketch_needs needs_of(const observer_options& o) {
  sketch_needs n;
  switch (o.estimator) {
    case range_estimator::percentile:
    case range_estimator::mse:
    case range_estimator::entropy:
    case range_estimator::automatic:
      n.counts = true;
      return n;
    default:
      break;
  }
  const auto [low, high] = sides_of(o);
  for (const auto& side : {low, high}) {
    using enum range_statistic;
    if (side.statistic == raw) n.counts = true;
    if (side.statistic == mean) n.mean = true;
    if (side.statistic == quantile || side.statistic == abs_quantile)
      n = joined(std::move(n), {.quantiles = {side.outlier_prob}});
  }
  return n;
}

/// What every estimator needs, with the outlier probabilities of these options and of POT's tuning.
inline sketch_needs needs_of_all(const observer_options& o) {
  return joined({.counts = true,
                 .mean = true,
                 .quantiles = {o.outlier_prob, o.min.outlier_prob, o.max.outlier_prob}},
                {.quantiles = {1e-5, 1e-4, 1e-3}});
}

inline double aggregated(const scalar_set& s, range_aggregator a) {
  using enum range_aggregator;
  switch (a) {
    case mean:
      return s.mean();
    case max:
      return static_cast<double>(s.extremes().max);
    case min:
      return static_cast<double>(s.extremes().min);
    case median:
      return quantile_of(s.ordered(), 0.5);
    case mean_no_outliers:
      return mean_of(without_outliers(s.ordered()));
    case median_no_outliers:
      return quantile_of(without_outliers(s.ordered()), 0.5);
    case hl_estimator:
      return hodges_lehmann(s.ordered());
    case histogram:
      break;  // check() has refused it
  }
  return s.mean();
}

/// One bound. A statistic of magnitudes stands for both directions: below, its negative, but 0
/// where no number is negative.
inline double bound(const sketch& s, const range_side& side, bool upper) {
  using enum range_statistic;
  const auto quantiles = [&]() -> const sample_quantiles& {
    for (const auto& q : s.quantiles())
      if (q.share == side.outlier_prob) return q;
    throw calibration_error("calibrate: range: expected quantiles at " +
                            std::to_string(side.outlier_prob) + ", got statistics without");
  };
  const auto set = [&]() -> const scalar_set& {
    switch (side.statistic) {
      case max:
        return s.maxs();
      case abs_max:
        return s.abs_maxs();
      case quantile:
        return upper ? quantiles().high : quantiles().low;
      case abs_quantile:
        return quantiles().magnitude;
      case mean:
        if (!s.needs().mean)
          throw calibration_error("calibrate: range: expected means, got statistics without");
        return s.means();
      case min:
      case raw:
        break;  // check() has refused raw
    }
    return s.mins();
  };
  double v = aggregated(set(), side.aggregator);
  if (!upper && (side.statistic == abs_max || side.statistic == abs_quantile))
    v = s.extremes().min < 0 ? -v : 0;
  return std::clamp(v, -side.clipping_value, side.clipping_value);
}

/// The range of a value's codes.
///
/// s        at least one sample
/// throws   calibration_error if the sketch lacks what the estimator needs, or options make no
///          range
/// exact    the same for any order and split of the samples
inline value_range range_of(const sketch& s, const observer_options& o) {
  check(o);
  if (s.samples() == 0) throw calibration_error("calibrate: range: expected samples, got none");
  if (needs_of(o).counts && !s.needs().counts)
    throw calibration_error(std::string("calibrate: range estimator ") + name_of(o.estimator) +
                            ": expected statistics with counts, got some without");
  const code_grid grid{.symmetric = o.symmetric, .codes = o.codes};
  const histogram& h = s.counts();
  switch (o.estimator) {
    case range_estimator::percentile:
      return {static_cast<float>(h.quantile(o.percentile_tail)),
              static_cast<float>(h.quantile(1 - o.percentile_tail))};
    case range_estimator::mse:
      return least_error_range(h, grid);
    case range_estimator::entropy:
      return least_divergence_range(h, o.codes);
    case range_estimator::automatic:
      return automatic_range(s, grid);
    default:
      break;
  }
  const auto [low, high] = sides_of(o);
  if (low.statistic == range_statistic::raw) {
    const value_range r = l2_range(h, o.codes);
    return {static_cast<float>(std::max(static_cast<double>(r.min), -low.clipping_value)),
            static_cast<float>(std::min(static_cast<double>(r.max), high.clipping_value))};
  }
  const auto a = static_cast<float>(bound(s, low, false));
  const auto b = static_cast<float>(bound(s, high, true));
  return {std::min(a, b), std::max(a, b)};
}

/// The range of numbers that are all there at once, such as a channel of weights: one sample.
///
/// x        at least one number
/// throws   calibration_error if one is NaN or infinite, or as range_of
inline value_range range_of(std::span<const float> x, const observer_options& o,
                            const observation_passes& passes = {}) {
  if (x.empty()) throw calibration_error("calibrate: range: expected numbers, got none");
  const auto seen = passes.observe({x.data(), 1, static_cast<std::int64_t>(x.size())}, nullptr);
  if (!seen.finite)
    throw calibration_error("calibrate: range: expected finite numbers, got some that are not");
  sketch s(needs_of(o));
  s.add(x, {seen.min, seen.max}, passes);
  return range_of(s, o);
}

}  // namespace calibration
}  // namespace ptq
