#pragma once
// SPDX-License-Identifier: Apache-2.0
// Largest magnitude and variance of every channel of some values, over samples: what equalisation
// goes by.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <ptq/data/samples.hpp>
#include <ptq/execute.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/quantize/channel_groups.hpp>
#include <ptq/quantize/channel_noise.hpp>

namespace ptq::recovering {

/// One channel after another, or pixel by pixel where the channels lie side by side.
class spread_counter {
 public:
  explicit spread_counter(int axis) : axis_(axis) {}

  /// Nothing where the value has no such axis, or no real numbers.
  void add(const tapped& t) {
    if (t.type != dtype::f32 || t.dims.rank() <= axis_) return;
    const auto channels = t.dims[axis_];
    const auto stride = lowering::strides_in(t.dims, t.memory)[static_cast<std::size_t>(axis_)];
    most_.resize(u(channels));
    sums_.resize(u(channels));
    squares_.resize(u(channels));
    const auto* x = static_cast<const float*>(t.data);
    const auto size = t.size();
    count_ += channels > 0 ? size / channels : 0;
    if (stride == 1) {
      for (const auto* end = x + size; x < end; x += channels)
        for (std::int64_t c = 0; c < channels; ++c) look(u(c), x[c]);
      return;
    }
    for (std::int64_t i = 0; i < size; i += stride)
      for (std::int64_t k = 0; k < stride; ++k) look(u(i / stride % channels), x[i + k]);
  }

  quantization::channel_spread spread() const {
    quantization::channel_spread s{most_, std::vector<double>(most_.size()), negative_};
    const auto n = static_cast<double>(std::max<std::int64_t>(count_, 1));
    for (std::size_t c = 0; c < most_.size(); ++c)
      s.variance[c] = std::max(0.0, squares_[c] / n - sums_[c] / n * (sums_[c] / n));
    return s;
  }

 private:
  static std::size_t u(std::int64_t i) { return static_cast<std::size_t>(i); }
  void look(std::size_t c, float x) {
    most_[c] = std::max(most_[c], std::fabs(x));
    negative_ = negative_ || x < 0;
    sums_[c] += static_cast<double>(x);
    squares_[c] += static_cast<double>(x) * static_cast<double>(x);
  }

  int axis_;
  std::vector<float> most_;
  std::vector<double> sums_, squares_;
  std::int64_t count_ = 0;  // numbers of each channel
  bool negative_ = false;
};

inline quantization::channel_spreads spreads_of(
    const graph& g, const std::vector<quantization::channel_group>& groups, samples data,
    const kernels::kernel_table& table, int threads) {
  std::map<std::string, spread_counter, std::less<>> counters;
  for (const auto& group : groups)
    for (const auto& m : group.members) counters.emplace(m.value, m.axis);
  runner run(g, table, {.threads = threads, .keep_values = true});
  const tap_function tap = [&](const tapped& t) {
    if (const auto it = counters.find(t.value); it != counters.end()) it->second.add(t);
  };
  data.rewind();
  for (auto s = data.next(); s; s = data.next()) run.run(*s, tap);
  quantization::channel_spreads seen;
  for (const auto& [name, counter] : counters)
    if (auto s = counter.spread(); !s.most.empty()) seen.emplace(name, std::move(s));
  return seen;
}

}  // namespace ptq::recovering
