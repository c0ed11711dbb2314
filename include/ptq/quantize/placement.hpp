#pragma once
// SPDX-License-Identifier: Apache-2.0
// Which values are rounded to 8 bits, and which of them share one scale. Stands before calibration:
// it says what has to be observed.
//
// A value is rounded where an integer node reads it (see regions.hpp). One that float nodes or the
// outside read as well keeps its real numbers, and the integer readers get a rounded copy (an
// identity), except that of a convolution: its result is always rounded where the network goes on
// from it, so that other runtimes run the convolution in integers too. What leads to the graph's
// outputs alone stays real, unless asked for: logits and regressions keep full precision.

#include <cstdint>
#include <limits>
#include <map>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <ptq/core/kinds.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/quantize/ignored.hpp>
#include <ptq/quantize/patterns.hpp>
#include <ptq/quantize/regions.hpp>
#include <ptq/quantize/scheme.hpp>
#include <ptq/quantize/squeeze_excite.hpp>
#include <ptq/quantize/traits.hpp>

namespace ptq::quantization {

/// Values that share one scale and zero point.
struct value_group {
  std::vector<value_id> members;      // in placement::network
  std::vector<std::string> observed;  // values of the float graph whose joined range is the group's
  clamp act;                          // bounds that none of them passes
  bool symmetric = false;             // whatever the preset: they meet in a product
};

/// A convolution or matrix product with constant weights that runs in integers.
struct weighted_node {
  std::int32_t node = 0;  // in placement::network
  std::string input;      // the value of the float graph that it reads
  int channel_axis = 1;   // of that value; may count from the end
};

struct placement {
  graph network;  // with the rounded copies and notes; no qparams yet
  std::vector<value_group> groups;
  std::vector<weighted_node> weighted;
};

/// Decides for every value and node.
///
/// g        float, checked, with types and, where known, extents; folded and fused
/// reasons  node names that must stay float, and why (a layer whose accumulator proved too narrow)
/// throws   unsupported if the graph holds qparams already, error for ignored rules that match
/// nothing
template <class = void>
placement place(const graph& g, const quantize_options& options,
                const std::map<std::string, std::string>& reasons = {});

// ---------------------------------------------------------------------------------------------------------------------

class placer {
 public:
  placer(const graph& g, const quantize_options& options,
         const std::map<std::string, std::string>& reasons) {
    out_.network = g;
    fixed_ = fixed_values(g);
    for (const auto& n : g.nodes) traits_.push_back(traits_of(g, n, fixed_));
    const uses edges(g);
    outputs_ = options.quantize_outputs;
    symmetric_products_ = options.model_type == model_type::transformer;
    auto forced = ignored_nodes(g, options.ignored);
    const auto structural = structural_reasons(g, traits_, edges, options.model_type);
    const auto excite = squeeze_excite_nodes(g, traits_, edges);
    for (std::size_t i = 0; i < forced.size(); ++i) {
      const auto& back = options.restored.nodes;
      if (auto r = back.find(g.nodes[i].name); r != back.end()) forced[i] = r->second;
      if (auto r = reasons.find(g.nodes[i].name); r != reasons.end()) forced[i] = r->second;
      if (forced[i].empty()) forced[i] = structural[i];
      if (forced[i].empty() && excite[i] && options.float_squeeze_excite)
        forced[i] = "squeeze-excite";
      if (traits_[i].what == trait::lookup && options.real_sums.contains(g[g.nodes[i].inputs[0]].name))
        traits_[i] = {trait::of_sum, "", 0};
    }
    regions_ = region_finder(g, traits_, edges, std::move(forced), outputs_).find();
    rounded_.resize(g.values.size());
    source_.resize(g.values.size());
    std::iota(source_.begin(), source_.end(), 0);
    for (std::size_t i = 0; i < g.nodes.size(); ++i)
      out_.network.nodes[i].note = regions_.reason[i];
    for (std::size_t i = 0; i < g.values.size(); ++i)
      round(static_cast<value_id>(i), edges,
            options.restored.values.contains(g.values[i].name) ||
                options.real_sums.contains(g.values[i].name));
    insert_copies();
  }

  placement result() {
    group();
    for (std::size_t i = 0; i < out_.network.nodes.size(); ++i)
      if (integer_[i] && kinds_[i] == trait::weighted)
        out_.weighted.push_back(layer(static_cast<std::int32_t>(i)));
    return std::move(out_);
  }

 private:
  static std::size_t u(std::int32_t i) { return static_cast<std::size_t>(i); }

  weighted_node layer(std::int32_t index) const {
    const auto& n = out_.network.nodes[u(index)];
    const bool convolution = std::holds_alternative<op::conv>(n.what);
    return {index, out_.network[source_[u(n.inputs[0])]].name, convolution ? 1 : -1};
  }

  /// Decides for value `id` of the original graph: rounded, a rounded copy, or neither.
  ///
  /// restored  it keeps its real numbers unless an integer node needs codes
  void round(value_id id, const uses& edges, bool restored) {
    const auto& v = out_.network[id];
    if (v.constant || fixed_[u(id)] || v.type != dtype::f32) return;
    const auto p = edges.producer[u(id)];
    const bool from_integers = p >= 0 && regions_.integer[u(p)];
    const bool convolution =
        from_integers && std::holds_alternative<op::conv>(out_.network.nodes[u(p)].what);
    const bool output = edges.is_output[u(id)];
    if (from_integers &&
        (output ? outputs_ : convolution && regions_.continues[u(id)] && !restored)) {
      rounded_[u(id)] = true;
    } else if (from_integers && kinds_need_codes(p)) {
      rounded_[u(id)] = true;
    } else if (regions_.wanted[u(id)] && regions_.agreed[u(id)]) {
      rounded_[u(id)] = true;
    } else if (regions_.wanted[u(id)]) {
      copies_.push_back(id);
    }
  }
  /// Other than convolutions and products, integer nodes yield codes and nothing else.
  bool kinds_need_codes(std::int32_t p) const {
    return traits_[u(p)].what != trait::weighted && traits_[u(p)].what != trait::product;
  }

  /// A rounded copy of each value in copies_, right behind its producer, for its integer readers.
  void insert_copies() {
    auto& g = out_.network;
    const uses edges(g);
    std::map<std::int32_t, std::vector<node>> behind;  // producer → copies
    for (auto id : copies_) {
      value copy = g[id];
      copy.name += "_rounded";
      copy.dim_names.clear();
      const auto to = g.add(std::move(copy));
      rounded_.push_back(true);
      source_.push_back(id);
      for (const auto& c : edges.consumers[u(id)])
        if (regions_.integer[u(c.node)] && c.port < traits_[u(c.node)].activations)
          g.nodes[u(c.node)].inputs[u(c.port)] = to;
      node n;
      n.name = g[to].name;
      n.what = op::identity{};
      n.inputs = {id};
      n.outputs = {to};
      behind[edges.producer[u(id)]].push_back(std::move(n));
    }
    std::vector<node> nodes;
    const auto append = [&](std::int32_t producer) {
      for (auto& n : behind[producer]) {
        nodes.push_back(std::move(n));
        kinds_.push_back(trait::outside);
        integer_.push_back(false);
      }
    };
    append(-1);
    for (std::size_t i = 0; i < g.nodes.size(); ++i) {
      nodes.push_back(std::move(g.nodes[i]));
      kinds_.push_back(traits_[i].what);
      integer_.push_back(regions_.integer[i]);
      append(static_cast<std::int32_t>(i));
    }
    g.nodes = std::move(nodes);
  }

  value_id root(value_id id) {
    while (parent_[u(id)] != id) id = parent_[u(id)] = parent_[u(parent_[u(id)])];
    return id;
  }
  void unite(value_id a, value_id b) { parent_[u(root(a))] = root(b); }

  /// Movers and concatenations tie their inputs to their outputs; each class of values is a group.
  void group() {
    const auto& g = out_.network;
    parent_.resize(g.values.size());
    std::iota(parent_.begin(), parent_.end(), 0);
    std::vector<bool> moved(g.values.size());
    for (std::size_t i = 0; i < g.nodes.size(); ++i) {
      if (!integer_[i] || (kinds_[i] != trait::mover && kinds_[i] != trait::concat)) continue;
      const auto& n = g.nodes[i];
      const std::size_t inputs = kinds_[i] == trait::concat ? n.inputs.size() : 1;
      for (std::size_t p = 0; p < inputs; ++p) unite(n.inputs[p], n.inputs[0]);
      for (auto id : n.outputs)
        if (id != none) {
          unite(id, n.inputs[0]);
          moved[u(id)] = true;
        }
    }
    const uses edges(g);
    std::map<value_id, std::size_t> index;
    for (std::size_t i = 0; i < g.values.size(); ++i) {
      if (!rounded_[i]) continue;
      const auto id = static_cast<value_id>(i);
      const auto [at, fresh] = index.try_emplace(root(id), out_.groups.size());
      if (fresh)
        out_.groups.push_back(
            {.members = {}, .observed = {}, .act = {never, -never}, .symmetric = false});
      auto& group = out_.groups[at->second];
      group.members.push_back(id);
      for (const auto& c : edges.consumers[i])
        group.symmetric =
            group.symmetric || (symmetric_products_ && kinds_[u(c.node)] == trait::product);
      // What a mover yields is part of what it reads.
      if (moved[i]) continue;
      group.observed.push_back(g[source_[i]].name);
      const auto act = bounds(edges.producer[u(source_[i])]);
      group.act = {std::min(group.act.low, act.low), std::max(group.act.high, act.high)};
    }
  }

  clamp bounds(std::int32_t producer) const {
    if (producer < 0) return {};
    const auto& what = out_.network.nodes[u(producer)].what;
    if (const auto* c = std::get_if<op::conv>(&what)) return c->act;
    if (const auto* c = std::get_if<op::conv_transpose>(&what)) return c->act;
    if (const auto* m = std::get_if<op::matmul>(&what)) return m->act;
    if (const auto* b = std::get_if<op::binary>(&what)) return b->act;
    if (const auto* f = std::get_if<op::unary>(&what)) {
      if (f->kind == unary_kind::relu) return {0, never};
      if (f->kind == unary_kind::clip) return {f->alpha, f->beta};
    }
    return {};
  }

  static constexpr float never = std::numeric_limits<float>::infinity();

  placement out_;
  std::vector<bool> fixed_;          // by value of the original graph
  std::vector<node_traits> traits_;  // by node of the original graph
  bool outputs_ = false, symmetric_products_ = false;
  regions regions_;
  std::vector<bool> rounded_;     // by value of the network
  std::vector<value_id> source_;  // by value of the network: the original that it copies, or itself
  std::vector<value_id> copies_;
  std::vector<trait> kinds_;  // by node of the network
  std::vector<bool> integer_;
  std::vector<value_id> parent_;
};

template <class>
placement place(const graph& g, const quantize_options& options,
                const std::map<std::string, std::string>& reasons) {
  for (const auto& v : g.values)
    if (v.quant)
      throw unsupported(
          "quantize: value '" + v.name +
          "': expected a float model, got one that is quantized already; run it as it "
          "is, or quantize the float model it came from");
  return placer(g, options, reasons).result();
}

}  // namespace ptq::quantization
