// SPDX-License-Identifier: Apache-2.0
// The forms that old and new opsets are brought to.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <ptq/onnx/ops/read_table.hpp>
#include <string>
#include <variant>

#include "support/onnx_model.hpp"

using ptq_test::error_of;
using ptq_test::floats;
using ptq_test::indices;
using ptq_test::ints;
using ptq_test::onnx_model;

namespace {

constexpr float inf = std::numeric_limits<float>::infinity();

/// One node from x [1,4,6,6] and more inputs to y.
onnx_model one(int opset, const std::string& op_type, std::vector<std::string> more = {}) {
  onnx_model m(opset);
  m.input("x", {1, 4, 6, 6}).output("y");
  more.insert(more.begin(), "x");
  m.node(op_type, more, {"y"});
  return m;
}

template <class Op>
const Op& op_of(const ptq::graph& g, std::size_t i = 0) {
  REQUIRE(i < g.nodes.size());
  REQUIRE(std::holds_alternative<Op>(g.nodes[i].what));
  return std::get<Op>(g.nodes[i].what);
}

ints elements(const ptq::graph& g, std::size_t node, std::size_t input) {
  const auto* t = g.constant_of(g.nodes.at(node).inputs.at(input));
  REQUIRE(t != nullptr);
  const auto v = t->view<std::int64_t>();
  return {v.begin(), v.end()};
}

}  // namespace

TEST_CASE("attributes of old opsets become constant inputs") {
  auto slice = one(9, "Slice");
  slice.with("starts", ints{1}).with("ends", ints{3}).with("axes", ints{2});
  const auto g = slice.import();
  op_of<ptq::op::slice>(g);
  CHECK(elements(g, 0, 1) == ints{1});
  CHECK(elements(g, 0, 2) == ints{3});
  CHECK(elements(g, 0, 3) == ints{2});

  auto squeeze = one(11, "Squeeze");
  squeeze.with("axes", ints{0});
  const auto s = squeeze.import();
  CHECK(op_of<ptq::op::reshape>(s).what == ptq::op::reshape::kind::squeeze);
  CHECK(elements(s, 0, 1) == ints{0});

  auto mean = one(13, "ReduceMean");
  mean.with("axes", ints{2, 3}).with("keepdims", std::int64_t{0});
  const auto r = mean.import();
  CHECK_FALSE(op_of<ptq::op::reduce>(r).keepdims);
  CHECK(elements(r, 0, 1) == ints{2, 3});

  auto pad = one(10, "Pad");
  pad.with("pads", ints{0, 0, 1, 1, 0, 0, 1, 1}).with("value", 2.0f);
  const auto p = pad.import();
  CHECK(elements(p, 0, 1) == ints{0, 0, 1, 1, 0, 0, 1, 1});
  CHECK(p.constant_of(p.nodes[0].inputs.at(2))->view<float>()[0] == 2.0f);

  onnx_model split(11);
  split.input("x", {4}).output("a").output("b").node("Split", {"x"}, {"a", "b"});
  split.with("axis", std::int64_t{0}).with("split", ints{1, 3});
  CHECK(elements(split.import(), 0, 1) == ints{1, 3});

  auto up = one(7, "Upsample");
  ptq::onnx::exporter::put(up.m.graph.nodes[0], "scales", ptq::onnx::attribute_floats).floats = {
      1, 1, 2, 2};
  up.with("mode", std::string_view("nearest"));
  const auto u = up.import();
  CHECK(op_of<ptq::op::resize>(u).at == ptq::op::resize::coordinates::asymmetric);
  CHECK(op_of<ptq::op::resize>(u).near == ptq::op::resize::rounding::floor);
  CHECK(u.constant_of(u.nodes[0].inputs.at(2))->view<float>()[3] == 2.0f);

  onnx_model top(9);
  top.input("x", {8}).output("v").node("TopK", {"x"}, {"v", "i"}).with("k", std::int64_t{3});
  CHECK(elements(top.import(), 0, 1) == ints{3});
}

TEST_CASE("Clip takes its bounds from attributes, constants or values") {
  auto old = one(6 + 1, "Clip");
  old.with("min", 0.0f).with("max", 6.0f);
  const auto a = old.import();
  CHECK(op_of<ptq::op::unary>(a) == ptq::op::unary{ptq::unary_kind::clip, 0.0f, 6.0f});

  auto fixed = one(13, "Clip", {"", "high"});
  fixed.constant("high", ptq::tensor::scalar(6.0f));
  CHECK(op_of<ptq::op::unary>(fixed.import()) == ptq::op::unary{ptq::unary_kind::clip, -inf, 6.0f});

  auto moving = one(13, "Clip", {"low", "high"});
  moving.input("low", {}).constant("high", ptq::tensor::scalar(6.0f));
  const auto g = moving.import();
  REQUIRE(g.nodes.size() == 2);
  CHECK(op_of<ptq::op::binary>(g, 0).kind == ptq::binary_kind::max);
  CHECK(op_of<ptq::op::binary>(g, 1).kind == ptq::binary_kind::min);
  CHECK(g[g.nodes[1].outputs[0]].name == "y");
}

TEST_CASE("Sum, Mean and Max of three become chains of two") {
  for (const char* op_type : {"Sum", "Max", "Mean"}) {
    onnx_model m;
    m.input("a", {2}).input("b", {2}).input("c", {2}).output("y");
    m.node(op_type, {"a", "b", "c"}, {"y"}, "n");
    const auto g = m.import();
    const bool mean = std::string(op_type) == "Mean";
    REQUIRE(g.nodes.size() == (mean ? 3u : 2u));
    CHECK(g.nodes[1].inputs[0] == g.nodes[0].outputs[0]);
    CHECK(g[g.nodes[1].inputs[1]].name == "c");
    if (mean) CHECK(g.constant_of(g.nodes[2].inputs[1])->view<float>()[0] == 3.0f);
  }
}

TEST_CASE("Gemm's alpha and beta are folded into constants") {
  onnx_model m;
  m.input("a", {1, 2}).output("y").constant("b", floats({3, 2}, {1, 2, 3, 4, 5, 6}));
  m.constant("c", floats({3}, {1, 1, 2})).node("Gemm", {"a", "b", "c"}, {"y"});
  m.with("alpha", 0.5f).with("beta", 2.0f).with("transB", std::int64_t{1});
  const auto g = m.import();
  REQUIRE(g.nodes.size() == 1);
  CHECK(op_of<ptq::op::matmul>(g).trans_b);
  CHECK(g.constant_of(g.nodes[0].inputs[1])->view<float>()[5] == 3.0f);
  CHECK(g.constant_of(g.nodes[0].inputs[2])->view<float>()[2] == 4.0f);
}

TEST_CASE("Gemm's alpha becomes a multiply where nothing is constant") {
  onnx_model m;
  m.input("a", {1, 2}).input("b", {2, 3}).output("y").node("Gemm", {"a", "b"}, {"y"});
  m.with("alpha", 0.5f);
  const auto g = m.import();
  REQUIRE(g.nodes.size() == 2);
  CHECK(op_of<ptq::op::binary>(g, 0).kind == ptq::binary_kind::mul);
  CHECK(g[g.nodes[1].outputs[0]].name == "y");
}

TEST_CASE("auto_pad is resolved from extents, or without them where the stride is 1") {
  const auto conv = [](ints extents, ints strides, std::string_view how) {
    onnx_model m;
    m.input("x", extents).output("y").constant("w", ptq::tensor(ptq::dtype::f32, {4, 4, 3, 3}));
    m.node("Conv", {"x", "w"}, {"y"}).with("auto_pad", how).with("strides", strides);
    return std::get<ptq::op::conv>(m.import().nodes.at(0).what).win;
  };
  using same = ptq::op::window::auto_pad;
  // in 6, stride 2: out 3, needs (3 - 1) · 2 + 3 = 7, one more than there is.
  CHECK(conv({1, 4, 6, 6}, {2, 2}, "SAME_UPPER").pads == ints{0, 0, 1, 1});
  CHECK(conv({1, 4, 6, 6}, {2, 2}, "SAME_LOWER").pads == ints{1, 1, 0, 0});
  CHECK(conv({1, 4, -1, -1}, {1, 1}, "SAME_UPPER").pads == ints{1, 1, 1, 1});
  CHECK(conv({1, 4, -1, -1}, {1, 1}, "SAME_UPPER").same == same::none);
  CHECK(conv({1, 4, -1, -1}, {2, 2}, "SAME_UPPER").same == same::same_upper);
  CHECK(conv({1, 4, 6, 6}, {1, 1}, "VALID").pads == ints{0, 0, 0, 0});
}

TEST_CASE("SAME padding of a transposed convolution gives stride times the input") {
  onnx_model m;
  m.input("x", {1, 4, -1, -1}).output("y");
  m.constant("w", ptq::tensor(ptq::dtype::f32, {4, 2, 3, 3}));
  m.node("ConvTranspose", {"x", "w"}, {"y"}).with("auto_pad", std::string_view("SAME_UPPER"));
  m.with("strides", ints{2, 2});
  const auto g = m.import();
  const auto& c = op_of<ptq::op::conv_transpose>(g);
  // in · 2 = (in - 1) · 2 + 3 - total: total 1, the odd one at the end.
  CHECK(c.win.pads == ints{0, 0, 1, 1});
  CHECK(c.win.kernel == ints{3, 3});
}

TEST_CASE("Softmax before opset 13 joins the axes from its own on") {
  const auto old = one(11, "Softmax").import();
  CHECK(op_of<ptq::op::softmax>(old) == ptq::op::softmax{1, false, true});
  const auto now = one(13, "Softmax").import();
  CHECK(op_of<ptq::op::softmax>(now) == ptq::op::softmax{-1, false, false});
}

TEST_CASE("Size is the product of the extents") {
  onnx_model m;
  m.input("x", {2, 3}).output("n", ptq::onnx::type_int64).node("Size", {"x"}, {"n"});
  const auto g = m.import();
  REQUIRE(g.nodes.size() == 2);
  op_of<ptq::op::shape_of>(g, 0);
  CHECK(op_of<ptq::op::reduce>(g, 1).kind == ptq::reduce_kind::prod);
}

TEST_CASE("windows that contradict their weights or themselves are refused with the values") {
  const auto refused = [](auto change) {
    onnx_model m;
    m.input("x", {1, 4, 6, 6})
        .output("y")
        .constant("w", ptq::tensor(ptq::dtype::f32, {4, 4, 3, 3}));
    m.node("Conv", {"x", "w"}, {"y"}, "c");
    change(m);
    return error_of<ptq::import_error>([&] { m.import(); });
  };
  CHECK(refused([](auto& m) {
          m.with("kernel_shape", ints{3, 5});
        }) ==
        "import: model.onnx: node 'c' (Conv): kernel_shape: expected [3,3] as in 'w', got [3,5]");
  CHECK(refused([](auto& m) { m.with("strides", ints{1}); }).find("expected 2 entries, got 1") !=
        std::string::npos);
  CHECK(refused([](auto& m) { m.with("strides", ints{1, 0}); }).find("got 0") != std::string::npos);
  CHECK(refused([](auto& m) {
          m.with("pads", ints{0, 0, -1, 0});
        }).find("got -1") != std::string::npos);
  CHECK(refused([](auto& m) { m.with("group", std::int64_t{0}); }).find("got 0") !=
        std::string::npos);
}

TEST_CASE("what only training needs is not supported") {
  onnx_model m(14);
  m.input("x", {1, 2, 3}).output("y");
  for (const char* n : {"s", "b", "e", "v"}) m.constant(n, floats({2}, {1, 1}));
  m.node("BatchNormalization", {"x", "s", "b", "e", "v"}, {"y"}, "bn");
  m.with("training_mode", std::int64_t{1});
  CHECK(error_of<ptq::unsupported>([&] { m.import(); }) ==
        "import: model.onnx: node 'bn' (BatchNormalization): training_mode = 1 is not supported");
}

TEST_CASE("every operator has one reader") {
  for (const char* name : {"Conv", "Relu", "Add", "ReduceL2", "Reshape", "QLinearConv", "Gelu"})
    CHECK(bool(ptq::onnx::reader_of(name) != nullptr));
  for (const char* name : {"Bernoulli", "", "conv", "com.microsoft.Gelu"})
    CHECK(bool(ptq::onnx::reader_of(name) == nullptr));
}
