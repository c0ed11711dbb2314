#pragma once
// SPDX-License-Identifier: Apache-2.0
// Which quantizer groups to give 16-bit codes, so that most of the error goes. Layers keep their 8-bit
// weights and their integer sums; what reads such codes without a kernel for them (sums, functions,
// pools) computes on their real numbers.
//
// Codes of 16 bits behind a function of 8-bit codes would be no more exact than these. So groups go
// in bundles: with a group go those before it that nothing multiplies, through functions, sums and
// means. Real numbers in place of their codes are as good a trial: 16 bits leave a 257th of the step.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <ptq/calibrate.hpp>
#include <ptq/data/samples.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/quantize/devices.hpp>
#include <ptq/quantize/groups.hpp>
#include <ptq/quantize/placement.hpp>
#include <ptq/quantize/traits.hpp>
#include <ptq/recovery/held_back.hpp>
#include <ptq/recovery/relief.hpp>

namespace ptq::recovering {

/// Groups that take 16-bit codes together.
struct wide_bundle {
  std::set<std::string> values;   // of the placement's network
  std::set<std::string> readers;  // layers whose inputs they are
  std::set<std::string>
      layers;  // readers, and layers whose results they are: all that multiply wide
};

/// The bundles of a placement, one for each group that a layer reads. None where a product of two
/// activations reads it: that has no kernel for 16 bits.
inline std::vector<wide_bundle> wide_bundles(
    const quantization::placement& p, const std::vector<quantization::revertible_group>& groups) {
  using quantization::trait;
  const auto& g = p.network;
  const auto fixed = quantization::fixed_values(g);
  std::map<std::string_view, const node*> by_name;
  for (const auto& n : g.nodes) by_name.emplace(n.name, &n);
  const auto trait_of = [&](const node& n) { return quantization::traits_of(g, n, fixed).what; };
  const auto read_by = [&](const quantization::revertible_group& group, trait what) {
    return std::any_of(group.nodes.begin(), group.nodes.end(),
                       [&](const std::string& n) { return trait_of(*by_name.at(n)) == what; });
  };
  std::map<std::string_view, std::size_t> group_of;
  for (std::size_t i = 0; i < groups.size(); ++i)
    for (const auto& v : groups[i].values) group_of.emplace(v, i);
  const uses edges(g);

  std::vector<wide_bundle> bundles;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    if (!read_by(groups[i], trait::weighted)) continue;
    wide_bundle b;
    std::set<std::size_t> seen{i};
    std::vector<std::size_t> open{i};
    bool fits = true;
    while (!open.empty()) {
      const auto& group = groups[open.back()];
      open.pop_back();
      fits = fits && !read_by(group, trait::product);
      b.values.insert(group.values.begin(), group.values.end());
      for (const auto& n : group.nodes)
        if (trait_of(*by_name.at(n)) == trait::weighted) b.readers.insert(n);
      for (const auto& name : group.values) {
        const auto made_by = edges.producer[static_cast<std::size_t>(g.find(name))];
        if (made_by < 0) continue;
        const auto& producer = g.nodes[static_cast<std::size_t>(made_by)];
        const auto what = trait_of(producer);
        if (!producer.note.empty()) continue;
        if (what == trait::weighted) b.layers.insert(producer.name);
        if (what != trait::lookup && what != trait::elementwise && what != trait::average) continue;
        for (auto id : producer.inputs) {
          const auto before = id == none ? group_of.end() : group_of.find(g[id].name);
          if (before == group_of.end() || read_by(groups[before->second], trait::weighted))
            continue;
          if (seen.insert(before->second).second) open.push_back(before->second);
        }
      }
    }
    b.layers.insert(b.readers.begin(), b.readers.end());
    if (fits) bundles.push_back(std::move(b));
  }
  return bundles;
}

/// What each bundle's codes cost: the error of the outputs with them alone in codes, all other
/// bundles' values real, against what all of them real give. Alone, because the errors of many layers
/// partly cancel on a few samples (blazeface: taking one bundle away changed the error by -31 to
/// +35 %, all together by -40 %).
///
/// held  samples, of which six are looked at
/// cost  one inference of these for each bundle
inline std::vector<double> costs_alone(const graph& q, const std::vector<wide_bundle>& bundles,
                                       const relief_ground& on) {
  constexpr std::int64_t few = 6;
  std::set<std::string> all;
  for (const auto& b : bundles) all.insert(b.values.begin(), b.values.end());
  const auto real = with_real(q, {all.begin(), all.end()});
  const held_back judge(real, on.table, take(on.held, few), on.options.threads,
                        std::size_t{64} << 20);
  std::vector<double> costs;
  for (const auto& b : bundles) {
    std::vector<std::string> others;
    std::set_difference(all.begin(), all.end(), b.values.begin(), b.values.end(),
                        std::back_inserter(others));
    costs.push_back(judge.error(with_real(q, others)));
  }
  return costs;
}

struct wide_choice {
  std::set<std::string> values, readers;
  double macs = 0;  // share that multiplies 16-bit codes, or yields them
};

/// Bundles that cost most per multiply-accumulate, within limits.share of these.
///
/// costs  of each bundle, as costs_alone
/// error  of all in codes
inline wide_choice costliest(const std::vector<wide_bundle>& bundles,
                             const std::vector<double>& costs, double error, const node_macs& macs,
                             const relief_limits& limits) {
  constexpr double least_share = 0.002;  // of the error: what is less gains nothing that is noticed
  constexpr double least_macs = 0.005;   // of the conversions beside a layer, see relief
  const auto macs_of_layers = [&](const std::set<std::string>& layers) {
    double sum = 0;
    for (const auto& n : layers)
      if (const auto it = macs.find(n); it != macs.end()) sum += it->second;
    return sum;
  };
  struct candidate {
    const wide_bundle* bundle;
    double gain, macs;
  };
  std::vector<candidate> list;
  for (std::size_t i = 0; i < bundles.size(); ++i)
    if (costs[i] >= least_share * error)
      list.push_back(
          {&bundles[i], costs[i], std::max(macs_of_layers(bundles[i].layers), least_macs)});
  std::stable_sort(list.begin(), list.end(), [](const candidate& a, const candidate& b) {
    return a.gain * b.macs > b.gain * a.macs;
  });
  wide_choice chosen;
  std::set<std::string> layers;
  double left = error;
  for (const auto& c : list) {
    if (left <= limits.enough) break;
    auto more = layers;
    more.insert(c.bundle->layers.begin(), c.bundle->layers.end());
    if (macs_of_layers(more) > limits.share + 1e-9)
      continue;  // shares add up to 1 but for rounding
    layers = std::move(more);
    chosen.values.insert(c.bundle->values.begin(), c.bundle->values.end());
    chosen.readers.insert(c.bundle->readers.begin(), c.bundle->readers.end());
    left -= c.gain;
  }
  chosen.macs = macs_of_layers(layers);
  return chosen;
}

/// Statistics that leave values with 16-bit codes room for all numbers: with as many codes, a range a
/// quarter larger than what was seen costs nothing, and clipping would be the larger part of the
/// error that is left.
///
/// extremes  of the same values, by the range estimator minmax
inline statistics with_room(statistics observed, const statistics& extremes,
                            const std::set<std::string>& wide) {
  constexpr float room = 1.25f;
  for (const auto& name : wide)
    if (const auto to = observed.values.find(name); to != observed.values.end()) {
      const auto& r = extremes.at(name).range;
      to->second.range = {room * r.min, room * r.max};
    }
  return observed;
}

/// The layers that are to read 16-bit codes, if any.
inline std::optional<precision_step> wide_step(const graph& q, const relief_ground& on) {
  const auto grid = quantization::activation_grid_of(on.options);
  if (grid.type || grid.bits == 16) return {};
  const auto placed = quantization::place(on.real, on.options);
  const auto bundles = wide_bundles(placed, quantization::revertible_groups(placed));
  if (bundles.empty()) return {};
  const auto found =
      costliest(bundles, costs_alone(q, bundles, on), on.judge.error(q),
                macs_of(q, on.first, on.table), on.limits(on.options.effort.wide_macs));
  if (found.values.empty()) return {};
  precision_step step{on.options, "", {found.readers.begin(), found.readers.end()}};
  step.options.wide_values = found.values;
  step.what = "16-bit inputs of " + std::to_string(found.readers.size()) + " layers, " +
              percent_text(found.macs) + " % of the products";
  return step;
}

}  // namespace ptq::recovering
