#pragma once
// SPDX-License-Identifier: Apache-2.0
// The user's list of nodes that stay in float → one reason per node.

#include <cstdint>
#include <regex>
#include <string>
#include <vector>

#include <ptq/core/error.hpp>
#include <ptq/graph/address.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/graph/print.hpp>
#include <ptq/quantize/scheme.hpp>

namespace ptq::quantization {

/// ONNX names that import brings to one family are matched by either.
inline bool has_type(const node& n, const std::string& type) {
  return type == op_name(n.what) || (type == "Gemm" && std::holds_alternative<op::matmul>(n.what));
}

/// Nodes that one can come to from the marked ones, these included: along the edges, or against
/// them. Each edge is looked at once, however many ways there are.
inline std::vector<bool> reachable(const graph& g, const uses& edges, std::vector<bool> marked,
                                   bool against) {
  const auto u = [](std::int32_t i) { return static_cast<std::size_t>(i); };
  for (std::size_t k = 0; k < g.nodes.size(); ++k) {
    const std::size_t n = against ? g.nodes.size() - 1 - k : k;
    if (!marked[n]) continue;
    if (against) {
      for (auto id : g.nodes[n].inputs)
        if (id != none && edges.producer[u(id)] >= 0) marked[u(edges.producer[u(id)])] = true;
    } else {
      for (auto id : g.nodes[n].outputs)
        if (id != none)
          for (const auto& c : edges.consumers[u(id)]) marked[u(c.node)] = true;
    }
  }
  return marked;
}

/// The rules of a scope, applied one after another.
class scope_matcher {
 public:
  explicit scope_matcher(const graph& g) : g_(g), why_(g.nodes.size()) {}

  template <class = void>
  void apply(const ignored_scope& scope) {
    for (const auto& name : scope.names)
      each(name, "name", [&](std::size_t n) { return is(n, name); });
    for (const auto& type : scope.types)
      each(type, "type", [&](std::size_t n) { return has_type(g_.nodes[n], type); });
    for (const auto& pattern : scope.patterns) {
      std::regex expression;
      try {
        expression = std::regex(pattern);
      } catch (const std::regex_error& e) {
        throw error("quantize: ignored pattern '" + pattern + "': " + e.what());
      }
      each(pattern, "pattern",
           [&](std::size_t n) { return std::regex_match(g_.nodes[n].name, expression); });
    }
    for (const auto& part : scope.subgraphs) subgraph(part);
  }
  const std::string& unmatched() const { return unmatched_; }
  std::vector<std::string> reasons() && { return std::move(why_); }

 private:
  /// By name, or by address.
  bool is(std::size_t n, const std::string& name) {
    if (!name.starts_with('@')) return g_.nodes[n].name == name;
    if (addresses_.empty()) addresses_ = addresses(g_);
    return addresses_[n] == name;
  }
  template <class F>
  void each(const std::string& rule, const std::string& kind, F matches) {
    bool any = false;
    for (std::size_t n = 0; n < g_.nodes.size(); ++n)
      if (matches(n)) {
        any = true;
        why_[n] = "ignored by " + kind + " '" + rule + "'";
      }
    if (!any) miss(kind, rule);
  }
  void miss(const std::string& kind, const std::string& rule) {
    unmatched_ += (unmatched_.empty() ? "" : ", ") + kind + " '" + rule + "'";
  }
  std::vector<bool> marked(const std::vector<std::string>& names) {
    std::vector<bool> m(g_.nodes.size());
    for (const auto& name : names) {
      bool any = false;
      for (std::size_t n = 0; n < m.size(); ++n)
        if (is(n, name)) m[n] = any = true;
      if (!any) miss("end of a subgraph", name);
    }
    return m;
  }
  void subgraph(const ignored_subgraph& part) {
    const uses edges(g_);
    const auto from = reachable(g_, edges, marked(part.inputs), false);
    const auto to = reachable(g_, edges, marked(part.outputs), true);
    std::string rule;
    for (const auto& name : part.inputs) rule += (rule.empty() ? "" : ",") + name;
    rule += "=>";
    for (const auto& name : part.outputs) rule += (rule.ends_with("=>") ? "" : ",") + name;
    each(rule, "subgraph", [&](std::size_t n) { return from[n] && to[n]; });
  }

  const graph& g_;
  std::vector<std::string> why_, addresses_;
  std::string unmatched_;
};

/// The reason for which each node is ignored; empty where it is not.
///
/// throws  error naming every rule that matches no node (unless validate is off), or a malformed
/// pattern
/// cost    linear in nodes and edges, per rule
template <class = void>
std::vector<std::string> ignored_nodes(const graph& g, const ignored_scope& scope) {
  scope_matcher match(g);
  match.apply(scope);
  if (scope.validate && !match.unmatched().empty())
    throw error("quantize: ignored: expected every rule to match a node, got none for " +
                match.unmatched());
  return std::move(match).reasons();
}

}  // namespace ptq::quantization
