// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include <ptq/calibrate/histogram.hpp>

#include "numbers.hpp"

namespace {
using namespace ptq;
using namespace ptq::calibration;
using namespace ptq_test;
}  // namespace

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
    CHECK(h.quantile(0) == static_cast<double>(extremes_of(x).min));
    CHECK(h.quantile(1) == static_cast<double>(extremes_of(x).max));
  }
}

TEST_CASE("a number next to zero lies on its own side of it, however wide the bins") {
  // 2^21 widths of 2^10: the product with the inverse width underflows.
  for (float tiny : {-1e-45f, -1e-38f}) {
    std::vector<float> x(8192, tiny);
    x[17] = -2e6f;
    const auto h = seen(histogram{}, {x});
    CHECK(h.count(-1 - h.first()) == 8191);
    const auto parts = seen(histogram{}, {std::vector<float>(8191, tiny), {-2e6f}});
    for (std::int64_t i = 0; i < histogram::bins; ++i) CHECK(parts.count(i) == h.count(i));
  }
}

TEST_CASE("the rank of a quantile is off by at most what the histogram states") {
  auto x = normal(50000, 21);
  x.push_back(300);  // leaves few bins for all others
  const auto h = seen(histogram{}, {x});
  std::sort(x.begin(), x.end());
  for (double p : {0.001, 0.1, 0.5, 0.9, 0.999}) {
    const auto at = std::lower_bound(x.begin(), x.end(), static_cast<float>(h.quantile(p)));
    const double rank = static_cast<double>(at - x.begin()) / static_cast<double>(x.size());
    CHECK(std::fabs(rank - p) <= h.rank_error(p) + 1e-4);
    CHECK(h.rank_error(p) < 0.2);
  }
}

TEST_CASE("quantiles of magnitudes are those of the absolute numbers") {
  const auto x = uniform(100000, 22, -4, 1);
  auto magnitudes = x;
  for (auto& v : magnitudes) v = std::fabs(v);
  const auto h = seen(histogram{}, {x}), m = seen(histogram{}, {magnitudes});
  for (double p : {0.0, 0.3, 0.5, 0.99, 1.0})
    CHECK(std::fabs(h.magnitude_quantile(p) - m.quantile(p)) <= 2 * h.width());
  CHECK(seen(histogram{}, {{5, 5, 5}}).magnitude_quantile(0.5) == doctest::Approx(5));
  CHECK(seen(histogram{}, {{-5, -6, -7}}).magnitude_quantile(1) == doctest::Approx(7));
}

TEST_CASE("a histogram's state makes it anew, and a false one is refused") {
  const auto h = seen(histogram{}, {normal(5000, 23), {0, 0, 0}});
  const auto counts = h.all_counts();
  const auto back = histogram::of_state(h.extremes(), h.zeros(), counts);
  REQUIRE(back);
  CHECK(back->total() == h.total());
  CHECK(back->first() == h.first());
  CHECK(back->quantile(0.3) == h.quantile(0.3));
  CHECK_FALSE(histogram::of_state({-1e9f, 1e9f}, h.zeros(), counts));
  CHECK_FALSE(histogram::of_state({2, 1}, h.zeros(), counts));
  CHECK_FALSE(histogram::of_state(h.extremes(), h.total(), counts));
  CHECK_FALSE(histogram::of_state(h.extremes(), h.zeros(), counts.first(5)));
  std::vector<std::uint64_t> many(counts.begin(), counts.end());
  many[3] = ~std::uint64_t{0};
  CHECK_FALSE(histogram::of_state(h.extremes(), h.zeros(), many));
}
