// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

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
                  v.agreement = 1 - v.error;
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
  const auto r = search(w.errors, q, {.within = {.cost = 100}});
  CHECK(r.fine);
  CHECK(r.points[r.best].groups == group_set{0, 2, 5});
  CHECK(r.limited_by == "");
  CHECK(w.validations == r.validations);
}

TEST_CASE("a model that is fine as it is keeps all its integers") {
  world w{.errors = {0.1, 0.2}, .costs = {1, 1}, .allowed = 1};
  const auto q = w.questions();
  const auto r = search(w.errors, q, {.within = {.cost = 100}});
  CHECK(r.fine);
  CHECK(r.points.size() == 1);
  CHECK(r.confirmations == 0);
}

TEST_CASE("success on the last group is success") {
  world w{.errors = {0.1, 0.2, 0.3}, .costs = {1, 1, 1}, .allowed = 0};
  const auto q = w.questions();
  const auto r = search(w.errors, q, {.within = {.cost = 100}});
  CHECK(r.fine);
  CHECK(r.points[r.best].groups == group_set{0, 1, 2});
}

TEST_CASE("what can't be met returns the best within the limits and says what limits it") {
  world w{.errors = {0.1, 0.2, 0.3}, .costs = {4, 4, 4}, .allowed = 0};
  const auto q = w.questions();
  const auto time = search(w.errors, q, {.within = {.cost = 8}});
  CHECK_FALSE(time.fine);
  CHECK(time.points[time.best].groups == group_set{1, 2});
  CHECK(time.limited_by.find("time limit") != std::string::npos);
  const auto macs = search(w.errors, q, {.within = {.cost = 100, .macs = 0.004}});
  CHECK(macs.points[macs.best].groups == group_set{2});
  CHECK(macs.limited_by.find("multiply-accumulates") != std::string::npos);
  w.allowed = -1;
  CHECK(search(w.errors, q, {.within = {.cost = 100}}).limited_by.find("every one") !=
        std::string::npos);
}

TEST_CASE("a wrong estimate costs a turn, not the result") {
  world w;
  w.errors.assign(30, 0.001);
  w.errors[17] = 0.5;
  w.costs.assign(30, 1);
  w.allowed = 0.1;
  std::vector<double> estimates(30, 1);
  estimates[17] = 0.1;  // last
  const auto q = w.questions();
  const auto r = search(estimates, q, {.within = {.cost = 100}, .max_validations = 40});
  CHECK(r.fine);
  const auto& s = r.points[r.best].groups;
  CHECK(std::find(s.begin(), s.end(), 17) != s.end());
}
