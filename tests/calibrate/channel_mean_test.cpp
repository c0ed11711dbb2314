// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <vector>

#include <ptq/calibrate/channel_mean.hpp>

#include "numbers.hpp"

TEST_CASE("channel means agree in both layouts and with the definition") {
  using namespace ptq;
  using calibration::channel_mean;
  const std::int64_t outer = 77, channels = 35;
  const auto x = ptq_test::normal(static_cast<std::size_t>(outer * channels), 16);
  std::vector<float> planes(x.size());
  std::vector<double> expected(static_cast<std::size_t>(channels));
  for (std::int64_t r = 0; r < outer; ++r)
    for (std::int64_t c = 0; c < channels; ++c) {
      const float v = x[static_cast<std::size_t>(r * channels + c)];
      planes[static_cast<std::size_t>(c * outer + r)] = v;
      expected[static_cast<std::size_t>(c)] += static_cast<double>(v) / static_cast<double>(outer);
    }
  const auto sums_of = [&](std::int64_t from, std::int64_t rows) {
    std::vector<double> sums(static_cast<std::size_t>(channels));
    observe_scalar({x.data() + from * channels, rows, channels}, sums.data());
    return sums;
  };
  channel_mean last, plain, halves, other;
  last.add(sums_of(0, outer), outer);
  std::vector<double> sums(static_cast<std::size_t>(channels));
  calibration::add_plane_sums(planes.data(), 1, sums, outer);
  plain.add(sums, outer);
  halves.add(sums_of(0, 32), 32);
  other.add(sums_of(32, outer - 32), outer - 32);
  other.merge(halves);
  for (std::size_t c = 0; c < expected.size(); ++c) {
    // Blocks of 32 floats: 2^-19 of the largest sum.
    CHECK(last.means()[c] == doctest::Approx(expected[c]).epsilon(1e-5));
    CHECK(plain.means()[c] == doctest::Approx(expected[c]).epsilon(1e-12));
  }
  CHECK(other.means() == last.means());
  CHECK_THROWS_AS(last.add(std::vector<double>(7), 1), calibration_error);
}
