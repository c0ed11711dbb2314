#pragma once
// SPDX-License-Identifier: Apache-2.0
// The quantized network with every rounding taken off: its own nodes and float's numbers, scaled as
// equalisation scaled them. It computes what the float network computes, and its values lie on the
// scale of the quantized network's grids, which the float network's do not.
//
// Equalisation scales channels by powers of two (channel_scales.hpp):
//
//   w'[o, i] = w[o, i] · 2^(out[o] − in[i]),   b'[o] = b[o] · 2^out[o]

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ptq/data/samples.hpp>
#include <ptq/execute/runner.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/lower/constants.hpp>
#include <ptq/quantize/in_sequence.hpp>
#include <ptq/quantize/overflow.hpp>

namespace ptq::recovering {

/// Σx² of every input channel of the integer layers, by the name of what they read.
using channel_energies = std::map<std::string, std::vector<double>, std::less<>>;

/// Layers whose channels equalisation may have scaled.
inline bool scalable(const graph& codes, const node& n) {
  if (quantization::is_integer_layer(codes, n)) return true;
  if (!std::holds_alternative<op::recurrent>(n.what) || n.inputs.size() < 2) return false;
  return n.inputs[0] != none && n.inputs[1] != none && codes[n.inputs[1]].constant &&
         codes[n.inputs[1]].quant;
}

/// Axis of a layer's input along which its channels lie.
inline int channel_axis(const node& n, const shape& input) {
  return std::holds_alternative<op::conv>(n.what) ? 1 : input.rank() - 1;
}

/// axes  by the values' names; of samples, the first few
inline channel_energies energies_of(const graph& g,
                                    const std::map<std::string, int, std::less<>>& axes,
                                    const samples& data, const kernels::kernel_table& table,
                                    int threads) {
  constexpr std::int64_t enough = 4;
  channel_energies all;
  runner run(g, table, {.threads = threads, .keep_values = true});
  const tap_function tap = [&](const tapped& t) {
    const auto it = axes.find(t.value);
    if (it == axes.end() || t.type != dtype::f32 || it->second >= t.dims.rank()) return;
    const auto x = t.real();
    std::size_t inner = 1;
    for (int a = it->second + 1; a < t.dims.rank(); ++a)
      inner *= static_cast<std::size_t>(t.dims[a]);
    const auto channels = static_cast<std::size_t>(t.dims[it->second]);
    auto& sums = all[std::string(t.value)];
    sums.resize(channels);
    const auto v = x.view<float>();
    for (std::size_t i = 0; i < v.size(); ++i)
      sums[i / inner % channels] += static_cast<double>(v[i]) * static_cast<double>(v[i]);
  };
  for (std::int64_t i = 0; i < std::min(enough, data.count().value_or(0)); ++i)
    run.run(*data.at(i), tap);
  return all;
}

/// What the energies in both networks say of an input channel. One that hardly any sample wakes says
/// little: rounded weights wake it more or less often.
struct channel_scale {
  int exponent = 0;
  double energy = 0;
};

inline std::vector<channel_scale> scales_of(const std::vector<double>& here,
                                            const std::vector<double>& there) {
  std::vector<channel_scale> all;
  if (here.size() != there.size()) return all;
  for (std::size_t i = 0; i < here.size(); ++i) {
    const double x = here[i], y = there[i];
    all.push_back(x > 0 && y > 0
                      ? channel_scale{static_cast<int>(std::lround(std::log2(x / y) / 2)), x}
                      : channel_scale{});
  }
  return all;
}

/// Exponents by which a layer's channels were scaled. Weights tell those of an output against those of
/// an input, the largest best; the inputs that count most in an output tell where both begin.
class layer_exponents {
 public:
  /// w      float's weights; codes: what became of them
  /// in     [inputs] of all groups, or none
  layer_exponents(const node& n, const tensor& w, const value& codes, std::vector<channel_scale> in)
      : view_(quantization::view_of(n, w.dims())) {
    const auto* conv = std::get_if<op::conv>(&n.what);
    const auto groups = conv ? static_cast<std::size_t>(conv->groups) : 1;
    per_group_ = std::max<std::size_t>(view_.channels / std::max<std::size_t>(groups, 1), 1);
    in.resize(view_.inputs * groups);
    const auto back = lowering::real_numbers(codes);
    const auto x = w.view<float>(), y = back.view<float>();
    std::vector<std::pair<int, double>> seen;
    for (std::size_t c = 0; c < view_.channels; ++c) {
      seen.clear();
      for (std::size_t t = 0; t < view_.taps; ++t)
        if (const auto e = exponent(x, y, codes, c, t)) {
          const auto& i = in[input(c, t)];
          const double weight = static_cast<double>(y[view_.at(c, t)]);
          seen.emplace_back(*e + i.exponent, weight * weight * (i.energy + 1e-30));
        }
      out_.push_back(middle_of(seen, 0));
    }
    std::vector<std::vector<std::pair<int, double>>> of_input(in.size());
    for (std::size_t c = 0; c < view_.channels; ++c)
      for (std::size_t t = 0; t < view_.taps; ++t)
        if (const auto e = exponent(x, y, codes, c, t)) {
          const double weight = static_cast<double>(y[view_.at(c, t)]);
          of_input[input(c, t)].emplace_back(out_[c] - *e, weight * weight);
        }
    for (std::size_t i = 0; i < in.size(); ++i)
      in_.push_back(middle_of(of_input[i], in[i].exponent));
  }

  tensor scaled_weights(const tensor& w) const {
    tensor out(dtype::f32, w.dims());
    const auto x = w.view<float>();
    const auto to = out.mutable_view<float>();
    for (std::size_t c = 0; c < view_.channels; ++c)
      for (std::size_t t = 0; t < view_.taps; ++t)
        to[view_.at(c, t)] = std::ldexp(x[view_.at(c, t)], out_[c] - in_[input(c, t)]);
    return out;
  }
  /// [channels], from one number or one for each
  ///
  /// shipped  tells of a depthwise channel, which may be hardly awake, whether it was scaled
  tensor scaled_bias(const tensor& b, const std::optional<tensor>& shipped) const {
    tensor out(dtype::f32, {static_cast<std::int64_t>(view_.channels)});
    const auto x = b.view<float>();
    const auto y = shipped ? shipped->view<float>() : std::span<const float>();
    const auto to = out.mutable_view<float>();
    for (std::size_t c = 0; c < to.size(); ++c) {
      const float plain = x[x.size() == 1 ? 0 : c], scaled = std::ldexp(plain, out_[c]);
      const float near = y.empty() || view_.inputs > 1 ? scaled : y[y.size() == 1 ? 0 : c];
      to[c] = std::fabs(near - plain) < std::fabs(near - scaled) ? plain : scaled;
    }
    return out;
  }

 private:
  std::size_t input(std::size_t c, std::size_t t) const {
    return c / per_group_ * view_.inputs +
           t / (view_.taps / std::max<std::size_t>(view_.inputs, 1));
  }
  /// Of one weight; nothing where its code is 0.
  template <class Reals>
  std::optional<int> exponent(const Reals& x, const Reals& y, const value& codes, std::size_t c,
                              std::size_t t) const {
    const auto& scale = codes.quant->scale;
    const auto i = view_.at(c, t);
    const float step = scale[c % scale.size()];
    if (!(std::fabs(y[i]) >= 0.5f * step) || x[i] == 0 || (x[i] < 0) != (y[i] < 0)) return {};
    return static_cast<int>(std::lround(std::log2(std::fabs(y[i] / x[i]))));
  }
  /// The weighted median, or `otherwise` of none.
  static int middle_of(std::vector<std::pair<int, double>>& all, int otherwise) {
    std::sort(all.begin(), all.end());
    double left = 0;
    for (const auto& [value, weight] : all) left += weight / 2;
    for (const auto& [value, weight] : all)
      if ((left -= weight) <= 0) return value;
    return otherwise;
  }

  quantization::weight_view view_;
  std::size_t per_group_ = 1;  // output channels
  std::vector<int> in_, out_;
};

/// Whether codes are roundings of these weights: optimised rounding goes one step at most.
inline bool rounds(const node& n, const tensor& real, const value& codes) {
  const auto back = lowering::real_numbers(codes);
  const auto x = real.view<float>(), y = back.view<float>();
  const auto& scale = codes.quant->scale;
  const auto near = [&](std::size_t i, float step) {
    return std::fabs(x[i] - y[i]) <= 1.5f * step;
  };
  const bool layer = std::holds_alternative<op::conv>(n.what) ||
                     std::holds_alternative<op::matmul>(n.what) ||
                     std::holds_alternative<op::recurrent>(n.what);
  if (scale.size() == 1 || !layer) {
    const float step = *std::max_element(scale.begin(), scale.end());
    for (std::size_t i = 0; i < x.size(); ++i)
      if (!near(i, step)) return false;
    return true;
  }
  const auto view = quantization::view_of(n, real.dims());
  for (std::size_t c = 0; c < view.channels; ++c)
    for (std::size_t t = 0; t < view.taps; ++t)
      if (!near(view.at(c, t), scale[c % scale.size()])) return false;
  return true;
}

struct unrounded {
  graph network;  // nodes and values of the quantized one, all real numbers
  std::set<std::size_t>
      changed;  // nodes whose weights are no roundings, however scaled: they stay as they are
};

/// real, codes  every extent known; values of one name are the same in both, up to scale
template <class = void>
unrounded with_roundings_off(const graph& real, const graph& codes, const samples& data,
                             const kernels::kernel_table& table, int threads) {
  unrounded u{codes, {}};
  graph& g = u.network;
  for (auto& v : g.values) {
    if (!v.quant) continue;
    if (v.constant) v.constant = lowering::real_numbers(v);
    v.type = dtype::f32;
    v.quant.reset();
  }
  std::map<std::string_view, const node*> makers;
  for (const auto& n : real.nodes)
    for (auto id : n.outputs)
      if (id != none) makers.emplace(real[id].name, &n);
  // What a layer reads may be a copy or a product of its own, unknown to the float network.
  std::map<std::string, int, std::less<>> read_here, read_there;
  for (const auto& n : codes.nodes) {
    if (!scalable(codes, n)) continue;
    const auto it = makers.find(codes[n.outputs[0]].name);
    if (it == makers.end() || it->second->inputs.empty() || it->second->inputs[0] == none) continue;
    const int axis = channel_axis(n, codes[n.inputs[0]].dims);
    read_here.emplace(codes[n.inputs[0]].name, axis);
    read_there.emplace(real[it->second->inputs[0]].name, axis);
  }
  auto here = energies_of(g, read_here, data, table, threads);
  auto there = energies_of(real, read_there, data, table, threads);

  for (std::size_t k = 0; k < codes.nodes.size(); ++k) {
    const auto& n = codes.nodes[k];
    if (n.inputs.size() < 2 || n.inputs[1] == none || n.outputs.empty()) continue;
    const auto& w = codes[n.inputs[1]];
    if (!w.constant || !w.quant) continue;
    const auto it = makers.find(codes[n.outputs[0]].name);
    const auto* from = it != makers.end() && it->second->inputs.size() > 1
                           ? real.constant_of(it->second->inputs[1])
                           : nullptr;
    if (!from || from->type() != dtype::f32 || from->dims() != w.constant->dims()) {
      u.changed.insert(k);
      continue;
    }
    const auto* b =
        it->second->inputs.size() > 2 ? real.constant_of(it->second->inputs[2]) : nullptr;
    tensor weights = *from;
    std::optional<tensor> bias;
    if (b) bias = *b;
    if (scalable(codes, n)) {
      // A layer whose channels were scaled alike on both sides keeps its weights, not its bias.
      const layer_exponents by(
          n, *from, w,
          scales_of(here[codes[n.inputs[0]].name], there[real[it->second->inputs[0]].name]));
      if (!rounds(n, *from, w)) weights = by.scaled_weights(*from);
      std::optional<tensor> shipped;
      if (n.inputs.size() > 2 && n.inputs[2] != none && codes[n.inputs[2]].constant)
        shipped = lowering::real_numbers(codes[n.inputs[2]]);
      if (b && !std::holds_alternative<op::recurrent>(n.what)) bias = by.scaled_bias(*b, shipped);
    }
    if (!rounds(n, weights, w)) {
      u.changed.insert(k);
      continue;
    }
    auto& to = g.nodes[k];
    to.inputs[1] = g.add_constant(w.name + "_unrounded", std::move(weights));
    if (std::holds_alternative<op::recurrent>(n.what)) continue;  // its third input is no bias
    if (to.inputs.size() > 2 && !bias) to.inputs[2] = none;
    if (!bias) continue;
    to.inputs.resize(std::max<std::size_t>(to.inputs.size(), 3), none);
    to.inputs[2] = g.add_constant(n.name + "_bias_unrounded", std::move(*bias));
  }
  return u;
}

}  // namespace ptq::recovering
