#pragma once
// SPDX-License-Identifier: Apache-2.0
// The range with the least expected squared quantization error: the true error of the code grid,
// rounding inside it and clipping beyond, integrated over the histogram. Exact zeros cost nothing
// on any grid (0 is always on it), and are counted apart: after a ReLU they are half of all
// numbers.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>

#include <ptq/calibrate/histogram.hpp>
#include <ptq/core/value_range.hpp>

namespace ptq::calibration {

/// How codes will lie over a range.
struct code_grid {
  bool symmetric = true;  // signed: [-t·128/127, t]; [0, t] where no number is negative
  int codes = 256;
};

/// Multiples of a step from low · step to high · step; 0 is one of them.
struct level_grid {
  double step = 1;
  double low = 0, high = 0;
};

/// The multiples that a range gives codes to.
inline level_grid levels_of(value_range r, const code_grid& g) {
  const double min = std::min(0.0, static_cast<double>(r.min));
  const double max = std::max(0.0, static_cast<double>(r.max));
  const double top = g.codes - 1;
  if (!g.symmetric) {
    const double step = (max - min) / top;
    const double zero = step > 0 ? std::nearbyint(-min / step) : 0;
    return {step, -zero, top - zero};
  }
  if (min >= 0) return {max / top, 0, top};
  const double half = g.codes / 2;
  return {std::max(-min, max) / (half - 1), -half, half - 1};
}

/// The level nearest to x; at a tie either.
inline double nearest_level(double x, const level_grid& g) {
  const double t = std::min(std::max(x / g.step, g.low), g.high);
  return static_cast<double>(static_cast<std::int32_t>(t < 0 ? t - 0.5 : t + 0.5));
}

/// ∫ from 0 to x of (t − nearest level)² dt, for any real x; continuous where the level changes.
///
///   n = nearest level,  r = x − n · step:   n · step³ / 12 + r³ / 3
inline double error_integral(double x, const level_grid& g) {
  const double n = nearest_level(x, g);
  const double r = x - n * g.step;
  return n * g.step * g.step * g.step / 12 + r * r * r / 3;
}

/// Mean squared error of all numbers in the histogram on a grid; any number above `enough` if it is
/// above that.
inline double expected_error(const histogram& h, const level_grid& g,
                             double enough = std::numeric_limits<double>::infinity()) {
  const auto total = static_cast<double>(h.total());
  if (!(g.step > 0)) return h.zeros() == h.total() ? 0 : std::numeric_limits<double>::infinity();
  const double min = static_cast<double>(h.extremes().min);
  const double max = static_cast<double>(h.extremes().max);
  const double width = h.width();  // a power of two: edges are exact
  double sum = 0, to = 0,
         at_to = 0;  // the integral up to `to`: the end of a bin is the next one's begin
  for (std::int64_t i = 0; i < histogram::bins && sum <= enough * total; ++i) {
    auto n = h.count(i);
    if (i == h.zero_bin()) n -= h.zeros();
    if (n == 0) continue;
    const double edge = static_cast<double>(h.first() + i) * width;
    const double a = std::max(edge, min), b = std::min(edge + width, max);
    if (b > a) {
      const double at_a = a == to ? at_to : error_integral(a, g);
      to = b;
      at_to = error_integral(b, g);
      sum += static_cast<double>(n) * (at_to - at_a) / (b - a);
    } else {
      const double e = a - nearest_level(a, g) * g.step;
      sum += static_cast<double>(n) * e * e;
    }
  }
  return sum / total;
}

/// The range within the histogram's extremes with the least expected error.
///
/// source  the search of Choukroun et al. 2019 (OMSE), on the grid's own error instead of a model
/// of it cost    a few hundred passes over 2048 bins
inline value_range least_error_range(const histogram& h, const code_grid& g) {
  const value_range all = h.extremes();
  value_range best = all;
  double least = expected_error(h, levels_of(all, g));
  // Shrinks one side (or both alike) to a share of its extreme; first in 64ths, then around the
  // best of those.
  const auto search = [&](bool move_min, bool move_max) {
    const value_range start = best;
    const auto attempt = [&](double share) {
      value_range r = start;
      if (move_min) r.min = static_cast<float>(share * static_cast<double>(all.min));
      if (move_max) r.max = static_cast<float>(share * static_cast<double>(all.max));
      const double e = expected_error(h, levels_of(r, g), least);
      if (!(e < least)) return false;
      least = e;
      best = r;
      return true;
    };
    double centre = -1;
    for (int k = 64; k >= 1; --k)
      if (attempt(k / 64.0)) centre = k / 64.0;
    if (centre < 0) centre = 1;
    for (int k = -15; k <= 15; ++k) {
      const double share = centre + k / 1024.0;
      if (share > 0 && share <= 1) attempt(share);
    }
  };
  if (g.symmetric || all.min >= 0 || all.max <= 0) {
    search(true, true);
  } else {
    for (int round = 0; round < 2; ++round) {
      search(false, true);
      search(true, false);
    }
  }
  return best;
}

}  // namespace ptq::calibration
