#pragma once
// SPDX-License-Identifier: Apache-2.0
// Counts of all numbers seen, in at most 2048 bins, for the observers that look at the
// distribution: percentile, mse, entropy. The width of a bin is a power of two and its edges are
// multiples of it. When the range outgrows the bins, neighbours are added together, pairwise: a
// count never splits over two bins. So the state depends on nothing but the set of numbers seen,
// whatever their order, and merging two histograms loses nothing.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <ptq/core/observation.hpp>
#include <ptq/core/value_range.hpp>

namespace ptq::calibration {

/// exact   counts are those of the numbers in [edge, edge + width); at least 1024 of the 2048 bins
///         are in use unless the numbers lie within 2^-11 of each other. So a quantile errs by at
///         most 2^-10 of the range; `rank_error` states by what share of the numbers
/// cost    0.3 to 0.5 ns per number, 16 KB
class histogram {
 public:
  static constexpr std::int64_t bins = bin_counters::bins;

  /// The numbers of one sample, all finite, and their extremes.
  void add(std::span<const float> x, value_range r, count_function pass = count_scalar) {
    if (x.empty()) return;
    cover(total_ == 0 ? r : joined(extremes_, r));
    bin_counters b{std::ldexp(1.0f, -exponent_), static_cast<std::int32_t>(first_), counts_.data()};
    pass(x.data(), static_cast<std::int64_t>(x.size()), b);
    zeros_ += b.zeros;
    total_ += x.size();
  }

  void merge(const histogram& o) {
    if (o.total_ == 0) return;
    if (total_ == 0) {
      *this = o;
      return;
    }
    cover(joined(extremes_, o.extremes_));
    const int shift = exponent_ - o.exponent_;
    for (std::int64_t i = 0; i < bins; ++i)
      if (const auto n = o.counts_[static_cast<std::size_t>(i)])
        counts_[static_cast<std::size_t>(((o.first_ + i) >> shift) - first_)] += n;
    zeros_ += o.zeros_;
    total_ += o.total_;
  }

  std::uint64_t total() const { return total_; }
  /// How many are exactly 0: codes represent those without error. Part of the bin from 0 to
  /// width().
  std::uint64_t zeros() const { return zeros_; }
  value_range extremes() const { return extremes_; }
  double width() const { return std::ldexp(1.0, exponent_); }
  double edge(std::int64_t bin) const { return static_cast<double>(first_ + bin) * width(); }
  std::uint64_t count(std::int64_t bin) const { return counts_[static_cast<std::size_t>(bin)]; }
  /// The bin that holds 0, or -1 if none does.
  std::int64_t zero_bin() const { return first_ <= 0 && first_ > -bins ? -first_ : -1; }

  /// The number below which a share p of all numbers lies, p in [0, 1]; counts are even within a
  /// bin.
  double quantile(double p) const {
    const double wanted = p * static_cast<double>(total_);
    double below = 0;
    for (std::int64_t i = 0; i < bins; ++i) {
      const auto here = static_cast<double>(count(i));
      if (here > 0 && below + here >= wanted)
        return clamped(edge(i) + width() * (wanted - below) / here);
      below += here;
    }
    return static_cast<double>(extremes_.max);
  }

  /// The same of the numbers' magnitudes.
  double magnitude_quantile(double p) const {
    // Bins that mirror each other hold the same magnitudes: bin k from 0 and bin −k − 1.
    const auto at = [&](std::int64_t index) {
      const std::int64_t i = index - first_;
      return i >= 0 && i < bins ? static_cast<double>(count(i)) : 0.0;
    };
    const double wanted = p * static_cast<double>(total_);
    const double most_of = std::fmax(std::fabs(static_cast<double>(extremes_.min)),
                                     std::fabs(static_cast<double>(extremes_.max)));
    double below = 0;
    const std::int64_t begin = std::max({std::int64_t{0}, first_, -first_ - bins});
    const std::int64_t end = std::max(first_ + bins, -first_);
    for (std::int64_t k = begin; k < end; ++k) {
      const double here = at(k) + at(-k - 1);
      if (here > 0 && below + here >= wanted)
        return std::fmin((static_cast<double>(k) + (wanted - below) / here) * width(), most_of);
      below += here;
    }
    return most_of;
  }

  /// By what share of the numbers quantile(p) may be off: that of the bin it lies in.
  double rank_error(double p) const {
    const double wanted = p * static_cast<double>(total_);
    double below = 0;
    for (std::int64_t i = 0; i < bins; ++i) {
      const auto here = static_cast<double>(count(i));
      if (here > 0 && below + here >= wanted) return here / static_cast<double>(total_);
      below += here;
    }
    return 0;
  }

  /// State, for files.
  int exponent() const { return exponent_; }
  std::int64_t first() const { return first_; }
  std::span<const std::uint64_t> all_counts() const { return counts_; }

  /// The histogram of a state that was written; nothing if it is none: a bin out of place, extremes
  /// that are not in the outermost bins, more zeros than the bin at 0 holds.
  static std::optional<histogram> of_state(value_range extremes, std::uint64_t zeros,
                                           std::span<const std::uint64_t> counts) {
    histogram h;
    if (counts.empty()) return h;
    if (counts.size() != static_cast<std::size_t>(bins) || !(extremes.min <= extremes.max) ||
        !std::isfinite(extremes.min) || !std::isfinite(extremes.max))
      return std::nullopt;
    h.cover(extremes);
    h.counts_.assign(counts.begin(), counts.end());
    h.zeros_ = zeros;
    for (auto n : counts) {
      if (n > most || h.total_ > most) return std::nullopt;
      h.total_ += n;
    }
    const auto outermost = [&](float v) {
      return h.count(index_of(v, h.exponent_) - h.first_) > 0;
    };
    const std::int64_t last = index_of(extremes.max, h.exponent_) - h.first_;
    for (std::int64_t i = last + 1; i < bins; ++i)
      if (h.count(i) > 0) return std::nullopt;
    const bool holds_zeros = h.zero_bin() >= 0 && h.count(h.zero_bin()) >= zeros;
    if (!outermost(extremes.min) || !outermost(extremes.max) || (zeros > 0 && !holds_zeros))
      return std::nullopt;
    return h;
  }

 private:
  static constexpr std::uint64_t most = std::uint64_t{1} << 60;  // sums of two never wrap

  double clamped(double v) const {
    return std::fmin(std::fmax(v, static_cast<double>(extremes_.min)),
                     static_cast<double>(extremes_.max));
  }

  static std::int64_t index_of(float v, int exponent) {
    return static_cast<std::int64_t>(std::floor(std::ldexp(static_cast<double>(v), -exponent)));
  }

  /// Smallest exponent whose bins hold r, with indices that a float represents exactly.
  static int exponent_for(value_range r, int from) {
    const float magnitude = std::fmax(std::fabs(r.min), std::fabs(r.max));
    int e = from;
    if (magnitude > 0) e = std::max(e, std::ilogb(magnitude) + 1 - 22);
    while (index_of(r.max, e) - index_of(r.min, e) >= bins) ++e;
    return e;
  }

  void cover(value_range r) {
    const int e = exponent_for(r, exponent_);
    const std::int64_t first = index_of(r.min, e);
    if (counts_.empty()) counts_.resize(bins);
    if (total_ != 0 && (e != exponent_ || first != first_)) {
      const int shift = e - exponent_;
      std::vector<std::uint64_t> moved(bins);
      for (std::int64_t i = 0; i < bins; ++i)
        if (const auto n = count(i))
          moved[static_cast<std::size_t>(((first_ + i) >> shift) - first)] += n;
      counts_ = std::move(moved);
    }
    exponent_ = e;
    first_ = first;
    extremes_ = r;
  }

  std::vector<std::uint64_t> counts_;  // [bins], or none before the first number
  int exponent_ = -126;                // smallest normal float: its inverse is finite too
  std::int64_t first_ = 0;             // index of bin 0: its lower edge in widths
  std::uint64_t zeros_ = 0, total_ = 0;
  value_range extremes_;
};

}  // namespace ptq::calibration
