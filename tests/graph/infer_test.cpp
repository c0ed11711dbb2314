// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include <ptq/graph/infer.hpp>

#include "../support/graph_builder.hpp"

using namespace ptq;
using ptq_test::graph_builder;

namespace {

/// "f32[1,2]" of the first result of a one-node graph, or the text of the error.
std::string result(graph_builder& n, operation what, std::vector<value_id> inputs) {
  n.node("n", std::move(what), std::move(inputs), "y");
  try {
    const auto g = infer(n.g);
    const auto& y = g[g.nodes.back().outputs[0]];
    return std::string(name_of(y.type)) + (y.shaped ? y.dims.text() : "[...]");
  } catch (const shape_error& e) {
    return e.what();
  }
}

std::string of(shape x, operation what, dtype t = dtype::f32) {
  graph_builder n;
  const auto id = n.input("x", std::move(x), t);
  return result(n, std::move(what), {id});
}

op::window window(op::ints kernel, op::ints strides, op::ints pads) {
  return {std::move(kernel), std::move(strides), {}, std::move(pads), op::window::auto_pad::none};
}

std::string conv_result(shape x, shape w, op::conv o, std::optional<shape> bias = {}) {
  graph_builder n;
  std::vector<value_id> in{n.input("x", std::move(x)), n.floats("w", w)};
  if (bias) in.push_back(n.floats("b", *bias));
  return result(n, std::move(o), std::move(in));
}

}  // namespace

TEST_CASE("a convolution counts the windows that fit") {
  CHECK(conv_result({1, 3, 8, 8}, {4, 3, 3, 3}, {}) == "f32[1,4,6,6]");
  op::conv stem;
  stem.win = window({7, 7}, {2, 2}, {3, 3, 3, 3});
  CHECK(conv_result({unknown, 3, 224, 224}, {64, 3, 7, 7}, stem) == "f32[?,64,112,112]");
  op::conv dilated;
  dilated.win.dilations = {2};
  CHECK(conv_result({2, 4, 11}, {6, 4, 3}, dilated, shape{6}) == "f32[2,6,7]");
  op::conv depthwise;
  depthwise.groups = 8;
  CHECK(conv_result({1, 8, 5, unknown}, {8, 1, 3, 3}, depthwise) == "f32[1,8,3,?]");
}

TEST_CASE("SAME padding divides extents by the stride, rounded up") {
  op::conv c;
  c.win.strides = {2, 2};
  c.win.same = op::window::auto_pad::same_upper;
  CHECK(conv_result({1, 1, 7, 8}, {1, 1, 3, 3}, c) == "f32[1,1,4,4]");
  CHECK(conv_result({1, 1, unknown, 8}, {1, 1, 3, 3}, c) == "f32[1,1,?,4]");
}

TEST_CASE("auto_pad puts the odd element at the end for upper and at the begin for lower") {
  op::window w;
  w.strides = {2};
  w.same = op::window::auto_pad::same_upper;
  // 8 elements, kernel 3, stride 2: 4 windows span 2·3 + 3 = 9, one more than there are.
  CHECK(resolved(w, shape{8}, shape{3}).pads == op::ints{0, 1});
  w.same = op::window::auto_pad::same_lower;
  CHECK(resolved(w, shape{8}, shape{3}).pads == op::ints{1, 0});
  CHECK(resolved(w, shape{unknown}, shape{3}).same == op::window::auto_pad::same_lower);
  w.strides = {1};
  CHECK(resolved(w, shape{unknown}, shape{3}).pads == op::ints{1, 1});
}

TEST_CASE("a transposed convolution inverts the window count") {
  graph_builder n;
  op::conv_transpose c;
  c.win = window({3, 3}, {2, 2}, {1, 1, 1, 1});
  c.output_padding = {1, 1};
  const auto x = n.input("x", {1, 8, 5, unknown});
  const auto w = n.floats("w", {8, 4, 3, 3});
  // 2·(5 − 1) + 1 + 3 − 2
  CHECK(result(n, c, {x, w}) == "f32[1,4,10,?]");

  graph_builder m;
  op::conv_transpose fixed;
  fixed.win.strides = {3, 2};
  fixed.output_padding = {1, 1};
  fixed.output_shape = {10, 8};
  const auto mx = m.input("x", {1, 1, 3, 3});
  const auto mw = m.floats("w", {1, 2, 3, 3});
  CHECK(result(m, fixed, {mx, mw}) == "f32[1,2,10,8]");
}

TEST_CASE("convolution errors name the node, what was expected and what came") {
  CHECK(conv_result({1, 4, 8, 8}, {4, 3, 3, 3}, {}) ==
        "infer: node 'n' (Conv): input channels: expected 3, got 4");
  CHECK(conv_result({1, 3, 2, 8}, {4, 3, 3, 3}, {}) ==
        "infer: node 'n' (Conv): window: expected a kernel that fits into the padded input, got "
        "kernel [3,3] pads [0,0,0,0] on [2,8]");
  CHECK(conv_result({1, 3, 8, 8}, {4, 3, 3, 3}, {}, shape{5}) ==
        "infer: node 'n' (Conv): bias: expected [4], got [5]");
  op::conv odd;
  odd.groups = 3;
  CHECK(conv_result({1, 3, 8, 8}, {4, 1, 3, 3}, odd) ==
        "infer: node 'n' (Conv): output channels: expected a multiple of 3, got 4");
  op::conv bad;
  bad.win.strides = {0, 1};
  CHECK(conv_result({1, 3, 8, 8}, {4, 3, 3, 3}, bad) ==
        "infer: node 'n' (Conv): strides: expected elements in [1,1073741824], got 0");
}

TEST_CASE("ceil mode adds a window only if it starts inside the input or the left padding") {
  op::pool p;
  p.win = window({2, 2}, {2, 2}, {0, 0, 0, 0});
  CHECK(of({1, 1, 5, 5}, p) == "f32[1,1,2,2]");
  p.ceil_mode = true;
  CHECK(of({1, 1, 5, 5}, p) == "f32[1,1,3,3]");
  // Kernel 1, stride 2, end padding 2: the third window of 3 would start at 4, in the right padding
  // of 3 elements.
  p.win = window({1, 1}, {2, 2}, {0, 0, 2, 2});
  CHECK(of({1, 1, 3, 3}, p) == "f32[1,1,2,2]");
  p.global = true;
  CHECK(of({2, 7, 5, unknown}, p) == "f32[2,7,1,1]");
}

TEST_CASE("matrix products follow numpy and Gemm") {
  const auto product = [](shape a, shape b, op::matmul o = {}) {
    graph_builder n;
    const auto x = n.input("a", std::move(a)), y = n.input("b", std::move(b));
    return result(n, o, {x, y});
  };
  CHECK(product({2, 3}, {3, 5}) == "f32[2,5]");
  CHECK(product({unknown, 8, 4, 16}, {16, 5}) == "f32[?,8,4,5]");
  CHECK(product({7, 1, 2, 3}, {4, 3, 5}) == "f32[7,4,2,5]");
  CHECK(product({3}, {2, 3, 5}) == "f32[2,5]");
  CHECK(product({2, 3}, {3}) == "f32[2]");
  CHECK(product({3, 2}, {5, 3}, {.trans_a = true, .trans_b = true, .act = {}}) == "f32[2,5]");
  CHECK(product({2, 3}, {4, 5}) ==
        "infer: node 'n' (MatMul): inner extent of [2,3] · [4,5]: expected 3, got 4");
}

TEST_CASE("elementwise operands broadcast, or the error shows both") {
  const auto sum = [](shape a, shape b, binary_kind k = binary_kind::add) {
    graph_builder n;
    const auto x = n.input("a", std::move(a)), y = n.input("b", std::move(b));
    return result(n, op::binary{k, {}}, {x, y});
  };
  CHECK(sum({2, 1, 4}, {3, 1}) == "f32[2,3,4]");
  CHECK(sum({unknown, 4}, {4}) == "f32[?,4]");
  CHECK(sum({unknown}, {4}) == "f32[4]");
  CHECK(sum({2, 3}, {2, 3}, binary_kind::less) == "bool[2,3]");
  CHECK(sum({2, 3}, {2}) ==
        "infer: node 'n' (Add): shapes: expected [2,3] to broadcast with the second, got [2]");
}

TEST_CASE("free extents with one name are one extent, others may differ") {
  graph_builder n;
  const auto a = n.input("a", {unknown, 4}, dtype::f32, {"batch", ""});
  const auto b = n.input("b", {unknown, 4}, dtype::f32, {"batch", ""});
  const auto sum = n.node("sum", op::binary{}, {a, b}, "s");
  const auto extents = n.node("shape", op::shape_of{}, {a}, "e");
  const auto flat = n.node("flat", op::reshape{}, {sum, n.integers("all", {-1})}, "f");
  const auto back = n.node("back", op::reshape{}, {sum, extents}, "r");
  n.output(flat);
  n.output(back);
  const auto g = infer(n.g);
  CHECK(g[flat].dims == shape{unknown});
  CHECK(g[back].dims == shape{unknown, 4});
}

TEST_CASE("a batch read from a shape cancels in a reshape") {
  graph_builder n;
  const auto x = n.input("x", {unknown, 5, 48});
  const auto e = n.node("shape", op::shape_of{}, {x}, "e");
  const auto batch = n.node("pick", op::gather{}, {e, n.integers("zero", {0})}, "b");
  const auto target = n.node("target", op::concat{}, {batch, n.integers("rest", {-1, 3, 16})}, "t");
  const auto y = n.node("reshape", op::reshape{}, {x, target}, "y");
  n.output(y);
  CHECK(infer(n.g)[y].dims == shape{unknown, 5, 3, 16});
}

TEST_CASE("arithmetic on shapes is followed through casts, slices, products and choices") {
  graph_builder n;
  const auto x = n.input("x", {unknown, 3, 8, 6});
  const auto e = n.node("shape", op::shape_of{}, {x}, "e");
  const auto tail =
      n.node("tail", op::slice{},
             {e, n.integers("s", {2}), n.integers("end", {4}), n.integers("a", {0})}, "hw");
  const auto real = n.node("real", op::cast{dtype::f32}, {tail}, "hwf");
  const auto twice =
      n.node("twice", op::binary{binary_kind::mul, {}}, {real, n.number("k", 2.5f)}, "t");
  const auto down = n.node("floor", op::unary{unary_kind::floor}, {twice}, "d");
  const auto sizes = n.node("sizes", op::cast{dtype::s64}, {down}, "n");
  const auto head =
      n.node("head", op::slice{},
             {e, n.integers("s2", {0}), n.integers("e2", {2}), n.integers("a2", {0})}, "nc");
  const auto all = n.node("all", op::concat{}, {head, sizes}, "all");
  const auto y = n.node("resize", op::resize{}, {x, none, none, all}, "y");
  n.output(y);
  CHECK(infer(n.g)[y].dims == shape{unknown, 3, 20, 15});

  graph_builder m;
  const auto z = m.input("z", {2, 3, 4});
  const auto f = m.node("shape", op::shape_of{}, {z}, "e");
  const auto count = m.node("count", op::reduce{reduce_kind::prod, true, false},
                            {f, m.integers("axis", {0})}, "c");
  const auto flat = m.node("reshape", op::reshape{}, {z, count}, "flat");
  m.output(flat);
  CHECK(infer(m.g)[flat].dims == shape{24});
}

TEST_CASE("the target of Expand in torch's spelling keeps the free batch") {
  graph_builder n;
  const auto token = n.floats("token", {1, 1, 48});
  const auto x = n.input("x", {unknown, 4, 48});
  const auto e = n.node("shape", op::shape_of{}, {x}, "e");
  const auto batch = n.node("pick", op::gather{}, {e, n.integers("zero", {0})}, "b");
  const auto wanted = n.node("wanted", op::concat{}, {batch, n.integers("rest", {-1, -1})}, "w");
  const auto is_free = n.node("free", op::binary{binary_kind::equal, {}},
                              {wanted, n.integers("minus", {-1, -1, -1})}, "f");
  const auto target =
      n.node("choose", op::where{}, {is_free, n.integers("ones", {1, 1, 1}), wanted}, "t");
  const auto y = n.node("expand", op::expand{}, {token, target}, "y");
  n.output(y);
  CHECK(infer(n.g)[y].dims == shape{unknown, 1, 48});
}

TEST_CASE("reshape copies, infers and checks") {
  const auto to = [](shape x, std::vector<std::int64_t> target) {
    graph_builder n;
    const auto id = n.input("x", std::move(x));
    return result(n, op::reshape{}, {id, n.integers("t", std::move(target))});
  };
  CHECK(to({2, 3, 4}, {0, -1}) == "f32[2,12]");
  CHECK(to({unknown, 3, 4}, {0, -1}) == "f32[?,12]");
  CHECK(to({unknown, 3, 4}, {-1, 12}) == "f32[?,12]");
  CHECK(to({unknown, 3, 4}, {-1, 6}) == "f32[?,6]");
  CHECK(to({2, 3, 4}, {5, -1}) ==
        "infer: node 'n' (Reshape): elements: expected a multiple of 5, got [2,3,4]");
  CHECK(to({2, 3, 4}, {5, 5}) ==
        "infer: node 'n' (Reshape): elements: expected 24 of [2,3,4], got [5,5]");
  CHECK(to({2, 3}, {-1, -1}) ==
        "infer: node 'n' (Reshape): shape: expected at most one -1, got two");
  CHECK(of({2, 3, 4}, op::reshape{op::reshape::kind::flatten, false, 1}) == "f32[2,12]");
  CHECK(of({unknown, 3, 4}, op::reshape{op::reshape::kind::flatten, false, 1}) == "f32[?,12]");
  CHECK(of({1, 3, 1}, op::reshape{op::reshape::kind::squeeze, false, 1}) == "f32[3]");
  graph_builder n;
  const auto x = n.input("x", {3, 4});
  CHECK(result(n, op::reshape{op::reshape::kind::unsqueeze, false, 1},
               {x, n.integers("axes", {0, -1})}) == "f32[1,3,4,1]");
}

TEST_CASE("movers of elements") {
  CHECK(of({2, 3, 4}, op::transpose{}) == "f32[4,3,2]");
  CHECK(of({2, 3, 4}, op::transpose{{0, 2, 1}}) == "f32[2,4,3]");
  CHECK(of({2, 3, 4}, op::transpose{{0, 2, 2}}) ==
        "infer: node 'n' (Transpose): perm: expected a permutation of 3 axes, got [0,2,2]");
  CHECK(of({1, 8, 2, 3}, op::depth_to_space{2, false, false}) == "f32[1,2,4,6]");
  CHECK(of({1, 2, 4, 6}, op::depth_to_space{2, false, true}) == "f32[1,8,2,3]");
  graph_builder a;
  const auto ax = a.input("x", {2, unknown, 4}), ay = a.input("y", {2, 5, 3});
  CHECK(result(a, op::concat{2}, {ax, ay}) == "f32[2,5,7]");
  graph_builder b;
  const auto bx = b.input("x", {2, 3});
  CHECK(result(b, op::tile{}, {bx, b.integers("r", {2, 1})}) == "f32[4,3]");
  graph_builder c;
  const auto cx = c.input("x", {1, 3, 4, 4});
  CHECK(result(c, op::pad{}, {cx, c.integers("p", {0, 0, 1, 2, 0, 0, 3, -1})}) == "f32[1,3,8,5]");
  graph_builder d;
  const auto dx = d.input("x", {5, 7}), di = d.input("i", {2, 3}, dtype::s64);
  CHECK(result(d, op::gather{op::gather::kind::axis, 1, 0}, {dx, di}) == "f32[5,2,3]");
  graph_builder e;
  const auto ex = e.input("x", {5, 7, 2}), ei = e.input("i", {4, 2}, dtype::s64);
  CHECK(result(e, op::gather{op::gather::kind::nd, 0, 0}, {ex, ei}) == "f32[4,2]");
  graph_builder f;
  const auto fx = f.input("x", {5}), fi = f.integers("i", {5});
  CHECK(result(f, op::gather{}, {fx, fi}) ==
        "infer: node 'n' (Gather): index: expected [-5,5), got 5");
}

TEST_CASE("slices clamp, step and run backwards") {
  const auto cut = [](std::int64_t start, std::int64_t end, std::int64_t step) {
    graph_builder n;
    const auto x = n.input("x", {10});
    return result(n, op::slice{},
                  {x, n.integers("s", {start}), n.integers("e", {end}), n.integers("a", {0}),
                   n.integers("k", {step})});
  };
  constexpr auto huge = std::numeric_limits<std::int64_t>::max();
  CHECK(cut(2, 8, 3) == "f32[2]");
  CHECK(cut(-3, huge, 1) == "f32[3]");
  CHECK(cut(9, -huge, -1) == "f32[10]");
  CHECK(cut(9, 0, -4) == "f32[3]");
  CHECK(cut(5, 2, 1) == "f32[0]");
  CHECK(cut(0, huge, huge) == "f32[1]");
  CHECK(cut(0, 1, 0) == "infer: node 'n' (Slice): step: expected not 0, got 0");
}

TEST_CASE("split shares an axis out, the last part smaller if need be") {
  graph_builder n;
  const auto x = n.input("x", {7, 2});
  const auto parts = n.nodes("s", op::split{0}, {x}, {"a", "b", "c"});
  const auto g = infer(n.g);
  CHECK(g[parts[0]].dims == shape{3, 2});
  CHECK(g[parts[2]].dims == shape{1, 2});
  graph_builder m;
  const auto y = m.input("x", {7, 2});
  CHECK(result(m, op::split{0}, {y, m.integers("sizes", {3})}) ==
        "infer: node 'n' (Split): sum of sizes [3]: expected 3, got 7");
}

TEST_CASE("reductions keep or drop their axes") {
  const auto mean = [](op::reduce o, std::vector<std::int64_t> axes) {
    graph_builder n;
    const auto x = n.input("x", {2, 3, 4});
    return result(n, o, {x, n.integers("a", std::move(axes))});
  };
  CHECK(mean({}, {-1}) == "f32[2,3,1]");
  CHECK(mean({reduce_kind::sum, false, false}, {0, 2}) == "f32[3]");
  CHECK(mean({reduce_kind::sum, false, true}, {}) == "f32[2,3,4]");
  CHECK(mean({}, {3}) == "infer: node 'n' (ReduceMean): axes: expected [-3,3), got 3");
  CHECK(of({2, 3, 4}, op::reduce{reduce_kind::max, false, false}) == "f32[]");
  CHECK(of({2, 3, 4}, op::arg_reduce{true, 1, false, false}) == "s64[2,4]");
  graph_builder n;
  const auto x = n.input("x", {2, 9});
  CHECK(result(n, op::top_k{}, {x, n.integers("k", {4})}) == "f32[2,4]");
}

TEST_CASE("what keeps extents checks what stands beside them") {
  CHECK(of({2, 3}, op::softmax{2, false, false}) ==
        "infer: node 'n' (Softmax): axis: expected [-2,2), got 2");
  CHECK(of({2, 3}, op::unary{unary_kind::is_nan}) == "bool[2,3]");
  CHECK(of({2, 3}, op::cast{dtype::s32}) == "s32[2,3]");
  graph_builder n;
  const auto x = n.input("x", {2, 3, 4});
  CHECK(
      result(n, op::batch_norm{},
             {x, n.floats("s", {3}), n.floats("b", {3}), n.floats("m", {4}), n.floats("v", {3})}) ==
      "infer: node 'n' (BatchNormalization): mean: expected [3], got [4]");
  graph_builder m;
  const auto y = m.input("x", {2, 6, 4});
  CHECK(result(m, op::group_norm{1e-5f, 4}, {y, m.floats("s", {6}), m.floats("b", {6})}) ==
        "infer: node 'n' (GroupNormalization): groups: expected a divisor of 6 channels, got 4");
}

TEST_CASE("range and constant_of_shape know their length") {
  graph_builder n;
  CHECK(result(n, op::range{}, {n.integer("a", 2), n.integer("b", 9), n.integer("c", 3)}) ==
        "s64[3]");
  graph_builder m;
  CHECK(result(m, op::constant_of_shape{}, {m.integers("s", {2, 5})}) == "f32[2,5]");
  graph_builder h;
  CHECK(result(h, op::constant_of_shape{}, {h.integers("s", {std::int64_t{1} << 40})}) ==
        "infer: node 'n' (ConstantOfShape): shape: expected an extent in [0,2147483648], got "
        "1099511627776");
}

TEST_CASE("binding fixes free dimensions, all of one name at once, and refuses what is fixed") {
  graph_builder n;
  const auto a = n.input("a", {unknown, 4}, dtype::f32, {"batch", ""});
  const auto b = n.input("b", {unknown, 4}, dtype::f32, {"batch", ""});
  const auto y = n.node("sum", op::binary{}, {a, b}, "y");
  n.output(y);
  const auto g = bind_inputs(infer(n.g), {{"a", {8, 4}}});
  CHECK(g[b].dims == shape{8, 4});
  CHECK(g[y].dims == shape{8, 4});
  CHECK_THROWS_WITH_AS(bind_inputs(n.g, {{"a", {8, 5}}}),
                       "bind_inputs: input 'a': extent of axis 1: expected 4, got 5", shape_error);
  CHECK_THROWS_WITH_AS(bind_inputs(n.g, {{"a", {8, 4}}, {"b", {9, 4}}}),
                       "bind_inputs: input 'b': dimension 'batch': expected 8, got 9", shape_error);
  CHECK_THROWS_WITH_AS(bind_inputs(n.g, {{"c", {8}}}),
                       "bind_inputs: input 'c': expected an input of the graph, got none",
                       shape_error);
  CHECK_THROWS_WITH_AS(bind_inputs(n.g, {{"a", {8}}}),
                       "bind_inputs: input 'a': shape: expected [?,4], got [8]", shape_error);
}

TEST_CASE("a constant with codes has the real type") {
  graph_builder n;
  const auto w = n.g.add_constant("w", tensor::from<std::int8_t>({2}, {1, 2}));
  n.g[w].quant = qparams{dtype::s8, {0.5f}, {0}, -1};
  n.g[w].type = dtype::f32;
  const auto x = n.input("x", {2});
  CHECK(result(n, op::binary{}, {x, w}) == "f32[2]");
}
