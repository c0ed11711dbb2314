#pragma once
// SPDX-License-Identifier: Apache-2.0
// Rounding, quantizing and requantizing, defined once. Every kernel on every ISA repeats these
// formulas bit for bit; nothing else in the library rounds.

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

/// Nearest integer, ties to even, independent of the rounding mode; ±0.3 → ±0, infinities and NaN
/// stay.
///
/// exact   for all floats: integers only, so that no compiler can fuse a product that is passed in
/// with an addition Tag        keeps instances apart that are compiled with different flags;
/// callers leave it out
template <class Tag = void>
inline float round_half_even(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t exponent = (bits >> 23) & 255u;
  if (exponent >= 127 + 23) return x;  // no fraction bits
  const std::uint32_t sign = bits & 0x80000000u;
  if (exponent < 127) {  // |x| < 1
    const bool up = (bits & 0x7fffffffu) > 0x3f000000u;
    return std::bit_cast<float>(up ? sign | 0x3f800000u : sign);
  }
  const std::uint32_t fraction = 127 + 23 - exponent;  // how many bits lie behind the point, 1 … 23
  const std::uint32_t odd = (bits >> fraction) & 1u;  // of 1.x: the exponent 127 is odd as well
  const std::uint32_t rounded = bits + (1u << (fraction - 1)) - 1u + odd;  // may carry on purpose
  return std::bit_cast<float>(rounded & ~((1u << fraction) - 1u));
}

/// Real → code: saturate(round_half_even(x / scale) + zero_point), the division a true one (ONNX
/// QuantizeLinear). NaN maps to the lowest code.
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
/// Clamping the product first (its bounds are integers) gives the same code and keeps the
/// conversion in range.
inline std::int32_t requantize_value(std::int32_t acc, float multiplier, std::int32_t zero_point,
                                     std::int32_t lo, std::int32_t hi) {
  const float p = static_cast<float>(acc) * multiplier;
  const float c = std::min(std::max(p, static_cast<float>(lo - zero_point)),
                           static_cast<float>(hi - zero_point));
  return static_cast<std::int32_t>(round_half_even(c)) + zero_point;
}

/// A sum of 16-bit products → code: clamp(round_half_even(acc · multiplier), lo − z, hi − z) + z in
/// double, where |acc| < 2^53 is exact. Clamped first, like requantize_value: what is split into
/// whole and fraction is small.
inline std::int32_t requantize_wide(std::int64_t acc, double multiplier, std::int32_t zero_point,
                                    std::int32_t lo, std::int32_t hi) {
  const double p = static_cast<double>(acc) * multiplier;
  const double c = std::min(std::max(p, static_cast<double>(lo - zero_point)),
                            static_cast<double>(hi - zero_point));
  const double low = std::floor(c), part = c - low;
  const auto whole = static_cast<std::int32_t>(low);
  const bool up = part > 0.5 || (part == 0.5 && whole % 2 != 0);
  return whole + (up ? 1 : 0) + zero_point;
}

/// fused a·b + c with one rounding on every ISA: the definition of a float step's accumulation.
inline float fused_multiply_add(float a, float b, float c) { return std::fma(a, b, c); }

/// How the codes of two addends become the code of their sum.
struct add_rule {
  float first = 1, second = 1;     // scale of each addend / scale of the sum
  float constant = 0;              // what the zero points come to
  std::int32_t low = 0, high = 255;
};

/// The rule for a sum of codes; subtraction is a negative scale.
///
///   first = s_a / s_y,  second = s_b / s_y,  constant = z_y − (first · z_a + second · z_b)
///
/// exact    each operation is rounded to float on its own, whatever the compiler contracts
/// source   the arithmetic of ONNX Runtime's QLinearAdd on x86, so that both give the same codes
inline add_rule add_rule_of(float a_scale, std::int32_t a_zero_point, float b_scale,
                            std::int32_t b_zero_point, float scale, std::int32_t zero_point) {
  add_rule r{.first = a_scale / scale, .second = b_scale / scale};
  // Through double: a product of two floats is exact there, so nothing is left to contract.
  const auto product = [](float m, std::int32_t z) {
    return static_cast<float>(static_cast<double>(m) * z);
  };
  const double zeros = static_cast<double>(product(r.first, a_zero_point)) +
                       static_cast<double>(product(r.second, b_zero_point));
  r.constant = static_cast<float>(static_cast<double>(zero_point) -
                                  static_cast<double>(static_cast<float>(zeros)));
  return r;
}

/// Two codes → the code of their sum: round_half_even(clamp(a · first + (b · second + constant))),
/// each step a fused multiply-add.
inline std::int32_t add_value(std::int32_t a, std::int32_t b, const add_rule& r) {
  const float inner = fused_multiply_add(static_cast<float>(b), r.second, r.constant);
  const float sum = fused_multiply_add(static_cast<float>(a), r.first, inner);
  const float c =
      std::min(std::max(sum, static_cast<float>(r.low)), static_cast<float>(r.high));
  return static_cast<std::int32_t>(round_half_even(c));
}

}  // namespace ptq
