// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include <ptq/calibrate/entropy.hpp>
#include <ptq/calibrate/l2_search.hpp>
#include <ptq/calibrate/mse.hpp>

#include "numbers.hpp"

namespace {
using namespace ptq;
using namespace ptq::calibration;
using namespace ptq_test;

value_range mse_range(const samples_of_numbers& x, bool symmetric) {
  return range_after({.estimator = range_estimator::mse, .symmetric = symmetric}, x);
}
}  // namespace

TEST_CASE("the error integral is that of rounding to the nearest level and clipping") {
  for (const level_grid g : {level_grid{0.1, -3, 4}, level_grid{0.37, 0, 7}}) {
    for (double x : {-2.0, -0.31, -0.05, 0.0, 0.04, 0.2, 1.9, 4.0}) {
      const int steps = 200000;
      double sum = 0;
      for (int i = 0; i < steps; ++i) {
        const double t = x * (i + 0.5) / steps;
        const double n = std::min(std::max(std::nearbyint(t / g.step), g.low), g.high);
        sum += (t - n * g.step) * (t - n * g.step) * x / steps;
      }
      CHECK(error_integral(x, g) == doctest::Approx(sum).epsilon(1e-4));
    }
  }
}

TEST_CASE("the expected error equals the mean over the numbers themselves") {
  const auto x = normal(50000, 11);
  const auto h = seen(histogram{}, {x});
  for (float t : {1.0f, 2.5f, 4.0f}) {
    const auto g = levels_of({-t, t}, {});
    double sum = 0;
    for (float v : x) {
      const double n =
          std::min(std::max(std::nearbyint(static_cast<double>(v) / g.step), g.low), g.high);
      const double e = static_cast<double>(v) - n * g.step;
      sum += e * e;
    }
    CHECK(expected_error(h, g) == doctest::Approx(sum / 50000).epsilon(0.03));
  }
}

TEST_CASE("mse clips a normal distribution where theory says, and leaves a uniform one alone") {
  // Minimum of s²/12 + 2∫_t^∞ (x−t)² φ(x) dx with s = t/127: 3.92 deviations at 8 bits (Banner et
  // al. 2019, M = 8).
  const auto n = mse_range({normal(400000, 9)}, true);
  CHECK(std::max(-n.min, n.max) == doctest::Approx(3.92).epsilon(0.04));
  const auto u = mse_range({uniform(100000, 10, -1, 1)}, true);
  CHECK(std::max(-u.min, u.max) > 0.99);
}

TEST_CASE("mse weighs one outlier against the step it costs all others") {
  // n numbers in [0, 1] and one at 12: t²/(255² · 12) + (12 − t)²/n is least at t = 12 / (1 +
  // n/(255² · 12)).
  for (std::size_t n : {100000u, 1000000u}) {
    const double t = 12 / (1 + static_cast<double>(n) / (255.0 * 255 * 12));
    auto x = uniform(n, 12, 0, 1);
    x.push_back(12);
    const auto high = mse_range({x}, false);
    CHECK(high.max == doctest::Approx(t).epsilon(0.02));
    x.back() = -12;
    const auto low = mse_range({x}, false);
    CHECK(low.min > -12);
    CHECK(low.max > 0.9f);
    CHECK(range_after({.estimator = range_estimator::minmax}, {x}).min == -12);
  }
}

TEST_CASE("exact zeros do not move the range that mse chooses") {
  auto x = normal(100000, 13);
  for (auto& v : x) v = std::fabs(v);
  const auto without = mse_range({x}, true);
  x.insert(x.end(), 400000, 0.0f);
  CHECK(mse_range({x}, true).max == doctest::Approx(without.max).epsilon(0.02));
}

TEST_CASE("entropy keeps a uniform range whole and cuts a far outlier") {
  CHECK(range_after({.estimator = range_estimator::entropy}, {uniform(200000, 14, 0, 1)}).max >
        0.98);
  auto x = normal(200000, 15);
  x.push_back(60);
  const auto r = range_after({.estimator = range_estimator::entropy}, {x});
  CHECK(r.max < 20);
  CHECK(r.max > 2);
  CHECK(r.min == -r.max);
}

TEST_CASE("the search of PyTorch and NNCF keeps a uniform range and clips a normal one") {
  const observer_options o{.estimator = range_estimator::histogram};
  const auto u = range_after(o, {uniform(200000, 30, -1, 3)});
  CHECK(u.min == doctest::Approx(-1).epsilon(0.01));
  CHECK(u.max == doctest::Approx(3).epsilon(0.01));
  // It stops at the first rise of the error: between the optimum and the extremes.
  const auto x = normal(400000, 31);
  const auto n = range_after(o, {x});
  CHECK(n.max < extremes_of(x).max);
  CHECK(n.max > 3.5f);
  CHECK(n.min < -3.5f);
}

TEST_CASE("the cell error of whole bins is that of the numbers in them") {
  // Four bins in two cells: each bin's numbers lie evenly a quarter to either side of a middle.
  CHECK(cell_error({1, 1, 1, 1}, 0, 3, 2) == doctest::Approx(4.0 / 3));
  // Bins outside of the cells count their distance from the end cell's middle.
  CHECK(cell_error({0, 1, 0, 1}, 1, 1, 1) == doctest::Approx(1.0 / 12 + 4 + 1.0 / 12));
}

TEST_CASE("automatic never costs more than a rule it chooses from") {
  std::vector<std::vector<float>> cases{normal(100000, 32), uniform(50000, 33, -1, 4),
                                        normal(1000, 34, 1e-3)};
  cases.push_back(normal(60000, 35));
  for (std::size_t i = 0; i < cases[3].size(); i += 300) cases[3][i] *= 40;  // a tail that carries
  for (auto v : uniform(30000, 36, 0, 1)) cases[2].push_back(v);
  for (const auto& x : cases)
    for (bool symmetric : {true, false})
      for (int codes : {16, 256, 65536}) {
        const observer_options a{
            .estimator = range_estimator::automatic, .symmetric = symmetric, .codes = codes};
        const auto s = sketch_for(a, {x});
        const code_grid grid{.symmetric = symmetric, .codes = codes};
        const double best = expected_error(s.counts(), levels_of(range_of(s, a), grid));
        for (auto e : {range_estimator::minmax, range_estimator::mean_minmax, range_estimator::mse,
                       range_estimator::entropy, range_estimator::percentile}) {
          auto o = a;
          o.estimator = e;
          CHECK(best <= expected_error(s.counts(), levels_of(range_of(s, o), grid)));
        }
      }
}

TEST_CASE("automatic keeps a tail that carries the signal and cuts an outlier that does not") {
  const observer_options o{.estimator = range_estimator::automatic, .symmetric = false};
  auto tail = normal(100000, 37);
  for (std::size_t i = 0; i < tail.size(); i += 100) tail[i] = 20 * (tail[i] > 0 ? 1.0f : -1.0f);
  CHECK(range_after(o, {tail}).max > 19);
  auto outlier = uniform(1000000, 38, -1, 1);
  outlier.push_back(40);
  CHECK(range_after(o, {outlier}).max < 20);
}
