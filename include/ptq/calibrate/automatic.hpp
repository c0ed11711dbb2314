#pragma once
// SPDX-License-Identifier: Apache-2.0
// The range that costs a value's own numbers least: every rule's range is a candidate, and the
// error of the code grid that it gives, over all numbers seen, decides. Which rule is right depends
// on the value: a far outlier that means nothing asks for clipping, a long tail that carries the
// signal (attention, residual streams of transformers) asks for the whole range.

#include <span>

#include <ptq/calibrate/entropy.hpp>
#include <ptq/calibrate/histogram.hpp>
#include <ptq/calibrate/mean_minmax.hpp>
#include <ptq/calibrate/mse.hpp>
#include <ptq/core/value_range.hpp>

namespace ptq::calibration {

class automatic {
 public:
  explicit automatic(code_grid grid = {}) : grid_(grid) {}
  void add(std::span<const float> x, value_range r) {
    counts_.add(x, r);
    mean_.add(x, r);
  }
  void merge(const automatic& o) {
    counts_.merge(o.counts_);
    mean_.merge(o.mean_);
  }
  value_range range() const { return least_error_range(counts_, grid_); }

 private:
  code_grid grid_;
  histogram counts_;
  mean_minmax mean_;
};

}  // namespace ptq::calibration
