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

/// Σ p · log(p / q) of the first `kept` magnitudes against themselves spread over `levels` cells;
/// what lies beyond is clipped into the last magnitude of p. Numbers per cell are spread evenly
/// over the magnitudes that are not empty.
inline double divergence(const std::vector<double>& m, std::size_t kept, std::size_t levels) {
  double beyond = 0, total = 0;
  for (std::size_t i = 0; i < m.size(); ++i) {
    total += m[i];
    if (i >= kept) beyond += m[i];
  }
  const double inside = total - beyond;
  if (inside <= 0) return std::numeric_limits<double>::infinity();
  double sum = 0;
  for (std::size_t cell = 0; cell < levels; ++cell) {
    const std::size_t from = cell * kept / levels, to = (cell + 1) * kept / levels;
    double mass = 0;
    int filled = 0;
    for (std::size_t i = from; i < to; ++i) {
      mass += m[i];
      filled += m[i] > 0;
    }
    for (std::size_t i = from; i < to; ++i) {
      const double p = (m[i] + (i + 1 == kept ? beyond : 0.0)) / total;
      if (p <= 0) continue;
      // A magnitude that only the clipped numbers fill gets a hair of q, so that the divergence
      // stays finite.
      const double q = m[i] > 0 ? mass / filled / inside : 1e-9;
      sum += p * std::log(p / q);
    }
  }
  return sum;
}

/// codes  of the grid: half of them for magnitudes where a number is negative
inline value_range least_divergence_range(const histogram& h, int codes = 256) {
  const value_range all = h.extremes();
  const bool is_signed = all.min < 0;
  const auto levels = static_cast<std::size_t>(is_signed ? codes / 2 : codes);
  const auto [m, width] = magnitudes(h);
  if (m.size() <= levels) return all;
  // The whole range is tried last, so that it wins a tie.
  double least = std::numeric_limits<double>::infinity();
  std::size_t best = m.size();
  const std::size_t stride = 8;
  for (std::size_t kept = levels; kept < m.size() + stride; kept += stride) {
    const std::size_t k = std::min(kept, m.size());
    if (const double d = divergence(m, k, levels); d <= least) {
      least = d;
      best = k;
    }
  }
  if (best == m.size()) return all;
  const auto t = static_cast<float>(static_cast<double>(best) * width);
  return {is_signed ? -t : 0.0f, t};
}

}  // namespace ptq::calibration
