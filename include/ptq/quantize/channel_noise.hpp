#pragma once
// SPDX-License-Identifier: Apache-2.0
// What the rounding of a group of channels (channel_groups.hpp) costs the layers that read it, were
// its channels divided by `by`. For each output of a reader, noise over signal:
//
//   activations   Σ step² / 12 · Σ (w[c] · by[c])²          step: of every value of the group, which
//                                                           its largest channel decides
//   weights       Σ (lost[c] / by[c])² · variance[c]        lost: what rounding w[c] · by[c] to the grid of
//                                                           the output's own weights takes from it
//   signal        Σ w[c]² · variance[c]
//
// The noises of different groups hardly depend on each other, and whatever the layers behind make of
// them, they make it of less: so each group can be judged where it is read.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include <ptq/graph/graph.hpp>
#include <ptq/quantize/channel_scales.hpp>
#include <ptq/quantize/overflow.hpp>

namespace ptq::quantization {

/// Of one value along its channel axis.
struct channel_spread {
  std::vector<float> most;  // largest magnitude of every channel
  std::vector<double> variance;
  bool negative = false;  // some number is
};
using channel_spreads = std::map<std::string, channel_spread, std::less<>>;

/// A group's numbers, gathered once for all factors that are tried.
class group_noise {
 public:
  /// seen  of all its members
  group_noise(const graph& g, const channel_group& group, const channel_spreads& seen)
      : g_(g), group_(group), variance_(static_cast<std::size_t>(group.channels)) {
    for (const auto& m : group.members) {
      const auto& s = seen.find(m.value)->second;
      members_.push_back({&s, static_cast<std::size_t>(m.first)});
      for (std::size_t c = 0; c < variance_.size(); ++c)
        variance_[c] += s.variance[c + members_.back().first] /
                        static_cast<double>(group.members.size());
    }
  }

  /// Mean over the readers' outputs of noise / signal, added up over the readers.
  double of(std::span<const float> by) const {
    double rounding = 0;
    for (const auto& m : members_) rounding += square(step_of(m, by)) / 12;
    double sum = 0;
    for (const auto& r : group_.readers) sum += of_reader(r, by, rounding);
    return sum;
  }

 private:
  struct member {
    const channel_spread* seen;
    std::size_t first;
  };
  static double square(double x) { return x * x; }

  static double step_of(const member& m, std::span<const float> by) {
    double top = 0;
    for (std::size_t c = 0; c < m.seen->most.size(); ++c) {
      const bool inside = c >= m.first && c < m.first + by.size();
      const double s = inside ? static_cast<double>(by[c - m.first]) : 1;
      top = std::max(top, static_cast<double>(m.seen->most[c]) / s);
    }
    return top * (m.seen->negative ? 2 : 1) / 255;
  }

  static float factor_of(const channel_group::reader& r, std::span<const float> by,
                         std::size_t input) {
    const auto c = static_cast<std::size_t>(static_cast<std::int64_t>(input) - r.first);
    return c < by.size() ? by[c] : 1.0f;
  }

  double of_reader(const channel_group::reader& r, std::span<const float> by,
                   double rounding) const {
    const auto& n = g_.nodes[static_cast<std::size_t>(r.node)];
    const auto& w = *g_.constant_of(n.inputs[1]);
    const auto view = view_of(n, w.dims());
    const auto* conv = std::get_if<op::conv>(&n.what);
    const bool depthwise = conv && conv->groups != 1;
    std::size_t inner = 1;  // taps of one input channel
    if (conv)
      for (int i = 2; i < w.dims().rank(); ++i) inner *= static_cast<std::size_t>(w.dims()[i]);
    const auto v = w.view<float>();
    const auto input_of = [&](std::size_t o, std::size_t t) { return depthwise ? o : t / inner; };
    std::vector<double> noise, signal;
    for (std::size_t o = 0; o < view.channels; ++o) {
      float top = 0;
      for (std::size_t t = 0; t < view.taps; ++t)
        top = std::max(top, std::fabs(v[view.at(o, t)] * factor_of(r, by, input_of(o, t))));
      constexpr double codes = 127;
      const double step = static_cast<double>(top) / codes;
      double activations = 0, weights = 0, heard = 0;
      for (std::size_t t = 0; t < view.taps; ++t) {
        const auto c = static_cast<std::size_t>(static_cast<std::int64_t>(input_of(o, t)) - r.first);
        if (c >= by.size()) continue;  // of another group
        const auto w_real = static_cast<double>(v[view.at(o, t)]);
        const double factor = static_cast<double>(by[c]), scaled = w_real * factor;
        activations += square(scaled);
        const double lost = step > 0 ? step * std::nearbyint(scaled / step) - scaled : 0;
        weights += square(lost / factor) * variance_[c];
        heard += square(w_real) * variance_[c];
      }
      if (heard == 0) continue;
      noise.push_back(rounding * activations + weights);
      signal.push_back(heard);
    }
    if (noise.empty()) return 0;
    double loud = 0, each = 0, all = 0;
    for (std::size_t o = 0; o < noise.size(); ++o) {
      each += noise[o] / signal[o] / static_cast<double>(noise.size());
      all += noise[o];
      loud += signal[o];
    }
    return std::sqrt(each * (all / loud));
  }

  const graph& g_;
  const channel_group& group_;
  std::vector<double> variance_;
  std::vector<member> members_;
};

}  // namespace ptq::quantization
