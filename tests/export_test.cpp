// SPDX-License-Identifier: Apache-2.0
#include <ptq/export.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#endif

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <set>
#include <string>
#include <variant>

#include "support/data_dir.hpp"
#include "support/onnx_model.hpp"

using ptq_test::error_of;
using ptq_test::floats;
using ptq_test::onnx_model;

namespace {

constexpr float inf = std::numeric_limits<float>::infinity();

ptq::onnx::model_proto exported(const ptq::graph& g, const std::string& bytes) {
  (void)g;
  return ptq::onnx::reader("exported").read(std::as_bytes(std::span<const char>(bytes)));
}

/// Same inputs, outputs, nodes and constants under the same names, whatever the order of the
/// values.
void check_same(const ptq::graph& a, const ptq::graph& b) {
  const auto name = [](const ptq::graph& g, ptq::value_id id) {
    return id == ptq::none ? std::string("-") : g[id].name;
  };
  const auto same_value = [&](ptq::value_id i, ptq::value_id j) {
    CHECK(name(a, i) == name(b, j));
    if (i == ptq::none || j == ptq::none) return;
    CHECK(a[i].quant == b[j].quant);
    CHECK(a[i].type == b[j].type);
    REQUIRE(a[i].constant.has_value() == b[j].constant.has_value());
    if (!a[i].constant) return;
    const auto &s = *a[i].constant, &t = *b[j].constant;
    REQUIRE(s.type() == t.type());
    REQUIRE(s.dims() == t.dims());
    CHECK(std::memcmp(s.data(), t.data(), s.byte_count()) == 0);
  };
  const auto same_values = [&](const auto& i, const auto& j) {
    REQUIRE(i.size() == j.size());
    for (std::size_t k = 0; k < i.size(); ++k) same_value(i[k], j[k]);
  };
  same_values(a.inputs, b.inputs);
  same_values(a.outputs, b.outputs);
  for (std::size_t i = 0; i < a.inputs.size() && i < b.inputs.size(); ++i) {
    CHECK(a[a.inputs[i]].dims == b[b.inputs[i]].dims);
    CHECK(a[a.inputs[i]].dim_names == b[b.inputs[i]].dim_names);
  }
  REQUIRE(a.nodes.size() == b.nodes.size());
  for (std::size_t n = 0; n < a.nodes.size(); ++n) {
    CAPTURE(a.nodes[n].name);
    CHECK(a.nodes[n].name == b.nodes[n].name);
    CHECK(bool(a.nodes[n].what == b.nodes[n].what));
    same_values(a.nodes[n].inputs, b.nodes[n].inputs);
    same_values(a.nodes[n].outputs, b.nodes[n].outputs);
  }
}

ptq::graph round_trip(const ptq::graph& g) { return ptq_test::import_bytes(ptq::export_onnx(g)); }

ptq::value_id add(ptq::graph& g, const char* name, std::optional<ptq::qparams> q = {}) {
  ptq::value v;
  v.name = name;
  v.quant = std::move(q);
  return g.add(std::move(v));
}

ptq::qparams u8(float scale, std::int32_t zero) { return {ptq::dtype::u8, {scale}, {zero}, -1}; }

/// x [?,2,4,4], quantized → conv with per-channel weights, quantized bias and a clamp → y,
/// quantized and an output.
ptq::graph quantized_conv(ptq::clamp act, ptq::qparams y_params, bool two_readers = false) {
  ptq::graph g;
  const auto x = add(g, "x", u8(0.02f, 7));
  g[x].dims = {-1, 2, 4, 4};
  g[x].dim_names = {"batch", "", "", ""};
  g[x].shaped = true;
  g.inputs = {x};
  ptq::tensor codes(ptq::dtype::s8, {3, 2, 1, 1});
  for (int i = 0; i < 6; ++i)
    codes.mutable_view<std::int8_t>()[static_cast<std::size_t>(i)] =
        static_cast<std::int8_t>(20 * i - 50);
  auto constant = [&](const char* name, ptq::tensor t, ptq::qparams q) {
    const auto id = g.add_constant(name, std::move(t));
    g[id].type = ptq::dtype::f32;
    g[id].quant = std::move(q);
    return id;
  };
  const auto w = constant("w", codes, {ptq::dtype::s8, {0.1f, 0.2f, 0.3f}, {0, 0, 0}, 0});
  const auto b = constant("b", ptq::tensor::from<std::int32_t>({3}, {100, -200, 300}),
                          {ptq::dtype::s32, {0.002f, 0.004f, 0.006f}, {0, 0, 0}, 0});
  const auto h = add(g, "h", std::move(y_params));
  const auto y = add(g, "y");
  ptq::op::conv c;
  c.win = {{1, 1}, {1, 1}, {1, 1}, {0, 0, 0, 0}};
  c.act = act;
  g.nodes.push_back({"conv", c, {x, w, b}, {h}, {}});
  g.nodes.push_back({"abs", ptq::op::unary{ptq::unary_kind::abs}, {h}, {y}, {}});
  g.outputs = {y};
  if (two_readers) {
    const auto z = add(g, "z");
    g.nodes.push_back({"neg", ptq::op::unary{ptq::unary_kind::neg}, {h}, {z}, {}});
    g.outputs.push_back(z);
    g.outputs.push_back(h);
  }
  return g;
}

std::multiset<std::string> kinds(const ptq::onnx::model_proto& m) {
  std::multiset<std::string> all;
  for (const auto& n : m.graph.nodes) all.insert(n.op_type);
  return all;
}

}  // namespace

TEST_CASE("import of an export is the same graph") {
  check_same(quantized_conv({}, u8(0.05f, 3)), round_trip(quantized_conv({}, u8(0.05f, 3))));
  const auto g = quantized_conv({}, u8(0.05f, 3), true);
  check_same(g, round_trip(g));
}

TEST_CASE(
    "each reader of a quantized value has a DQ of its own, and the output one with its name") {
  const auto bytes = ptq::export_onnx(quantized_conv({}, u8(0.05f, 3), true));
  const auto m = exported({}, bytes);
  std::set<std::string> read;
  std::string codes_of_h;
  for (const auto& n : m.graph.nodes)
    if (n.outputs[0] == "h") codes_of_h = n.inputs[0];
  int of_h = 0;
  for (const auto& n : m.graph.nodes) {
    for (const auto& i : n.inputs)
      if (n.op_type != "DequantizeLinear" && n.op_type != "QuantizeLinear")
        CHECK(read.insert(i).second);
    if (n.op_type != "DequantizeLinear") continue;
    of_h += n.inputs[0] == codes_of_h;
    if (n.outputs[0] == "h") CHECK(read.count("h") == 0);
  }
  CHECK(of_h == 3);
  CHECK(m.graph.outputs.at(2).name == "h");
  CHECK(m.graph.inputs.at(0).dims.at(0).param == "batch");
}

TEST_CASE("a scale per channel writes its axis, codes s32 have no zero point") {
  const auto bytes = ptq::export_onnx(quantized_conv({}, u8(0.05f, 3)));
  const auto m = exported({}, bytes);
  int seen = 0;
  for (const auto& n : m.graph.nodes) {
    if (n.op_type != "DequantizeLinear") continue;
    const bool weights = n.outputs[0] == "w", bias = n.outputs[0] == "b";
    if (!weights && !bias) continue;
    ++seen;
    REQUIRE(n.attributes.size() == 1);
    CHECK(n.attributes[0].name == "axis");
    CHECK(n.attributes[0].i == 0);
    CHECK(n.inputs.size() == (weights ? 3u : 2u));
  }
  CHECK(seen == 2);
  CHECK(m.ir_version == 8);
  CHECK(m.producer_name == "ptq");
  CHECK(m.opsets.at(0).version == 13);
}

TEST_CASE("a clamp is written only where the codes don't end at its bounds anyway") {
  const auto written = [](ptq::clamp act, ptq::qparams q) {
    const auto bytes = ptq::export_onnx(quantized_conv(act, std::move(q)));
    const auto all = kinds(exported({}, bytes));
    return std::string(all.count("Relu") ? "Relu" : "") + (all.count("Clip") ? "Clip" : "");
  };
  CHECK(written({0, inf}, u8(0.05f, 0)) == "Relu");   // a runtime drops it: zero point 0
  CHECK(written({0, inf}, u8(0.05f, 30)) == "Relu");  // tighter than the codes
  CHECK(written({0, 6}, u8(6.0f / 255, 0)) == "");
  CHECK(written({0, 6}, u8(5.0f / 255, 0)) == "");
  CHECK(written({0, 6}, u8(7.0f / 255, 0)) == "Clip");
  CHECK(written({0, 6}, u8(6.0f / 255, 1)) == "Clip");
  CHECK(written({-inf, inf}, u8(6.0f / 255, 1)) == "");
}

TEST_CASE("an identity with qparams is one more Q and DQ on its input") {
  ptq::graph g;
  const auto x = add(g, "x"), a = add(g, "a", u8(0.5f, 1)), b = add(g, "b", u8(0.25f, 2));
  const auto y = add(g, "y");
  g[x].dims = {2};
  g[x].dim_names = {""};
  g[x].shaped = true;
  g.inputs = {x};
  g.outputs = {y};
  g.nodes.push_back({"relu", ptq::op::unary{ptq::unary_kind::relu}, {x}, {a}, {}});
  g.nodes.push_back({"requant", ptq::op::identity{}, {a}, {b}, {}});
  g.nodes.push_back({"add", ptq::op::binary{}, {a, b}, {y}, {}});
  const auto bytes = ptq::export_onnx(g);
  const auto all = kinds(exported(g, bytes));
  CHECK(all.count("Identity") == 0);
  CHECK(all.count("QuantizeLinear") == 2);
  CHECK(all.count("DequantizeLinear") == 3);  // a for the Add, a for b's Q, b
  check_same(g, ptq_test::import_bytes(bytes));
}

TEST_CASE("a matrix product with a bias is Gemm for matrices, MatMul and Add beyond") {
  for (const bool matrix : {true, false}) {
    ptq::graph g;
    const auto x = add(g, "x");
    g[x].dims = matrix ? ptq::shape{-1, 2} : ptq::shape{-1, 5, 2};
    g[x].shaped = true;
    const auto w = g.add_constant("w", floats({2, 3}, {1, 2, 3, 4, 5, 6}));
    const auto b = g.add_constant("b", floats({3}, {1, 2, 3}));
    const auto y = add(g, "y");
    g.inputs = {x};
    g.outputs = {y};
    g.nodes.push_back({"product", ptq::op::matmul{}, {x, w, b}, {y}, {}});
    const auto bytes = ptq::export_onnx(g);
    const auto all = kinds(exported(g, bytes));
    CHECK(all.count("Gemm") == (matrix ? 1 : 0));
    CHECK(all.count("MatMul") == (matrix ? 0 : 1));
    CHECK(all.count("Add") == (matrix ? 0 : 1));
  }
}

TEST_CASE("the opset is raised to what the operators need") {
  const auto opset = [](const char* op_type, int from) {
    onnx_model m(from);
    m.input("x", {2, 3}).output("y").node(op_type, {"x"}, {"y"});
    const auto bytes = ptq::export_onnx(m.import());
    return exported({}, bytes).opsets.at(0).version;
  };
  CHECK(opset("Relu", 9) == 13);
  CHECK(opset("HardSwish", 14) == 14);
  CHECK(opset("Mish", 18) == 18);
  CHECK(opset("Gelu", 20) == 20);
  onnx_model m;
  m.input("x", {2}).output("y").node("Relu", {"x"}, {"y"});
  const auto bytes = ptq::export_onnx(m.import(), {.opset = 17});
  CHECK(exported({}, bytes).opsets.at(0).version == 17);
  CHECK_FALSE(
      error_of<ptq::unsupported>([&] { ptq::export_onnx(m.import(), {.opset = 99}); }).empty());
}

TEST_CASE("a file is replaced as a whole and its name says the format") {
  const auto dir = std::filesystem::temp_directory_path() / "ptq_export_test";
  std::filesystem::remove_all(dir);
  std::filesystem::create_directories(dir);
  const auto g = quantized_conv({}, u8(0.05f, 3));
  std::ofstream(dir / "m.onnx") << "old";
  ptq::export_model(g, dir / "m.onnx");
  check_same(g, ptq::import_model(dir / "m.onnx"));
  CHECK(std::distance(std::filesystem::directory_iterator(dir), {}) == 1);
  CHECK_FALSE(error_of<ptq::unsupported>([&] { ptq::export_model(g, dir / "m.bin"); }).empty());
  CHECK_FALSE(
      error_of<ptq::io_error>([&] { ptq::export_model(g, dir / "no" / "m.onnx"); }).empty());
  std::filesystem::remove_all(dir);
}

/// Equal, or control flow whose bodies hold the same operators.
static bool same_operator(const ptq::operation& a, const ptq::operation& b) {
  const auto* x = std::get_if<ptq::op::control>(&a);
  const auto* y = std::get_if<ptq::op::control>(&b);
  if (!x || !y) return a == b;
  bool same = x->what == y->what && x->carried == y->carried && x->bodies.size() == y->bodies.size();
  for (std::size_t i = 0; same && i < x->bodies.size(); ++i)
    same = std::equal(x->bodies[i]->nodes.begin(), x->bodies[i]->nodes.end(),
                      y->bodies[i]->nodes.begin(), y->bodies[i]->nodes.end(),
                      [](const ptq::node& m, const ptq::node& n) {
                        return same_operator(m.what, n.what);
                      });
  return same;
}

TEST_CASE("every real model that imports comes back from its export") {
  const auto dir = ptq_test::data_dir();
  if (!dir) {
    MESSAGE("PTQ_DATA_DIR is unset: skipped");
    return;
  }
  int same = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(*dir / "models")) {
    if (entry.path().extension() != ".onnx") continue;
    const auto file = entry.path().filename().string();
    CAPTURE(file);
    ptq::graph g;
    try {
      g = ptq::import_model(entry.path());
    } catch (const ptq::unsupported&) {
      continue;
    }
    const auto h = round_trip(g);
    // The old Softmax is spelled with four nodes.
    bool flattened = false;
    for (const auto& n : g.nodes)
      if (const auto* s = std::get_if<ptq::op::softmax>(&n.what)) flattened |= s->flattened;
    if (flattened) {
      CHECK(h.nodes.size() > g.nodes.size());
      continue;
    }
    CHECK(h.nodes.size() == g.nodes.size());
    for (std::size_t n = 0; n < g.nodes.size() && n < h.nodes.size(); ++n) {
      CHECK(same_operator(g.nodes[n].what, h.nodes[n].what));
      CHECK(g[g.nodes[n].outputs[0]].name == h[h.nodes[n].outputs[0]].name);
      CHECK(g[g.nodes[n].outputs[0]].quant == h[h.nodes[n].outputs[0]].quant);
    }
    ++same;
  }
  CHECK(same > 10);
}
