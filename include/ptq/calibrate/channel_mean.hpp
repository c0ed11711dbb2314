#pragma once
// SPDX-License-Identifier: Apache-2.0
// Mean of every channel of a value over all samples and positions: what bias correction multiplies
// weight errors with. A sample's sums are added in a fixed order, samples in an order-free sum.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ptq/calibrate/exact_sum.hpp>
#include <ptq/core/error.hpp>
#include <ptq/core/observation.hpp>

namespace ptq::calibration {

class channel_mean {
 public:
  /// One sample's sums, each of `count` numbers.
  ///
  /// throws  calibration_error if the number of channels changed between samples
  void add(std::span<const double> sums, std::int64_t count) {
    fit(sums.size());
    for (std::size_t c = 0; c < sums.size(); ++c) sums_[c].add(sums[c]);
    count_ += count;
  }

  /// throws  calibration_error if the numbers of channels differ
  void merge(const channel_mean& o) {
    if (o.sums_.empty()) return;
    fit(o.sums_.size());
    for (std::size_t c = 0; c < sums_.size(); ++c) sums_[c].merge(o.sums_[c]);
    count_ += o.count_;
  }

  /// [channels]; empty before the first sample
  std::vector<double> means() const {
    std::vector<double> m;
    for (const auto& s : sums_) m.push_back(s.value() / static_cast<double>(count_));
    return m;
  }

  /// State, for files.
  std::span<const exact_sum> sums() const { return sums_; }
  std::int64_t count() const { return count_; }
  static channel_mean of_state(std::vector<exact_sum> sums, std::int64_t count) {
    channel_mean m;
    m.sums_ = std::move(sums);
    m.count_ = count;
    return m;
  }

 private:
  void fit(std::size_t channels) {
    if (sums_.empty()) sums_.resize(channels);
    if (sums_.size() != channels)
      throw calibration_error("calibrate: channel means: expected " + std::to_string(sums_.size()) +
                              " channels, got " + std::to_string(channels));
  }

  std::vector<exact_sum> sums_;
  std::int64_t count_ = 0;
};

/// Sums of the channels of x [outer, channels, inner], dense, where inner > 1: plain images.
inline void add_plane_sums(const float* x, std::int64_t outer, std::span<double> sums,
                           std::int64_t inner) {
  constexpr std::int64_t lanes = 16;
  for (std::int64_t o = 0; o < outer; ++o)
    for (double& total : sums) {
      double part[lanes] = {};
      std::int64_t i = 0;
      for (; i + lanes <= inner; i += lanes)
        for (std::int64_t j = 0; j < lanes; ++j) part[j] += static_cast<double>(x[i + j]);
      for (; i < inner; ++i) part[i % lanes] += static_cast<double>(x[i]);
      for (double p : part) total += p;
      x += inner;
    }
}

}  // namespace ptq::calibration
