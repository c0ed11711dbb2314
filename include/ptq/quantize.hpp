#pragma once
// SPDX-License-Identifier: Apache-2.0
// Stage: float graph + statistics + scheme → graph with qparams, integer weights and corrected
// biases. That graph is the specification: what the executor computes, what is validated, and what
// is exported.
//
// In parts: `observations` says what calibration has to look at, `calibrate` looks, `quantize`
// decides. The overload that takes samples does all three.

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <ptq/calibrate.hpp>
#include <ptq/fuse.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/quantize/devices.hpp>
#include <ptq/quantize/params.hpp>
#include <ptq/quantize/placement.hpp>
#include <ptq/quantize/recurrent.hpp>
#include <ptq/quantize/scheme.hpp>
#include <ptq/quantize/settings.hpp>
#include <ptq/quantize/weights.hpp>
#include <ptq/recovery/flow.hpp>

namespace ptq {

/// What calibration has to observe, so that `quantize` finds all it needs.
///
/// g        float, folded and fused, with types and, where known, extents
/// throws   unsupported if the graph is quantized already; error for ignored rules that match
/// nothing, and for a scheme that the target device has not
template <class = void>
calibrate_options observations(const graph& g, const quantize_options& options) {
  const auto p = quantization::place(g, options);
  calibrate_options o;
  for (const auto& group : p.groups)
    o.values.insert(o.values.end(), group.observed.begin(), group.observed.end());
  for (const auto& layer : quantization::recurrent_layers(g, options)) {
    o.values.push_back(layer.input);
    o.values.insert(o.values.end(), layer.hidden.begin(), layer.hidden.end());
  }
  if (options.correction != bias_correction::none)
    for (const auto& w : p.weighted) o.channel_means.push_back({w.input, w.channel_axis});
  o.observer = {.estimator = options.activations.estimator,
                .percentile_tail = options.activations.percentile_tail,
                .symmetric = quantization::activation_grid_of(options).symmetric,
                .outlier_prob = options.activations.outlier_prob,
                .min = options.activations.min,
                .max = options.activations.max};
  o.subset_size = options.subset_size;
  o.threads = options.threads;
  o.report = options.report;
  return o;
}

namespace quantization {

/// Writes the qparams of every group; 16-bit ones for those of which `wide` has a value.
inline void write_params(graph& g, const std::vector<value_group>& groups,
                         const statistics& observed, const activation_grid& grid,
                         const std::set<std::string>& wide) {
  for (const auto& group : groups) {
    value_range r = observed.at(group.observed[0]).range;
    for (const auto& name : group.observed) r = joined(r, observed.at(name).range);
    auto own = grid;
    if (group.symmetric) own.symmetric = true;
    for (const auto& name : group.observed)
      if (wide.contains(name)) own.bits = 16;
    const auto q = activation_params(r, own, group.act, group.observed[0]);
    for (auto id : group.members) g[id].quant = q;
  }
}

/// Quantizes every layer; those that can't be are added to `reasons`. True if all could.
inline bool write_weights(graph& g, const std::vector<weighted_node>& layers,
                          const statistics& observed, const quantize_options& options,
                          std::map<std::string, std::string>& reasons) {
  layer_quantizer weights(g, weight_grid_of(options), options.weights.fix);
  bool all = true;
  std::int64_t done = 0;
  for (const auto& layer : layers) {
    input_means means;
    if (options.correction != bias_correction::none) {
      const auto& s = observed.at(layer.input);
      means = {s.channel_means, s.dims};
    }
    if (auto why = weights.quantize(layer.node, means)) {
      reasons[g.nodes[static_cast<std::size_t>(layer.node)].name] = *why;
      all = false;
    }
    if (options.report)
      options.report("quantize", ++done, static_cast<std::int64_t>(layers.size()));
  }
  return all;
}

/// Rounds the weights of the layers that were given back to float, where only their activations were to
/// be.
inline void round_restored(graph& g, const statistics& observed, const quantize_options& options) {
  const auto& restored = options.restored;
  if (!restored.activations_only) return;
  const auto fixed = fixed_values(g);
  layer_quantizer weights(g, weight_grid_of(options), options.weights.fix);
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    const auto& n = g.nodes[i];
    if (!restored.nodes.contains(n.name) || traits_of(g, n, fixed).what != trait::weighted) continue;
    const auto* w = g.constant_of(n.inputs[1]);
    if (!w || w->type() != dtype::f32 || g[n.inputs[1]].quant) continue;
    input_means means;
    const auto seen = observed.values.find(g[n.inputs[0]].name);
    if (options.correction != bias_correction::none && seen != observed.values.end())
      means = {seen->second.channel_means, seen->second.dims};
    weights.round(static_cast<std::int32_t>(i), means);
  }
}

/// Quantizes the recurrent layers; the others say why not.
inline void write_recurrent(graph& out, const graph& g, const statistics& observed,
                            const quantize_options& options) {
  std::map<std::string, std::string> reasons;
  recurrent_quantizer layers(out, options, activation_grid_of(options).symmetric);
  for (const auto& layer : recurrent_layers(g, options, &reasons)) {
    value_range hidden;
    for (const auto& name : layer.hidden) hidden = joined(hidden, observed.at(name).range);
    layers.quantize(layer.node, observed.at(layer.input).range, hidden);
  }
  for (auto& n : out.nodes)
    if (const auto why = reasons.find(n.name); why != reasons.end()) n.note = why->second;
}

}  // namespace quantization

/// The quantized graph.
///
/// g         as for `observations`; its float weights stay as they are in the caller's copy
/// observed  of this graph, for these options: every value that `observations` lists
/// returns   qparams on values, codes in constants; nodes that stay in float say why in their note
/// throws    calibration_error if a statistic is missing, no range, or a weight is not finite
/// exact     every activation's codes contain 0; a bias has scale input · weight; no accumulator
/// can overflow
template <class = void>
graph quantize(const graph& g, const statistics& observed, const quantize_options& options = {}) {
  std::map<std::string, std::string> reasons;
  // Each turn takes at least one layer back to float, whose neighbours are then placed anew.
  while (true) {
    auto p = quantization::place(g, options, reasons);
    quantization::write_params(p.network, p.groups, observed,
                               quantization::activation_grid_of(options), options.wide_values);
    if (!quantization::write_weights(p.network, p.weighted, observed, options, reasons)) continue;
    quantization::round_restored(p.network, observed, options);
    quantization::write_recurrent(p.network, g, observed, options);
    record_settings(p.network, options);
    return pruned(std::move(p.network));
  }
}

namespace quantization {

/// g with the branches that the extents of the first sample decide in place of their Ifs; g itself where there are none.
inline graph decided_for(const graph& g, const kernels::kernel_table& table, samples data) {
  const auto branch = [](const node& n) {
    const auto* c = std::get_if<op::control>(&n.what);
    return c && c->what == op::control::kind::branch;
  };
  if (std::none_of(g.nodes.begin(), g.nodes.end(), branch)) return g;
  const auto first = data.next();
  if (!first) return g;
  runner bound(g, table);
  const auto& p = bound.program_for(*first);
  std::vector<binding> extents;
  for (std::size_t i = 0; i < p.inputs.size(); ++i) extents.push_back({p.inputs[i].name, p.input(i).dims});
  return decide_branches(g, extents);
}

}  // namespace quantization

/// The quantized graph, and what calibration saw on the way.
struct quantize_result {
  graph network;
  statistics observed;
  recovery_report recovery = {};  // what was tried to keep accuracy, and what it bought
  quantize_options options = {};  // those that were kept
};

namespace quantization {

/// The two stages that recovery repeats.
struct static_quantizer {
  calibrate_options observations(const graph& g, const quantize_options& o) const {
    return ptq::observations(g, o);
  }
  graph quantized(const graph& g, const statistics& s, const quantize_options& o) const {
    return ptq::quantize(g, s, o);
  }
};

}  // namespace quantization

/// Places, calibrates on the samples, and quantizes; with more effort than `fast`, or asked to tune,
/// also tries what lowers the error on samples held back.
///
/// table     the kernels that run the float graph
/// throws    as observations, calibrate and quantize
template <class = void>
quantize_result quantize(const graph& g, const kernels::kernel_table& table, samples data,
                         const quantize_options& options = {}) {
  const graph decided = quantization::decided_for(g, table, data);
  if (options.effort.level != effort::fast || options.effort.tune ||
      options.correction == bias_correction::sequential) {
    auto r = recovering::flow(decided, table, std::move(data), options,
                              quantization::static_quantizer())
                 .run();
    return {std::move(r.network), std::move(r.observed), std::move(r.report), std::move(r.options)};
  }
  quantize_result r;
  r.observed = calibrate(decided, table, std::move(data), observations(decided, options));
  r.network = quantize(decided, r.observed, options);
  r.options = options;
  return r;
}

}  // namespace ptq
