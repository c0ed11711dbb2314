#pragma once
// SPDX-License-Identifier: Apache-2.0
// Extents of elementwise families, and the arithmetic on small integer values that shape computations
// are made of.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

#include <ptq/graph/infer/operands.hpp>

namespace ptq::inference {

inline bool is_comparison(binary_kind k) {
  return k == binary_kind::equal || k == binary_kind::greater || k == binary_kind::greater_equal ||
         k == binary_kind::less || k == binary_kind::less_equal;
}
inline bool is_logical(binary_kind k) { return k >= binary_kind::logical_and; }

/// Wraps instead of overflowing: the operands are whatever a file says.
inline std::int64_t wrapping(std::uint64_t v) { return static_cast<std::int64_t>(v); }

template <class T>
std::optional<std::int64_t> compared(binary_kind k, T a, T b) {
  switch (k) {
    case binary_kind::equal:
      return a == b;
    case binary_kind::greater:
      return a > b;
    case binary_kind::greater_equal:
      return a >= b;
    case binary_kind::less:
      return a < b;
    case binary_kind::less_equal:
      return a <= b;
    default:
      return std::nullopt;
  }
}

/// The few results of arithmetic with a free extent that are known: s + 0, s · 1, s · 0, s / 1, and
/// that it never equals a negative number.
inline std::optional<std::int64_t> combined_free(binary_kind k, std::int64_t a, std::int64_t b) {
  const auto other = is_symbol(a) ? b : a;
  const bool free_first = is_symbol(a);
  switch (k) {
    case binary_kind::add:
      return other == 0 ? std::optional(a + b) : std::nullopt;
    case binary_kind::sub:
      return b == 0 ? std::optional(a) : std::nullopt;
    case binary_kind::mul:
      return other == 0 ? std::optional(other) : other == 1 ? std::optional(a * b) : std::nullopt;
    case binary_kind::div:
      return free_first && b == 1 ? std::optional(a) : std::nullopt;
    case binary_kind::equal:
      if (a == b) return 1;
      return !is_symbol(other) && other < 0 ? std::optional<std::int64_t>(0) : std::nullopt;
    default:
      return std::nullopt;
  }
}

/// One element of a binary operation on integers; nothing where it has no value (division by 0) or
/// is not followed.
inline std::optional<std::int64_t> combined(binary_kind k, std::int64_t a, std::int64_t b) {
  if (is_symbol(a) || is_symbol(b)) return combined_free(k, a, b);
  const auto ua = static_cast<std::uint64_t>(a), ub = static_cast<std::uint64_t>(b);
  const bool divides = b != 0 && !(b == -1 && a == std::numeric_limits<std::int64_t>::min());
  switch (k) {
    case binary_kind::add:
      return wrapping(ua + ub);
    case binary_kind::sub:
      return wrapping(ua - ub);
    case binary_kind::mul:
      return wrapping(ua * ub);
    case binary_kind::div:
      return divides ? std::optional(a / b) : std::nullopt;
    case binary_kind::min:
      return std::min(a, b);
    case binary_kind::max:
      return std::max(a, b);
    case binary_kind::mod:  // the sign of the divisor
      if (!divides) return std::nullopt;
      return a % b != 0 && ((a % b < 0) != (b < 0)) ? a % b + b : a % b;
    case binary_kind::fmod:
      return divides ? std::optional(a % b) : std::nullopt;
    case binary_kind::logical_and:
      return a != 0 && b != 0;
    case binary_kind::logical_or:
      return a != 0 || b != 0;
    case binary_kind::logical_xor:
      return (a != 0) != (b != 0);
    default:
      return compared(k, a, b);
  }
}

inline std::optional<std::int64_t> combined(binary_kind k, float a, float b) {
  switch (k) {
    case binary_kind::add:
      return bits_of(a + b);
    case binary_kind::sub:
      return bits_of(a - b);
    case binary_kind::mul:
      return bits_of(a * b);
    case binary_kind::div:
      return bits_of(a / b);
    case binary_kind::min:
      return bits_of(std::min(a, b));
    case binary_kind::max:
      return bits_of(std::max(a, b));
    default:
      return compared(k, a, b);
  }
}

/// Index into a small operand of extents `from` for row-major position `at` of extents `to`,
/// broadcast.
inline std::size_t broadcast_index(const shape& from, const shape& to, std::size_t at) {
  std::size_t index = 0, step = 1;
  for (int i = to.rank() - 1; i >= 0; --i) {
    const auto here = at % static_cast<std::size_t>(to[i]);
    at /= static_cast<std::size_t>(to[i]);
    const int j = i - (to.rank() - from.rank());
    if (j < 0) continue;
    if (from[j] != 1) index += here * step;
    step *= static_cast<std::size_t>(from[j]);
  }
  return index;
}

inline bool followed(const inferred& r) {
  if (!r.shaped || !r.dims.known()) return false;
  std::int64_t n = 1;
  for (auto d : r.dims.dims) {
    n *= std::min(d, most_elements + 1);
    if (n > most_elements) return false;
  }
  return true;
}

inline std::vector<inferred> infer(const op::binary& o, const operands& in) {
  const bool mixed = o.kind == binary_kind::pow;  // the exponent has a type of its own
  if (!mixed && in.type(0) != in.type(1))
    in.fail("types", std::string("both ") + name_of(in.type(0)), name_of(in.type(1)));
  inferred r = unshaped(is_comparison(o.kind) || is_logical(o.kind) ? dtype::boolean : in.type(0));
  if (!in.shaped(0) || !in.shaped(1)) return {r};
  r.dims = broadcast(in, in.dims(0), in.dims(1));
  r.shaped = true;
  const auto a = in.elements(0), b = in.elements(1);
  if (!a || !b || !followed(r) || o.act.active()) return {r};
  r.elements.emplace(static_cast<std::size_t>(r.dims.size()));
  for (std::size_t i = 0; i < r.elements->size(); ++i) {
    const auto x = (*a)[broadcast_index(in.dims(0), r.dims, i)];
    const auto y = (*b)[broadcast_index(in.dims(1), r.dims, i)];
    if (x && y)
      (*r.elements)[i] = in.type(0) == dtype::f32 ? combined(o.kind, real_of(*x), real_of(*y))
                                                  : combined(o.kind, *x, *y);
  }
  return {r};
}

inline std::vector<inferred> infer(const op::where&, const operands& in) {
  if (in.type(0) != dtype::boolean) in.fail("condition", "bool", name_of(in.type(0)));
  if (in.type(1) != in.type(2))
    in.fail("types", std::string("both ") + name_of(in.type(1)), name_of(in.type(2)));
  inferred r = unshaped(in.type(1));
  if (!in.shaped(0) || !in.shaped(1) || !in.shaped(2)) return {r};
  r.dims = broadcast(in, broadcast(in, in.dims(0), in.dims(1)), in.dims(2));
  r.shaped = true;
  const auto c = in.elements(0), a = in.elements(1), b = in.elements(2);
  if (!c || !a || !b || !followed(r)) return {r};
  r.elements.emplace(static_cast<std::size_t>(r.dims.size()));
  const auto is_free = [](const auto& e) { return e && is_symbol(*e); };
  for (std::size_t i = 0; i < r.elements->size(); ++i) {
    const auto which = (*c)[broadcast_index(in.dims(0), r.dims, i)];
    const auto x = (*a)[broadcast_index(in.dims(1), r.dims, i)];
    const auto y = (*b)[broadcast_index(in.dims(2), r.dims, i)];
    (*r.elements)[i] =
        which && !is_free(which) ? (*which != 0 ? x : y) : (x == y ? x : std::nullopt);
  }
  return {r};
}

inline std::optional<std::int64_t> applied(unary_kind k, std::int64_t v, dtype t) {
  if (t == dtype::f32) {
    const float x = real_of(v);
    switch (k) {
      case unary_kind::floor:
        return bits_of(std::floor(x));
      case unary_kind::ceil:
        return bits_of(std::ceil(x));
      case unary_kind::neg:
        return bits_of(-x);
      case unary_kind::abs:
        return bits_of(std::fabs(x));
      default:
        return std::nullopt;
    }
  }
  switch (k) {
    case unary_kind::neg:
      return wrapping(0 - static_cast<std::uint64_t>(v));
    case unary_kind::abs:
      return v < 0 ? wrapping(0 - static_cast<std::uint64_t>(v)) : v;
    case unary_kind::relu:
      return std::max<std::int64_t>(v, 0);
    case unary_kind::logical_not:
      return v == 0;
    default:
      return std::nullopt;
  }
}

inline std::vector<inferred> infer(const op::unary& o, const operands& in) {
  auto r = like(in);
  if (o.kind == unary_kind::logical_not || o.kind == unary_kind::is_nan) r.type = dtype::boolean;
  if (const auto e = in.elements(0)) {
    r.elements.emplace(e->size());
    for (std::size_t i = 0; i < e->size(); ++i)
      if ((*e)[i]) (*r.elements)[i] = applied(o.kind, *(*e)[i], in.type(0));
  }
  return {r};
}

inline std::vector<inferred> infer(const op::cast& o, const operands& in) {
  auto r = like(in);
  r.type = o.to;
  const auto e = in.elements(0);
  const bool narrow = size_of(o.to) < size_of(dtype::s32) && o.to != dtype::boolean;
  if (!e || narrow) return {r};
  r.elements.emplace(e->size());
  for (std::size_t i = 0; i < e->size(); ++i) {
    if (!(*e)[i]) continue;
    const auto v = *(*e)[i];
    const bool from_real = in.type(0) == dtype::f32;
    if (!from_real && is_symbol(v)) {
      if (size_of(o.to) == size_of(dtype::s64)) (*r.elements)[i] = v;
      continue;
    }
    constexpr float representable = 9.2e18f;  // below 2^63, where the conversion is defined
    if (from_real && o.to != dtype::f32 && !(std::fabs(real_of(v)) < representable)) continue;
    std::int64_t whole =
        from_real ? (o.to == dtype::f32 ? 0 : static_cast<std::int64_t>(real_of(v))) : v;
    switch (o.to) {
      case dtype::f32:
        whole = from_real ? v : bits_of(static_cast<float>(v));
        break;
      case dtype::boolean:
        whole = from_real ? real_of(v) != 0.0f : v != 0;
        break;
      case dtype::s32:
        whole = static_cast<std::int32_t>(static_cast<std::uint32_t>(whole));
        break;
      default:
        break;
    }
    (*r.elements)[i] = whole;
  }
  return {r};
}

}  // namespace ptq::inference
