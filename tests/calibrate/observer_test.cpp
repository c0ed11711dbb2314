// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <ptq/calibrate/channel_mean.hpp>
#include <ptq/calibrate/entropy.hpp>
#include <ptq/calibrate/histogram.hpp>
#include <ptq/calibrate/mean_minmax.hpp>
#include <ptq/calibrate/minmax.hpp>
#include <ptq/calibrate/mse.hpp>
#include <ptq/calibrate/observer.hpp>
#include <ptq/calibrate/percentile.hpp>

namespace {

using namespace ptq;
using namespace ptq::calibration;

static_assert(observer<minmax> && observer<mean_minmax> && observer<percentile> && observer<mse> &&
              observer<entropy>);

std::vector<float> normal(std::size_t n, unsigned seed, double deviation = 1) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> d(0, deviation);
  std::vector<float> x(n);
  for (auto& v : x) v = static_cast<float>(d(random));
  return x;
}

std::vector<float> uniform(std::size_t n, unsigned seed, double low, double high) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> d(low, high);
  std::vector<float> x(n);
  for (auto& v : x) v = static_cast<float>(d(random));
  return x;
}

template <class O>
O seen(O o, const std::vector<std::vector<float>>& samples) {
  for (const auto& s : samples) o.add(s, scan(s).range);
  return o;
}

}  // namespace

TEST_CASE("a scan finds the extremes wherever they lie") {
  for (std::size_t n : {1u, 31u, 32u, 33u, 64u, 97u, 1000u})
    for (std::size_t at = 0; at < n; at += 7) {
      auto x = uniform(n, 1, -1, 1);
      x[at] = 5;
      x[n - 1 - at] = n == 1 ? 5.0f : x[n - 1 - at];
      CHECK(scan(x).range.max == 5);
      x[at] = -5;
      CHECK(scan(x).range.min == -5);
      CHECK(scan(x).finite);
    }
}

TEST_CASE("a NaN or an infinity anywhere is an error that names the value and the element") {
  for (std::size_t n : {1u, 33u, 100u})
    for (std::size_t at = 0; at < n; at += 3)
      for (float bad :
           {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
            -std::numeric_limits<float>::infinity()}) {
        std::vector<float> x(n, 1.0f);
        x[at] = bad;
        any_observer o{minmax{}};
        std::string text;
        try {
          o.add(x, "conv1_output");
        } catch (const calibration_error& e) {
          text = e.what();
        }
        CHECK(text.find("'conv1_output'") != std::string::npos);
        CHECK(text.find("element " + std::to_string(at) + " of") != std::string::npos);
        CHECK(o.samples() == 0);
      }
}

TEST_CASE("large finite numbers are no infinities") {
  std::vector<float> x(64, std::numeric_limits<float>::max());
  x[3] = -x[3];
  CHECK(scan(x).finite);
}

TEST_CASE("minmax keeps the extremes, mean_minmax averages them per sample") {
  const std::vector<std::vector<float>> samples{{-1, 0, 2}, {-3, 1, 4}, {0.5f, 6, 1}};
  CHECK(seen(minmax{}, samples).range() == value_range{-3, 6});
  CHECK(seen(mean_minmax{}, samples).range() == value_range{-3.5f / 3.0f, 4});
}

TEST_CASE("a sum is the same in any order") {
  std::vector<double> terms;
  for (float v : normal(1000, 3, 1e4)) terms.push_back(static_cast<double>(v));
  terms.push_back(1e16);
  terms.push_back(-1e16);
  exact_sum forward, backward, halves, second;
  for (std::size_t i = 0; i < terms.size(); ++i) {
    forward.add(terms[i]);
    backward.add(terms[terms.size() - 1 - i]);
    (i % 2 ? halves : second).add(terms[i]);
  }
  halves.merge(second);
  long double exact = 0;
  for (std::size_t i = 0; i + 2 < terms.size(); ++i) exact += static_cast<long double>(terms[i]);
  CHECK(forward.value() == backward.value());
  CHECK(forward.value() == halves.value());
  CHECK(forward.value() == doctest::Approx(static_cast<double>(exact)).epsilon(1e-15));
}

TEST_CASE("observers of one kind merge, of two kinds refuse") {
  any_observer a{minmax{}}, b{minmax{}}, c{mean_minmax{}};
  const std::vector<float> x{1, 2}, y{-4, 0};
  a.add(x, "x");
  b.add(y, "x");
  c.add(y, "x");
  any_observer copy = a;
  a.merge(b);
  CHECK(a.range() == value_range{-4, 2});
  CHECK(copy.range() == value_range{1, 2});
  CHECK_THROWS_AS(a.merge(c), calibration_error);
  CHECK_THROWS_AS(any_observer{minmax{}}.range(), calibration_error);
}

TEST_CASE("a histogram counts every number in the bin that holds it") {
  const auto x = normal(40000, 5);
  const auto h = seen(histogram{}, {x});
  std::vector<std::uint64_t> expected(histogram::bins);
  for (float v : x)
    ++expected[static_cast<std::size_t>(std::floor(static_cast<double>(v) / h.width()) -
                                        h.edge(0) / h.width())];
  std::int64_t used = 0;
  for (std::int64_t i = 0; i < histogram::bins; ++i) {
    CHECK(h.count(i) == expected[static_cast<std::size_t>(i)]);
    used = h.count(i) ? i + 1 : used;
  }
  CHECK(h.total() == 40000);
  CHECK(used > 1000);
}

TEST_CASE("a histogram depends on the numbers alone, not on their order or split") {
  const std::vector<std::vector<float>> samples{std::vector<float>(100, 0.0f),
                                                normal(3000, 1, 1e-3),
                                                normal(20000, 2),
                                                {40, -3},
                                                uniform(17, 3, 0.25, 0.75)};
  const std::vector<std::vector<float>> back(samples.rbegin(), samples.rend());
  const auto a = seen(histogram{}, samples), b = seen(histogram{}, back);
  auto c = seen(histogram{}, {samples[3], samples[0]});
  c.merge(seen(histogram{}, {samples[1], samples[4], samples[2]}));
  for (const histogram* h : std::initializer_list<const histogram*>{&b, &c}) {
    CHECK(a.width() == h->width());
    CHECK(a.edge(0) == h->edge(0));
    CHECK(a.zeros() == h->zeros());
    CHECK(a.extremes() == h->extremes());
    for (std::int64_t i = 0; i < histogram::bins; ++i) CHECK(a.count(i) == h->count(i));
  }
  CHECK(a.zeros() == 100);
}

TEST_CASE("a histogram takes constants, denormals and the whole range of float") {
  const std::vector<std::vector<float>> cases{
      {0, 0}, {5, 5, 5}, {1e-42f, 3e-42f}, {-3.4e38f, 3.4e38f, 0}, {1e30f, 1e30f}, {-1e-30f}};
  for (const auto& x : cases) {
    const auto h = seen(histogram{}, {x});
    std::uint64_t n = 0;
    for (std::int64_t i = 0; i < histogram::bins; ++i) n += h.count(i);
    CHECK(n == x.size());
    CHECK(h.quantile(0) == static_cast<double>(scan(x).range.min));
    CHECK(h.quantile(1) == static_cast<double>(scan(x).range.max));
  }
}

TEST_CASE("percentiles of a uniform and of a normal distribution are the known ones") {
  const auto u = seen(percentile(0.01), {uniform(200000, 7, -2, 6)}).range();
  CHECK(u.min == doctest::Approx(-2 + 0.08).epsilon(0.02));
  CHECK(u.max == doctest::Approx(6 - 0.08).epsilon(0.01));
  // Φ(3.0902) = 0.999; the sample quantile's deviation is sqrt(p(1−p)/n)/φ(3.09) = 0.021
  const auto n = seen(percentile(0.001), {normal(200000, 8)}).range();
  CHECK(n.max == doctest::Approx(3.0902).epsilon(0.03));
  CHECK(n.min == doctest::Approx(-3.0902).epsilon(0.03));
}

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
  const auto n = seen(mse({.symmetric = true, .codes = 256}), {normal(400000, 9)}).range();
  CHECK(std::max(-n.min, n.max) == doctest::Approx(3.92).epsilon(0.04));
  const auto u = seen(mse{}, {uniform(100000, 10, -1, 1)}).range();
  CHECK(std::max(-u.min, u.max) > 0.99);
}

TEST_CASE("mse weighs one outlier against the step it costs all others") {
  // n numbers in [0, 1] and one at 12: t²/(255² · 12) + (12 − t)²/n is least at t = 12 / (1 +
  // n/(255² · 12)).
  for (std::size_t n : {100000u, 1000000u}) {
    const double t = 12 / (1 + static_cast<double>(n) / (255.0 * 255 * 12));
    auto x = uniform(n, 12, 0, 1);
    x.push_back(12);
    const auto high = seen(mse({.symmetric = false, .codes = 256}), {x}).range();
    CHECK(high.max == doctest::Approx(t).epsilon(0.02));
    x.back() = -12;
    const auto low = seen(mse({.symmetric = false, .codes = 256}), {x}).range();
    CHECK(low.min > -12);
    CHECK(low.max > 0.9f);
    CHECK(seen(minmax{}, {x}).range().min == -12);
  }
}

TEST_CASE("exact zeros do not move the range that mse chooses") {
  auto x = normal(100000, 13);
  for (auto& v : x) v = std::fabs(v);
  const auto without = seen(mse{}, {x}).range();
  x.insert(x.end(), 400000, 0.0f);
  CHECK(seen(mse{}, {x}).range().max == doctest::Approx(without.max).epsilon(0.02));
}

TEST_CASE("entropy keeps a uniform range whole and cuts a far outlier") {
  CHECK(seen(entropy{}, {uniform(200000, 14, 0, 1)}).range().max > 0.98);
  auto x = normal(200000, 15);
  x.push_back(60);
  const auto r = seen(entropy{}, {x}).range();
  CHECK(r.max < 20);
  CHECK(r.max > 2);
  CHECK(r.min == -r.max);
}

TEST_CASE("channel means agree in both layouts and with the definition") {
  const std::int64_t outer = 77, channels = 35;
  const auto x = normal(static_cast<std::size_t>(outer * channels), 16);
  std::vector<float> planes(x.size());
  std::vector<double> expected(static_cast<std::size_t>(channels));
  for (std::int64_t r = 0; r < outer; ++r)
    for (std::int64_t c = 0; c < channels; ++c) {
      const float v = x[static_cast<std::size_t>(r * channels + c)];
      planes[static_cast<std::size_t>(c * outer + r)] = v;
      expected[static_cast<std::size_t>(c)] += static_cast<double>(v) / static_cast<double>(outer);
    }
  channel_mean last, plain, halves, other;
  last.add(x.data(), outer, channels, 1);
  plain.add(planes.data(), 1, channels, outer);
  halves.add(x.data(), 40, channels, 1);
  other.add(x.data() + 40 * channels, outer - 40, channels, 1);
  halves.merge(other);
  for (std::size_t c = 0; c < expected.size(); ++c) {
    CHECK(last.means()[c] == doctest::Approx(expected[c]).epsilon(1e-5));
    CHECK(plain.means()[c] == doctest::Approx(expected[c]).epsilon(1e-5));
    CHECK(halves.means()[c] == doctest::Approx(expected[c]).epsilon(1e-5));
  }
  CHECK_THROWS_AS(last.add(x.data(), 1, 7, 1), calibration_error);
}
