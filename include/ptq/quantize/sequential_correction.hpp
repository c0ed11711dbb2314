#pragma once
// SPDX-License-Identifier: Apache-2.0
// Sequential bias correction: the mean of every output channel, before its activation, is brought
// back to that of the float network, layer after layer, on what the quantized and already corrected
// layers before really give:
//
//   bias[o] = b[o] + Σ w[o, i, tap] · mean(x)[i, tap] − Σ ŵ[o, i, tap] · mean(x̂)[i, tap]
//
// Both means are exact over the samples, padding included (window_mean.hpp), so nothing is
// approximated, no threshold is needed, and a layer without a bias gets one. Batch-norms must be
// folded before: an unfolded one would undo it.
// Source: NNCF's and POT's BiasCorrection, which runs each layer to find its output's mean.

#include <cmath>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ptq/graph/graph.hpp>
#include <ptq/quantize/in_sequence.hpp>
#include <ptq/quantize/weights.hpp>
#include <ptq/quantize/window_mean.hpp>

namespace ptq::quantization {

/// A layer of the float network.
struct real_layer {
  tensor weights;
  std::vector<double> bias;   // [channels]
  std::vector<double> means;  // [inputs, taps] of what it reads
};
using real_layers = std::map<std::string, real_layer, std::less<>>;  // by node name

/// The weights of an integer layer as the reals that their codes stand for, [channels, taps].
inline std::vector<float> dequantized_weights(const graph& g, const node& n) {
  const auto& v = g[n.inputs[1]];
  const auto view = view_of(n, v.dims);
  std::vector<float> w(view.channels * view.taps);
  const auto& q = *v.quant;
  const auto codes = v.constant->view<std::int8_t>();
  for (std::size_t c = 0; c < view.channels; ++c) {
    const auto at = q.scale.size() == 1 ? 0 : c;
    for (std::size_t t = 0; t < view.taps; ++t)
      w[c * view.taps + t] = dequantize_value(codes[view.at(c, t)], q.scale[at], q.zero_point[at]);
  }
  return w;
}

/// Mean of every output before the activation and without the bias.
///
/// w      [channels, inputs of a group, taps]
/// means  [inputs, taps]
inline std::vector<double> mean_outputs(std::span<const float> w, std::span<const double> means,
                                        std::size_t channels, std::size_t groups) {
  std::vector<double> y(channels);
  const auto each = w.size() / channels;
  for (std::size_t o = 0; o < channels; ++o) {
    const auto* m = means.data() + o / (channels / groups) * each;
    for (std::size_t t = 0; t < each; ++t) y[o] += static_cast<double>(w[o * each + t]) * m[t];
  }
  return y;
}

/// Replaces the bias of an integer layer, keeping its grid; a channel whose accumulator could
/// overflow keeps its own.
///
/// returns  false if no channel could be changed, for want of a grid
inline bool replace_bias(graph& g, std::size_t index, std::span<const double> bias) {
  auto& n = g.nodes[index];
  const auto& x = *g[n.inputs[0]].quant;
  const auto weights = g[n.inputs[1]];
  if (size_of(x.type) != 1 || weights.constant->type() != dtype::s8) return false;
  const auto view = view_of(n, weights.dims);
  const auto q = weights.constant->view<std::int8_t>();
  const bool biased = n.inputs.size() > 2 && n.inputs[2] != none;
  qparams grid{.type = dtype::s32,
               .scale = std::vector<float>(view.channels),
               .zero_point = std::vector<std::int32_t>(view.channels, 0),
               .axis = 0};
  tensor codes(dtype::s32, {static_cast<std::int64_t>(view.channels)});
  if (biased) codes = *g[n.inputs[2]].constant;
  if (codes.type() != dtype::s32 || codes.size() != static_cast<std::int64_t>(view.channels))
    return false;
  const auto to = codes.mutable_view<std::int32_t>();
  const std::int64_t low = x.type == dtype::s8 ? -128 : 0;
  const std::int64_t reach = std::max(x.zero_point[0] - low, low + 255 - x.zero_point[0]);
  for (std::size_t c = 0; c < view.channels; ++c) {
    grid.scale[c] = x.scale[0] * weights.quant->scale[weights.quant->scale.size() == 1 ? 0 : c];
    const double steps = std::fabs(bias[c]) / static_cast<double>(grid.scale[c]);
    const auto& zeros = weights.quant->zero_point;
    const int zero = zeros[zeros.size() == 1 ? 0 : c];
    std::int64_t sum = 0;
    for (std::size_t t = 0; t < view.taps; ++t) sum += std::abs(q[view.at(c, t)] - zero);
    if (std::isfinite(bias[c]) && steps + 1 + static_cast<double>(sum * reach) < 0x1p31)
      to[c] = static_cast<std::int32_t>(bias_code(bias[c], grid.scale[c]));
  }
  if (biased) {
    auto& v = g[n.inputs[2]];
    v.constant = std::move(codes);
    v.quant = std::move(grid);
    return true;
  }
  value v;
  v.name = n.name + "_bias_quantized";
  v.dims = codes.dims();
  v.shaped = true;
  v.constant = std::move(codes);
  v.quant = std::move(grid);
  const auto id = g.add(std::move(v));
  g.nodes[index].inputs.resize(3, none);
  g.nodes[index].inputs[2] = id;
  return true;
}

/// Corrects the bias of one integer layer; a layer that the float network lacks stays as it is.
///
/// means  [inputs, taps] of what arrives in the quantized network
inline void correct_bias(graph& g, std::size_t index, std::span<const double> means,
                         const real_layers& real, const layer_window& window) {
  const auto& n = g.nodes[index];
  const auto it = real.find(n.name);
  if (it == real.end() || it->second.means.size() != means.size()) return;
  const auto& r = it->second;
  const auto channels = r.bias.size();
  const auto groups = static_cast<std::size_t>(window.groups);
  const auto view = view_of(n, r.weights.dims());
  std::vector<float> w(channels * view.taps);
  const auto from = r.weights.view<float>();
  for (std::size_t c = 0; c < channels; ++c)
    for (std::size_t t = 0; t < view.taps; ++t) w[c * view.taps + t] = from[view.at(c, t)];
  const auto wanted = mean_outputs(w, r.means, channels, groups);
  const auto got = mean_outputs(dequantized_weights(g, n), means, channels, groups);
  std::vector<double> bias(channels);
  for (std::size_t c = 0; c < channels; ++c) bias[c] = r.bias[c] + wanted[c] - got[c];
  replace_bias(g, index, bias);
}

/// Means of what an integer layer reads, over all samples of the runner.
template <part_runner Runner>
std::vector<double> input_means_of(const graph& g, const node& n, const layer_window& window,
                                   Runner& run) {
  window_mean mean(window);
  for (std::int64_t i = 0; i < run.count(); ++i) mean.add(run.at(g[n.inputs[0]].name, i));
  return mean.means();
}

/// The quantized graph with every bias corrected in turn.
///
/// g        quantized, every extent known
/// real     of the float network it comes from
/// cost     one pass of the quantized network over the samples
template <part_runner Runner>
graph sequentially_corrected(graph g, const real_layers& real, Runner& run) {
  return in_sequence(std::move(g), run, [&](graph& now, std::size_t index, Runner& r) {
    const auto& n = now.nodes[index];
    const auto window = window_of(n, now[n.inputs[1]].dims, now[n.inputs[0]].dims);
    correct_bias(now, index, input_means_of(now, n, window, r), real, window);
  });
}

}  // namespace ptq::quantization
