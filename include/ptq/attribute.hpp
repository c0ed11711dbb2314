#pragma once
// SPDX-License-Identifier: Apache-2.0
// Stage: where the error of a quantized network comes from. Each rounding is done alone, all else in
// float as equalisation scaled it (recovery/unrounded.hpp), and what it adds to the outputs' error is
// measured. Roundings are nearly independent, so these errors nearly add up to that of the whole.
//
//   weight rounding   the layer's weights as their codes stand for, with the best bias for them
//   bias              what its own bias adds to that, but no more than the whole network's error falls with the
//                     best one in its place: a bias that corrects what rounded layers before it do is not
//                     charged with that
//   clipping          the values it reads, cut off at the ends of their grid
//   rounding          what rounding them to the grid adds to that
//
// Saturation costs nothing here, our sums are exact; the pairs of weights for which it might in other
// runtimes are counted.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ptq/attribute/contents.hpp>
#include <ptq/core/progress.hpp>
#include <ptq/data/samples.hpp>
#include <ptq/execute/sweep.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/quantize/overflow.hpp>
#include <ptq/quantize/sequential_correction.hpp>
#include <ptq/recovery/held_back.hpp>
#include <ptq/recovery/real_layers.hpp>
#include <ptq/recovery/unrounded.hpp>

namespace ptq {

struct attribute_options {
  int threads = 1;
  std::size_t memory = std::size_t{1} << 28;  // bytes, for the float network's answers
  progress report = {};
};

namespace attributing {

/// The float network in which one value is cut off at the ends of its grid.
inline graph clipped(graph g, value_id id, const qparams& q) {
  const auto end = [&](int code) { return q.scale[0] * static_cast<float>(code - q.zero_point[0]); };
  value v = g[id];
  v.name += "_clipped";
  v.dim_names.clear();
  const auto to = g.add(std::move(v));
  std::size_t at = 0;
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    const auto& out = g.nodes[i].outputs;
    if (std::find(out.begin(), out.end(), id) != out.end()) at = i + 1;
    for (auto& in : g.nodes[i].inputs)
      if (in == id) in = to;
  }
  node n;
  n.name = g[to].name;
  n.what = op::unary{.kind = unary_kind::clip,
                     .alpha = end(lowest_code(q.type)),
                     .beta = end(highest_code(q.type))};
  n.inputs = {id};
  n.outputs = {to};
  g.nodes.insert(g.nodes.begin() + static_cast<std::ptrdiff_t>(at), std::move(n));
  return g;
}

/// A value of the quantized network whose rounding is its own, and who reads it first.
struct rounded_value {
  value_id id = none;
  std::int32_t reader = -1;
};

/// A mover passes codes on, and rounds nothing.
inline bool moves(const graph& codes, const node& n) {
  if (n.inputs.empty() || n.inputs[0] == none || n.outputs.empty() || n.outputs[0] == none) return false;
  const auto& x = codes[n.inputs[0]];
  const bool weighted = n.inputs.size() > 1 && n.inputs[1] != none && codes[n.inputs[1]].quant &&
                        codes[n.inputs[1]].constant;
  return !weighted && !x.constant && x.quant && x.quant == codes[n.outputs[0]].quant;
}

inline std::vector<rounded_value> rounded_values(const graph& codes) {
  const uses edges(codes);
  std::vector<rounded_value> all;
  for (std::size_t i = 0; i < codes.values.size(); ++i) {
    const auto& v = codes.values[i];
    if (v.constant || !v.quant || v.type != dtype::f32 || edges.consumers[i].empty()) continue;
    if (const auto p = edges.producer[i];
        p >= 0 && moves(codes, codes.nodes[static_cast<std::size_t>(p)]))
      continue;
    // Who computes with it: behind movers.
    auto reader = edges.consumers[i][0].node;
    const auto next = [&] {
      return codes.nodes[static_cast<std::size_t>(reader)].outputs[0];
    };
    while (moves(codes, codes.nodes[static_cast<std::size_t>(reader)]) &&
           !edges.consumers[static_cast<std::size_t>(next())].empty())
      reader = edges.consumers[static_cast<std::size_t>(next())][0].node;
    all.push_back({static_cast<value_id>(i), reader});
  }
  return all;
}

/// Measures one rounding after the other.
class meter {
 public:
  meter(const graph& real, const graph& codes, const kernels::kernel_table& table,
        const samples& data, const attribute_options& o)
      : codes_(at_extents_of(codes, table, *data.at(0))),
        report_(o.report) {
    const auto whole = at_extents_of(real, table, *data.at(0));
    auto off = recovering::with_roundings_off(whole, codes_, data, table, o.threads);
    real_ = std::move(off.network);
    {
      const recovering::held_back from_float(whole, table, data, o.threads, o.memory);
      error_ = from_float.error(codes_);
      base_error_ = from_float.error(real_);
    }
    changed_ = std::move(off.changed);
    judge_.emplace(real_, table, data, o.threads, o.memory);
    layers_ = recovering::real_layers_of(real_, codes_, data, judge_->count(), table, o.threads);
    whole_ = judge_->error(codes_);
  }

  attribution run() {
    attribution a{
        .samples = judge_->count(), .error = error_, .base_error = base_error_, .layers = {}};
    const auto values = rounded_values(codes_);
    std::map<std::string, std::int64_t> pairs;
    for (const auto& l : quantization::overflow_census(codes_))
      pairs[l.layer] = static_cast<std::int64_t>(l.census.saturating);
    const auto count = static_cast<std::int32_t>(codes_.nodes.size());
    for (std::int32_t k = 0; k < count; ++k) {
      const auto& n = codes_.nodes[static_cast<std::size_t>(k)];
      if (report_) report_("attribute", k + 1, count);
      layer_attribution l{.name = n.name, .what = op_name(n.what)};
      if (const auto it = pairs.find(n.name); it != pairs.end()) l.saturating_pairs = it->second;
      bool any = weights(static_cast<std::size_t>(k), l);
      for (const auto& v : values)
        if (v.reader == k) {
          activation(v.id, l);
          any = true;
        }
      if (any) a.layers.push_back(std::move(l));
    }
    std::stable_sort(a.layers.begin(), a.layers.end(),
                     [](const auto& x, const auto& y) { return x.sum() > y.sum(); });
    return a;
  }

 private:
  void activation(value_id id, layer_attribution& l) const {
    const auto& grid = *codes_[id].quant;
    if (grid.per_channel() || is_float8(grid.type)) {
      l.note = "grids per channel and FP8 are not told apart";
      return;
    }
    auto whole = real_;
    whole[id].quant = grid;
    const double all = judge_->error(whole);
    const double cut = std::min(all, judge_->error(clipped(real_, id, grid)));
    l.clipping += cut;
    l.rounding += all - cut;
  }

  /// k        index of a node
  /// returns  false if its weights are no codes
  bool weights(std::size_t k, layer_attribution& l) const {
    const auto& n = codes_.nodes[k];
    if (n.inputs.size() < 2 || n.inputs[1] == none || n.outputs.empty()) return false;
    const auto& w = codes_[n.inputs[1]];
    if (!w.constant || !w.quant || is_float8(w.quant->type)) return false;
    if (changed_.contains(k)) {
      l.note = "its weights are no roundings of the float model's";
      return true;
    }
    auto g = real_;
    const auto give = [&](std::size_t port, const char* what, tensor t) {
      auto& inputs = g.nodes[k].inputs;
      inputs.resize(std::max(inputs.size(), port + 1), none);
      inputs[port] = g.add_constant(n.name + what, std::move(t));
    };
    give(1, "_weights_alone", lowering::real_numbers(w));
    const bool biased = n.inputs.size() > 2 && n.inputs[2] != none && codes_[n.inputs[2]].constant;
    if (biased) give(2, "_bias_alone", lowering::real_numbers(codes_[n.inputs[2]]));
    l.weight_rounding = judge_->error(g);
    if (const auto bias = best_bias(n)) {
      const std::vector<float> b(bias->begin(), bias->end());
      give(2, "_best_bias", tensor::from<float>({static_cast<std::int64_t>(b.size())},
                                                std::span<const float>(b)));
      const double shipped = l.weight_rounding;
      l.weight_rounding = std::min(shipped, judge_->error(g));
      auto other = codes_;
      if (quantization::replace_bias(other, k, *bias))
        l.bias = std::clamp(whole_ - judge_->error(other), 0.0, shipped - l.weight_rounding);
    }
    return true;
  }

  /// The bias with which rounded weights yield float's mean in every channel.
  std::optional<std::vector<double>> best_bias(const node& n) const {
    const auto it = layers_.find(n.name);
    const auto& w = codes_[n.inputs[1]];
    if (it == layers_.end() || w.constant->type() != dtype::s8) return {};
    const auto& r = it->second;
    const auto view = quantization::view_of(n, r.weights.dims());
    const auto* conv = std::get_if<op::conv>(&n.what);
    const auto groups = conv ? static_cast<std::size_t>(conv->groups) : 1;
    if (r.means.size() != view.taps * groups) return {};
    std::vector<float> x(view.channels * view.taps);
    const auto from = r.weights.view<float>();
    for (std::size_t c = 0; c < view.channels; ++c)
      for (std::size_t t = 0; t < view.taps; ++t) x[c * view.taps + t] = from[view.at(c, t)];
    const auto wanted = quantization::mean_outputs(x, r.means, view.channels, groups);
    const auto got = quantization::mean_outputs(quantization::dequantized_weights(codes_, n), r.means,
                                                view.channels, groups);
    std::vector<double> best;
    for (std::size_t c = 0; c < view.channels; ++c) best.push_back(r.bias[c] + wanted[c] - got[c]);
    return best;
  }

  graph codes_, real_;             // real: its roundings taken off
  std::set<std::size_t> changed_;  // nodes whose weights stay as they are there
  std::optional<recovering::held_back> judge_;
  quantization::real_layers layers_;
  double error_ = 0, whole_ = 0;  // of the quantized network: from the float one, from real_
  double base_error_ = 0;         // of real_, from the float one
  progress report_;
};

}  // namespace attributing

/// The error that each layer of a quantized network adds, by its causes.
///
/// real     float, folded and fused; values of one name are the same in both
/// codes    made of it, or imported from the file that it became
/// data     with a known count; a dozen samples tell the costly layers
/// throws   data_error if there are no samples
/// cost     three or four inferences of every sample for each layer and value
template <class = void>
attribution attribute(const graph& real, const graph& codes, const kernels::kernel_table& table, const samples& data,
                      const attribute_options& o = {}) {
  if (data.count().value_or(0) == 0)
    throw data_error("attribute: samples: expected at least 1, got none, or a stream without a count");
  return attributing::meter(real, codes, table, data, o).run();
}

}  // namespace ptq
