// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <string>

#include <ptq/quantize/ignored.hpp>

#include "network.hpp"

namespace {

using namespace ptq;
using ptq_test::network;
using ptq_test::positive;

/// a → b → c → sum, and a past them.
graph residual(const std::string& prefix) {
  network n;
  auto x = n.input(prefix + "x", {1, 3, 8, 8});
  auto a = n.conv(prefix + "a", x, 3, 4, positive, 3);
  auto b = n.conv(prefix + "b", a, 4, 4, positive, 3);
  auto c = n.conv(prefix + "c", b, 4, 4, {}, 3);
  n.output(n.conv(prefix + "d", n.binary(prefix + "sum", c, a, binary_kind::add), 4, 4));
  return n.done();
}

std::string ignored(const graph& g, const ignored_scope& scope) {
  const auto why = quantization::ignored_nodes(g, scope);
  std::string s;
  for (std::size_t i = 0; i < why.size(); ++i)
    if (!why[i].empty()) s += g.nodes[i].name + " ";
  return s;
}

std::string failure(const graph& g, const ignored_scope& scope) {
  try {
    quantization::ignored_nodes(g, scope);
  } catch (const error& e) {
    return e.what();
  }
  return "";
}

}  // namespace

TEST_CASE("a subgraph holds its ends and every way between them, no others") {
  const auto g = residual("");
  CHECK(ignored(g, {.subgraphs = {{{"b"}, {"sum"}}}}) == "b c sum ");
  CHECK(ignored(g, {.subgraphs = {{{"a"}, {"c"}}}}) == "a b c ");
  CHECK(ignored(g, {.subgraphs = {{{"c"}, {"c"}}}}) == "c ");
  CHECK(ignored(g, {.subgraphs = {{{"a"}, {"sum"}}, {{"d"}, {"d"}}}}) == "a b c sum d ");
  CHECK(ignored(g, {.subgraphs = {{{"b", "a"}, {"c", "sum"}}}}) == "a b c sum ");
}

TEST_CASE("a subgraph of a network with 2^64 ways is found in linear time") {
  network n;
  auto x = n.input("x", {1, 4, 4, 4});
  for (int i = 0; i < 64; ++i) {
    const auto k = std::to_string(i);
    x = n.binary("sum" + k, n.unary("l" + k, x, unary_kind::relu),
                 n.unary("r" + k, x, unary_kind::tanh), binary_kind::add);
  }
  n.output(x);
  const auto g = n.done();
  const auto why = quantization::ignored_nodes(g, {.subgraphs = {{{"l0"}, {"sum63"}}}});
  std::size_t marked = 0;
  for (const auto& w : why) marked += !w.empty();
  CHECK(marked == g.nodes.size() - 1);  // all but r0
}

TEST_CASE("a scope by addresses survives renamed nodes, one by names does not") {
  const auto before = residual(""), after = residual("converter/v2/");
  const auto all = addresses(before);
  CHECK(ignored(after, {.names = {all[1]}}) == "converter/v2/b ");
  CHECK(ignored(after, {.subgraphs = {{{all[1]}, {all[3]}}}}) ==
        "converter/v2/b converter/v2/c converter/v2/sum ");
  CHECK(failure(after, {.names = {"b"}}) != "");
}

TEST_CASE("one error lists every rule that matches nothing, ends of subgraphs and empty ones too") {
  const auto g = residual("");
  const ignored_scope scope{.names = {"nobody", "a", "@Conv/0000000000000000"},
                            .patterns = {"x.*y"},
                            .types = {"Softmax"},
                            .subgraphs = {{{"nowhere"}, {"sum"}}, {{"d"}, {"a"}}}};
  CHECK(failure(g, scope) ==
        "quantize: ignored: expected every rule to match a node, got none for name 'nobody', name "
        "'@Conv/0000000000000000', type 'Softmax', pattern 'x.*y', end of a subgraph 'nowhere', "
        "subgraph 'nowhere=>sum', subgraph 'd=>a'");
  auto lenient = scope;
  lenient.validate = false;
  CHECK(ignored(g, lenient) == "a ");
}
