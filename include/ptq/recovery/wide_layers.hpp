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
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <ptq/calibrate.hpp>
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

struct wide_choice {
  std::set<std::string> values, readers, layers;
  double macs = 0;  // share that multiplies 16-bit codes, or yields them

  void add(const wide_bundle& b) {
    values.insert(b.values.begin(), b.values.end());
    readers.insert(b.readers.begin(), b.readers.end());
    layers.insert(b.layers.begin(), b.layers.end());
  }
};

/// Chooses the bundles that take away the most error per multiply-accumulate: by the gain of each as
/// the network is, or in rounds, each of which sees what those before it changed. Errors partly
/// cancel, and what one value clips the next need not, so neither is always better; what leaves the
/// least error is chosen (on 10 % of the products, yunet: 21.0 and 22.4 dB; nanodet: 20.6 and 18.7).
class wide_search {
 public:
  /// q  quantized
  wide_search(const graph& q, const std::vector<wide_bundle>& bundles, const node_macs& macs,
              const held_back& judge)
      : q_(q), bundles_(bundles), macs_(macs), judge_(judge) {}

  /// cost  one inference of a few samples for each bundle and round
  wide_choice run(const relief_limits& limits) const {
    constexpr int rounds = 3;
    wide_choice none;
    double error = error_of(none, few);
    if (error <= limits.enough) return none;
    auto list = candidates(none, error, limits.share);
    std::vector<wide_choice> proposals{extended(none, list, error, limits)};
    wide_choice chosen;
    for (int round = 1; round <= rounds && error > limits.enough; ++round) {
      const double share = limits.share * round / rounds;
      if (round > 1) list = candidates(chosen, error, share);
      chosen = extended(chosen, list, error, {share, limits.enough});
      error = error_of(chosen, few);
    }
    proposals.push_back(std::move(chosen));
    wide_choice all;
    for (const auto& b : bundles_) all.add(b);
    if (share_of(all.layers) <= limits.share + 1e-9)
      proposals.push_back(std::move(all));  // rounded
    std::vector<double> errors;
    for (auto& c : proposals) {
      c.macs = share_of(c.layers);
      errors.push_back(error_of(c, std::numeric_limits<std::int64_t>::max()));
    }
    return proposals[static_cast<std::size_t>(std::min_element(errors.begin(), errors.end()) -
                                              errors.begin())];
  }

 private:
  static constexpr std::int64_t few = 6;

  struct candidate {
    const wide_bundle* bundle;
    double gain, macs;
  };

  double error_of(const wide_choice& c, std::int64_t most) const {
    return judge_.error(with_real(q_, {c.values.begin(), c.values.end()}), most);
  }
  double share_of(const std::set<std::string>& layers) const {
    double sum = 0;
    for (const auto& n : layers)
      if (const auto it = macs_.find(n); it != macs_.end()) sum += it->second;
    return sum;
  }
  static wide_choice with(wide_choice c, const wide_bundle& b) {
    c.add(b);
    return c;
  }

  /// What each bundle takes away from `error`, that of `chosen`; the best first.
  std::vector<candidate> candidates(const wide_choice& chosen, double error, double share) const {
    constexpr double least_gain = 0.005;
    constexpr double least_macs = 0.005;  // of the conversions beside a layer, see relief
    std::vector<candidate> list;
    for (const auto& b : bundles_) {
      const auto more = with(chosen, b);
      const double macs = share_of(more.layers);
      if (more.values.size() == chosen.values.size() || macs > share) continue;
      const double gain = error - error_of(more, few);
      if (gain >= least_gain * error)
        list.push_back({&b, gain, std::max(macs - share_of(chosen.layers), least_macs)});
    }
    std::stable_sort(list.begin(), list.end(), [](const candidate& a, const candidate& b) {
      return a.gain * b.macs > b.gain * a.macs;
    });
    return list;
  }

  wide_choice extended(wide_choice chosen, const std::vector<candidate>& list, double error,
                       const relief_limits& limits) const {
    for (const auto& c : list) {
      auto more = with(chosen, *c.bundle);
      if (error <= limits.enough || share_of(more.layers) > limits.share) continue;
      chosen = std::move(more);
      error -= c.gain;
    }
    return chosen;
  }

  const graph& q_;
  const std::vector<wide_bundle>& bundles_;
  const node_macs& macs_;
  const held_back& judge_;
};

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
  const auto macs = macs_of(q, on.first, on.table);
  const auto found =
      wide_search(q, bundles, macs, on.judge).run(on.limits(on.options.effort.wide_macs));
  if (found.values.empty()) return {};
  precision_step step{on.options, "", {found.readers.begin(), found.readers.end()}};
  step.options.wide_values = found.values;
  step.what = "16-bit inputs of " + std::to_string(found.readers.size()) + " layers, " +
              percent_text(found.macs) + " % of the products";
  return step;
}

}  // namespace ptq::recovering
