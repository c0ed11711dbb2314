#pragma once
// SPDX-License-Identifier: Apache-2.0
// What needs a clock: the costs, measured once before the search, and a bound on time, kept by
// measuring what the search chose.

#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <ptq/accuracy_control/budget.hpp>
#include <ptq/accuracy_control/journal.hpp>
#include <ptq/accuracy_control/search.hpp>

namespace ptq::control {

/// From the journal where it has them; else measured, and written there.
template <class Trial>
cost_table costs_of(const Trial& models, journal& notes) {
  cost_table t;
  if (const auto* known = notes.find("costs")) {
    std::size_t at = 2;
    t.real_us = known->at(0);
    t.integer_us = known->at(1);
    for (const auto& n : models.network().nodes) {
      t.layers[n.name] = {known->at(at), known->at(at + 1)};
      at += 2;
    }
    return t;
  }
  constexpr int repeats = 10;
  const auto sum = [](const std::map<std::string, double>& us) {
    double s = 0;
    for (const auto& [name, x] : us) s += x;
    return s;
  };
  const auto times = models.step_microseconds(
      {{models.network()}, {models.quantized({})}, {models.network(), true}}, repeats);
  const auto &real = times[0], &codes = times[1];
  t.real_us = rounded_cost(sum(times[2]));  // as it would ship
  t.integer_us = rounded_cost(sum(codes));
  std::vector<double> flat{t.real_us, t.integer_us};
  const auto at = [](const std::map<std::string, double>& us, const std::string& name) {
    const auto it = us.find(name);
    return it == us.end() ? 0.0 : rounded_cost(it->second);
  };
  for (const auto& n : models.network().nodes) {
    t.layers[n.name] = {at(real, n.name), at(codes, n.name)};
    flat.insert(flat.end(), {t.layers[n.name].real_us, t.layers[n.name].integer_us});
  }
  notes.add("costs", std::move(flat));
  return t;
}

/// A latency bound is kept by measurement of whole runs: while the chosen model is over it, the best of
/// the cheaper ones takes its place.
///
/// returns  the time of the chosen one
template <class Trial>
double settle(const Trial& models, search_result& r, double allowed_us) {
  while (true) {
    constexpr int repeats = 20;  // as `ptq benchmark`
    const double us = models.median_microseconds(models.quantized(r.points[r.best].groups), repeats);
    if (us <= allowed_us) return us;
    std::size_t next = r.best;
    for (std::size_t i = 0; i < r.points.size(); ++i)
      if (r.points[i].cost.us < r.points[r.best].cost.us &&
          (next == r.best || better(r.points[i], r.points[next])))
        next = i;
    r.fine = false;
    if (next == r.best) {
      r.limited_by = "the time limit of " + std::to_string(allowed_us) +
                     " us: the fastest model was measured at " + std::to_string(us);
      return us;
    }
    r.best = next;
    r.fine = r.points[next].found.fine;
    if (!r.fine) r.limited_by = "the time limit of " + std::to_string(allowed_us) + " us, by measurement";
  }
}

}  // namespace ptq::control
