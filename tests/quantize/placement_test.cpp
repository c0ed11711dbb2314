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
using enum unary_kind;
using enum binary_kind;

/// "a b c" per group of values that share a scale, then "float: node (why)" per node that stays
/// float.
std::string text(const placement& p) {
  std::string s;
  for (const auto& g : p.groups) {
    for (std::size_t i = 0; i < g.members.size(); ++i)
      s += (i ? " " : "") + p.network[g.members[i]].name;
    s += "\n";
  }
  for (const auto& n : p.network.nodes)
    if (!n.note.empty()) s += "float: " + n.name + " (" + n.note + ")\n";
  return s;
}
std::string placed(const network& n, const quantize_options& o = {}) {
  const auto p = place(n.done(), o);
  check(p.network);
  return text(p);
}

const value_group& group_of(const placement& p, const std::string& name) {
  for (const auto& g : p.groups)
    for (auto id : g.members)
      if (p.network[id].name == name) return g;
  FAIL("no group holds " << name);
  return p.groups[0];
}

}  // namespace

TEST_CASE("a residual network is integer from its input to its float logits") {
  network n;
  auto x = n.input("x", {1, 3, 8, 8});
  auto a = n.conv("a", x, 3, 4, positive, 3);
  auto b = n.conv("b", a, 4, 4, positive, 3);
  auto c = n.conv("c", b, 4, 4, {}, 3);
  auto s = n.binary("sum", c, a, add, positive);
  auto m = n.flatten("flat", n.average("mean", s));
  n.output(n.linear("logits", m, 4, 10));
  CHECK(placed(n) == "x\na\nb\nc\nsum\nmean flat\n");
  const auto p = place(n.done(), {});
  REQUIRE(p.weighted.size() == 4);
  CHECK(p.weighted[2].input == "b");
  CHECK(p.weighted[3].input == "flat");
  CHECK(p.weighted[2].channel_axis == 1);
  CHECK(p.weighted[3].channel_axis == -1);
  CHECK(group_of(p, "a").act == positive);
  CHECK(group_of(p, "c").act == clamp{});
  CHECK(group_of(p, "sum").act == positive);
  CHECK(group_of(p, "flat").observed == std::vector<std::string>{"mean"});
}

TEST_CASE(
    "on request the gate of a squeeze-excite block stays float, its mean's input and its product are codes") {
  network n;
  auto x = n.input("x", {1, 4, 8, 8});
  auto a = n.conv("a", x, 4, 4, positive);
  auto s = n.conv("reduce", n.average("mean", a), 4, 2, positive);
  auto e = n.conv("expand", s, 2, 4);
  auto y = n.binary("scaled", a, n.unary("gate", e, hard_sigmoid), mul);
  n.output(n.conv("out", y, 4, 2));
  CHECK(placed(n, {.float_squeeze_excite = true}) ==
        "x\na\ngate\nscaled\n"
        "float: mean (its result is read in float)\n"
        "float: reduce (squeeze-excite)\n"
        "float: expand (squeeze-excite)\n"
        "float: gate (squeeze-excite)\n");
  // By default each value of the gate is rounded to a grid of its own.
  CHECK(placed(n) == "x\na\nmean\nreduce\nexpand\ngate\nscaled\n");
}

TEST_CASE("a squeeze-excite gate with swish inside and a reduce is found too") {
  network n;
  auto x = n.input("x", {1, 4, 8, 8});
  auto a = n.conv("a", x, 4, 4, positive);
  auto mean = n.add("mean", op::reduce{}, {a, n.ints("axes", {2, 3})});
  auto s = n.unary("swish", n.conv("reduce", mean, 4, 2), silu);
  auto e = n.conv("expand", s, 2, 4);
  auto y = n.binary("scaled", n.unary("gate", e, sigmoid), a, mul);
  n.output(n.conv("out", y, 4, 2));
  CHECK(placed(n, {.float_squeeze_excite = true}) ==
        "x\na\ngate\nscaled\n"
        "float: mean (its result is read in float)\n"
        "float: reduce (squeeze-excite)\n"
        "float: swish (squeeze-excite)\n"
        "float: expand (squeeze-excite)\n"
        "float: gate (squeeze-excite)\n");
}

TEST_CASE("a spelled-out SiLU has codes at the convolution, the sigmoid and the product") {
  network n;
  auto a = n.conv("a", n.input("x", {1, 3, 8, 8}), 3, 4);
  auto y = n.binary("y", a, n.unary("s", a, sigmoid), mul);
  n.output(n.conv("out", y, 4, 2));
  CHECK(placed(n) == "x\na\ns\ny\n");
}

TEST_CASE("an activation that does not clamp is a table behind the rounded convolution") {
  network n;
  auto a = n.conv("a", n.input("x", {1, 3, 8, 8}), 3, 4);
  n.output(n.conv("out", n.unary("h", a, hard_swish), 4, 2));
  CHECK(placed(n) == "x\na\nh\n");
}

TEST_CASE("movers and max pooling share the scale of what they move, observed once") {
  network n;
  auto a = n.conv("a", n.input("x", {1, 3, 8, 8}), 3, 4, positive);
  auto p = n.max_pool("p", a);
  auto t = n.add("t", op::transpose{.perm = {0, 2, 3, 1}}, {p});
  auto r = n.add("r", op::reshape{}, {t, n.ints("to", {1, 16, 4})});
  n.output(n.linear("y", r, 4, 5));
  const auto q = place(n.done(), {});
  CHECK(text(q) == "x\na p t r\n");
  CHECK(group_of(q, "r").observed == std::vector<std::string>{"a"});
  CHECK(group_of(q, "r").act == positive);
}

TEST_CASE("the parts of a concatenation share one scale, and only their producers are observed") {
  network n;
  auto x = n.input("x", {1, 3, 8, 8});
  auto a = n.conv("a", x, 3, 4, {0, 6}), b = n.conv("b", x, 3, 4, {0, 3});
  auto c = n.add("c", op::concat{.axis = 1}, {a, b, a});
  n.output(n.conv("out", c, 12, 2));
  const auto p = place(n.done(), {});
  CHECK(text(p) == "x\na b c\n");
  CHECK(group_of(p, "c").observed == std::vector<std::string>{"a", "b"});
  CHECK(group_of(p, "c").act == clamp{0, 6});
}

TEST_CASE(
    "a concatenation that leads to the outputs alone is float, and so are the heads before it") {
  network n;
  auto a = n.conv("a", n.input("x", {1, 3, 8, 8}), 3, 4, positive);
  auto h = n.flatten("h", n.conv("head1", a, 4, 2)), i = n.flatten("i", n.conv("head2", a, 4, 2));
  n.output(n.unary("score", n.add("c", op::concat{.axis = 1}, {h, i}), sigmoid));
  CHECK(placed(n) ==
        "x\na\n"
        "float: h (its result is read in float)\n"
        "float: i (its result is read in float)\n"
        "float: c (its result is read in float)\n"
        "float: score (its result is read in float)\n");
}

TEST_CASE(
    "attention: products of codes, softmax and normalisation in float, logits never rounded") {
  network n;
  auto x = n.input("x", {1, 4, 8});
  auto l = n.norm("ln", x, 8);
  auto q = n.linear("q", l, 8, 8), k = n.linear("k", l, 8, 8), v = n.linear("v", l, 8, 8);
  auto kt = n.add("kt", op::transpose{.perm = {0, 2, 1}}, {k});
  auto w = n.add("softmax", op::softmax{}, {n.product("scores", q, kt)});
  auto o = n.linear("o", n.product("mixed", w, v), 8, 8);
  auto r = n.binary("residual", x, o, add);
  auto ln2 = n.norm("ln2", r, 8);
  auto m = n.unary("act", n.linear("up", ln2, 8, 16), gelu);
  n.output(n.binary("y", r, n.linear("down", m, 16, 8), add));
  CHECK(placed(n) ==
        "ln\nq\nk kt\nv\nsoftmax\nmixed\nln2\nup\nact\n"
        "float: ln (LayerNormalization runs in float)\n"
        "float: softmax (Softmax runs in float)\n"
        "float: residual (its result is read in float)\n"
        "float: ln2 (LayerNormalization runs in float)\n"
        "float: y (its result is read in float)\n");
}

TEST_CASE("a sum that is to stay real is not rounded, and what its function yields is") {
  network n;
  auto x = n.input("x", {1, 3, 8, 8});
  auto f = n.unary("f", n.conv("a", x, 3, 4), hard_swish);
  n.output(n.conv("y", n.unary("g", n.conv("b", f, 4, 4), hard_swish), 4, 2));
  CHECK(placed(n) == "x\na\nf\nb\ng\n");
  CHECK(placed(n, {.real_sums = {"a"}}) == "x\nf\nb\ng\n");
}

TEST_CASE("a value that a float node reads too gets a rounded copy for the integer nodes") {
  network n;
  auto x = n.input("x", {1, 4, 8});
  auto a = n.norm("a", x, 8);
  auto y = n.linear("y", a, 8, 8), z = n.linear("z", a, 8, 8);
  n.output(n.binary("sum", n.binary("yz", y, z, binary_kind::div), a, add));
  const auto p = place(n.done(), {});
  check(p.network);
  CHECK(text(p) ==
        "a_rounded\n"
        "float: a (LayerNormalization runs in float)\n"
        "float: yz (Div runs in float)\n"
        "float: sum (its result is read in float)\n");
  CHECK(p.groups[0].observed == std::vector<std::string>{"a"});
  CHECK(p.network.nodes[1].name == "a_rounded");
  CHECK(std::holds_alternative<op::identity>(p.network.nodes[1].what));
  CHECK(p.network[p.network.nodes[2].inputs[0]].name == "a_rounded");
  CHECK(p.network[p.network.nodes[3].inputs[0]].name == "a_rounded");
  CHECK(p.network[p.network.nodes[5].inputs[1]].name == "a");
  REQUIRE(p.weighted.size() == 2);
  CHECK(p.weighted[0].input == "a");
}

TEST_CASE("a graph input that leaves the graph as well is rounded in a copy at the front") {
  network n;
  auto x = n.input("x", {1, 3, 4, 4});
  n.output(n.conv("y", x, 3, 3));
  n.output(x);
  const auto p = place(n.done(), {});
  check(p.network);
  CHECK(text(p) == "x_rounded\n");
  CHECK(p.network.nodes[0].name == "x_rounded");
}

TEST_CASE("a convolution is rounded for float readers within the network, not before the outputs") {
  network n;
  auto a = n.conv("a", n.input("x", {1, 3, 8, 8}), 3, 4);
  auto f = n.add("norm", op::group_norm{}, {a, n.random("s", {4}), n.random("b", {4})});
  auto b = n.conv("b", f, 4, 4);
  n.output(n.add("probabilities", op::softmax{}, {b}));
  CHECK(placed(n) ==
        "x\na\nnorm\n"
        "float: norm (InstanceNormalization runs in float)\n"
        "float: probabilities (Softmax runs in float)\n");
}

TEST_CASE("a mean before the logits reads a rounded convolution and is real itself") {
  network n;
  auto a = n.conv("a", n.input("x", {1, 3, 8, 8}), 3, 4, positive);
  n.output(n.add("p", op::softmax{}, {n.flatten("f", n.average("mean", a))}));
  CHECK(placed(n) ==
        "x\na\n"
        "float: mean (its result is read in float)\n"
        "float: f (its result is read in float)\n"
        "float: p (Softmax runs in float)\n");
}

TEST_CASE("what lies between float operators only stays float") {
  network n;
  auto l = n.norm("ln", n.input("x", {1, 4, 8}), 8);
  auto t = n.unary("t", l, unary_kind::tanh);
  auto g = n.binary("gated", n.unary("s", l, sigmoid), t, mul);
  n.output(n.linear("y", g, 8, 2));
  CHECK(placed(n) ==
        "gated\n"
        "float: ln (LayerNormalization runs in float)\n"
        "float: t (its operands come from float operators)\n"
        "float: s (its operands come from float operators)\n"
        "float: gated (its operands come from float operators)\n");
}

TEST_CASE("operators without an integer kernel say so") {
  network n;
  auto a = n.conv("a", n.input("x", {1, 2, 4, 4}), 2, 2, positive);
  op::conv_transpose t;
  t.win.kernel = t.win.strides = {2, 2};
  auto b = n.add("up", t, {a, n.random("up.w", {2, 2, 2, 2})});
  op::pad pad;
  auto p = n.add("pad", pad,
                 {b, n.ints("pads", {0, 0, 1, 1, 0, 0, 1, 1}),
                  n.raw().add_constant("one", tensor::scalar(1.0f))});
  auto c = n.binary("scale", p, n.random("k", {2, 1, 1}), mul);
  n.output(n.conv("out", c, 2, 2));
  CHECK(placed(n) ==
        "x\na\nscale\n"
        "float: up (no integer kernel for a ConvTranspose with groups, unequal strides, or more zeros than weights)\n"
        "float: pad (it pads with other than zero)\n"
        "float: scale (one operand is constant)\n");
}

TEST_CASE(
    "ignored nodes stay float by name, pattern and type, and a rule without a match is an error") {
  network n;
  auto a = n.conv("block1/a", n.input("x", {1, 2, 4, 4}), 2, 2, positive);
  auto b = n.conv("block1/b", a, 2, 2, positive);
  auto c = n.conv("block2/c", b, 2, 2, positive);
  n.output(n.linear("y", n.flatten("f", c), 32, 2));
  quantize_options o;
  o.ignored.names = {"block2/c"};
  o.ignored.types = {"Gemm"};
  CHECK(placed(n, o) ==
        "x\nblock1/a\n"
        "float: block2/c (ignored by name 'block2/c')\n"
        "float: f (its result is read in float)\n"
        "float: y (ignored by type 'Gemm')\n");
  o.ignored = {};
  o.ignored.patterns = {"block1/.*"};
  CHECK(placed(n, o) ==
        "block1/b\nblock2/c f\n"
        "float: block1/a (ignored by pattern 'block1/.*')\n"
        "float: block1/b (ignored by pattern 'block1/.*')\n");
  o.ignored.names = {"block3", "block4"};
  CHECK_THROWS_WITH_AS(placed(n, o), doctest::Contains("name 'block3', name 'block4'"), error);
  o.ignored.validate = false;
  CHECK_NOTHROW(placed(n, o));
  o.ignored.patterns = {"("};
  CHECK_THROWS_WITH_AS(placed(n, o), doctest::Contains("pattern '('"), error);
}

TEST_CASE("a quantized model is refused") {
  network n;
  n.output(n.conv("y", n.input("x", {1, 2, 4, 4}), 2, 2));
  auto g = n.done();
  g[g.find("x")].quant = qparams{};
  CHECK_THROWS_WITH_AS(place(g, {}), doctest::Contains("'x'"), unsupported);
}
