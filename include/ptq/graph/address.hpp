#pragma once
// SPDX-License-Identifier: Apache-2.0
// Addresses: a name for a node that its file can't change. It is made of what the node computes, so
// that it survives a converter that names or orders nodes differently, and weights that were trained
// anew; what stands behind the node is no part of it.
//
//   @Conv/5f1c20a9e3b44d71       operator, hash of it and of all that leads to it
//   @Conv/5f1c20a9e3b44d71.1     the second of equal ones, in the graph's order

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <ptq/graph/graph.hpp>
#include <ptq/graph/print.hpp>

namespace ptq {

/// One address per node, all different.
///
///   hash(node)   = operator, attributes, hash of each operand
///   hash(input)  = its position, type and rank;   hash(constant) = its type and extents
///
/// exact   the same on every platform; no name and no weight has a part in it
/// cost    O(nodes + edges)
/// source  FNV-1a, 64 bits
inline std::vector<std::string> addresses(const graph& g);

// -------------------------------------------------------------------------------------------------

namespace addressing {

class hash {
 public:
  void add(std::string_view text) {
    for (char c : text) mix(static_cast<unsigned char>(c));
    mix(0);  // "ab","c" is not "a","bc"
  }
  void add(std::uint64_t v) {
    for (int i = 0; i < 8; ++i) mix(static_cast<unsigned char>(v >> (8 * i)));
  }
  std::uint64_t value() const { return state_; }
  std::string text() const {
    constexpr const char* digits = "0123456789abcdef";
    std::string s;
    for (int shift = 60; shift >= 0; shift -= 4) s += digits[(state_ >> shift) & 15];
    return s;
  }

 private:
  void mix(unsigned char byte) { state_ = (state_ ^ byte) * 0x100000001b3u; }
  std::uint64_t state_ = 0xcbf29ce484222325u;
};

inline hash of_constant(const value& v) {
  hash h;
  h.add("constant");
  h.add(name_of(v.type));
  h.add(v.constant->dims().text());
  return h;
}

}  // namespace addressing

inline std::vector<std::string> addresses(const graph& g) {
  std::vector<std::uint64_t> of_value(g.values.size());
  for (std::size_t i = 0; i < g.values.size(); ++i)
    if (g.values[i].constant) of_value[i] = addressing::of_constant(g.values[i]).value();
  for (std::size_t i = 0; i < g.inputs.size(); ++i) {
    const auto& v = g[g.inputs[i]];
    addressing::hash h;
    h.add("input");
    h.add(i);
    h.add(name_of(v.type));
    h.add(v.shaped ? static_cast<std::uint64_t>(v.dims.rank()) : ~std::uint64_t{0});
    of_value[static_cast<std::size_t>(g.inputs[i])] = h.value();
  }
  std::vector<std::string> all;
  std::map<std::string, int> seen;
  for (const auto& n : g.nodes) {
    addressing::hash h;
    h.add(op_name(n.what));
    printing::attributes a;
    n.what.visit([&](const auto& o) { printing::describe(a, o); });
    h.add(a.text);
    for (auto id : n.inputs)
      h.add(id == none ? std::uint64_t{1} : of_value[static_cast<std::size_t>(id)]);
    std::string address = std::string("@") + op_name(n.what) + "/" + h.text();
    const int before = seen[address]++;
    if (before > 0) {
      address += "." + std::to_string(before);
      // Equal nodes that lead on lead to different addresses.
      h.add(static_cast<std::uint64_t>(before));
    }
    for (std::size_t i = 0; i < n.outputs.size(); ++i) {
      if (n.outputs[i] == none) continue;
      auto port = h;
      port.add(i);
      of_value[static_cast<std::size_t>(n.outputs[i])] = port.value();
    }
    all.push_back(std::move(address));
  }
  return all;
}

}  // namespace ptq
