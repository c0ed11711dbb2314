#pragma once
// SPDX-License-Identifier: Apache-2.0
// Stage: where the error of a quantized network comes from. Each rounding is done alone, all else in
// float, and what it adds to the outputs' error is measured. Roundings are nearly independent, so these
// errors nearly add up to that of the whole.
//
//   weight rounding   the layer's weights as their codes stand for, with the best bias for them
//   bias              what its own bias adds to that: a mean error that correction would take away
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
#include <string_view>
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

namespace ptq {

struct attribute_options {
  int threads = 1;
  std::size_t memory = std::size_t{1} << 28;  // bytes, for the float network's answers
  progress report = {};
};

namespace attributing {

/// A real constant of the codes' extents: what they stand for.
inline tensor reals_of(const value& v) {
  const auto& q = *v.quant;
  tensor out(dtype::f32, v.constant->dims());
  auto to = out.mutable_view<float>();
  std::size_t inner = 1;
  for (int a = q.axis + 1; a < out.dims().rank() && q.axis >= 0; ++a)
    inner *= static_cast<std::size_t>(out.dims()[a]);
  for (std::size_t i = 0; i < to.size(); ++i) {
    const auto c = q.per_channel() ? i / inner % q.scale.size() : 0;
    const auto code = v.constant->type() == dtype::s32   ? v.constant->view<std::int32_t>()[i]
                      : v.constant->type() == dtype::s16 ? v.constant->view<std::int16_t>()[i]
                                                         : v.constant->view<std::int8_t>()[i];
    to[i] = static_cast<float>(static_cast<double>(q.scale[c]) *
                               (static_cast<double>(code) - static_cast<double>(q.zero_point[c])));
  }
  return out;
}

inline const node* maker_of(const graph& g, const std::string& value) {
  for (const auto& n : g.nodes)
    for (auto id : n.outputs)
      if (id != none && g[id].name == value) return &n;
  return nullptr;
}
inline node* maker_of(graph& g, const std::string& value) {
  return const_cast<node*>(maker_of(std::as_const(g), value));
}

/// Whether codes are roundings of these weights: equalised ones are not, and of them nothing can be told.
inline bool rounds(const tensor& real, const value& codes) {
  if (real.type() != dtype::f32 || real.dims() != codes.constant->dims()) return false;
  const auto back = reals_of(codes);
  const auto x = real.view<float>(), y = back.view<float>();
  const float step = *std::max_element(codes.quant->scale.begin(), codes.quant->scale.end());
  for (std::size_t i = 0; i < x.size(); ++i)
    if (std::fabs(x[i] - y[i]) > 1.5f * step) return false;  // optimised rounding goes one step at most
  return true;
}

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
  std::string name;  // in the float network
  qparams grid;
  std::string reader;
};

/// A mover passes codes on, and rounds nothing.
inline bool moves(const graph& codes, const node& n) {
  if (n.inputs.empty() || n.inputs[0] == none || n.outputs.empty() || n.outputs[0] == none) return false;
  const auto& x = codes[n.inputs[0]];
  const bool weighted = n.inputs.size() > 1 && n.inputs[1] != none && codes[n.inputs[1]].quant &&
                        codes[n.inputs[1]].constant;
  return !weighted && !x.constant && x.quant && x.quant == codes[n.outputs[0]].quant;
}

inline std::vector<rounded_value> rounded_values(const graph& real, const graph& codes) {
  const uses edges(codes);
  std::vector<rounded_value> all;
  for (std::size_t i = 0; i < codes.values.size(); ++i) {
    const auto& v = codes.values[i];
    if (v.constant || !v.quant || edges.consumers[i].empty()) continue;
    if (const auto p = edges.producer[i];
        p >= 0 && moves(codes, codes.nodes[static_cast<std::size_t>(p)]))
      continue;
    auto name = v.name;
    constexpr std::string_view copy = "_rounded";
    if (real.find(name) == none && name.ends_with(copy)) name.resize(name.size() - copy.size());
    if (real.find(name) == none || real[real.find(name)].type != dtype::f32) continue;
    // Who computes with it: behind movers.
    auto reader = edges.consumers[i][0].node;
    const auto next = [&] {
      return codes.nodes[static_cast<std::size_t>(reader)].outputs[0];
    };
    while (moves(codes, codes.nodes[static_cast<std::size_t>(reader)]) &&
           !edges.consumers[static_cast<std::size_t>(next())].empty())
      reader = edges.consumers[static_cast<std::size_t>(next())][0].node;
    all.push_back({name, *v.quant, codes.nodes[static_cast<std::size_t>(reader)].name});
  }
  return all;
}

/// Measures one rounding after the other.
class meter {
 public:
  meter(const graph& real, const graph& codes, const kernels::kernel_table& table,
        const samples& data, const attribute_options& o)
      : real_(at_extents_of(real, table, *data.at(0))),
        codes_(at_extents_of(codes, table, *data.at(0))),
        judge_(real_, table, data, o.threads, o.memory),
        layers_(recovering::real_layers_of(real_, codes_, data, judge_.count(), table, o.threads)),
        report_(o.report) {}

  attribution run() {
    attribution a{.samples = judge_.count(), .error = judge_.error(codes_), .layers = {}};
    const auto values = rounded_values(real_, codes_);
    std::map<std::string, std::int64_t> pairs;
    for (const auto& l : quantization::overflow_census(codes_))
      pairs[l.layer] = static_cast<std::int64_t>(l.census.saturating);
    std::int64_t done = 0;
    for (const auto& n : codes_.nodes) {
      if (report_) report_("attribute", ++done, static_cast<std::int64_t>(codes_.nodes.size()));
      layer_attribution l{.name = n.name, .what = op_name(n.what)};
      if (const auto it = pairs.find(n.name); it != pairs.end()) l.saturating_pairs = it->second;
      bool any = weights(n, l);
      for (const auto& v : values)
        if (v.reader == n.name) {
          activation(v, l);
          any = true;
        }
      if (any) a.layers.push_back(std::move(l));
    }
    std::stable_sort(a.layers.begin(), a.layers.end(),
                     [](const auto& x, const auto& y) { return x.sum() > y.sum(); });
    return a;
  }

 private:
  void activation(const rounded_value& v, layer_attribution& l) const {
    if (v.grid.per_channel() || is_float8(v.grid.type)) {
      l.note = "grids per channel and FP8 are not told apart";
      return;
    }
    const auto id = real_.find(v.name);
    auto whole = real_;
    whole[id].quant = v.grid;
    const double all = judge_.error(whole);
    const double cut = std::min(all, judge_.error(clipped(real_, id, v.grid)));
    l.clipping += cut;
    l.rounding += all - cut;
  }

  /// returns  false if the node's weights are no codes
  bool weights(const node& n, layer_attribution& l) const {
    if (n.inputs.size() < 2 || n.inputs[1] == none || n.outputs.empty()) return false;
    const auto& w = codes_[n.inputs[1]];
    if (!w.constant || !w.quant || is_float8(w.quant->type)) return false;
    const auto* own = maker_of(real_, codes_[n.outputs[0]].name);
    const auto* from = own && own->inputs.size() > 1 ? real_.constant_of(own->inputs[1]) : nullptr;
    if (!from || !rounds(*from, w)) {
      l.note = "its weights are no roundings of the float model's: they were equalised or changed";
      return true;
    }
    auto g = real_;
    auto* to = maker_of(g, codes_[n.outputs[0]].name);
    to->inputs[1] = g.add_constant(w.name + "_alone", reals_of(w));
    if (n.inputs.size() > 2 && n.inputs[2] != none && codes_[n.inputs[2]].quant) {
      to->inputs.resize(3, none);
      to->inputs[2] = g.add_constant(codes_[n.inputs[2]].name + "_alone", reals_of(codes_[n.inputs[2]]));
    }
    const double shipped = judge_.error(g);
    const auto bias = best_bias(n);
    if (!bias) {
      l.weight_rounding = shipped;
      return true;
    }
    to = maker_of(g, codes_[n.outputs[0]].name);
    to->inputs.resize(3, none);
    to->inputs[2] = g.add_constant(n.name + "_best_bias", *bias);
    const double best = std::min(shipped, judge_.error(g));
    l.weight_rounding = best;
    l.bias = shipped - best;
    return true;
  }

  /// The bias with which rounded weights yield float's mean in every channel.
  std::optional<tensor> best_bias(const node& n) const {
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
    std::vector<float> b;
    for (std::size_t c = 0; c < view.channels; ++c)
      b.push_back(static_cast<float>(r.bias[c] + wanted[c] - got[c]));
    return tensor::from<float>({static_cast<std::int64_t>(b.size())}, std::span<const float>(b));
  }

  graph real_, codes_;
  recovering::held_back judge_;
  quantization::real_layers layers_;
  progress report_;
};

}  // namespace attributing

/// The error that each layer of a quantized network adds, by its causes.
///
/// real     float, folded and fused; values of one name are the same in both
/// codes    made of it, or imported from the file that it became
/// data     with a known count; a dozen samples tell the costly layers
/// throws   data_error if there are no samples
/// cost     three inferences of every sample for each layer and value
template <class = void>
attribution attribute(const graph& real, const graph& codes, const kernels::kernel_table& table, const samples& data,
                      const attribute_options& o = {}) {
  if (data.count().value_or(0) == 0)
    throw data_error("attribute: samples: expected at least 1, got none, or a stream without a count");
  return attributing::meter(real, codes, table, data, o).run();
}

}  // namespace ptq
