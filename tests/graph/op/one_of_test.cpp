// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <type_traits>
#include <utility>
#include <variant>

#include <ptq/graph/op.hpp>

using namespace ptq;

namespace {

operation strided() {
  op::conv c;
  c.win.strides = {2, 3};
  return c;
}
const op::ints& strides(const operation& o) { return std::get<op::conv>(o).win.strides; }

struct which {
  int operator()(const op::conv&) const { return 1; }
  int operator()(const op::control&) const { return 2; }
  template <class Op>
  int operator()(const Op&) const {
    return 0;
  }
};

}  // namespace

TEST_CASE("an operation holds what it was made of, and std::get_if finds it") {
  const operation o = op::softmax{.axis = 2};
  CHECK(std::holds_alternative<op::softmax>(o));
  REQUIRE(std::get_if<op::softmax>(&o));
  CHECK(std::get_if<op::softmax>(&o)->axis == 2);
  CHECK(std::get_if<op::conv>(&o) == nullptr);
  CHECK(o == operation(op::softmax{.axis = 2}));
  CHECK(o != operation(op::softmax{.axis = 1}));
}

TEST_CASE("a copy is another operator, a move takes its vectors along") {
  operation a = strided();
  operation b = a;
  CHECK(b == a);
  CHECK(strides(b).data() != strides(a).data());
  const auto* at = strides(a).data();
  const operation c = std::move(a);
  CHECK(strides(c).data() == at);
  b = op::control{};
  CHECK(std::holds_alternative<op::control>(b));
  b = c;
  CHECK(b == c);
}

TEST_CASE("an operation assigned to itself stays as it is") {
  operation a = strided();
  auto& same = a;
  a = same;
  CHECK(a == strided());
  a = std::move(same);
  CHECK(a == strided());
}

TEST_CASE("a visit gives the first and the last operator their own overload") {
  CHECK(operation().visit(which{}) == 1);
  CHECK(operation(op::triangle{}).visit(which{}) == 0);
  CHECK(operation(op::control{}).visit(which{}) == 2);
}

TEST_CASE("an operation moves without failing and is made of operators alone") {
  CHECK(std::is_nothrow_move_constructible_v<operation>);
  CHECK(std::is_nothrow_move_assignable_v<operation>);
  CHECK(std::is_convertible_v<op::matmul, operation>);
  CHECK_FALSE(std::is_convertible_v<int, operation>);
}
