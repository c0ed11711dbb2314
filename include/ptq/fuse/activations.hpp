#pragma once
// SPDX-License-Identifier: Apache-2.0
// Activations that a file spells out in elementwise nodes become one node: clip, hard-sigmoid,
// hard-swish, SiLU, Mish, softplus, GELU (erf and tanh forms). Recognised by their factors, so that
// the order in which an exporter multiplies does not matter.

#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>
#include <optional>
#include <vector>

#include <ptq/graph/match.hpp>
#include <ptq/graph/rewrite.hpp>

namespace ptq::fusing {

/// A product written as a tree of multiplications and divisions: its number and its other factors.
struct product {
  double number = 1.0;
  std::vector<value_id> factors;
};

/// Factors of the value that node n makes. Looks into products that nobody else reads.
inline product factors_of(const rewriter& g, int n) {
  constexpr std::size_t most =
      8;  // no activation has more; bounds the walk through a hostile chain
  product p;
  std::vector<int> open{n};
  while (!open.empty() && p.factors.size() <= most) {
    const int at = open.back();
    open.pop_back();
    const bool divides = match::is(g, at, binary_kind::div);
    const auto a = match::operand(g, at, 0), b = match::operand(g, at, 1);
    for (auto id : {a, b}) {
      const auto number = match::scalar(g, id);
      if (divides && id == b) {
        if (!number || *number == 0.0f) return {};
        p.number /= static_cast<double>(*number);
      } else if (number) {
        p.number *= static_cast<double>(*number);
      } else {
        const int q = match::sole_producer(g, id);
        const bool divided =
            match::is(g, q, binary_kind::div) && match::scalar(g, match::operand(g, q, 1));
        if (match::is(g, q, binary_kind::mul) || divided)
          open.push_back(q);
        else
          p.factors.push_back(id);
      }
      if (a == b && !divides && id == a && number) break;
    }
  }
  return p;
}

inline bool near(double a, double b) {
  constexpr double tolerance = 1.0 / 2048;  // as match::is_number
  return std::abs(a - b) <= tolerance * std::abs(b);
}

/// u if `id` is k·u (a product of a number and one factor); u = id for k = 1.
inline value_id times(const rewriter& g, value_id id, double k) {
  const int n = match::real_producer(g, id);
  if (n < 0 || !(match::is(g, n, binary_kind::mul) || match::is(g, n, binary_kind::div)))
    return none;
  const auto p = factors_of(g, n);
  return p.factors.size() == 1 && near(p.number, k) ? p.factors[0] : none;
}

/// u if `id` is u + k
inline value_id plus(const rewriter& g, value_id id, double k) {
  const int n = match::real_producer(g, id);
  return match::is(g, n, binary_kind::add) ? match::beside_number(g, n, k) : none;
}

/// u if `id` is f(u)
inline value_id inside(const rewriter& g, value_id id, unary_kind f) {
  const int n = match::real_producer(g, id);
  return match::is(g, n, f) ? match::operand(g, n, 0) : none;
}

/// x if `id` is clip(x + 3, 0, 6)
inline value_id shifted_relu6(const rewriter& g, value_id id) {
  const int n = match::real_producer(g, id);
  const auto* u = match::as<op::unary>(g, n);
  if (!u || u->kind != unary_kind::clip || u->alpha != 0.0f || u->beta != 6.0f) return none;
  return plus(g, match::operand(g, n, 0), 3.0);
}

/// Whether `id` is 1 + erf(x/√2)
inline bool is_erf_part(const rewriter& g, value_id id, value_id x) {
  const auto e = inside(g, plus(g, id, 1.0), unary_kind::erf);
  return e != none && times(g, e, 1.0 / std::numbers::sqrt2) == x;
}

/// Whether `id` is 0.044715·x³ in some spelling
inline bool is_cubic(const rewriter& g, value_id id, value_id x) {
  constexpr double c = 0.044715;  // Hendrycks & Gimpel 2016
  const int n = match::real_producer(g, id);
  if (!match::is(g, n, binary_kind::mul)) return false;
  const auto p = factors_of(g, n);
  if (!near(p.number, c)) return false;
  int degree = 0;
  for (auto f : p.factors) {
    const int q = match::real_producer(g, f);
    if (f == x)
      ++degree;
    else if (match::is(g, q, binary_kind::pow) && match::operand(g, q, 0) == x)
      degree += match::is_number(g, match::operand(g, q, 1), 3.0)   ? 3
                : match::is_number(g, match::operand(g, q, 1), 2.0) ? 2
                                                                    : 100;
    else if (match::is(g, q, binary_kind::mul) && match::operand(g, q, 0) == x &&
             match::operand(g, q, 1) == x)
      degree += 2;
    else
      return false;
  }
  return degree == 3;
}

/// Whether `id` is 1 + tanh(√(2/π)·(x + 0.044715·x³))
inline bool is_tanh_part(const rewriter& g, value_id id, value_id x) {
  const auto t = inside(g, plus(g, id, 1.0), unary_kind::tanh);
  if (t == none) return false;
  const auto sum = times(g, t, std::sqrt(2.0 / std::numbers::pi));
  const int n = match::real_producer(g, sum);
  return match::is(g, n, binary_kind::add) && match::either_way(g, n, [&](value_id a, value_id b) {
           return a == x && is_cubic(g, b, x);
         });
}

struct found {
  op::unary what;
  value_id x = none;
};

inline op::unary sixth() { return {unary_kind::hard_sigmoid, 1.0f / 6.0f, 0.5f}; }

/// x·f(x) with the number k in front
inline std::optional<op::unary> gated(const rewriter& g, double k, value_id x, value_id f) {
  if (near(k, 1.0)) {
    if (inside(g, f, unary_kind::sigmoid) == x) return op::unary{unary_kind::silu};
    if (inside(g, inside(g, f, unary_kind::tanh), unary_kind::softplus) == x)
      return op::unary{unary_kind::mish};
    const int n = match::real_producer(g, f);
    const auto* h = match::as<op::unary>(g, n);
    if (h && *h == sixth() && match::operand(g, n, 0) == x)
      return op::unary{unary_kind::hard_swish};
  }
  if (near(k, 1.0 / 6.0) && shifted_relu6(g, f) == x) return op::unary{unary_kind::hard_swish};
  if (near(k, 0.5) && is_erf_part(g, f, x)) return op::unary{unary_kind::gelu};
  if (near(k, 0.5) && is_tanh_part(g, f, x)) return op::unary{unary_kind::gelu_tanh};
  return std::nullopt;
}

inline std::optional<found> from_product(const rewriter& g, int n) {
  const auto p = factors_of(g, n);
  if (p.factors.size() == 1 && near(p.number, 1.0 / 6.0)) {
    const auto x = shifted_relu6(g, p.factors[0]);
    if (x != none) return found{sixth(), x};
  }
  if (p.factors.size() != 2) return std::nullopt;
  for (int i = 0; i < 2; ++i)
    if (auto what = gated(g, p.number, p.factors[static_cast<std::size_t>(i)],
                          p.factors[static_cast<std::size_t>(1 - i)]))
      return found{*what, p.factors[static_cast<std::size_t>(i)]};
  return std::nullopt;
}

/// clip(a·x + b, 0, 1): the slope and offset of a hard sigmoid
inline std::optional<found> from_clip(const rewriter& g, int n) {
  const auto* u = match::as<op::unary>(g, n);
  if (!u || u->kind != unary_kind::clip || u->alpha != 0.0f || u->beta != 1.0f) return std::nullopt;
  const int sum = match::real_producer(g, match::operand(g, n, 0));
  if (!match::is(g, sum, binary_kind::add)) return std::nullopt;
  std::optional<found> r;
  match::either_way(g, sum, [&](value_id line, value_id offset) {
    const auto b = match::scalar(g, offset);
    const int m = match::real_producer(g, line);
    if (!b || !(match::is(g, m, binary_kind::mul) || match::is(g, m, binary_kind::div)))
      return false;
    const auto p = factors_of(g, m);
    if (p.factors.size() != 1) return false;
    const auto a = static_cast<float>(p.number);
    r = near(p.number, 1.0 / 6.0) && *b == 0.5f
            ? found{sixth(), p.factors[0]}
            : found{{unary_kind::hard_sigmoid, a, *b}, p.factors[0]};
    return true;
  });
  return r;
}

/// max(x, lo), min(x, hi) with numbers
inline std::optional<found> from_bounds(const rewriter& g, int n) {
  constexpr float inf = std::numeric_limits<float>::infinity();
  const bool low = match::is(g, n, binary_kind::max), high = match::is(g, n, binary_kind::min);
  if (!low && !high) return std::nullopt;
  std::optional<found> r;
  match::either_way(g, n, [&](value_id x, value_id bound) {
    const auto b = match::scalar(g, bound);
    const bool widens = g[bound].dims.rank() > g[x].dims.rank();
    if (!b || g[x].constant || !g[x].shaped || widens) return false;
    r = low && *b == 0.0f ? found{{unary_kind::relu}, x}
                          : found{{unary_kind::clip, low ? *b : -inf, low ? inf : *b}, x};
    return true;
  });
  return r;
}

/// log(1 + exp(x))
inline std::optional<found> from_log(const rewriter& g, int n) {
  const auto x = inside(g, plus(g, match::operand(g, n, 0), 1.0), unary_kind::exp);
  return x == none ? std::nullopt : std::optional(found{{unary_kind::softplus}, x});
}

/// One sweep in node order, inner spellings first; true if something fused.
inline bool activations(graph& g) {
  rewriter edit(std::move(g));
  const int count = edit.node_count();
  for (int n = 0; n < count; ++n) {
    if (edit.removed(n) || edit[match::operand(edit, n, 0)].type != dtype::f32) continue;
    std::optional<found> f;
    if (match::is(edit, n, binary_kind::mul) || match::is(edit, n, binary_kind::div))
      f = from_product(edit, n);
    else if (match::is(edit, n, unary_kind::log))
      f = from_log(edit, n);
    else
      f = match::as<op::unary>(edit, n) ? from_clip(edit, n) : from_bounds(edit, n);
    if (f) edit.set(n, f->what, {f->x});
  }
  const bool changed = edit.changed();
  g = edit.finish();
  return changed;
}

}  // namespace ptq::fusing
