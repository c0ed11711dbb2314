#pragma once
// SPDX-License-Identifier: Apache-2.0
// Mean of every channel of a value over all samples and positions: what bias correction multiplies
// weight errors with. Rows are added in float, in blocks short enough that the rounding stays below
// 2^-19 of the block's largest sum, and blocks in an order-free sum of double.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <ptq/calibrate/exact_sum.hpp>
#include <ptq/core/error.hpp>

namespace ptq::calibration {

class channel_mean {
 public:
  /// x  [outer, channels, inner], dense: channels-last images have inner = 1, plain ones the
  /// plane's size
  ///
  /// throws  calibration_error if the number of channels changed between samples
  void add(const float* x, std::int64_t outer, std::int64_t channels, std::int64_t inner) {
    if (outer * channels * inner == 0) return;
    if (sums_.empty()) sums_.resize(static_cast<std::size_t>(channels));
    if (sums_.size() != static_cast<std::size_t>(channels))
      throw calibration_error("calibrate: channel means: expected " + std::to_string(sums_.size()) +
                              " channels, got " + std::to_string(channels));
    if (inner == 1)
      add_last(x, outer, channels);
    else
      add_planes(x, outer, channels, inner);
    count_ += outer * inner;
  }

  void merge(const channel_mean& o) {
    if (o.sums_.empty()) return;
    if (sums_.empty()) sums_.resize(o.sums_.size());
    if (sums_.size() != o.sums_.size())
      throw calibration_error("calibrate: channel means: expected " + std::to_string(sums_.size()) +
                              " channels, got " + std::to_string(o.sums_.size()));
    for (std::size_t c = 0; c < sums_.size(); ++c) sums_[c].merge(o.sums_[c]);
    count_ += o.count_;
  }

  /// [channels]; empty before the first sample
  std::vector<double> means() const {
    std::vector<double> m;
    for (const auto& s : sums_) m.push_back(s.value() / static_cast<double>(count_));
    return m;
  }

 private:
  static constexpr std::int64_t block = 32;  // numbers added in float before they reach the double
  static constexpr std::int64_t lanes = 16;

  void add_last(const float* x, std::int64_t rows, std::int64_t channels) {
    exact_sum* const to = sums_.data();
    for (std::int64_t r = 0; r < rows; r += block) {
      const float* from = x + r * channels;
      const std::int64_t n = std::min(block, rows - r);
      std::int64_t c = 0;
      for (; c + lanes <= channels; c += lanes) {
        std::array<float, lanes> sum{};
        for (std::int64_t i = 0; i < n; ++i) {
          const float* p = from + i * channels + c;
          for (std::size_t j = 0; j < lanes; ++j) sum[j] += p[j];
        }
        for (std::size_t j = 0; j < lanes; ++j)
          to[static_cast<std::size_t>(c) + j].add(static_cast<double>(sum[j]));
      }
      for (auto& total : std::span(sums_).subspan(static_cast<std::size_t>(c))) {
        float sum = 0;
        for (std::int64_t i = 0; i < n; ++i) sum += from[i * channels + c];
        total.add(static_cast<double>(sum));
        ++c;
      }
    }
  }

  void add_planes(const float* x, std::int64_t outer, std::int64_t channels, std::int64_t inner) {
    for (std::int64_t o = 0; o < outer; ++o)
      for (std::int64_t c = 0; c < channels; ++c, x += inner) {
        std::int64_t i = 0;
        for (; i + lanes * block <= inner; i += lanes * block) {
          std::array<float, lanes> sum{};
          for (std::int64_t k = 0; k < block; ++k)
            for (std::size_t j = 0; j < lanes; ++j)
              sum[j] += x[i + k * lanes + static_cast<std::int64_t>(j)];
          for (float s : sum) sums_[static_cast<std::size_t>(c)].add(static_cast<double>(s));
        }
        double rest = 0;
        for (; i < inner; ++i) rest += static_cast<double>(x[i]);
        sums_[static_cast<std::size_t>(c)].add(rest);
      }
  }

  std::vector<exact_sum> sums_;
  std::int64_t count_ = 0;
};

}  // namespace ptq::calibration
