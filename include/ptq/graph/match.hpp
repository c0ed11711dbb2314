#pragma once
// SPDX-License-Identifier: Apache-2.0
// The questions that pattern passes ask of a graph under edit. Each answers with nothing (nullptr,
// nullopt, -1) where the pattern does not hold, and no match ever looks through a value with
// qparams: its rounding is part of the network.

#include <cmath>
#include <cstdint>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include <ptq/graph/graph.hpp>
#include <ptq/graph/rewrite.hpp>

namespace ptq::match {

/// The operator of node n if it is an Op.
template <class Op>
const Op* as(const rewriter& g, int n) {
  return n < 0 || g.removed(n) ? nullptr : std::get_if<Op>(&g.at(n).what);
}

inline bool is(const rewriter& g, int n, unary_kind k) {
  const auto* o = as<op::unary>(g, n);
  return o && o->kind == k;
}
inline bool is(const rewriter& g, int n, binary_kind k) {
  const auto* o = as<op::binary>(g, n);
  return o && o->kind == k && !o->act.active();
}
inline bool is(const rewriter& g, int n, reduce_kind k) {
  const auto* o = as<op::reduce>(g, n);
  return o && o->kind == k;
}

inline value_id operand(const rewriter& g, int n, std::size_t port) {
  return port < g.at(n).inputs.size() ? g.at(n).inputs[port] : none;
}
inline value_id result(const rewriter& g, int n) { return g.at(n).outputs[0]; }

/// Producer of an unquantized value, -1 if there is none or the value carries qparams.
inline int real_producer(const rewriter& g, value_id id) {
  return id == none || g[id].quant ? -1 : g.producer(id);
}
/// As real_producer, and only one node reads the value.
inline int sole_producer(const rewriter& g, value_id id) {
  const int n = real_producer(g, id);
  return n >= 0 && g.sole_use(id) && g.at(n).outputs.size() == 1 ? n : -1;
}
/// The one node that reads a real value, -1 otherwise.
inline int sole_consumer(const rewriter& g, value_id id) {
  return id != none && !g[id].quant && g.sole_use(id) ? g.consumers(id)[0] : -1;
}

/// An f32 constant without qparams.
inline const tensor* real_constant(const rewriter& g, value_id id) {
  if (id == none || g[id].quant || !g[id].constant) return nullptr;
  const auto& t = *g[id].constant;
  return t.type() == dtype::f32 && !t.empty() ? &t : nullptr;
}

/// The one number of an f32 constant of one element.
inline std::optional<float> scalar(const rewriter& g, value_id id) {
  const auto* t = real_constant(g, id);
  if (!t || t->size() != 1) return std::nullopt;
  return t->view<float>()[0];
}

/// True where `id` is the constant v. Exporters spell √2 and 1/6 with 6 digits or more;
/// half-precision files round them to 11 bits, hence the tolerance of 2^-11.
inline bool is_number(const rewriter& g, value_id id, double v) {
  const auto s = scalar(g, id);
  constexpr double tolerance = 1.0 / 2048;
  return s && std::abs(static_cast<double>(*s) - v) <= tolerance * std::abs(v);
}

/// All numbers of an integer constant.
inline std::optional<op::ints> integers(const rewriter& g, value_id id) {
  if (id == none || !g[id].constant) return std::nullopt;
  const auto& t = *g[id].constant;
  if (t.type() != dtype::s64 || t.empty()) return std::nullopt;
  const auto v = t.view<std::int64_t>();
  return op::ints(v.begin(), v.end());
}

/// The other operand of a binary node: (a, b) or (b, a) with b the constant number v.
inline value_id beside_number(const rewriter& g, int n, double v) {
  const auto a = operand(g, n, 0), b = operand(g, n, 1);
  if (is_number(g, b, v)) return a;
  return is_number(g, a, v) ? b : none;
}

/// The operand of a binary node that is not `known`; none if neither is.
inline value_id other(const rewriter& g, int n, value_id known) {
  const auto a = operand(g, n, 0), b = operand(g, n, 1);
  return a == known ? b : b == known ? a : none;
}

/// Calls f(a, b) and f(b, a) until one is true: operands of a commutative node.
template <class F>
bool either_way(const rewriter& g, int n, F f) {
  const auto a = operand(g, n, 0), b = operand(g, n, 1);
  return f(a, b) || f(b, a);
}

/// Extents are known, all but one at most; the free one, if any, is the same where the other
/// extents are.
inline bool nearly_known(const value& v) {
  if (!v.shaped) return false;
  int free = 0;
  for (auto d : v.dims.dims) {
    free += d < 0;
    if (d == 0) return false;
  }
  return free <= 1;
}

/// Same number of elements under the same extents, the free one included.
inline bool same_extents(const value& a, const value& b) {
  return nearly_known(a) && b.shaped && a.dims == b.dims;
}

}  // namespace ptq::match
