// SPDX-License-Identifier: Apache-2.0
#include <ptq/core/elementary.hpp>

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

using namespace ptq;

namespace {

constexpr float inf = std::numeric_limits<float>::infinity();
using k = unary_kind;

/// Distance from the exact value in units of the last place of the float nearest to it.
double ulps(float got, double exact) {
  const float nearest = std::abs(static_cast<float>(exact));
  if (std::isinf(nearest) || std::isnan(exact))
    return std::isnan(exact) ? (std::isnan(got) ? 0 : 1e9) : (std::isinf(got) ? 0 : 1e9);
  const double ulp = static_cast<double>(std::nextafter(nearest, inf)) - nearest;
  return std::abs(got - exact) / ulp;
}

/// Worst error of kind against f over `count` points of [low, high].
template <class F>
double worst(unary_kind kind, F f, double low, double high, int count = 100000) {
  double most = 0;
  for (int i = 0; i <= count; ++i) {
    const auto x = static_cast<float>(low + (high - low) * i / count);
    most = std::max(most, ulps(unary_value(kind, 1.0f, 1.0f, x), f(static_cast<double>(x))));
  }
  return most;
}

double exact_sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double exact_gelu(double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }
double exact_gelu_tanh(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
}

template <class F>
double worst_relative_to_x(unary_kind kind, F f) {
  double most = 0;
  for (int i = -100000; i <= 100000; ++i) {
    const float x = static_cast<float>(i) * 2e-4f + 1e-5f;
    const double error = std::abs(unary_value(kind, 0, 0, x) - f(static_cast<double>(x)));
    most = std::max(most, error / std::abs(static_cast<double>(x)));
  }
  return most;
}

}  // namespace

TEST_CASE("functions keep the accuracy that their header states") {
  using fn = double (*)(double);
  const fn e = std::exp, l = std::log, t = std::tanh, g = std::erf;
  CHECK(worst(k::exp, e, -87.3, 88.72) < 1.1);
  CHECK(worst(k::exp, e, -1, 1) < 1.1);
  CHECK(worst(k::exp, e, -104, -87.3) < 1.1);
  CHECK(worst(k::log, l, 1e-38, 3e38) < 1.0);
  CHECK(worst(k::log, l, 0.4, 2.5) < 1.0);
  CHECK(worst(k::log, l, 1e-45, 1e-38) < 1.0);
  CHECK(worst(k::tanh, t, -10, 10) < 2.0);
  CHECK(worst(k::tanh, t, -1e-3, 1e-3) < 2.0);
  CHECK(worst(k::erf, g, -5, 5) < 1.5);
  CHECK(worst(k::erf, g, -1e-3, 1e-3) < 1.5);
  CHECK(worst(k::sigmoid, exact_sigmoid, -87, 87) < 3.0);
  CHECK(worst(k::sigmoid, exact_sigmoid, -3, 3) < 3.0);
  CHECK(worst(
            k::softplus, [](double x) { return std::log1p(std::exp(x)); }, -80, 80) < 3.0);
  CHECK(worst(
            k::elu, [](double x) { return x < 0 ? std::expm1(x) : x; }, -30, 3) < 3.0);
  CHECK(worst(
            k::silu, [](double x) { return x * exact_sigmoid(x); }, -80, 80) < 4.0);
  CHECK(worst(
            k::mish, [](double x) { return x * std::tanh(std::log1p(std::exp(x))); }, -80, 80) <
        4.0);
  CHECK(worst_relative_to_x(k::gelu, exact_gelu) < 0x1p-22);
  CHECK(worst_relative_to_x(k::gelu_tanh, exact_gelu_tanh) < 0x1p-21);
}

TEST_CASE("sines and powers are correctly rounded but for rare ties") {
  using fn = double (*)(double);
  const fn s = std::sin, c = std::cos;
  for (const double reach : {1.0, 100.0, 1e6, 3e38}) {
    CHECK(worst(k::sin, s, -reach, reach, 30000) < 0.51);
    CHECK(worst(k::cos, c, -reach, reach, 30000) < 0.51);
  }
  double most = 0;
  for (int i = 1; i < 30000; ++i) {
    const float x = 0.01f * static_cast<float>(i);
    const float y = static_cast<float>((i * 7919) % 20011) / 700.0f - 15.0f;
    const double exact = std::pow(static_cast<double>(x), static_cast<double>(y));
    if (exact > 1e-37 && exact < 3e38)
      most = std::max(most, ulps(binary_value(binary_kind::pow, x, y), exact));
  }
  CHECK(most < 0.51);
}

TEST_CASE("functions are exact at zero and take their limits at infinity") {
  for (const auto kind : {k::tanh, k::erf, k::sin, k::relu, k::silu, k::gelu, k::gelu_tanh, k::mish,
                          k::softsign, k::elu}) {
    CHECK(unary_value(kind, 1, 1, 0.0f) == 0.0f);
    CHECK(unary_value(kind, 1, 1, -0.0f) == 0.0f);
  }
  CHECK(unary_value(k::exp, 0, 0, 0.0f) == 1.0f);
  CHECK(unary_value(k::exp, 0, 0, inf) == inf);
  CHECK(unary_value(k::exp, 0, 0, 88.8f) == inf);
  CHECK(unary_value(k::exp, 0, 0, -inf) == 0.0f);
  CHECK(unary_value(k::exp, 0, 0, -104.0f) == 0.0f);
  CHECK(unary_value(k::log, 0, 0, 1.0f) == 0.0f);
  CHECK(unary_value(k::log, 0, 0, -0.0f) == -inf);
  CHECK(unary_value(k::log, 0, 0, inf) == inf);
  CHECK(std::isnan(unary_value(k::log, 0, 0, -1.0f)));
  CHECK(unary_value(k::sigmoid, 0, 0, inf) == 1.0f);
  CHECK(unary_value(k::sigmoid, 0, 0, -inf) == 0.0f);
  CHECK(unary_value(k::sigmoid, 0, 0, 0.0f) == 0.5f);
  for (const auto kind : {k::tanh, k::erf, k::softsign}) {
    CHECK(unary_value(kind, 0, 0, inf) == 1.0f);
    CHECK(unary_value(kind, 0, 0, -inf) == -1.0f);
  }
  for (const auto kind :
       {k::silu, k::gelu, k::gelu_tanh, k::mish, k::softplus, k::hard_swish, k::relu}) {
    CHECK(unary_value(kind, 0, 0, inf) == inf);
    CHECK(unary_value(kind, 0, 0, -inf) == 0.0f);
  }
  CHECK(std::isnan(unary_value(k::sin, 0, 0, inf)));
}

TEST_CASE("NaN stays NaN through every function but the logical ones") {
  for (int i = 0; i <= static_cast<int>(k::cos); ++i) {
    INFO("kind " << i);
    CHECK(std::isnan(unary_value(static_cast<unary_kind>(i), 0.5f, 2.0f, std::nanf(""))));
  }
  CHECK(unary_value(k::is_nan, 0, 0, std::nanf("")) == 1.0f);
  CHECK(unary_value(k::is_nan, 0, 0, inf) == 0.0f);
  CHECK(std::isnan(binary_value(binary_kind::max, std::nanf(""), 1.0f)));
  CHECK(std::isnan(binary_value(binary_kind::max, 1.0f, std::nanf(""))));
  CHECK(std::isnan(binary_value(binary_kind::min, std::nanf(""), 1.0f)));
  CHECK(std::isnan(binary_value(binary_kind::min, 1.0f, std::nanf(""))));
}

TEST_CASE("exp, tanh, erf and sigmoid never fall over neighbouring floats around their seams") {
  const auto never_falls = [](unary_kind kind, float from, int steps) {
    float before = unary_value(kind, 0, 0, from), x = from;
    for (int i = 0; i < steps; ++i) {
      x = std::nextafter(x, inf);
      const float y = unary_value(kind, 0, 0, x);
      // One unit of the last place either way is the accuracy that is stated.
      if (y < before && std::nextafter(std::nextafter(y, inf), inf) < before) return false;
      before = y;
    }
    return true;
  };
  CHECK(never_falls(k::exp, 0.3465f, 20000));
  CHECK(never_falls(k::exp, -0.3467f, 20000));
  CHECK(never_falls(k::tanh, 0.6245f, 20000));
  CHECK(never_falls(k::erf, 0.9270f, 20000));
  CHECK(never_falls(k::erf, 3.9990f, 20000));
  CHECK(never_falls(k::sigmoid, -1e-4f, 20000));
}

TEST_CASE("piecewise kinds follow ONNX") {
  CHECK(unary_value(k::leaky_relu, 0.1f, 0, -2.0f) == -0.2f);
  CHECK(unary_value(k::thresholded_relu, 1.0f, 0, 1.0f) == 0.0f);
  CHECK(unary_value(k::thresholded_relu, 1.0f, 0, 1.5f) == 1.5f);
  CHECK(unary_value(k::hard_sigmoid, 0.2f, 0.5f, 10.0f) == 1.0f);
  CHECK(unary_value(k::hard_sigmoid, 0.25f, 0.5f, 1.0f) == 0.75f);
  CHECK(unary_value(k::hard_swish, 0, 0, 3.0f) == 3.0f);
  CHECK(unary_value(k::hard_swish, 0, 0, -3.0f) == 0.0f);
  CHECK(unary_value(k::clip, -1, 2, 5.0f) == 2.0f);
  CHECK(unary_value(k::clip, -1, 2, -5.0f) == -1.0f);
  CHECK(unary_value(k::selu, 1.67326319f, 1.05070102f, 1.0f) == 1.05070102f);
  CHECK(unary_value(k::celu, 2.0f, 0, -2.0f) == doctest::Approx(2 * (std::exp(-1.0) - 1)));
  CHECK(unary_value(k::sign, 0, 0, -3.0f) == -1.0f);
  CHECK(unary_value(k::round, 0, 0, 2.5f) == 2.0f);
  CHECK(unary_value(k::floor, 0, 0, -0.5f) == -1.0f);
  CHECK(unary_value(k::ceil, 0, 0, 0.5f) == 1.0f);
  CHECK(unary_value(k::logical_not, 0, 0, 0.0f) == 1.0f);
  for (float x = -5.0f; x < 5.0f; x += 0.0137f) {
    CHECK(unary_value(k::floor, 0, 0, x) == std::floor(x));
    CHECK(unary_value(k::ceil, 0, 0, x) == std::ceil(x));
  }
}

TEST_CASE("powers and remainders take their special cases") {
  using b = binary_kind;
  CHECK(binary_value(b::pow, std::nanf(""), 0.0f) == 1.0f);
  CHECK(binary_value(b::pow, 1.0f, std::nanf("")) == 1.0f);
  CHECK(binary_value(b::pow, -2.0f, 3.0f) == -8.0f);
  CHECK(binary_value(b::pow, -2.0f, 2.0f) == 4.0f);
  CHECK(std::isnan(binary_value(b::pow, -2.0f, 0.5f)));
  CHECK(binary_value(b::pow, 0.0f, -1.0f) == inf);
  CHECK(binary_value(b::pow, -0.0f, -3.0f) == -inf);
  CHECK(binary_value(b::pow, 2.0f, -149.0f) == 1.40129846e-45f);
  CHECK(binary_value(b::pow, 2.0f, 200.0f) == inf);
  CHECK(binary_value(b::pow, 0.5f, inf) == 0.0f);
  CHECK(binary_value(b::mod, -3.0f, 2.0f) == 1.0f);
  CHECK(binary_value(b::fmod, -3.0f, 2.0f) == -1.0f);
  CHECK(binary_value(b::prelu, -3.0f, 0.5f) == -1.5f);
  CHECK(binary_value(b::greater, 2.0f, 1.0f) == 1.0f);
  CHECK(binary_value(b::logical_xor, 2.0f, 1.0f) == 0.0f);
}
