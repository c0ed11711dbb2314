// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <ptq/attribute.hpp>
#include <ptq/data/kept_samples.hpp>
#include <ptq/kernels/reference.hpp>
#include <ptq/quantize.hpp>
#include <ptq/recovery/layer_sweeps.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#include <ptq/dispatch.hpp>
#endif

#include "quantize/network.hpp"

namespace {

using namespace ptq;
using ptq_test::network;
using ptq_test::positive;

const kernels::kernel_table& table() {
#ifdef PTQ_TEST_DISPATCH
  return dispatched_kernels();
#else
  return kernels::reference_kernels();
#endif
}

samples images(std::int64_t n) {
  return kept_samples(
      [](std::int64_t i) -> std::optional<sample> {
        tensor t(dtype::f32, {1, 3, 8, 8});
        std::mt19937 random(static_cast<unsigned>(i) + 1);
        std::normal_distribution<float> d;
        for (auto& v : t.mutable_view<float>()) v = d(random);
        return sample(std::move(t));
      },
      n, std::size_t{1} << 24);
}

graph chain() {
  network n;
  auto x = n.input("x", {1, 3, 8, 8});
  x = n.conv("a", x, 3, 8, positive, 3);
  x = n.max_pool("pool", x);
  x = n.conv("b", x, 8, 8, positive, 3);
  n.output(n.linear("logits", n.flatten("flat", x), 8 * 4 * 4, 4));
  return n.done();
}

const layer_attribution& of(const attribution& a, const std::string& name) {
  for (const auto& l : a.layers)
    if (l.name == name) return l;
  FAIL("no layer " << name);
  return a.layers.front();
}

const node& node_of(const graph& g, const std::string& name) {
  for (const auto& n : g.nodes)
    if (n.name == name) return n;
  FAIL("no node " << name);
  return g.nodes.front();
}

graph made() { return quantize(chain(), table(), images(16)).network; }

}  // namespace

TEST_CASE("roundings done alone nearly add up to the error of the whole") {
  const auto a = attribute(chain(), made(), table(), images(12));
  CHECK(a.samples == 12);
  CHECK(a.error > 0);
  // Independent noises: their sum is the whole's within the spread of few dozen outputs.
  CHECK(a.sum() > a.error / 2);
  CHECK(a.sum() < a.error * 2);
  REQUIRE(a.layers.size() == 3);  // a pool and a flattening round nothing
  CHECK(a.layers[0].sum() >= a.layers[1].sum());
  for (const auto& l : a.layers) {
    CHECK(l.weight_rounding > 0);
    CHECK(l.rounding > 0);
  }
}

TEST_CASE("a range that is cut short is told as clipping at its reader") {
  auto q = made();
  // The input of `b`, and what a mover made of it: a quarter of the range.
  for (const auto* v : {"a", "pool"}) q[q.find(v)].quant->scale[0] /= 4;
  const auto a = attribute(chain(), q, table(), images(8));
  CHECK(a.layers[0].clipping > 10 * a.layers[0].rounding);
  CHECK(a.layers[0].clipping > a.layers[0].weight_rounding);
  CHECK(remedy_of(a.layers[0]).find("--range-estimator") != std::string::npos);
}

TEST_CASE("a bias that is wrong is told as bias, and weights of few levels as weights") {
  auto q = made();
  auto bias = q[node_of(q, "b").inputs[2]].constant->mutable_view<std::int32_t>();
  for (auto& c : bias) c += 40000;
  const auto a = attribute(chain(), q, table(), images(8));
  CHECK(of(a, "b").bias > 10 * of(a, "b").weight_rounding);
  CHECK(remedy_of(of(a, "b")) == "--bias-correction sequential");

  quantize_options few;
  few.weights.bits = 3;
  const auto rough =
      attribute(chain(), quantize(chain(), table(), images(16), few).network, table(), images(8));
  for (const auto& l : rough.layers) CHECK(l.weight_rounding > l.clipping + l.bias);
  CHECK(remedy_of(rough.layers[0]).find("--effort best") != std::string::npos);
}

TEST_CASE("a bias that corrects what arrives is not charged with it") {
  quantize_options few;
  few.weights.bits = 3;
  const auto q = quantize(chain(), table(), images(16), few).network;
  const auto corrected =
      recovering::layer_sweeps(chain(), q, images(16), table(), {.count = 16, .memory = 1 << 24})
          .corrected();
  const auto a = attribute(chain(), corrected, table(), images(16));
  for (const auto& l : a.layers) {
    CAPTURE(l.name);
    CHECK(l.bias < 0.01 * l.weight_rounding);
  }
}

TEST_CASE("of an equalised network the shares are those beside the equalised float network") {
  auto plain = chain();
  plain[plain.find("a.b")].constant->mutable_view<float>()[3] = -1000;  // a channel that nothing wakes
  auto scaled = plain;
  const auto by = [](std::size_t c) { return std::exp2(static_cast<float>(c % 5) - 2); };
  const auto scale = [&](const char* constant, std::size_t inner, auto factor) {
    const auto v = scaled[scaled.find(constant)].constant->mutable_view<float>();
    for (std::size_t i = 0; i < v.size(); ++i) v[i] *= factor(i / inner);
  };
  const auto up = [&](std::size_t c) { return by(c % 8); };
  const auto down = [&](std::size_t c) { return 1 / by(c % 8); };
  scale("a.w", 3 * 9, up);
  scale("a.b", 1, up);
  scale("b.w", 9, down);  // its inputs
  scale("b.w", 8 * 9, [&](std::size_t c) { return by(7 - c); });
  scale("b.b", 1, [&](std::size_t c) { return by(7 - c); });
  scale("logits.w", 4 * 16, [&](std::size_t c) { return 1 / by(7 - c); });

  const auto q = quantize(scaled, table(), images(16)).network;
  const auto wanted = attribute(scaled, q, table(), images(8));
  const auto got = attribute(plain, q, table(), images(8));
  CHECK(got.error == doctest::Approx(wanted.error).epsilon(1e-4));
  REQUIRE(got.layers.size() == 3);
  for (const auto& l : got.layers) {
    CAPTURE(l.name);
    CHECK(l.note.empty());
    const auto& w = of(wanted, l.name);
    CHECK(l.weight_rounding == doctest::Approx(w.weight_rounding).epsilon(1e-4));
    CHECK(std::fabs(l.bias - w.bias) < 1e-4 * wanted.error);
    CHECK(l.clipping == doctest::Approx(w.clipping).epsilon(1e-4));
    CHECK(l.rounding == doctest::Approx(w.rounding).epsilon(1e-4));
  }
}

TEST_CASE("a depthwise layer scaled alike on both sides keeps its weights, and its bias is scaled") {
  // With a reader in float beside it, it reads a rounded copy that the float network does not have.
  for (const bool copied : {false, true}) {
    CAPTURE(copied);
    const auto network_of = [&](float by) {
      network n;
      auto x = n.input("x", {1, 3, 8, 8});
      auto a = n.conv("a", x, 3, 8, positive, 3);
      const auto resized = [&](const std::string& name, value_id y, std::int64_t side) {
        op::resize linear;
        linear.how = op::resize::mode::linear;
        return n.add(name, linear, {y, none, none, n.ints(name + ".size", {1, 8, side, side})});
      };
      if (copied)
        a = n.binary("s", a, resized("larger", resized("smaller", a, 4), 8), binary_kind::add);
      op::conv c;
      c.act = positive;
      c.groups = 8;
      c.win.kernel = {3, 3};
      c.win.pads = op::ints(4, 1);
      x = n.add("d", c, {a, n.random("d.w", {8, 1, 3, 3}), n.random("d.b", {8})});
      n.output(n.conv("b", x, 8, 4));
      if (copied) n.output(n.conv("e", resized("largest", a, 12), 8, 4));
      auto g = n.done();
      const auto scale = [&](const char* constant, std::size_t inner, std::size_t channels, auto of) {
        const auto v = g[g.find(constant)].constant->mutable_view<float>();
        for (std::size_t i = 0; i < v.size(); ++i)
          if (i / inner % channels % 2 == 0) v[i] *= of;
      };
      scale("a.w", 27, 8, by);
      scale("a.b", 1, 8, by);
      scale("d.b", 1, 8, by);
      scale("b.w", 1, 8, 1 / by);
      if (copied) scale("e.w", 1, 8, 1 / by);
      return g;
    };
    const auto q = quantize(network_of(8), table(), images(16)).network;
    CHECK((q.find("s_rounded") != none) == copied);
    const auto wanted = attribute(network_of(8), q, table(), images(8));
    const auto got = attribute(network_of(1), q, table(), images(8));
    CHECK(got.base_error < 1e-3 * got.error);
    for (const auto& l : got.layers) {
      CAPTURE(l.name);
      const auto& w = of(wanted, l.name);
      CHECK(l.note.empty());
      CHECK(l.weight_rounding == doctest::Approx(w.weight_rounding).epsilon(1e-4));
      CHECK(std::fabs(l.bias - w.bias) < 1e-4 * wanted.error);
      CHECK(l.rounding == doctest::Approx(w.rounding).epsilon(1e-4));
    }
  }
}

TEST_CASE("weights that are no roundings of the float model's are said to be so") {
  auto real = chain();
  for (auto& w : real[real.find("b.w")].constant->mutable_view<float>()) w = 0.7f * w + 0.1f;
  CHECK(of(attribute(real, made(), table(), images(4)), "b").note.find("no roundings") !=
        std::string::npos);
}

TEST_CASE("pairs that saturate elsewhere are counted, and cost nothing here") {
  const auto q = made();
  std::int64_t all = 0, told = 0;
  for (const auto& l : quantization::overflow_census(q))
    all += static_cast<std::int64_t>(l.census.saturating);
  for (const auto& l : attribute(chain(), q, table(), images(2)).layers) told += l.saturating_pairs;
  CHECK(all > 0);
  CHECK(told == all);
}

TEST_CASE("a base that departs from float is told") {
  auto real = chain();
  for (auto& b : real[real.find("b.b")].constant->mutable_view<float>()) b += 1;
  auto q = made();  // other biases than the float network's: they are errors, not the base's
  CHECK(attribute(real, q, table(), images(4)).base_error == 0);
  for (auto& w : real[real.find("b.w")].constant->mutable_view<float>()) w = 0.7f * w + 0.1f;
  const auto a = attribute(real, q, table(), images(4));
  CHECK(a.base_error > 0.05 * a.error);
  CHECK(text(a).find("roundings taken off") != std::string::npos);
}

TEST_CASE("text and JSON name layers, shares and remedies") {
  const auto a = attribute(chain(), made(), table(), images(4));
  const auto t = text(a);
  CHECK(t.find("logits") != std::string::npos);
  CHECK(t.find("-> ") != std::string::npos);
  const auto j = json<nlohmann::json>(a);
  CHECK(j["layers"].size() == a.layers.size());
  CHECK(j["layers"][0]["remedy"] == remedy_of(a.layers[0]));
  CHECK(j["error"] == a.error);
  CHECK_THROWS_AS(attribute(chain(), made(), table(), samples()), data_error);
}
