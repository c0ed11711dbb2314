#pragma once
// SPDX-License-Identifier: Apache-2.0
// The weights of one integer layer rounded for what really arrives there (rounding.hpp), as one step
// of a sequence (in_sequence.hpp). What is aimed at lies between the layer's own float output on that
// input and the output of the float network: all of the way follows a few dozen samples too closely
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

/// Rounds the weights of node `index` anew.
///
/// limit    codes lie in −limit … limit
/// inputs   of the float network
/// returns  false, and leaves the layer, where it can't be done: weights that other layers share, a
/// grid that is not symmetric, too many inputs, or codes that could overflow the accumulator
template <part_runner Runner>
bool round_for_inputs(graph& g, std::size_t index, const real_layers& real, int limit, Runner& run,
                      real_inputs<Runner>& inputs) {
  const auto& n = g.nodes[index];
  const auto it = real.find(n.name);
  const auto& weights = g[n.inputs[1]];
  const auto& x = *g[n.inputs[0]].quant;
  if (it == real.end() || weights.constant->type() != dtype::s8 || size_of(x.type) != 1)
    return false;
  const auto& r = it->second;
  const auto view = view_of(n, weights.dims);
  qparams grid = *weights.quant;
  const auto zero = [](std::int32_t z) { return z == 0; };
  if (!uses(g).single_consumer(n.inputs[1]) || grid.scale.size() != view.channels ||
      !std::all_of(grid.zero_point.begin(), grid.zero_point.end(), zero) ||
      view.taps > most_correlated_inputs)
    return false;
  const auto window = window_of(n, weights.dims, g[n.inputs[0]].dims);
  // 16 positions for every number under the window determine its covariance well.
  const auto positions = std::max<std::int64_t>(4096, 16 * static_cast<std::int64_t>(view.taps));
  input_moments moments(window, positions / std::max<std::int64_t>(run.count(), 1) + 1);
  const bool paired = inputs.reach(n.name);
  for (std::int64_t i = 0; i < run.count(); ++i) {
    const auto arrived = run.at(g[n.inputs[0]].name, i);
    if (paired)
      moments.add(arrived, inputs.at(i));
    else
      moments.add(arrived);
  }

  const auto from = r.weights.view<float>();
  const auto per_group = view.channels / static_cast<std::size_t>(window.groups);
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
  if (!fits_accumulator(x, r.bias, grid.scale, codes)) return false;
  auto& to = g[n.inputs[1]];
  const auto out = to.constant->mutable_view<std::int8_t>();
  for (std::size_t c = 0; c < view.channels; ++c)
    for (std::size_t t = 0; t < view.taps; ++t)
      out[view.at(c, t)] = static_cast<std::int8_t>(codes[c][t]);
  to.quant = std::move(grid);
  return true;
}

/// The quantized graph with weights rounded and biases corrected, layer after layer.
///
/// inputs   of the float network
/// cost     one pass of either network over the samples, and per layer O(channels · K²)
template <part_runner Runner>
graph rounded_for_inputs(graph g, const real_layers& real, int limit, Runner& run,
                         real_inputs<Runner>& inputs) {
  return in_sequence(std::move(g), run, [&](graph& now, std::size_t index, Runner& r) {
    const auto window = window_of(now.nodes[index], now[now.nodes[index].inputs[1]].dims,
                                  now[now.nodes[index].inputs[0]].dims);
    round_for_inputs(now, index, real, limit, r, inputs);
    correct_bias(now, index, input_means_of(now, now.nodes[index], window, r), real, window);
  });
}

}  // namespace ptq::quantization
