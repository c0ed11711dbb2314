#pragma once
// SPDX-License-Identifier: Apache-2.0
// What a search looked at → the outcome: its choice, what every metric says of it, and the
// accuracy/latency front.

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include <ptq/accuracy_control/budget.hpp>
#include <ptq/accuracy_control/outcome.hpp>
#include <ptq/accuracy_control/search.hpp>

namespace ptq::control {

template <class Trial>
front_model model_of(const Trial& models, const front_point& p, const cost_table& costs) {
  front_model m{.restored = {},
                .us = costs.integer_us + p.cost.us,
                .float_macs = p.cost.macs,
                .drop = p.found.drop.estimate,
                .half_width = p.found.drop.half_width,
                .agreement = p.found.agreement,
                .error = p.found.error,
                .whole = p.found.whole,
                .fine = p.found.fine};
  for (int i : p.groups) m.restored.push_back(models.groups()[static_cast<std::size_t>(i)].name);
  return m;
}

/// Those judged on all samples of which none is both slower and worse than another, by time.
inline std::vector<front_model> front_of(std::vector<front_model> all) {
  std::erase_if(all, [](const auto& m) { return !m.whole; });
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.us < b.us; });
  std::vector<front_model> front;
  for (auto& m : all)
    if (front.empty() || m.agreement > front.back().agreement) front.push_back(std::move(m));
  return front;
}

/// Every metric of the chosen model, and whether the samples tell its bound: by the spread that the
/// model which gives nothing back shows.
template <class Judge>
std::vector<metric_outcome> metrics_of(const Judge& ask, const verdict& first,
                                       const verdict& chosen) {
  std::vector<metric_outcome> all;
  for (std::size_t m = 0; m < ask.metrics(); ++m) {
    const auto& of = chosen.metrics[m];
    const double bound = ask.bound_of(m);
    all.push_back({.metric = ask.metric_name(m),
                   .float_score = ask.float_score(m),
                   .score = of.score,
                   .max_drop = bound,
                   .min_agreement = ask.min_agreement(m),
                   .drop = of.drop.estimate,
                   .half_width = of.drop.half_width,
                   .agreement = of.agreement,
                   .resolved = ask.resolves(first, m),
                   .samples_needed =
                       samples_to_resolve(first.n, first.metrics[m].drop.half_width, bound),
                   .fine = of.fine});
  }
  return all;
}

template <class Trial>
void describe(const Trial& models, const search_result& r, const cost_table& costs, outcome& f) {
  std::vector<front_model> all;
  for (const auto& p : r.points) all.push_back(model_of(models, p, costs));
  f.chosen = all[r.best];
  f.front = front_of(std::move(all));
  f.status = r.fine ? status::met : status::not_met;
  f.limited_by = r.fine ? "" : r.limited_by;
  f.costs = costs;
  f.groups = static_cast<int>(models.groups().size());
  f.confirmations = r.confirmations;
  f.validations = r.validations;
}

}  // namespace ptq::control
