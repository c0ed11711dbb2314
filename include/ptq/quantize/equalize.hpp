#pragma once
// SPDX-License-Identifier: Apache-2.0
// Channels that share one scale but not their size: equalised before quantization.
//
//   by[c] = a[c]^α / w[c]^(1 − α),   to the nearest power of two
//
// a: largest magnitude of the channel (the geometric mean of those of tied values), w: of the weights
// that read it. A factor common to all channels changes nothing, so none is taken out: what was scaled
// by powers of two is mended exactly. α = 1/2 is cross-layer equalisation (Nagel et al. 2019, eq. 11,
// with measured ranges in place of the producer's weights, whose rows have scales of their own here);
// larger α is SmoothQuant's migration from activations to weights (Xiao et al. 2023, eq. 4). A reader
// with a scale per channel (depthwise) loses nothing: α = 1. Each group takes the α that leaves the
// least noise where it is read (channel_noise.hpp), or stays as it is.
//
// Below an upper bound (ReLU6) channels are only made larger, and stay under it: a channel that was
// seen up to 0.5 may grow by 8. What is larger on other samples then meets the bound sooner, as it
// would meet the end of the calibrated range.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <ptq/graph/graph.hpp>
#include <ptq/quantize/channel_groups.hpp>
#include <ptq/quantize/channel_noise.hpp>

namespace ptq::quantization {

/// What is known of a group's channels.
struct channel_sizes {
  std::vector<double> activation;  // log2 of the largest magnitude; -inf where none was seen
  std::vector<double> room;        // log2 of what a channel may be divided by at least; -inf: unbounded
  std::vector<float> weights;      // largest that reads the channel; zeros: every reader is depthwise
};

/// nullopt where a value was not observed.
inline std::optional<channel_sizes> sizes_of(const graph& g, const channel_group& group,
                                             const channel_spreads& seen) {
  constexpr double nothing = -std::numeric_limits<double>::infinity();
  // What 32 samples show of a channel is exceeded by others now and then, by a quarter seldom.
  constexpr double margin = 1.25;
  const auto n = static_cast<std::size_t>(group.channels);
  channel_sizes s{std::vector<double>(n), std::vector<double>(n, nothing),
                  reader_magnitudes(g, group)};
  std::vector<int> counted(n);
  for (const auto& m : group.members) {
    const auto it = seen.find(m.value);
    if (it == seen.end() ||
        static_cast<std::int64_t>(it->second.most.size()) < m.first + group.channels)
      return {};
    for (std::size_t c = 0; c < n; ++c) {
      const double a = static_cast<double>(it->second.most[static_cast<std::size_t>(m.first) + c]);
      if (!(a > 0) || !std::isfinite(a)) continue;
      s.activation[c] += std::log2(a);
      ++counted[c];
      if (std::isfinite(m.bound))
        s.room[c] = std::max(s.room[c], std::log2(a * margin / static_cast<double>(m.bound)));
    }
  }
  for (std::size_t c = 0; c < n; ++c)
    s.activation[c] = counted[c] > 0 ? s.activation[c] / counted[c] : nothing;
  return s;
}

/// Factors for one group; all 1 where there is nothing to equalise.
inline std::vector<float> equalising_factors(const channel_sizes& s, double alpha, bool bounded) {
  std::vector<float> by(s.activation.size(), 1.0f);
  const bool weighted =
      std::any_of(s.weights.begin(), s.weights.end(), [](float w) { return w > 0; });
  if (!weighted) alpha = 1;
  // 2^±20 covers all that one float layer makes of another's numbers.
  constexpr double most = 20;
  std::vector<double> e(by.size(), std::numeric_limits<double>::quiet_NaN());
  double low = INFINITY, high = -INFINITY;
  for (std::size_t c = 0; c < by.size(); ++c) {
    if (std::isinf(s.activation[c]) || (weighted && !(s.weights[c] > 0))) continue;
    e[c] = alpha * s.activation[c];
    if (weighted) e[c] -= (1 - alpha) * std::log2(static_cast<double>(s.weights[c]));
    high = std::max(high, e[c]);
  }
  const double top = bounded ? high : 0;
  high = -INFINITY;
  for (std::size_t c = 0; c < by.size(); ++c) {
    if (std::isnan(e[c])) continue;
    e[c] = std::clamp(std::nearbyint(e[c] - top), -most, most);
    if (bounded) e[c] = std::clamp(std::max(e[c], std::ceil(s.room[c])), -most, 0.0);
    low = std::min(low, e[c]);
    high = std::max(high, e[c]);
  }
  if (!(low < high)) return by;
  for (std::size_t c = 0; c < by.size(); ++c)
    if (!std::isnan(e[c])) by[c] = std::exp2(static_cast<float>(e[c]));
  return by;
}

enum class equalisation : std::uint8_t {
  cross_layer,  // what convolutions and products hand to others
  bounded,      // likewise, below the bound of an activation
  smooth,       // what layer-norms hand to products
  product       // what a product with constant factors hands to others (products.hpp)
};

/// The groups of one kind.
inline std::vector<channel_group> equalisable(const graph& g, equalisation what) {
  std::vector<channel_group> some;
  for (auto& s : channel_group_finder(g).find()) {
    const bool norm = std::any_of(s.producers.begin(), s.producers.end(), [&](std::int32_t p) {
      return std::holds_alternative<op::layer_norm>(g.nodes[static_cast<std::size_t>(p)].what);
    });
    const bool product = std::any_of(s.producers.begin(), s.producers.end(), [&](std::int32_t p) {
      return std::holds_alternative<op::binary>(g.nodes[static_cast<std::size_t>(p)].what);
    });
    const auto kind = product       ? equalisation::product
                      : norm        ? equalisation::smooth
                      : s.bounded() ? equalisation::bounded
                                    : equalisation::cross_layer;
    if (kind == what) some.push_back(std::move(s));
  }
  return some;
}

/// Factors of the α that leaves the least noise; none where not this share of it goes.
inline std::optional<std::vector<float>> best_factors(const graph& g, const channel_group& group,
                                                      const channel_spreads& seen,
                                                      std::span<const double> alphas,
                                                      double gain) {
  const auto sizes = sizes_of(g, group, seen);
  if (!sizes) return {};
  const group_noise noise(g, group, seen);
  const std::vector<float> as_is(static_cast<std::size_t>(group.channels), 1.0f);
  double least = (1 - gain) * noise.of(as_is);
  std::optional<std::vector<float>> best;
  for (double alpha : alphas) {
    auto by = equalising_factors(*sizes, alpha, group.bounded());
    const double left = by == as_is ? least : noise.of(by);
    if (left >= least) continue;
    least = left;
    best = std::move(by);
  }
  return best;
}

/// The graph with equalised channels, and how many groups changed.
///
/// g       float
/// seen    of the values that `equalisable` lists; groups with one that is absent stay as they are
/// alphas  to choose from, for each group
/// exact   the float outputs are equal to the bit, but beyond the bounds of bounded groups
inline std::pair<graph, int> equalised(graph g, equalisation what, const channel_spreads& seen,
                                       std::span<const double> alphas) {
  // Below a twentieth a gain is less than what the estimate is worth; a product costs time as well.
  const double gain = what == equalisation::product ? 0.5 : 0.05;
  int changed = 0;
  // Back to front: a layer's rows have their final scale before its columns are looked at.
  const auto groups = equalisable(g, what);
  for (std::size_t i = groups.size(); i-- > 0;)
    if (const auto by = best_factors(g, groups[i], seen, alphas, gain)) {
      divide_channels(g, groups[i], *by);
      ++changed;
    }
  return {std::move(g), changed};
}

}  // namespace ptq::quantization
