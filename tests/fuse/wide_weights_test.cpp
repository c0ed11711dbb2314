// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

#include <ptq/fuse/wide_weights.hpp>
#include <ptq/graph/infer.hpp>

#include "../quantize/network.hpp"

namespace {

using namespace ptq;
using ptq_test::network;

/// A convolution of codes, weights u8 with this zero point.
graph foreign(std::int64_t groups, std::int32_t zero_point, std::int32_t lowest,
              std::int32_t highest) {
  network n;
  auto x = n.input("x", {1, 4, 5, 5});
  auto& g = n.raw();
  g[x].quant = qparams{.type = dtype::u8, .scale = {0.5F}, .zero_point = {3}};
  tensor t(dtype::u8, {4, 4 / groups, 3, 3});
  std::mt19937 random(1);
  for (auto& v : t.mutable_view<std::uint8_t>())
    v = static_cast<std::uint8_t>(
        lowest + static_cast<std::int32_t>(random() % static_cast<unsigned>(highest - lowest + 1)));
  t.mutable_view<std::uint8_t>()[0] = static_cast<std::uint8_t>(lowest);
  t.mutable_view<std::uint8_t>()[1] = static_cast<std::uint8_t>(highest);
  value w;
  w.name = "w";
  w.dims = t.dims();
  w.shaped = true;
  w.constant = t;
  w.quant = qparams{.type = dtype::u8, .scale = {0.25F}, .zero_point = {zero_point}};
  op::conv c;
  c.groups = groups;
  c.win.kernel = {3, 3};
  c.win.pads = op::ints(4, 1);
  n.output(n.add("y", c, {x, g.add(std::move(w))}));
  return n.done();
}

const node& conv_of(const graph& g) {
  for (const auto& n : g.nodes)
    if (std::holds_alternative<op::conv>(n.what)) return n;
  FAIL("no convolution");
  return g.nodes[0];
}

}  // namespace

TEST_CASE("foreign weights that fit become signed codes with zero point 0") {
  auto g = foreign(1, 128, 0, 255);
  const auto before = *fusing::centred_codes(g[conv_of(g).inputs[1]]);
  CHECK(fusing::wide_weights(g));
  CHECK(g.nodes.size() == 1);
  const auto& w = g[conv_of(g).inputs[1]];
  CHECK(w.constant->type() == dtype::s8);
  CHECK(w.quant->zero_point == std::vector<std::int32_t>{0});
  CHECK(*fusing::centred_codes(w) == before);
  CHECK_FALSE(fusing::wide_weights(g));
}

TEST_CASE("weights of 9 bits become two of 8 whose sum they are, over channels read twice") {
  for (std::int64_t groups : {1, 2, 4}) {
    auto g = foreign(groups, 77, 0, 255);
    const auto whole = *fusing::centred_codes(g[conv_of(g).inputs[1]]);
    CHECK(fusing::wide_weights(g));
    check(g);
    REQUIRE(g.nodes.size() == 2);
    const auto& w = g[conv_of(g).inputs[1]];
    const std::int64_t taps = 4 / groups;
    CHECK(w.constant->dims() == shape{4, 2 * taps, 3, 3});
    const auto halves = *fusing::centred_codes(w);
    const auto order = g.constant_of(g.nodes[0].inputs[1])->view<std::int64_t>();
    REQUIRE(order.size() == 8);
    for (std::int64_t o = 0; o < 4; ++o) {
      std::vector<std::int32_t> per_channel(4 * 9);
      const std::int64_t group = o / (4 / groups);
      for (std::int64_t c = 0; c < 2 * taps; ++c)
        for (std::int64_t k = 0; k < 9; ++k) {
          const auto source = order[static_cast<std::size_t>(group * 2 * taps + c)];
          per_channel[static_cast<std::size_t>(source * 9 + k)] +=
              halves[static_cast<std::size_t>((o * 2 * taps + c) * 9 + k)];
        }
      for (std::int64_t c = 0; c < taps; ++c)
        for (std::int64_t k = 0; k < 9; ++k)
          CHECK(per_channel[static_cast<std::size_t>((group * taps + c) * 9 + k)] ==
                whole[static_cast<std::size_t>((o * taps + c) * 9 + k)]);
    }
    const auto shaped = infer(g);
    CHECK(shaped[shaped.outputs[0]].dims == shape{1, 4, 5, 5});
    CHECK(g[g.nodes[0].outputs[0]].quant->zero_point == g[g.inputs[0]].quant->zero_point);
  }
}

TEST_CASE("float weights and codes of our own are left alone") {
  network n;
  auto x = n.input("x", {1, 3, 8, 8});
  n.output(n.conv("a", x, 3, 4));
  auto g = n.done();
  CHECK_FALSE(fusing::wide_weights(g));
}
