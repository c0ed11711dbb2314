// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include <ptq/core/observation.hpp>
#include <ptq/dispatch.hpp>

namespace {

using namespace ptq;

std::vector<float> numbers(std::int64_t n, unsigned seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> d;
  std::vector<float> x(static_cast<std::size_t>(n));
  for (auto& v : x) v = random() % 3 == 0 ? 0.0f : d(random);
  return x;
}

}  // namespace

TEST_CASE("extremes and channel sums are the reference's, bit for bit") {
  for (const auto* table : available_kernels())
    for (std::int64_t rows : {1, 2, 31, 32, 33, 64, 67})
      for (std::int64_t channels : {1, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33, 64, 97}) {
        CAPTURE(table->isa);
        CAPTURE(rows);
        CAPTURE(channels);
        const auto x = numbers(rows * channels, static_cast<unsigned>(rows * 100 + channels));
        const observed_matrix m{x.data(), rows, channels};
        std::vector<double> expected(static_cast<std::size_t>(channels), 0.25), sums = expected;
        const auto e = observe_scalar(m, expected.data());
        for (double* to : {static_cast<double*>(nullptr), sums.data()}) {
          const auto o = table->observing.observe(m, to);
          CHECK(o.min == e.min);
          CHECK(o.max == e.max);
          CHECK(o.finite);
        }
        CHECK(sums == expected);
      }
}

TEST_CASE("a NaN or an infinity is seen wherever it lies, a large number is none") {
  for (const auto* table : available_kernels())
    for (std::int64_t rows : {1, 5, 40})
      for (std::int64_t channels : {1, 7, 33, 70}) {
        auto x = numbers(rows * channels, 7);
        std::vector<double> sums(static_cast<std::size_t>(channels));
        const observed_matrix m{x.data(), rows, channels};
        for (std::size_t at = 0; at < x.size(); at += 3)
          for (float bad :
               {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                -std::numeric_limits<float>::infinity()}) {
            const float good = x[at];
            x[at] = bad;
            CHECK_FALSE(table->observing.observe(m, nullptr).finite);
            CHECK_FALSE(table->observing.observe(m, sums.data()).finite);
            x[at] = std::numeric_limits<float>::max();
            CHECK(table->observing.observe(m, nullptr).finite);
            CHECK(table->observing.observe(m, nullptr).max == x[at]);
            x[at] = good;
          }
      }
}

TEST_CASE("every number is counted in the reference's bin") {
  for (const auto* table : available_kernels())
    for (std::int64_t n : {1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 1000}) {
      CAPTURE(table->isa);
      auto x = numbers(n, static_cast<unsigned>(n));
      x[0] = -1e-45f;
      x[static_cast<std::size_t>(n / 2)] = 1.0f;  // an edge
      std::vector<std::uint64_t> expected(bin_counters::bins, 1), counts(expected);
      bin_counters a{128.0f, -1024, expected.data(), 5}, b{128.0f, -1024, counts.data(), 5};
      count_scalar(x.data(), n, a);
      table->observing.count(x.data(), n, b);
      CHECK(counts == expected);
      CHECK(b.zeros == a.zeros);
    }
}
