#pragma once
// SPDX-License-Identifier: Apache-2.0
// Arithmetic on elements of any type, for operators that no table has: what plain kernels and emitters share.

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include <ptq/core/dtype.hpp>
#include <ptq/core/kinds.hpp>
#include <ptq/core/parallel.hpp>
#include <ptq/kernels/args.hpp>

namespace ptq::lowering {

/// Calls f with a value of the C++ type behind `t`.
template <class F>
auto with_type(dtype t, F&& f) {
  switch (t) {
    case dtype::s64: return f(std::int64_t{});
    case dtype::s32: return f(std::int32_t{});
    case dtype::s16: return f(std::int16_t{});
    case dtype::u16: return f(std::uint16_t{});
    case dtype::s8: return f(std::int8_t{});
    case dtype::u8: return f(std::uint8_t{});
    case dtype::boolean: return f(bool{});
    default: return f(float{});
  }
}

/// f(i, ia, ib) for every element i of the result with its operands' element numbers.
template <class F>
void for_each(const kernels::broadcast& over, work_range r, F&& f) {
  std::array<std::int64_t, 8> index{};
  std::int64_t rest = r.begin, ia = 0, ib = 0;
  for (int d = over.rank - 1; d >= 0; --d) {
    const auto u = static_cast<std::size_t>(d);
    index[u] = rest % over.extent[u];
    rest /= over.extent[u];
    ia += index[u] * over.a_stride[u];
    ib += index[u] * over.b_stride[u];
  }
  for (std::int64_t i = r.begin; i < r.end; ++i) {
    f(i, ia, ib);
    for (int d = over.rank - 1; d >= 0; --d) {
      const auto u = static_cast<std::size_t>(d);
      ia += over.a_stride[u];
      ib += over.b_stride[u];
      if (++index[u] < over.extent[u]) break;
      ia -= over.a_stride[u] * over.extent[u];
      ib -= over.b_stride[u] * over.extent[u];
      index[u] = 0;
    }
  }
}

template <class = void>
bool yields_bool(binary_kind k) { return k >= binary_kind::equal; }

template <class T>
T integer_binary(binary_kind k, T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (k == binary_kind::fmod || k == binary_kind::mod) return std::fmod(a, b);
    return a;
  } else {
    // Unsigned arithmetic wraps instead of overflowing; a division by zero gives zero.
    using U = std::make_unsigned_t<std::conditional_t<std::is_same_v<T, bool>, std::uint8_t, T>>;
    const auto ua = static_cast<U>(a), ub = static_cast<U>(b);
    switch (k) {
      case binary_kind::add: return static_cast<T>(ua + ub);
      case binary_kind::sub: return static_cast<T>(ua - ub);
      case binary_kind::mul: return static_cast<T>(static_cast<std::uint64_t>(ua) * ub);
      case binary_kind::div:
        if (b == T(0)) return T(0);
        if constexpr (std::is_signed_v<T>)
          if (b == T(-1)) return static_cast<T>(U(0) - ua);
        return static_cast<T>(a / b);
      case binary_kind::mod:
      case binary_kind::fmod: {
        if (b == T(0)) return T(0);
        if constexpr (std::is_signed_v<T>)
          if (b == T(-1)) return T(0);
        auto r = a % b;
        if (k == binary_kind::mod && r != 0 && ((r < 0) != (b < T(0)))) r += b;
        return static_cast<T>(r);
      }
      case binary_kind::min: return a < b ? a : b;
      case binary_kind::max: return a > b ? a : b;
      case binary_kind::pow: return static_cast<T>(std::pow(static_cast<double>(a), static_cast<double>(b)));
      case binary_kind::prelu: return static_cast<T>(a < T(0) ? integer_binary(binary_kind::mul, a, b) : a);
      default: return a;
    }
  }
}

template <class T>
bool compare(binary_kind k, T a, T b) {
  switch (k) {
    case binary_kind::equal: return a == b;
    case binary_kind::greater: return a > b;
    case binary_kind::greater_equal: return a >= b;
    case binary_kind::less: return a < b;
    case binary_kind::less_equal: return a <= b;
    case binary_kind::logical_and: return a && b;
    case binary_kind::logical_or: return a || b;
    default: return static_cast<bool>(a) != static_cast<bool>(b);
  }
}

/// From one element type to another; reals saturate, NaN becomes 0 (a plain cast would be undefined).
template <class To, class From>
To cast_value(From v) {
  if constexpr (std::is_same_v<To, bool>) {
    return v != From(0);
  } else if constexpr (std::is_floating_point_v<From> && !std::is_floating_point_v<To>) {
    constexpr auto lo = std::numeric_limits<To>::lowest(), hi = std::numeric_limits<To>::max();
    if (std::isnan(v)) return To(0);
    if (static_cast<double>(v) <= static_cast<double>(lo)) return lo;
    return static_cast<double>(v) >= static_cast<double>(hi) ? hi : static_cast<To>(v);
  } else {
    return static_cast<To>(v);
  }
}

}  // namespace ptq::lowering
