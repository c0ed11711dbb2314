#pragma once
// SPDX-License-Identifier: Apache-2.0
// Rounding, quantizing and requantizing, defined once. Every kernel on every ISA repeats these formulas bit for bit;
// nothing else in the library rounds.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include <ptq/core/dtype.hpp>
#include <ptq/core/qparams.hpp>

#ifdef __FAST_MATH__
#error "ptq: results are specified to the bit; compile without -ffast-math"
#endif

namespace ptq {

/// Nearest integer, ties to even, independent of the rounding mode.
///
/// exact   for |x| < 2^22 by adding and subtracting 1.5 · 2^23; larger values of float are integers or halves and take
///         std::nearbyint's path
inline float round_half_even(float x) {
  const float t = std::trunc(x);
  const float diff = x - t;  // exact: t and x share a binade or t is 0
  if (diff == 0.5f || diff == -0.5f) return t + (std::fmod(t, 2.0f) != 0.0f ? 2.0f * diff : 0.0f);
  if (diff > 0.5f) return t + 1.0f;
  if (diff < -0.5f) return t - 1.0f;
  return t;
}

/// Real → code: saturate(round_half_even(x / scale) + zero_point), the division a true one (ONNX QuantizeLinear).
/// NaN maps to the lowest code.
inline std::int32_t quantize_value(float x, float scale, std::int32_t zero_point, std::int32_t lo,
                                   std::int32_t hi) {
  const float low = static_cast<float>(lo - zero_point);
  const float high = static_cast<float>(hi - zero_point);
  const float q = x / scale;
  if (!(q > low)) return lo;
  if (q >= high) return hi;
  return static_cast<std::int32_t>(round_half_even(q)) + zero_point;
}

inline float dequantize_value(std::int32_t q, float scale, std::int32_t zero_point) {
  return scale * static_cast<float>(q - zero_point);
}

/// Accumulator → code: clamp(round_half_even(float(acc) · multiplier), lo − z, hi − z) + z.
/// Clamping the product first (its bounds are integers) gives the same code and keeps the conversion in range.
inline std::int32_t requantize_value(std::int32_t acc, float multiplier, std::int32_t zero_point,
                                     std::int32_t lo, std::int32_t hi) {
  const float p = static_cast<float>(acc) * multiplier;
  const float c = std::min(std::max(p, static_cast<float>(lo - zero_point)),
                           static_cast<float>(hi - zero_point));
  return static_cast<std::int32_t>(round_half_even(c)) + zero_point;
}

/// A multiplier rounded to 15 significant bits: its product with a 9-bit code difference is exact in float, so a sum of
/// two such products is rounded once, with or without a fused multiply-add.
inline float short_multiplier(float m) {
  auto bits = std::bit_cast<std::uint32_t>(m);
  constexpr std::uint32_t dropped = 24 - 15;
  const std::uint32_t half = (1u << (dropped - 1)) - 1 + ((bits >> dropped) & 1u);
  return std::bit_cast<float>((bits + half) & ~((1u << dropped) - 1));
}

/// Two codes → one: clamp(round_half_even((a − za) · ma + (b − zb) · mb), lo − z, hi − z) + z, with ma and mb already
/// passed through short_multiplier.
inline std::int32_t add_value(std::int32_t a, std::int32_t za, float ma, std::int32_t b,
                              std::int32_t zb, float mb, std::int32_t zero_point, std::int32_t lo,
                              std::int32_t hi) {
  const float pa = static_cast<float>(a - za) * ma;
  const float pb = static_cast<float>(b - zb) * mb;
  const float c = std::min(std::max(pa + pb, static_cast<float>(lo - zero_point)),
                           static_cast<float>(hi - zero_point));
  return static_cast<std::int32_t>(round_half_even(c)) + zero_point;
}

/// fused a·b + c with one rounding on every ISA: the definition of a float step's accumulation.
inline float fused_multiply_add(float a, float b, float c) { return std::fma(a, b, c); }

}  // namespace ptq
