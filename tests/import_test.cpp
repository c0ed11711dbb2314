// SPDX-License-Identifier: Apache-2.0
#include <ptq/import.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#endif

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <variant>
#include <vector>

#include "support/data_dir.hpp"
#include "support/onnx_model.hpp"

using ptq_test::error_of;
using ptq_test::floats;
using ptq_test::onnx_model;

TEST_CASE("inputs keep their names, extents and the names of free dimensions") {
  onnx_model m;
  m.input("tokens", {-1, 8}, ptq::onnx::type_int64).output("y");
  m.m.graph.inputs[0].dims[0].param = "batch";
  m.node("Cast", {"tokens"}, {"y"}).with("to", std::int64_t{1});
  const auto g = m.import();
  const auto& x = g[g.inputs.at(0)];
  CHECK(x.name == "tokens");
  CHECK(x.type == ptq::dtype::s64);
  CHECK(x.dims == ptq::shape{-1, 8});
  CHECK(x.dim_names == std::vector<std::string>{"batch", ""});
  CHECK(g.nodes.at(0).name == "Cast_y");
  CHECK(g.name == "test");
}

TEST_CASE("an input with an initializer is a constant") {
  onnx_model m;
  m.input("x", {2}).input("w", {2}).constant("w", floats({2}, {1, 2})).output("y");
  m.node("Add", {"x", "w"}, {"y"});
  const auto g = m.import();
  CHECK(g.inputs.size() == 1);
  CHECK(g.constant_of(g.nodes[0].inputs[1])->view<float>()[1] == 2.0f);
}

TEST_CASE("half inputs and constants are f32 values") {
  onnx_model m;
  m.input("x", {1}, ptq::onnx::type_float16).output("y", ptq::onnx::type_float16);
  m.node("Constant", {}, {"c"}, "one");
  auto& t = ptq::onnx::exporter::put(m.m.graph.nodes[0], "value", ptq::onnx::attribute_tensor)
                .t.emplace_back();
  t.type = ptq::onnx::type_float16;
  t.dims = {1};
  t.raw = std::string_view("\x00\x3c", 2);
  m.node("Mul", {"x", "c"}, {"y"});
  const auto g = m.import();
  REQUIRE(g.nodes.size() == 1);
  CHECK(g[g.inputs[0]].type == ptq::dtype::f32);
  CHECK(g[g.outputs[0]].type == ptq::dtype::f32);
  CHECK(g.constant_of(g.nodes[0].inputs[1])->view<float>()[0] == 1.0f);
}

TEST_CASE("Identity and Dropout disappear, and outputs keep their names") {
  onnx_model m;
  m.input("x", {2}).output("y").output("z").output("w");
  m.node("Relu", {"x"}, {"a"}).node("Identity", {"a"}, {"b"}).node("Dropout", {"b"}, {"y"});
  m.node("Identity", {"b"}, {"z"}).node("Identity", {"x"}, {"w"});
  const auto g = m.import();
  REQUIRE(g.nodes.size() == 3);  // y is the Relu's own result; z and w are two more names
  CHECK(g[g.nodes[0].outputs[0]].name == "y");
  CHECK(g[g.outputs.at(0)].name == "y");
  CHECK(g[g.outputs.at(1)].name == "z");
  CHECK(g[g.outputs.at(2)].name == "w");
  CHECK(std::holds_alternative<ptq::op::identity>(g.nodes[1].what));
}

TEST_CASE("nodes out of order are put in order, unread ones dropped, equal names told apart") {
  onnx_model m;
  m.input("x", {2}).output("y");
  m.node("Abs", {"a"}, {"y"}, "n")
      .node("Neg", {"x"}, {"unread"}, "n")
      .node("Relu", {"x"}, {"a"}, "n");
  const auto g = m.import();
  REQUIRE(g.nodes.size() == 2);
  CHECK(g[g.nodes[1].outputs[0]].name == "y");
  CHECK(g.nodes[0].name != g.nodes[1].name);
}

TEST_CASE("all missing operators are listed with their nodes in one error") {
  onnx_model m;
  m.input("x", {2}).output("y").node("Bernoulli", {"x"}, {"a"}, "first").node("Det", {"a"}, {"b"}, "c");
  m.node("Bernoulli", {"b"}, {"d"}, "second").node("Relu", {"d"}, {"e"}).node("Gelu", {"e"}, {"y"}, "g");
  m.m.graph.nodes.back().domain = "com.microsoft";
  CHECK(error_of<ptq::unsupported>([&] { m.import(); }) ==
        "import: model.onnx: 3 operators are not supported: Bernoulli (node 'first', 'second'), "
        "Det (node 'c'), com.microsoft.Gelu (node 'g')");
}

TEST_CASE("graphs that contradict themselves are refused by name") {
  const auto text = [](auto build) {
    onnx_model m;
    m.input("x", {2}).output("y");
    build(m);
    return error_of<ptq::import_error>([&] { m.import(); });
  };
  CHECK(text([](auto& m) {
          m.node("Add", {"x", "nobody"}, {"y"}, "n");
        }) == "import: model.onnx: node 'n' (Add): input 1: no value is named 'nobody'");
  CHECK(text([](auto& m) {
          m.node("Add", {"x", "b"}, {"a"}, "n").node("Abs", {"a"}, {"b"});
        }).find("'n' (Add) is part of a cycle") != std::string::npos);
  CHECK(text([](auto& m) { m.node("Abs", {"x"}, {"y"}).node("Neg", {"x"}, {"y"}, "n"); }) ==
        "import: model.onnx: node 'n' (Neg): output 'y' is defined twice");
  CHECK(text([](auto& m) { m.node("Abs", {"x"}, {"x"}); }).find("twice") != std::string::npos);
  CHECK(text([](auto& m) { m.node("Abs", {"x"}, {"a"}); }) ==
        "import: model.onnx: output 'y': no value has this name");
  CHECK(text([](auto& m) { m.node("Add", {"x"}, {"y"}, "n"); }) ==
        "import: model.onnx: node 'n' (Add): inputs: expected 2, got 1");
  CHECK(text([](auto& m) { m.node("Abs", {"x"}, {"y"}).input("x", {3}); }).find("'x'") !=
        std::string::npos);
}

TEST_CASE("opsets outside 7 to 25 and inputs that are no tensors of numbers are not supported") {
  onnx_model old(6), young(26);
  for (auto* m : {&old, &young}) {
    m->input("x", {2}).output("y").node("Abs", {"x"}, {"y"});
    CHECK(error_of<ptq::unsupported>([&] { m->import(); }).find("expected 7 to 25") !=
          std::string::npos);
  }
  onnx_model text;
  text.input("x", {2}, ptq::onnx::type_string).output("y").node("Abs", {"x"}, {"y"});
  CHECK_FALSE(error_of<ptq::unsupported>([&] { text.import(); }).empty());
}

TEST_CASE("a file that is missing or of no known format is an error of its own kind") {
  CHECK_FALSE(
      error_of<ptq::io_error>([] { ptq::import_model("/nonexistent/model.onnx"); }).empty());
  CHECK_FALSE(error_of<ptq::io_error>([] {
                ptq::import_model(std::filesystem::temp_directory_path());
              }).empty());
}

TEST_CASE("every real model imports") {
  const auto dir = ptq_test::data_dir();
  if (!dir) {
    MESSAGE("PTQ_DATA_DIR is unset: skipped");
    return;
  }
  int imported = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(*dir / "models")) {
    if (entry.path().extension() != ".onnx") continue;
    const auto file = entry.path().filename().string();
    CAPTURE(file);
    ptq::graph g;
    CHECK_NOTHROW(g = ptq::import_model(entry.path()));
    CHECK_NOTHROW(ptq::check(g));
    CHECK_FALSE(g.nodes.empty());
    ++imported;
    if (file.starts_with("mobilenet_v1_0.5_128_qdq")) {
      const auto left = std::count_if(g.nodes.begin(), g.nodes.end(), [](const ptq::node& n) {
        return std::holds_alternative<ptq::op::dequantize_linear>(n.what);
      });
      CHECK(left == 1);  // that of the input's codes
    }
  }
  CHECK(imported > 0);
}
