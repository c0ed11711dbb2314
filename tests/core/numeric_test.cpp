// SPDX-License-Identifier: Apache-2.0
#include <ptq/core/numeric.hpp>

#include <doctest/doctest.h>

#include <bit>
#include <cfenv>
#include <cmath>
#include <cstdint>
#include <limits>

using namespace ptq;

namespace {

bool rounds_as_nearbyint(float x) {
  const float got = round_half_even(x), want = std::nearbyint(x);
  return std::bit_cast<std::uint32_t>(got) == std::bit_cast<std::uint32_t>(want) ||
         (std::isnan(got) && std::isnan(want));
}

}  // namespace

TEST_CASE("rounding equals nearbyint over all exponents, ties and their neighbours") {
  std::int64_t wrong = 0;
  // A stride coprime to 2^32 visits every exponent with many mantissas.
  for (std::uint64_t i = 0; i < 4'000'000; ++i) {
    const auto bits = static_cast<std::uint32_t>(i * 2654435761u);
    wrong += !rounds_as_nearbyint(std::bit_cast<float>(bits));
  }
  for (int i = -300000; i <= 300000; ++i) {
    const float tie = static_cast<float>(i) + 0.5f;
    wrong += !rounds_as_nearbyint(tie);
    wrong += !rounds_as_nearbyint(std::nextafter(tie, 1e30f));
    wrong += !rounds_as_nearbyint(std::nextafter(tie, -1e30f));
  }
  for (const float x : {0.0f, -0.0f, 0.49999997f, -0.49999997f, 0.5f, -0.5f, 8388607.5f, 8388606.5f,
                        4194303.5f, 1e10f, std::numeric_limits<float>::infinity(),
                        -std::numeric_limits<float>::infinity(), std::nanf(""), 1e-45f})
    wrong += !rounds_as_nearbyint(x);
  CHECK(wrong == 0);
}

TEST_CASE("rounding does not depend on the rounding mode") {
  const int before = std::fegetround();
  std::fesetround(FE_UPWARD);
  volatile float x = 2.5f, y = -3.2f;
  const float a = round_half_even(x), b = round_half_even(y);
  std::fesetround(before);
  CHECK(a == 2.0f);
  CHECK(b == -3.0f);
}

TEST_CASE("quantizing saturates, rounds half to even and takes NaN to the lowest code") {
  CHECK(quantize_value(1.25f, 0.5f, 10, 0, 255) == 12);
  CHECK(quantize_value(0.75f, 0.5f, 10, 0, 255) == 12);
  CHECK(quantize_value(1e30f, 0.5f, 10, 0, 255) == 255);
  CHECK(quantize_value(-1e30f, 0.5f, 10, 0, 255) == 0);
  CHECK(quantize_value(std::nanf(""), 0.5f, 10, 0, 255) == 0);
  CHECK(quantize_value(std::nanf(""), 0.5f, 0, -128, 127) == -128);
  for (int q = 0; q < 256; ++q)
    CHECK(quantize_value(dequantize_value(q, 0.0371f, 128), 0.0371f, 128, 0, 255) == q);
}

TEST_CASE("requantizing equals the rounded product computed in double") {
  const float m = 0.0123f;
  for (std::int32_t acc = -30000; acc <= 30000; acc += 7) {
    // Both factors and their product fit double; float rounds the product once.
    const auto product = static_cast<float>(static_cast<double>(acc) * static_cast<double>(m));
    const double want = std::min(std::max(std::nearbyint(product) + 100.0f, 0.0f), 255.0f);
    CHECK(requantize_value(acc, m, 100, 0, 255) == static_cast<std::int32_t>(want));
  }
  CHECK(requantize_value(INT32_MAX, 1.0f, 0, 0, 255) == 255);
  CHECK(requantize_value(INT32_MIN, 1.0f, 0, 0, 255) == 0);
}

TEST_CASE("a short multiplier has 15 significant bits and is the nearest such number") {
  for (std::uint32_t i = 0; i < 100000; ++i) {
    const float m = std::bit_cast<float>(0x3a000000u + i * 997u), s = short_multiplier(m);
    CHECK_MESSAGE((std::bit_cast<std::uint32_t>(s) & 0x1ffu) == 0, "multiplier " << m);
    CHECK_MESSAGE(std::abs(s - m) <= std::ldexp(m, -15), "multiplier " << m);
  }
  const float s = short_multiplier(0.7312345f);
  for (int d = -255; d <= 255; ++d)  // the product is exact: double agrees
    CHECK(static_cast<double>(static_cast<float>(d) * s) ==
          static_cast<double>(d) * static_cast<double>(s));
}

TEST_CASE("adding codes equals the sum in double rounded once") {
  const float ma = short_multiplier(0.371f), mb = short_multiplier(0.529f);
  for (int a = 0; a < 256; a += 5)
    for (int b = 0; b < 256; b += 3) {
      const double exact = (a - 12) * static_cast<double>(ma) + (b - 200) * static_cast<double>(mb);
      const double want = std::nearbyint(static_cast<float>(exact)) + 50.0;
      const auto code = static_cast<std::int32_t>(std::min(std::max(want, 0.0), 255.0));
      CHECK(add_value(a, 12, ma, b, 200, mb, 50, 0, 255) == code);
    }
}
