#pragma once
// SPDX-License-Identifier: Apache-2.0
// What a search looked at → the outcome: its choice, and the accuracy/latency front.

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

/// None of which is both slower and worse than another, by time.
inline std::vector<front_model> front_of(std::vector<front_model> all) {
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.us < b.us; });
  std::vector<front_model> front;
  for (auto& m : all)
    if (front.empty() || m.agreement > front.back().agreement) front.push_back(std::move(m));
  return front;
}

template <class Trial>
void describe(const Trial& models, const search_result& r, const cost_table& costs, outcome& f) {
  std::vector<front_model> all;
  for (const auto& p : r.points) all.push_back(model_of(models, p, costs));
  f.chosen = all[r.best];
  f.score = r.points[r.best].found.score;
  f.front = front_of(std::move(all));
  f.status = r.fine ? status::met : status::not_met;
  f.limited_by = r.fine ? "" : r.limited_by;
  f.costs = costs;
  f.groups = static_cast<int>(models.groups().size());
  f.confirmations = r.confirmations;
  f.validations = r.validations;
}

}  // namespace ptq::control
