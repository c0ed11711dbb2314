#pragma once
// SPDX-License-Identifier: Apache-2.0
// Small networks whose programs hold what common ones don't: plain kernels of every kind, recurrent layers, an If, a Loop.

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ptq/graph/graph.hpp>

#include "support/graph_builder.hpp"

namespace ptq_test {

/// x [1 4 6 6], w [4 6 3 3] → floats and indices, through kernels that no table has.
inline ptq::graph rare_kernels() {
  namespace op = ptq::op;
  graph_builder b;
  const auto x = b.input("x", {1, 4, 6, 6}), w = b.input("w", {4, 6, 3, 3});
  op::conv_transpose up{.win = {}, .groups = 2, .output_padding = {}, .output_shape = {}, .act = {}};
  up.win = {.kernel = {2, 2}, .strides = {2, 2}, .dilations = {1, 1}, .pads = {0, 0, 0, 0}};
  const auto wide = b.node("up", up, {x, b.floats("up.w", {4, 3, 2, 2})}, "up");
  const auto lrn = b.node("lrn", op::local_response_norm{.size = 3}, {wide}, "lrn");
  op::conv conv;
  conv.win = {.kernel = {3, 3}, .strides = {1, 1}, .dilations = {1, 1}, .pads = {0, 0, 0, 0}};
  const auto c = b.node("computed", conv, {lrn, w}, "computed");  // [1 4 10 10]
  const auto lost = b.node("nan", op::unary{.kind = ptq::unary_kind::is_nan}, {c}, "nan");
  const auto chosen = b.node("where", op::where{}, {lost, b.number("zero", 0), c}, "where");
  const auto low = b.node("triangle", op::triangle{.upper = false}, {chosen, b.integer("diagonal", 1)}, "triangle");
  const auto sums = b.node("sums", op::cumulative_sum{.reverse = true}, {low, b.integer("axis", 3)}, "sums");
  const auto top = b.nodes("top", op::top_k{}, {sums, b.integers("k", {3})}, {"top", "place"});
  const auto taken = b.node("elements", op::gather{.what = op::gather::kind::elements, .axis = 3}, {sums, top[1]}, "elements");
  const auto arg = b.node("arg", op::arg_reduce{.axis = 1}, {taken}, "arg");  // s64 [1 1 10 3]
  const auto tuples = b.node("tuples", op::gather{.what = op::gather::kind::nd}, {taken, arg}, "tuples");
  b.g[tuples].quant = ptq::qparams{.type = ptq::dtype::f8e4m3, .scale = {0.25f}, .zero_point = {0}};
  const auto less = b.node("neg", op::unary{.kind = ptq::unary_kind::neg}, {arg}, "neg");
  b.output(b.node("total", op::reduce{.kind = ptq::reduce_kind::sum}, {less, b.integers("axes", {2})}, "total"));
  b.output(b.node("round", op::identity{}, {tuples}, "round"));
  for (auto id : {top[0], top[1], taken}) b.output(id);
  return b.g;
}

/// x [5 2 6] → an LSTM both ways with everything optional and computed weights, a GRU that resets first, an RNN.
inline ptq::graph recurrent_layers() {
  namespace op = ptq::op;
  using kind = op::cell_function::kind;
  graph_builder b;
  const auto x = b.input("x", {5, 2, 6}), r = b.input("r", {2, 28, 7});
  op::recurrent lstm;
  lstm.way = op::recurrent::direction::both;
  lstm.clip = 3;
  for (int i = 0; i < 2; ++i)
    for (auto f : {kind::sigmoid, kind::tanh, kind::softsign}) lstm.functions.push_back({f, 0, 0});
  const auto out = b.nodes("lstm", lstm,
                           {x, b.floats("w", {2, 28, 6}), r, b.floats("b", {2, 56}), ptq::none,
                            b.floats("h0", {2, 2, 7}), b.floats("c0", {2, 2, 7}), b.floats("p", {2, 21})},
                           {"y", "y_h", "y_c"});
  for (auto id : out) b.output(id);
  for (auto what : {op::recurrent::cell::gru, op::recurrent::cell::rnn}) {
    op::recurrent o;
    o.what = what;
    o.functions = {{kind::sigmoid, 0, 0}, {kind::tanh, 0, 0}};
    o.functions.resize(o.functions_per_direction());
    const std::string name = what == op::recurrent::cell::gru ? "gru" : "rnn";
    const auto g = o.gates();
    b.output(b.nodes(name, o, {x, b.floats(name + ".w", {1, 3 * g, 6}), b.floats(name + ".r", {1, 3 * g, 3})},
                     {name + ".y", name + ".h"})[1]);
  }
  return b.g;
}

/// on bool, x [2] → a Loop that stacks, inside a branch of an If whose other branch adds.
inline ptq::graph turns_in_a_branch() {
  namespace op = ptq::op;
  const auto shared = [](ptq::graph g) { return std::make_shared<const ptq::graph>(std::move(g)); };
  graph_builder body;
  body.input("turn", {}, ptq::dtype::s64);
  const auto go = body.input("go", {}, ptq::dtype::boolean);
  const auto x = body.input("x", {2});
  const auto more = body.node("same", op::identity{}, {go}, "more");
  body.g[more].type = ptq::dtype::boolean;
  body.output(more);
  body.output(body.node("twice", op::binary{ptq::binary_kind::mul, {}}, {x, body.number("two", 2)}, "x_out"));
  body.output(body.node("seen", op::identity{}, {x}, "seen"));

  graph_builder turns;
  const auto start = turns.input("x", {2});
  op::control loop;
  loop.what = op::control::kind::loop;
  loop.carried = 1;
  loop.bodies = {shared(ptq::pruned(body.g))};
  const auto made = turns.nodes("loop", loop, {turns.integer("count", 3), turns.g.add_constant("go", ptq::tensor::scalar(true)), start},
                                {"y", "all"});
  for (auto id : made) turns.output(id);

  graph_builder other;
  const auto z = other.input("x", {2});
  const auto y = other.node("more", op::binary{ptq::binary_kind::add, {}}, {z, other.number("one", 1)}, "y");
  other.output(y);
  other.output(other.node("three", op::expand{}, {y, other.integers("extents", {3, 2})}, "all"));

  graph_builder g;
  const auto on = g.input("on", {}, ptq::dtype::boolean), in = g.input("x", {2});
  op::control branch;
  branch.bodies = {shared(turns.g), shared(other.g)};
  for (auto id : g.nodes("if", branch, {on, in}, {"y", "all"})) g.output(id);
  return g.g;
}

}  // namespace ptq_test
