// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <string>

#include <ptq/quantize/placement.hpp>

#include "network.hpp"

namespace {

using namespace ptq;
using namespace ptq::quantization;
using ptq_test::network;
using ptq_test::positive;

/// "name (why)" of each node that stays in float, and the names of rounded values.
std::string floats(const placement& p) {
  std::string s;
  for (const auto& n : p.network.nodes)
    if (!n.note.empty()) s += n.name + " (" + n.note + ")\n";
  return s;
}
bool rounded(const placement& p, const std::string& name) {
  for (const auto& g : p.groups)
    for (auto id : g.members)
      if (p.network[id].name == name) return true;
  return false;
}

value named(const std::string& name, dtype type) {
  value v;
  v.name = name;
  v.type = type;
  return v;
}

/// One head of attention over 8 tokens of 16.
graph attention() {
  network n;
  auto x = n.input("x", {1, 8, 16});
  auto q = n.linear("q", x, 16, 16), k = n.linear("k", x, 16, 16), v = n.linear("v", x, 16, 16);
  auto scores = n.product("scores", q, n.add("kt", op::transpose{.perm = {0, 2, 1}}, {k}));
  auto heads = n.product("heads", n.add("soft", op::softmax{}, {scores}), v);
  auto o = n.linear("o", heads, 16, 16);
  auto sum = n.binary("sum", o, x, binary_kind::add);
  n.output(n.linear("y", sum, 16, 4));
  return n.done();
}

}  // namespace

TEST_CASE("boxes and scores on their way through TopK stay in float, a product of them too") {
  network n;
  auto x = n.input("x", {1, 3, 8, 8});
  auto a = n.conv("a", x, 3, 4, positive, 3);
  auto rows = n.add("rows", op::reshape{}, {a, n.ints("to", {1, 16, 16})});
  auto& g = n.raw();
  const auto best = g.add(named("best", dtype::f32)), at = g.add(named("at", dtype::s64));
  g.nodes.push_back({"top", op::top_k{}, {rows, n.ints("k", {4})}, {best, at}, ""});
  auto turned = n.add("turned", op::transpose{.perm = {0, 2, 1}}, {best});
  n.output(n.product("likeness", best, turned));
  n.output(n.product("apart", rows, rows));
  const auto p = place(n.done(), {});
  CHECK(floats(p) ==
        "rows (post-processing)\n"
        "top (TopK runs in float)\n"
        "turned (post-processing)\n"
        "likeness (post-processing)\n");
  CHECK(rounded(p, "x"));
}

TEST_CASE("a TopK between layers is no post-processing") {
  network n;
  auto x = n.input("x", {1, 16});
  auto a = n.linear("a", x, 16, 16);
  auto& g = n.raw();
  const auto best = g.add(named("best", dtype::f32)), at = g.add(named("at", dtype::s64));
  g.nodes.push_back({"top", op::top_k{}, {a, n.ints("k", {8})}, {best, at}, ""});
  n.output(n.linear("b", best, 8, 4));
  CHECK(floats(place(n.done(), {})) == "top (TopK runs in float)\n");
}

TEST_CASE(
    "a transformer's sums and attention output stay in float, its other product is symmetric") {
  const auto g = attention();
  const auto usual = place(g, {});
  CHECK(rounded(usual, "soft"));
  const auto p = place(g, {.model_type = model_type::transformer});
  CHECK(floats(p) ==
        "soft (Softmax runs in float)\n"
        "heads (the product of attention with its values)\n"
        "sum (Add of a transformer)\n");
  CHECK_FALSE(rounded(p, "soft"));
  for (const auto& group : p.groups)
    for (auto id : group.members) {
      const auto& name = p.network[id].name;
      CHECK(group.symmetric == (name == "q" || name == "k" || name == "kt"));
    }
}

TEST_CASE("outputs are rounded where that is asked for") {
  network n;
  auto x = n.input("x", {1, 3, 8, 8});
  auto a = n.conv("a", x, 3, 4, {}, 3);
  n.output(n.unary("gate", a, unary_kind::sigmoid));
  n.output(n.linear("logits", n.flatten("flat", n.average("mean", a)), 4, 10));
  const auto g = n.done();
  const auto usual = place(g, {}), asked = place(g, {.quantize_outputs = true});
  CHECK_FALSE(rounded(usual, "logits"));
  CHECK_FALSE(rounded(usual, "gate"));
  CHECK(floats(usual) == "gate (its result is read in float)\n");
  CHECK(rounded(asked, "logits"));
  CHECK(rounded(asked, "gate"));
  CHECK(floats(asked) == "");
}

TEST_CASE("what depends on extents alone is a constant: no statistic of it is asked for") {
  network n;
  auto x = n.input("x", {1, 4, 8});
  auto a = n.linear("a", x, 8, 8);
  auto& g = n.raw();
  const auto l = g.add(named("length", dtype::s64));
  g.nodes.push_back({"length", op::shape_of{.start = 2, .end = 3}, {a}, {l}, ""});
  auto real = n.add("real", op::cast{}, {l});
  auto table = n.unary("table", real, unary_kind::cos);
  auto turned = n.binary("turned", a, table, binary_kind::mul);
  n.output(n.linear("y", turned, 8, 4));
  const auto p = place(n.done(), {});
  CHECK(floats(p) == "turned (one operand is constant)\n");
  for (const auto& group : p.groups)
    for (const auto& name : group.observed) CHECK(name != "table");
}
