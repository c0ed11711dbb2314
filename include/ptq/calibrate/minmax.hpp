#pragma once
// SPDX-License-Identifier: Apache-2.0
// The smallest and largest number seen in any sample: nothing is clipped, one outlier sets the
// scale. Independent of the order of samples, merges exactly.

#include <span>

#include <ptq/core/value_range.hpp>

namespace ptq::calibration {

class minmax {
 public:
  void add(std::span<const float>, value_range r) { include(r); }
  void merge(const minmax& o) {
    if (o.any_) include(o.range_);
  }
  value_range range() const { return range_; }

 private:
  void include(value_range r) {
    range_ = any_ ? joined(range_, r) : r;
    any_ = true;
  }
  value_range range_;
  bool any_ = false;
};

}  // namespace ptq::calibration
