#pragma once
// SPDX-License-Identifier: Apache-2.0
// The range between two quantiles of all numbers seen: a share `tail` of them is clipped at each
// side. Independent of the order of samples, merges exactly; the quantile errs by at most one bin
// of the histogram.

#include <span>

#include <ptq/calibrate/histogram.hpp>
#include <ptq/core/value_range.hpp>

namespace ptq::calibration {

class percentile {
 public:
  /// 1e-4: NNCF's outlier probability; ONNX Runtime's 99.999th percentile is 1e-5.
  explicit percentile(double tail = 1e-4) : tail_(tail) {}

  void add(std::span<const float> x, value_range r) { counts_.add(x, r); }
  void merge(const percentile& o) { counts_.merge(o.counts_); }
  value_range range() const {
    return {static_cast<float>(counts_.quantile(tail_)),
            static_cast<float>(counts_.quantile(1.0 - tail_))};
  }
  const histogram& counts() const { return counts_; }

 private:
  double tail_;
  histogram counts_;
};

}  // namespace ptq::calibration
