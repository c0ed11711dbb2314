#pragma once
// SPDX-License-Identifier: Apache-2.0
// Where two quantizations of one float network part: the values that are the same in both. What is
// computed from them alone need not be computed again.

#include <cstring>
#include <set>
#include <string>
#include <vector>

#include <ptq/graph/extract.hpp>
#include <ptq/graph/graph.hpp>

namespace ptq::control {

namespace detail_changes {

inline bool same_constant(const value& a, const value& b) {
  if (!a.constant || !b.constant || a.quant != b.quant) return false;
  const auto &x = *a.constant, &y = *b.constant;
  return x.type() == y.type() && x.dims() == y.dims() &&
         (x.shares_bytes_with(y) || std::memcmp(x.data(), y.data(), x.byte_count()) == 0);
}

}  // namespace detail_changes

/// Where a changed network starts to differ: `from`, the real values and inputs that both share and
/// the changed part reads; `to`, all outputs.
///
/// base, changed   of the same float network: nodes of one name are the same operator
/// exact           a value in `from` has the same numbers in both networks, for any input
inline graph_cut parting_of(const graph& base, const graph& changed) {
  const uses base_edges(base);
  std::set<std::string> same;
  const auto same_input = [&](value_id a, value_id b) {
    if (a == none || b == none) return a == b;
    const auto &x = base[a], &y = changed[b];
    if (x.constant || y.constant) return detail_changes::same_constant(x, y);
    return x.name == y.name && same.contains(y.name);
  };
  // Inputs are always at hand; where they are rounded otherwise, their readers differ.
  std::set<std::string> inputs;
  for (auto id : changed.inputs) inputs.insert(changed[id].name);
  for (auto id : changed.inputs)
    if (const auto b = base.find(changed[id].name); b != none && base[b].quant == changed[id].quant)
      same.insert(changed[id].name);
  graph_cut p;
  std::set<std::string> from;
  for (const auto& n : changed.nodes) {
    const auto first = base.find(changed[n.outputs.at(0)].name);
    const auto at = first == none ? -1 : base_edges.producer[static_cast<std::size_t>(first)];
    const node* other = at < 0 ? nullptr : &base.nodes[static_cast<std::size_t>(at)];
    bool equal = other && other->name == n.name && other->inputs.size() == n.inputs.size() &&
                 other->outputs.size() == n.outputs.size();
    for (std::size_t i = 0; equal && i < n.inputs.size(); ++i)
      equal = same_input(other->inputs[i], n.inputs[i]);
    for (std::size_t i = 0; i < n.outputs.size(); ++i) {
      if (n.outputs[i] == none) continue;
      const auto& y = changed[n.outputs[i]];
      const auto b = equal ? other->outputs[i] : none;
      // Only real numbers can be kept from one run to the next.
      if (b != none && base[b].name == y.name && base[b].quant == y.quant && y.type == dtype::f32)
        same.insert(y.name);
      else
        equal = false;
    }
    if (equal) continue;
    for (auto id : n.outputs)
      if (id != none) same.erase(changed[id].name);
    for (auto id : n.inputs)
      if (id != none && (same.contains(changed[id].name) || inputs.contains(changed[id].name)))
        from.insert(changed[id].name);
  }
  for (auto id : changed.outputs) {
    p.to.push_back(changed[id].name);
    if (same.contains(changed[id].name)) from.insert(changed[id].name);
  }
  p.from.assign(from.begin(), from.end());
  return p;
}

}  // namespace ptq::control
