#pragma once
// SPDX-License-Identifier: Apache-2.0
// ModelProto → graph: checks the opset, defines inputs and initializers, lists the operators that
// are missing (all of them, in one error), reads the nodes in topological order, merges Q/DQ.

#include <cstdint>
#include <functional>
#include <queue>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include <ptq/core/error.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/onnx/hoist_dequantize.hpp>
#include <ptq/onnx/importer.hpp>
#include <ptq/onnx/merge_quantization.hpp>
#include <ptq/onnx/ops/read_table.hpp>
#include <ptq/onnx/schema.hpp>

namespace ptq::onnx {

namespace detail_model {

[[noreturn]] inline void fail(const tensor_source& from, const std::string& what) {
  throw import_error("import: " + from.file + ": " + what);
}

inline int opset_of(const model_proto& m, const tensor_source& from) {
  std::int64_t v = 0;
  for (const auto& o : m.opsets)
    if (o.domain.empty() || o.domain == "ai.onnx") v = o.version;
  if (v == 0 && !m.opsets.empty())
    throw unsupported("import: " + from.file + ": opset: expected one of ai.onnx, got only '" +
                      m.opsets[0].domain + "'");
  if (v == 0) fail(from, "opset of ai.onnx: expected a version, got none");
  if (v < oldest_opset || v > newest_opset)
    throw unsupported("import: " + from.file + ": opset: expected " + std::to_string(oldest_opset) +
                      " to " + std::to_string(newest_opset) + ", got " + std::to_string(v));
  return static_cast<int>(v);
}

inline std::string qualified(const node_proto& n) {
  return n.domain.empty() || n.domain == "ai.onnx" ? n.op_type : n.domain + "." + n.op_type;
}

/// The node's name, or one made of its operator and first output.
inline std::string label(const node_proto& n) {
  if (!n.name.empty()) return n.name;
  for (const auto& o : n.outputs)
    if (!o.empty()) return n.op_type + "_" + o;
  return n.op_type.empty() ? "node" : n.op_type;
}

/// Operators that no row reads, each with the nodes that have it.
class missing_operators {
 public:
  void look(const graph_proto& g) {
    for (const auto& n : g.nodes) {
      for (const auto& a : n.attributes)
        for (const auto& body : a.graphs) look(body);
      const auto name = qualified(n);
      if (reader_of(name)) continue;
      const auto [at, fresh] = row_.emplace(name, all_.size());
      if (fresh) all_.push_back({name, {}, 0});
      entry& m = all_[at->second];
      if (m.count++ < most_names) m.nodes += (m.count > 1 ? ", '" : "'") + label(n) + "'";
    }
  }
  /// "import: 2 operators are not supported: NonZero (node 'a', 'b'), Bernoulli (node 'c')"
  void refuse(const tensor_source& from) const {
    if (all_.empty()) return;
    std::string text = "import: " + from.file + ": " + std::to_string(all_.size()) +
                       (all_.size() == 1 ? " operator is" : " operators are") + " not supported: ";
    for (std::size_t i = 0; i < all_.size(); ++i) {
      text += (i ? ", " : "") + all_[i].op_type + " (node " + all_[i].nodes;
      if (all_[i].count > most_names)
        text += " and " + std::to_string(all_[i].count - most_names) + " more";
      text += ")";
    }
    throw unsupported(text);
  }

 private:
  static constexpr std::size_t most_names = 16;
  struct entry {
    std::string op_type, nodes;
    std::size_t count = 0;
  };
  std::vector<entry> all_;
  std::unordered_map<std::string, std::size_t> row_;
};

inline void refuse_missing(const graph_proto& g, const tensor_source& from) {
  missing_operators m;
  m.look(g);
  m.refuse(from);
}

/// Indices of the nodes in topological order, the file's own wherever it is one already.
inline std::vector<std::size_t> order_of(const graph_proto& g, const tensor_source& from,
                                         const std::function<bool(const std::string&)>& given) {
  std::unordered_map<std::string, std::size_t> producer;
  for (std::size_t n = 0; n < g.nodes.size(); ++n)
    for (const auto& o : g.nodes[n].outputs) {
      if (o.empty()) continue;
      if (given(o) || !producer.emplace(o, n).second)
        fail(from, "node '" + label(g.nodes[n]) + "' (" + g.nodes[n].op_type + "): output '" + o +
                       "' is defined twice");
    }
  std::vector<std::size_t> missing(g.nodes.size());
  std::vector<std::vector<std::size_t>> readers(g.nodes.size());
  for (std::size_t n = 0; n < g.nodes.size(); ++n) {
    const auto& reader = g.nodes[n];
    const auto wait_for = [&](const std::string& name, const std::string& who) {
      if (name.empty() || given(name)) return;
      const auto p = producer.find(name);
      if (p == producer.end())
        fail(from, "node '" + label(reader) + "' (" + reader.op_type + "): " + who +
                       ": no value is named '" + name + "'");
      readers[p->second].push_back(n);
      ++missing[n];
    };
    for (std::size_t i = 0; i < reader.inputs.size(); ++i)
      wait_for(reader.inputs[i], "input " + std::to_string(i));
    for (const auto& a : reader.attributes)
      for (const auto& body : a.graphs)
        for (const auto& name : outer_names(body)) wait_for(name, a.name);
  }
  std::priority_queue<std::size_t, std::vector<std::size_t>, std::greater<>> ready;
  for (std::size_t n = 0; n < g.nodes.size(); ++n)
    if (missing[n] == 0) ready.push(n);
  std::vector<std::size_t> order;
  order.reserve(g.nodes.size());
  while (!ready.empty()) {
    const auto n = ready.top();
    ready.pop();
    order.push_back(n);
    for (auto r : readers[n])
      if (--missing[r] == 0) ready.push(r);
  }
  if (order.size() != g.nodes.size())
    for (std::size_t n = 0; n < g.nodes.size(); ++n)
      if (missing[n] != 0)
        fail(from,
             "node '" + label(g.nodes[n]) + "' (" + g.nodes[n].op_type + ") is part of a cycle");
  return order;
}

/// Type and extents of a graph input or output.
inline value declared(const value_info_proto& p, const tensor_source& from, const char* what) {
  value v;
  if (p.name.empty()) fail(from, std::string(what) + ": expected a name, got ''");
  if (!p.is_tensor || !core_type(p.type, v.type))
    throw unsupported("import: " + from.file + ": " + what + " '" + p.name + "': " +
                      (p.is_tensor ? "element type " + std::to_string(p.type)
                                   : std::string("a value that is no tensor")) +
                      " is not supported");
  constexpr std::size_t most_axes = 32;
  if (p.dims.size() > most_axes)
    fail(from, std::string(what) + " '" + p.name + "': rank: expected at most 32, got " +
                   std::to_string(p.dims.size()));
  v.shaped = p.shaped;
  for (const auto& d : p.dims) {
    // Some writers spell an unknown extent as -1.
    if (d.extent < unknown)
      fail(from, std::string(what) + " '" + p.name + "': extent: expected >= 0, got " +
                     std::to_string(d.extent));
    const bool free = d.extent == unknown;
    v.dims.dims.push_back(d.extent);
    v.dim_names.push_back(free ? d.param : std::string());
  }
  return v;
}

/// Defines initializers, then the inputs that are none.
inline void define_sources(importer& in, const graph_proto& g, const tensor_source& from) {
  for (const auto& t : g.initializers) {
    if (t.name.empty()) fail(from, "initializer: expected a name, got ''");
    value v;
    v.constant = in.read(t);
    v.type = v.constant->type();
    v.dims = v.constant->dims();
    v.shaped = true;
    in.define(t.name, std::move(v));
  }
  for (const auto& i : g.inputs) {
    const auto known = in.find(i.name);
    if (known != none && in.g[known].constant) continue;  // a default that nobody overrides
    in.g.inputs.push_back(in.define(i.name, declared(i, from, "input")));
  }
}

inline void define_outputs(importer& in, const graph_proto& g, const tensor_source& from) {
  std::unordered_set<std::string> seen;
  for (const auto& o : g.outputs) {
    const auto id = in.find(o.name);
    if (id == none) fail(from, "output '" + o.name + "': no value has this name");
    if (!seen.insert(o.name).second) fail(from, "output '" + o.name + "' is listed twice");
    in.g.outputs.push_back(id);
    if (!o.is_tensor) continue;
    // What the file declares is kept for export, but extents hold only once they are inferred.
    const value v = declared(o, from, "output");
    value& y = in.g[id];
    if (y.constant) continue;
    y.type = v.type;
    if (!y.shaped) y.dims = v.dims;
    if (y.dims.rank() != v.dims.rank()) continue;
    for (int a = 0; a < y.dims.rank(); ++a)
      if (y.dims[a] == unknown) y.dims[a] = v.dims[a];
    if (y.dim_names.empty()) y.dim_names = v.dim_names;
  }
  if (in.g.outputs.empty()) fail(from, "outputs: expected at least 1, got none");
}

/// Names that the file gives or reads, before any node is read.
inline void take_names(importer& in, const graph_proto& p) {
  for (const auto& t : p.initializers) in.reserve(t.name);
  for (const auto& v : p.inputs) in.reserve(v.name);
  for (const auto& v : p.outputs) in.mark_output(v.name);
  for (const auto& n : p.nodes) {
    for (const auto& o : n.outputs) in.reserve(o);
    for (const auto& i : n.inputs) in.mark_read(i);
    for (const auto& a : n.attributes)
      for (const auto& body : a.graphs)
        for (const auto& name : outer_names(body)) in.mark_read(name);
  }
}

inline void read_nodes(importer& in, const graph_proto& p, const tensor_source& from) {
  const auto given = [&](const std::string& name) { return in.defined(name); };
  for (auto n : order_of(p, from, given)) {
    in.begin(p.nodes[n], label(p.nodes[n]));
    reader_of(qualified(p.nodes[n]))(in);
    in.finish_node();
  }
}

inline graph import_body(importer& outer, const graph_proto& p, const importer::prepare_body& prepare) {
  const tensor_source& from = outer.file();
  importer in(from, outer.opset());
  in.import_body = import_body;
  take_names(in, p);
  for (const auto& name : outer_names(p)) in.reserve(name);
  in.g.name = p.name;
  define_sources(in, p, from);
  prepare(in, p);
  read_nodes(in, p, from);
  define_outputs(in, p, from);
  const auto inputs = in.g.inputs.size();
  graph g = pruned(merge_quantization(hoist_dequantize(std::move(in.g)), from.file));
  if (g.inputs.size() != inputs) fail(from, "body '" + p.name + "': inputs are lost");
  return g;
}

}  // namespace detail_model

/// throws  import_error, unsupported
inline graph graph_of(const model_proto& m, const tensor_source& from) {
  using namespace detail_model;
  const int opset = opset_of(m, from);
  const graph_proto& p = m.graph;
  if (p.sparse_initializers)
    throw unsupported("import: " + from.file + ": sparse initializers are not supported");
  refuse_missing(p, from);
  importer in(from, opset);
  in.import_body = import_body;
  take_names(in, p);
  in.g.name = p.name;
  for (const auto& e : m.metadata) in.g.metadata.push_back({e.key, e.value});
  define_sources(in, p, from);
  read_nodes(in, p, from);
  define_outputs(in, p, from);
  graph g = pruned(merge_quantization(hoist_dequantize(std::move(in.g)), from.file));
  check(g);
  return g;
}

}  // namespace ptq::onnx
