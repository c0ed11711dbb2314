// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <limits>

#include <ptq/lower.hpp>
#include <ptq/quantize/weights.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#endif

#include "network.hpp"

namespace {

using namespace ptq;
using namespace ptq::quantization;
using ptq_test::network;

qparams input_codes(float scale = 0.02f, std::int32_t zero = 128) {
  return {.type = dtype::u8, .scale = {scale}, .zero_point = {zero}};
}

}  // namespace

TEST_CASE("convolution weights are codes per output channel, at most half a step off") {
  network n;
  n.output(n.conv("y", n.input("x", {1, 3, 5, 5}), 3, 4, {}, 3));
  auto g = n.done();
  const tensor w = *g.constant_of(g.nodes[0].inputs[1]);
  g[g.find("x")].quant = input_codes();
  REQUIRE(!layer_quantizer(g).quantize(0, {}));
  const auto& q = g[g.nodes[0].inputs[1]];
  REQUIRE(q.quant);
  CHECK(q.type == dtype::f32);
  CHECK(q.quant->type == dtype::s8);
  CHECK(q.quant->axis == 0);
  CHECK(q.quant->zero_point == std::vector<std::int32_t>(4, 0));
  const auto codes = q.constant->view<std::int8_t>();
  const auto real = w.view<float>();
  for (std::size_t o = 0; o < 4; ++o) {
    int largest = 0;
    for (std::size_t i = o * 27; i < o * 27 + 27; ++i) {
      largest = std::max(largest, std::abs(static_cast<int>(codes[i])));
      CHECK(std::fabs(q.quant->scale[o] * static_cast<float>(codes[i]) - real[i]) <=
            q.quant->scale[o] * 0.50001f);
    }
    CHECK(largest == 127);
  }
}

TEST_CASE("matrix weights take their scales along the columns of the result, transposed or not") {
  for (bool trans : {false, true}) {
    network n;
    auto x = n.input("x", {2, 6});
    auto w = n.random("w", trans ? shape{5, 6} : shape{6, 5});
    n.output(n.add("y", op::matmul{.trans_a = false, .trans_b = trans, .act = {}}, {x, w}));
    auto g = n.done();
    const auto real = g.constant_of(w)->view<float>();
    g[g.find("x")].quant = input_codes();
    REQUIRE(!layer_quantizer(g).quantize(0, {}));
    const auto& q = *g[g.nodes[0].inputs[1]].quant;
    CHECK(q.axis == (trans ? 0 : 1));
    REQUIRE(q.scale.size() == 5);
    for (std::size_t o = 0; o < 5; ++o) {
      float largest = 0;
      for (std::size_t i = 0; i < 6; ++i)
        largest = std::max(largest, std::fabs(real[trans ? o * 6 + i : i * 5 + o]));
      CHECK(q.scale[o] == largest / 127.0f);
    }
    CHECK(g.nodes[0].inputs.size() == 2);
  }
}

TEST_CASE("a bias is codes at exactly input scale times weight scale") {
  network n;
  n.output(n.conv("y", n.input("x", {1, 3, 5, 5}), 3, 4));
  auto g = n.done();
  const tensor b = *g.constant_of(g.nodes[0].inputs[2]);
  g[g.find("x")].quant = input_codes(0.037f, 3);
  REQUIRE(!layer_quantizer(g).quantize(0, {}));
  const auto& w = *g[g.nodes[0].inputs[1]].quant;
  const auto& v = g[g.nodes[0].inputs[2]];
  CHECK(v.quant->type == dtype::s32);
  CHECK(v.quant->axis == 0);
  for (std::size_t o = 0; o < 4; ++o) {
    CHECK(v.quant->scale[o] == 0.037f * w.scale[o]);
    CHECK(v.constant->view<std::int32_t>()[o] ==
          std::nearbyint(static_cast<double>(b.view<float>()[o]) /
                         static_cast<double>(v.quant->scale[o])));
  }
}

TEST_CASE("ties of a bias go to the even code") {
  CHECK(bias_code(0.5, 1) == 0);
  CHECK(bias_code(1.5, 1) == 2);
  CHECK(bias_code(-0.5, 1) == 0);
  CHECK(bias_code(-1.5, 1) == -2);
  CHECK(bias_code(-2.5, 1) == -2);
  CHECK(bias_code(2.4999999, 1) == 2);
  CHECK(bias_code(1073741823.5, 1) == 1073741824);
}

TEST_CASE("a bias of one element serves every channel") {
  network n;
  auto x = n.input("x", {2, 3});
  auto b = n.raw().add_constant("b", tensor::scalar(0.25f));
  n.output(n.add("y", op::matmul{}, {x, n.random("w", {3, 4}), b}));
  auto g = n.done();
  g[g.find("x")].quant = input_codes();
  REQUIRE(!layer_quantizer(g).quantize(0, {}));
  const auto& v = g[g.nodes[0].inputs[2]];
  REQUIRE(v.constant->size() == 4);
  for (std::size_t o = 0; o < 4; ++o)
    CHECK(v.quant->scale[o] * static_cast<float>(v.constant->view<std::int32_t>()[o]) ==
          doctest::Approx(0.25).epsilon(0.01));
}

TEST_CASE(
    "shared weights become one constant where their scales agree, two where a bias parts them") {
  for (bool big_bias : {false, true}) {
    network n;
    auto x = n.input("x", {2, 3});
    auto w = n.random("w", {3, 3});
    auto b = n.raw().add_constant("b", tensor::from<float>({3}, {1, 2, big_bias ? 4e8f : 3.0f}));
    auto h = n.add("h", op::matmul{}, {x, w});
    n.output(n.add("y", op::matmul{}, {h, w, b}));
    auto g = n.done();
    g[g.find("x")].quant = g[h].quant = input_codes();
    layer_quantizer q(g);
    REQUIRE(!q.quantize(0, {}));
    REQUIRE(!q.quantize(1, {}));
    CHECK((g.nodes[0].inputs[1] == g.nodes[1].inputs[1]) == !big_bias);
    CHECK(g.constant_of(w)->type() == dtype::f32);
    const auto& bias = g[g.nodes[1].inputs[2]];
    for (auto code : bias.constant->view<std::int32_t>()) CHECK(std::abs(code) <= (1 << 30));
  }
}

TEST_CASE("a layer whose accumulator could overflow stays float and untouched") {
  network n;
  auto x = n.input("x", {1, 70000});
  tensor w(dtype::f32, {70000, 1});
  for (auto& v : w.mutable_view<float>()) v = 1;
  auto id = n.raw().add_constant("w", std::move(w));
  n.output(n.add("y", op::matmul{}, {x, id}));
  auto g = n.done();
  g[g.find("x")].quant = input_codes(1, 0);  // 70,000 · 127 · 255 > 2^31
  const auto why = layer_quantizer(g).quantize(0, {});
  REQUIRE(why);
  CHECK(why->find("its accumulator could exceed int32: channel 0 reaches 2266950000") == 0);
  CHECK(g.nodes[0].inputs[1] == id);
  g[g.find("x")].quant = input_codes(1, 128);  // half of it fits
  CHECK(!layer_quantizer(g).quantize(0, {}));
}

TEST_CASE("NaN in weights or bias is an error that names node and constant") {
  for (int port : {1, 2}) {
    network n;
    n.output(n.conv("y", n.input("x", {1, 3, 5, 5}), 3, 4));
    auto g = n.done();
    g[g.find("x")].quant = input_codes();
    const auto id = g.nodes[0].inputs[static_cast<std::size_t>(port)];
    g[id].constant->mutable_view<float>()[2] = std::numeric_limits<float>::quiet_NaN();
    CHECK_THROWS_WITH_AS(layer_quantizer(g).quantize(0, {}),
                         doctest::Contains((port == 1 ? "node 'y' (Conv): 'y.w'" : "'y.b'")),
                         calibration_error);
  }
}

TEST_CASE("dead channels keep their bias") {
  network n;
  auto x = n.input("x", {1, 4});
  tensor w(dtype::f32, {4, 2});
  for (std::size_t i = 0; i < 4; ++i) w.mutable_view<float>()[i * 2] = 0.5f;
  auto b = n.raw().add_constant("b", tensor::from<float>({2}, {0.1f, -7.7f}));
  n.output(n.add("y", op::matmul{}, {x, n.raw().add_constant("w", std::move(w)), b}));
  auto g = n.done();
  g[g.find("x")].quant = input_codes(1e-4f);
  REQUIRE(!layer_quantizer(g).quantize(0, {}));
  const auto& v = g[g.nodes[0].inputs[2]];
  CHECK(v.quant->scale[1] * static_cast<float>(v.constant->view<std::int32_t>()[1]) ==
        doctest::Approx(-7.7).epsilon(1e-6));
}

TEST_CASE("narrow weights are int8 codes that stay within their bits and run in integers") {
  for (int bits : {2, 3, 4, 7})
    for (bool symmetric : {true, false})
      for (bool per_channel : {true, false}) {
        network n;
        n.output(n.conv("y", n.input("x", {1, 3, 5, 5}), 3, 4, {}, 3));
        auto g = n.done();
        const auto real = *g.constant_of(g.nodes[0].inputs[1]);
        g[g.find("x")].quant = input_codes();
        const weight_grid grid{bits, symmetric, true, per_channel};
        REQUIRE(!layer_quantizer(g, grid).quantize(0, {}));
        const auto& w = g[g.nodes[0].inputs[1]];
        CHECK(w.quant->axis == (per_channel ? 0 : -1));
        CHECK(w.quant->scale.size() == (per_channel ? 4 : 1));
        int lowest = 0, highest = 0;
        for (int code : w.constant->view<std::int8_t>()) {
          lowest = std::min(lowest, code);
          highest = std::max(highest, code);
        }
        CHECK(lowest >= grid.lowest());
        CHECK(highest <= grid.highest());
        CHECK(highest - lowest >= grid.highest());
        const auto p = lower(g, kernels::reference_kernels());
        bool integer = false;
        for (const auto& s : p.steps) integer = integer || (s.what == "Conv" && s.integer);
        CHECK(integer);
      }
}
