#pragma once
// SPDX-License-Identifier: Apache-2.0
// The weights of one integer layer rounded for what really arrives there (rounding.hpp), as one step
// of a sequence (in_sequence.hpp). Where the float network runs beside, what is aimed at lies between
// the layer's own float output on that input and the output of the float network: all of the way
// follows a few dozen samples too closely
// (mobilenet_v1_0.25, int8: 24.7 dB half of the way, 24.0 all of it, 24.6 without), and half of it is
// what 4-bit weights need (resnet20: 21.8 dB, 21.4, 18.0).

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include <ptq/graph/graph.hpp>
#include <ptq/quantize/in_sequence.hpp>
#include <ptq/quantize/input_moments.hpp>
#include <ptq/quantize/rounding.hpp>
#include <ptq/quantize/sequential_correction.hpp>
#include <ptq/quantize/weights.hpp>

namespace ptq::quantization {

/// A covariance of K numbers takes K² doubles, 42 MB, of which four are held; a channel K² steps, 5 million.
inline constexpr std::size_t most_correlated_inputs = 2304;

/// True if the accumulator holds whatever the input: |bias| + Σ|code| · reach < 2^31 in every channel,
/// and the grid resolves the bias (2^30 steps at most).
inline bool fits_accumulator(const qparams& x, std::span<const double> bias,
                             std::span<const float> scale,
                             const std::vector<std::vector<int>>& codes) {
  const std::int64_t low = x.type == dtype::s8 ? -128 : 0;
  const std::int64_t reach = std::max(x.zero_point[0] - low, low + 255 - x.zero_point[0]);
  for (std::size_t c = 0; c < codes.size(); ++c) {
    std::int64_t sum = 0;
    for (int q : codes[c]) sum += std::abs(q);
    const double steps = std::fabs(bias[c]) / static_cast<double>(x.scale[0] * scale[c]);
    if (steps > 0x1p30 || steps + 1 + static_cast<double>(sum * reach) >= 0x1p31) return false;
  }
  return true;
}

/// Share of what the layers before lost that a layer makes up for.
inline constexpr double made_up_share = 0.5;

/// D · w · share; nothing without D.
inline std::vector<double> pull_of(std::span<const double> lost, std::span<const float> w) {
  std::vector<double> p(lost.empty() ? 0 : w.size());
  for (std::size_t i = 0; i < p.size(); ++i)
    for (std::size_t j = 0; j < w.size(); ++j)
      p[i] += made_up_share * lost[i * w.size() + j] * static_cast<double>(w[j]);
  return p;
}

/// Which layers are rounded, and how.
struct rounding_rule {
  int limit = 127;                                   // codes lie in −limit … limit
  std::size_t most_inputs = most_correlated_inputs;  // numbers under the window
  std::int64_t least_positions = 4096;               // looked at, of all samples
  bool convolutions = false;                         // alone
  bool lossy = false;  // alone: where a code is off its weight
};

/// Convolutions with so few inputs that rounding costs little beside running them: first layers,
/// depthwise ones, narrow 1×1.
inline rounding_rule small_convolutions(int limit) { return {limit, 64, 4096, true, true}; }

/// Whether any code is off its weight by more than a hundredth of a step. Those of a model that was
/// dequantized are not.
inline bool loses_anything(const graph& g, const node& n, const real_layer& r) {
  const auto view = view_of(n, r.weights.dims());
  const auto real = r.weights.view<float>();
  const auto rounded = dequantized_weights(g, n);
  const auto& scale = g[n.inputs[1]].quant->scale;
  for (std::size_t c = 0; c < view.channels; ++c)
    for (std::size_t t = 0; t < view.taps; ++t)
      if (std::fabs(real[view.at(c, t)] - rounded[c * view.taps + t]) > 0.01f * scale[c]) return true;
  return false;
}

/// False where it can't be done: weights that other layers share, a grid that is not symmetric, too
/// many inputs; or where the rule leaves it out.
inline bool can_round(const graph& g, const node& n, const real_layers& real,
                      const rounding_rule& rule) {
  const auto& weights = g[n.inputs[1]];
  const auto it = real.find(n.name);
  if (it == real.end() || weights.constant->type() != dtype::s8 ||
      size_of(g[n.inputs[0]].quant->type) != 1 ||
      (rule.convolutions && !std::holds_alternative<op::conv>(n.what)))
    return false;
  const auto view = view_of(n, weights.dims);
  const auto& grid = *weights.quant;
  const auto zero = [](std::int32_t z) { return z == 0; };
  return uses(g).single_consumer(n.inputs[1]) && grid.scale.size() == view.channels &&
         std::all_of(grid.zero_point.begin(), grid.zero_point.end(), zero) &&
         view.taps <= rule.most_inputs && (!rule.lossy || loses_anything(g, n, it->second));
}

/// Rounds the weights of node `index` anew; codes that could overflow the accumulator leave the layer
/// as it is.
///
/// moments  of what arrives
inline void round_for_inputs(graph& g, std::size_t index, const real_layer& r, int limit,
                             const input_moments& moments, std::size_t groups) {
  const auto& n = g.nodes[index];
  const auto& x = *g[n.inputs[0]].quant;
  const auto view = view_of(n, g[n.inputs[1]].dims);
  qparams grid = *g[n.inputs[1]].quant;
  const auto from = r.weights.view<float>();
  const auto per_group = view.channels / groups;
  std::vector<std::vector<int>> codes(view.channels);
  std::vector<double> covariance, lost;
  std::vector<float> w(view.taps);
  for (std::size_t c = 0; c < view.channels; ++c) {
    if (c % per_group == 0) {
      covariance = moments.covariance(c / per_group);
      damp(covariance, view.taps);
      lost = moments.lost(c / per_group);
    }
    for (std::size_t t = 0; t < view.taps; ++t) w[t] = from[view.at(c, t)];
    auto best = channel_rounder(w, covariance, limit, pull_of(lost, w)).best(grid.scale[c]);
    codes[c] = std::move(best.codes);
    grid.scale[c] = best.scale;
  }
  if (!fits_accumulator(x, r.bias, grid.scale, codes)) return;
  auto& to = g[n.inputs[1]];
  const auto out = to.constant->mutable_view<std::int8_t>();
  for (std::size_t c = 0; c < view.channels; ++c)
    for (std::size_t t = 0; t < view.taps; ++t)
      out[view.at(c, t)] = static_cast<std::int8_t>(codes[c][t]);
  to.quant = std::move(grid);
}

/// The quantized graph with weights rounded and biases corrected, layer after layer.
///
/// inputs   of the float network; null: every layer for what arrives there, not for what was lost before
/// cost     one pass of either network over the samples, and per layer that is rounded O(channels · K²)
template <part_runner Runner>
graph rounded_for_inputs(graph g, const real_layers& real, const rounding_rule& rule, Runner& run,
                         real_inputs<Runner>* inputs = nullptr) {
  return in_sequence(std::move(g), run, [&](graph& now, std::size_t index, Runner& r) {
    const auto& n = now.nodes[index];
    const auto& weights = now[n.inputs[1]].dims;
    const auto window = window_of(n, weights, now[n.inputs[0]].dims);
    const bool rounds = can_round(now, n, real, rule), paired = rounds && inputs && inputs->reach(n.name);
    // 16 positions for every number under the window determine its covariance well.
    const auto taps = static_cast<std::int64_t>(view_of(n, weights).taps);
    const auto positions = std::max(rule.least_positions, 16 * taps);
    window_mean mean(window);
    input_moments moments(window, positions / std::max<std::int64_t>(r.count(), 1) + 1);
    for (std::int64_t i = 0; i < r.count(); ++i) {
      const auto arrived = r.at(now[n.inputs[0]].name, i);
      mean.add(arrived);
      if (paired)
        moments.add(arrived, inputs->at(i));
      else if (rounds)
        moments.add(arrived);
    }
    if (rounds)
      round_for_inputs(now, index, real.find(n.name)->second, rule.limit, moments,
                       static_cast<std::size_t>(window.groups));
    correct_bias(now, index, mean.means(), real, window);
  });
}

}  // namespace ptq::quantization
