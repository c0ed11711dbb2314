// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <ptq/graph/infer.hpp>
#include <ptq/graph/print.hpp>

#include "../support/graph_builder.hpp"

using namespace ptq;
using ptq_test::graph_builder;

TEST_CASE("a graph prints one line per input, constant, node and output") {
  graph_builder n;
  const auto x = n.input("x", {unknown, 3, 8, 8});
  op::conv c;
  c.win.pads = {1, 1, 1, 1};
  c.win.strides = {2, 2};
  c.act = {0.0f, 6.0f};
  const auto y = n.node("conv1", c, {x, n.floats("w", {4, 3, 3, 3})}, "y");
  op::pool p;
  p.kind = pool_kind::average;
  p.win.kernel = {2, 2};
  const auto z = n.node("pool", p, {y}, "z");
  const auto r = n.node("flat", op::reshape{}, {z, n.integers("shape", {0, -1})}, "r");
  n.output(r);
  CHECK(print(infer(n.g)) ==
        "input x f32[?,3,8,8]\n"
        "const w f32[4,3,3,3]\n"
        "const shape s64[2] = 0,-1\n"
        "conv1: y f32[?,4,4,4] = Conv(x, w) strides=[2,2] pads=[1,1,1,1] clamp=[0,6]\n"
        "pool: z f32[?,4,3,3] = AveragePool(y) kernel=[2,2]\n"
        "flat: r f32[?,36] = Reshape(z, shape)\n"
        "output r\n");
}

TEST_CASE("qparams, absent operands and unknown ranks show") {
  graph_builder n;
  const auto x = n.input("x", {2});
  n.g[x].quant = qparams{dtype::u8, {0.05f}, {128}, -1};
  const auto w = n.floats("w", {3, 3});
  n.g[w].quant = qparams{dtype::s8, {0.1f, 0.2f}, {0, 0}, 0};
  n.node("m", op::matmul{}, {x, w, none}, "y");
  CHECK(print(n.g) ==
        "input x f32[2] q=u8(0.05,128)\n"
        "const w f32[3,3] q=s8(0.1,0,… axis=0)\n"
        "m: y f32[...] = MatMul(x, w, -)\n");
}

TEST_CASE("operators print under their ONNX names") {
  CHECK(std::string(op_name(op::unary{unary_kind::hard_swish})) == "HardSwish");
  CHECK(std::string(op_name(op::unary{unary_kind::is_nan})) == "IsNaN");
  CHECK(std::string(op_name(op::binary{binary_kind::logical_xor, {}})) == "Xor");
  CHECK(std::string(op_name(op::binary{binary_kind::prelu, {}})) == "PRelu");
  CHECK(std::string(op_name(op::reduce{reduce_kind::sum_square})) == "ReduceSumSquare");
  CHECK(std::string(op_name(op::gather{op::gather::kind::nd, 0, 0})) == "GatherND");
  CHECK(std::string(op_name(op::group_norm{})) == "InstanceNormalization");
  CHECK(std::string(op_name(op::layer_norm{-1, 1e-5f, true})) == "RMSNormalization");
  op::pool p;
  p.global = true;
  p.kind = pool_kind::average;
  CHECK(std::string(op_name(p)) == "GlobalAveragePool");
}
