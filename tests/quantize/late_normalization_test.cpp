// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <span>
#include <string>
#include <vector>

#include <ptq/export.hpp>
#include <ptq/fuse.hpp>
#include <ptq/import.hpp>
#include <ptq/quantize/late_normalization.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#endif

#include "network.hpp"
#include "support/execute.hpp"
#include "support/printed.hpp"

namespace {

using namespace ptq;
using ptq_test::network;

/// softmax(x) · v of two heads.
struct heads {
  network n;
  value_id x = n.input("x", {2, 5, 40}), v = n.input("v", {2, 40, 6});
};

int changed(const network& n) { return quantization::normalize_late(n.done()).changed; }

}  // namespace

TEST_CASE("a product is normalised behind it, names of values and layers stay") {
  heads h;
  h.n.output(h.n.product("y", h.n.add("p", op::softmax{.axis = 2}, {h.x}), h.v));
  const auto g = h.n.done();
  const auto late = quantization::normalize_late(g);
  CHECK(late.changed == 1);
  check(late.network);
  CHECK(ptq_test::printed_nodes(late.network) ==
        "p: p_exponentials f32[2,5,40] = Softmax(x) not_normalized\n"
        "p_sum: p_sum f32[2,5,1] = ReduceSum(p_exponentials, p_axis)\n"
        "y: y_unnormalized f32[2,5,6] = MatMul(p_exponentials, v)\n"
        "y_normalized: y f32[2,5,6] = Div(y_unnormalized, p_sum)\n");
  CHECK(ptq_test::difference(ptq_test::outcome(g), ptq_test::outcome(late.network)) < 1e-6);
}

TEST_CASE("only rows of probabilities that one plain product reads are changed") {
  {
    heads h;  // along columns
    h.n.output(h.n.product("y", h.n.add("p", op::softmax{.axis = 1}, {h.x}), h.v));
    CHECK(changed(h.n) == 0);
  }
  {
    heads h;
    h.n.output(h.n.product("y", h.n.add("p", op::softmax{.log = true}, {h.x}), h.v));
    CHECK(changed(h.n) == 0);
  }
  {
    heads h;  // somebody else wants probabilities
    const auto p = h.n.add("p", op::softmax{}, {h.x});
    h.n.output(h.n.product("y", p, h.v));
    h.n.output(p);
    CHECK(changed(h.n) == 0);
  }
  {
    heads h;  // the probabilities on the right side: their rows are summed over
    const auto p = h.n.add("p", op::softmax{}, {h.x});
    h.n.output(h.n.product("y", h.n.input("left", {2, 6, 5}), p));
    CHECK(changed(h.n) == 0);
  }
  {
    heads h;  // twice is once
    h.n.output(h.n.product("y", h.n.add("p", op::softmax{}, {h.x}), h.v));
    CHECK(quantization::normalize_late(quantization::normalize_late(h.n.done()).network).changed == 0);
  }
}

TEST_CASE("exported exponentials are found again, from either form of their axis") {
  heads h;
  h.n.output(h.n.product("y", h.n.add("p", op::softmax{}, {h.x}), h.v));
  const auto late = quantization::normalize_late(h.n.done()).network;
  for (const int opset : {13, 18}) {
    const auto bytes = export_onnx(late, {.opset = opset});
    const auto again = fuse(fold(import_onnx(std::as_bytes(std::span<const char>(bytes)))));
    CHECK(again.nodes.size() == late.nodes.size());
    CHECK(ptq_test::outcome(again) == ptq_test::outcome(late));
  }
}
