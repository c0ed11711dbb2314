// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <ptq/graph/match.hpp>
#include <ptq/graph/print.hpp>
#include <ptq/graph/rewrite.hpp>

#include "../support/graph_builder.hpp"

using namespace ptq;
using ptq_test::graph_builder;

namespace {

/// x → a → b → y, all unary; returns the ids of b's and y's nodes' results.
graph_builder chain() {
  graph_builder n;
  const auto x = n.input("x", {2});
  const auto a = n.node("na", op::unary{unary_kind::exp}, {x}, "a");
  const auto b = n.node("nb", op::identity{}, {a}, "b");
  const auto y = n.node("ny", op::unary{unary_kind::neg}, {b}, "y");
  n.output(y);
  return n;
}

std::string nodes_of(const graph& g) {
  std::string s;
  for (const auto& n : g.nodes) {
    s += n.name + ":" + g[n.outputs[0]].name + "(";
    for (auto id : n.inputs) s += (id == none ? "-" : g[id].name) + ",";
    s += ") ";
  }
  return s;
}

}  // namespace

TEST_CASE("a bypassed node's readers read its operand") {
  rewriter edit(chain().g);
  CHECK(edit.bypass(1));
  CHECK(nodes_of(edit.finish()) == "na:a(x,) ny:y(a,) ");
}

TEST_CASE("an output of the graph keeps its name when the node that makes it is bypassed") {
  graph_builder n;
  const auto x = n.input("x", {2});
  const auto a = n.node("na", op::unary{unary_kind::exp}, {x}, "a");
  const auto y = n.node("ny", op::identity{}, {a}, "y");
  const auto z = n.node("nz", op::unary{unary_kind::neg}, {a}, "z");
  n.output(y);
  n.output(z);
  rewriter edit(n.g);
  CHECK(edit.bypass(1));
  CHECK(nodes_of(edit.finish()) == "na:y(x,) nz:z(y,) ");
}

TEST_CASE("an identity between an input and an output stays") {
  graph_builder n;
  const auto x = n.input("x", {2});
  n.output(n.node("ny", op::identity{}, {x}, "y"));
  rewriter edit(n.g);
  CHECK_FALSE(edit.bypass(0));
}

TEST_CASE("what nobody reads any more goes at once, through any depth") {
  graph_builder n;
  const auto x = n.input("x", {2});
  auto v = x;
  for (int i = 0; i < 5000; ++i)
    v = n.node("n" + std::to_string(i), op::identity{}, {v}, "v" + std::to_string(i));
  const auto y = n.node("last", op::binary{}, {x, v}, "y");
  n.output(y);
  rewriter edit(std::move(n.g));
  edit.set(5000, op::identity{}, {x});
  CHECK(edit.consumers(x).size() == 1);
  CHECK(nodes_of(edit.finish()) == "last:y(x,) ");
}

TEST_CASE("inserted nodes stand beside their anchor and get names of their own") {
  rewriter edit(chain().g);
  const auto before = edit.add_value("a"), after = edit.add_value("after");
  const auto x = edit.now().inputs[0];
  edit.insert(rewriter::side::before, 1, {"nb", op::identity{}, {x}, {before}, {}});
  edit.set_input(1, 0, before);
  const auto y = match::result(edit, 2);
  edit.take_over(2, after);
  edit.insert(rewriter::side::after, 2, {"end", op::identity{}, {after}, {y}, {}});
  const auto g = edit.finish();
  check(g);
  CHECK(nodes_of(g) == "nb_1:a_1(x,) nb:b(a_1,) ny:after(b,) end:y(after,) ");
}

TEST_CASE("a shared constant is replaced for one reader alone") {
  graph_builder n;
  const auto x = n.input("x", {2});
  const auto k = n.number("k", 2.0f);
  const auto a = n.node("na", op::binary{}, {x, k}, "a");
  n.output(n.node("nb", op::binary{}, {a, k}, "b"));
  rewriter edit(n.g);
  edit.set_constant(0, 1, tensor::scalar(3.0f));
  edit.set_constant(1, 1, tensor::scalar(4.0f));
  const auto g = edit.finish();
  CHECK(nodes_of(g) == "na:a(x,k_1,) nb:b(a,k,) ");
  CHECK(g[g.find("k")].constant->view<float>()[0] == 4.0f);
  CHECK(g[g.find("k_1")].constant->view<float>()[0] == 3.0f);
}

TEST_CASE("no match looks through a value with qparams") {
  auto n = chain();
  rewriter plain(n.g);
  const auto b = match::result(plain, 1);
  CHECK(match::sole_producer(plain, b) == 1);
  CHECK(match::sole_consumer(plain, b) == 2);
  n.g[b].quant = qparams{};
  rewriter rounded(n.g);
  CHECK(match::sole_producer(rounded, b) == -1);
  CHECK(match::sole_consumer(rounded, b) == -1);
}

TEST_CASE("numbers match within the precision of a half") {
  graph_builder n;
  n.number("k", 0.70703125f);  // 1/√2 rounded to 11 bits
  n.floats("v", {2});
  rewriter edit(n.g);
  CHECK(match::is_number(edit, 0, 0.7071067811865476));
  CHECK_FALSE(match::is_number(edit, 0, 0.70));
  CHECK_FALSE(match::scalar(edit, 1));
  CHECK_FALSE(match::scalar(edit, none));
}
