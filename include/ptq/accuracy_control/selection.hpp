#pragma once
// SPDX-License-Identifier: Apache-2.0
// Which groups to give back: the set that removes the most error within the limits, exactly. A
// knapsack of a few dozen items, solved by depth-first branch and bound with the fractional
// relaxation as bound.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

namespace ptq::control {

struct item {
  double benefit = 0;  // error removed; items of none are never taken
  double cost = 0;     // microseconds given back, >= 0
  double macs = 0;     // share of the multiply-accumulates, in [0, 1]
};

struct limits {
  double cost = std::numeric_limits<double>::infinity();
  double macs = 1;
};

class selector {
 public:
  selector(std::span<const item> items, const limits& within) : items_(items), within_(within) {
    for (std::size_t i = 0; i < items.size(); ++i)
      if (items[i].benefit > 0) order_.push_back(static_cast<int>(i));
    const auto density = [&](int i) {
      const auto& it = items_[static_cast<std::size_t>(i)];
      return it.cost > 0 ? it.benefit / it.cost : std::numeric_limits<double>::infinity();
    };
    std::stable_sort(order_.begin(), order_.end(),
                     [&](int a, int b) { return density(a) > density(b); });
  }

  /// Indices in increasing order; the first found of equals.
  std::vector<int> solve() {
    descend(0, 0, 0, 0);
    std::sort(best_.begin(), best_.end());
    return best_;
  }

 private:
  /// The most that items from `at` on can add, if the last may be cut.
  double bound(std::size_t at, double cost) const {
    double sum = 0;
    for (; at < order_.size(); ++at) {
      const auto& it = items_[static_cast<std::size_t>(order_[at])];
      const double room = within_.cost - cost;
      if (it.cost > room) return sum + (it.cost > 0 ? it.benefit * std::max(room, 0.0) / it.cost : 0);
      cost += it.cost;
      sum += it.benefit;
    }
    return sum;
  }

  void descend(std::size_t at, double benefit, double cost, double macs) {
    if (benefit > most_) {
      most_ = benefit;
      best_ = taken_;
    }
    if (at == order_.size() || ++visited_ > node_limit) return;
    if (benefit + bound(at, cost) <= most_) return;
    const auto& it = items_[static_cast<std::size_t>(order_[at])];
    // Shares are sums of a few doubles: their rounding must not forbid an exact fit.
    constexpr double slack = 1e-12;
    if (cost + it.cost <= within_.cost && macs + it.macs <= within_.macs + slack) {
      taken_.push_back(order_[at]);
      descend(at + 1, benefit + it.benefit, cost + it.cost, macs + it.macs);
      taken_.pop_back();
    }
    descend(at + 1, benefit, cost, macs);
  }

  /// Far beyond what a few dozen items need; a pathological instance returns its best so far.
  static constexpr std::int64_t node_limit = 4'000'000;

  std::span<const item> items_;
  limits within_;
  std::vector<int> order_, taken_, best_;
  double most_ = 0;
  std::int64_t visited_ = 0;
};

/// The items of the greatest total benefit within the limits.
inline std::vector<int> best_selection(std::span<const item> items, const limits& within) {
  return selector(items, within).solve();
}

}  // namespace ptq::control
