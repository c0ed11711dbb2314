#pragma once
// SPDX-License-Identifier: Apache-2.0
// What inference of one node sees: types, extents and, where they are known, the elements of small
// integer operands (shapes, axes, indices), so that arithmetic on shapes resolves while the batch
// is still free.
//
// An element of an f32 value is kept as the bits of the float: one container serves both kinds.

#include <bit>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ptq/core/error.hpp>
#include <ptq/core/shape.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/graph/print.hpp>

namespace ptq {

/// Row-major elements of a small value; an element may be unknown. f32 elements are stored as their
/// bits.
using partial_elements = std::vector<std::optional<std::int64_t>>;
/// By value id; may be shorter than graph::values. Constants need no entry.
using partial_values = std::vector<std::optional<partial_elements>>;

/// What is known of one output before anything runs.
struct inferred {
  dtype type = dtype::f32;
  shape dims;
  bool shaped = false;
  std::optional<partial_elements> elements;
};

namespace inference {

/// Longest value whose elements are followed: shapes and index lists are far shorter, weights far
/// longer.
inline constexpr std::int64_t most_elements = 64;
/// Larger extents are refused: no tensor of any machine has them, and products of two stay within
/// 64 bits.
inline constexpr std::int64_t largest_extent = std::int64_t{1} << 31;

/// While a whole graph is inferred, a free extent is a symbol: a number in this range, one per name
/// of a dimension. Equal symbols are equal extents, so that a batch cancels in Reshape(x, [batch,
/// -1, 64]). Constants that happen to lie in the range count as unknown. Outside of infer_elements
/// a free extent is -1.
inline constexpr std::int64_t first_symbol = -(std::int64_t{1} << 62);
inline constexpr std::int64_t last_symbol = first_symbol + (std::int64_t{1} << 32);
inline bool is_symbol(std::int64_t e) { return e >= first_symbol && e <= last_symbol; }

inline std::int64_t bits_of(float v) { return std::bit_cast<std::int32_t>(v); }
inline float real_of(std::int64_t bits) {
  return std::bit_cast<float>(static_cast<std::int32_t>(bits));
}

template <class T>
partial_elements copied(const tensor& t) {
  partial_elements e;
  for (T x : t.view<T>()) {
    if constexpr (std::is_same_v<T, float>) {
      e.push_back(bits_of(x));
    } else {
      const auto v = static_cast<std::int64_t>(x);
      e.push_back(is_symbol(v) ? std::nullopt : std::optional(v));
    }
  }
  return e;
}

/// Elements of a small constant; nothing for large ones or narrow types (codes).
inline std::optional<partial_elements> elements_of(const tensor& t) {
  if (t.empty() || !t.dims().known() || t.size() > most_elements) return std::nullopt;
  switch (t.type()) {
    case dtype::s64:
      return copied<std::int64_t>(t);
    case dtype::s32:
      return copied<std::int32_t>(t);
    case dtype::f32:
      return copied<float>(t);
    case dtype::boolean: {
      partial_elements e;
      for (bool x : t.view<bool>()) e.push_back(x ? 1 : 0);
      return e;
    }
    default:
      return std::nullopt;
  }
}

/// Read access to a node's operands, and the one place that words its errors.
class operands {
 public:
  operands(const graph& g, const node& n, const partial_values& known)
      : graph_(g), node_(n), known_(known) {}

  std::size_t count() const { return node_.inputs.size(); }
  bool has(std::size_t i) const { return i < count() && node_.inputs[i] != none; }

  const value& at(std::size_t i) const {
    if (!has(i))
      fail("inputs", "at least " + std::to_string(i + 1), std::to_string(count()) + " present");
    return graph_[node_.inputs[i]];
  }
  dtype type(std::size_t i) const { return at(i).type; }
  bool shaped(std::size_t i) const { return at(i).shaped; }
  const shape& dims(std::size_t i) const { return at(i).dims; }
  const node& self() const { return node_; }

  /// Elements of input i as far as they are known.
  std::optional<partial_elements> elements(std::size_t i) const {
    if (!has(i) || at(i).quant) return std::nullopt;
    if (at(i).constant) return elements_of(*at(i).constant);
    const auto id = static_cast<std::size_t>(node_.inputs[i]);
    return id < known_.size() ? known_[id] : std::nullopt;
  }

  /// All elements of an integer input, or nothing if one is unknown.
  std::optional<op::ints> integers(std::size_t i) const {
    const auto e = elements(i);
    if (!e || at(i).type == dtype::f32) return std::nullopt;
    op::ints all;
    for (const auto& x : *e) {
      if (!x || is_symbol(*x)) return std::nullopt;
      all.push_back(*x);
    }
    return all;
  }

  [[noreturn]] void fail(const std::string& what, const std::string& expected,
                         const std::string& got) const {
    throw shape_error("infer: node '" + node_.name + "' (" + op_name(node_.what) + "): " + what +
                      ": expected " + expected + ", got " + got);
  }
  int axis(std::int64_t a, int rank, const char* what = "axis") const {
    if (a < -rank || a >= rank)
      fail(what, "[" + std::to_string(-rank) + "," + std::to_string(rank) + ")", std::to_string(a));
    return static_cast<int>(a < 0 ? a + rank : a);
  }
  void rank_at_least(std::size_t i, int rank) const {
    if (dims(i).rank() < rank)
      fail("input " + std::to_string(i), "rank " + std::to_string(rank) + " or more",
           dims(i).text());
  }
  void rank_is(std::size_t i, int rank) const {
    if (dims(i).rank() != rank)
      fail("input " + std::to_string(i), "rank " + std::to_string(rank), dims(i).text());
  }
  /// Checks that two extents agree where both are known; returns the one that is.
  std::int64_t same_extent(std::int64_t a, std::int64_t b, const std::string& what) const {
    if (a >= 0 && b >= 0 && a != b) fail(what, std::to_string(a), std::to_string(b));
    return a >= 0 ? a : b;
  }
  /// Refuses extents that are negative or absurd; unknown ones pass.
  std::int64_t extent(std::int64_t e, const std::string& what) const {
    if (e != unknown && !is_symbol(e) && (e < 0 || e > largest_extent))
      fail(what, "an extent in [0," + std::to_string(largest_extent) + "]", std::to_string(e));
    return e;
  }
  /// An extent that an element of an operand asks for: negative numbers, -1 too, are errors.
  std::int64_t asked(std::int64_t e, const std::string& what) const {
    return is_symbol(e) ? e : extent(e < 0 ? -2 : e, what);
  }
  /// An optional vector input [n] such as a bias.
  void check_vector(std::size_t i, std::int64_t n, const std::string& what) const {
    if (!has(i) || !shaped(i)) return;
    if (dims(i).rank() != 1 || (n >= 0 && dims(i)[0] >= 0 && dims(i)[0] != n))
      fail(what, shape{n}.text(), dims(i).text());
  }

 private:
  const graph& graph_;
  const node& node_;
  const partial_values& known_;
};

/// One output of input i's type.
inline inferred like(const operands& in, std::size_t i = 0) {
  return {in.type(i), in.dims(i), in.shaped(i), std::nullopt};
}
inline inferred unshaped(dtype t) { return {t, {}, false, std::nullopt}; }
inline inferred shaped_as(dtype t, shape dims) { return {t, std::move(dims), true, std::nullopt}; }

/// Extents of a 1-D integer operand that holds a shape: its length is known even where its elements
/// are not.
inline std::optional<partial_elements> shape_operand(const operands& in, std::size_t i) {
  if (in.shaped(i) && in.dims(i).rank() != 1) in.fail("shape", "a vector", in.dims(i).text());
  if (auto e = in.elements(i)) return e;
  if (!in.shaped(i) || in.dims(i)[0] < 0 || in.dims(i)[0] > most_elements) return std::nullopt;
  return partial_elements(static_cast<std::size_t>(in.dims(i)[0]));
}

/// numpy broadcasting; a free extent beside a known one above 1 is taken to be that one.
inline shape broadcast(const operands& in, const shape& a, const shape& b) {
  shape r;
  r.dims.resize(static_cast<std::size_t>(std::max(a.rank(), b.rank())));
  for (int i = 0; i < r.rank(); ++i) {
    const int ia = i - (r.rank() - a.rank()), ib = i - (r.rank() - b.rank());
    const std::int64_t x = ia < 0 ? 1 : a[ia], y = ib < 0 ? 1 : b[ib];
    if (x == y || y == 1) {
      r[i] = x;
    } else if (x == 1 || (x < 0 && y >= 0)) {
      r[i] = y;
    } else if (x >= 0 && y < 0) {
      r[i] = x;
    } else if (x < 0) {
      r[i] = unknown;  // two free extents: equal, or one of them is 1
    } else {
      in.fail("shapes", a.text() + " to broadcast with the second", b.text());
    }
  }
  return r;
}

}  // namespace inference
}  // namespace ptq
