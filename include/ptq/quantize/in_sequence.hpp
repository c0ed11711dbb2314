#pragma once
// SPDX-License-Identifier: Apache-2.0
// Layer by layer through a quantized graph, in topological order: each layer is handed on with the
// inputs that the layers before it, as they are by then, really give. What changes a layer there
// (its bias, its rounding) is seen by all that follow.

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ptq/graph/extract.hpp>
#include <ptq/graph/graph.hpp>

namespace ptq::quantization {

/// Runs parts of a graph on samples: keep(part) computes its outputs for all of them from what was
/// kept before, at(value, i) gives one of them, drop(value) forgets it.
template <class S>
concept part_runner = requires(S s, const graph& part, const std::string& value, std::int64_t i) {
  s.keep(part);
  s.drop(value);
  { s.at(value, i) } -> std::convertible_to<tensor>;
  { s.count() } -> std::convertible_to<std::int64_t>;
};

/// Convolutions and products whose weights are codes and whose input is rounded.
inline bool is_integer_layer(const graph& g, const node& n) {
  const bool kind =
      std::holds_alternative<op::conv>(n.what) || std::holds_alternative<op::matmul>(n.what);
  if (!kind || n.inputs.size() < 2 || n.inputs[0] == none || n.inputs[1] == none) return false;
  const auto& w = g[n.inputs[1]];
  const auto& x = g[n.inputs[0]];
  return w.constant && w.quant && !x.constant && x.quant;
}

class layer_sequence {
 public:
  explicit layer_sequence(const graph& g)
      : layer_sequence(g, [&](const node& n) { return is_integer_layer(g, n); }) {}

  /// is_layer  of a node
  template <class Test>
  layer_sequence(const graph& g, Test is_layer) : edges_(g), needed_(g.nodes.size()) {
    std::vector<bool> wanted(g.values.size());
    for (std::size_t n = g.nodes.size(); n-- > 0;) {
      const auto& node = g.nodes[n];
      const bool layer = is_layer(node);
      bool on_the_way = false;
      for (auto id : node.outputs) on_the_way = on_the_way || (id != none && wanted[u(id)]);
      needed_[n] = on_the_way;
      if (layer) layers_.insert(layers_.begin(), n);
      if (on_the_way)
        for (auto id : node.inputs)
          if (id != none) wanted[u(id)] = true;
      if (layer) wanted[u(node.inputs[0])] = true;
    }
  }

  const std::vector<std::size_t>& layers() const { return layers_; }

  /// Brings the runner from before node `from` to before node `to`: all that later layers read is
  /// kept, the rest forgotten.
  template <part_runner Runner>
  void advance(const graph& g, std::size_t from, std::size_t to, Runner& run) {
    graph_cut cut;
    for (auto id : g.inputs) cut.from.push_back(g[id].name);
    for (auto id : live_) cut.from.push_back(g[id].name);
    std::vector<value_id> next;
    for (auto id : live_)
      if (read_behind(id, to)) next.push_back(id);
    for (std::size_t n = from; n < to; ++n)
      for (auto id : g.nodes[n].outputs)
        if (needed_[n] && id != none && read_behind(id, to)) {
          cut.to.push_back(g[id].name);
          next.push_back(id);
        }
    if (!cut.to.empty()) run.keep(extracted(g, cut));
    for (auto id : live_)
      if (!read_behind(id, to)) run.drop(g[id].name);
    live_ = std::move(next);
  }

  template <part_runner Runner>
  void forget(const graph& g, Runner& run) {
    for (auto id : live_) run.drop(g[id].name);
    live_.clear();
  }

 private:
  static std::size_t u(std::int32_t i) { return static_cast<std::size_t>(i); }
  bool read_behind(value_id id, std::size_t at) const {
    for (const auto& c : edges_.consumers[u(id)]) {
      const auto n = u(c.node);
      const bool layer_input = c.port == 0 && std::binary_search(layers_.begin(), layers_.end(), n);
      if (n >= at && (needed_[n] || layer_input)) return true;
    }
    return false;
  }

  uses edges_;
  std::vector<bool> needed_;         // by node: a later layer depends on it
  std::vector<std::size_t> layers_;  // in order
  std::vector<value_id> live_;       // kept: computed, and read by what is to come
};

/// Calls change(g, node index, run) for every integer layer; run.at(input of the layer, i) is what
/// arrives there in sample i. `change` may replace constants and qparams of constants, no edges but
/// a bias.
///
/// g        quantized, every extent known
/// cost     one pass over the samples, whatever the number of layers
template <part_runner Runner, class Change>
graph in_sequence(graph g, Runner& run, Change&& change) {
  layer_sequence order(g);
  std::size_t at = 0;
  for (const auto n : order.layers()) {
    order.advance(g, at, n, run);
    at = n;
    change(g, n, run);
  }
  order.forget(g, run);
  return g;
}

/// What arrives at the layers of the float network, beside a sequence through the quantized one.
template <part_runner Runner>
class real_inputs {
 public:
  /// g      float, every extent known
  /// layers those that became integer, by node name
  /// run    of g; both must outlive this
  template <class Layers>
  real_inputs(const graph& g, const Layers& layers, Runner& run)
      : g_(&g), run_(&run), order_(g, [&](const node& n) { return layers.contains(n.name); }) {}

  /// Goes on to the layer of this name. False if the float network has none, or has passed it.
  bool reach(const std::string& name) {
    for (const auto n : order_.layers()) {
      if (n < at_ || g_->nodes[n].name != name) continue;
      order_.advance(*g_, at_, n, *run_);
      at_ = n;
      return true;
    }
    return false;
  }

  /// The input of the layer that was reached.
  tensor at(std::int64_t i) const { return run_->at((*g_)[g_->nodes[at_].inputs[0]].name, i); }

 private:
  const graph* g_;
  Runner* run_;
  layer_sequence order_;
  std::size_t at_ = 0;
};

/// Weights and biases of the integer layers of `from`, which has the same nodes, in place of those of g.
inline graph with_layers_of(graph g, const graph& from) {
  std::map<std::string_view, const node*> nodes;
  for (const auto& n : from.nodes)
    if (is_integer_layer(from, n)) nodes.emplace(n.name, &n);
  const uses edges(g);
  const auto take = [&](node& n, std::size_t port, const value& v) {
    const auto id = port < n.inputs.size() ? n.inputs[port] : none;
    if (id != none && edges.single_consumer(id)) {
      g[id].constant = v.constant;
      g[id].quant = v.quant;
      return;
    }
    if (id != none && g[id].constant->shares_bytes_with(*v.constant) && g[id].quant == v.quant)
      return;
    const auto fresh = g.add(v);
    n.inputs.resize(std::max(n.inputs.size(), port + 1), none);
    n.inputs[port] = fresh;
  };
  for (auto& n : g.nodes) {
    const auto it = nodes.find(n.name);
    if (it == nodes.end()) continue;
    for (std::size_t port = 1; port < it->second->inputs.size(); ++port)
      if (const auto id = it->second->inputs[port]; id != none && from[id].constant)
        take(n, port, from[id]);
  }
  return pruned(std::move(g));
}

}  // namespace ptq::quantization
