// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>

#include <ptq/fuse.hpp>

#include "support/execute.hpp"
#include "support/graph_builder.hpp"
#include "support/printed.hpp"

using namespace ptq;
using ptq_test::difference;
using ptq_test::graph_builder;
using ptq_test::outcome;

namespace {

/// As for fold, and the erf, tanh and exp of two spellings may differ by a few more.
constexpr double rounding = 1e-5;

constexpr auto add = binary_kind::add, sub = binary_kind::sub, mul = binary_kind::mul,
               divide = binary_kind::div, power = binary_kind::pow;

std::string fused(const graph_builder& n) {
  const auto g = fuse(fold(n.g));
  check(g);
  CHECK(difference(outcome(n.g), outcome(g)) < rounding);
  return ptq_test::printed_nodes(g);
}

/// Adds nodes named after their results.
struct writer {
  graph_builder n;
  value_id x;
  explicit writer(shape dims) : x(n.input("x", std::move(dims))) {}
  value_id op2(binary_kind k, value_id a, value_id b, const std::string& y) {
    return n.node(y, op::binary{k, {}}, {a, b}, y);
  }
  value_id op2(binary_kind k, value_id a, float b, const std::string& y) {
    return op2(k, a, n.number(y + ".k", b), y);
  }
  value_id op2(binary_kind k, float a, value_id b, const std::string& y) {
    return op2(k, n.number(y + ".k", a), b, y);
  }
  value_id op1(unary_kind k, value_id a, const std::string& y, float alpha = 0, float beta = 0) {
    return n.node(y, op::unary{k, alpha, beta}, {a}, y);
  }
  value_id over(reduce_kind k, value_id a, std::vector<std::int64_t> axes, const std::string& y) {
    return n.node(y, op::reduce{k, true, false}, {a, n.integers(y + ".axes", std::move(axes))}, y);
  }
  std::string fused_to(value_id y) {
    n.output(y);
    return fused(n);
  }
};

op::pool pool_of(pool_kind k, std::int64_t kernel, std::int64_t stride) {
  op::pool p;
  p.kind = k;
  p.win.kernel = {kernel, kernel};
  p.win.strides = {stride, stride};
  return p;
}

}  // namespace

TEST_CASE("relu and clip become bounds of the layer before, one after the other") {
  writer w({1, 4, 5, 5});
  auto v = w.n.node("conv", op::conv{}, {w.x, w.n.floats("w", {6, 4, 3, 3})}, "c");
  v = w.op1(unary_kind::relu, v, "r");
  v = w.op1(unary_kind::clip, v, "r6", -1.0f, 6.0f);
  CHECK(w.fused_to(v) == "conv: r6 f32[1,6,3,3] = Conv(x, w) clamp=[0,6]\n");
}

TEST_CASE("a residual sum takes the relu behind it") {
  writer w({1, 4, 5, 5});
  const auto c = w.n.node("conv", op::conv{}, {w.x, w.n.floats("w", {4, 4, 1, 1})}, "c");
  const auto s = w.op2(add, c, w.x, "sum");
  CHECK(w.fused_to(w.op1(unary_kind::relu, s, "y")) ==
        "conv: c f32[1,4,5,5] = Conv(x, w)\n"
        "sum: y f32[1,4,5,5] = Add(c, x) clamp=[0,inf]\n");
}

TEST_CASE("a layer that others read keeps its relu apart, and so does a rounded value") {
  writer w({1, 4, 5, 5});
  const auto c = w.n.node("conv", op::conv{}, {w.x, w.n.floats("w", {4, 4, 1, 1})}, "c");
  const auto r = w.op1(unary_kind::relu, c, "r");
  CHECK(w.fused_to(w.op2(mul, r, c, "y")) ==
        "conv: c f32[1,4,5,5] = Conv(x, w)\n"
        "r: r f32[1,4,5,5] = Relu(c)\n"
        "y: y f32[1,4,5,5] = Mul(r, c)\n");

  writer q({1, 4, 5, 5});
  const auto qc = q.n.node("conv", op::conv{}, {q.x, q.n.floats("w", {4, 4, 1, 1})}, "c");
  q.n.g[qc].quant = qparams{dtype::u8, {0.1f}, {10}, -1};
  q.n.output(q.op1(unary_kind::relu, qc, "y"));
  CHECK(fuse(fold(q.n.g)).nodes.size() == 2);
}

TEST_CASE("zeros padded before a convolution go into its window") {
  writer w({1, 4, 5, 5});
  const auto p =
      w.n.node("pad", op::pad{}, {w.x, w.n.integers("p", {0, 0, 0, 1, 0, 0, 1, 2})}, "p");
  op::conv c;
  c.win.strides = {2, 2};
  c.win.pads = {1, 1, 1, 1};
  CHECK(w.fused_to(w.n.node("conv", c, {p, w.n.floats("w", {6, 4, 3, 3})}, "y")) ==
        "conv: y f32[1,6,3,4] = Conv(x, w) strides=[2,2] pads=[1,2,2,3]\n");
}

TEST_CASE("other padding stays outside of a convolution") {
  for (const bool by_value : {true, false}) {
    writer w({1, 4, 5, 5});
    op::pad pad;
    if (!by_value) pad.how = op::pad::mode::reflect;
    const auto p = w.n.node("pad", pad,
                            {w.x, w.n.integers("p", {0, 0, 1, 1, 0, 0, 1, 1}),
                             by_value ? w.n.number("one", 1.0f) : none},
                            "p");
    w.n.output(w.n.node("conv", op::conv{}, {p, w.n.floats("w", {6, 4, 3, 3})}, "y"));
    CHECK(fuse(fold(w.n.g)).nodes.size() == 2);
  }
}

TEST_CASE(
    "zeros go into an average that counts them, and into a maximum of what is never negative") {
  writer w({1, 4, 5, 5});
  const auto pads = w.n.integers("p", {0, 0, 1, 1, 0, 0, 1, 1});
  auto p = w.n.node("pad", op::pad{}, {w.x, pads}, "p");
  CHECK(w.fused_to(w.n.node("pool", pool_of(pool_kind::average, 3, 2), {p}, "y")) ==
        "pool: y f32[1,4,3,3] = AveragePool(x) kernel=[3,3] strides=[2,2] pads=[1,1,1,1] "
        "count_include_pad\n");

  writer m({1, 4, 5, 5});
  const auto r = m.op1(unary_kind::relu, m.x, "r");
  p = m.n.node("pad", op::pad{}, {r, m.n.integers("p", {0, 0, 1, 1, 0, 0, 1, 1})}, "p");
  CHECK(m.fused_to(m.n.node("pool", pool_of(pool_kind::max, 3, 2), {p}, "y")) ==
        "r: r f32[1,4,5,5] = Relu(x)\n"
        "pool: y f32[1,4,3,3] = MaxPool(r) kernel=[3,3] strides=[2,2] pads=[1,1,1,1]\n");

  writer s({1, 4, 5, 5});
  p = s.n.node("pad", op::pad{}, {s.x, s.n.integers("p", {0, 0, 1, 1, 0, 0, 1, 1})}, "p");
  s.n.output(s.n.node("pool", pool_of(pool_kind::max, 3, 2), {p}, "y"));
  CHECK(fuse(fold(s.n.g)).nodes.size() == 2);  // a window of negatives would become 0
}

TEST_CASE("minus infinity goes into any maximum") {
  writer w({1, 4, 5, 5});
  const auto p = w.n.node("pad", op::pad{},
                          {w.x, w.n.integers("p", {0, 0, 1, 1, 0, 0, 1, 1}),
                           w.n.number("inf", -std::numeric_limits<float>::infinity())},
                          "p");
  CHECK(w.fused_to(w.n.node("pool", pool_of(pool_kind::max, 3, 2), {p}, "y")) ==
        "pool: y f32[1,4,3,3] = MaxPool(x) kernel=[3,3] strides=[2,2] pads=[1,1,1,1]\n");
}

TEST_CASE("GELU is found in the spellings of torch, of TensorFlow and of Whisper") {
  {
    writer w({2, 8});
    const auto e = w.op1(unary_kind::erf, w.op2(divide, w.x, 1.4142135f, "d"), "e");
    const auto m = w.op2(mul, w.x, w.op2(add, e, 1.0f, "p"), "m");
    CHECK(w.fused_to(w.op2(mul, m, 0.5f, "y")) == "y: y f32[2,8] = Gelu(x)\n");
  }
  {
    writer w({2, 8});
    const auto e = w.op1(unary_kind::erf, w.op2(mul, w.x, 0.70710678f, "d"), "e");
    const auto half = w.op2(mul, 0.5f, w.op2(add, 1.0f, e, "p"), "h");
    CHECK(w.fused_to(w.op2(mul, half, w.x, "y")) == "y: y f32[2,8] = Gelu(x)\n");
  }
  {
    writer w({2, 8});
    const auto e = w.op1(unary_kind::erf, w.op2(divide, w.x, 1.4142135f, "d"), "e");
    const auto half = w.op2(mul, w.x, 0.5f, "h");
    CHECK(w.fused_to(w.op2(mul, half, w.op2(add, e, 1.0f, "p"), "y")) ==
          "y: y f32[2,8] = Gelu(x)\n");
  }
  {
    writer w({2, 8});
    const auto cube = w.op2(mul, w.op2(power, w.x, 3.0f, "x3"), 0.044715f, "c");
    const auto u = w.op2(mul, w.op2(add, w.x, cube, "s"), 0.7978846f, "u");
    const auto t = w.op2(add, w.op1(unary_kind::tanh, u, "t"), 1.0f, "p");
    CHECK(w.fused_to(w.op2(mul, w.op2(mul, w.x, 0.5f, "h"), t, "y")) ==
          "y: y f32[2,8] = Gelu(x) approximate=tanh\n");
  }
}

TEST_CASE("what only resembles GELU is left alone") {
  writer w({2, 8});
  const auto e = w.op1(unary_kind::erf, w.op2(divide, w.x, 2.0f, "d"), "e");
  const auto m = w.op2(mul, w.x, w.op2(add, e, 1.0f, "p"), "m");
  w.n.output(w.op2(mul, m, 0.5f, "y"));
  CHECK(print(fuse(fold(w.n.g))).find("Gelu") == std::string::npos);
}

TEST_CASE("swishes and hard sigmoids in their spellings") {
  {
    writer w({2, 8});
    CHECK(w.fused_to(w.op2(mul, w.x, w.op1(unary_kind::sigmoid, w.x, "s"), "y")) ==
          "y: y f32[2,8] = Swish(x)\n");
  }
  {
    writer w({2, 8});
    const auto t = w.op1(unary_kind::tanh, w.op1(unary_kind::softplus, w.x, "sp"), "t");
    CHECK(w.fused_to(w.op2(mul, w.x, t, "y")) == "y: y f32[2,8] = Mish(x)\n");
  }
  {
    writer w({2, 8});
    const auto c = w.op1(unary_kind::clip, w.op2(add, w.x, 3.0f, "p"), "c", 0.0f, 6.0f);
    CHECK(w.fused_to(w.op2(divide, w.op2(mul, w.x, c, "m"), 6.0f, "y")) ==
          "y: y f32[2,8] = HardSwish(x)\n");
  }
  {
    writer w({2, 8});
    const auto c = w.op1(unary_kind::clip, w.op2(add, w.x, 3.0f, "p"), "c", 0.0f, 6.0f);
    CHECK(w.fused_to(w.op2(mul, w.x, w.op2(mul, c, 0.16666667f, "h"), "y")) ==
          "y: y f32[2,8] = HardSwish(x)\n");
  }
  {
    writer w({2, 8});
    const auto line = w.op2(add, w.op2(mul, w.x, 0.2f, "m"), 0.5f, "p");
    CHECK(w.fused_to(w.op1(unary_kind::clip, line, "y", 0.0f, 1.0f)) ==
          "y: y f32[2,8] = HardSigmoid(x) alpha=0.2 beta=0.5\n");
  }
  {
    writer w({2, 8});
    const auto e = w.op2(add, w.op1(unary_kind::exp, w.x, "e"), 1.0f, "p");
    CHECK(w.fused_to(w.op1(unary_kind::log, e, "y")) == "y: y f32[2,8] = Softplus(x)\n");
  }
  {
    writer w({2, 8});
    const auto low = w.op2(binary_kind::max, w.x, 0.0f, "m");
    CHECK(w.fused_to(w.op2(binary_kind::min, low, 6.0f, "y")) ==
          "m: y f32[2,8] = Clip(x) beta=6\n");
  }
}

TEST_CASE("a hard sigmoid behind a convolution is found before its 3 becomes a bias") {
  writer w({1, 4, 1, 1});
  const auto c = w.n.node("conv", op::conv{}, {w.x, w.n.floats("w", {6, 4, 1, 1})}, "c");
  const auto s = w.op1(unary_kind::clip, w.op2(add, c, 3.0f, "p"), "s", 0.0f, 6.0f);
  CHECK(w.fused_to(w.op2(divide, s, 6.0f, "y")) ==
        "conv: c f32[1,6,1,1] = Conv(x, w)\n"
        "y: y f32[1,6,1,1] = HardSigmoid(c) alpha=0.166667 beta=0.5\n");
}

TEST_CASE("layer norm and RMS norm are found, with and without scale and bias") {
  {
    writer w({unknown, 5, 8});
    const auto d = w.op2(sub, w.x, w.over(reduce_kind::mean, w.x, {-1}, "mean"), "d");
    const auto var = w.over(reduce_kind::mean, w.op2(power, d, 2.0f, "sq"), {2}, "var");
    const auto root = w.op1(unary_kind::sqrt, w.op2(add, var, 1e-5f, "e"), "root");
    const auto v = w.op2(mul, w.op2(divide, d, root, "n"), w.n.floats("gamma", {8}), "g");
    CHECK(w.fused_to(w.op2(add, w.n.floats("beta", {8}), v, "y")) ==
          "y: y f32[?,5,8] = LayerNormalization(x, y_scale, y_bias)\n");
  }
  {
    writer w({1, 5, 8});
    const auto ms = w.over(reduce_kind::mean, w.op2(mul, w.x, w.x, "sq"), {-1}, "ms");
    const auto root = w.op1(unary_kind::sqrt, w.op2(add, ms, 1e-6f, "e"), "root");
    const auto v = w.op2(mul, w.op2(divide, w.x, root, "n"), w.n.floats("gamma", {8}), "y");
    CHECK(w.fused_to(v) == "y: y f32[1,5,8] = RMSNormalization(x, y_scale) epsilon=1e-06\n");
  }
  {
    writer w({1, 5, 8});
    const auto ms = w.over(reduce_kind::mean, w.op2(power, w.x, 2.0f, "sq"), {1, 2}, "ms");
    const auto root = w.op1(unary_kind::sqrt, w.op2(add, ms, 1e-5f, "e"), "root");
    CHECK(w.fused_to(w.op2(mul, w.x, w.op1(unary_kind::reciprocal, root, "i"), "y")) ==
          "y: y f32[1,5,8] = RMSNormalization(x, y_scale) axis=1\n");
  }
  {
    // Normalised over an axis that is not the last: no layer norm.
    writer w({1, 5, 8});
    const auto ms = w.over(reduce_kind::mean, w.op2(power, w.x, 2.0f, "sq"), {1}, "ms");
    const auto root = w.op1(unary_kind::sqrt, w.op2(add, ms, 1e-5f, "e"), "root");
    w.n.output(w.op2(divide, w.x, root, "y"));
    CHECK(fuse(fold(w.n.g)).nodes.size() == 5);
  }
}

TEST_CASE("softmax is found with and without its maximum") {
  for (const bool shifted : {true, false}) {
    writer w({2, 3, 8});
    auto v = w.x;
    if (shifted) v = w.op2(sub, v, w.over(reduce_kind::max, v, {1}, "max"), "d");
    const auto e = w.op1(unary_kind::exp, v, "e");
    CHECK(w.fused_to(w.op2(divide, e, w.over(reduce_kind::sum, e, {-2}, "sum"), "y")) ==
          "y: y f32[2,3,8] = Softmax(x) axis=1\n");
  }
}

TEST_CASE("a product of rank 3 becomes rows, shared by the products of one value") {
  writer w({unknown, 5, 8});
  const auto q =
      w.n.node("q", op::matmul{}, {w.x, w.n.floats("wq", {8, 6}), w.n.floats("b", {6})}, "vq");
  const auto k = w.n.node("k", op::matmul{}, {w.x, w.n.floats("wk", {8, 6})}, "vk");
  const auto r = w.op1(unary_kind::relu, q, "r");
  CHECK(w.fused_to(w.op2(add, r, k, "y")) ==
        "q_to_rows: x_rows f32[?,8] = Reshape(x, rows_shape)\n"
        "q: r_rows f32[?,6] = MatMul(x_rows, wq, b) clamp=[0,inf]\n"
        "q_from_rows: r f32[?,5,6] = Reshape(r_rows, rows_shape_1)\n"
        "k: vk_rows f32[?,6] = MatMul(x_rows, wk)\n"
        "k_from_rows: vk f32[?,5,6] = Reshape(vk_rows, rows_shape_1)\n"
        "y: y f32[?,5,6] = Add(r, vk)\n");
}

TEST_CASE("with two free extents a product keeps its rank") {
  writer w({unknown, unknown, 8});
  CHECK(w.fused_to(w.n.node("q", op::matmul{}, {w.x, w.n.floats("w", {8, 6})}, "y")) ==
        "q: y f32[?,?,6] = MatMul(x, w)\n");
}

TEST_CASE("a batch-norm between transposes goes into the products behind it") {
  writer w({unknown, 5, 8});
  auto v = w.n.node("t1", op::transpose{{0, 2, 1}}, {w.x}, "t1");
  v = w.n.node(
      "bn", op::batch_norm{},
      {v, w.n.floats("s", {8}), w.n.floats("b", {8}), w.n.floats("m", {8}), w.n.floats("v", {8})},
      "bn");
  v = w.n.node("t2", op::transpose{{0, 2, 1}}, {v}, "t2");
  const auto q = w.n.node("q", op::matmul{}, {v, w.n.floats("wq", {8, 6})}, "vq");
  const auto k = w.n.node("k", op::matmul{}, {v, w.n.floats("wk", {8, 6})}, "vk");
  CHECK(w.fused_to(w.op2(mul, q, k, "y")) ==
        "q_to_rows: x_rows f32[?,8] = Reshape(x, rows_shape)\n"
        "q: vq_rows f32[?,6] = MatMul(x_rows, wq, q_bias)\n"
        "q_from_rows: vq f32[?,5,6] = Reshape(vq_rows, rows_shape_1)\n"
        "k: vk_rows f32[?,6] = MatMul(x_rows, wk, k_bias)\n"
        "k_from_rows: vk f32[?,5,6] = Reshape(vk_rows, rows_shape_1)\n"
        "y: y f32[?,5,6] = Mul(vq, vk)\n");
}

TEST_CASE("normalised inputs go into an unpadded first layer; under padding only the scale does") {
  const auto network_with = [](op::conv c) {
    writer w({1, 3, 5, 5});
    auto v = w.op2(sub, w.x, w.n.floats("mean", {1, 3, 1, 1}), "centred");
    v = w.op2(divide, v, w.n.floats("deviation", {1, 3, 1, 1}), "scaled");
    return w.fused_to(w.n.node("conv", c, {v, w.n.floats("w", {4, 3, 3, 3})}, "y"));
  };
  CHECK(network_with({}) == "conv: y f32[1,4,3,3] = Conv(x, w, conv_bias)\n");
  op::conv padded;
  padded.win.pads = {1, 1, 1, 1};
  CHECK(network_with(padded) ==
        "centred: centred f32[1,3,5,5] = Sub(x, mean)\n"
        "conv: y f32[1,4,5,5] = Conv(centred, w) pads=[1,1,1,1]\n");
}

TEST_CASE("fusing twice changes nothing more") {
  writer w({unknown, 5, 8});
  const auto q =
      w.n.node("q", op::matmul{}, {w.x, w.n.floats("wq", {8, 6}), w.n.floats("b", {6})}, "vq");
  w.n.output(w.op1(unary_kind::relu, q, "y"));
  const auto once = fuse(fold(w.n.g));
  CHECK(print(fuse(fold(once))) == print(once));
}
