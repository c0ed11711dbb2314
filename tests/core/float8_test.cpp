// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include <ptq/core/float8.hpp>

namespace {

using namespace ptq;

constexpr float inf = std::numeric_limits<float>::infinity();

/// Nearest by exhaustive search: the definition. Ties go to the even byte.
std::uint8_t nearest(float x, dtype t) {
  const float a = std::fabs(x);
  int best = 0;
  for (int b = 0; b < 127; ++b) {
    const float v = float8_value(static_cast<std::uint8_t>(b), t);
    if (!std::isfinite(v)) break;
    const double d = std::fabs(static_cast<double>(v) - static_cast<double>(a));
    const double least =
        std::fabs(static_cast<double>(float8_value(static_cast<std::uint8_t>(best), t)) -
                  static_cast<double>(a));
    if (d < least || (d == least && b % 2 == 0)) best = b;
  }
  return static_cast<std::uint8_t>(best | (std::signbit(x) ? 128 : 0));
}

}  // namespace

TEST_CASE("the numbers of both formats are those of the paper's table") {
  CHECK(float8_value(0x7e, dtype::f8e4m3) == 448);
  CHECK(float8_value(0x08, dtype::f8e4m3) == 0x1p-6f);
  CHECK(float8_value(0x07, dtype::f8e4m3) == 0.875f * 0x1p-6f);
  CHECK(float8_value(0x01, dtype::f8e4m3) == 0x1p-9f);
  CHECK(float8_value(0x38, dtype::f8e4m3) == 1);
  CHECK(std::isnan(float8_value(0x7f, dtype::f8e4m3)));
  CHECK(std::isnan(float8_value(0xff, dtype::f8e4m3)));
  CHECK(float8_value(0x7b, dtype::f8e5m2) == 57344);
  CHECK(float8_value(0x04, dtype::f8e5m2) == 0x1p-14f);
  CHECK(float8_value(0x03, dtype::f8e5m2) == 0.75f * 0x1p-14f);
  CHECK(float8_value(0x01, dtype::f8e5m2) == 0x1p-16f);
  CHECK(float8_value(0x7c, dtype::f8e5m2) == inf);
  CHECK(float8_value(0xfc, dtype::f8e5m2) == -inf);
  for (int b : {0x7d, 0x7e, 0x7f})
    CHECK(std::isnan(float8_value(static_cast<std::uint8_t>(b), dtype::f8e5m2)));
}

TEST_CASE("every finite number is its own code, and every tie between two goes to the even one") {
  for (auto t : {dtype::f8e4m3, dtype::f8e5m2})
    for (int b = 0; b < 256; ++b) {
      const auto byte = static_cast<std::uint8_t>(b);
      const float x = float8_value(byte, t);
      if (!std::isfinite(x)) continue;
      CHECK(float8_code(x, t) == byte);
      const float next = float8_value(static_cast<std::uint8_t>(b + 1), t);
      if (b % 128 == 127 || !std::isfinite(next)) continue;
      const float tie = (x + next) / 2;  // exact: one bit more
      const auto even = static_cast<std::uint8_t>(b % 2 ? b + 1 : b);
      CHECK(float8_code(tie, t) == even);
      CHECK(float8_code(std::nextafter(tie, x), t) == byte);
      CHECK(float8_code(std::nextafter(tie, next), t) == byte + 1);
    }
}

TEST_CASE("rounding equals the nearest number by search, for floats of every exponent") {
  std::mt19937 random(11);
  for (auto t : {dtype::f8e4m3, dtype::f8e5m2})
    for (int exponent = -40; exponent < 30; ++exponent)
      for (int i = 0; i < 200; ++i) {
        const float m = 1.0f + static_cast<float>(random() % (1u << 23)) * 0x1p-23f;
        const float x = std::ldexp(i % 2 ? m : -m, exponent);
        REQUIRE(float8_code(x, t) == nearest(x, t));
      }
}

TEST_CASE("what is beyond the largest number saturates, infinities too; NaN stays") {
  for (auto t : {dtype::f8e4m3, dtype::f8e5m2}) {
    const float largest = format_of_float8(t).largest;
    for (float x : {largest, largest * 1.01f, 1e30f, inf}) {
      CHECK(float8_value(float8_code(x, t), t) == largest);
      CHECK(float8_value(float8_code(-x, t), t) == -largest);
    }
    CHECK(std::isnan(float8_value(float8_code(std::nanf(""), t), t)));
    CHECK(float8_code(0.0f, t) == 0);
    CHECK(float8_code(-0.0f, t) == 128);
    CHECK(float8_code(1e-45f, t) == 0);
  }
}

TEST_CASE("rounding to a grid of FP8 numbers is idempotent for any scale") {
  std::mt19937 random(12);
  std::normal_distribution<float> d;
  for (auto t : {dtype::f8e4m3, dtype::f8e5m2})
    for (int i = 0; i < 20000; ++i) {
      const float scale = std::exp(d(random) * 3), x = d(random) * 10;
      const float once = rounded_to_float8(x, scale, t);
      CHECK(rounded_to_float8(once, scale, t) == once);
    }
}
