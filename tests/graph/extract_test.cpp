// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <ptq/graph/extract.hpp>
#include <ptq/graph/print.hpp>

#include "quantize/network.hpp"
#include "support/execute.hpp"
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#endif

namespace {

using namespace ptq;
using ptq_test::network;
using ptq_test::positive;

/// x → a → b, sum = b + a, y = logits(mean(sum))
graph residual() {
  network n;
  auto a = n.conv("a", n.input("x", {1, 3, 6, 6}), 3, 4, positive, 3);
  auto b = n.conv("b", a, 4, 4, {}, 3);
  auto s = n.binary("sum", b, a, binary_kind::add, positive);
  n.output(n.linear("y", n.flatten("flat", n.average("mean", s)), 4, 5));
  return n.done();
}

std::vector<std::string> names(const graph& g, const std::vector<value_id>& ids) {
  std::vector<std::string> all;
  for (auto id : ids) all.push_back(g[id].name);
  return all;
}

std::vector<tensor> run(const graph& g, std::vector<tensor> inputs) {
  return execute(lower(g, kernels::reference_kernels()), inputs);
}

}  // namespace

TEST_CASE("a part starts at one cut and ends at the other") {
  const auto part = extracted(residual(), {{"x", "a"}, {"sum", "b"}});
  check(part);
  CHECK(names(part, part.inputs) == std::vector<std::string>{"a"});
  CHECK(names(part, part.outputs) == std::vector<std::string>{"sum", "b"});
  REQUIRE(part.nodes.size() == 2);
  CHECK(part.nodes[0].name == "b");
  CHECK(part.nodes[1].name == "sum");
}

TEST_CASE("a network cut in two computes what the whole does, to the bit") {
  const auto g = residual();
  tensor x(dtype::f32, {1, 3, 6, 6});
  float v = -1;
  for (auto& e : x.mutable_view<float>()) e = v += 0.03f;
  const auto whole = run(g, {x})[0];
  const auto front = extracted(g, {{"x"}, {"a", "b"}});
  const auto back = extracted(g, {{"a", "b"}, {"y"}});
  const auto middle = run(front, {x});
  const auto y = run(back, middle)[0];
  CHECK(std::memcmp(y.data(), whole.data(), whole.byte_count()) == 0);
}

TEST_CASE("qparams stay, and rounding again where a part starts changes nothing") {
  auto g = residual();
  g[g.find("x")].quant = qparams{.type = dtype::u8, .scale = {0.017f}, .zero_point = {128}};
  g[g.find("a")].quant = qparams{.type = dtype::u8, .scale = {0.031f}, .zero_point = {0}};
  tensor x(dtype::f32, {1, 3, 6, 6});
  float v = -1;
  for (auto& e : x.mutable_view<float>()) e = v += 0.03f;
  const auto whole = run(g, {x})[0];
  const auto a = run(extracted(g, {{"x"}, {"a"}}), {x})[0];
  const auto y = run(extracted(g, {{"a"}, {"y"}}), {a})[0];
  CHECK(std::memcmp(y.data(), whole.data(), whole.byte_count()) == 0);
}

TEST_CASE("a value in both lists passes through, and constants are taken along") {
  const auto part = extracted(residual(), {{"sum"}, {"sum", "mean"}});
  check(part);
  CHECK(part.nodes.size() == 1);
  CHECK(part.inputs[0] == part.outputs[0]);
  CHECK(part.values.size() == 2);
}

TEST_CASE("a cut that can't be made is an error that names the value") {
  const auto g = residual();
  CHECK_THROWS_WITH_AS(extracted(g, {{"nowhere"}, {"y"}}), doctest::Contains("'nowhere'"), error);
  CHECK_THROWS_WITH_AS(extracted(g, {{"a.w"}, {"y"}}), doctest::Contains("got a constant"), error);
  CHECK_THROWS_WITH_AS(extracted(g, {{"b"}, {"y"}}), doctest::Contains("input 'x'"), error);
}
