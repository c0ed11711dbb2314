// SPDX-License-Identifier: Apache-2.0
// If and Loop: which branch runs, how often a body does, what is known before anything runs, and that a file with bodies
// comes back as it went out.

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include <ptq/execute.hpp>
#include <ptq/export.hpp>
#include <ptq/fold.hpp>
#include <ptq/import.hpp>
#include <ptq/lower.hpp>

#include "support/graph_builder.hpp"
#include "support/onnx_model.hpp"

using namespace ptq;
using ptq_test::graph_builder;

namespace {

std::shared_ptr<const graph> shared(graph g) { return std::make_shared<const graph>(std::move(g)); }

/// x → x ∘ k
std::shared_ptr<const graph> arithmetic(binary_kind kind, float k) {
  graph_builder b;
  const auto x = b.input("x", {2});
  b.output(b.node("n", op::binary{kind, {}}, {x, b.number("k", k)}, "y"));
  return shared(b.g);
}

/// y = on ? 10 · x : x + 1
graph_builder choice() {
  graph_builder g;
  const auto on = g.input("on", {}, dtype::boolean);
  const auto x = g.input("x", {2});
  op::control c;
  c.bodies = {arithmetic(binary_kind::mul, 10.0f), arithmetic(binary_kind::add, 1.0f)};
  g.output(g.node("if", c, {on, x}, "y"));
  return g;
}

/// Doubles x while the sum of turns is below 4 and the count lasts; stacks what it saw.
graph_builder doubling(std::int64_t count, bool endless) {
  graph_builder b;
  const auto turn = b.input("turn", {}, dtype::s64);
  const auto on = b.input("on", {}, dtype::boolean);
  const auto x = b.input("x", {2});
  const auto twice = b.node("twice", op::binary{binary_kind::mul, {}}, {x, b.number("two", 2.0f)}, "x_out");
  const auto more = endless ? b.node("same", op::identity{}, {on}, "more")
                            : b.node("below", op::binary{binary_kind::less, {}}, {turn, b.integer("last", 2)}, "more");
  b.g[more].type = dtype::boolean;
  const auto seen = b.node("seen", op::identity{}, {x}, "seen");
  b.output(more);
  b.output(twice);
  if (endless) b.output(seen);
  graph_builder g;
  const auto start = g.input("x", {2});
  op::control c;
  c.what = op::control::kind::loop;
  c.carried = 1;
  c.bodies = {shared(pruned(b.g))};
  const auto out = g.nodes("loop", c, {g.integer("count", count), g.g.add_constant("on", tensor::scalar(true)), start},
                           endless ? std::vector<std::string>{"y", "all"} : std::vector<std::string>{"y"});
  for (auto id : out) g.output(id);
  return g;
}

std::vector<float> run(const graph& g, std::vector<tensor> inputs, std::size_t output = 0) {
  const auto p = lower(g, kernels::reference_kernels());
  const auto v = execute(p, inputs)[output];
  return {v.view<float>().begin(), v.view<float>().end()};
}
graph again(const graph& g) { return ptq_test::import_bytes(export_onnx(infer(g))); }

const tensor x12 = ptq_test::floats({2}, {1, 2});

}  // namespace

TEST_CASE("a condition that depends on data chooses while the program runs") {
  const auto g = choice().g;
  for (const auto& net : {g, fold(g), again(g)}) {
    CHECK(run(net, {tensor::scalar(true), x12}) == std::vector<float>{10, 20});
    CHECK(run(net, {tensor::scalar(false), x12}) == std::vector<float>{2, 3});
  }
}

TEST_CASE("a constant condition leaves the taken branch alone") {
  auto g = choice().g;
  g[g.inputs[0]].constant = tensor::scalar(false);
  g.inputs.erase(g.inputs.begin());
  CHECK(print(fold(g)) ==
        "input x f32[2]\n"
        "const k f32[] = 1\n"
        "if/n: y f32[2] = Add(x, k)\n"
        "output y\n");
  CHECK(run(g, {x12}) == std::vector<float>{2, 3});
}

TEST_CASE("a branch that hands out what it was given, or a constant, copies it") {
  graph_builder b;
  b.output(b.input("x", {2}));
  graph_builder k;
  k.input("x", {2});
  k.output(k.floats("k", {2}, {7, 8}));
  graph_builder g = choice();
  std::get<op::control>(g.g.nodes[0].what).bodies = {shared(b.g), shared(k.g)};
  for (const auto& net : {g.g, again(g.g)}) {
    CHECK(run(net, {tensor::scalar(true), x12}) == std::vector<float>{1, 2});
    CHECK(run(net, {tensor::scalar(false), x12}) == std::vector<float>{7, 8});
  }
}

TEST_CASE("branches of different extents need a condition that extents decide") {
  graph_builder b;
  const auto x = b.input("x", {2});
  b.output(b.node("row", op::reshape{op::reshape::kind::unsqueeze, false, 1}, {x, b.integers("axes", {0})}, "row"));
  graph_builder g = choice();
  std::get<op::control>(g.g.nodes[0].what).bodies[1] = shared(b.g);
  CHECK_THROWS_WITH_AS(lower(g.g, kernels::reference_kernels()),
                       "lower: node 'if' (If): the extents of 'y' depend on data: unknown rank", unsupported);
  g.g[g.g.inputs[0]].constant = tensor::scalar(false);
  g.g.inputs.erase(g.g.inputs.begin());
  CHECK(lower(g.g, kernels::reference_kernels()).output(0).dims == shape{1, 2});
}

TEST_CASE("a loop ends with its count or with its condition") {
  for (const auto& net : {doubling(100, false).g, again(doubling(100, false).g), fold(doubling(100, false).g)})
    CHECK(run(net, {x12}) == std::vector<float>{8, 16});
  CHECK(run(doubling(2, false).g, {x12}) == std::vector<float>{4, 8});
  CHECK(run(doubling(0, false).g, {x12}) == std::vector<float>{1, 2});
}

TEST_CASE("a counted loop stacks what each turn gives") {
  for (const auto& net : {doubling(3, true).g, again(doubling(3, true).g)}) {
    CHECK(run(net, {x12}) == std::vector<float>{8, 16});
    CHECK(run(net, {x12}, 1) == std::vector<float>{1, 2, 2, 4, 4, 8});
  }
}

TEST_CASE("bodies inside bodies are bounded") {
  graph g = *arithmetic(binary_kind::add, 1.0f);
  for (int i = 0; i < op::deepest_body + 1; ++i) {
    graph_builder outer;
    const auto on = outer.g.add_constant("on", tensor::scalar(true));
    const auto x = outer.input("x", {2});
    op::control c;
    c.bodies = {shared(g), shared(g)};
    outer.output(outer.node("if", c, {on, x}, "y"));
    if (i == op::deepest_body) {
      CHECK_THROWS_WITH_AS(check(outer.g), "graph: node 'if': bodies: expected at most 8 inside each other", shape_error);
      CHECK_THROWS_WITH_AS(again(outer.g), "import: model.onnx: graphs: expected at most 8 inside each other", import_error);
    } else {
      check(outer.g);
    }
    g = outer.g;
  }
}

TEST_CASE("a missing operator inside a body is listed") {
  ptq_test::onnx_model inner;
  inner.node("Bernoulli", {"x"}, {"y"}, "inner").output("y");
  ptq_test::onnx_model m;
  m.input("x", {2}).input("on", {}, onnx::type_bool).node("If", {"on"}, {"z"}, "choose").output("z");
  for (const char* name : {"then_branch", "else_branch"}) {
    auto& a = onnx::exporter::put(m.m.graph.nodes[0], name, onnx::attribute_graph);
    a.graphs.push_back(inner.m.graph);
  }
  CHECK(ptq_test::error_of<unsupported>([&] { m.import(); }) ==
        "import: model.onnx: 1 operator is not supported: Bernoulli (node 'inner', 'inner')");
}
