// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <ptq/graph/scores.hpp>

#include "quantize/network.hpp"

using namespace ptq;
using ptq_test::network;

TEST_CASE("scores are what the final softmax reads, across moves") {
  network n;
  auto x = n.input("x", {1, 4});
  auto logits = n.linear("logits", x, 4, 6);
  auto p = n.add("p", op::softmax{}, {logits});
  auto moved = n.add("moved", op::reshape{}, {p, n.ints("dims", {6, 1})});
  auto turned = n.add("turned", op::transpose{.perm = {1, 0}}, {moved});
  auto gate = n.unary("gate", n.linear("h", x, 4, 2), unary_kind::sigmoid);
  auto flat = n.add("flat", op::reshape{}, {gate, n.ints("all", {2})});
  for (auto id : {p, turned, flat}) n.output(id);
  const auto g = n.done();
  const uses edges(g);
  const auto scores = [&](const char* name) { return g[scores_of(g, edges, g.find(name))].name; };
  CHECK(scores("p") == "logits");
  CHECK(scores("turned") == "logits");
  CHECK(scores("flat") == "flat");  // no softmax
  CHECK(scores("logits") == "logits");
  CHECK(scores("x") == "x");
}
