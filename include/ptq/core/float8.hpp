#pragma once
// SPDX-License-Identifier: Apache-2.0
// The two FP8 formats of ONNX: sign, exponent, mantissa in a byte.
//
//   e4m3 (FLOAT8E4M3FN)  bias 7, largest 448, no infinity, NaN at S.1111.111
//   e5m2 (FLOAT8E5M2)    bias 15, largest 57344, infinity and NaN as IEEE 754
//
// Rounding is to nearest, ties to even; what is beyond the largest number becomes the largest
// (ONNX's saturate = 1). Source: Micikevicius et al. 2022, FP8 formats for deep learning.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include <ptq/core/dtype.hpp>
#include <ptq/core/numeric.hpp>

namespace ptq {

constexpr bool is_float8(dtype t) { return t == dtype::f8e4m3 || t == dtype::f8e5m2; }

/// Bits of mantissa, the bias of the exponent, the largest finite number.
struct float8_format {
  int mantissa, bias;
  float largest;
};
constexpr float8_format format_of_float8(dtype t) {
  return t == dtype::f8e4m3 ? float8_format{3, 7, 448.0f} : float8_format{2, 15, 57344.0f};
}

/// The number that a byte stands for.
inline float float8_value(std::uint8_t byte, dtype t) {
  const auto f = format_of_float8(t);
  const int exponent = (byte & 127) >> f.mantissa, fraction = byte & ((1 << f.mantissa) - 1);
  const float sign = byte & 128 ? -1.0f : 1.0f;
  if (t == dtype::f8e4m3 && (byte & 127) == 127) return std::numeric_limits<float>::quiet_NaN();
  if (t == dtype::f8e5m2 && exponent == 31)
    return fraction ? std::numeric_limits<float>::quiet_NaN()
                    : sign * std::numeric_limits<float>::infinity();
  const int whole = exponent ? fraction + (1 << f.mantissa) : fraction;
  return sign * std::ldexp(static_cast<float>(whole), std::max(exponent, 1) - f.bias - f.mantissa);
}

/// The byte of the nearest number, ties to even; saturates, infinities too; NaN stays NaN.
inline std::uint8_t float8_code(float x, dtype t) {
  const auto f = format_of_float8(t);
  const auto sign = static_cast<std::uint8_t>(std::signbit(x) ? 128 : 0);
  if (std::isnan(x)) return sign | 127;
  const float a = std::min(std::fabs(x), f.largest);
  const int smallest = 1 - f.bias;
  int exponent = smallest;
  if (a >= std::ldexp(1.0f, smallest)) exponent = std::ilogb(a);
  // In units of the last place, a power of two: the quotient is exact.
  const float units = round_half_even(std::ldexp(a, f.mantissa - exponent));
  // Rounding up to the next power of two carries into the exponent by itself.
  const auto rounded = static_cast<int>(units);
  return static_cast<std::uint8_t>(sign | (rounded + ((exponent - smallest) << f.mantissa)));
}

/// x rounded to the FP8 numbers times scale; the division is a true one.
inline float rounded_to_float8(float x, float scale, dtype t) {
  return float8_value(float8_code(x / scale, t), t) * scale;
}

}  // namespace ptq
