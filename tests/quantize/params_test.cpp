// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <ptq/core/numeric.hpp>
#include <ptq/quantize/params.hpp>

namespace {

using namespace ptq;
using namespace ptq::quantization;

qparams params(float min, float max, bool symmetric, clamp act = {}) {
  return activation_params({min, max}, symmetric, act, "v");
}
float real(const qparams& q, int code) {
  return dequantize_value(code, q.scale[0], q.zero_point[0]);
}

}  // namespace

TEST_CASE("symmetric codes are unsigned where no number is negative") {
  const auto q = params(0, 5.1f, true);
  CHECK(q.type == dtype::u8);
  CHECK(q.zero_point[0] == 0);
  CHECK(q.scale[0] == doctest::Approx(5.1 / 255));
  CHECK(params(2, 5.1f, true) == q);
}

TEST_CASE("symmetric signed codes put the larger side on 127 steps, with zero point 128") {
  const auto q = params(-2, 1.27f, true);
  CHECK(q.zero_point[0] == 128);
  CHECK(q.scale[0] == doctest::Approx(2.0 / 127));
  CHECK(params(-1, 2, true) == params(-2, 2, true));
  CHECK(params(-2, -1, true) == params(-2, 2, true));
}

TEST_CASE("asymmetric ranges contain zero, put it on the grid, and never shrink") {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> d(-3, 3);
  for (int i = 0; i < 2000; ++i) {
    const float a = d(random), b = d(random) * (i % 7 ? 1.0f : 1e-4f);
    const float min = std::min(a, b), max = std::max(a, b);
    const auto q = params(min, max, false);
    const int z = q.zero_point[0];
    CHECK(z >= 0);
    CHECK(z <= 255);
    const float slack = 4e-7f * (max - min + std::fabs(max));
    CHECK(real(q, 0) <= std::min(min, 0.0f) + slack);
    CHECK(real(q, 255) >= std::max(max, 0.0f) - slack);
    CHECK(quantize_value(0, q.scale[0], z, 0, 255) == z);
    CHECK(real(q, z) == 0);
    const double width = std::max(max, 0.0f) - std::min(min, 0.0f);
    CHECK(static_cast<double>(q.scale[0]) * 255 <= width * (1 + 1.0 / 127) + 1e-6);
  }
}

TEST_CASE("asymmetric one-sided ranges use all codes on their side") {
  CHECK(params(0, 4, false).zero_point[0] == 0);
  CHECK(params(1, 4, false) == params(0, 4, true));
  const auto q = params(-4, -1, false);
  CHECK(q.zero_point[0] == 255);
  CHECK(q.scale[0] == doctest::Approx(4.0 / 255));
}

TEST_CASE("a value that is always zero gets a valid scale") {
  for (bool symmetric : {true, false}) {
    const auto q = params(0, 0, symmetric);
    CHECK(q.scale[0] > 0);
    CHECK(std::isfinite(q.scale[0]));
    CHECK(real(q, quantize_value(0, q.scale[0], q.zero_point[0], 0, 255)) == 0);
  }
}

TEST_CASE("a constant value stays exact to half a step, whatever its size") {
  for (bool symmetric : {true, false})
    for (float v : {1e-12f, 3e-6f, 0.7f, -0.7f, 1e20f, -1e-9f}) {
      const auto q = params(v, v, symmetric);
      const int code = quantize_value(v, q.scale[0], q.zero_point[0], 0, 255);
      CHECK(real(q, code) == doctest::Approx(v).epsilon(1e-6));
    }
}

TEST_CASE("denormal and huge ranges keep the scale normal") {
  for (float v : {1e-45f, 1e-38f, 3.4e38f}) {
    for (bool symmetric : {true, false})
      for (const auto& q : {params(-v, v, symmetric), params(0, v, symmetric)}) {
        CHECK(std::isnormal(q.scale[0]));
        CHECK(std::isnormal(q.scale[0] * q.scale[0] > 1e30f ? 1.0f : q.scale[0] * q.scale[0]));
      }
  }
}

TEST_CASE("bounds that are no range are an error that names the value") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  CHECK_THROWS_AS(params(1, -1, true), calibration_error);
  CHECK_THROWS_AS(params(nan, 1, true), calibration_error);
  CHECK_THROWS_WITH_AS(params(0, inf, false), doctest::Contains("'v'"), calibration_error);
}

TEST_CASE("codes never reach beyond a clamp that they cover") {
  for (bool symmetric : {true, false})
    for (float high : {6.0f, 1.0f, 3.1f, 0.1f, 20.0f, 7.3f}) {
      const clamp act{0, high};
      const auto q = params(0, high, symmetric, act);
      CHECK(q.zero_point[0] == 0);
      CHECK(255.0f * q.scale[0] <= high);
      CHECK(255.0f * q.scale[0] >= high * (1 - 1e-6f));
      // What mean_minmax may yield beyond the clamp is cut.
      CHECK(params(-0.5f, high + 1, symmetric, act) == q);
    }
  // A range that ends below the bound keeps its own scale.
  CHECK(params(0, 3, true, {0, 6}).scale[0] == doctest::Approx(3.0 / 255));
}

namespace {

std::vector<float> weight_scales(const std::vector<float>& magnitude,
                                 const std::vector<double>& bias, float input_scale) {
  std::vector<value_range> r;
  for (float m : magnitude) r.push_back({-m, 0.5f * m});
  const auto q = weight_params(r, bias, input_scale);
  CHECK(q.zero_point == std::vector<std::int32_t>(magnitude.size(), 0));
  return q.scale;
}

}  // namespace

TEST_CASE("weights use -127 to 127 per channel") {
  const std::vector<float> m{1.27f, 0.5f, 12.7f};
  const auto s = weight_scales(m, {}, 1);
  for (std::size_t c = 0; c < 3; ++c) CHECK(s[c] == doctest::Approx(m[c] / 127));
}

TEST_CASE("a dead channel gets one percent of the largest channel's scale, a tiny one its own") {
  const std::vector<float> m{1.0f, 0.0f, 1e-6f};
  const auto s = weight_scales(m, {}, 1);
  CHECK(s[1] == doctest::Approx(0.01 / 127));
  CHECK(s[2] == doctest::Approx(1e-6 / 127));
  const std::vector<float> none{0.0f, 0.0f};
  for (float v : weight_scales(none, {}, 1)) CHECK(v == doctest::Approx(8e-5 / 127));
}

TEST_CASE("a bias always fits 2^30 steps") {
  for (float sx : {1e-6f, 0.02f, 3.0f})
    for (double b : {0.0, 1e-3, -17.0, 4e5})
      for (float m : {1e-10f, 1e-3f, 1.0f}) {
        const std::vector<float> mag{m};
        const std::vector<double> bias{b};
        const auto s = weight_scales(mag, bias, sx);
        CHECK(std::fabs(b) / static_cast<double>(sx * s[0]) <= 0x1p30);
        CHECK(s[0] >= m / 127 * 0.999999f);
        if (std::fabs(b) / (static_cast<double>(sx) * m / 127) < 0x1p29)
          CHECK(s[0] == doctest::Approx(m / 127));
      }
}

TEST_CASE("every grid of weights holds its range to half a step, zero and no code beyond its bits") {
  std::mt19937 random(3);
  std::uniform_real_distribution<float> d(-2, 2);
  for (int bits = 2; bits <= 8; ++bits)
    for (int form = 0; form < 8; ++form) {
      const weight_grid grid{bits, (form & 1) != 0, (form & 2) != 0, (form & 4) != 0};
      CHECK(grid.highest() == (1 << (bits - 1)) - 1);
      CHECK(grid.lowest() == -(1 << (bits - 1)) + (grid.narrow ? 1 : 0));
      for (int i = 0; i < 200; ++i) {
        std::vector<value_range> r;
        for (int c = 0; c < 3; ++c) {
          const float a = d(random), b = d(random);
          r.push_back({std::min({a, b, 0.0f}), std::max({a, b, 0.0f})});
        }
        const auto q = weight_params(r, {}, 1, grid);
        REQUIRE(q.scale.size() == (grid.per_channel ? 3 : 1));
        for (std::size_t c = 0; c < 3; ++c) {
          const auto at = grid.per_channel ? c : 0;
          const float s = q.scale[at];
          const int z = q.zero_point[at];
          CHECK((grid.symmetric ? z == 0 : z >= grid.lowest() && z <= grid.highest()));
          for (float x : {r[c].min, r[c].max, 0.5f * (r[c].min + r[c].max)}) {
            const int code = quantize_value(x, s, z, grid.lowest(), grid.highest());
            CHECK(std::fabs(dequantize_value(code, s, z) - x) <= 0.5001f * s);
          }
        }
      }
    }
}

TEST_CASE("a full symmetric range uses the lowest code where the negative side is the longer") {
  const std::vector<value_range> r{{-2, 1}, {-1, 2}};
  const auto q = weight_params(r, {}, 1, {.bits = 4, .narrow = false});
  CHECK(q.scale[0] == 2.0f / 8);
  CHECK(q.scale[1] == 2.0f / 7);
}

TEST_CASE("asymmetric weights of one sign use every code") {
  const std::vector<value_range> r{{0, 3}, {-3, 0}};
  const auto q = weight_params(r, {}, 1, {.bits = 2, .symmetric = false, .narrow = false});
  CHECK(q.zero_point == std::vector<std::int32_t>{-2, 1});
  CHECK(q.scale == std::vector<float>{1, 1});
}
