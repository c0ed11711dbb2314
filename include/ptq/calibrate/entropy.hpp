#pragma once
// SPDX-License-Identifier: Apache-2.0
// The symmetric range whose quantized distribution diverges least from the real one, in the sense
// of Kullback and Leibler. Exact zeros are left out: every grid represents them. Source: Migacz
// 2017 (TensorRT); 128 levels for magnitudes of signed numbers, 256 where none is negative.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <ptq/calibrate/histogram.hpp>
#include <ptq/core/value_range.hpp>

namespace ptq::calibration {

/// Counts of magnitudes: element i is |x| in [i, i + 1) widths.
struct magnitude_counts {
  std::vector<double> count;
  double width = 1;
};

/// Widths are the histogram's, or as many times wider as it takes to need at most 4096 of them
/// (numbers that are far from 0 and near each other).
inline magnitude_counts magnitudes(const histogram& h) {
  const auto index = [&](std::int64_t bin) {
    const std::int64_t at = h.first() + bin;
    return at >= 0 ? at : -at - 1;
  };
  const auto farthest = std::max(index(0), index(histogram::bins - 1));
  int shift = 0;
  while (farthest >> shift >= 2 * histogram::bins) ++shift;
  magnitude_counts m{{}, std::ldexp(h.width(), shift)};
  for (std::int64_t i = 0; i < histogram::bins; ++i) {
    auto n = h.count(i);
    if (i == h.zero_bin()) n -= h.zeros();
    if (n == 0) continue;
    const auto at = static_cast<std::size_t>(index(i) >> shift);
    if (m.count.size() <= at) m.count.resize(at + 1);
    m.count[at] += static_cast<double>(n);
  }
  return m;
}

/// How far magnitudes diverge from what is left of them by a clipped, coarser distribution q.
///
///   Σ p · log(p / q) = Σ p · log p − Σ over cells of (Σ p of the cell) · log q of the cell
///
/// since q is the same all over a cell: a logarithm for each cell and range, not for each magnitude.
class divergences {
 public:
  explicit divergences(const std::vector<double>& m) : m_(m), mass_(1), own_(1), filled_(1) {
    double total = 0;
    for (double n : m) total += n;
    for (double n : m) {
      const double p = n / total;
      mass_.push_back(mass_.back() + n);
      own_.push_back(own_.back() + (n > 0 ? p * std::log(p) : 0));
      filled_.push_back(filled_.back() + (n > 0 ? 1 : 0));
    }
  }

  /// Of the first `kept` magnitudes spread over `levels` cells, numbers per cell evenly over the magnitudes
  /// that are not empty; what lies beyond is clipped into the last magnitude of p.
  double of(std::size_t kept, std::size_t levels) const {
    const double total = mass_.back(), inside = mass_[kept], beyond = total - inside;
    if (inside <= 0) return std::numeric_limits<double>::infinity();
    const std::size_t last = kept - 1;
    double sum = own_[last];
    if (const double p = (m_[last] + beyond) / total; p > 0) sum += p * std::log(p);
    for (std::size_t cell = 0, from = 0; cell < levels; ++cell) {
      const std::size_t to = (cell + 1) * kept / levels;
      double mass = mass_[to] - mass_[from];
      const double filled = filled_[to] - filled_[from];
      from = to;
      if (mass <= 0) continue;
      const double q = mass / filled / inside;
      if (cell + 1 == levels && m_[last] > 0) mass += beyond;
      sum -= mass / total * std::log(q);
    }
    // A magnitude that only the clipped numbers fill gets a hair of q, so that the divergence stays
    // finite.
    if (m_[last] <= 0) sum -= beyond / total * std::log(1e-9);
    return sum;
  }

 private:
  const std::vector<double>& m_;
  std::vector<double> mass_, own_, filled_;  // sums over the magnitudes before; own: of p · log p
};

/// codes  of the grid: half of them for magnitudes where a number is negative
inline value_range least_divergence_range(const histogram& h, int codes = 256) {
  const value_range all = h.extremes();
  const bool is_signed = all.min < 0;
  const auto levels = static_cast<std::size_t>(is_signed ? codes / 2 : codes);
  const auto [m, width] = magnitudes(h);
  if (m.size() <= levels) return all;
  // The whole range is tried last, so that it wins a tie.
  const divergences all_of(m);
  double least = std::numeric_limits<double>::infinity();
  std::size_t best = m.size();
  const std::size_t stride = 8;
  for (std::size_t kept = levels; kept < m.size() + stride; kept += stride) {
    const std::size_t k = std::min(kept, m.size());
    if (const double d = all_of.of(k, levels); d <= least) {
      least = d;
      best = k;
    }
  }
  if (best == m.size()) return all;
  const auto t = static_cast<float>(static_cast<double>(best) * width);
  return {is_signed ? -t : 0.0f, t};
}

}  // namespace ptq::calibration
