#pragma once
// SPDX-License-Identifier: Apache-2.0
// Which few quantizer groups to give back to float, so that most of the error goes. Groups are tried
// one at a time, all else in integers; their roundings are nearly independent, so what each takes
// away nearly adds up. Those come first that take away the most per multiply-accumulate.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ptq/execute.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/quantize/groups.hpp>
#include <ptq/quantize/placement.hpp>
#include <ptq/quantize/scheme.hpp>
#include <ptq/recovery/held_back.hpp>

namespace ptq::recovering {

using node_macs = std::map<std::string, double, std::less<>>;  // share of the whole, by node

inline node_macs macs_of(const graph& g, const sample& s, const kernels::kernel_table& table) {
  node_macs shares;
  runner bound(g, table);
  double all = 0;
  for (const auto& step : bound.program_for(s).steps) {
    shares[step.node] += static_cast<double>(step.macs);
    all += static_cast<double>(step.macs);
  }
  for (auto& [name, macs] : shares) macs /= all > 0 ? all : 1;
  return shares;
}

struct relief_limits {
  double share = 0;   // of the multiply-accumulates, at most
  double enough = 0;  // error that needs no more
};

struct relief_choice {
  std::vector<int> groups;
  double macs = 0;  // share in float
};

/// The graph with these values real; their readers then compute in float.
inline graph with_real(graph q, const std::vector<std::string>& values) {
  for (const auto& name : values)
    if (const auto id = q.find(name); id != none && !q[id].constant) q[id].quant.reset();
  return q;
}

/// cost  one inference of a few samples for each group
inline relief_choice relief(const graph& q, const std::vector<quantization::revertible_group>& groups,
                            const node_macs& macs, const relief_limits& limits,
                            const held_back& judge) {
  constexpr std::int64_t few = 6;  // tell the worst groups from the others, which is all that is asked
  constexpr double least_gain = 0.03;
  // A conversion on either side costs time too: about as much as 1 in 200 of the products.
  constexpr double least_cost = 0.005;
  struct candidate {
    int group;
    double gain, cost, macs;
  };
  std::vector<candidate> list;
  const double all = judge.error(q, few);
  for (std::size_t i = 0; i < groups.size(); ++i) {
    candidate c{static_cast<int>(i), 0, 0, 0};
    for (const auto& n : groups[i].nodes)
      if (const auto it = macs.find(n); it != macs.end()) c.macs += it->second;
    c.cost = std::max(c.macs, least_cost);
    if (c.cost > limits.share) continue;
    c.gain = all - judge.error(with_real(q, groups[i].values), few);
    if (c.gain >= least_gain * all) list.push_back(c);
  }
  std::stable_sort(list.begin(), list.end(), [](const candidate& a, const candidate& b) {
    return a.gain * b.cost > b.gain * a.cost;
  });
  relief_choice chosen;
  double cost = 0, left = all;
  for (const auto& c : list) {
    if (left <= limits.enough || cost + c.cost > limits.share) continue;
    chosen.groups.push_back(c.group);
    chosen.macs += c.macs;
    cost += c.cost;
    left -= c.gain;
  }
  return chosen;
}

/// A change of precision that is worth a trial.
struct precision_step {
  quantize_options options;
  std::string what;
  std::vector<std::string> layers;
};

/// What such a change is chosen from.
struct relief_ground {
  const graph& real;
  const quantize_options& options;
  const sample& first;
  const kernels::kernel_table& table;
  const held_back& judge;

  relief_limits limits(double share) const {
    return {.share = share, .enough = std::pow(10, -options.effort.enough_db / 10)};
  }
};

inline std::string percent_text(double share) {
  char text[16];
  std::snprintf(text, sizeof text, "%.1f", 100 * share);
  return text;
}

/// The layers that are to stay in float, if any.
inline std::optional<precision_step> float_step(const graph& q, const relief_ground& on) {
  if (!on.options.restored.nodes.empty()) return {};
  const auto groups = quantization::revertible_groups(quantization::place(on.real, on.options));
  const auto found = relief(q, groups, macs_of(q, on.first, on.table),
                            on.limits(on.options.effort.float_macs), on.judge);
  if (found.groups.empty()) return {};
  precision_step step{on.options, "", {}};
  step.options.restored = quantization::scope_of(groups, found.groups,
                                                 "the codes it would read cost too much accuracy");
  for (const auto& [name, why] : step.options.restored.nodes) step.layers.push_back(name);
  step.what = "inputs of " + std::to_string(step.layers.size()) + " layers in float, " +
              percent_text(found.macs) + " % of the products";
  return step;
}

}  // namespace ptq::recovering
