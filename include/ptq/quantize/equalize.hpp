#pragma once
// SPDX-License-Identifier: Apache-2.0
// Channels that share one scale but not their size: equalised before quantization.
//
//   by[c] = a[c]^α / w[c]^(1 − α),   to the nearest power of two
//
// a: largest magnitude of the channel, w: of the weights that read it. A factor common to all channels
// changes nothing, so none is taken out: what was scaled by powers of two is mended exactly.
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

/// Factors for one value; all 1 where there is nothing to equalise.
///
/// activation  [channels]
/// weights     [channels], or zeros where every reader is depthwise
inline std::vector<float> equalising_factors(const std::vector<float>& activation,
                                             const std::vector<float>& weights, double alpha) {
  std::vector<float> by(activation.size(), 1.0f);
  const bool weighted = std::any_of(weights.begin(), weights.end(), [](float w) { return w > 0; });
  if (!weighted) alpha = 1;
  // 2^±20 covers all that one float layer makes of another's numbers.
  constexpr double most = 20;
  double low = most, high = -most;
  for (std::size_t c = 0; c < by.size(); ++c) {
    if (!(activation[c] > 0) || (weighted && !(weights[c] > 0))) continue;
    double e = alpha * std::log2(static_cast<double>(activation[c]));
    if (weighted) e -= (1 - alpha) * std::log2(static_cast<double>(weights[c]));
    e = std::clamp(std::nearbyint(e), -most, most);
    low = std::min(low, e);
    high = std::max(high, e);
    by[c] = std::exp2(static_cast<float>(e));
  }
  if (low >= high) std::fill(by.begin(), by.end(), 1.0f);
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
  // Back to front: a layer's rows have their final scale before its columns are looked at.
  const auto values = equalisable(g, what);
  for (std::size_t i = values.size(); i-- > 0;) {
    const auto& s = values[i];
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
