#pragma once
// SPDX-License-Identifier: Apache-2.0
// Weights → s8 codes per output channel or tensor, biases → s32 codes at exactly float(input scale · weight
// scale), with the fast bias correction in between, and the proof that no accumulator can overflow.

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ptq/core/error.hpp>
#include <ptq/core/float8.hpp>
#include <ptq/core/numeric.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/graph/infer/window.hpp>
#include <ptq/graph/print.hpp>
#include <ptq/quantize/correction.hpp>
#include <ptq/quantize/overflow.hpp>
#include <ptq/quantize/params.hpp>
#include <ptq/quantize/scheme.hpp>

namespace ptq::quantization {

/// What bias correction knows of a layer's input.
struct input_means {
  std::vector<double> mean;  // of every channel; empty: no correction
  shape dims;                // of the samples' input, every extent known
};

/// Nearest integer to bias / scale, ties to even, |result| < 2^31.
inline std::int64_t bias_code(double bias, float scale) {
  const double q = bias / static_cast<double>(scale);
  const double low = std::floor(q), part = q - low;
  const bool up = part > 0.5 || (part == 0.5 && std::fmod(low, 2.0) != 0.0);
  return static_cast<std::int64_t>(up ? low + 1 : low);
}

/// Quantizes the layers of a graph; weights that several layers share with equal scales become one
/// constant.
class layer_quantizer {
 public:
  explicit layer_quantizer(graph& g, const weight_grid& grid = {},
                           overflow_fix fix = overflow_fix::none)
      : g_(g), grid_(grid), fix_(fix) {
    if (fix == overflow_fix::first_layer) first_ = first_layers(g);
  }

  /// Replaces the weights and bias of node `index`, whose input has qparams, by codes.
  ///
  /// returns  nothing, or why the layer must stay in float (it is unchanged then)
  /// throws   calibration_error naming node and constant if a weight or bias is not finite
  /// exact    |bias| + Σ|w − zw| · max|x − zero_point| < 2^31 in every channel
  std::optional<std::string> quantize(std::int32_t index, const input_means& input);

  /// Replaces just the weights of node `index` by codes; it computes in float with what they stand for.
  void round(std::int32_t index, const input_means& input);

 private:
  struct codes {
    qparams params;
    tensor q;                 // s8 or s16, in the constant's own order
    std::vector<float> lost;  // [channels, taps]  w − ŵ
    float scale(std::size_t c) const { return params.scale[params.per_channel() ? c : 0]; }
    std::int32_t zero(std::size_t c) const {
      return params.zero_point[params.per_channel() ? c : 0];
    }
  };
  codes quantized_weights(std::int32_t index, const tensor& w, const weight_view& v,
                          const std::vector<double>& bias, float input_scale) const;
  /// Half range: 7 bits never saturate, 64 + 64 <= 128.
  weight_grid grid_of(std::int32_t index) const {
    weight_grid grid = grid_;
    const bool half = fix_ == overflow_fix::all || (fix_ == overflow_fix::first_layer &&
                                                    first_[static_cast<std::size_t>(index)]);
    if (half && grid.bits == 8) grid.bits = 7;
    return grid;
  }
  void avoid_overflow(qparams& q, std::span<const float> x, const weight_view& v) const;
  std::vector<double> real_bias(const node& n, std::size_t channels) const;
  std::vector<double> shift(const node& n, const weight_view& v, const codes& c,
                            const input_means& input) const;
  value_id add(const std::string& name, tensor t, qparams q);
  value_id shared(value_id weights, const codes& c);
  [[noreturn]] void not_finite(const node& n, const value& v, float x) const {
    throw calibration_error("quantize: node '" + n.name + "' (" + op_name(n.what) + "): '" +
                            v.name + "': expected finite numbers, got " + std::to_string(x));
  }

  graph& g_;
  weight_grid grid_;
  overflow_fix fix_;
  std::vector<bool> first_;                         // by node
  std::map<value_id, std::vector<value_id>> made_;  // float constant → code constants
};

// ---------------------------------------------------------------------------------------------------------------------

inline std::vector<double> layer_quantizer::real_bias(const node& n, std::size_t channels) const {
  std::vector<double> bias(channels, 0.0);
  if (n.inputs.size() < 3 || n.inputs[2] == none) return bias;
  const auto& v = g_[n.inputs[2]];
  const auto b = v.constant->view<float>();
  for (std::size_t c = 0; c < channels; ++c) {
    const float x = b[b.size() == 1 ? 0 : c];
    if (!std::isfinite(x)) not_finite(n, v, x);
    bias[c] = static_cast<double>(x);
  }
  return bias;
}

/// Raises the scales of channels in which a pair could saturate: with a step of 1/127 of the largest
/// pair's sum, its two roundings bring it to 128 at most.
inline void layer_quantizer::avoid_overflow(qparams& q, std::span<const float> x,
                                            const weight_view& v) const {
  for (std::size_t c = 0; c < v.channels; ++c) {
    float& scale = q.scale[grid_.per_channel ? c : 0];
    const float from = scale;
    const auto code = [&](std::size_t i) {
      return static_cast<double>(quantize_value(x[i], from, 0, grid_.lowest(), grid_.highest()));
    };
    if (largest_pair(v, c, code) <= 128) continue;
    const auto real = [&](std::size_t i) { return static_cast<double>(x[i]); };
    const auto step = static_cast<float>(largest_pair(v, c, real) / 127);
    scale = std::max(scale, std::nextafter(step, std::numeric_limits<float>::max()));
  }
}

inline layer_quantizer::codes layer_quantizer::quantized_weights(std::int32_t index,
                                                                 const tensor& w,
                                                                 const weight_view& v,
                                                                 const std::vector<double>& bias,
                                                                 float input_scale) const {
  const auto& n = g_.nodes[static_cast<std::size_t>(index)];
  const auto grid = grid_of(index);
  const auto x = w.view<float>();
  std::vector<value_range> ranges(v.channels);
  for (std::size_t c = 0; c < v.channels; ++c)
    for (std::size_t t = 0; t < v.taps; ++t) {
      const float r = x[v.at(c, t)];
      if (!std::isfinite(r)) not_finite(n, g_[n.inputs[1]], r);
      ranges[c] = joined(ranges[c], {r, r});
    }
  codes out{.params = weight_params(ranges, bias, input_scale, grid), .q = {}, .lost = {}};
  out.q = tensor(out.params.type, w.dims());
  if (grid.per_channel) out.params.axis = v.axis;
  if (fix_ == overflow_fix::automatic && grid.bits == 8) avoid_overflow(out.params, x, v);
  out.lost.resize(v.channels * v.taps);
  auto* const bytes = out.q.mutable_data();
  const bool words = out.q.type() == dtype::s16;
  for (std::size_t c = 0; c < v.channels; ++c) {
    const float scale = out.scale(c);
    const auto zero = out.zero(c);
    for (std::size_t t = 0; t < v.taps; ++t) {
      const auto i = v.at(c, t);
      if (grid.type) {
        const auto byte = float8_code(x[i] / scale, *grid.type);
        bytes[i] = std::byte{byte};
        out.lost[c * v.taps + t] = x[i] - scale * float8_value(byte, *grid.type);
        continue;
      }
      const auto code = quantize_value(x[i], scale, zero, grid.lowest(), grid.highest());
      if (words) {
        const auto word = static_cast<std::int16_t>(code);
        std::memcpy(bytes + 2 * i, &word, 2);
      } else {
        bytes[i] = static_cast<std::byte>(code);
      }
      out.lost[c * v.taps + t] = x[i] - dequantize_value(code, scale, zero);
    }
  }
  return out;
}

inline std::vector<double> layer_quantizer::shift(const node& n, const weight_view& v,
                                                  const codes& c, const input_means& input) const {
  std::vector<double> inside{1.0};
  std::size_t groups = 1;
  if (const auto* conv = std::get_if<op::conv>(&n.what)) {
    const auto spatial = [](const shape& s) {
      return shape(std::vector<std::int64_t>(s.dims.begin() + 2, s.dims.end()));
    };
    const shape kernel = spatial(c.q.dims()), extents = spatial(input.dims);
    inside = inside_shares(ptq::resolved(conv->win, extents, kernel), kernel, extents);
    groups = static_cast<std::size_t>(conv->groups);
  }
  const std::size_t inputs = v.taps / inside.size() * groups;
  if (inputs != input.mean.size())
    throw shape_error("quantize: node '" + n.name + "' (" + op_name(n.what) +
                      "): channel means: expected " + std::to_string(inputs) + ", got " +
                      std::to_string(input.mean.size()));
  return mean_shift(c.lost, input.mean, inside, v.channels, groups);
}

inline value_id layer_quantizer::add(const std::string& name, tensor t, qparams q) {
  value v;
  v.name = name;
  v.type = dtype::f32;
  v.dims = t.dims();
  v.shaped = true;
  v.constant = std::move(t);
  v.quant = std::move(q);
  return g_.add(std::move(v));
}

inline value_id layer_quantizer::shared(value_id weights, const codes& c) {
  for (auto id : made_[weights])
    if (g_[id].quant == c.params) return id;
  const auto id = add(g_[weights].name + "_quantized", c.q, c.params);
  made_[weights].push_back(id);
  return id;
}

inline void layer_quantizer::round(std::int32_t index, const input_means& input) {
  auto& n = g_.nodes[static_cast<std::size_t>(index)];
  const tensor w = *g_.constant_of(n.inputs[1]);
  const auto v = view_of(n, w.dims());
  if (v.channels == 0 || v.taps == 0) return;
  auto bias = real_bias(n, v.channels);
  // No code of a bias, which would keep the scales from being small.
  const auto c = quantized_weights(index, w, v, std::vector<double>(v.channels), 1);
  if (!input.mean.empty()) {
    const auto moved = shift(n, v, c, input);
    std::vector<float> corrected;
    for (std::size_t i = 0; i < bias.size(); ++i) corrected.push_back(static_cast<float>(bias[i] + moved[i]));
    const auto name = n.inputs.size() > 2 && n.inputs[2] != none ? g_[n.inputs[2]].name : n.name + "_bias";
    n.inputs.resize(3, none);
    n.inputs[2] = g_.add_constant(name + "_corrected",
                                  tensor::from<float>({static_cast<std::int64_t>(corrected.size())},
                                                      std::span<const float>(corrected)));
  }
  n.inputs[1] = shared(n.inputs[1], c);
}

inline std::optional<std::string> layer_quantizer::quantize(std::int32_t index,
                                                            const input_means& input) {
  auto& n = g_.nodes[static_cast<std::size_t>(index)];
  const tensor w = *g_.constant_of(n.inputs[1]);
  const auto v = view_of(n, w.dims());
  if (v.channels == 0 || v.taps == 0) return "it has no weights";
  const auto& x = *g_[n.inputs[0]].quant;
  auto bias = real_bias(n, v.channels);
  const auto c = quantized_weights(index, w, v, bias, x.scale[0]);
  bool biased = n.inputs.size() > 2 && n.inputs[2] != none;
  if (!input.mean.empty()) {
    const auto moved = shift(n, v, c, input);
    for (std::size_t i = 0; i < bias.size(); ++i) bias[i] += moved[i];
    biased = true;
  }

  const auto bias_name =
      n.inputs.size() > 2 && n.inputs[2] != none ? g_[n.inputs[2]].name : n.name + "_bias";
  if (grid_.type) {  // the sum is a float's: so is the bias
    n.inputs[1] = shared(n.inputs[1], c);
    if (input.mean.empty()) return std::nullopt;
    std::vector<float> moved;
    for (double b : bias) moved.push_back(static_cast<float>(b));
    n.inputs.resize(3, none);
    n.inputs[2] = g_.add_constant(bias_name + "_corrected",
                                  tensor::from<float>({static_cast<std::int64_t>(moved.size())},
                                                      std::span<const float>(moved)));
    return std::nullopt;
  }
  qparams bias_params{.type = dtype::s32,
                      .scale = std::vector<float>(v.channels),
                      .zero_point = std::vector<std::int32_t>(v.channels, 0),
                      .axis = 0};
  tensor bias_codes(dtype::s32, {static_cast<std::int64_t>(v.channels)});
  const auto to = bias_codes.mutable_view<std::int32_t>();
  const std::int64_t reach =
      std::max(x.zero_point[0] - lowest_code(x.type), highest_code(x.type) - x.zero_point[0]);
  // Sums of 16-bit codes have 64 bits; a bias has 32 all the same.
  const bool wide = x.type == dtype::u16 || c.q.type() == dtype::s16;
  const auto codes = wide ? std::span<const std::int8_t>() : c.q.view<std::int8_t>();
  for (std::size_t i = 0; i < v.channels; ++i) {
    bias_params.scale[i] = x.scale[0] * c.scale(i);
    const double steps = std::fabs(bias[i]) / static_cast<double>(bias_params.scale[i]);
    std::int64_t sum = 0;
    const std::int32_t zero = c.zero(i);
    for (std::size_t t = 0; t < v.taps && !wide; ++t) sum += std::abs(codes[v.at(i, t)] - zero);
    if (steps + 1 + static_cast<double>(sum * reach) >= 0x1p31)
      return "its accumulator could exceed int32: channel " + std::to_string(i) + " reaches " +
             std::to_string(static_cast<std::int64_t>(steps) + sum * reach);
    to[i] = static_cast<std::int32_t>(bias_code(bias[i], bias_params.scale[i]));
  }
  n.inputs[1] = shared(n.inputs[1], c);
  if (biased) {
    n.inputs.resize(3, none);
    n.inputs[2] = add(bias_name + "_quantized", std::move(bias_codes), std::move(bias_params));
  }
  return std::nullopt;
}

}  // namespace ptq::quantization
