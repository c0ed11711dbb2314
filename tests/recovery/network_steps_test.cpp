// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include <ptq/dispatch.hpp>
#include <ptq/quantize.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#endif

#include "../quantize/network.hpp"
#include "support/noise.hpp"

namespace {

using namespace ptq;
using ptq_test::network;

/// One head over 600 keys, of whose rows some are nearly uniform and others have one key alone.
graph attention() {
  network n;
  const auto x = n.input("x", {1, 600, 8});
  const auto q = n.linear("q", x, 8, 8), k = n.linear("k", x, 8, 8), v = n.linear("v", x, 8, 8);
  const auto kt = n.add("kt", op::transpose{.perm = {0, 2, 1}}, {k});
  const auto p = n.add("p", op::softmax{}, {n.product("scores", q, kt)});
  n.output(n.linear("y", n.product("mixed", p, v), 8, 8));
  auto g = n.done();
  for (const char* w : {"q.w", "k.w"})
    for (auto& e : g[g.find(w)].constant->mutable_view<float>()) e *= 0.3f;
  return g;
}

const recovery_step* late(const quantize_result& r) {
  for (const auto& s : r.recovery.steps)
    if (s.what == "attention normalised behind 1 products") return &s;
  return nullptr;
}

}  // namespace

TEST_CASE("attention over many keys is normalised behind its product, and the product stays in integers") {
  quantize_options o;
  o.effort.level = effort::balanced;
  const auto samples = ptq_test::noise(16, {1, 600, 8});
  const auto r = quantize(attention(), dispatched_kernels(), samples, o);
  const auto* step = late(r);
  REQUIRE(step);
  CHECK(step->kept);
  CHECK(step->after_db > step->before_db + 3);
  CHECK(r.network.find("mixed_unnormalized") != none);
  const auto& nodes = r.network.nodes;
  const auto mixed = std::find_if(nodes.begin(), nodes.end(), [](const node& n) { return n.name == "mixed"; });
  REQUIRE(mixed != nodes.end());
  CHECK(mixed->note.empty());
  CHECK(r.network[mixed->inputs[0]].quant);

  o.model_type = model_type::transformer;  // leaves that product in float
  CHECK_FALSE(late(quantize(attention(), dispatched_kernels(), samples, o)));
}
