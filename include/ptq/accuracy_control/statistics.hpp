#pragma once
// SPDX-License-Identifier: Apache-2.0
// What n samples can tell about a drop: its confidence interval from paired differences, the least
// bound that they resolve, and how many samples would resolve a smaller one.
//
// Pairing: both models see the same samples, so only samples on which they score differently bring
// noise, and the interval is as wide as those are many.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>

namespace ptq::control {

/// Two-sided 95 % of the normal distribution.
inline constexpr double z95 = 1.959963984540054;

/// An estimate and the half-width of its 95 % interval.
struct interval {
  double estimate = 0, half_width = 0;
  double low() const { return estimate - half_width; }
  double high() const { return estimate + half_width; }
};

/// Mean of paired differences.
///
///   half_width = z95 · sqrt((Σd² + 1 − (Σd)²/(n + 2)) / (n + 2)) / sqrt(n + 2)
///
/// d        [n]  score of float minus score of quantized, each in [-1, 1]
/// returns  an infinite half-width for no sample
/// source   Agresti & Min 2005: half a pseudo-sample in each cell of the paired table; without
/// them, equal models would have an interval of no width, whatever n
inline interval paired_mean(std::span<const double> d) {
  double sum = 0, squares = 0;
  for (double x : d) {
    sum += x;
    squares += x * x;
  }
  const auto n = static_cast<double>(d.size());
  if (d.empty()) return {0, std::numeric_limits<double>::infinity()};
  const double m = n + 2;
  const double variance = std::max(0.0, (squares + 1 - sum * sum / m) / m);
  return {sum / n, z95 * std::sqrt(variance / m)};
}

/// Estimate and spread of a statistic that is no mean (F1, mean average precision), from its values
/// with one block of samples left out each: the delete-a-block jackknife.
///
///   half_width = z95 · sqrt((b − 1)/b · Σ(t_k − mean t)²)
///
/// whole      of all samples
/// without    [b]  b >= 2
inline interval jackknife(double whole, std::span<const double> without) {
  const auto b = static_cast<double>(without.size());
  if (without.size() < 2) return {whole, std::numeric_limits<double>::infinity()};
  double mean = 0, squares = 0;
  for (double t : without) mean += t / b;
  for (double t : without) squares += (t - mean) * (t - mean);
  return {whole, z95 * std::sqrt((b - 1) / b * squares)};
}

/// Samples that would bring the half-width down to the bound, at the spread that was seen.
///
///   n · (half_width / bound)²
inline std::int64_t samples_to_resolve(std::int64_t n, double half_width, double bound) {
  if (bound <= 0 || !std::isfinite(half_width)) return -1;
  const double r = half_width / bound;
  return static_cast<std::int64_t>(std::ceil(static_cast<double>(n) * r * r));
}

/// Whether a mean that must reach `floor` over `total` samples still can, after the first ones
/// missed `missed` in all: the answer of the whole count, only earlier.
inline bool can_reach(double floor, double missed, std::int64_t total) {
  return missed <= (1 - floor) * static_cast<double>(total) + 1e-9;
}

/// Share of samples on which two models may differ so that the drop stays within a bound.
///
/// A sample whose class changes lies near a boundary between two classes, and is lost as often as
/// it is won but for a part of them: the net loss per changed sample was 0.1 to 0.3 on the
/// classifiers that we know (e.g. 2.5 points at 84 % agreement), so a quarter is on the safe side.
inline constexpr double loss_per_change = 0.25;
inline double agreement_for(double max_drop) {
  return std::max(0.0, 1 - max_drop / loss_per_change);
}

/// Is the quantized model fine?
///
/// Fine is one whose drop is within the bound, and which either agrees with float, or whose drop
/// was measured finely enough to exclude a larger change in both directions: a model that gains
/// accuracy at low agreement is another model that was lucky on these samples.
inline bool fine(const interval& drop, double agreement, double max_drop, double min_agreement) {
  if (drop.estimate > max_drop) return false;
  return agreement >= min_agreement ||
         std::abs(drop.estimate) + drop.half_width <= max_drop;
}

}  // namespace ptq::control
