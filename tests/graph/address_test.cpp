// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <string>

#include <ptq/graph/address.hpp>

#include "../quantize/network.hpp"

namespace {

using namespace ptq;
using ptq_test::network;
using ptq_test::positive;

graph two_branches(const std::string& prefix) {
  network n;
  auto x = n.input(prefix + "x", {1, 3, 8, 8});
  auto a = n.conv(prefix + "a", x, 3, 4, positive, 3);
  auto b = n.conv(prefix + "b", a, 4, 4);
  auto c = n.conv(prefix + "c", a, 4, 4);
  n.output(n.binary(prefix + "sum", b, c, binary_kind::add));
  return n.done();
}

}  // namespace

TEST_CASE("an address does not depend on names, weights or what stands behind the node") {
  const auto first = addresses(two_branches("")), second = addresses(two_branches("other/"));
  CHECK(first == second);
  auto trained = two_branches("");
  for (auto& v : trained.values)
    if (v.constant) v.constant->mutable_view<float>()[0] += 1;
  CHECK(addresses(trained) == first);
  network longer;
  auto x = longer.input("x", {1, 3, 8, 8});
  auto a = longer.conv("a", x, 3, 4, positive, 3);
  longer.output(longer.unary("end", longer.conv("b", a, 4, 4), unary_kind::tanh));
  const auto third = addresses(longer.done());
  CHECK(third[0] == first[0]);
  CHECK(third[1] == first[1]);
}

TEST_CASE("an address tells operator, attributes and extents of weights apart") {
  const auto of = [](auto build) {
    network n;
    n.output(build(n, n.input("x", {1, 3, 8, 8})));
    return addresses(n.done())[0];
  };
  const std::set<std::string> all{
      of([](network& n, value_id x) { return n.conv("a", x, 3, 4, {}, 3); }),
      of([](network& n, value_id x) { return n.conv("a", x, 3, 4, positive, 3); }),
      of([](network& n, value_id x) { return n.conv("a", x, 3, 5, {}, 3); }),
      of([](network& n, value_id x) { return n.conv("a", x, 3, 4, {}, 1); }),
      of([](network& n, value_id x) { return n.unary("a", x, unary_kind::relu); }),
      of([](network& n, value_id x) { return n.unary("a", x, unary_kind::tanh); })};
  CHECK(all.size() == 6);
}

TEST_CASE("equal nodes, and all that follows them, have addresses of their own") {
  network n;
  auto x = n.input("x", {1, 4, 8, 8});
  auto a = n.conv("a", n.conv("a0", x, 4, 4), 4, 4), b = n.conv("b", n.conv("b0", x, 4, 4), 4, 4);
  n.output(n.binary("sum", a, b, binary_kind::add));
  const auto all = addresses(n.done());
  CHECK(all[2] == all[0] + ".1");
  CHECK(std::set<std::string>(all.begin(), all.end()).size() == all.size());
}

TEST_CASE("an address is the operator's name and 16 digits of a fixed hash") {
  network n;
  n.output(n.unary("y", n.input("x", {1, 4}), unary_kind::relu));
  // FNV-1a of the texts and numbers that the header lists, computed apart from it.
  CHECK(addresses(n.done()) == std::vector<std::string>{"@Relu/2d8e2d9db2075bbb"});
}
