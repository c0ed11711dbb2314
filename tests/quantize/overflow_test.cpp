// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <map>

#include <ptq/quantize/weights.hpp>

#include "network.hpp"

namespace {

using namespace ptq;
using namespace ptq::quantization;
using ptq_test::network;

qparams input_codes() { return {.type = dtype::u8, .scale = {0.02f}, .zero_point = {128}}; }

/// x → a (3×3) → b (3×3) → y, quantized with a fix
graph two_convolutions(overflow_fix fix) {
  network n;
  auto a = n.conv("a", n.input("x", {1, 4, 9, 9}), 4, 6, {}, 3);
  n.output(n.conv("b", a, 6, 8, {}, 3));
  auto g = n.done();
  g[g.find("x")].quant = input_codes();
  g[a].quant = input_codes();
  layer_quantizer q(g, {}, fix);
  REQUIRE(!q.quantize(0, {}));
  REQUIRE(!q.quantize(1, {}));
  return g;
}

int largest_code(const graph& g, std::size_t node) {
  int largest = 0;
  for (int w : g.constant_of(g.nodes[node].inputs[1])->view<std::int8_t>())
    largest = std::max(largest, std::abs(w));
  return largest;
}

}  // namespace

TEST_CASE("a pair saturates where parts of one sign sum to more than 128, never for mixed signs") {
  tensor codes(dtype::s8, {1, 2, 1, 1});
  const weight_view v{0, 1, 2, 2, 1, 2};
  const auto count = [&](int a, int b) {
    codes.mutable_view<std::int8_t>()[0] = static_cast<std::int8_t>(a);
    codes.mutable_view<std::int8_t>()[1] = static_cast<std::int8_t>(b);
    return census_of(v, codes).saturating;
  };
  // The definition: 255 · w summed in int16, with any codes 0 … 255 of the two activations.
  for (int a = -128; a < 128; a += 3)
    for (int b = -128; b < 128; ++b) {
      int low = 0, high = 0;
      for (int x : {0, 255})
        for (int y : {0, 255}) {
          low = std::min(low, a * x + b * y);
          high = std::max(high, a * x + b * y);
        }
      CHECK(count(a, b) == (low < -32768 || high > 32767));
    }
}

TEST_CASE("pairs are neighbouring input channels of one tap; depthwise layers have none") {
  // [1, 2, 1, 2]: channel 0 taps 100, 100; channel 1 taps -100, 100
  tensor codes = tensor::from<std::int8_t>({1, 2, 1, 2}, {100, 100, -100, 100});
  graph g;
  node n;
  n.what = op::conv{};
  CHECK(census_of(view_of(n, codes.dims()), codes).pairs == 2);
  CHECK(census_of(view_of(n, codes.dims()), codes).saturating == 1);
  op::conv depthwise;
  depthwise.groups = 2;
  n.what = depthwise;
  const tensor w(dtype::s8, {2, 1, 3, 3});
  CHECK(census_of(view_of(n, w.dims()), w).pairs == 0);
  n.what = op::matmul{};  // [k, n]: pairs go down the columns
  const tensor m = tensor::from<std::int8_t>({2, 2}, {100, -100, 100, 100});
  CHECK(census_of(view_of(n, m.dims()), m).pairs == 2);
  CHECK(census_of(view_of(n, m.dims()), m).saturating == 1);
}

TEST_CASE("each overflow fix leaves the pairs that it promises to, and no layer else is touched") {
  const auto none = two_convolutions(overflow_fix::none);
  const auto first = two_convolutions(overflow_fix::first_layer);
  const auto all = two_convolutions(overflow_fix::all);
  const auto automatic = two_convolutions(overflow_fix::automatic);
  const auto left = [](const graph& g, std::size_t layer) {
    return overflow_census(g).at(layer).census.saturating;
  };
  CHECK(left(none, 0) > 0);
  CHECK(left(none, 1) > 0);
  CHECK(largest_code(none, 0) == 127);
  CHECK(left(first, 0) == 0);
  CHECK(largest_code(first, 0) == 63);
  CHECK(left(first, 1) == left(none, 1));
  CHECK(largest_code(all, 1) == 63);
  for (std::size_t i : {0, 1}) {
    CHECK(left(all, i) == 0);
    CHECK(left(automatic, i) == 0);
    // Half of the range is given up at most, and by channels that need it alone.
    const auto& fine = *none[none.nodes[i].inputs[1]].quant;
    const auto& safe = *automatic[automatic.nodes[i].inputs[1]].quant;
    for (std::size_t c = 0; c < fine.scale.size(); ++c) {
      CHECK(safe.scale[c] >= fine.scale[c]);
      CHECK(safe.scale[c] <= fine.scale[c] * 2.0001f);
    }
  }
}

TEST_CASE("the first layers end every way from an input at its first convolution") {
  network n;
  auto x = n.input("x", {1, 3, 8, 8});
  auto r = n.add("r", op::unary{unary_kind::relu}, {x});
  auto a = n.conv("a", r, 3, 4, {}, 3);
  auto b = n.conv("b", x, 3, 4, {}, 3);
  auto s = n.binary("s", a, b, binary_kind::add);
  n.output(n.conv("c", s, 4, 4, {}, 3));
  const auto g = n.done();
  const auto first = first_layers(g);
  std::map<std::string, bool> by_name;
  for (std::size_t i = 0; i < g.nodes.size(); ++i) by_name[g.nodes[i].name] = first[i];
  CHECK(by_name["a"]);
  CHECK(by_name["b"]);
  CHECK(!by_name["c"]);
  CHECK(!by_name["r"]);
}
