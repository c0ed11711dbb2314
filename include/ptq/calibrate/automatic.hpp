#pragma once
// SPDX-License-Identifier: Apache-2.0
// The range that costs a value's own numbers least: every rule's range is a candidate, and the
// error of the code grid that it gives, over all numbers seen, decides. Which rule is right depends
// on the value: a far outlier that means nothing asks for clipping, a long tail that carries the
// signal (attention, residual streams of transformers) asks for the whole range.

#include <algorithm>
#include <vector>

#include <ptq/calibrate/entropy.hpp>
#include <ptq/calibrate/histogram.hpp>
#include <ptq/calibrate/mse.hpp>
#include <ptq/calibrate/sketch.hpp>
#include <ptq/core/value_range.hpp>

namespace ptq::calibration {

/// s  with counts
inline value_range automatic_range(const sketch& s, const code_grid& grid) {
  const histogram& h = s.counts();
  const value_range mean{static_cast<float>(s.mins().mean()), static_cast<float>(s.maxs().mean())};
  std::vector<value_range> candidates{least_error_range(h, grid), h.extremes(), mean,
                                      least_divergence_range(h, grid.codes)};
  for (double tail : {1e-5, 1e-4, 1e-3})
    candidates.push_back(
        {static_cast<float>(h.quantile(tail)), static_cast<float>(h.quantile(1 - tail))});
  value_range best = candidates[0];
  double least = expected_error(h, levels_of(best, grid));
  for (const auto& r : candidates) {
    const double e = expected_error(h, levels_of(r, grid), least);
    if (e < least) {
      least = e;
      best = r;
    }
  }
  return best;
}

}  // namespace ptq::calibration
