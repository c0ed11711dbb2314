// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include <ptq/kernels/reference.hpp>
#include <ptq/quantize.hpp>
#include <ptq/quantize/equalize.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#endif

#include "network.hpp"
#include "support/execute.hpp"
#include "support/noise.hpp"

namespace {

using namespace ptq;
using namespace ptq::quantization;
using ptq_test::network;
using ptq_test::positive;

samples images(std::int64_t count) { return ptq_test::noise(count, {1, 3, 8, 8}, 0.3f); }

/// x → a → relu → max pool → b (3×3, padded) → depthwise → c → mean → y
graph chain() {
  network n;
  auto a = n.conv("a", n.input("x", {1, 3, 8, 8}), 3, 6, {}, 3);
  auto p = n.max_pool("pool", n.unary("relu", a, unary_kind::relu));
  auto b = n.conv("b", p, 6, 6, positive, 3);
  op::conv depthwise;
  depthwise.groups = 6;
  depthwise.win.pads = {1, 1, 1, 1};
  depthwise.act = positive;
  auto d = n.add("d", depthwise, {b, n.random("d.w", {6, 1, 3, 3}), n.random("d.b", {6})});
  auto c = n.conv("c", d, 6, 4);
  n.output(n.linear("y", n.flatten("flat", n.average("mean", c)), 4, 5));
  return n.done();
}

/// Numbers of both signs up to `most`, evenly spread.
channel_spread spread(std::vector<float> most) {
  channel_spread s{most, {}, true};
  for (float m : most) s.variance.push_back(static_cast<double>(m) * static_cast<double>(m) / 3);
  return s;
}

channel_spreads all(const graph& g, const std::vector<float>& m) {
  channel_spreads seen;
  for (const auto& s : channel_group_finder(g).find())
    for (const auto& v : s.members)
      if (s.channels == static_cast<std::int64_t>(m.size())) seen[v.value] = spread(m);
  return seen;
}

constexpr std::array half{0.5};

/// The members of each group.
std::vector<std::string> names(const std::vector<channel_group>& list) {
  std::vector<std::string> n;
  for (const auto& s : list) {
    n.emplace_back();
    for (const auto& m : s.members) n.back() += (n.back().empty() ? "" : " ") + m.value;
  }
  return n;
}

}  // namespace

TEST_CASE(
    "channels can be scaled through rectifiers and pools, into convolutions and depthwise ones") {
  CHECK(names(equalisable(chain(), equalisation::cross_layer)) ==
        std::vector<std::string>{"a relu", "b", "d", "c"});
}

TEST_CASE("channels can be scaled through PReLU, resizing, padding and cutting within the plane") {
  network n;
  auto a = n.conv("a", n.input("x", {1, 3, 8, 8}), 3, 4, {}, 3);
  auto p = n.add("prelu", op::binary{.kind = binary_kind::prelu, .act = {}}, {a, n.random("slope", {4, 1, 1})});
  auto wide = n.add("pad", op::pad{}, {p, n.ints("by", {0, 0, 1, 1, 0, 0, 1, 1})});
  auto cut = n.add("cut", op::slice{},
                   {wide, n.ints("starts", {1}), n.ints("ends", {9}), n.ints("axes", {2})});
  auto b = n.conv("b", cut, 4, 5, positive, 1);
  // Channels are added here: what reads them has no column for them.
  auto more = n.add("more", op::pad{}, {b, n.ints("by more", {0, 1, 0, 0, 0, 0, 0, 0})});
  n.output(n.conv("y", more, 6, 2));
  const auto g = n.done();
  const auto groups = equalisable(g, equalisation::cross_layer);
  CHECK(names(groups) == std::vector<std::string>{"a prelu"});
  const auto [e, changed] = equalised(g, equalisation::cross_layer, all(g, {1, 40, 0.01f, 3}), half);
  CHECK(changed == 1);
  CHECK(ptq_test::outcome(e) == ptq_test::outcome(g));
}

TEST_CASE("equalised channels leave the float network equal to the bit") {
  const auto g = chain();
  auto seen = all(g, {1, 40, 0.01f, 3, 0, 700});
  seen["c"] = spread({5, 0.1f, 80, 1});
  const auto [e, changed] = equalised(g, equalisation::cross_layer, seen, half);
  CHECK(changed == 4);
  check(e);
  CHECK(ptq_test::outcome(e) == ptq_test::outcome(g));
  const auto w = g[g.find("a.w")].constant->view<float>(),
             v = e[e.find("a.w")].constant->view<float>();
  CHECK(std::memcmp(w.data(), v.data(), w.size_bytes()) != 0);
}

TEST_CASE("a layer-norm hands its channels' sizes to the products that read it") {
  network n;
  auto x = n.input("x", {1, 7, 6});
  auto l = n.norm("norm", x, 6);
  auto q = n.linear("q", l, 6, 4);
  auto k = n.linear("k", n.add("rows", op::reshape{}, {l, n.ints("dims", {-1, 6})}), 6, 4);
  n.output(q);
  n.output(k);
  const auto g = n.done();
  CHECK(equalisable(g, equalisation::cross_layer).empty());
  CHECK(names(equalisable(g, equalisation::smooth)) == std::vector<std::string>{"norm"});
  const auto [e, changed] =
      equalised(g, equalisation::smooth, {{"norm", spread({1, 90, 1, 2, 1, 0.1f})}},
                std::array{0.95});
  CHECK(changed == 1);
  CHECK(ptq_test::outcome(e) == ptq_test::outcome(g));
  CHECK(e[e.find("norm.s")].constant->view<float>()[1] ==
        g[g.find("norm.s")].constant->view<float>()[1] / 64);
}

TEST_CASE("what would change the network is not scaled") {
  network n;
  auto x = n.input("x", {1, 3, 8, 8});
  auto a = n.conv("a", x, 3, 4, clamp{-1, 6}, 3);  // a bound that does not scale
  auto b = n.conv("b", a, 4, 4, positive, 3);     // read by a sum too
  auto c = n.conv("c", b, 4, 4, {}, 1);
  auto s = n.binary("sum", c, b, binary_kind::add);
  auto d = n.conv("d", n.unary("sigmoid", s, unary_kind::sigmoid), 4, 4, {}, 1);  // an output
  auto e = n.conv("e", d, 4, 4, {}, 1);
  auto f = n.conv("f", n.unary("tanh", e, unary_kind::tanh), 4, 2, {}, 1);
  n.output(d);
  n.output(f);
  CHECK(equalisable(n.done(), equalisation::cross_layer).empty());
  CHECK(equalisable(n.done(), equalisation::bounded).empty());
}

TEST_CASE("what is added has one scale a channel, what is concatenated its own") {
  network n;
  auto a = n.conv("a", n.input("x", {1, 3, 8, 8}), 3, 4, positive, 3);
  auto b = n.conv("b", a, 4, 4, {}, 3);
  auto s = n.binary("sum", a, b, binary_kind::add, positive);
  auto c = n.conv("c", s, 4, 4, positive);
  auto cat = n.add("cat", op::concat{.axis = 1}, {c, s});
  n.output(n.conv("y", n.max_pool("pool", cat), 8, 5));
  const auto g = n.done();
  const auto groups = equalisable(g, equalisation::cross_layer);
  REQUIRE(groups.size() == 2);
  const auto &sum = groups[0], &alone = groups[1];
  CHECK(sum.producers.size() == 2);
  CHECK(sum.members.size() == 3);
  REQUIRE(sum.readers.size() == 3);  // b, c, and y from its fifth channel on
  CHECK(std::any_of(sum.readers.begin(), sum.readers.end(), [](auto& r) { return r.first == 4; }));
  CHECK(names({alone}) == std::vector<std::string>{"c"});
  CHECK(alone.readers[0].first == 0);
  const auto sizes = spread({1, 50, 0.02f, 7});
  const auto [e, changed] =
      equalised(g, equalisation::cross_layer,
                {{"a", sizes}, {"b", sizes}, {"sum", sizes}, {"c", spread({9, 0.3f, 400, 1})}},
                half);
  CHECK(changed == 2);
  CHECK(ptq_test::outcome(e) == ptq_test::outcome(g));
  // Rows and columns of b are scaled alike: its first weight stays, its second does not.
  const auto was = g[g.find("b.w")].constant->view<float>(),
             is = e[e.find("b.w")].constant->view<float>();
  CHECK(is[0] == was[0]);
  CHECK(is[9] != was[9]);
}

TEST_CASE("below a bound channels grow, and stay under it") {
  network n;
  auto a = n.conv("a", n.input("x", {1, 3, 8, 8}), 3, 4, clamp{0, 6}, 3);
  n.output(n.conv("b", a, 4, 4, {}, 3));
  const auto g = n.done();
  CHECK(equalisable(g, equalisation::cross_layer).empty());
  const auto groups = equalisable(g, equalisation::bounded);
  REQUIRE(names(groups) == std::vector<std::string>{"a"});
  const std::vector<float> seen{6, 0.1f, 2.9f, 0.7f};
  const auto by = equalising_factors(*sizes_of(g, groups[0], {{"a", spread(seen)}}), 1, true);
  CHECK(by == std::vector<float>{1, 0.03125f, 1, 0.25f});
  for (std::size_t c = 1; c < 4; ++c) CHECK(seen[c] / by[c] * 1.25f <= 6);
}

TEST_CASE("a network whose channels were blown up by powers of two is mended exactly") {
  const auto g = chain();
  graph damaged = g;
  for (const auto& s : equalisable(g, equalisation::cross_layer)) {
    std::vector<float> by(6, 1.0f);
    by[2] = 1.0f / 64;
    divide_channels(damaged, s, by);
  }
  CHECK(ptq_test::outcome(damaged) == ptq_test::outcome(g));
  // Equalised, both come to the same weights.
  const auto values = equalisable(g, equalisation::cross_layer);
  const auto& table = kernels::reference_kernels();
  const auto mend = [&](graph what) {
    const auto seen = recovering::spreads_of(what, values, images(4), table, 1);
    for (std::size_t i = values.size(); i-- > 0;)
      divide_channels(what, values[i],
                      equalising_factors(*sizes_of(what, values[i], seen), 0.5, false));
    return what;
  };
  const auto a = mend(g), b = mend(damaged);
  for (const std::string name : {"a.w", "a.b", "b.w", "b.b", "d.w", "d.b", "c.w"}) {
    const auto &x = *a[a.find(name)].constant, &y = *b[b.find(name)].constant;
    INFO(name);
    CHECK(std::memcmp(x.data(), y.data(), x.byte_count()) == 0);
  }
}

TEST_CASE("a group takes the share that leaves least noise, or stays as it is") {
  const auto g = chain();
  const auto groups = equalisable(g, equalisation::cross_layer);
  const auto& a = groups[0];  // six channels, read by b
  constexpr std::array alphas{0.25, 0.5, 0.75, 1.0};
  const auto uneven = all(g, {100, 1, 1, 1, 1, 1});
  const std::vector<float> as_is(6, 1.0f);
  const auto by = best_factors(g, a, uneven, alphas, 0.05);
  REQUIRE(by);
  const group_noise noise(g, a, uneven);
  CHECK(noise.of(*by) < noise.of(as_is));
  for (double alpha : alphas)
    CHECK(noise.of(*by) <=
          noise.of(equalising_factors(*sizes_of(g, a, uneven), alpha, false)));
  // A common factor changes nothing.
  CHECK(noise.of(std::vector<float>(6, 4.0f)) == doctest::Approx(noise.of(as_is)));
}

TEST_CASE("channels and weights of one size stay as they are") {
  network n;
  auto a = n.conv("a", n.input("x", {1, 3, 8, 8}), 3, 3, {}, 1);
  n.output(n.conv("b", a, 3, 1, {}, 1));
  auto g = n.done();
  for (auto& w : g[g.find("b.w")].constant->mutable_view<float>()) w = 1;
  const auto groups = equalisable(g, equalisation::cross_layer);
  REQUIRE(groups.size() == 1);
  const channel_spreads seen{{"a", spread({3, 3, 3})}};
  CHECK_FALSE(best_factors(g, groups[0], seen, std::array{0.25, 0.5, 0.75, 1.0}, 0.05));
}

TEST_CASE("noise of a group is what rounding its codes and its readers' weights gives") {
  network n;
  auto a = n.conv("a", n.input("x", {1, 3, 8, 8}), 3, 2, {}, 1);
  n.output(n.conv("b", a, 2, 1, {}, 1));
  auto g = n.done();
  auto w = g[g.find("b.w")].constant->mutable_view<float>();
  w[0] = 2, w[1] = 1;
  const auto groups = equalisable(g, equalisation::cross_layer);
  REQUIRE(groups.size() == 1);
  const channel_spreads seen{{"a", {{51, 102}, {9, 16}, true}}};
  // step 204 / 255; weights' step 2 / 127, of which 1 is 63.5: half a step is lost; heard 4 · 9 + 16
  const double activations = 0.8 * 0.8 / 12 * 5, weights = 1.0 / (127.0 * 127.0) * 16;
  CHECK(group_noise(g, groups[0], seen).of(std::vector<float>{1, 1}) ==
        doctest::Approx((activations + weights) / 52));
  // Channel 1 halved: codes of 102 / 255, its weight doubled and exact.
  CHECK(group_noise(g, groups[0], seen).of(std::vector<float>{1, 2}) ==
        doctest::Approx(0.4 * 0.4 / 12 * 8 / 52));
}

TEST_CASE("a product of two activations takes the factors of one of them") {
  network n;
  auto x = n.input("x", {1, 3, 8, 8});
  auto a = n.conv("a", x, 3, 4, {}, 3);
  auto gate = n.unary("gate", n.conv("b", n.average("mean", x), 3, 4), unary_kind::sigmoid);
  auto m = n.binary("m", a, gate, binary_kind::mul);  // the gate has one number for each channel
  auto c = n.conv("c", m, 4, 4, {}, 1);
  n.output(n.conv("y", n.binary("square", c, c, binary_kind::mul), 4, 2));
  const auto g = n.done();
  const auto groups = equalisable(g, equalisation::cross_layer);
  CHECK(names(groups) == std::vector<std::string>{"a m"});
  const auto sizes = spread({1, 40, 0.01f, 3});
  const auto [e, changed] =
      equalised(g, equalisation::cross_layer, {{"a", sizes}, {"m", sizes}}, half);
  CHECK(changed == 1);
  CHECK(ptq_test::outcome(e) == ptq_test::outcome(g));
}

namespace {

/// x → h → GELU → y, four numbers a row; the third of h is `outlier` times as large, and undone in y
graph perceptron(float outlier) {
  network n;
  auto h = n.linear("h", n.input("x", {1, 7, 4}), 4, 4);
  n.output(n.linear("y", n.unary("gelu", h, unary_kind::gelu), 4, 3));
  auto g = n.done();
  auto up = g[g.find("h.w")].constant->mutable_view<float>();
  auto down = g[g.find("y.w")].constant->mutable_view<float>();
  for (std::size_t i = 0; i < 4; ++i) up[4 * i + 2] *= outlier;
  for (std::size_t o = 0; o < 3; ++o) down[3 * 2 + o] /= outlier;
  return g;
}

}  // namespace

TEST_CASE("behind a GELU a product takes the factors, and goes where it has none") {
  const auto g = perceptron(256);
  const auto with = with_products(g);
  CHECK(with.nodes.size() == g.nodes.size() + 2);
  CHECK(names(equalisable(with, equalisation::product)) ==
        std::vector<std::string>{"x_scaled", "gelu_scaled"});
  CHECK(equalisable(with, equalisation::cross_layer).empty());
  const auto without = without_ones(with);
  CHECK(without.nodes.size() == g.nodes.size());
  CHECK(ptq_test::outcome(without) == ptq_test::outcome(g));
  const auto [e, changed] = equalised(with, equalisation::product,
                                      {{"gelu_scaled", spread({1, 1, 256, 1})}}, half);
  CHECK(changed == 1);
  CHECK(without_ones(e).nodes.size() == g.nodes.size() + 1);
  CHECK(ptq_test::outcome(e) == ptq_test::outcome(g));
}

TEST_CASE("with effort balanced outliers behind a GELU get a product of their own") {
  const auto g = perceptron(256);
  quantize_options o;
  o.effort.level = effort::balanced;
  const auto data = [](std::int64_t count) { return ptq_test::noise(count, {1, 7, 4}, 1.0f); };
  const auto r = quantize(g, kernels::reference_kernels(), data(48), o);
  bool kept = false;
  for (const auto& s : r.recovery.steps)
    kept = kept || (s.kept && s.what == "SmoothQuant by products, 1 of 2 groups");
  CHECK(kept);
  CHECK(r.network.find("gelu_scaled") != none);
  const auto judge = recovering::held_back(g, kernels::reference_kernels(),
                                           kept_samples(data(48), 48, 1 << 20), 1, 1 << 20);
  CHECK(judge.error(r.network) <
        0.5 * judge.error(quantize(g, kernels::reference_kernels(), data(48), {}).network));
}

TEST_CASE("with effort balanced a damaged network is quantized as well as the sound one") {
  const auto g = chain();
  graph damaged = g;
  for (const auto& s : equalisable(g, equalisation::cross_layer)) {
    std::vector<float> by(6, 1.0f);
    by[2] = 1.0f / 64;
    divide_channels(damaged, s, by);
  }
  quantize_options o;
  o.effort.level = effort::balanced;
  const auto r = quantize(damaged, kernels::reference_kernels(), images(24), o);
  bool kept = false;
  for (const auto& s : r.recovery.steps)
    kept = kept || (s.kept && s.what.starts_with("cross-layer equalisation"));
  CHECK(kept);
  quantize_options fast;
  const auto judge = recovering::held_back(g, kernels::reference_kernels(),
                                           kept_samples(images(24), 24, 1 << 20), 1, 1 << 20);
  const double sound =
      judge.error(quantize(g, kernels::reference_kernels(), images(24), fast).network);
  CHECK(judge.error(r.network) < 1.5 * sound);
}
