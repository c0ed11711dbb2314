#pragma once
// SPDX-License-Identifier: Apache-2.0
// Counts of all numbers seen, in at most 2048 bins, for the observers that look at the
// distribution: percentile, mse, entropy. The width of a bin is a power of two and its edges are
// multiples of it. When the range outgrows the bins, neighbours are added together, pairwise: a
// count never splits over two bins. So the state depends on nothing but the set of numbers seen,
// whatever their order, and merging two histograms loses nothing.

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include <ptq/calibrate/extremes.hpp>
#include <ptq/core/value_range.hpp>

namespace ptq::calibration {

/// exact   counts are those of the numbers in [edge, edge + width); at least 1024 of the 2048 bins
/// are in use unless
///         the numbers lie within 2^-11 of each other
/// cost    about 1 ns per number, 16 KB
class histogram {
 public:
  static constexpr std::int64_t bins = 2048;

  /// The numbers of one sample, all finite, and their extremes.
  void add(std::span<const float> x, value_range r) {
    if (x.empty()) return;
    cover(total_ == 0 ? r : joined(extremes_, r));
    if (x.size() < narrow_from)
      count(x, std::span(counts_));
    else
      count_many(x);
    total_ += x.size();
  }

  void merge(const histogram& o) {
    if (o.total_ == 0) return;
    cover(total_ == 0 ? o.extremes_ : joined(extremes_, o.extremes_));
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

 private:
  /// Below this, clearing the narrow counters costs more than they save.
  static constexpr std::size_t narrow_from = 16384;
  static constexpr std::size_t tables = 4;

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

  /// Adds 1 to the bin of every number; table t of `stride` counters takes every fourth number, so
  /// that a run of equal numbers (the zeros after a ReLU) does not wait for its own stores.
  template <class Counter>
  void count(std::span<const float> x, std::span<Counter> counts, std::size_t stride = 0) {
    const float inverse = std::ldexp(1.0f, -exponent_);
    const auto first = static_cast<std::int32_t>(first_);
    std::array<std::int32_t, lanes> bin, zeros{};
    std::size_t i = 0;
    for (; i + lanes <= x.size(); i += lanes) {
      const float* p = x.data() + i;
      for (std::size_t j = 0; j < lanes; ++j) {
        const float t = p[j] * inverse;  // exact: a power of two
        const auto whole = static_cast<std::int32_t>(t);
        bin[j] = whole - (t < static_cast<float>(whole) ? 1 : 0) - first;
        zeros[j] += p[j] == 0.0f ? 1 : 0;
      }
      for (std::size_t j = 0; j < lanes; j += tables)
        for (std::size_t k = 0; k < tables; ++k)
          ++counts[static_cast<std::size_t>(bin[j + k]) + k * stride];
    }
    for (; i < x.size(); ++i) {
      ++counts[static_cast<std::size_t>(index_of(x[i], exponent_) - first_)];
      zeros[0] += x[i] == 0.0f ? 1 : 0;
    }
    for (auto z : zeros) zeros_ += static_cast<std::uint64_t>(z);
  }

  void count_many(std::span<const float> x) {
    constexpr std::size_t chunk = std::size_t{1} << 30;  // what a 32-bit counter holds
    std::vector<std::uint32_t> narrow(tables * bins);
    for (std::size_t at = 0; at < x.size(); at += chunk) {
      count(x.subspan(at, std::min(chunk, x.size() - at)), std::span(narrow),
            static_cast<std::size_t>(bins));
      for (std::size_t t = 0; t < tables; ++t)
        for (std::size_t i = 0; i < bins; ++i) {
          counts_[i] += narrow[t * bins + i];
          narrow[t * bins + i] = 0;
        }
    }
  }

  std::vector<std::uint64_t> counts_ = std::vector<std::uint64_t>(bins);
  int exponent_ = -126;     // smallest normal float: its inverse is finite too
  std::int64_t first_ = 0;  // index of bin 0: its lower edge in widths
  std::uint64_t zeros_ = 0, total_ = 0;
  value_range extremes_;
};

}  // namespace ptq::calibration
