#pragma once
// SPDX-License-Identifier: Apache-2.0
// The mean over samples of each sample's smallest and largest number: NNCF's default for
// activations. A rare outlier is clipped, a steady one is kept. Independent of the order of
// samples.

#include <cstdint>
#include <span>

#include <ptq/calibrate/exact_sum.hpp>
#include <ptq/core/value_range.hpp>

namespace ptq::calibration {

class mean_minmax {
 public:
  void add(std::span<const float>, value_range r) {
    min_.add(static_cast<double>(r.min));
    max_.add(static_cast<double>(r.max));
    ++samples_;
  }
  void merge(const mean_minmax& o) {
    min_.merge(o.min_);
    max_.merge(o.max_);
    samples_ += o.samples_;
  }
  value_range range() const {
    const auto n = static_cast<double>(samples_);
    return {static_cast<float>(min_.value() / n), static_cast<float>(max_.value() / n)};
  }

 private:
  exact_sum min_, max_;
  std::int64_t samples_ = 0;
};

}  // namespace ptq::calibration
