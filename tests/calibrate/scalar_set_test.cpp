// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include <ptq/calibrate/exact_sum.hpp>
#include <ptq/calibrate/scalar_set.hpp>

#include "numbers.hpp"

namespace {
using namespace ptq;
using namespace ptq::calibration;
using namespace ptq_test;
}  // namespace

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
  CHECK(forward.canonical() == halves.canonical());
  CHECK(exact_sum::of_digits(forward.canonical()).value() == forward.value());
}

TEST_CASE("a sum loses nothing, from the smallest float to the largest") {
  exact_sum s;
  for (double v : {3.4e38, 0x1p-149, -3.4e38, 0.0, -1e30, 2.5, 1e30}) s.add(v);
  CHECK(s.value() == 2.5);  // 2^-149 lies below the last bit of 2.5
  s.add(-2.5);
  CHECK(s.value() == 0x1p-149);
  s.add(-0x1p-148);
  CHECK(s.value() == -0x1p-149);
}

TEST_CASE("order statistics of the samples are exact while they are few, within a bin beyond") {
  scalar_set few, many;
  for (int i = 0; i < 1000; ++i) few.add(static_cast<float>(i * 7 % 1000));
  for (int i = 0; i < 5000; ++i) many.add(static_cast<float>(i * 7 % 5000));
  CHECK(quantile_of(few.ordered(), 0.5) == 499.5);
  CHECK(quantile_of(few.ordered(), 0.1) == doctest::Approx(99.9));
  CHECK(few.mean() == 499.5);
  CHECK(few.ordered().size() == 1000);
  CHECK(many.ordered().size() == scalar_set::kept);
  CHECK(std::fabs(quantile_of(many.ordered(), 0.5) - 2499.5) < 5000.0 / 1024);
  CHECK(many.mean() == 2499.5);
  CHECK(many.extremes() == value_range{0, 4999});
}

TEST_CASE("sets of scalars merge into the whole, also across the bound of what is kept") {
  for (int n : {10, 1024, 1025, 3000}) {
    const auto x = normal(static_cast<std::size_t>(n), 40);
    for (int cut : {1, n / 3, n - 1}) {
      scalar_set whole, a, b;
      for (int i = 0; i < n; ++i) {
        whole.add(x[static_cast<std::size_t>(i)]);
        (i < cut ? a : b).add(x[static_cast<std::size_t>(i)]);
      }
      b.merge(a);
      CHECK(b.ordered() == whole.ordered());
      CHECK(b.mean() == whole.mean());
      CHECK(b.count() == whole.count());
      CHECK(b.extremes() == whole.extremes());
    }
  }
}

TEST_CASE("Hodges and Lehmann's estimate is the median of all means of pairs") {
  for (std::size_t n : {1u, 2u, 3u, 10u, 57u}) {
    auto x = normal(n, 41 + static_cast<unsigned>(n));
    if (n > 5) x[3] = x[4];
    std::sort(x.begin(), x.end());
    std::vector<double> means;
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = i; j < n; ++j)
        means.push_back((static_cast<double>(x[i]) + static_cast<double>(x[j])) / 2);
    std::sort(means.begin(), means.end());
    const double median = (means[(means.size() - 1) / 2] + means[means.size() / 2]) / 2;
    CHECK(hodges_lehmann(x) == median);
  }
}

TEST_CASE("what lies outside of the 1 % and 99 % quantiles is an outlier") {
  std::vector<float> x;
  for (int i = 0; i < 200; ++i) x.push_back(static_cast<float>(i));
  x.back() = 1e6f;
  const auto kept = without_outliers(x);
  CHECK(kept.front() == 2);  // the 1 % quantile is 1.99
  CHECK(kept.back() == 197);
  const std::vector<float> one{3};
  CHECK(without_outliers(one).size() == 1);
}
