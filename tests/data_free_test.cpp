// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include <ptq/data/synthetic.hpp>
#include <ptq/data_free/moments.hpp>
#include <ptq/graph/infer.hpp>

#include "quantize/network.hpp"

namespace {

using namespace ptq;
using ptq_test::network;

constexpr double infinite = std::numeric_limits<double>::infinity();

value_id vector_of(network& n, const std::string& name, std::vector<float> v) {
  return n.raw().add_constant(
      name, tensor::from<float>({static_cast<std::int64_t>(v.size())}, std::span<const float>(v)));
}
value_id batch_norm(network& n, const std::string& name, value_id x, std::vector<float> scale,
                    std::vector<float> bias) {
  const std::vector<float> zeros(scale.size()), ones(scale.size(), 1.0F);
  return n.add(name, op::batch_norm{},
               {x, vector_of(n, name + ".s", scale), vector_of(n, name + ".b", bias),
                vector_of(n, name + ".m", zeros), vector_of(n, name + ".v", ones)});
}

}  // namespace

TEST_CASE("moments of a clipped normal are those of a million clipped draws") {
  struct given {
    double mean, deviation, low, high;
  };
  for (const auto& g : {given{0, 1, 0, infinite}, given{-1, 2, 0, infinite}, given{3, 1, 0, 6},
                        given{0.5, 2, -1, 1}, given{2, 0.5, -infinite, 1}}) {
    std::mt19937_64 random(1);
    std::normal_distribution<double> draw(g.mean, g.deviation);
    constexpr int count = 1000000;
    double sum = 0, squares = 0;
    for (int i = 0; i < count; ++i) {
      const double x = std::clamp(draw(random), g.low, g.high);
      sum += x;
      squares += x * x;
    }
    const double mean = sum / count, deviation = std::sqrt(squares / count - mean * mean);
    const auto [m, d] = clipped_normal(g.mean, g.deviation, g.low, g.high);
    // Five standard errors of a mean; the deviation's own is smaller by sqrt(2).
    const double bound = 5 * g.deviation / std::sqrt(count);
    CHECK(std::abs(m - mean) < bound);
    CHECK(std::abs(d - deviation) < bound);
  }
  CHECK(clipped_normal(3, 0, 0, 1) == std::pair(1.0, 0.0));
}

TEST_CASE("moments go from a batch-norm through sums, products, pools and clips") {
  network n;
  auto x = n.input("x", {1, 2, 4, 4});
  auto a = batch_norm(n, "a", x, {1, -2}, {0.5F, -1});
  auto r = n.unary("r", a, unary_kind::relu);
  auto s = n.binary("s", a, batch_norm(n, "b", x, {3, 0}, {1, 1}), binary_kind::add);
  op::conv one;
  one.win.kernel = {1, 1};
  one.win.pads = {0, 0, 0, 0};
  const auto w = n.raw().add_constant("w", tensor::from<float>({1, 2, 1, 1}, {2.0F, -1.0F}));
  auto c = n.add("c", one, {a, w, vector_of(n, "cb", {10})});
  auto p = n.average("p", c);
  auto f = n.flatten("f", p);
  n.output(f);
  n.output(n.unary("tanh", r, unary_kind::tanh));
  n.output(s);
  const auto m = batch_norm_moments(n.done());
  REQUIRE(m.contains("a"));
  CHECK(m.at("a").mean == std::vector{0.5, -1.0});
  CHECK(m.at("a").deviation == std::vector{1.0, 2.0});
  CHECK(m.at("a").range() == value_range{-11, 9});
  CHECK(m.at("r").range().min == 0);
  CHECK(m.at("r").range().max > 0);
  CHECK(m.at("s").mean == std::vector{1.5, 0.0});
  CHECK(m.at("s").deviation == std::vector{std::sqrt(10.0), 2.0});
  CHECK(m.at("c").mean == std::vector{10 + 2 * 0.5 + 1});
  CHECK(m.at("c").deviation == std::vector{std::sqrt(8.0)});
  CHECK(m.at("f").deviation[0] == doctest::Approx(0.8 * std::sqrt(8.0)));
  CHECK_FALSE(m.contains("tanh"));
  CHECK_FALSE(m.contains("x"));
}

TEST_CASE("a synthetic picture depends on its seed and index alone, and uses the bytes") {
  const synthetic_images some({.channels = 3, .height = 40, .width = 60}, 4, 7),
      same({.channels = 3, .height = 40, .width = 60}, 2, 7),
      other({.channels = 3, .height = 40, .width = 60}, 2, 8);
  const auto of = [](const synthetic_images& s, std::int64_t i) {
    const auto t = s.at(i).inputs[0].value;
    const auto v = t.view<std::uint8_t>();
    return std::vector<std::uint8_t>(v.begin(), v.end());
  };
  CHECK(some.count() == 4);
  CHECK(of(some, 1) == of(same, 1));
  CHECK(of(some, 1) != of(some, 0));
  CHECK(of(some, 1) != of(other, 1));
  const auto bytes = of(some, 0);
  CHECK(*std::max_element(bytes.begin(), bytes.end()) > 200);
  CHECK(*std::min_element(bytes.begin(), bytes.end()) < 55);
  CHECK_THROWS_AS(synthetic_images({.channels = 0}, 1, 0), data_error);
}
