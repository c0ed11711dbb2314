#pragma once
// SPDX-License-Identifier: Apache-2.0
// Element types and extents of every value, from those of the inputs. Runs after import (with the
// batch still free), after passes, and in lower once the inputs are bound. Arithmetic on shapes is
// followed element by element (infer/operands.hpp), so that Reshape(x, Concat(Shape(x)[0], 64)) is
// [?,64] before the batch is known.
//
// Invariants: an unknown extent is -1; a value of unknown rank has shaped == false; what
// contradicts itself throws.

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <ptq/graph/graph.hpp>
#include <ptq/graph/infer/control.hpp>
#include <ptq/graph/infer/elementwise.hpp>
#include <ptq/graph/infer/generate.hpp>
#include <ptq/graph/infer/layout.hpp>
#include <ptq/graph/infer/normalization.hpp>
#include <ptq/graph/infer/operands.hpp>
#include <ptq/graph/infer/recurrent.hpp>
#include <ptq/graph/infer/reduction.hpp>
#include <ptq/graph/infer/reshape.hpp>
#include <ptq/graph/infer/window.hpp>

namespace ptq {

/// Types, extents and known elements of a node's outputs, one entry per output slot.
///
/// known    elements of small integer values by id, as far as they are known; may be empty
/// throws   shape_error `infer: node 'name' (op): what: expected X, got Y` if operands contradict
/// each other
template <class = void>
std::vector<inferred> infer_node(const graph& g, const node& n, const partial_values& known);

/// A graph whose values carry types and extents, and what is known of small integer values.
struct inference_result {
  graph g;
  partial_values known;
};
/// infer, returning the known elements too: fold turns complete ones into constants.
template <class = void>
inference_result infer_elements(graph g);

/// The graph with type, dims and shaped of every value filled in. An extent that can't be inferred
/// keeps the one that the file declared, if any.
///
/// throws  as infer_node
inline graph infer(graph g);

/// Extents for one graph input.
struct binding {
  std::string input;
  shape dims;
};

/// The graph with free dimensions of its inputs replaced by extents, and everything inferred anew.
/// Dimensions that bear the same name are bound together.
///
/// throws  shape_error naming the input if it does not exist, the rank differs, or a fixed extent
/// would change
inline graph bind_inputs(graph g, const std::vector<binding>& inputs);

// -------------------------------------------------------------------------------------------------

template <class>
std::vector<inferred> infer_node(const graph& g, const node& n, const partial_values& known) {
  const inference::operands in(g, n, known);
  auto r = n.what.visit([&](const auto& o) { return inference::infer(o, in); });
  if (n.outputs.size() > r.size())
    in.fail("outputs", "at most " + std::to_string(r.size()), std::to_string(n.outputs.size()));
  r.resize(n.outputs.size());
  for (auto& o : r)
    if (o.elements &&
        (!inference::followed(o) || static_cast<std::int64_t>(o.elements->size()) != o.dims.size()))
      o.elements.reset();
  return r;
}

namespace inference {

/// Gives free extents of inputs symbols: one per dimension name, a fresh one where there is no
/// name.
inline void name_free_extents(graph& g) {
  std::map<std::string, std::int64_t> named;
  std::int64_t next = first_symbol;
  for (auto id : g.inputs) {
    auto& v = g[id];
    for (std::size_t i = 0; i < v.dims.dims.size(); ++i) {
      auto& e = v.dims.dims[i];
      if (e < unknown || e > largest_extent)
        throw shape_error("infer: input '" + v.name + "': extent: expected at most " +
                          std::to_string(largest_extent) + ", got " + std::to_string(e));
      if (e != unknown || next == last_symbol) continue;
      if (i < v.dim_names.size() && !v.dim_names[i].empty()) {
        const auto [entry, fresh] = named.emplace(v.dim_names[i], next);
        if (fresh) ++next;
        e = entry->second;
      } else {
        e = next++;
      }
    }
  }
}

inline void forget_symbols(graph& g, partial_values& known) {
  for (auto& v : g.values)
    for (auto& e : v.dims.dims) e = e < 0 ? unknown : e;
  for (std::size_t i = 0; i < known.size(); ++i)
    if (known[i] && g.values[i].type != dtype::f32)
      for (auto& e : *known[i])
        if (e && is_symbol(*e)) e.reset();
}

inline void store(value& v, inferred& r) {
  v.type = r.type;
  if (!r.shaped) return;
  if (v.shaped && v.dims.rank() == r.dims.rank())
    for (int d = 0; d < r.dims.rank(); ++d)
      if (r.dims[d] < 0 && v.dims[d] >= 0) r.dims[d] = v.dims[d];
  v.dims = std::move(r.dims);
  v.shaped = true;
}

}  // namespace inference

template <class>
inference_result infer_elements(graph g) {
  partial_values known(g.values.size());
  inference::name_free_extents(g);
  for (auto& v : g.values) {
    if (!v.constant) continue;
    if (!v.quant) v.type = v.constant->type();
    v.dims = v.constant->dims();
    v.shaped = true;
  }
  for (const auto& n : g.nodes) {
    auto results = infer_node(g, n, known);
    for (std::size_t i = 0; i < n.outputs.size(); ++i) {
      if (n.outputs[i] == none) continue;
      auto& v = g[n.outputs[i]];
      inference::store(v, results[i]);
      if (!v.quant && results[i].elements)
        known[static_cast<std::size_t>(n.outputs[i])] = std::move(results[i].elements);
    }
  }
  inference::forget_symbols(g, known);
  return {std::move(g), std::move(known)};
}

namespace inference {

inline std::vector<inferred> body_results(const graph& body, const std::vector<inferred>& inputs) {
  graph g = body;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    auto& v = g[g.inputs[i]];
    v.type = inputs[i].type;
    v.dims = inputs[i].dims;
    v.dim_names.clear();
    v.shaped = inputs[i].shaped;
  }
  const auto done = infer_elements(std::move(g));
  std::vector<inferred> out;
  for (auto id : done.g.outputs) {
    const auto& v = done.g[id];
    out.push_back({v.type, v.dims, v.shaped, std::nullopt});
  }
  return out;
}

}  // namespace inference

inline graph infer(graph g) { return infer_elements(std::move(g)).g; }

inline graph bind_inputs(graph g, const std::vector<binding>& inputs) {
  std::map<std::string, std::int64_t> named;
  const auto fix = [&](value& v, int axis, std::int64_t e) {
    if (e < 0) return;
    if (v.dims[axis] >= 0 && v.dims[axis] != e)
      throw shape_error("bind_inputs: input '" + v.name + "': extent of axis " +
                        std::to_string(axis) + ": expected " + std::to_string(v.dims[axis]) +
                        ", got " + std::to_string(e));
    v.dims[axis] = e;
    const auto at = static_cast<std::size_t>(axis);
    if (at >= v.dim_names.size() || v.dim_names[at].empty()) return;
    const auto [entry, fresh] = named.emplace(v.dim_names[at], e);
    if (!fresh && entry->second != e)
      throw shape_error("bind_inputs: input '" + v.name + "': dimension '" + v.dim_names[at] +
                        "': expected " + std::to_string(entry->second) + ", got " +
                        std::to_string(e));
  };
  for (const auto& b : inputs) {
    const auto id = g.find(b.input);
    if (id == none || std::find(g.inputs.begin(), g.inputs.end(), id) == g.inputs.end())
      throw shape_error("bind_inputs: input '" + b.input +
                        "': expected an input of the graph, got none");
    auto& v = g[id];
    if (!v.shaped) {
      v.dims = b.dims;
      v.shaped = true;
      continue;
    }
    if (v.dims.rank() != b.dims.rank())
      throw shape_error("bind_inputs: input '" + b.input + "': shape: expected " + v.dims.text() +
                        ", got " + b.dims.text());
    for (int i = 0; i < b.dims.rank(); ++i) fix(v, i, b.dims[i]);
  }
  for (auto id : g.inputs)
    for (std::size_t i = 0; i < g[id].dim_names.size() && i < g[id].dims.dims.size(); ++i) {
      const auto entry = named.find(g[id].dim_names[i]);
      if (entry != named.end()) fix(g[id], static_cast<int>(i), entry->second);
    }
  for (const auto& n : g.nodes)
    for (auto id : n.outputs)
      if (id != none) {
        g[id].dims = {};
        g[id].shaped = false;
      }
  return infer(std::move(g));
}

}  // namespace ptq
