#pragma once
// SPDX-License-Identifier: Apache-2.0
// Quantizer groups: the values that share a quantizer, and the integer nodes that read them. Giving
// a group back means that these nodes run in float; then nobody needs the group's codes, and its
// values keep their real numbers.

#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include <ptq/graph/graph.hpp>
#include <ptq/quantize/placement.hpp>
#include <ptq/quantize/scheme.hpp>
#include <ptq/quantize/traits.hpp>

namespace ptq::quantization {

/// What is given back at once; names of the float graph.
struct revertible_group {
  std::string name;                 // of its first value
  std::vector<std::string> values;  // that share the quantizer
  std::vector<std::string> nodes;   // that read its codes
};

/// The groups of a placement that some integer node reads, in the order of their first values.
inline std::vector<revertible_group> revertible_groups(const placement& p) {
  const auto& g = p.network;
  const uses edges(g);
  const auto fixed = fixed_values(g);
  const auto integer = [&](std::int32_t n) {
    const auto& node = g.nodes[static_cast<std::size_t>(n)];
    return node.note.empty() && traits_of(g, node, fixed).what != trait::real;
  };
  std::vector<revertible_group> groups;
  for (const auto& from : p.groups) {
    revertible_group to{.name = from.observed.at(0), .values = from.observed, .nodes = {}};
    for (auto id : from.members) {
      if (std::find(to.values.begin(), to.values.end(), g[id].name) == to.values.end())
        to.values.push_back(g[id].name);
      for (const auto& use : edges.consumers[static_cast<std::size_t>(id)]) {
        const auto& reader = g.nodes[static_cast<std::size_t>(use.node)];
        const auto what = traits_of(g, reader, fixed).what;
        // Movers have no scale of their own: they follow the nodes that read their results.
        if (what == trait::mover || what == trait::concat || what == trait::outside) continue;
        if (integer(use.node) &&
            std::find(to.nodes.begin(), to.nodes.end(), reader.name) == to.nodes.end())
          to.nodes.push_back(reader.name);
      }
    }
    if (!to.nodes.empty()) groups.push_back(std::move(to));
  }
  return groups;
}

/// The scope that gives back the chosen groups, and every other group that then has no reader left.
inline restored_scope scope_of(const std::vector<revertible_group>& groups,
                               const std::vector<int>& chosen, const std::string& reason) {
  restored_scope scope;
  for (int i : chosen)
    for (const auto& n : groups[static_cast<std::size_t>(i)].nodes) scope.nodes[n] = reason;
  for (const auto& g : groups)
    if (std::all_of(g.nodes.begin(), g.nodes.end(),
                    [&](const std::string& n) { return scope.nodes.contains(n); }))
      scope.values.insert(g.values.begin(), g.values.end());
  return scope;
}

}  // namespace ptq::quantization
