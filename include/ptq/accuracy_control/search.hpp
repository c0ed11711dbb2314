#pragma once
// SPDX-License-Identifier: Apache-2.0
// The search: which quantizer groups go back to float. A pure function of the answers that it gets.
//
//   1. each group is measured on the ranking subset: alone in integers, all else in float.
//      Reverting one alone would say nothing where others, in front of it or behind, do damage too.
//      Roundings are nearly independent, so that these errors nearly add up
//   2. a knapsack over them gives, for growing budgets, the sets that remove the most error per
//      microsecond given back, and what error each set leaves
//   3. the share of samples that a model changes grows with the root of its error: so the cheapest set
//      that should pass is known, and is validated on all samples. What is seen corrects the
//      prediction, until the cheapest set that passes is found
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

/// What one metric says of a model.
struct metric_verdict {
  interval drop;
  double agreement = 0, score = 0;
  bool fine = false;
};

/// What all samples say of one model: fine if every metric says so.
struct verdict {
  bool fine = false;
  bool whole = true;  // all samples were looked at; false: it had failed before
  interval drop;
  double agreement = 0, error = 0, score = 0;
  std::vector<metric_verdict> metrics = {};  // of each; drop, agreement and score are the first one's
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
  /// The same of all samples, also where the first ones rule the model out. Absent: never needed.
  std::function<verdict(const group_set&)> validate_whole = {};
  std::function<price(const group_set&)> price_of;
  /// The groups to give back so that of all layers only those that this group's codes feed are left
  /// in integers. Absent: all but the group.
  std::function<group_set(int)> all_but = {};
};

struct search_options {
  limits within = {};         // microseconds given back, share of MACs
  int max_validations = 12;
  double min_agreement = 1;   // that a model which is fine will have
  double integer_us = 0;      // of the model that gives nothing back
  /// Models of the front to validate beside those that the search needs.
  int front_points = 0;
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
  int confirmations = 0;            // models run on the ranking subset
  int validations = 0;              // on all samples, as far as that took
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
  searcher(int groups, const search_questions& ask, const search_options& o)
      : groups_(groups), ask_(ask), options_(o) {}

  search_result run() {
    validate({});
    const bool looks = !r_.fine || options_.front_points > 0;
    if (looks && groups_ > 0) {
      measure();
      const auto sets = front();
      if (!r_.fine) aim(sets);
      if (!r_.fine) r_.limited_by = why();
      fill_front(sets);
    } else if (!r_.fine) {
      r_.limited_by = why();
    }
    return std::move(r_);
  }

 private:
  bool may_validate() const { return r_.validations < options_.max_validations; }

  const front_point& validate(const group_set& s) {
    for (const auto& p : r_.points)
      if (p.groups == s) return p;
    r_.points.push_back({s, ask_.price_of(s), ask_.validate(s)});
    ++r_.validations;
    if (r_.points.size() > 1 && better(r_.points.back(), r_.points[r_.best]))
      r_.best = r_.points.size() - 1;
    r_.fine = r_.points[r_.best].found.fine;
    return r_.points.back();
  }

  group_set all_but(int group) const {
    if (ask_.all_but) return ask_.all_but(group);
    group_set rest = every();
    rest.erase(rest.begin() + group);
    return rest;
  }
  group_set every() const {
    group_set all(static_cast<std::size_t>(groups_));
    std::iota(all.begin(), all.end(), 0);
    return all;
  }

  /// What each group alone adds to the error.
  void measure() {
    std::vector<group_set> sets{every()};
    for (int i = 0; i < groups_; ++i) sets.push_back(all_but(i));
    sets.emplace_back();
    const auto errors = ask_.errors(sets);
    r_.confirmations = groups_ + 1;
    for (int i = 0; i < groups_; ++i) {
      const price p = ask_.price_of({i});
      items_.push_back({.benefit = errors[static_cast<std::size_t>(i) + 1] - errors[0],
                        .cost = p.us,
                        .macs = p.macs});
      if (items_.back().benefit > 0) all_error_ += items_.back().benefit;
    }
    all_error_ = std::max(all_error_, errors.back() - errors[0]);
  }

  /// Solves for growing budgets: sets of growing cost, each of which leaves less error.
  std::vector<group_set> front() const {
    double total = 0;
    for (const auto& i : items_)
      if (i.benefit > 0) total += i.cost;
    std::vector<group_set> sets;
    const double most = std::min(total, options_.within.cost);
    // Steps of a twelfth down to a hundredth: what is cheaper yet is no news.
    for (int step = 53; step >= 0; --step) {
      const double budget = most * std::pow(2.0, -0.125 * step);
      auto s = best_selection(items_, {.cost = budget + 1e-9, .macs = options_.within.macs});
      if (!s.empty() && (sets.empty() || sets.back() != s)) sets.push_back(std::move(s));
    }
    return sets;
  }

  /// Share of the samples that a set's model should change, from what the last one changed: noise
  /// that is half as large carries half as many over a boundary between classes.
  double expected_miss(const group_set& s) const {
    double left = all_error_;
    for (int i : s) left -= items_[static_cast<std::size_t>(i)].benefit;
    return miss_ * std::sqrt(std::max(0.0, left) / std::max(all_error_, 1e-300));
  }
  void learn(const group_set& s, const verdict& v) {
    const double expected = expected_miss(s);
    const auto& base = r_.points.front().found;
    double seen = 1 - v.agreement, all = 1 - base.agreement;
    if (const auto both = std::min(v.parts.size(), base.parts.size()); both > 0) {
      seen = 1 - v.parts[both - 1].agreement;
      all = 1 - base.parts[both - 1].agreement;
    }
    if (all <= 0 || expected <= 0) return;
    const double real = (1 - base.agreement) * seen / all;
    // Half way: a few dozen samples change a few answers.
    miss_ *= std::sqrt(std::clamp(real / expected, 0.25, 4.0));
  }

  /// The cheapest set that passes: where it is expected; where that fails for another reason than that
  /// too many answers change, or a second time, the dearest tells whether any passes.
  void aim(const std::vector<group_set>& sets) {
    miss_ = 1 - r_.points.front().found.agreement;
    const int n = static_cast<int>(sets.size());
    const auto us = [&](int i) { return i < 0 ? 0 : ask_.price_of(sets[static_cast<std::size_t>(i)]).us; };
    int low = -1, high = n;  // those up to low failed, high passed
    int failed = 0;
    bool surprised = false;
    while (low + 1 < high && may_validate()) {
      const int middle = (low + high) / 2;
      int at = low + 1;
      while (at < high && expected_miss(sets[static_cast<std::size_t>(at)]) > 1 - options_.min_agreement)
        ++at;
      if (at == high && high < n) {
        // A tenth of the time is worth a look against the odds.
        if (us(high) - us(low) < 0.1 * (options_.integer_us + us(high))) break;
        at = middle;
      }
      at = std::clamp(at, low + 1, high - 1);
      if (failed > 0) at = std::max(at, middle);
      if (high == n && (failed > 1 || surprised)) at = n - 1;
      const auto& s = sets[static_cast<std::size_t>(at)];
      const auto& v = validate(s).found;
      learn(s, v);
      failed = v.fine ? 0 : failed + 1;
      surprised = !v.fine && v.agreement >= options_.min_agreement;
      (v.fine ? high : low) = at;
    }
  }

  /// Models at even steps of the front, for whoever wants to choose by hand.
  void fill_front(const std::vector<group_set>& sets) {
    const auto n = sets.size();
    const auto points = std::min(n, static_cast<std::size_t>(std::max(0, options_.front_points)));
    for (std::size_t i = 1; i <= points; ++i) {
      const auto& s = sets[i * n / points - 1];
      if (!validate(s).found.whole && ask_.validate_whole) complete(s);
    }
  }
  void complete(const group_set& s) {
    for (auto& p : r_.points)
      if (p.groups == s) p.found = ask_.validate_whole(s);
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

  int groups_;
  const search_questions& ask_;
  search_options options_;
  std::vector<item> items_;  // of all groups
  double all_error_ = 0;     // of the model that gives nothing back
  double miss_ = 0;          // share of the samples that it changes, as far as is known
  search_result r_;
};

/// Looks for the cheapest set of groups whose model is fine.
inline search_result search(int groups, const search_questions& ask,
                            const search_options& options = {}) {
  return searcher(groups, ask, options).run();
}

}  // namespace ptq::control
