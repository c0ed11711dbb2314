// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <random>
#include <vector>

#include <ptq/quantize/input_moments.hpp>
#include <ptq/quantize/rounding.hpp>

namespace {

using namespace ptq;
using namespace ptq::quantization;

/// Σ x xᵀ / n of numbers that follow each other.
std::vector<double> correlated(std::size_t k, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> d;
  std::vector<double> c(k * k);
  for (int n = 0; n < 200; ++n) {
    std::vector<double> x(k);
    double common = d(random);
    for (auto& v : x) v = common + 0.5 * d(random);
    for (std::size_t i = 0; i < k; ++i)
      for (std::size_t j = 0; j < k; ++j) c[i * k + j] += x[i] * x[j] / 200;
  }
  return c;
}

std::vector<float> numbers(std::size_t k, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> d;
  std::vector<float> w(k);
  for (auto& v : w) v = d(random);
  return w;
}

double cost_of(const std::vector<float>& w, const std::vector<double>& c, const std::vector<int>& q,
             float scale) {
  double sum = 0;
  for (std::size_t i = 0; i < w.size(); ++i)
    for (std::size_t j = 0; j < w.size(); ++j)
      sum += (static_cast<double>(scale) * q[i] - static_cast<double>(w[i])) * c[i * w.size() + j] *
             (static_cast<double>(scale) * q[j] - static_cast<double>(w[j]));
  return sum;
}

}  // namespace

TEST_CASE(
    "rounding for the inputs is never worse than rounding to the nearest, and mostly far better") {
  double before = 0, after = 0;
  for (unsigned seed = 0; seed < 10; ++seed) {
    const auto w = numbers(40, seed);
    const auto c = correlated(40, seed + 100);
    channel_rounder r(w, c, 7);
    const float scale = 3.0f / 7;
    const auto plain = r.nearest(scale), best = r.best(scale);
    CHECK(best.error <= plain.error);
    CHECK(best.error == doctest::Approx(cost_of(w, c, best.codes, best.scale)).epsilon(1e-9));
    for (int q : best.codes) CHECK(std::abs(q) <= 7);
    before += plain.error;
    after += best.error;
  }
  // The inputs share more than they have of their own: what one weight loses, another regains.
  CHECK(after < 0.5 * before);
}

TEST_CASE("no single code that may change lowers the error any more") {
  const auto w = numbers(12, 5);
  const auto c = correlated(12, 6);
  const auto best = channel_rounder(w, c, 127).from(0.05f);
  for (std::size_t i = 0; i < w.size(); ++i)
    for (int by : {-1, 1}) {
      auto q = best.codes;
      q[i] += by;
      if (std::abs(best.scale * static_cast<float>(q[i]) - w[i]) > best.scale) continue;
      CHECK(cost_of(w, c, q, best.scale) >= best.error * (1 - 1e-6));
    }
}

TEST_CASE("without correlation the nearest code is the best") {
  const auto w = numbers(30, 1);
  std::vector<double> c(900);
  for (std::size_t i = 0; i < 30; ++i) c[i * 31] = 1 + static_cast<double>(i);
  channel_rounder r(w, c, 127);
  const auto best = r.from(0.02f);
  for (std::size_t i = 0; i < 30; ++i)
    CHECK(std::abs(best.scale * static_cast<float>(best.codes[i]) - w[i]) <= 0.5001f * best.scale);
}

TEST_CASE("a pull draws the output towards that of other inputs") {
  // Outputs of x̂ = x + errors that follow x: the least squared distance to w · x, found by brute force.
  const std::size_t k = 4, n = 300;
  const auto w = numbers(k, 9);
  std::mt19937 random(4);
  std::normal_distribution<double> d;
  std::vector<double> c(k * k), lost(k * k);
  std::vector<std::vector<double>> real, arrived;
  for (std::size_t i = 0; i < n; ++i) {
    auto& x = real.emplace_back(k);
    for (auto& v : x) v = d(random);
    auto& got = arrived.emplace_back(k);
    for (std::size_t j = 0; j < k; ++j) got[j] = 0.7 * x[j] + 0.1 * x[(j + 1) % k];
    for (std::size_t a = 0; a < k; ++a)
      for (std::size_t b = 0; b < k; ++b) {
        c[a * k + b] += got[a] * got[b] / static_cast<double>(n);
        lost[a * k + b] += got[a] * (x[b] - got[b]) / static_cast<double>(n);
      }
  }
  std::vector<double> pull(k);
  for (std::size_t a = 0; a < k; ++a)
    for (std::size_t b = 0; b < k; ++b) pull[a] += lost[a * k + b] * static_cast<double>(w[b]);
  const auto distance = [&](const std::vector<int>& q, float scale) {
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i) {
      double y = 0;
      for (std::size_t j = 0; j < k; ++j)
        y += static_cast<double>(scale) * q[j] * arrived[i][j] -
             static_cast<double>(w[j]) * real[i][j];
      sum += y * y / static_cast<double>(n);
    }
    return sum;
  };
  channel_rounder drawn(w, c, 127, pull), own(w, c, 127);
  const float scale = 0.3f;
  const auto plain = drawn.nearest(scale), best = drawn.from(scale);
  const double constant = distance(plain.codes, scale) - plain.error;
  CHECK(best.error == doctest::Approx(distance(best.codes, best.scale) - constant).epsilon(1e-6));
  const auto blind = own.from(scale);
  CHECK(distance(best.codes, best.scale) < 0.8 * distance(blind.codes, blind.scale));
  for (std::size_t i = 0; i < k; ++i)
    for (int by : {-1, 1}) {
      auto q = best.codes;
      q[i] += by;
      if (std::abs(best.scale * static_cast<float>(q[i]) - w[i]) > best.scale) continue;
      CHECK(distance(q, best.scale) >= distance(best.codes, best.scale) * (1 - 1e-6));
    }
}

TEST_CASE("the covariance of a padded, strided, grouped window is that of its patches") {
  layer_window w;
  w.y = {.kernel = 3, .stride = 2, .dilation = 1, .begin = 1, .end = 1};
  w.x = {.kernel = 2, .stride = 1, .dilation = 2, .begin = 0, .end = 1};
  w.groups = 2;
  tensor x(dtype::f32, {1, 4, 5, 6});
  std::mt19937 random(3);
  std::normal_distribution<float> d;
  for (auto& v : x.mutable_view<float>()) v = d(random);
  tensor real(dtype::f32, {1, 4, 5, 6});
  for (auto& v : real.mutable_view<float>()) v = d(random);
  input_moments m(w, 1 << 20), alone(w, 1 << 20);
  m.add(x, real);
  alone.add(x);
  REQUIRE(m.size() == 12);
  CHECK(alone.lost(0).empty());
  const auto at = [&](const tensor& of, std::int64_t c, std::int64_t r, std::int64_t k) {
    return r < 0 || r >= 5 || k < 0 || k >= 6
               ? 0.0
               : static_cast<double>(
                     of.view<float>()[static_cast<std::size_t>((c * 5 + r) * 6 + k)]);
  };
  for (std::int64_t g = 0; g < 2; ++g) {
    std::vector<std::vector<double>> patches, errors;
    for (std::int64_t oy = 0; oy < w.y.out(5); ++oy)
      for (std::int64_t ox = 0; ox < w.x.out(6); ++ox) {
        auto &p = patches.emplace_back(), &e = errors.emplace_back();
        for (std::int64_t c = 0; c < 2; ++c)
          for (std::int64_t ky = 0; ky < 3; ++ky)
            for (std::int64_t kx = 0; kx < 2; ++kx) {
              const auto y = oy * 2 - 1 + ky, column = ox + 2 * kx;
              p.push_back(at(x, g * 2 + c, y, column));
              e.push_back(static_cast<double>(
                  static_cast<float>(at(real, g * 2 + c, y, column) - p.back())));
            }
      }
    const double n = static_cast<double>(patches.size());
    const auto got = m.covariance(static_cast<std::size_t>(g));
    const auto lost = m.lost(static_cast<std::size_t>(g));
    CHECK(alone.covariance(static_cast<std::size_t>(g)) == got);
    for (std::size_t i = 0; i < 12; ++i)
      for (std::size_t j = 0; j < 12; ++j) {
        double a = 0, b = 0, ab = 0, e = 0, ae = 0;
        for (std::size_t s = 0; s < patches.size(); ++s) {
          const auto& p = patches[s];
          a += p[i] / n;
          b += p[j] / n;
          ab += p[i] * p[j] / n;
          e += errors[s][j] / n;
          ae += p[i] * errors[s][j] / n;
        }
        CHECK(got[i * 12 + j] == doctest::Approx(ab - a * b).epsilon(1e-9));
        CHECK(lost[i * 12 + j] == doctest::Approx(ae - a * e).epsilon(1e-9));
      }
  }
}
