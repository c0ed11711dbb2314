#pragma once
// SPDX-License-Identifier: Apache-2.0
// Export of If and Loop: bodies as graphs that read captured values by their outer names. Values of a body get names that
// no graph around it has.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ptq/onnx/exporter.hpp>

namespace ptq::onnx {

void write_node(exporter& e, const node& n);

/// Type, and extents where known, of a graph's input or output.
inline value_info_proto info_of(const value& v) {
  value_info_proto p;
  p.name = v.name;
  p.is_tensor = true;
  p.type = onnx_type(v.type);
  // Extents of an output that nobody inferred are those that its file declared.
  p.shaped = v.shaped || !v.dims.dims.empty();
  for (std::size_t i = 0; i < v.dims.dims.size(); ++i)
    p.dims.push_back({v.dims.dims[i], i < v.dim_names.size() ? v.dim_names[i] : std::string()});
  return p;
}

/// A body under names of the outer graph, and the exporter that wrote it: what was written points into both.
struct written_body {
  graph g;
  std::unique_ptr<exporter> e;
};

inline graph_proto write_body(exporter& e, const node& n, const op::control& c, const graph& body) {
  auto kept = std::make_shared<written_body>();
  kept->g = body;
  graph& g = kept->g;
  const auto own = op::own_inputs(c);
  std::vector<bool> captured(g.values.size());
  for (std::size_t i = own; i < g.inputs.size(); ++i) captured[static_cast<std::size_t>(g.inputs[i])] = true;
  for (std::size_t i = 0; i < g.values.size(); ++i)
    if (!captured[i]) g.values[i].name = e.fresh(g.values[i].name);
  for (std::size_t i = own; i < g.inputs.size(); ++i)
    g[g.inputs[i]].name = e.operand(n.inputs[op::own_operands(c) + i - own]);
  kept->e = std::make_unique<exporter>(g, e.opset());
  exporter& inner = *kept->e;
  inner.take_names(e);
  for (std::size_t i = 0; i < own; ++i) {
    inner.out.inputs.push_back(info_of(g[g.inputs[i]]));
    inner.finish(g.inputs[i], g[g.inputs[i]].name);
  }
  for (const auto& b : g.nodes) write_node(inner, b);
  for (auto id : g.outputs) {
    std::string name = g[id].constant ? inner.operand(id) : g[id].name;
    // A body may not hand out what it captured, nor one value twice: a copy is.
    auto info = info_of(g[id]);
    bool taken = captured[static_cast<std::size_t>(id)];
    for (const auto& o : inner.out.outputs) taken = taken || o.name == name;
    if (taken) {
      node_proto copy = inner.make("Identity", n.name + "_result");
      copy.inputs = {name};
      copy.outputs = {name = inner.fresh(name)};
      inner.out.nodes.push_back(std::move(copy));
    }
    info.name = name;
    inner.out.outputs.push_back(std::move(info));
  }
  e.take_names(inner);
  graph_proto p = std::move(inner.out);
  p.name = g.name.empty() ? "body" : g.name;
  e.keep(std::move(kept));
  return p;
}

inline void write(exporter& e, const node& n, const op::control& c) {
  const bool branch = c.what == op::control::kind::branch;
  auto p = e.bare(n, branch ? "If" : "Loop");
  for (std::size_t i = 0; i < op::own_operands(c); ++i) p.inputs.push_back(e.operand(n.inputs[i]));
  static constexpr const char* names[] = {"then_branch", "else_branch"};
  for (std::size_t i = 0; i < c.bodies.size(); ++i) {
    auto body = write_body(e, n, c, *c.bodies[i]);
    e.put(p, branch ? names[i] : "body", attribute_graph).graphs.push_back(std::move(body));
  }
  e.end(n, std::move(p));
}

}  // namespace ptq::onnx
