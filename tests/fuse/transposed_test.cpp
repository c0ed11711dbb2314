// SPDX-License-Identifier: Apache-2.0
// Transposed convolutions as ordinary ones: the same numbers for every window, and integers behind quantize.

#include <doctest/doctest.h>

#include <string>
#include <variant>
#include <vector>

#include <ptq/fuse.hpp>
#include <ptq/kernels/reference.hpp>
#include <ptq/quantize.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#endif

#include "support/execute.hpp"
#include "support/graph_builder.hpp"
#include "support/samples.hpp"

namespace {

using namespace ptq;
using ptq_test::difference;
using ptq_test::graph_builder;
using ptq_test::outcome;

struct window_of {
  std::int64_t kernel_h, kernel_w, stride;
  op::ints pads = {0, 0, 0, 0}, output_padding = {0, 0};
};

op::conv_transpose transposed(const window_of& w) {
  op::conv_transpose t;
  t.win.kernel = {w.kernel_h, w.kernel_w};
  t.win.strides = {w.stride, w.stride};
  t.win.pads = w.pads;
  t.output_padding = w.output_padding;
  return t;
}

/// x [n 3 5 4] → y, five channels.
graph one_layer(const op::conv_transpose& t, std::int64_t kernel_h, std::int64_t kernel_w, bool bias = true) {
  graph_builder b;
  std::vector<value_id> in{b.input("x", {1, 3, 5, 4}), b.floats("w", {3, 5, kernel_h, kernel_w})};
  if (bias) in.push_back(b.floats("b", {5}));
  b.output(b.node("t", t, in, "y"));
  return b.g;
}

bool holds_transposed(const graph& g) {
  for (const auto& n : g.nodes)
    if (std::holds_alternative<op::conv_transpose>(n.what)) return true;
  return false;
}

}  // namespace

TEST_CASE("a transposed convolution becomes an ordinary one with the same result") {
  const window_of windows[] = {{2, 2, 2},
                               {3, 3, 2},
                               {4, 4, 2, {1, 1, 1, 1}},
                               {3, 3, 2, {1, 1, 1, 1}, {1, 1}},
                               {3, 3, 2, {1, 0, 0, 1}, {0, 1}},
                               {5, 4, 2, {2, 1, 1, 2}},
                               {6, 6, 3, {2, 1, 0, 3}},
                               {4, 4, 4},
                               {8, 8, 4, {2, 2, 2, 2}},
                               {3, 3, 1, {1, 1, 1, 1}},
                               {3, 2, 1, {0, 1, 2, 0}},
                               {5, 5, 2, {4, 3, 4, 3}},
                               {3, 3, 2, {0, 0, 0, 0}, {1, 1}}};
  for (const auto& w : windows)
    for (bool bias : {false, true}) {
      INFO(w.kernel_h << "x" << w.kernel_w << " stride " << w.stride << " pads " << w.pads[0] << w.pads[1] << w.pads[2]
                      << w.pads[3]);
      const auto g = one_layer(transposed(w), w.kernel_h, w.kernel_w, bias);
      const auto fused = fuse(fold(g));
      check(fused);
      CHECK_FALSE(holds_transposed(fused));
      CHECK(fused[fused.outputs[0]].name == "y");
      CHECK(fused[fused.outputs[0]].dims == infer(g)[infer(g).outputs[0]].dims);
      CHECK(difference(outcome(g), outcome(fused)) < 1e-5);
    }
}

TEST_CASE("automatic padding, an output shape and a relu behind it go along") {
  op::conv_transpose t = transposed({4, 4, 2});
  t.win.pads = {};
  t.win.same = op::window::auto_pad::same_upper;
  auto g = one_layer(t, 4, 4);
  CHECK_FALSE(holds_transposed(fuse(fold(g))));
  CHECK(difference(outcome(g), outcome(fuse(fold(g)))) < 1e-5);
  t.win.same = op::window::auto_pad::none;
  t.output_shape = {11, 8};
  g = one_layer(t, 4, 4);
  CHECK_FALSE(holds_transposed(fuse(fold(g))));
  CHECK(difference(outcome(g), outcome(fuse(fold(g)))) < 1e-5);
  graph_builder b;
  const auto y = b.node("t", transposed({2, 2, 2}), {b.input("x", {1, 3, 5, 4}), b.floats("w", {3, 5, 2, 2})}, "y");
  b.output(b.node("r", op::unary{unary_kind::relu}, {y}, "z"));
  const auto fused = fuse(fold(b.g));
  CHECK_FALSE(holds_transposed(fused));
  CHECK(difference(outcome(b.g), outcome(fused)) < 1e-5);
}

TEST_CASE("images of any extent: what is cut hangs on none") {
  graph_builder b;
  const auto x = b.input("x", {-1, 3, -1, -1});
  b.output(b.node("t", transposed({4, 4, 2, {1, 1, 1, 1}}), {x, b.floats("w", {3, 5, 4, 4})}, "y"));
  const auto fused = fuse(fold(b.g));
  CHECK_FALSE(holds_transposed(fused));
  const auto y = bind_inputs(fused, {{"x", {1, 3, 7, 6}}});
  CHECK(y[y.outputs[0]].dims == shape{1, 5, 14, 12});
}

TEST_CASE("groups, unequal strides and filters that would be mostly zeros stay as they are") {
  auto t = transposed({2, 2, 2});
  t.win.strides = {2, 1};
  CHECK(holds_transposed(fuse(fold(one_layer(t, 2, 2)))));
  CHECK(holds_transposed(fuse(fold(one_layer(transposed({1, 1, 2}), 1, 1)))));
  t = transposed({2, 2, 2});
  t.win.dilations = {2, 2};
  CHECK(holds_transposed(fuse(fold(one_layer(t, 2, 2)))));
  graph_builder b;
  auto grouped = transposed({2, 2, 2});
  grouped.groups = 2;
  b.output(b.node("t", grouped, {b.input("x", {1, 4, 5, 4}), b.floats("w", {4, 3, 2, 2})}, "y"));
  CHECK(holds_transposed(fuse(fold(b.g))));
}

TEST_CASE("quantized, it runs in integers up to the pixels") {
  graph_builder b;
  const auto x = b.input("x", {1, 3, 8, 8});
  const auto y = b.node("t", transposed({4, 4, 2, {1, 1, 1, 1}}), {x, b.floats("w", {3, 8, 4, 4}), b.floats("b", {8})}, "y");
  b.output(b.node("c", op::conv{}, {y, b.floats("v", {4, 8, 1, 1})}, "z"));
  const auto g = fuse(fold(b.g));
  const auto q = quantize(g, kernels::reference_kernels(), ptq_test::images(8, {1, 3, 8, 8})).network;
  for (const auto& v : q.values)
    if (v.name == "y" || v.name == "y_subpixels" || v.name == "y_whole") CHECK(v.quant);
  CHECK(difference(outcome(g), outcome(q)) < 0.05);
}
