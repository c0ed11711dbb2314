#pragma once
// SPDX-License-Identifier: Apache-2.0
// Channels that share one scale but not their size: equalised before quantization.
//
//   by[c] = (a[c] / m_a)^α / (w[c] / m_w)^(1 − α),   to the nearest power of two
//
// a: largest magnitude of the channel, w: of the weights that read it, m: medians over channels.
// α = 1/2 is cross-layer equalisation (Nagel et al. 2019, eq. 11, with measured ranges in place of
// the producer's weights, whose rows have scales of their own here); larger α is SmoothQuant's
// migration from activations to weights (Xiao et al. 2023, eq. 4). A reader with a scale per channel
// (depthwise) loses nothing: α = 1.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <ptq/graph/graph.hpp>
#include <ptq/quantize/channel_scales.hpp>

namespace ptq::quantization {

/// Largest magnitude of every channel, by value.
using channel_magnitudes = std::map<std::string, std::vector<float>, std::less<>>;

/// Median of the positive ones; 0 if there are none.
inline double positive_median(const std::vector<float>& x) {
  std::vector<float> p;
  for (float v : x)
    if (v > 0) p.push_back(v);
  if (p.empty()) return 0;
  std::nth_element(p.begin(), p.begin() + static_cast<std::ptrdiff_t>(p.size() / 2), p.end());
  return static_cast<double>(p[p.size() / 2]);
}

/// Factors for one value; all 1 where there is nothing to equalise.
///
/// activation  [channels]
/// weights     [channels], or zeros where every reader is depthwise
inline std::vector<float> equalising_factors(const std::vector<float>& activation,
                                             const std::vector<float>& weights, double alpha) {
  std::vector<float> by(activation.size(), 1.0f);
  const double middle = positive_median(activation), middle_w = positive_median(weights);
  if (middle == 0) return by;
  if (middle_w == 0) alpha = 1;
  // Factors beyond 2^10 would mend numbers that one scale can't hold beside the others anyway.
  constexpr double most = 10;
  for (std::size_t c = 0; c < by.size(); ++c) {
    if (!(activation[c] > 0) || (middle_w > 0 && !(weights[c] > 0))) continue;
    double e = alpha * std::log2(static_cast<double>(activation[c]) / middle);
    if (middle_w > 0) e -= (1 - alpha) * std::log2(static_cast<double>(weights[c]) / middle_w);
    by[c] = std::exp2(static_cast<float>(std::clamp(std::nearbyint(e), -most, most)));
  }
  return by;
}

enum class equalisation : std::uint8_t {
  cross_layer,  // convolutions, and products that follow products
  smooth        // what layer-norms hand to products
};

/// The values of one kind.
inline std::vector<scalable> equalisable(const graph& g, equalisation what) {
  std::vector<scalable> some;
  for (auto& s : scalable_finder(g).find()) {
    const bool norm =
        std::holds_alternative<op::layer_norm>(g.nodes[static_cast<std::size_t>(s.producer)].what);
    if (norm == (what == equalisation::smooth)) some.push_back(std::move(s));
  }
  return some;
}

/// The graph with equalised channels, and how many values changed.
///
/// g      float
/// seen   of the values that `equalisable` lists; one that is absent stays as it is
/// exact  the float outputs are equal to the bit
inline std::pair<graph, int> equalised(graph g, equalisation what, const channel_magnitudes& seen,
                                       double alpha) {
  int changed = 0;
  for (const auto& s : equalisable(g, what)) {
    const auto it = seen.find(s.value);
    if (it == seen.end() || static_cast<std::int64_t>(it->second.size()) != s.channels) continue;
    const auto by = equalising_factors(it->second, consumer_magnitudes(g, s), alpha);
    if (std::all_of(by.begin(), by.end(), [](float f) { return f == 1.0f; })) continue;
    divide_channels(g, s, by);
    ++changed;
  }
  return {std::move(g), changed};
}

}  // namespace ptq::quantization
