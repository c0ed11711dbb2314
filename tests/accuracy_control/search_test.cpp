// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include <ptq/accuracy_control/search.hpp>

using namespace ptq::control;

namespace {

double benefit_of(const std::vector<item>& items, unsigned set) {
  double sum = 0;
  for (std::size_t i = 0; i < items.size(); ++i) sum += set >> i & 1 ? items[i].benefit : 0;
  return sum;
}

/// A world in which errors add up: fine once no more than `allowed` is left.
struct world {
  std::vector<double> errors, costs;
  double allowed = 0;
  mutable int validations = 0;

  int groups() const { return static_cast<int>(errors.size()); }

  /// Noise that is half as large changes half as many answers.
  static double agreement_at(double error) { return 1 - 0.5 * std::sqrt(std::max(0.0, error)); }
  search_options options(limits within) const {
    return {.within = within, .max_validations = 40, .min_agreement = agreement_at(allowed)};
  }
  double left(const group_set& s) const {
    double sum = 0;
    for (double e : errors) sum += e;
    for (int i : s) sum -= errors[static_cast<std::size_t>(i)];
    return sum;
  }
  search_questions questions() const {
    return {.errors =
                [this](const std::vector<group_set>& sets) {
                  std::vector<double> all;
                  for (const auto& s : sets) all.push_back(left(s));
                  return all;
                },
            .validate =
                [this](const group_set& s) {
                  ++validations;
                  verdict v;
                  v.error = left(s);
                  v.agreement = agreement_at(v.error);
                  v.fine = v.error <= allowed + 1e-9;
                  return v;
                },
            .price_of =
                [this](const group_set& s) {
                  price p;
                  for (int i : s) p.us += costs[static_cast<std::size_t>(i)];
                  p.macs = p.us / 1000;
                  return p;
                }};
  }
};

}  // namespace

TEST_CASE("of two models that are not fine the better one is told on samples that both saw") {
  front_point whole, cut;
  whole.found.agreement = 0.96;
  whole.found.error = 0.03;
  whole.found.parts = {{64, 0.90, 0.06}, {320, 0.96, 0.03}};
  cut.found.agreement = 0.91;
  cut.found.error = 0.05;
  cut.found.parts = {{64, 0.91, 0.05}};
  CHECK(better(cut, whole));
  CHECK_FALSE(better(whole, cut));
  // A standard error of the agreement, 3.7 points of 64 samples, counts more than the error does.
  cut.found.parts = {{64, 0.80, 0.05}};
  CHECK(better(whole, cut));
  CHECK_FALSE(better(cut, whole));
}

TEST_CASE("the selection is the best of all subsets within both limits") {
  std::mt19937 random(7);
  for (int turn = 0; turn < 200; ++turn) {
    std::vector<item> items;
    for (int i = 0; i < 10; ++i)
      items.push_back({static_cast<double>(random() % 100) - 10, static_cast<double>(random() % 50),
                       static_cast<double>(random() % 30) / 100});
    const limits within{static_cast<double>(random() % 200), 0.6};
    double most = 0;
    for (unsigned set = 0; set < 1024; ++set) {
      double cost = 0, macs = 0;
      for (std::size_t i = 0; i < 10; ++i)
        if (set >> i & 1) {
          cost += items[i].cost;
          macs += items[i].macs;
        }
      if (cost <= within.cost && macs <= within.macs + 1e-12)
        most = std::max(most, benefit_of(items, set));
    }
    unsigned chosen = 0;
    for (int i : best_selection(items, within)) chosen |= 1u << i;
    CHECK(benefit_of(items, chosen) == doctest::Approx(most));
  }
}

TEST_CASE("the search ends with the cheapest set that passes") {
  world w{.errors = {0.1, 0.01, 0.2, 0.01, 0.02, 0.3}, .costs = {5, 5, 5, 5, 5, 5}, .allowed = 0.05};
  const auto q = w.questions();
  const auto r = search(w.groups(), q, w.options({.cost = 100}));
  CHECK(r.fine);
  CHECK(r.points[r.best].groups == group_set{0, 2, 5});
  CHECK(r.limited_by == "");
  CHECK(w.validations == r.validations);
}

TEST_CASE("a model that is fine as it is keeps all its integers") {
  world w{.errors = {0.1, 0.2}, .costs = {1, 1}, .allowed = 1};
  const auto q = w.questions();
  const auto r = search(w.groups(), q, w.options({.cost = 100}));
  CHECK(r.fine);
  CHECK(r.points.size() == 1);
  CHECK(r.confirmations == 0);
}

TEST_CASE("success on the last group is success") {
  world w{.errors = {0.1, 0.2, 0.3}, .costs = {1, 1, 1}, .allowed = 0};
  const auto q = w.questions();
  const auto r = search(w.groups(), q, w.options({.cost = 100}));
  CHECK(r.fine);
  CHECK(r.points[r.best].groups == group_set{0, 1, 2});
}

TEST_CASE("what can't be met returns the best within the limits and says what limits it") {
  world w{.errors = {0.1, 0.2, 0.3}, .costs = {4, 4, 4}, .allowed = 0};
  const auto q = w.questions();
  const auto time = search(w.groups(), q, w.options({.cost = 8}));
  CHECK_FALSE(time.fine);
  CHECK(time.points[time.best].groups == group_set{1, 2});
  CHECK(time.limited_by.find("time limit") != std::string::npos);
  const auto macs = search(w.groups(), q, w.options({.cost = 100, .macs = 0.004}));
  CHECK(macs.points[macs.best].groups == group_set{2});
  CHECK(macs.limited_by.find("multiply-accumulates") != std::string::npos);
  w.allowed = -1;
  CHECK(search(w.groups(), q, w.options({.cost = 100})).limited_by.find("every one") !=
        std::string::npos);
}

TEST_CASE("where roundings don't add up, what is seen corrects the prediction") {
  // Together, errors are 1.5 times as large as their sum.
  world w;
  for (int i = 0; i < 30; ++i) {
    w.errors.push_back(0.001 * (i + 1));
    w.costs.push_back(1 + i % 3);
  }
  w.allowed = 0.05;
  auto q = w.questions();
  const auto alone = q.errors;
  q.errors = [&](const std::vector<group_set>& sets) {
    auto e = alone(sets);
    for (auto& x : e) x /= 1.5;
    return e;
  };
  const auto r = search(w.groups(), q, w.options({.cost = 100}));
  CHECK(r.fine);
  // The true front's cheapest set that passes, by bisection over all its budgets.
  std::vector<item> items;
  for (std::size_t i = 0; i < 30; ++i) items.push_back({w.errors[i], w.costs[i], 0});
  double least = 1e9;
  for (int budget = 1; budget <= 60; ++budget) {
    double left = 0, cost = 0;
    for (const auto& i : items) left += i.benefit;
    for (int i : best_selection(items, {.cost = static_cast<double>(budget)})) {
      left -= items[static_cast<std::size_t>(i)].benefit;
      cost += items[static_cast<std::size_t>(i)].cost;
    }
    if (left <= w.allowed) least = std::min(least, cost);
  }
  CHECK(r.points[r.best].cost.us <= 1.1 * least);
  CHECK(r.validations <= 8);  // the first, the dearest, and a bisection of some 30 sets
}

TEST_CASE("every group is measured once, and few models see all samples") {
  world w;
  for (int i = 0; i < 30; ++i) {
    w.errors.push_back(i == 17 ? 0.5 : 0.001);
    w.costs.push_back(1);
  }
  w.allowed = 0.1;
  const auto q = w.questions();
  const auto r = search(w.groups(), q, w.options({.cost = 100}));
  CHECK(r.fine);
  CHECK(r.points[r.best].groups == group_set{17});
  CHECK(r.confirmations == 31);
  CHECK(r.validations <= 3);
}

TEST_CASE("points of the front that were asked for are validated, whatever the search needs") {
  world w{.errors = {0.1, 0.2, 0.3, 0.4}, .costs = {1, 2, 3, 4}, .allowed = 2};
  const auto q = w.questions();
  auto o = w.options({.cost = 100});
  CHECK(search(w.groups(), q, o).points.size() == 1);  // fine as it is
  o.front_points = 4;
  const auto r = search(w.groups(), q, o);
  CHECK(r.points.size() >= 4);
  CHECK(r.points[r.best].groups.empty());
  CHECK(r.points.back().cost.us == doctest::Approx(10));
}
