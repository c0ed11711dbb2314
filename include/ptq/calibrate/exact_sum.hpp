#pragma once
// SPDX-License-Identifier: Apache-2.0
// A sum that does not notice the order of its terms: the running total carries the rounding error
// of every addition (Knuth's two-sum), so it errs by 2^-104 of the terms, and its value as a float
// is the same whatever the order or the split of a calibration.

#include <cmath>

namespace ptq::calibration {

class exact_sum {
 public:
  void add(double x) {
    const double s = high_ + x;
    const double back = s - high_;
    low_ += (high_ - (s - back)) + (x - back);
    high_ = s;
  }
  void merge(const exact_sum& o) {
    add(o.high_);
    add(o.low_);
  }
  double value() const { return high_ + low_; }

 private:
  double high_ = 0, low_ = 0;
};

}  // namespace ptq::calibration
