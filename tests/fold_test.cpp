// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <string>

#include <ptq/fold.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#endif

#include "support/execute.hpp"
#include "support/graph_builder.hpp"
#include "support/printed.hpp"

using namespace ptq;
using ptq_test::difference;
using ptq_test::graph_builder;
using ptq_test::outcome;

namespace {

/// Sums of a few dozen products: 2^-24 per rounding, some tens of roundings.
constexpr double rounding = 4e-6;

/// Text of the folded graph without its constants; the results are checked on the way.
std::string folded(const graph_builder& n) {
  const auto g = fold(n.g);
  check(g);
  CHECK(difference(outcome(n.g), outcome(g)) < rounding);
  return ptq_test::printed_nodes(g);
}

value_id batch_norm(graph_builder& n, value_id x, std::int64_t channels, const std::string& name) {
  return n.node(name, op::batch_norm{},
                {x, n.floats(name + ".s", {channels}), n.floats(name + ".b", {channels}),
                 n.floats(name + ".m", {channels}), n.floats(name + ".v", {channels})},
                name);
}

op::conv padded_conv(std::int64_t groups = 1) {
  op::conv c;
  c.win.pads = {1, 1, 1, 1};
  c.groups = groups;
  return c;
}

}  // namespace

TEST_CASE("a batch-norm goes into the convolution before it") {
  graph_builder n;
  const auto x = n.input("x", {1, 4, 5, 5});
  const auto c = n.node("conv", padded_conv(2), {x, n.floats("w", {6, 2, 3, 3})}, "c");
  n.output(batch_norm(n, c, 6, "bn"));
  CHECK(folded(n) == "conv: bn f32[1,6,5,5] = Conv(x, w, conv_bias) pads=[1,1,1,1] groups=2\n");
}

TEST_CASE("a batch-norm goes into a grouped transposed convolution") {
  graph_builder n;
  const auto x = n.input("x", {1, 4, 3, 3});
  op::conv_transpose t;
  t.win.strides = {2, 2};
  t.groups = 2;
  const auto c = n.node("up", t, {x, n.floats("w", {4, 3, 2, 2}), n.floats("b", {6})}, "c");
  n.output(batch_norm(n, c, 6, "bn"));
  CHECK(folded(n) == "up: bn f32[1,6,6,6] = ConvTranspose(x, w, b) strides=[2,2] groups=2\n");
}

TEST_CASE("arithmetic per channel goes into the layer before it, in any spelling") {
  graph_builder n;
  const auto x = n.input("x", {unknown, 4, 5, 5});
  auto v = n.node("conv", padded_conv(), {x, n.floats("w", {6, 4, 3, 3}), n.floats("b", {6})}, "c");
  v = n.node("mul", op::binary{binary_kind::mul, {}}, {n.floats("k1", {6, 1, 1}), v}, "v1");
  v = n.node("add", op::binary{binary_kind::add, {}}, {v, n.floats("k2", {1, 6, 1, 1})}, "v2");
  v = n.node("from", op::binary{binary_kind::sub, {}}, {n.number("k3", 2.0f), v}, "v3");
  v = n.node("less", op::binary{binary_kind::sub, {}}, {v, n.number("k4", 0.5f)}, "v4");
  v = n.node("div", op::binary{binary_kind::div, {}}, {v, n.floats("k5", {1}, {3.0f})}, "v5");
  n.output(v);
  CHECK(folded(n) == "conv: v5 f32[?,6,5,5] = Conv(x, w, b) pads=[1,1,1,1]\n");
}

TEST_CASE("an added vector becomes the bias of a matrix product of any rank") {
  graph_builder n;
  const auto x = n.input("x", {unknown, 7, 4});
  const auto m = n.node("mm", op::matmul{}, {x, n.floats("w", {4, 6})}, "m");
  n.output(n.node("add", op::binary{}, {n.floats("b", {6}), m}, "y"));
  CHECK(folded(n) == "mm: y f32[?,7,6] = MatMul(x, w, mm_bias)\n");
}

TEST_CASE("a batch-norm before layers goes into all of them, unless padding would see its shift") {
  graph_builder n;
  const auto x = n.input("x", {1, 4, 5, 5});
  const auto v = batch_norm(n, x, 4, "bn");
  const auto a = n.node("a", op::conv{}, {v, n.floats("wa", {6, 4, 3, 3})}, "ya");
  const auto b =
      n.node("b", op::conv{}, {v, n.floats("wb", {6, 4, 3, 3}), n.floats("bb", {6})}, "yb");
  n.output(n.node("sum", op::binary{}, {a, b}, "y"));
  CHECK(folded(n) ==
        "a: ya f32[1,6,3,3] = Conv(x, wa, a_bias)\n"
        "b: yb f32[1,6,3,3] = Conv(x, wb, bb)\n"
        "sum: y f32[1,6,3,3] = Add(ya, yb)\n");

  graph_builder p;
  const auto px = p.input("x", {1, 4, 5, 5});
  p.output(
      p.node("a", padded_conv(), {batch_norm(p, px, 4, "bn"), p.floats("wa", {6, 4, 3, 3})}, "y"));
  CHECK(folded(p) ==
        "bn: bn f32[1,4,5,5] = BatchNormalization(x, bn.s, bn.b, bn.m, bn.v)\n"
        "a: y f32[1,6,5,5] = Conv(bn, wa) pads=[1,1,1,1]\n");
}

TEST_CASE("a batch-norm before a product with transposed weights folds along its inner axis") {
  graph_builder n;
  const auto x = n.input("x", {unknown, 4});
  op::matmul m;
  m.trans_b = true;
  n.output(
      n.node("fc", m, {batch_norm(n, x, 4, "bn"), n.floats("w", {3, 4}), n.floats("b", {3})}, "y"));
  CHECK(folded(n) == "fc: y f32[?,3] = MatMul(x, w, b) trans_b\n");
}

TEST_CASE("a batch-norm that others read stays out of the weights") {
  graph_builder n;
  const auto x = n.input("x", {1, 4, 5, 5});
  const auto c = n.node("conv", padded_conv(), {x, n.floats("w", {4, 4, 3, 3})}, "c");
  n.output(n.node("sum", op::binary{}, {batch_norm(n, c, 4, "bn"), c}, "y"));
  CHECK(folded(n) ==
        "conv: c f32[1,4,5,5] = Conv(x, w) pads=[1,1,1,1]\n"
        "bn: bn f32[1,4,5,5] = BatchNormalization(c, bn.s, bn.b, bn.m, bn.v)\n"
        "sum: y f32[1,4,5,5] = Add(bn, c)\n");
}

TEST_CASE("weights that two layers share are folded for one of them alone") {
  graph_builder n;
  const auto x = n.input("x", {1, 4, 5, 5});
  const auto w = n.floats("w", {4, 4, 3, 3});
  const auto a = n.node("a", padded_conv(), {x, w}, "ya");
  const auto b = n.node("b", padded_conv(), {batch_norm(n, a, 4, "bn"), w}, "yb");
  n.output(b);
  CHECK(folded(n) ==
        "a: bn f32[1,4,5,5] = Conv(x, w_1, a_bias) pads=[1,1,1,1]\n"
        "b: yb f32[1,4,5,5] = Conv(bn, w) pads=[1,1,1,1]\n");
}

TEST_CASE("what would leave the range of f32 is not folded") {
  graph_builder n;
  const auto x = n.input("x", {1, 1, 3, 3});
  const auto c = n.node("conv", op::conv{}, {x, n.floats("w", {1, 1, 1, 1}, {1e30f})}, "c");
  n.output(n.node("mul", op::binary{binary_kind::mul, {}}, {c, n.number("k", 1e30f)}, "y"));
  const auto g = fold(n.g);
  CHECK(g.nodes.size() == 2);
}

TEST_CASE("a value with qparams is neither folded through nor folded away") {
  graph_builder n;
  const auto x = n.input("x", {1, 4, 5, 5});
  const auto c = n.node("conv", op::conv{}, {x, n.floats("w", {4, 4, 1, 1})}, "c");
  n.g[c].quant = qparams{dtype::u8, {0.1f}, {10}, -1};
  const auto same = n.node("same", op::identity{}, {c}, "s");
  n.g[same].quant = qparams{dtype::u8, {0.2f}, {10}, -1};
  n.output(batch_norm(n, same, 4, "bn"));
  const auto g = fold(n.g);
  CHECK(print(g) == print(infer(n.g)));
}

TEST_CASE("constants are computed once, by the executor") {
  graph_builder n;
  const auto x = n.input("x", {2, 3});
  const auto a = n.floats("a", {3}, {1.0f, 2.0f, 3.0f});
  const auto e = n.node("exp", op::unary{unary_kind::exp}, {a}, "e");
  const auto s = n.node("sum", op::reduce{reduce_kind::sum, true, false}, {e}, "s");
  const auto p = n.node("p", op::binary{binary_kind::div, {}}, {e, s}, "p");
  n.output(n.node("pow", op::binary{binary_kind::min, {}}, {x, p}, "y"));
  CHECK(folded(n) == "pow: y f32[2,3] = Min(x, p)\n");
  const auto g = fold(n.g);
  const auto v = g[g.find("p")].constant->view<float>();
  CHECK(v[0] == doctest::Approx(0.09003057));  // softmax of 1, 2, 3
  CHECK(v[2] == doctest::Approx(0.66524096));
}

TEST_CASE("arithmetic on known extents disappears, a free batch becomes -1") {
  graph_builder n;
  const auto x = n.input("x", {unknown, 4, 3, 3});
  const auto e = n.node("shape", op::shape_of{}, {x}, "e");
  const auto batch = n.node("pick", op::gather{}, {e, n.integers("zero", {0})}, "b");
  const auto t = n.node("target", op::concat{}, {batch, n.integers("rest", {-1})}, "t");
  n.output(n.node("flat", op::reshape{}, {x, t}, "y"));
  CHECK(folded(n) == "flat: y f32[?,36] = Reshape(x, y_shape)\n");
  const auto g = fold(n.g);
  CHECK(g[g.find("y_shape")].constant->view<std::int64_t>()[0] == -1);
  CHECK(g[g.find("y_shape")].constant->view<std::int64_t>()[1] == 36);
}

TEST_CASE("a few bytes do not become a gigabyte") {
  graph_builder n;
  const auto x = n.input("x", {1});
  const auto big =
      n.node("big", op::constant_of_shape{}, {n.integers("s", {1 << 15, 1 << 14})}, "big");
  const auto one = n.node("one", op::reduce{reduce_kind::max, false, false}, {big}, "one");
  n.output(n.node("y", op::binary{}, {x, one}, "y"));
  CHECK(fold(n.g).nodes.size() == 3);
}

TEST_CASE("nodes that change nothing disappear") {
  graph_builder n;
  const auto x = n.input("x", {unknown, 4, 3, 3});
  auto v = n.node("start", op::unary{unary_kind::exp}, {x}, "v0");
  v = n.node("identity", op::identity{}, {v}, "v1");
  v = n.node("cast", op::cast{dtype::f32}, {v}, "v2");
  v = n.node("pad", op::pad{}, {v, n.integers("pads", {0, 0, 0, 0, 0, 0, 0, 0})}, "v3");
  v = n.node("concat", op::concat{1}, {v}, "v4");
  v = n.node("times", op::binary{binary_kind::mul, {}}, {n.number("one", 1.0f), v}, "v5");
  v = n.node("plus", op::binary{binary_kind::add, {}}, {v, n.floats("o", {4, 1, 1}, {0, 0, 0, 0})},
             "v6");
  v = n.node("turn", op::transpose{{0, 2, 3, 1}}, {v}, "v7");
  v = n.node("back", op::transpose{{0, 3, 1, 2}}, {v}, "v8");
  v = n.node("same", op::reshape{}, {v, n.integers("shape", {-1, 4, 3, 3})}, "v9");
  v = n.node("all", op::slice{}, {v, n.integers("s", {0}), n.integers("e", {INT64_MAX})}, "v10");
  v = n.node("tile", op::tile{}, {v, n.integers("r", {1, 1, 1, 1})}, "v11");
  n.output(n.node("end", op::unary{unary_kind::neg}, {v}, "y"));
  CHECK(folded(n) ==
        "start: v0 f32[?,4,3,3] = Exp(x)\n"
        "end: y f32[?,4,3,3] = Neg(v0)\n");
}

TEST_CASE("a constant that widens its operand is no no-op") {
  graph_builder n;
  const auto x = n.input("x", {3});
  n.output(
      n.node("wide", op::binary{binary_kind::mul, {}}, {x, n.floats("o", {2, 1}, {1, 1})}, "y"));
  CHECK(folded(n) == "wide: y f32[2,3] = Mul(x, o)\n");
}

TEST_CASE("a slice that turns an axis round is no no-op") {
  graph_builder n;
  const auto x = n.input("x", {3});
  n.output(n.node(
      "turn", op::slice{},
      {x, n.integers("s", {2}), n.integers("e", {-4}), n.integers("a", {0}), n.integers("k", {-1})},
      "y"));
  CHECK(folded(n) == "turn: y f32[3] = Slice(x, s, e, a, k)\n");
}

TEST_CASE("chains of reshapes and of transposes become one") {
  graph_builder n;
  const auto x = n.input("x", {unknown, 4, 6});
  auto v = n.node("r1", op::reshape{}, {x, n.integers("s1", {-1, 24})}, "v1");
  v = n.node("r2", op::reshape{op::reshape::kind::unsqueeze, false, 1}, {v, n.integers("a", {2})},
             "v2");
  v = n.node("r3", op::reshape{}, {v, n.integers("s3", {-1, 3, 8})}, "v3");
  v = n.node("t1", op::transpose{{1, 2, 0}}, {v}, "v4");
  v = n.node("t2", op::transpose{{0, 2, 1}}, {v}, "v5");
  n.output(v);
  CHECK(folded(n) ==
        "r3: v3 f32[?,3,8] = Reshape(x, v3_shape)\n"
        "t2: v5 f32[3,?,8] = Transpose(v3) perm=[1,0,2]\n");
}
