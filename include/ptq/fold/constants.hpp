#pragma once
// SPDX-License-Identifier: Apache-2.0
// Nodes whose result does not depend on the input become constants: arithmetic on known extents,
// and whatever reads constants alone. The second kind is run by the executor (lower/evaluate.hpp),
// so folding and execution can't disagree.
//
// Values with qparams are left alone: their rounding belongs to the network.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include <ptq/core/error.hpp>
#include <ptq/graph/infer.hpp>
#include <ptq/graph/rewrite.hpp>
#include <ptq/lower/evaluate.hpp>

namespace ptq::folding {

/// A constant may grow to this, or to the size of what it was made from: ConstantOfShape, Expand
/// and Tile make gigabytes out of a few bytes of file.
inline constexpr std::int64_t largest_constant = std::int64_t{64} << 20;
/// What all folded constants of one graph may add to it.
inline constexpr std::int64_t largest_growth = std::int64_t{256} << 20;

template <class T>
tensor tensor_of(const partial_elements& e, const shape& dims) {
  tensor t(dtype_of<T>, dims);
  auto v = t.mutable_view<T>();
  for (std::size_t i = 0; i < v.size(); ++i) {
    if constexpr (std::is_same_v<T, float>) {
      v[i] = inference::real_of(*e[i]);
    } else {
      v[i] = static_cast<T>(*e[i]);
    }
  }
  return t;
}

/// The constant that a fully known value is.
template <class = void>
std::optional<tensor> known_tensor(const value& v,
                                   const std::optional<partial_elements>& e) {
  if (!e || !v.shaped || !v.dims.known() || v.quant) return std::nullopt;
  if (std::any_of(e->begin(), e->end(), [](const auto& x) { return !x; })) return std::nullopt;
  switch (v.type) {
    case dtype::s64:
      return tensor_of<std::int64_t>(*e, v.dims);
    case dtype::s32:
      return tensor_of<std::int32_t>(*e, v.dims);
    case dtype::f32:
      return tensor_of<float>(*e, v.dims);
    case dtype::boolean:
      return tensor_of<bool>(*e, v.dims);
    default:
      return std::nullopt;
  }
}

/// Bytes of a node's constant operands; nothing if an operand is no plain constant.
template <class = void>
std::optional<std::int64_t> constant_bytes(const rewriter& g, int n) {
  std::int64_t bytes = 0;
  for (auto id : g.at(n).inputs) {
    if (id == none) continue;
    if (!g[id].constant || g[id].quant) return std::nullopt;
    bytes += static_cast<std::int64_t>(g[id].constant->byte_count());
  }
  return bytes;
}

/// Bytes of its results; nothing if an extent is unknown before it runs, or absurd.
template <class = void>
std::optional<std::int64_t> result_bytes(const rewriter& g, int n) {
  std::int64_t bytes = 0;
  for (const auto& r : infer_node(g.now(), g.at(n), {})) {
    if (!r.shaped || !r.dims.known()) return std::nullopt;
    std::int64_t elements = 1;
    for (auto d : r.dims.dims) {
      if (d != 0 && elements > largest_growth / d) return std::nullopt;
      elements *= d;
    }
    bytes += elements * static_cast<std::int64_t>(size_of(r.type));
  }
  return bytes;
}

/// Results of node n if it can be folded. `growth` counts the bytes added so far.
template <class = void>
std::optional<std::vector<tensor>> folded(const rewriter& g, int n,
                                          const partial_values& known,
                                          std::int64_t& growth) {
  const auto& at = g.at(n);
  std::vector<tensor> results;
  for (auto id : at.outputs) {
    if (id == none) continue;
    if (g[id].quant || g.is_output(id)) return std::nullopt;
    const auto i = static_cast<std::size_t>(id);
    if (auto t = i < known.size() ? known_tensor(g[id], known[i]) : std::nullopt)
      results.push_back(std::move(*t));
  }
  if (results.size() == at.outputs.size()) return results;
  if (std::holds_alternative<op::quantize_linear>(at.what) ||
      std::holds_alternative<op::dequantize_linear>(at.what))
    return std::nullopt;
  const auto from = constant_bytes(g, n);
  if (!from) return std::nullopt;
  const auto to = result_bytes(g, n);
  if (!to || *to > std::max(largest_constant, *from)) return std::nullopt;
  const auto more = std::max<std::int64_t>(0, *to - *from);
  if (growth + more > largest_growth) return std::nullopt;
  growth += more;
  try {
    return evaluate(g.now(), at);
  } catch (const unsupported&) {
    return std::nullopt;  // stays a node; lower says why, should it matter
  }
}

/// One sweep in node order; true if something folded.
template <class = void>
bool constants(graph& g, std::int64_t& growth) {
  auto [inferred_graph, known] = infer_elements(std::move(g));
  rewriter edit(std::move(inferred_graph));
  const int count = edit.node_count();
  for (int n = 0; n < count; ++n) {
    if (edit.removed(n)) continue;
    if (auto results = folded(edit, n, known, growth)) edit.make_constant(n, std::move(*results));
  }
  const bool changed = edit.changed();
  g = edit.finish();
  return changed;
}

}  // namespace ptq::folding
