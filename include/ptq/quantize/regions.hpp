#pragma once
// SPDX-License-Identifier: Apache-2.0
// Which nodes run in integers. Convolutions and matrix products always do; what lies between them
// does when codes arrive and all its readers take codes, so that an island never pays a conversion
// to save nothing.
//
// It is NNCF's propagation from the other end: there a quantizer climbs from the input of a
// quantizable operator until something stops it; here a node is taken when a quantizer could climb
// over it. Differences, all so that a code in the file is a code in the program: an elementwise
// operator is taken only where its result is read as codes, and a function of one value that comes
// from a float operator stays float with it.

#include <cstdint>
#include <string>
#include <vector>

#include <ptq/graph/graph.hpp>
#include <ptq/quantize/traits.hpp>

namespace ptq::quantization {

struct regions {
  std::vector<bool> integer;        // by node
  std::vector<std::string> reason;  // by node: why not, for nodes on real numbers
  std::vector<bool> wanted;         // by value: an integer node reads it as codes
  std::vector<bool> agreed;  // by value: every reader takes codes, and it is no output of the graph
  std::vector<bool> continues;  // by value: a way leads from it to an integer node or a mean
};

class region_finder {
 public:
  /// reason: by node, set where a node must stay float; outputs: the graph's outputs take codes
  region_finder(const graph& g, const std::vector<node_traits>& traits, const uses& edges,
                std::vector<std::string> reason, bool outputs = false)
      : g_(g), traits_(traits), edges_(edges), forced_(std::move(reason)), outputs_(outputs) {}

  regions find() {
    while (true) {
      sweep_back();
      if (!drop_islands()) return std::move(r_);
    }
  }

 private:
  static std::size_t u(std::int32_t i) { return static_cast<std::size_t>(i); }
  bool real_output(value_id id) const { return edges_.is_output[u(id)] && !outputs_; }
  bool reads_codes(const uses::use& c) const {
    return r_.integer[u(c.node)] && c.port < traits_[u(c.node)].activations;
  }
  /// A mean in float reads rounded numbers as gladly: what is rounded for it is rounded for speed.
  bool accepts(const uses::use& c) const {
    const auto& t = traits_[u(c.node)];
    return reads_codes(c) || t.what == trait::outside ||
           (t.what == trait::average && c.port < t.activations && forced_[u(c.node)].empty());
  }

  void look_at(value_id id) {
    bool wanted = false, agreed = !real_output(id), continues = false;
    for (const auto& c : edges_.consumers[u(id)]) {
      const auto& what = traits_[u(c.node)].what;
      wanted = wanted || reads_codes(c);
      agreed = agreed && accepts(c);
      continues =
          continues || (what != trait::outside && (reads_codes(c) || what == trait::average));
      for (auto out : g_.nodes[u(c.node)].outputs)
        continues = continues || (out != none && what != trait::outside && r_.continues[u(out)]);
    }
    r_.wanted[u(id)] = wanted;
    r_.agreed[u(id)] = agreed;
    r_.continues[u(id)] = continues;
  }

  bool takes_all_outputs(const node& n) const {
    bool useful = false;
    for (auto id : n.outputs) {
      if (id == none) continue;
      const bool read = !edges_.consumers[u(id)].empty();
      if (real_output(id) || (read && !r_.agreed[u(id)])) return false;
      // With nobody behind it, a result counts only if outputs are to be codes.
      useful = useful || r_.wanted[u(id)] || edges_.is_output[u(id)];
      for (const auto& c : edges_.consumers[u(id)])
        useful = useful || traits_[u(c.node)].what == trait::average;
    }
    return useful;
  }

  void sweep_back() {
    r_.integer.assign(g_.nodes.size(), false);
    r_.reason.assign(g_.nodes.size(), "");
    r_.wanted.assign(g_.values.size(), false);
    r_.agreed = r_.continues = r_.wanted;
    for (std::size_t n = g_.nodes.size(); n-- > 0;) {
      const auto& node = g_.nodes[n];
      for (auto id : node.outputs)
        if (id != none) look_at(id);
      const auto& t = traits_[n];
      if (t.what == trait::outside) continue;
      if (!forced_[n].empty())
        r_.reason[n] = forced_[n];
      else if (t.what == trait::real)
        r_.reason[n] = t.why;
      else if (t.what == trait::weighted || t.what == trait::product || takes_all_outputs(node))
        r_.integer[n] = true;
      else
        r_.reason[n] = "its result is read in float";
    }
    for (auto id : g_.inputs) look_at(id);
  }

  /// Functions, sums and means whose operands all come from float operators save nothing in
  /// integers.
  bool drop_islands() {
    std::vector<bool> coded(g_.values.size());
    bool dropped = false;
    for (std::size_t n = 0; n < g_.nodes.size(); ++n) {
      if (!r_.integer[n]) continue;
      const auto& t = traits_[n];
      bool any = t.what == trait::weighted || t.what == trait::product || t.what == trait::of_sum;
      for (std::int32_t p = 0; p < t.activations; ++p)
        any = any || coded[u(g_.nodes[n].inputs[u(p)])];
      const bool computes =
          t.what == trait::lookup || t.what == trait::elementwise || t.what == trait::average;
      if (!any && computes) {
        forced_[n] = "its operands come from float operators";
        dropped = true;
      }
      for (auto id : g_.nodes[n].outputs)
        if (id != none) coded[u(id)] = any;
    }
    return dropped;
  }

  const graph& g_;
  const std::vector<node_traits>& traits_;
  const uses& edges_;
  std::vector<std::string> forced_;
  bool outputs_;
  regions r_;
};

}  // namespace ptq::quantization
