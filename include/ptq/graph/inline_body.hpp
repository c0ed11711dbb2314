#pragma once
// SPDX-License-Identifier: Apache-2.0
// The taken branch of an If in place of the If. Used by fold, where the condition is known for every input, and by
// lower, where the extents that it depends on are.

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

#include <ptq/graph/graph.hpp>

namespace ptq {

/// The constant condition of an If, if it has one.
inline std::optional<bool> condition_of(const tensor& t) {
  if (t.size() != 1 || t.type() != dtype::boolean) return std::nullopt;
  return t.view<bool>()[0];
}

/// Adds the body's values to g and returns its nodes, which read and write g's values: n's outputs among them.
///
/// n        a branch node of g; body one of its bodies
/// returns  nodes in order; names bear n's before their own
inline std::vector<node> inlined(graph& g, const node& n, const graph& body) {
  std::unordered_set<std::string> names;
  for (const auto& v : g.values) names.insert(v.name);
  const auto unused = [&](std::string name) {
    const std::string wish = name;
    for (int i = 1; !names.insert(name).second; ++i) name = wish + "_" + std::to_string(i);
    return name;
  };
  std::vector<value_id> moved(body.values.size(), none);
  const auto at = [](value_id id) { return static_cast<std::size_t>(id); };
  for (std::size_t i = 0; i < body.inputs.size(); ++i) moved[at(body.inputs[i])] = n.inputs[1 + i];
  // A result that a node of the body writes is written as n's output; others are copied there.
  std::vector<std::pair<value_id, value_id>> copies;
  const uses edges(body);
  for (std::size_t i = 0; i < body.outputs.size() && i < n.outputs.size(); ++i) {
    const auto from = body.outputs[i], to = n.outputs[i];
    if (to == none) continue;
    if (edges.producer[at(from)] < 0 || moved[at(from)] != none) {
      copies.push_back({from, to});
      continue;
    }
    moved[at(from)] = to;
    if (!g[to].quant) g[to].quant = body[from].quant;
  }
  for (std::size_t i = 0; i < body.values.size(); ++i) {
    if (moved[i] != none) continue;
    value v = body.values[i];
    v.name = unused(v.name);
    g.values.push_back(std::move(v));
    moved[i] = static_cast<value_id>(g.values.size()) - 1;
  }
  std::vector<node> nodes = body.nodes;
  for (auto& b : nodes) {
    b.name = n.name + "/" + b.name;
    for (auto& id : b.inputs)
      if (id != none) id = moved[at(id)];
    for (auto& id : b.outputs)
      if (id != none) id = moved[at(id)];
  }
  for (const auto& [from, to] : copies)
    nodes.push_back({n.name + "/" + g[to].name, op::identity{}, {moved[at(from)]}, {to}, {}});
  return nodes;
}

/// Replaces every body by what `pass`, a function graph → graph, makes of it.
template <class Pass>
void for_each_body(graph& g, const Pass& pass) {
  for (auto& n : g.nodes)
    if (auto* c = std::get_if<op::control>(&n.what))
      for (auto& b : c->bodies) b = std::make_shared<const graph>(pass(*b));
}

/// A second node of a name gets a number.
inline void make_node_names_unique(graph& g) {
  std::unordered_set<std::string> names;
  for (auto& n : g.nodes) {
    std::string name = n.name;
    for (int i = 1; !names.insert(name).second; ++i) name = n.name + "_" + std::to_string(i);
    n.name = std::move(name);
  }
}

/// g with the taken branch in place of every If whose condition is constant; true if there was one.
inline bool take_known_branches(graph& g) {
  bool any = false;
  std::vector<node> nodes;
  for (auto& n : g.nodes) {
    const auto* c = std::get_if<op::control>(&n.what);
    const tensor* t = c && c->what == op::control::kind::branch ? g.constant_of(n.inputs[0]) : nullptr;
    const auto taken = t ? condition_of(*t) : std::nullopt;
    if (!taken) {
      nodes.push_back(std::move(n));
      continue;
    }
    any = true;
    const auto body = c->bodies[*taken ? 0 : 1];
    for (auto& b : inlined(g, n, *body)) nodes.push_back(std::move(b));
  }
  g.nodes = std::move(nodes);
  if (any) make_node_names_unique(g);
  return any;
}

}  // namespace ptq
