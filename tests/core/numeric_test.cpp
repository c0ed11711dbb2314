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

TEST_CASE("adding codes equals the real sum but for the rounding of its terms") {
  const auto rule = add_rule_of(0.371f, 12, 0.529f, 200, 1, 50);
  for (int a = 0; a < 256; ++a)
    for (int b = 0; b < 256; ++b) {
      const double exact =
          (a - 12) * static_cast<double>(0.371f) + (b - 200) * static_cast<double>(0.529f) + 50;
      const double code = std::min(std::max(exact, 0.0), 255.0);
      // Half a step, and the five roundings of numbers below 256: 2^-17 each.
      CHECK(std::abs(add_value(a, b, rule) - code) <= 0.5 + 5 * 0x1p-17);
    }
  CHECK(add_value(12, 200, rule) == 50);
}

TEST_CASE(
    "adding codes rounds each step to float: figures of ONNX Runtime 1.30's QLinearAdd on x86") {
  // Found among 60 random pairs of grids: sums next to a half, where other orders of rounding differ.
  CHECK(add_value(173, 146,
                  add_rule_of(0x1.c150fp-3f, 128, 0x1.000c34p-4f, 128, 0x1.1eecf2p-3f, 128)) ==
        207);
  CHECK(add_value(97, 255,
                  add_rule_of(0x1.69ce7p-6f, 117, 0x1.00e0eap-3f, 205, 0x1.6f5dd4p-3f, 66)) == 98);
  CHECK(add_value(105, 235,
                  add_rule_of(0x1.69ce7p-6f, 117, 0x1.00e0eap-3f, 205, 0x1.6f5dd4p-3f, 66)) == 85);
  CHECK(add_value(113, 215,
                  add_rule_of(0x1.69ce7p-6f, 117, 0x1.00e0eap-3f, 205, 0x1.6f5dd4p-3f, 66)) == 72);
  CHECK(add_value(102, 156,
                  add_rule_of(0x1.d2094cp-3f, 13, 0x1.59ef9ep-4f, 37, 0x1.8177fp-2f, 139)) == 220);
  CHECK(add_value(56, 175,
                  add_rule_of(0x1.12aef8p-2f, 123, 0x1.0aa508p-4f, 125, 0x1.5c74cep-3f, 172)) ==
        86);
  CHECK(add_value(47, 147,
                  add_rule_of(0x1.278534p-2f, 68, 0x1.c0229cp-3f, 62, 0x1.c2852p-2f, 173)) == 202);
  CHECK(add_value(172, 147,
                  add_rule_of(0x1.49c54ap-5f, 1, 0x1.096cd2p-4f, 196, 0x1.8a88cp-4f, 97)) == 136);
}

TEST_CASE("a difference of codes is a sum with a negative scale, and clamps") {
  auto rule = add_rule_of(0.5f, 0, -0.5f, 0, 0.5f, 100);
  rule.low = 90;
  rule.high = 120;
  CHECK(add_value(10, 4, rule) == 106);
  CHECK(add_value(0, 255, rule) == 90);
  CHECK(add_value(255, 0, rule) == 120);
}
