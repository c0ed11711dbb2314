#pragma once
// SPDX-License-Identifier: Apache-2.0
// One number per sample, for all samples: what aggregators over samples look at. Mean, least and
// largest are exact for ever. Order statistics are exact for up to `kept` samples; beyond that the
// numbers go into a histogram, and one errs by at most one bin of it, 2^-10 of the numbers' range.
// Either way the state follows from the set of numbers alone, not from their order or split.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <ptq/calibrate/exact_sum.hpp>
#include <ptq/calibrate/histogram.hpp>
#include <ptq/core/value_range.hpp>

namespace ptq::calibration {

class scalar_set {
 public:
  static constexpr std::size_t kept = 1024;  // 4 KB

  void add(float v) {
    sum_.add(static_cast<double>(v));
    extremes_ = count_ == 0 ? value_range{v, v} : joined(extremes_, {v, v});
    ++count_;
    if (counts_.total() > 0)
      counts_.add(std::span(&v, 1), {v, v});
    else
      keep(std::span(&v, 1));
  }

  void merge(const scalar_set& o) {
    if (o.count_ == 0) return;
    sum_.merge(o.sum_);
    extremes_ = count_ == 0 ? o.extremes_ : joined(extremes_, o.extremes_);
    count_ += o.count_;
    if (o.counts_.total() > 0) {
      spill();
      counts_.merge(o.counts_);
    } else if (counts_.total() > 0) {
      for (float v : o.values_) counts_.add(std::span(&v, 1), {v, v});
    } else {
      keep(o.values_);
    }
  }

  std::int64_t count() const { return count_; }
  value_range extremes() const { return extremes_; }
  double mean() const { return sum_.value() / static_cast<double>(count_); }

  /// The numbers in rising order: those seen, or 1024 evenly spaced quantiles of them.
  std::vector<float> ordered() const {
    std::vector<float> v = values_;
    for (std::size_t i = 0; counts_.total() > 0 && i < kept; ++i)
      v.push_back(static_cast<float>(counts_.quantile((static_cast<double>(i) + 0.5) / kept)));
    std::sort(v.begin(), v.end());
    return v;
  }

  /// State, for files: the numbers in rising order while they are kept, or their histogram.
  const exact_sum& sum() const { return sum_; }
  const histogram& counts() const { return counts_; }
  static scalar_set of_state(exact_sum sum, std::vector<float> values, histogram counts) {
    scalar_set s;
    s.sum_ = sum;
    s.count_ = static_cast<std::int64_t>(values.size() + counts.total());
    s.extremes_ = counts.extremes();
    for (std::size_t i = 0; i < values.size(); ++i)
      s.extremes_ =
          i ? joined(s.extremes_, {values[i], values[i]}) : value_range{values[0], values[0]};
    s.values_ = std::move(values);
    s.counts_ = std::move(counts);
    return s;
  }

 private:
  void keep(std::span<const float> more) {
    values_.insert(values_.end(), more.begin(), more.end());
    if (values_.size() > kept) spill();
  }
  void spill() {
    for (float v : values_) counts_.add(std::span(&v, 1), {v, v});
    values_.clear();
    values_.shrink_to_fit();
  }

  exact_sum sum_;
  value_range extremes_;
  std::int64_t count_ = 0;
  std::vector<float> values_;
  histogram counts_;
};

/// The number below which a share p of the rising numbers lies, between neighbours in proportion.
inline double quantile_of(std::span<const float> rising, double p) {
  const double at = p * static_cast<double>(rising.size() - 1);
  const auto i = static_cast<std::size_t>(at);
  const double low = static_cast<double>(rising[i]);
  const double high = static_cast<double>(rising[std::min(i + 1, rising.size() - 1)]);
  return low + (high - low) * (at - static_cast<double>(i));
}

/// The rising numbers between the 1 % and the 99 % quantile: NNCF's rule of what is no outlier.
inline std::span<const float> without_outliers(std::span<const float> rising) {
  const double low = quantile_of(rising, 0.01), high = quantile_of(rising, 0.99);
  std::size_t first = 0, last = rising.size();
  while (first + 1 < last && static_cast<double>(rising[first]) < low) ++first;
  while (last > first + 1 && static_cast<double>(rising[last - 1]) > high) --last;
  return rising.subspan(first, last - first);
}

inline double mean_of(std::span<const float> v) {
  double sum = 0;
  for (float e : v) sum += static_cast<double>(e);
  return sum / static_cast<double>(v.size());
}

/// Hodges and Lehmann's estimate: the median of the means of all pairs, a number with itself too.
/// Found by halving the interval that holds it, counting pairs below in linear time, so that
/// nothing of the size of the pairs is kept.
inline double hodges_lehmann(std::span<const float> rising) {
  const std::size_t n = rising.size();
  const auto pairs = static_cast<std::uint64_t>(n) * (n + 1) / 2;
  /// How many of the pairs i <= j have a sum of at most s.
  const auto below = [&](double s) {
    std::uint64_t count = 0;
    std::size_t j = n;  // elements [0, j) may stand beside element i
    for (std::size_t i = 0; i < n; ++i) {
      while (j > i && static_cast<double>(rising[i]) + static_cast<double>(rising[j - 1]) > s) --j;
      if (j <= i) break;
      count += j - i;
    }
    return count;
  };
  /// The k-th smallest sum of a pair, k from 1; a double holds every sum of two floats that are
  /// within 2^29 of each other, and the halving stops where nothing lies between.
  const auto kth = [&](std::uint64_t k) {
    double low = 2 * static_cast<double>(rising[0]), high = 2 * static_cast<double>(rising[n - 1]);
    if (below(low) >= k) return low;
    while (true) {
      const double middle = low + (high - low) / 2;
      if (middle <= low || middle >= high) return high;
      (below(middle) >= k ? high : low) = middle;
    }
  };
  return (kth((pairs + 1) / 2) + kth(pairs / 2 + 1)) / 4;
}

}  // namespace ptq::calibration
