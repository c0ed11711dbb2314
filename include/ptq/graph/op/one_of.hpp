#pragma once
// SPDX-License-Identifier: Apache-2.0
// What holds one of the operators: a std::variant whose copies, moves and visits are a chain of comparisons. Those of
// std::variant are a table of functions each, one function per alternative; with 37 alternatives they were a sixth of
// the time that a program on top of ptq.hpp took to compile.
//
// std::get_if, std::get, std::holds_alternative and index() are those of the variant.

#include <concepts>
#include <cstddef>
#include <type_traits>
#include <utility>
#include <variant>

namespace ptq::op {

template <class Op, class... Ops>
concept is_one_of = (std::same_as<Op, Ops> || ...);

template <class... Ops>
class one_of : public std::variant<Ops...> {
  using variant = std::variant<Ops...>;
  static_assert((std::is_nothrow_move_constructible_v<Ops> && ...), "an assignment must not fail half way");

 public:
  one_of() = default;
  template <class Op>
    requires is_one_of<std::remove_cvref_t<Op>, Ops...>
  one_of(Op&& o) : variant(std::in_place_type<std::remove_cvref_t<Op>>, std::forward<Op>(o)) {}

  one_of(const one_of& o) : variant() { take(o); }
  one_of(one_of&& o) noexcept : variant() { take(o); }
  one_of& operator=(const one_of& o) { return *this = one_of(o); }
  one_of& operator=(one_of&& o) noexcept {
    if (this != &o) take(o);
    return *this;
  }
  ~one_of() = default;

  /// f on the operator held; every overload of f returns the same type.
  template <std::size_t I = 0, class F>
  decltype(auto) visit(F&& f) const {
    if constexpr (I + 1 < sizeof...(Ops)) {
      if (this->index() != I) return visit<I + 1>(f);
    }
    return f(*std::get_if<I>(this));
  }

 private:
  /// Copies from what is const and moves from what is not.
  template <std::size_t I = 0, class From>
  void take(From& o) {
    if (o.index() == I) {
      if constexpr (std::is_const_v<From>)
        this->template emplace<I>(*std::get_if<I>(&o));
      else
        this->template emplace<I>(std::move(*std::get_if<I>(&o)));
    } else if constexpr (I + 1 < sizeof...(Ops)) {
      take<I + 1>(o);
    }
  }
};

}  // namespace ptq::op
