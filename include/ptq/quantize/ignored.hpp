#pragma once
// SPDX-License-Identifier: Apache-2.0
// The user's list of nodes that stay in float → one reason per node.

#include <regex>
#include <string>
#include <vector>

#include <ptq/core/error.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/graph/print.hpp>
#include <ptq/quantize/scheme.hpp>

namespace ptq::quantization {

/// ONNX names that import brings to one family are matched by either.
inline bool has_type(const node& n, const std::string& type) {
  return type == op_name(n.what) || (type == "Gemm" && std::holds_alternative<op::matmul>(n.what));
}

/// The reason for which each node is ignored; empty where it is not.
///
/// throws  error naming every rule that matches no node (unless validate is off), or a malformed
/// pattern
inline std::vector<std::string> ignored_nodes(const graph& g, const ignored_scope& scope) {
  std::vector<std::string> why(g.nodes.size());
  std::string unmatched;
  const auto apply = [&](const std::string& rule, const std::string& kind, auto matches) {
    bool any = false;
    for (std::size_t i = 0; i < g.nodes.size(); ++i)
      if (matches(g.nodes[i])) {
        any = true;
        why[i] = "ignored by " + kind + " '" + rule + "'";
      }
    if (!any) unmatched += (unmatched.empty() ? "" : ", ") + kind + " '" + rule + "'";
  };
  for (const auto& name : scope.names)
    apply(name, "name", [&](const node& n) { return n.name == name; });
  for (const auto& type : scope.types)
    apply(type, "type", [&](const node& n) { return has_type(n, type); });
  for (const auto& pattern : scope.patterns) {
    std::regex expression;
    try {
      expression = std::regex(pattern);
    } catch (const std::regex_error& e) {
      throw error("quantize: ignored pattern '" + pattern + "': " + e.what());
    }
    apply(pattern, "pattern", [&](const node& n) { return std::regex_match(n.name, expression); });
  }
  if (scope.validate && !unmatched.empty())
    throw error("quantize: ignored: expected every rule to match a node, got none for " +
                unmatched);
  return why;
}

}  // namespace ptq::quantization
