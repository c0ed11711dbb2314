#pragma once
// SPDX-License-Identifier: Apache-2.0
// A part of a graph as a graph of its own: what computes some values from others. Sweeps that go
// through a network layer by layer, and searches that change one layer at a time, run only the part
// that lies between what they know and what they ask.

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <ptq/core/error.hpp>
#include <ptq/graph/graph.hpp>

namespace ptq {

/// Values at which a graph is cut, by name. Names, not ids: those of the part differ.
struct graph_cut {
  std::vector<std::string> from;  // become inputs, in this order, where they are needed
  std::vector<std::string> to;    // become outputs
};

/// The nodes between the cuts, with their constants; values keep names, types, extents and qparams.
///
/// g        checked
/// returns  inputs: the values of cut.from that some output depends on; a value in both lists is an
/// input and an output
/// throws   error naming the value if it is not in the graph or is a constant (from), or if an
/// output depends on an input of g that is not in cut.from
/// exact    a value with qparams among `from` is rounded again where it enters, which changes no
/// number that is on its grid
template <class = void>
graph extracted(graph g, const graph_cut& cut) {
  const auto named = [&](const std::string& name, bool source) {
    const auto id = g.find(name);
    if (id == none)
      throw error("extract: value '" + name + "': expected it in the graph, got none");
    if (source && g[id].constant)
      throw error("extract: value '" + name + "': expected one that is computed, got a constant");
    return id;
  };
  std::vector<bool> source(g.values.size()), wanted(g.values.size());
  std::vector<value_id> from, to;
  for (const auto& name : cut.from) {
    from.push_back(named(name, true));
    source[static_cast<std::size_t>(from.back())] = true;
  }
  for (const auto& name : cut.to) {
    to.push_back(named(name, false));
    wanted[static_cast<std::size_t>(to.back())] = true;
  }
  const auto needed = [&](value_id id) {
    return id != none && wanted[static_cast<std::size_t>(id)] &&
           !source[static_cast<std::size_t>(id)];
  };
  std::vector<node> nodes;
  for (std::size_t n = g.nodes.size(); n-- > 0;) {
    auto& node = g.nodes[n];
    bool keep = false;
    for (auto id : node.outputs) keep = keep || needed(id);
    if (!keep) continue;
    for (auto id : node.inputs)
      if (id != none) wanted[static_cast<std::size_t>(id)] = true;
    // A sibling output may be one of the sources: it is not computed a second time.
    for (auto& id : node.outputs)
      if (id != none && source[static_cast<std::size_t>(id)]) {
        value spare = g[id];
        spare.name += "_unused";
        id = g.add(std::move(spare));
        source.push_back(false);
        wanted.push_back(false);
      }
    nodes.push_back(std::move(node));
  }
  for (auto id : g.inputs)
    if (needed(id))
      throw error("extract: input '" + g[id].name +
                  "' of the graph: expected it among the values " +
                  "that the part starts from, got an output that depends on it");
  std::reverse(nodes.begin(), nodes.end());
  g.nodes = std::move(nodes);
  g.inputs.clear();
  for (auto id : from)
    if (wanted[static_cast<std::size_t>(id)]) g.inputs.push_back(id);
  g.outputs = std::move(to);
  return pruned(std::move(g));
}

}  // namespace ptq
