#pragma once
// SPDX-License-Identifier: Apache-2.0
// sin, cos, pow and fmod of one float, computed in double or in integers and rounded to float at
// the end: below 0.51 ulp, and the same bits everywhere. Products are added by std::fma only
// (lane.hpp says why). `L` is the lane on whose behalf they run; it keeps instances that are
// compiled with different flags apart.

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace ptq::elementary {

/// c[0] + x·(c[1] + …)
template <class L, std::size_t N>
inline double polynomial(double x, const double (&c)[N]) {
  double y = c[N - 1];
  for (std::size_t i = N - 1; i-- > 0;) y = std::fma(y, x, c[i]);
  return y;
}

/// x ↦ r in [-pi/4, pi/4] and the quadrant (mod 4), x = quadrant · pi/2 + r up to multiples of
/// 2·pi.
///
/// Payne–Hanek: |x| · 2/pi in fixed point from the 96 bits of 2/pi that matter for this exponent.
template <class L>
inline double reduce_angle(float x, std::uint32_t& quadrant) {
  quadrant = 0;
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if ((bits & 0x7fffffffu) < 0x3f490fdau) return static_cast<double>(x);  // |x| < pi/4
  constexpr std::uint32_t two_over_pi[] = {0x28be60dbu, 0x9391054au, 0x7f09d5f4u, 0x7d4d3770u,
                                           0x36d8a566u, 0x4f10e410u, 0x7f9458eau};
  const std::uint32_t mantissa = ((bits & 0x7fffffu) << 8) | 0x80000000u;
  const std::uint32_t e = ((bits >> 23) & 255u) - 126u, word = e >> 5, shift = e & 31u;
  std::uint32_t high = word ? two_over_pi[word - 1] : 0u, mid = two_over_pi[word],
                low = two_over_pi[word + 1];
  if (shift) {
    high = (high << shift) | (mid >> (32 - shift));
    mid = (mid << shift) | (low >> (32 - shift));
    low = (low << shift) | (two_over_pi[word + 2] >> (32 - shift));
  }
  std::uint64_t p = std::uint64_t{mantissa} * low >> 32;
  p += std::uint64_t{mantissa} * mid;
  p += std::uint64_t{mantissa * high} << 32;  // 2.62 fixed point, whole turns dropped
  auto q = static_cast<std::uint32_t>(p >> 62);
  p <<= 2;           // fraction of a quadrant, 0.64
  if (p >> 63) ++q;  // as a signed number: in [-1/2, 1/2)
  const double r = static_cast<double>(static_cast<std::int64_t>(p)) * 0x1.921fb54442d18p-64;
  const bool negative = bits >> 31;
  quadrant = negative ? 0u - q : q;
  return negative ? -r : r;
}

/// sin(r) if `quadrant` is even, cos(r) if odd, negated in the upper half: |r| <= pi/4, Taylor to
/// below 2^-50
template <class L>
inline float sine_of_quadrant(double r, std::uint32_t quadrant) {
  constexpr double sine[] = {
      1.0,          -1.0 / 6,        1.0 / 120,          -1.0 / 5040,
      1.0 / 362880, -1.0 / 39916800, 1.0 / 6227020800.0, -1.0 / 1307674368000.0};
  constexpr double cosine[] = {
      1.0,         -1.0 / 2,       1.0 / 24,          -1.0 / 720,
      1.0 / 40320, -1.0 / 3628800, 1.0 / 479001600.0, -1.0 / 87178291200.0};
  const double z = r * r;
  const double y = quadrant & 1u ? polynomial<L>(z, cosine) : polynomial<L>(z, sine) * r;
  return static_cast<float>(quadrant & 2u ? -y : y);
}

template <class L>
inline float sin(float x) {
  if (!(x - x == 0.0f)) return std::numeric_limits<float>::quiet_NaN();  // inf, NaN
  if (x == 0.0f) return x;
  std::uint32_t quadrant = 0;
  const double r = reduce_angle<L>(x, quadrant);
  return sine_of_quadrant<L>(r, quadrant);
}
template <class L>
inline float cos(float x) {
  if (!(x - x == 0.0f)) return std::numeric_limits<float>::quiet_NaN();
  std::uint32_t quadrant = 0;
  const double r = reduce_angle<L>(x, quadrant);
  return sine_of_quadrant<L>(r, quadrant + 1);
}

/// log2 of a positive finite double, error below 2^-46 relative: atanh series of f = (m - 1) / (m +
/// 1), |f| < 0.1716
template <class L>
inline double log2_of(double x) {
  const auto above = std::bit_cast<std::int64_t>(x) - 0x3fe6a09e667f3bcd;  // sqrt(1/2)
  const auto e = static_cast<double>(above >> 52);
  const double m = std::bit_cast<double>((above & 0x000fffffffffffff) + 0x3fe6a09e667f3bcd);
  const double f = (m - 1) / (m + 1), z = f * f;
  constexpr double series[] = {1.0 / 3,  1.0 / 5,  1.0 / 7,  1.0 / 9,  1.0 / 11,
                               1.0 / 13, 1.0 / 15, 1.0 / 17, 1.0 / 19, 1.0 / 21};
  const double ln = std::fma(polynomial<L>(z, series), z * f, f);  // half of log(m)
  return std::fma(ln, 2.8853900817779268, e);                      // 2 / log(2)
}

/// 2^t rounded to float; t in [-1000, 1000]
template <class L>
inline float exp2_of(double whole, double rest) {
  constexpr double taylor[] = {1.0,
                               1.0,
                               1.0 / 2,
                               1.0 / 6,
                               1.0 / 24,
                               1.0 / 120,
                               1.0 / 720,
                               1.0 / 5040,
                               1.0 / 40320,
                               1.0 / 362880,
                               1.0 / 3628800,
                               1.0 / 39916800,
                               1.0 / 479001600.0,
                               1.0 / 6227020800.0,
                               1.0 / 87178291200.0};
  const double p = polynomial<L>(rest * 0.6931471805599453, taylor);
  const auto power = std::bit_cast<double>((static_cast<std::int64_t>(whole) + 1023) << 52);
  return static_cast<float>(p * power);
}

/// x^y with the special cases of IEEE 754: x^0 = 1^y = 1, a negative x with a fractional y gives
/// NaN.
template <class L>
inline float pow(float x, float y) {
  constexpr float inf = std::numeric_limits<float>::infinity();
  if (y == 0.0f || x == 1.0f) return 1.0f;
  if (x != x || y != y) return std::numeric_limits<float>::quiet_NaN();
  const float ay = y < 0 ? -y : y, ax = x < 0 ? -x : x;
  const bool integral = ay >= 8388608.0f || static_cast<float>(static_cast<std::int32_t>(ay)) == ay;
  const bool odd = integral && ay < 16777216.0f && (static_cast<std::int32_t>(ay) & 1);
  const bool negative = odd && std::bit_cast<std::int32_t>(x) < 0;
  float r = 0;
  if (ay == inf) {
    r = ax == 1.0f ? 1.0f : ((ax > 1.0f) == (y > 0) ? inf : 0.0f);
  } else if (ax == 0.0f || ax == inf) {
    r = (ax == 0.0f) == (y > 0) ? 0.0f : inf;
  } else if (x < 0 && !integral) {
    return std::numeric_limits<float>::quiet_NaN();
  } else {
    const double log2x = log2_of<L>(static_cast<double>(ax)), yd = static_cast<double>(y);
    const double t = yd * log2x;
    if (t >= 300) {
      r = inf;
    } else if (t > -300) {
      const auto whole = static_cast<double>(static_cast<std::int32_t>(t));
      r = exp2_of<L>(whole, std::fma(yd, log2x, -whole));
    }
  }
  return negative ? -r : r;
}

/// x - trunc(x / y) · y: exact, so that any correct fmod has these bits
template <class L>
inline float fmod(float x, float y) {
  return std::fmod(x, y);
}
/// x - floor(x / y) · y: the remainder has the sign of y
template <class L>
inline float mod(float x, float y) {
  const float r = std::fmod(x, y);
  return r != 0.0f && (r < 0.0f) != (y < 0.0f) ? r + y : r;
}

}  // namespace ptq::elementary
