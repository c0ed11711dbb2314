#pragma once
// SPDX-License-Identifier: Apache-2.0
// Ranges → scales and zero points: NNCF's formulas, with degenerate data defined. Zero is always a
// code, a range grows and never shrinks, a scale is always positive and finite.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <ptq/core/error.hpp>
#include <ptq/core/float8.hpp>
#include <ptq/core/kinds.hpp>
#include <ptq/core/qparams.hpp>
#include <ptq/core/value_range.hpp>
#include <ptq/quantize/scheme.hpp>

namespace ptq::quantization {

/// Range of a value that is always 0: NNCF's least range. Any scale would do for the value itself,
/// but the scale of a following bias is a multiple of it, and must resolve the bias.
inline constexpr float least_range = 8e-5f;

/// Least scale: the products of two such scales, and of their inverses, stay normal numbers of
/// float.
inline constexpr float least_scale = 0x1p-60f;

/// Real 0 must be a code, and the producer's clamp bounds what can occur.
inline value_range widened(value_range r, const clamp& act) {
  r.min = std::min(std::max(r.min, act.low), act.high);
  r.max = std::min(std::max(r.max, act.low), act.high);
  return {std::min(r.min, 0.0f), std::max(r.max, 0.0f)};
}

/// The codes that activations may take.
struct activation_grid {
  int bits = 8;
  bool symmetric = true;
  signedness sign = signedness::automatic;
  std::optional<dtype> type = {};  // FP8: the rest has no meaning

  std::int32_t top() const { return (1 << bits) - 1; }
};

/// Range → code of an activation; with 8 bits:
///
///   symmetric, min >= 0   scale = max / 255,                 zero_point 0
///   symmetric             scale = max(|min|, max) / 127,     zero_point 128: −128 … 127 steps
///   asymmetric            scale = max(-low / zero_point, high / (255 - zero_point)), zero_point
///   the one that makes it
///                         smallest: (high - low) / 255 but for putting 0 on the grid
///
/// r       real units, finite, min <= max; widened to contain 0
/// act     the producer's clamp. Where the codes would reach beyond a bound that they just cover,
/// the scale is rounded
///         down, so that the clamp is seen to be redundant: 255 · scale <= act.high in float
/// returns type u8, one scale
/// throws  calibration_error naming the value if min > max or a bound is not finite
/// exact   0 maps to zero_point and back without error
/// source  NNCF 3.x, quantizer parameters from statistics; Jacob et al. 2018. NNCF rounds the zero
/// point and then moves
///         one bound to fit, which can widen a range by half where one side is a step or two; the
///         best of both neighbours never adds more than 1/127
inline qparams activation_params(value_range r, const activation_grid& grid, const clamp& act,
                                 const std::string& value);
inline qparams activation_params(value_range r, bool symmetric, const clamp& act,
                                 const std::string& value) {
  return activation_params(r, activation_grid{.symmetric = symmetric}, act, value);
}

/// The codes that weights may take.
struct weight_grid {
  int bits = 8;  // 2 … 8, 16
  bool symmetric = true, narrow = true, per_channel = true;
  std::optional<dtype> type = {};  // FP8: per_channel alone has a meaning with it

  std::int32_t highest() const { return (1 << (bits - 1)) - 1; }
  std::int32_t lowest() const { return narrow ? -highest() : -highest() - 1; }
};

/// Ranges of the output channels → scales and zero points of weights.
///
///   symmetric   scale[c] = max(high / highest, -low / -lowest), zero_point 0
///   asymmetric  the zero point whose grid covers low … high with the smallest step
///
/// r         [C]  real units, finite, min <= max; widened to contain 0
/// bias      [C] or empty; a scale is raised until |bias[c]| / (input_scale · scale[c]) <= 2^30
/// returns   type s8, s16 beyond 8 bits; one scale per range or, per tensor, one for all (their joined range); a
/// channel of zeros gets 1 % of the largest channel's scale; axis is left to the caller
/// exact     every weight lies within half a step of a code; 0 is a code
/// source    NNCF 3.x. Its symmetric codes that are not narrow have the scale of narrow ones and
/// leave the lowest code unused; here it serves the side that needs it
inline qparams weight_params(std::span<const value_range> r, std::span<const double> bias,
                             float input_scale, const weight_grid& grid = {});

// ---------------------------------------------------------------------------------------------------------------------

/// low < 0 < high → the zero point, counted from the lowest code, whose grid of top + 1 codes
/// covers both with the smallest step, and that step.
inline std::pair<std::int32_t, double> covering_grid(double low, double high, double top = 255) {
  const auto step = [&](double zero) { return std::max(-low / zero, high / (top - zero)); };
  const double below = std::min(std::max(std::floor(-low * top / (high - low)), 1.0), top - 1);
  const double above = std::min(below + 1, top - 1);
  const double zero = step(below) <= step(above) ? below : above;
  return {static_cast<std::int32_t>(zero), step(zero)};
}

/// Largest magnitude of an activation → scale of its FP8 codes.
///
///   scale = 2 · magnitude / largest number of the format: half of the format's range is headroom
///
/// source  NNCF 3.x, FP8 fake conversion: scales of tensors are halved
inline qparams float8_params(double magnitude, dtype type) {
  const double m = std::max(magnitude, static_cast<double>(least_range));
  const auto scale =
      static_cast<float>(2 * m / static_cast<double>(format_of_float8(type).largest));
  return {.type = type, .scale = {std::max(scale, least_scale)}, .zero_point = {0}, .axis = -1};
}

inline qparams activation_params(value_range r, const activation_grid& grid, const clamp& act,
                                 const std::string& value) {
  if (!std::isfinite(r.min) || !std::isfinite(r.max) || r.min > r.max)
    throw calibration_error("quantize: value '" + value +
                            "': range: expected min <= max, finite, got [" + std::to_string(r.min) +
                            ", " + std::to_string(r.max) + "]");
  r = widened(r, act);
  double low = static_cast<double>(r.min), high = static_cast<double>(r.max);
  if (grid.type) return float8_params(std::max(-low, high), *grid.type);
  if (grid.symmetric && grid.sign == signedness::unsigned_codes) low = 0;
  if (low == 0 && high == 0) high = static_cast<double>(least_range);
  const std::int32_t top = grid.top(), half = top / 2;
  qparams q;
  q.type = grid.bits == 8 ? dtype::u8 : dtype::u16;
  double scale = 0;
  if (grid.symmetric && (low < 0 || grid.sign == signedness::signed_codes)) {
    scale = std::max(-low, high) / half;
    q.zero_point = {half + 1};
  } else if (low == 0) {
    scale = high / top;
  } else {
    q.zero_point = {top};
    scale = -low / top;
    if (high > 0) std::tie(q.zero_point[0], scale) = covering_grid(low, high, top);
  }
  float s = std::max(static_cast<float>(scale), least_scale);
  if (q.zero_point[0] == 0 && act.high > 0 && high <= static_cast<double>(act.high))
    while (static_cast<float>(top) * s > act.high) s = std::nextafter(s, 0.0f);
  q.scale = {s};
  return q;
}

inline qparams weight_params(std::span<const value_range> r, std::span<const double> bias,
                             float input_scale, const weight_grid& grid) {
  const auto size_of_range = [](const value_range& x) { return std::max(-x.min, x.max); };
  float largest = 0;
  value_range all;
  for (const auto& x : r) {
    largest = std::max(largest, size_of_range(x));
    all = {std::min(all.min, x.min), std::max(all.max, x.max)};
  }
  const double largest_code = grid.type ? static_cast<double>(format_of_float8(*grid.type).largest)
                                        : static_cast<double>(grid.highest());
  const double top = largest_code, bottom = grid.type ? largest_code : -grid.lowest();
  qparams q;
  q.type = grid.type ? *grid.type : grid.bits > 8 ? dtype::s16 : dtype::s8;
  q.scale.resize(grid.per_channel ? r.size() : 1);
  q.zero_point.assign(q.scale.size(), 0);
  for (std::size_t c = 0; c < q.scale.size(); ++c) {
    const auto& x = grid.per_channel ? r[c] : all;
    const double low = static_cast<double>(std::min(x.min, 0.0f));
    double high = static_cast<double>(std::max(x.max, 0.0f));
    if (low == 0 && high == 0) high = static_cast<double>(std::max(0.01f * largest, least_range));
    double step = std::max(high / top, -low / bottom);
    if (!grid.symmetric) {
      std::int32_t zero = low == 0 ? 0 : static_cast<std::int32_t>(top + bottom);
      step = (high - low) / (top + bottom);
      if (low < 0 && high > 0) std::tie(zero, step) = covering_grid(low, high, top + bottom);
      q.zero_point[c] = grid.lowest() + zero;
    }
    q.scale[c] = std::max(static_cast<float>(step), least_scale);
  }
  for (std::size_t b = 0; b < bias.size() && !grid.type; ++b) {  // FP8 keeps float biases
    float& scale = q.scale[grid.per_channel ? b : 0];
    const double floor = std::fabs(bias[b]) / (0x1p30 * static_cast<double>(input_scale));
    // One step up covers the rounding of the product input_scale · scale in float.
    if (static_cast<double>(scale) < floor)
      scale = std::nextafter(static_cast<float>(floor * (1 + 0x1p-22)),
                             std::numeric_limits<float>::max());
  }
  return q;
}

}  // namespace ptq::quantization
