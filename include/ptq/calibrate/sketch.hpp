#pragma once
// SPDX-License-Identifier: Apache-2.0
// What is remembered of one value's numbers, from which every estimator can tell a range later: a
// few statistics of each sample, and counts of all numbers. A sketch has a fixed size, depends on
// the set of samples alone, and merges with another of the same needs into what one that had seen
// both would be, bit for bit.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ptq/calibrate/exact_sum.hpp>
#include <ptq/calibrate/histogram.hpp>
#include <ptq/calibrate/scalar_set.hpp>
#include <ptq/core/error.hpp>
#include <ptq/core/observation.hpp>
#include <ptq/core/value_range.hpp>

namespace ptq::calibration {

/// What a sketch keeps beside each sample's extremes.
struct sketch_needs {
  bool counts = false;                 // the histogram of all numbers
  bool mean = false;                   // of each sample
  std::vector<double> quantiles = {};  // shares, rising: each sample's quantiles at both ends
  bool operator==(const sketch_needs&) const = default;
};

/// The needs of both.
inline sketch_needs joined(sketch_needs a, const sketch_needs& b) {
  a.counts = a.counts || b.counts;
  a.mean = a.mean || b.mean;
  a.quantiles.insert(a.quantiles.end(), b.quantiles.begin(), b.quantiles.end());
  std::sort(a.quantiles.begin(), a.quantiles.end());
  a.quantiles.erase(std::unique(a.quantiles.begin(), a.quantiles.end()), a.quantiles.end());
  return a;
}

/// Each sample's quantiles at a share p, from a histogram of the sample: off by at most 2^-10 of
/// the sample's range.
struct sample_quantiles {
  double share = 0;
  scalar_set low, high;  // below which, above which a share p of the numbers lies
  scalar_set magnitude;  // above which a share p of the magnitudes lies
};

class sketch {
 public:
  explicit sketch(sketch_needs needs = {}) : needs_(std::move(needs)) {
    for (double p : needs_.quantiles) quantiles_.push_back({p, {}, {}, {}});
  }

  /// One more sample: at least one number, all finite, with their extremes.
  void add(std::span<const float> x, value_range r, const observation_passes& passes = {}) {
    min_.add(r.min +
             0.0f);  // no negative zero: which of two equal numbers is found depends on order
    max_.add(r.max + 0.0f);
    abs_max_.add(std::max(std::fabs(r.min), std::fabs(r.max)));
    if (needs_.mean) mean_.add(static_cast<float>(mean_of(x)));
    if (needs_.quantiles.empty()) {
      if (needs_.counts) counts_.add(x, r, passes.count);
      return;
    }
    histogram one;
    one.add(x, r, passes.count);
    for (auto& q : quantiles_) {
      q.low.add(static_cast<float>(one.quantile(q.share)));
      q.high.add(static_cast<float>(one.quantile(1 - q.share)));
      q.magnitude.add(static_cast<float>(one.magnitude_quantile(1 - q.share)));
    }
    if (needs_.counts) counts_.merge(one);
  }

  /// throws  calibration_error if the other keeps something else
  void merge(const sketch& o) {
    if (needs_ != o.needs_)
      throw calibration_error(
          "calibrate: merge: expected statistics with the same contents, got different ones");
    min_.merge(o.min_);
    max_.merge(o.max_);
    abs_max_.merge(o.abs_max_);
    mean_.merge(o.mean_);
    for (std::size_t i = 0; i < quantiles_.size(); ++i) {
      quantiles_[i].low.merge(o.quantiles_[i].low);
      quantiles_[i].high.merge(o.quantiles_[i].high);
      quantiles_[i].magnitude.merge(o.quantiles_[i].magnitude);
    }
    counts_.merge(o.counts_);
  }

  std::int64_t samples() const { return min_.count(); }
  value_range extremes() const { return {min_.extremes().min, max_.extremes().max}; }
  const sketch_needs& needs() const { return needs_; }

  const scalar_set& mins() const { return min_; }
  const scalar_set& maxs() const { return max_; }
  const scalar_set& abs_maxs() const { return abs_max_; }
  const scalar_set& means() const { return mean_; }
  std::span<const sample_quantiles> quantiles() const { return quantiles_; }
  const histogram& counts() const { return counts_; }

  /// The parts by reference, for reading a file: f(name, part).
  template <class Self, class F>
  static void parts(Self& s, F f) {
    f("min", s.min_);
    f("max", s.max_);
    f("abs_max", s.abs_max_);
    if (s.needs_.mean) f("mean", s.mean_);
    for (std::size_t i = 0; i < s.quantiles_.size(); ++i) {
      const std::string at = std::to_string(i);
      f("low" + at, s.quantiles_[i].low);
      f("high" + at, s.quantiles_[i].high);
      f("magnitude" + at, s.quantiles_[i].magnitude);
    }
    if (s.needs_.counts) f("counts", s.counts_);
  }

 private:
  /// Eight partial sums, so that the additions overlap.
  static double mean_of(std::span<const float> x) {
    std::array<double, 8> part{};
    std::size_t i = 0;
    for (; i + part.size() <= x.size(); i += part.size())
      for (std::size_t k = 0; k < part.size(); ++k) part[k] += static_cast<double>(x[i + k]);
    for (std::size_t k = 0; i < x.size(); ++i, ++k) part[k] += static_cast<double>(x[i]);
    const double sum = ((part[0] + part[1]) + (part[2] + part[3])) +
                       ((part[4] + part[5]) + (part[6] + part[7]));
    return sum / static_cast<double>(x.size());
  }

  sketch_needs needs_;
  scalar_set min_, max_, abs_max_, mean_;
  std::vector<sample_quantiles> quantiles_;
  histogram counts_;
};

}  // namespace ptq::calibration
