#pragma once
// SPDX-License-Identifier: Apache-2.0
// The search: which quantizer groups go back to float. A pure function of the answers that it gets.
//
//   1. the groups are put in order by an estimate of what each adds to the output's error
//   2. the foremost are measured on the ranking subset: each alone in integers, all else in float.
//      Reverting one alone would say nothing where others, in front of it or behind, do damage too
//   3. a knapsack over the measured ones gives, for falling budgets, the sets that remove the most
//      error per microsecond given back; the sets are confirmed on the ranking subset, and those
//      that a cheaper one beats are left out
//   4. what is left is bisected for its cheapest set that passes on all samples
//   5. where none does, the next groups are measured too
//
// Success is looked at before anything else, also after the last group; ranks go by the error that
// is removed, so larger is better throughout.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <numeric>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <ptq/accuracy_control/selection.hpp>
#include <ptq/accuracy_control/statistics.hpp>

namespace ptq::control {

/// Indices of groups, increasing.
using group_set = std::vector<int>;

struct price {
  double us = 0;    // given back
  double macs = 0;  // share of the multiply-accumulates in float
};

/// What all samples say of one model.
struct verdict {
  bool fine = false;
  bool whole = true;  // all samples were looked at; false: it had failed before
  interval drop;
  double agreement = 0, error = 0, score = 0;
  std::int64_t n = 0;
  /// The same of the first samples, for growing numbers of them: what two verdicts are compared by
  /// where one saw more.
  struct part {
    std::int64_t n;
    double agreement, error;
  };
  std::vector<part> parts = {};
};

struct search_questions {
  /// Mean output error on the ranking subset, for each set.
  std::function<std::vector<double>(const std::vector<group_set>&)> errors;
  std::function<verdict(const group_set&)> validate;
  std::function<price(const group_set&)> price_of;
  /// The groups to give back so that of all layers only those that this group's codes feed are left
  /// in integers. Absent: all but the group.
  std::function<group_set(int)> all_but = {};
};

struct search_options {
  limits within;            // microseconds given back, share of MACs
  int max_validations = 12;
  int measured = 0;         // groups measured per turn; 0: a third of them, at least 8
};

/// A model that was validated.
struct front_point {
  group_set groups;
  price cost;
  verdict found;
};

struct search_result {
  std::vector<front_point> points;  // in the order of validation; the first gives nothing back
  std::size_t best = 0;
  bool fine = false;
  std::string limited_by;           // where it isn't
  // Models run on the ranking subset, beside those that they are compared with; on all samples.
  int confirmations = 0, validations = 0;
};

/// A better verdict: fine ones before others, then the cheaper; of others, on the samples that both
/// saw, the one that agrees more by at least a standard error of the agreement, else the one of less
/// error, which far fewer samples tell.
inline bool better(const front_point& a, const front_point& b) {
  if (a.found.fine != b.found.fine) return a.found.fine;
  if (a.found.fine) return a.cost.us < b.cost.us;
  verdict::part x{a.found.n, a.found.agreement, a.found.error},
      y{b.found.n, b.found.agreement, b.found.error};
  if (const auto both = std::min(a.found.parts.size(), b.found.parts.size()); both > 0) {
    x = a.found.parts[both - 1];
    y = b.found.parts[both - 1];
  }
  const double p = (x.agreement + y.agreement) / 2;
  const auto n = static_cast<double>(std::max<std::int64_t>(std::min(x.n, y.n), 1));
  const double apart = x.agreement - y.agreement;
  if (std::fabs(apart) > std::sqrt(p * (1 - p) / n)) return apart > 0;
  return x.error != y.error ? x.error < y.error : apart > 0;
}

class searcher {
 public:
  searcher(std::span<const double> estimates, const search_questions& ask, const search_options& o)
      : estimates_(estimates), ask_(ask), options_(o) {}

  search_result run() {
    validate({});
    std::set<int> tried;
    const int n = static_cast<int>(estimates_.size());
    const int turn = options_.measured > 0 ? options_.measured : std::max(8, (n + 2) / 3);
    while (!r_.fine && static_cast<int>(tried.size()) < n && may_validate()) {
      const auto candidates = next_candidates(tried, turn);
      tried.insert(candidates.begin(), candidates.end());
      measure(candidates);
      if (const auto sets = front(); !sets.empty()) bisect(sets);
    }
    if (!r_.fine) r_.limited_by = why();
    return std::move(r_);
  }

 private:
  bool may_validate() const { return r_.validations < options_.max_validations; }

  bool validate(const group_set& s) {
    for (const auto& p : r_.points)
      if (p.groups == s) return p.found.fine;
    r_.points.push_back({s, ask_.price_of(s), ask_.validate(s)});
    ++r_.validations;
    if (r_.points.size() > 1 && better(r_.points.back(), r_.points[r_.best]))
      r_.best = r_.points.size() - 1;
    r_.fine = r_.points[r_.best].found.fine;
    return r_.points.back().found.fine;
  }

  /// Half of the turn by error, half by error per microsecond: neither a cheap group of little error
  /// nor an expensive one of much is overlooked.
  group_set next_candidates(const std::set<int>& tried, int turn) const {
    std::vector<int> by_error, by_density;
    for (int i = 0; i < static_cast<int>(estimates_.size()); ++i)
      if (!tried.contains(i)) by_error.push_back(i);
    by_density = by_error;
    const auto estimate = [&](int i) { return estimates_[static_cast<std::size_t>(i)]; };
    const auto density = [&](int i) { return estimate(i) / (ask_.price_of({i}).us + 1); };
    std::stable_sort(by_error.begin(), by_error.end(),
                     [&](int a, int b) { return estimate(a) > estimate(b); });
    std::stable_sort(by_density.begin(), by_density.end(),
                     [&](int a, int b) { return density(a) > density(b); });
    std::set<int> chosen;
    for (std::size_t i = 0; i < by_error.size() && static_cast<int>(chosen.size()) < turn; ++i) {
      chosen.insert(by_error[i]);
      if (static_cast<int>(chosen.size()) < turn) chosen.insert(by_density[i]);
    }
    return {chosen.begin(), chosen.end()};
  }

  group_set all_but(int group) const {
    if (ask_.all_but) return ask_.all_but(group);
    group_set rest = every();
    rest.erase(rest.begin() + group);
    return rest;
  }
  group_set every() const {
    group_set all(estimates_.size());
    std::iota(all.begin(), all.end(), 0);
    return all;
  }

  /// What each candidate alone adds to the error.
  void measure(const group_set& candidates) {
    std::vector<group_set> sets{every()};
    for (int c : candidates) sets.push_back(all_but(c));
    const auto errors = ask_.errors(sets);
    r_.confirmations += static_cast<int>(candidates.size());
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      const price p = ask_.price_of({candidates[i]});
      measured_.push_back(candidates[i]);
      items_.push_back({.benefit = errors[i + 1] - errors[0], .cost = p.us, .macs = p.macs});
    }
  }

  /// Solves for falling budgets: sets of growing cost, each with less error on the ranking subset.
  std::vector<group_set> front() {
    double total = 0;
    for (const auto& i : items_)
      if (i.benefit > 0) total += i.cost;
    std::vector<group_set> sets;
    const double most = std::min(total, options_.within.cost);
    // Steps of a twelfth down to a hundredth: what is cheaper yet is no news.
    for (int step = 53; step >= 0; --step) {
      const double budget = most * std::pow(2.0, -0.125 * step);
      const auto taken =
          best_selection(items_, {.cost = budget + 1e-9, .macs = options_.within.macs});
      group_set s;
      for (int i : taken) s.push_back(measured_[static_cast<std::size_t>(i)]);
      std::sort(s.begin(), s.end());
      if (!s.empty() && (sets.empty() || sets.back() != s)) sets.push_back(std::move(s));
    }
    return confirmed(std::move(sets));
  }

  std::vector<group_set> confirmed(std::vector<group_set> sets) {
    if (sets.size() < 2) return sets;
    std::vector<group_set> asked{{}};
    asked.insert(asked.end(), sets.begin(), sets.end());
    const auto errors = ask_.errors(asked);
    r_.confirmations += static_cast<int>(sets.size());
    std::vector<group_set> front;
    double least = errors[0];
    for (std::size_t i = 0; i < sets.size(); ++i)
      if (errors[i + 1] < least) {
        least = errors[i + 1];
        front.push_back(std::move(sets[i]));
      }
    return front;
  }

  /// The dearest first: if that fails, all do; then halves.
  void bisect(const std::vector<group_set>& sets) {
    if (!validate(sets.back())) return;
    std::size_t low = 0, high = sets.size() - 1;  // high passes
    while (low < high && may_validate()) {
      const std::size_t middle = (low + high) / 2;
      if (validate(sets[middle]))
        high = middle;
      else
        low = middle + 1;
    }
  }

  std::string why() const {
    const auto& p = r_.points[r_.best];
    if (!may_validate())
      return "the number of validations (" + std::to_string(options_.max_validations) + ")";
    // Which limit the groups that remove error would pass by most.
    double us = 0, macs = 0;
    for (const auto& i : items_)
      if (i.benefit > 0) us += i.cost, macs += i.macs;
    const double over_us = us / std::max(options_.within.cost, 1e-9);
    const double over_macs = macs / std::max(options_.within.macs, 1e-9);
    if (over_us > 1 && over_us >= over_macs)
      return "the time limit: " + std::to_string(options_.within.cost) +
             " us may be given back, of which " + std::to_string(p.cost.us) + " are";
    if (over_macs > 1)
      return "the share of multiply-accumulates in float: at most " +
             std::to_string(100 * options_.within.macs) + " %, of which " +
             std::to_string(100 * p.cost.macs) + " % are used";
    return "the groups: every one that removes error was given back";
  }

  std::span<const double> estimates_;
  const search_questions& ask_;
  search_options options_;
  group_set measured_;
  std::vector<item> items_;  // of measured_
  search_result r_;
};

/// Looks for the cheapest set of groups whose model is fine.
///
/// estimates  [groups]  of what each adds to the error, in any unit; orders the measurements
inline search_result search(std::span<const double> estimates, const search_questions& ask,
                            const search_options& options = {}) {
  return searcher(estimates, ask, options).run();
}

}  // namespace ptq::control
