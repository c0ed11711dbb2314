#pragma once
// SPDX-License-Identifier: Apache-2.0
// Every unary and binary function of a graph on reals, defined once (ONNX's definitions). Kernels
// run the templates on registers, the reference runs them on one float, look-up tables of 8-bit
// activations are made from unary_value: the same bits each time. Lanes: lane.hpp; accuracy:
// exponential.hpp, power.hpp.
//
// Limits that the formulas leave open are taken: silu(-inf), gelu(-inf), mish(-inf) and
// hard_swish(-inf) are 0, softsign(±inf) is ±1. min, max and clamps keep NaN.

#include <limits>

#include <ptq/core/exponential.hpp>
#include <ptq/core/kinds.hpp>
#include <ptq/core/lane.hpp>
#include <ptq/core/power.hpp>

namespace ptq {

namespace elementary {

/// Kinds that are a few operations each.
template <unary_kind K, class L>
inline real_of<L> simple_unary(real_of<L> x, real_of<L> alpha, real_of<L> beta) {
  using enum unary_kind;
  const auto zero = L::constant(0.0f), one = L::constant(1.0f);
  const auto largest = L::constant(std::numeric_limits<float>::max());
  if constexpr (K == relu) return L::greater(zero, x);
  if constexpr (K == clip) return clamp<L>(x, alpha, beta);
  if constexpr (K == leaky_relu) return L::select(x < zero, x * alpha, x);
  if constexpr (K == thresholded_relu)
    return L::select(L::either(x > alpha, L::unordered(x)), x, zero);
  if constexpr (K == hard_sigmoid) return clamp<L>(L::fma(alpha, x, beta), zero, one);
  if constexpr (K == hard_swish) {
    const auto c = L::greater(zero - largest, x);  // -inf · 0 would be NaN
    return c * clamp<L>(L::fma(c, L::constant(1.0f / 6.0f), L::constant(0.5f)), zero, one);
  }
  if constexpr (K == softsign) {
    const auto c = clamp<L>(x, zero - largest, largest);
    return c / (one + elementary::abs<L>(c));
  }
  if constexpr (K == sqrt) return L::sqrt(x);
  if constexpr (K == reciprocal) return one / x;
  if constexpr (K == neg) return L::from_bits(L::bits(x) ^ L::constant_whole(INT32_MIN));
  if constexpr (K == abs) return elementary::abs<L>(x);
  if constexpr (K == floor) return elementary::floor<L>(x);
  if constexpr (K == ceil) return elementary::ceil<L>(x);
  if constexpr (K == round) return L::round(x);
  if constexpr (K == sign) return L::select(x > zero, one, L::select(x < zero, zero - one, x));
  if constexpr (K == logical_not) return L::select(x == zero, one, zero);
  if constexpr (K == is_nan) return L::select(L::unordered(x), one, zero);
}

/// Kinds that need an exponential, a logarithm or an angle.
template <unary_kind K, class L>
inline real_of<L> transcendental(real_of<L> x, real_of<L> alpha, real_of<L> beta) {
  using enum unary_kind;
  const auto zero = L::constant(0.0f);
  if constexpr (K == sigmoid) return elementary::sigmoid<L>(x);
  if constexpr (K == silu) return elementary::silu<L>(x);
  if constexpr (K == mish) return elementary::mish<L>(x);
  if constexpr (K == gelu) return elementary::gelu<L>(x);
  if constexpr (K == gelu_tanh) return elementary::gelu_tanh<L>(x);
  if constexpr (K == tanh) return elementary::tanh<L>(x);
  if constexpr (K == elu) return L::select(x < zero, alpha * expm1_below_0<L>(x), x);
  if constexpr (K == selu)  // gamma · (x, or alpha · (e^x - 1))
    return beta * L::select(x < zero, alpha * expm1_below_0<L>(x), x);
  if constexpr (K == celu) return L::select(x < zero, alpha * expm1_below_0<L>(x / alpha), x);
  if constexpr (K == softplus) return elementary::softplus<L>(x);
  if constexpr (K == erf) return elementary::erf<L>(x);
  if constexpr (K == exp) return elementary::exp<L>(x);
  if constexpr (K == log) return elementary::log<L>(x);
  if constexpr (K == sin) return L::each(x, [](float v) { return elementary::sin<L>(v); });
  if constexpr (K == cos) return L::each(x, [](float v) { return elementary::cos<L>(v); });
}

template <unary_kind K>
inline constexpr bool is_transcendental =
    K == unary_kind::sigmoid || K == unary_kind::silu || K == unary_kind::mish ||
    K == unary_kind::gelu || K == unary_kind::gelu_tanh || K == unary_kind::tanh ||
    K == unary_kind::elu || K == unary_kind::selu || K == unary_kind::celu ||
    K == unary_kind::softplus || K == unary_kind::erf || K == unary_kind::exp ||
    K == unary_kind::log || K == unary_kind::sin || K == unary_kind::cos;

template <unary_kind K, class L>
inline real_of<L> unary(real_of<L> x, real_of<L> alpha, real_of<L> beta) {
  if constexpr (is_transcendental<K>)
    return transcendental<K, L>(x, alpha, beta);
  else
    return simple_unary<K, L>(x, alpha, beta);
}

/// Kinds → 1.0 or 0.0 for the comparisons and logical ones.
template <binary_kind K, class L>
inline real_of<L> binary(real_of<L> a, real_of<L> b) {
  using enum binary_kind;
  const auto zero = L::constant(0.0f), one = L::constant(1.0f);
  if constexpr (K == add) return a + b;
  if constexpr (K == sub) return a - b;
  if constexpr (K == mul) return a * b;
  if constexpr (K == div) return a / b;
  if constexpr (K == min) return elementary::min<L>(a, b);
  if constexpr (K == max) return elementary::max<L>(a, b);
  if constexpr (K == prelu) return L::select(a < zero, a * b, a);
  if constexpr (K == pow)
    return L::each(a, b, [](float x, float y) { return elementary::pow<L>(x, y); });
  if constexpr (K == mod)
    return L::each(a, b, [](float x, float y) { return elementary::mod<L>(x, y); });
  if constexpr (K == fmod)
    return L::each(a, b, [](float x, float y) { return elementary::fmod<L>(x, y); });
  if constexpr (K == equal) return L::select(a == b, one, zero);
  if constexpr (K == greater) return L::select(a > b, one, zero);
  if constexpr (K == greater_equal) return L::select(a >= b, one, zero);
  if constexpr (K == less) return L::select(a < b, one, zero);
  if constexpr (K == less_equal) return L::select(a <= b, one, zero);
  if constexpr (K == logical_and) return L::select(L::either(a == zero, b == zero), zero, one);
  if constexpr (K == logical_or) return L::select(L::both(a == zero, b == zero), zero, one);
  if constexpr (K == logical_xor) {
    const auto x = L::select(a == zero, zero, one), y = L::select(b == zero, zero, one);
    return L::select(x == y, zero, one);
  }
}

/// Calls f.template operator()<kind>() with the run-time kind as a constant.
template <class F>
constexpr auto with_kind(unary_kind kind, F&& f) {
  using enum unary_kind;
#define PTQ_CASE(name) \
  case name:           \
    return f.template operator()<name>()
  switch (kind) {
    PTQ_CASE(relu);
    PTQ_CASE(clip);
    PTQ_CASE(leaky_relu);
    PTQ_CASE(thresholded_relu);
    PTQ_CASE(sigmoid);
    PTQ_CASE(hard_sigmoid);
    PTQ_CASE(hard_swish);
    PTQ_CASE(silu);
    PTQ_CASE(mish);
    PTQ_CASE(gelu);
    PTQ_CASE(gelu_tanh);
    PTQ_CASE(tanh);
    PTQ_CASE(elu);
    PTQ_CASE(selu);
    PTQ_CASE(celu);
    PTQ_CASE(softplus);
    PTQ_CASE(softsign);
    PTQ_CASE(erf);
    PTQ_CASE(exp);
    PTQ_CASE(log);
    PTQ_CASE(sqrt);
    PTQ_CASE(reciprocal);
    PTQ_CASE(neg);
    PTQ_CASE(abs);
    PTQ_CASE(floor);
    PTQ_CASE(ceil);
    PTQ_CASE(round);
    PTQ_CASE(sign);
    PTQ_CASE(sin);
    PTQ_CASE(cos);
    PTQ_CASE(logical_not);
    PTQ_CASE(is_nan);
  }
  return f.template operator()<relu>();
}

template <class F>
constexpr auto with_kind(binary_kind kind, F&& f) {
  using enum binary_kind;
  switch (kind) {
    PTQ_CASE(add);
    PTQ_CASE(sub);
    PTQ_CASE(mul);
    PTQ_CASE(div);
    PTQ_CASE(pow);
    PTQ_CASE(min);
    PTQ_CASE(max);
    PTQ_CASE(mod);
    PTQ_CASE(fmod);
    PTQ_CASE(prelu);
    PTQ_CASE(equal);
    PTQ_CASE(greater);
    PTQ_CASE(greater_equal);
    PTQ_CASE(less);
    PTQ_CASE(less_equal);
    PTQ_CASE(logical_and);
    PTQ_CASE(logical_or);
    PTQ_CASE(logical_xor);
  }
#undef PTQ_CASE
  return f.template operator()<add>();
}

}  // namespace elementary

/// The real function of a unary node at x.
///
/// alpha, beta  as unary_kind states them
/// exact        the bits of every kernel, on every ISA
inline float unary_value(unary_kind kind, float alpha, float beta, float x) {
  return elementary::with_kind(
      kind, [&]<unary_kind K>() { return elementary::unary<K, scalar_lane>(x, alpha, beta); });
}

/// a ∘ b; comparisons and logical kinds give 1 or 0. min and max are NaN where a or b is.
inline float binary_value(binary_kind kind, float a, float b) {
  return elementary::with_kind(
      kind, [&]<binary_kind K>() { return elementary::binary<K, scalar_lane>(a, b); });
}

}  // namespace ptq
