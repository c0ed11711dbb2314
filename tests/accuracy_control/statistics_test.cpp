// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <random>
#include <vector>

#include <ptq/accuracy_control/statistics.hpp>

using namespace ptq::control;

TEST_CASE("the interval of a paired difference follows its formula and covers the truth") {
  // Two samples lost, one won, of eight: sums 1 and 3.
  const std::vector<double> d{1, 1, -1, 0, 0, 0, 0, 0};
  const auto i = paired_mean(d);
  CHECK(i.estimate == doctest::Approx(1.0 / 8));
  CHECK(i.half_width == doctest::Approx(z95 * std::sqrt((4 - 0.1) / 10 / 10)));
  CHECK(paired_mean({}).half_width == INFINITY);
  // Equal models have no difference, but n samples do not prove that.
  CHECK(paired_mean(std::vector<double>(100, 0.0)).half_width > 0.01);
  std::mt19937 random(3);
  int covered = 0;
  for (int turn = 0; turn < 1000; ++turn) {
    std::vector<double> x(300);
    for (auto& v : x) {
      const auto r = random() % 100;
      v = r < 5 ? 1 : r < 8 ? -1 : 0;  // truth: 0.02
    }
    const auto e = paired_mean(x);
    covered += e.low() <= 0.02 && e.high() >= 0.02;
  }
  // 950 expected; three standard deviations of a binomial are 21.
  CHECK(covered >= 929);
}

TEST_CASE("the jackknife of a mean is the interval of the mean") {
  std::mt19937 random(1);
  std::vector<double> x(200);
  double sum = 0;
  for (auto& v : x) sum += v = static_cast<double>(random() % 1000) / 1000;
  std::vector<double> without;
  for (double v : x) without.push_back((sum - v) / 199);
  double squares = 0;
  for (double v : x) squares += (v - sum / 200) * (v - sum / 200);
  // Leave-one-out of a mean is exactly s / sqrt(n).
  CHECK(jackknife(sum / 200, without).half_width ==
        doctest::Approx(z95 * std::sqrt(squares / 199 / 200)));
}

TEST_CASE("the number of samples that resolve a bound grows with the square") {
  CHECK(samples_to_resolve(100, 0.02, 0.01) == 400);
  CHECK(samples_to_resolve(100, 0.02, 0) == -1);
}

TEST_CASE("an early answer is that of the whole count") {
  CHECK(can_reach(0.9, 10, 100));
  CHECK_FALSE(can_reach(0.9, 11, 100));
}

TEST_CASE("a model that gains accuracy at low agreement is not fine") {
  const interval gain{-0.018, 0.03};
  CHECK_FALSE(fine(gain, 0.84, 0.005, agreement_for(0.005)));
  CHECK(fine(gain, 0.985, 0.005, agreement_for(0.005)));
  // A drop that many samples bound needs no agreement; one beyond the bound is never fine.
  CHECK(fine({0.002, 0.001}, 0.9, 0.005, agreement_for(0.005)));
  CHECK_FALSE(fine({0.006, 0.001}, 1, 0.005, agreement_for(0.005)));
}
