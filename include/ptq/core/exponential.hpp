#pragma once
// SPDX-License-Identifier: Apache-2.0
// exp, log and what is made of them, our own: the same bits for one float and for registers of any
// ISA, at any flags. No libm. Templates on a lane (lane.hpp states its rules). Which NaN comes out
// of a NaN is unspecified, that one does is not.
//
// Accuracy against the exact value, in ulp of the result (the tests sample all floats): exp 1.1,
// log 1, tanh 2, erf 1.5, sigmoid, log1p_of, expm1_below_0 3, mish and silu 4. Reductions and
// polynomials: exp, log and tanh after Cephes (S. Moshier), erf after N. Juffa.

#include <cstddef>
#include <cstdint>
#include <limits>

#include <ptq/core/lane.hpp>

namespace ptq::elementary {

template <class L>
using real_of = typename L::real;

/// c[0] + x·(c[1] + x·(…)), fused
template <class L, std::size_t N>
inline real_of<L> polynomial(real_of<L> x, const float (&c)[N]) {
  real_of<L> y = L::constant(c[N - 1]);
  for (std::size_t i = N - 1; i-- > 0;) y = L::fma(y, x, L::constant(c[i]));
  return y;
}

template <class L>
inline real_of<L> abs(real_of<L> x) {
  return L::from_bits(L::bits(x) & L::constant_whole(0x7fffffff));
}
/// |x| with the sign of s
template <class L>
inline real_of<L> copysign(real_of<L> x, real_of<L> s) {
  return L::from_bits((L::bits(x) & L::constant_whole(0x7fffffff)) |
                      (L::bits(s) & L::constant_whole(INT32_MIN)));
}
/// The larger and smaller, NaN where either is NaN; of two zeros the second.
template <class L>
inline real_of<L> max(real_of<L> a, real_of<L> b) {
  return L::select(L::unordered(a), a, L::greater(a, b));
}
template <class L>
inline real_of<L> min(real_of<L> a, real_of<L> b) {
  return L::select(L::unordered(a), a, L::lesser(a, b));
}
/// min(high, max(low, x)); NaN stays NaN
template <class L>
inline real_of<L> clamp(real_of<L> x, real_of<L> low, real_of<L> high) {
  return L::lesser(high, L::greater(low, x));
}

template <class L>
inline real_of<L> floor(real_of<L> x) {
  const auto r = L::round(x), one = L::constant(1.0f);
  return copysign<L>(L::select(r > x, r - one, r), x);
}
template <class L>
inline real_of<L> ceil(real_of<L> x) {
  const auto r = L::round(x), one = L::constant(1.0f);
  return copysign<L>(L::select(r < x, r + one, r), x);
}

/// x · 2^n for n in [-252, 254], rounded once: two steps, of which at most the second is inexact
/// for 1/2 <= |x| < 2.
template <class L>
inline real_of<L> scale_by_power_of_2(real_of<L> x, typename L::whole n) {
  const auto half = L::shift_right_1(n), rest = n - half, bias = L::constant_whole(127);
  return x * L::from_bits(L::shift_left_23(half + bias)) *
         L::from_bits(L::shift_left_23(rest + bias));
}

/// e^x: x = n·ln 2 + r, |r| <= ln(2)/2. Overflows to inf above 88.72, gradually to 0 below -87.3.
template <class L>
inline real_of<L> exp(real_of<L> x) {
  // Beyond these the result is inf or 0 whatever x; within, n stays in [-151, 130].
  const auto c = clamp<L>(x, L::constant(-105.0f), L::constant(90.0f));
  const auto n = L::round(c * L::constant(1.44269504f));
  auto r = L::fma(n, L::constant(-0.693359375f), c);  // ln 2 in two parts, the first exact times n
  r = L::fma(n, L::constant(2.12194440e-4f), r);
  constexpr float coefficients[] = {5.0000001201e-1f, 1.6666665459e-1f, 4.1665795894e-2f,
                                    8.3334519073e-3f, 1.3981999507e-3f, 1.9875691500e-4f};
  const auto p = L::fma(polynomial<L>(r, coefficients), r * r, r) + L::constant(1.0f);
  return L::select(L::unordered(x), x, scale_by_power_of_2<L>(p, L::to_whole(n)));
}

/// Natural logarithm: x = m · 2^e with m in [sqrt(1/2), sqrt(2)). log(±0) = -inf, log(inf) = inf,
/// NaN below 0.
template <class L>
inline real_of<L> log(real_of<L> x) {
  const auto one = L::constant(1.0f), zero = L::constant(0.0f);
  const auto tiny = x < L::constant(1.17549435e-38f);  // smallest normal
  const auto b = L::bits(L::select(tiny, x * L::constant(8388608.0f), x));
  // Exponent of b / sqrt(1/2), so that the mantissa lands in [sqrt(1/2), sqrt(2)).
  // Without its sign: numbers below 0 become NaN at the end, and no difference may overflow.
  const auto above = (b & L::constant_whole(0x7fffffff)) - L::constant_whole(0x3f3504f3);
  const auto e = L::to_real(L::shift_right_23(above)) - L::select(tiny, L::constant(23.0f), zero);
  const auto m =
      L::from_bits((above & L::constant_whole(0x007fffff)) + L::constant_whole(0x3f3504f3));
  const auto f = m - one, z = f * f;
  constexpr float coefficients[] = {3.3333331174e-1f,  -2.4999993993e-1f, 2.0000714765e-1f,
                                    -1.6668057665e-1f, 1.4249322787e-1f,  -1.2420140846e-1f,
                                    1.1676998740e-1f,  -1.1514610310e-1f, 7.0376836292e-2f};
  auto y = polynomial<L>(f, coefficients) * f * z;
  y = L::fma(e, L::constant(-2.12194440e-4f), y);
  y = L::fma(z, L::constant(-0.5f), y);
  y = L::fma(e, L::constant(0.693359375f), f + y);
  const float inf = std::numeric_limits<float>::infinity();
  y = L::select(x == L::constant(inf), x, y);
  y = L::select(x == zero, L::constant(-inf), y);
  return L::select(x >= zero, y, L::constant(std::numeric_limits<float>::quiet_NaN()));
}

/// log(1 + x) for x in [0, 1]: log(u) corrected by what u = 1 + x lost
template <class L>
inline real_of<L> log1p_of(real_of<L> x) {
  const auto one = L::constant(1.0f), u = one + x;
  return log<L>(u) + (x - (u - one)) / u;
}

template <class L>
inline real_of<L> tanh(real_of<L> x) {
  const auto a = abs<L>(x), z = x * x, one = L::constant(1.0f);
  constexpr float coefficients[] = {-3.33332819422e-1f, 1.33314422036e-1f, -5.37397155531e-2f,
                                    2.06390887954e-2f, -5.70498872745e-3f};
  const auto small = L::fma(polynomial<L>(z, coefficients), z * x, x);
  const auto large = one - L::constant(2.0f) / (exp<L>(a + a) + one);
  return L::select(a < L::constant(0.625f), small, copysign<L>(large, x));
}

/// erf: x + x·P(x²) up to 475/512, 1 - e^-P(|x|) beyond
template <class L>
inline real_of<L> erf(real_of<L> x) {
  const auto t = abs<L>(x), s = x * x;
  constexpr float near[] = {1.28379166e-1f,  -3.76125336e-1f, 1.12819925e-1f,
                            -2.67681349e-2f, 4.99119423e-3f,  -5.96761703e-4f};
  const auto small = L::fma(polynomial<L>(s, near), x, x);
  // 1 - erf(4) < 2^-25: beyond it the result is 1, and the polynomial would lose its way
  const auto tc = L::lesser(L::constant(4.0f), t), sc = tc * tc;
  const auto high = L::fma(L::constant(-1.72853470e-5f), tc, L::constant(3.83197126e-4f));
  const auto low = L::fma(L::constant(-3.88396438e-3f), tc, L::constant(2.42546219e-2f));
  auto r = L::fma(high, sc, low);
  r = L::fma(r, tc, L::constant(-1.06777877e-1f));
  r = L::fma(r, tc, L::constant(-6.34846687e-1f));
  r = L::fma(r, tc, L::constant(-1.28717512e-1f));
  r = L::fma(r, tc, L::constant(0.0f) - tc);
  const auto large = L::constant(1.0f) - exp<L>(r);
  return L::select(t > L::constant(0.927734375f), copysign<L>(large, x), small);
}

/// 1 / (1 + e^-x), from e^-|x| so that neither tail overflows
template <class L>
inline real_of<L> sigmoid(real_of<L> x) {
  const auto e = exp<L>(L::constant(0.0f) - abs<L>(x));
  const auto s = L::constant(1.0f) / (L::constant(1.0f) + e);
  return L::select(x < L::constant(0.0f), e * s, s);
}

/// log(1 + e^x)
template <class L>
inline real_of<L> softplus(real_of<L> x) {
  return L::greater(L::constant(0.0f), x) + log1p_of<L>(exp<L>(L::constant(0.0f) - abs<L>(x)));
}

/// x · sigmoid(x)
template <class L>
inline real_of<L> silu(real_of<L> x) {
  const auto c = L::greater(L::constant(-110.0f), x);  // -inf · 0 would be NaN; e^-110 is 0 already
  return c * sigmoid<L>(c);
}

/// x · tanh(softplus(x)) = x · n / (n + 2), n = e^x · (e^x + 2); the quotient is 1 from e^20 on
template <class L>
inline real_of<L> mish(real_of<L> x) {
  const auto c = L::greater(L::constant(-110.0f), x);
  const auto e = exp<L>(L::lesser(L::constant(20.0f), c));
  const auto n = L::fma(e, e, e + e);
  return c * (n / (n + L::constant(2.0f)));
}

/// x · Φ(x) by erf; absolute error below |x| · 2^-22
template <class L>
inline real_of<L> gelu(real_of<L> x) {
  const auto c = L::greater(L::constant(-16.0f), x);  // Φ is 0 there
  const auto h = c * L::constant(0.5f);
  return L::fma(h, erf<L>(c * L::constant(0.70710678f)), h);
}

/// 0.5 · x · (1 + tanh(sqrt(2/pi) · (x + 0.044715 · x³))); absolute error below |x| · 2^-21
template <class L>
inline real_of<L> gelu_tanh(real_of<L> x) {
  const auto c = clamp<L>(x, L::constant(-16.0f), L::constant(16.0f));  // tanh is ±1 there
  const auto h = L::greater(L::constant(-16.0f), x) * L::constant(0.5f);
  const auto inner = L::fma(c * c * c, L::constant(0.044715f), c);
  return L::fma(h, tanh<L>(inner * L::constant(0.797884561f)), h);
}

/// e^x - 1 for x <= 0: near 0 from tanh, e^x - 1 = 2t / (1 - t) with t = tanh(x / 2)
template <class L>
inline real_of<L> expm1_below_0(real_of<L> x) {
  const auto one = L::constant(1.0f), t = tanh<L>(x * L::constant(0.5f));
  return L::select(x > L::constant(-1.0f), (t + t) / (one - t), exp<L>(x) - one);
}

}  // namespace ptq::elementary
