// SPDX-License-Identifier: Apache-2.0
#include <ptq/onnx/merge_quantization.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <variant>

#include "support/onnx_model.hpp"

using ptq_test::error_of;
using ptq_test::floats;
using ptq_test::onnx_model;

namespace {

/// x [2,3] → Relu → h, and constants s = 0.5, z = 3 (u8), s2 = 0.25.
onnx_model with_params() {
  onnx_model m;
  m.input("x", {2, 3}).constant("s", ptq::tensor::scalar(0.5f));
  m.constant("z", ptq::tensor::scalar(std::uint8_t{3})).constant("s2", ptq::tensor::scalar(0.25f));
  m.node("Relu", {"x"}, {"h"}, "relu");
  return m;
}

const ptq::qparams half{ptq::dtype::u8, {0.5f}, {3}, -1};

template <class Op>
int count(const ptq::graph& g) {
  int n = 0;
  for (const auto& node : g.nodes) n += std::holds_alternative<Op>(node.what);
  return n;
}

const ptq::value& named(const ptq::graph& g, const char* name) {
  const auto id = g.find(name);
  REQUIRE(id != ptq::none);
  return g[id];
}

}  // namespace

TEST_CASE("Q then DQ with the same parameters are qparams on the value before them") {
  auto m = with_params();
  m.node("QuantizeLinear", {"h", "s", "z"}, {"q"}).node("DequantizeLinear", {"q", "s", "z"}, {"d"});
  m.node("Abs", {"d"}, {"y"}).output("y");
  const auto g = m.import();
  REQUIRE(g.nodes.size() == 2);
  const auto& h = named(g, "h");
  REQUIRE(h.quant);
  CHECK(*h.quant == half);
  CHECK(h.type == ptq::dtype::f32);
  CHECK(g[g.nodes[1].inputs[0]].name == "h");
  CHECK(g.find("s") == ptq::none);
}

TEST_CASE("a DQ for each reader is one value, which takes back its name before the suffix") {
  onnx_model m;
  m.input("x", {2, 3}).constant("s", ptq::tensor::scalar(0.5f));
  m.constant("z", ptq::tensor::scalar(std::uint8_t{3}));
  m.node("Relu", {"x"}, {"r7"}).node("QuantizeLinear", {"r7", "s", "z"}, {"q"});
  m.node("DequantizeLinear", {"q", "s", "z"}, {"h"});
  m.node("DequantizeLinear", {"q", "s", "z"}, {"h_1"});
  m.node("Abs", {"h"}, {"a"}).node("Neg", {"h_1"}, {"b"}).output("a").output("b");
  const auto g = m.import();
  REQUIRE(g.nodes.size() == 3);
  CHECK(g.nodes[1].inputs[0] == g.nodes[2].inputs[0]);
  CHECK(named(g, "h").quant.has_value());
}

TEST_CASE("a value that others read as it was gets an identity with the qparams") {
  auto m = with_params();
  m.node("QuantizeLinear", {"h", "s", "z"}, {"q"}).node("DequantizeLinear", {"q", "s", "z"}, {"d"});
  m.node("Add", {"d", "h"}, {"y"}).output("y");
  const auto g = m.import();
  CHECK(count<ptq::op::identity>(g) == 1);
  CHECK_FALSE(named(g, "h").quant);
  CHECK(*named(g, "d").quant == half);
}

TEST_CASE("a second, different Q on a quantized value is an identity after it") {
  auto m = with_params();
  m.node("QuantizeLinear", {"h", "s", "z"}, {"q"}).node("DequantizeLinear", {"q", "s", "z"}, {"d"});
  m.node("QuantizeLinear", {"d", "s2"}, {"q2"}).node("DequantizeLinear", {"q2", "s2"}, {"e"});
  m.node("Abs", {"e"}, {"y"}).output("y");
  const auto g = m.import();
  REQUIRE(g.nodes.size() == 3);
  CHECK(*named(g, "h").quant == half);
  CHECK(named(g, "e").quant->scale[0] == 0.25f);
  CHECK(named(g, "e").quant->zero_point[0] == 0);
  CHECK(std::holds_alternative<ptq::op::identity>(g.nodes[1].what));
}

TEST_CASE("codes that leave the graph stay a node beside the value's qparams") {
  auto m = with_params();
  m.node("QuantizeLinear", {"h", "s", "z"}, {"q"}).node("DequantizeLinear", {"q", "s", "z"}, {"d"});
  m.node("Abs", {"d"}, {"y"}).output("y").output("q", ptq::onnx::type_uint8);
  const auto g = m.import();
  CHECK(count<ptq::op::quantize_linear>(g) == 1);
  CHECK(*named(g, "h").quant == half);
  CHECK(named(g, "q").type == ptq::dtype::u8);
  CHECK_FALSE(named(g, "q").quant);
}

TEST_CASE("a quantized graph output keeps the name of its DQ") {
  auto m = with_params();
  m.node("QuantizeLinear", {"h", "s", "z"}, {"q"}).node("DequantizeLinear", {"q", "s", "z"}, {"y"});
  m.output("y");
  const auto g = m.import();
  REQUIRE(g.nodes.size() == 1);
  CHECK(g[g.outputs.at(0)].name == "y");
  CHECK(*g[g.outputs[0]].quant == half);
}

TEST_CASE("a quantized input that is the output too keeps both names") {
  onnx_model m;
  m.input("x", {2}).output("y").constant("s", ptq::tensor::scalar(0.5f));
  m.node("QuantizeLinear", {"x", "s"}, {"q"}).node("DequantizeLinear", {"q", "s"}, {"y"});
  const auto g = m.import();
  REQUIRE(g.nodes.size() == 1);
  CHECK(g[g.inputs.at(0)].name == "x");
  CHECK(g[g.outputs.at(0)].name == "y");
  CHECK(named(g, "x").quant.has_value());
}

TEST_CASE("DQ of an input of codes keeps its node and marks the result") {
  onnx_model m;
  m.input("x", {2}, ptq::onnx::type_uint8).output("y").constant("s", ptq::tensor::scalar(0.5f));
  m.constant("z", ptq::tensor::scalar(std::uint8_t{3}));
  m.node("DequantizeLinear", {"x", "s", "z"}, {"d"}).node("Relu", {"d"}, {"y"});
  const auto g = m.import();
  REQUIRE(g.nodes.size() == 2);
  CHECK(count<ptq::op::dequantize_linear>(g) == 1);
  CHECK(*named(g, "d").quant == half);
}

TEST_CASE("integer weights with scales per channel are one constant with qparams") {
  onnx_model m;
  m.input("x", {1, 2, 4, 4}).output("y");
  m.constant("w", ptq::tensor(ptq::dtype::s8, {3, 2, 1, 1}));
  m.constant("ws", floats({3}, {0.1f, 0.2f, 0.3f}));
  m.constant("wz", ptq::tensor(ptq::dtype::s8, {3}));
  m.node("DequantizeLinear", {"w", "ws", "wz"}, {"wd"}).with("axis", std::int64_t{0});
  m.node("Conv", {"x", "wd"}, {"y"});
  const auto g = m.import();
  REQUIRE(g.nodes.size() == 1);
  const auto& w = g[g.nodes[0].inputs[1]];
  CHECK(w.name == "wd");
  REQUIRE(w.constant);
  CHECK(w.constant->type() == ptq::dtype::s8);
  CHECK(w.type == ptq::dtype::f32);
  CHECK(w.quant->axis == 0);
  CHECK(w.quant->scale.size() == 3);
}

TEST_CASE("float weights between Q and DQ become the codes that Q defines") {
  onnx_model m;
  m.input("x", {1, 2}).output("y").constant("w", floats({2, 2}, {0.26f, -0.25f, 100.0f, 0.75f}));
  m.constant("s", floats({2}, {0.1f, 0.5f})).constant("z", ptq::tensor(ptq::dtype::s8, {2}));
  m.node("QuantizeLinear", {"w", "s", "z"}, {"q"}).with("axis", std::int64_t{1});
  m.node("DequantizeLinear", {"q", "s", "z"}, {"d"}).with("axis", std::int64_t{1});
  m.node("MatMul", {"x", "d"}, {"y"});
  const auto g = m.import();
  REQUIRE(g.nodes.size() == 1);
  const auto& w = g[g.nodes[0].inputs[1]];
  REQUIRE(w.constant);
  const auto codes = w.constant->view<std::int8_t>();
  CHECK(codes[0] == 3);    // 2.6
  CHECK(codes[1] == 0);    // -0.5, a tie, to even
  CHECK(codes[2] == 127);  // 1000, saturated
  CHECK(codes[3] == 2);    // 1.5, a tie, to even
  CHECK(w.quant->axis == 1);
}

TEST_CASE("movers between Q and DQ move real numbers, quantized before and after") {
  auto m = with_params();
  m.node("QuantizeLinear", {"h", "s", "z"}, {"q"}).node("Transpose", {"q"}, {"t"});
  m.node("MaxPool", {"t"}, {"p"}).with("kernel_shape", ptq_test::ints{1});
  m.node("DequantizeLinear", {"p", "s", "z"}, {"y"}).output("y");
  const auto g = m.import();
  REQUIRE(g.nodes.size() == 3);
  CHECK(std::holds_alternative<ptq::op::unary>(g.nodes[0].what));
  CHECK(std::holds_alternative<ptq::op::transpose>(g.nodes[1].what));
  CHECK(std::holds_alternative<ptq::op::pool>(g.nodes[2].what));
  for (const auto& n : g.nodes) CHECK(*g[n.outputs[0]].quant == half);
  CHECK(g[g.outputs[0]].name == "y");
}

TEST_CASE("a mover whose codes are read elsewhere stays on codes") {
  auto m = with_params();
  m.node("QuantizeLinear", {"h", "s", "z"}, {"q"}).node("Transpose", {"q"}, {"t"});
  m.node("DequantizeLinear", {"t", "s", "z"}, {"y"}).output("y").output("t", ptq::onnx::type_uint8);
  const auto g = m.import();
  CHECK(named(g, "t").type == ptq::dtype::u8);
  CHECK(count<ptq::op::quantize_linear>(g) == 1);
  CHECK(count<ptq::op::dequantize_linear>(g) == 1);
}

TEST_CASE("a QLinearConv is the convolution of the real numbers that its codes stand for") {
  onnx_model m;
  m.input("x", {1, 2, 4, 4}, ptq::onnx::type_uint8).output("y", ptq::onnx::type_uint8);
  m.constant("sx", ptq::tensor::scalar(0.5f)).constant("zx", ptq::tensor::scalar(std::uint8_t{3}));
  m.constant("w", ptq::tensor(ptq::dtype::s8, {3, 2, 1, 1}));
  m.constant("sw", floats({3}, {0.1f, 0.2f, 0.3f}))
      .constant("zw", ptq::tensor(ptq::dtype::s8, {3}));
  m.constant("b", ptq::tensor(ptq::dtype::s32, {3}));
  m.node("QLinearConv", {"x", "sx", "zx", "w", "sw", "zw", "sx", "zx", "b"}, {"y"}, "c");
  const auto g = m.import();
  REQUIRE(count<ptq::op::conv>(g) == 1);
  CHECK(count<ptq::op::quantize_linear>(g) == 1);
  for (const auto& n : g.nodes)
    if (std::holds_alternative<ptq::op::conv>(n.what)) {
      CHECK(*g[n.inputs[0]].quant == half);
      CHECK(g[n.inputs[1]].quant->scale[2] == 0.3f);
      CHECK(g[n.inputs[2]].quant->type == ptq::dtype::s32);
      CHECK(g[n.inputs[2]].quant->scale[1] == 0.5f * 0.2f);
    }
}

TEST_CASE("parameters that contradict their tensor are refused") {
  const auto refused = [](ptq::tensor scale, ptq::tensor zero) {
    onnx_model m;
    m.input("x", {1, 2}).output("y").constant("w", ptq::tensor(ptq::dtype::s8, {2, 3}));
    m.constant("s", std::move(scale)).constant("z", std::move(zero));
    m.node("DequantizeLinear", {"w", "s", "z"}, {"d"}, "dq").node("MatMul", {"x", "d"}, {"y"});
    return error_of<ptq::import_error>([&] { m.import(); });
  };
  const ptq::tensor z(ptq::dtype::s8, {});
  CHECK(refused(ptq::tensor::scalar(0.0f), z).find("expected a positive number, got 0") !=
        std::string::npos);
  CHECK(refused(ptq::tensor::scalar(1.0f), ptq::tensor(ptq::dtype::u8, {})) ==
        "import: model.onnx: node 'dq' (DequantizeLinear): zero point: expected s8, got u8");
  CHECK(refused(floats({2}, {1, 1}), ptq::tensor(ptq::dtype::s8, {2}))
            .find("expected 3 elements for axis 1 of [2,3], got 2") != std::string::npos);
  CHECK(refused(floats({3}, {1, 1, 1}), z).find("zero point") != std::string::npos);
}
