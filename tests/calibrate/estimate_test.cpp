// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include <ptq/calibrate/estimate.hpp>

#include "numbers.hpp"

namespace {
using namespace ptq;
using namespace ptq::calibration;
using namespace ptq_test;
}  // namespace

TEST_CASE("each preset is its pair of statistics and aggregators") {
  // Minima 0, −1, …, −4; maxima 10, 20, 30, 40, 1000.
  samples_of_numbers x;
  for (int i = 0; i < 5; ++i)
    x.push_back({-static_cast<float>(i), 10.0f * static_cast<float>(i + 1)});
  x[4][1] = 1000;
  using enum range_estimator;
  CHECK(range_after({.estimator = minmax}, x) == value_range{-4, 1000});
  CHECK(range_after({.estimator = mean_minmax}, x) == value_range{-2, 220});
  CHECK(range_after({.estimator = median_minmax}, x) == value_range{-2, 30});
  // The quantiles lie just inside the extremes, which are therefore dropped: (20 + 30 + 40) / 3.
  CHECK(range_after({.estimator = mean_no_outliers_minmax}, x) == value_range{-2, 30});
}

TEST_CASE("mean_quantile averages each sample's quantiles") {
  samples_of_numbers x;
  for (int i = 0; i < 8; ++i)
    x.push_back(uniform(20000, 50u + static_cast<unsigned>(i), -1 - i, 2 + i));
  const auto r =
      range_after({.estimator = range_estimator::mean_quantile, .outlier_prob = 0.01}, x);
  // Widths 3, 5, …, 17, each cut by a hundredth.
  CHECK(r.min == doctest::Approx(-4.5 + 0.1).epsilon(0.01));
  CHECK(r.max == doctest::Approx(5.5 - 0.1).epsilon(0.01));
}

TEST_CASE("percentiles of a uniform and of a normal distribution are the known ones") {
  const auto u = range_after({.estimator = range_estimator::percentile, .percentile_tail = 0.01},
                             {uniform(200000, 7, -2, 6)});
  CHECK(u.min == doctest::Approx(-2 + 0.08).epsilon(0.02));
  CHECK(u.max == doctest::Approx(6 - 0.08).epsilon(0.01));
  // Φ(3.0902) = 0.999; the sample quantile's deviation is sqrt(p(1−p)/n)/φ(3.09) = 0.021
  const auto n = range_after({.estimator = range_estimator::percentile, .percentile_tail = 0.001},
                             {normal(200000, 8)});
  CHECK(n.max == doctest::Approx(3.0902).epsilon(0.03));
  CHECK(n.min == doctest::Approx(-3.0902).epsilon(0.03));
}

TEST_CASE("every statistic and every aggregator, by hand") {
  const samples_of_numbers x{{-1, 0, 4}, {-5, 1, 1}, {-3, 2, 10}};
  const auto bounds = [&](range_side low, range_side high) {
    return range_after({.estimator = range_estimator::custom, .min = low, .max = high}, x);
  };
  using s = range_statistic;
  using a = range_aggregator;
  CHECK(bounds({s::min, a::mean}, {s::max, a::mean}) == value_range{-3, 5});
  CHECK(bounds({s::min, a::min}, {s::max, a::max}) == value_range{-5, 10});
  CHECK(bounds({s::min, a::max}, {s::max, a::min}) == value_range{-1, 1});
  CHECK(bounds({s::min, a::median}, {s::max, a::median}) == value_range{-3, 4});
  CHECK(bounds({s::min, a::median_no_outliers}, {s::max, a::median_no_outliers}) ==
        value_range{-3, 4});
  // Means of pairs of 1, 4, 10: 1, 2.5, 4, 5.5, 7, 10.
  CHECK(bounds({s::min, a::hl_estimator}, {s::max, a::hl_estimator}) == value_range{-3, 4.75f});
  // abs_max 4, 5, 10
  CHECK(bounds({s::abs_max, a::mean}, {s::abs_max, a::median}).max == 5);
  CHECK(bounds({s::abs_max, a::max}, {s::abs_max, a::max}) == value_range{-10, 10});
  CHECK(bounds({s::mean, a::min}, {s::mean, a::max}) == value_range{-1, 3});
  const auto q = bounds({s::abs_quantile, a::max, 1e9, 0.01}, {s::abs_quantile, a::max, 1e9, 0.01});
  CHECK(q.max == doctest::Approx(10).epsilon(0.01));
  CHECK(q.min == -q.max);
}

TEST_CASE("a bound by magnitude stays 0 below numbers that are never negative") {
  const observer_options o{.estimator = range_estimator::custom,
                           .min = {.statistic = range_statistic::abs_max},
                           .max = {.statistic = range_statistic::abs_max}};
  CHECK(range_after(o, {{0, 4}, {1, 6}}) == value_range{0, 5});
}

TEST_CASE("a clipping value bounds either side") {
  observer_options o{.estimator = range_estimator::custom};
  o.min.clipping_value = 2;
  o.max.clipping_value = 3;
  CHECK(range_after(o, {{-9, 8}}) == value_range{-2, 3});
  CHECK(range_after(o, {{-1, 1}}) == value_range{-1, 1});
  o.min = {range_statistic::raw, range_aggregator::histogram, 2};
  o.max = {range_statistic::raw, range_aggregator::histogram, 3};
  CHECK(range_after(o, {uniform(9000, 51, -9, 8)}) == value_range{-2, 3});
}

TEST_CASE("options that make no range are refused with their values") {
  const samples_of_numbers x{{1, 2}};
  const auto fails = [&](observer_options o, const char* text) {
    CHECK_THROWS_WITH_AS(range_after(o, x), doctest::Contains(text), calibration_error);
  };
  using enum range_estimator;
  fails({.estimator = custom, .min = {range_statistic::raw, range_aggregator::mean}},
        "raw and mean");
  fails({.estimator = custom, .min = {range_statistic::raw, range_aggregator::histogram}}, "one");
  fails({.estimator = custom, .max = {range_statistic::max, range_aggregator::mean, -1}}, "-1");
  fails({.estimator = percentile, .percentile_tail = 0.7}, "0.7");
  fails({.estimator = mean_quantile, .outlier_prob = std::nan("")}, "nan");
  const sketch bare = seen(sketch{}, x);
  CHECK_THROWS_WITH_AS(range_of(bare, {.estimator = mse}), doctest::Contains("counts"),
                       calibration_error);
  CHECK_THROWS_AS(range_of(bare, {.estimator = mean_quantile}), calibration_error);
  CHECK_THROWS_AS(range_of(sketch{}, {}), calibration_error);
}

TEST_CASE("every estimator gives the same range for any order and split of the samples") {
  samples_of_numbers x;
  for (unsigned i = 0; i < 40; ++i) x.push_back(normal(3000 + 500 * (i % 3), 60 + i, 1 + 0.1 * i));
  const samples_of_numbers back(x.rbegin(), x.rend());
  for (const auto& [estimator, name] : range_estimators) {
    CAPTURE(name);
    const observer_options o{
        .estimator = estimator,
        .max = {range_statistic::abs_quantile, range_aggregator::hl_estimator}};
    auto whole = sketch_for(o, x), all = seen(sketch(needs_of_all(o)), x);
    auto half = sketch_for(o, {x.begin() + 25, x.end()});
    half.merge(sketch_for(o, {x.begin(), x.begin() + 25}));
    const auto r = range_of(whole, o);
    CHECK(r.min < -1);
    CHECK(r.max > 1);
    CHECK(range_after(o, back) == r);
    CHECK(range_of(half, o) == r);
    CHECK(range_of(all, o) == r);
    CHECK(half.samples() == 40);
  }
  sketch a, b({.counts = true});
  CHECK_THROWS_AS(a.merge(b), calibration_error);
}

TEST_CASE("constants, one number and the ends of float have ranges under every estimator") {
  const std::vector<samples_of_numbers> cases{{{0, 0, 0}},           {{5}},
                                              {{-5, -5}, {-5}},      {{1e-42f}},
                                              {{-3.4e38f, 3.4e38f}}, {{1e30f, 1e30f}, {0}}};
  for (const auto& x : cases)
    for (const auto& [estimator, name] : range_estimators) {
      CAPTURE(name);
      const auto r = range_after({.estimator = estimator}, x);
      CHECK(std::isfinite(r.min));
      CHECK(std::isfinite(r.max));
      CHECK(r.min <= r.max);
    }
}

TEST_CASE("numbers that are all there have a range without a sketch") {
  const std::vector<float> w{-3, 1, 2};
  CHECK(range_of(std::span(w), {.estimator = range_estimator::minmax}) == value_range{-3, 2});
  const std::vector<float> bad{1, std::numeric_limits<float>::infinity()};
  CHECK_THROWS_AS(range_of(std::span(bad), {}), calibration_error);
  CHECK_THROWS_AS(range_of(std::span<const float>(), {}), calibration_error);
}
