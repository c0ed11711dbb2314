#pragma once
// SPDX-License-Identifier: Apache-2.0
// A neural network: values (edges) and nodes in topological order. Every stage takes a graph by value and returns one;
// weights are shared between copies.
//
// Quantization is written on values. A value with qparams is rounded to that grid after its producer (Q → DQ in ONNX),
// and all its consumers see the rounded real numbers. A constant with qparams holds codes of qparams.type. So one graph
// has one meaning, whether it runs in float, in integers, or in another runtime.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ptq/core/error.hpp>
#include <ptq/core/qparams.hpp>
#include <ptq/core/tensor.hpp>
#include <ptq/graph/op.hpp>

namespace ptq {

/// Index into graph::values.
using value_id = std::int32_t;
/// Stands for an optional input or output that is absent.
inline constexpr value_id none = -1;

/// An edge: the result of a node, an input, or a constant.
struct value {
  std::string name;                  // unique in its graph, not empty
  dtype type = dtype::f32;           // of the real value: f32 where `quant` is set, whatever constant's own type
  shape dims;                        // rank is meaningful only if `shaped`
  bool shaped = false;               // dims hold (with unknown extents perhaps)
  std::vector<std::string> dim_names;  // of a graph input: the file's names of free dimensions, "" where fixed
  std::optional<tensor> constant;    // weights; codes if quant is set
  std::optional<qparams> quant;
};

/// An operator with its operands. Outputs belong to this node alone.
struct node {
  std::string name;                  // unique, not empty
  operation what;
  std::vector<value_id> inputs;      // `none` where an optional input is absent
  std::vector<value_id> outputs;
  std::string note;                  // why it stayed float, if a stage decided so
};

struct metadata_entry {
  std::string key, text;
};

struct graph {
  std::string name;
  std::vector<value> values;
  std::vector<node> nodes;           // topological order
  std::vector<value_id> inputs, outputs;
  std::vector<metadata_entry> metadata;

  value& operator[](value_id id) { return values[static_cast<std::size_t>(id)]; }
  const value& operator[](value_id id) const { return values[static_cast<std::size_t>(id)]; }

  /// Adds a value; a name that is taken gets a suffix.
  value_id add(value v);
  /// Adds an unquantized constant.
  value_id add_constant(std::string name, tensor t);
  value_id find(std::string_view name) const;  // none if there is none

  const tensor* constant_of(value_id id) const {
    return id != none && (*this)[id].constant ? &*(*this)[id].constant : nullptr;
  }
};

/// Producer and consumers of every value: computed when a pass needs it, invalid after an edit.
struct uses {
  struct use {
    std::int32_t node;   // index into graph::nodes
    std::int32_t port;   // index into its inputs
  };
  std::vector<std::int32_t> producer;        // node index, or -1 for inputs and constants
  std::vector<std::vector<use>> consumers;
  std::vector<bool> is_output;

  explicit uses(const graph& g);
  bool single_consumer(value_id id) const {
    return consumers[static_cast<std::size_t>(id)].size() == 1 &&
           !is_output[static_cast<std::size_t>(id)];
  }
};

/// Drops nodes whose results nobody reads, then values nobody names; ids change.
graph pruned(graph g);

/// Puts the nodes in topological order (stable); throws shape_error naming a node on a cycle.
graph sorted(graph g);

/// Throws shape_error on a dangling id, a value with two producers, a duplicate or empty name, or a wrong order.
void check(const graph& g);

// ---------------------------------------------------------------------------------------------------------------------

inline value_id graph::find(std::string_view n) const {
  for (std::size_t i = 0; i < values.size(); ++i)
    if (values[i].name == n) return static_cast<value_id>(i);
  return none;
}

inline value_id graph::add(value v) {
  if (v.name.empty()) v.name = "value";
  if (find(v.name) != none) {
    int n = 1;
    while (find(v.name + "_" + std::to_string(n)) != none) ++n;
    v.name += "_" + std::to_string(n);
  }
  values.push_back(std::move(v));
  return static_cast<value_id>(values.size() - 1);
}

inline value_id graph::add_constant(std::string n, tensor t) {
  value v;
  v.name = std::move(n);
  v.type = t.type();
  v.dims = t.dims();
  v.shaped = true;
  v.constant = std::move(t);
  return add(std::move(v));
}

inline uses::uses(const graph& g)
    : producer(g.values.size(), -1), consumers(g.values.size()), is_output(g.values.size()) {
  for (std::size_t n = 0; n < g.nodes.size(); ++n) {
    for (std::size_t p = 0; p < g.nodes[n].inputs.size(); ++p)
      if (auto id = g.nodes[n].inputs[p]; id != none)
        consumers[static_cast<std::size_t>(id)].push_back(
            {static_cast<std::int32_t>(n), static_cast<std::int32_t>(p)});
    for (auto id : g.nodes[n].outputs)
      if (id != none) producer[static_cast<std::size_t>(id)] = static_cast<std::int32_t>(n);
  }
  for (auto id : g.outputs) is_output[static_cast<std::size_t>(id)] = true;
}

inline graph pruned(graph g) {
  std::vector<bool> live(g.values.size());
  for (auto id : g.outputs) live[static_cast<std::size_t>(id)] = true;
  std::vector<bool> keep(g.nodes.size());
  for (std::size_t n = g.nodes.size(); n-- > 0;) {
    for (auto id : g.nodes[n].outputs)
      if (id != none && live[static_cast<std::size_t>(id)]) keep[n] = true;
    if (keep[n])
      for (auto id : g.nodes[n].inputs)
        if (id != none) live[static_cast<std::size_t>(id)] = true;
  }
  for (auto id : g.inputs) live[static_cast<std::size_t>(id)] = true;
  std::vector<node> nodes;
  for (std::size_t n = 0; n < g.nodes.size(); ++n)
    if (keep[n]) {
      for (auto id : g.nodes[n].outputs)
        if (id != none) live[static_cast<std::size_t>(id)] = true;
      nodes.push_back(std::move(g.nodes[n]));
    }
  std::vector<value_id> moved(g.values.size(), none);
  std::vector<value> values;
  for (std::size_t i = 0; i < g.values.size(); ++i)
    if (live[i]) {
      moved[i] = static_cast<value_id>(values.size());
      values.push_back(std::move(g.values[i]));
    }
  const auto rename = [&](std::vector<value_id>& ids) {
    for (auto& id : ids)
      if (id != none) id = moved[static_cast<std::size_t>(id)];
  };
  for (auto& n : nodes) {
    rename(n.inputs);
    rename(n.outputs);
  }
  rename(g.inputs);
  rename(g.outputs);
  g.nodes = std::move(nodes);
  g.values = std::move(values);
  return g;
}

inline graph sorted(graph g) {
  const uses u(g);
  std::vector<int> missing(g.nodes.size());
  for (std::size_t n = 0; n < g.nodes.size(); ++n)
    for (auto id : g.nodes[n].inputs)
      if (id != none && u.producer[static_cast<std::size_t>(id)] >= 0) ++missing[n];
  std::vector<std::size_t> order, ready;
  // A heap would do; a sorted scan keeps the file's order wherever the edges allow it.
  std::vector<bool> done(g.nodes.size());
  const auto finish = [&](std::size_t n) {
    done[n] = true;
    order.push_back(n);
    for (auto id : g.nodes[n].outputs)
      if (id != none)
        for (auto& c : u.consumers[static_cast<std::size_t>(id)])
          if (--missing[static_cast<std::size_t>(c.node)] == 0)
            ready.push_back(static_cast<std::size_t>(c.node));
  };
  for (std::size_t n = 0; n < g.nodes.size(); ++n) {
    if (done[n] || missing[n] != 0) continue;
    finish(n);
    while (!ready.empty()) {
      // Only nodes that the scan has passed by are taken now; the others wait for their place.
      std::size_t best = ready.size();
      for (std::size_t i = 0; i < ready.size(); ++i)
        if (ready[i] < n && (best == ready.size() || ready[i] < ready[best])) best = i;
      if (best == ready.size()) break;
      const auto next = ready[best];
      ready.erase(ready.begin() + static_cast<std::ptrdiff_t>(best));
      if (!done[next]) finish(next);
    }
  }
  if (order.size() != g.nodes.size())
    for (std::size_t n = 0; n < g.nodes.size(); ++n)
      if (!done[n]) throw shape_error("graph: node '" + g.nodes[n].name + "' is part of a cycle");
  std::vector<node> nodes;
  nodes.reserve(g.nodes.size());
  for (auto n : order) nodes.push_back(std::move(g.nodes[n]));
  g.nodes = std::move(nodes);
  return g;
}

namespace detail_check {

inline void body(const node& n, const op::control& c, int depth);

inline void whole(const graph& g, int depth) {
  const auto fail = [](const std::string& what) { throw shape_error("graph: " + what); };
  std::vector<std::string_view> names;
  for (const auto& v : g.values) {
    if (v.name.empty()) fail("a value has no name");
    names.push_back(v.name);
  }
  std::sort(names.begin(), names.end());
  for (std::size_t i = 1; i < names.size(); ++i)
    if (names[i] == names[i - 1]) fail("two values are named '" + std::string(names[i]) + "'");
  std::vector<bool> known(g.values.size());
  const auto valid = [&](value_id id) {
    return id >= 0 && static_cast<std::size_t>(id) < g.values.size();
  };
  for (auto id : g.inputs) {
    if (!valid(id)) fail("input id " + std::to_string(id) + " does not exist");
    known[static_cast<std::size_t>(id)] = true;
  }
  for (std::size_t i = 0; i < g.values.size(); ++i)
    if (g.values[i].constant) known[i] = true;
  for (const auto& n : g.nodes) {
    for (auto id : n.inputs) {
      if (id == none) continue;
      if (!valid(id)) fail("node '" + n.name + "' reads id " + std::to_string(id));
      if (!known[static_cast<std::size_t>(id)])
        fail("node '" + n.name + "' reads '" + g[id].name + "' before it is produced");
    }
    for (auto id : n.outputs) {
      if (id == none) continue;
      if (!valid(id)) fail("node '" + n.name + "' writes id " + std::to_string(id));
      if (known[static_cast<std::size_t>(id)])
        fail("value '" + g[id].name + "' has a second producer, node '" + n.name + "'");
      known[static_cast<std::size_t>(id)] = true;
    }
  }
  for (auto id : g.outputs) {
    if (!valid(id)) fail("output id " + std::to_string(id) + " does not exist");
    if (!known[static_cast<std::size_t>(id)]) fail("output '" + g[id].name + "' is never produced");
  }
  for (const auto& n : g.nodes)
    if (const auto* c = std::get_if<op::control>(&n.what)) body(n, *c, depth + 1);
}

inline void body(const node& n, const op::control& c, int depth) {
  const auto fail = [&](const std::string& what) { throw shape_error("graph: node '" + n.name + "': " + what); };
  if (depth > op::deepest_body) fail("bodies: expected at most " + std::to_string(op::deepest_body) + " inside each other");
  const std::size_t count = c.what == op::control::kind::branch ? 2 : 1;
  if (c.bodies.size() != count)
    fail("bodies: expected " + std::to_string(count) + ", got " + std::to_string(c.bodies.size()));
  const auto own = op::own_operands(c);
  for (const auto& b : c.bodies) {
    if (!b) fail("a body is missing");
    if (n.inputs.size() < own || b->inputs.size() != op::own_inputs(c) + n.inputs.size() - own)
      fail("inputs of a body: expected " + std::to_string(op::own_inputs(c) + n.inputs.size() - own) + ", got " +
           std::to_string(b->inputs.size()));
    const auto least = n.outputs.size() + (count == 1 ? 1 : 0);
    if (b->outputs.size() < least)
      fail("outputs of a body: expected " + std::to_string(least) + ", got " + std::to_string(b->outputs.size()));
    whole(*b, depth);
  }
}

}  // namespace detail_check

inline void check(const graph& g) { detail_check::whole(g, 0); }

}  // namespace ptq
