#pragma once
// SPDX-License-Identifier: Apache-2.0
// How long the steps of several programs take, to be compared with each other.

#include <algorithm>
#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <ptq/data/samples.hpp>
#include <ptq/execute/runner.hpp>

namespace ptq {

using node_microseconds = std::map<std::string, double>;

/// Microseconds of every step by node, of each program the least of its runs: `repeats`, and up to 200 where all take
/// less than 0.3 s. The programs take turns: a machine whose speed changes is the same for all of them.
inline std::vector<node_microseconds> step_microseconds(std::span<const std::unique_ptr<runner>> programs,
                                                        const sample& s, int repeats) {
  constexpr double enough_ns = 3e8;
  constexpr int most_repeats = 200;
  std::vector<std::vector<tensor>> inputs;
  for (const auto& p : programs) inputs.push_back(p->bind(s));
  std::vector<std::vector<double>> least(programs.size());
  double spent = 0;
  for (int r = 0; r < repeats || (spent < enough_ns && r < most_repeats); ++r)
    for (std::size_t k = 0; k < programs.size(); ++k) {
      const auto ns = programs[k]->current_session().step_times(inputs[k]);
      if (least[k].empty()) least[k] = ns;
      for (std::size_t i = 0; i < ns.size(); ++i) {
        least[k][i] = std::min(least[k][i], ns[i]);
        spent += ns[i];
      }
    }
  std::vector<node_microseconds> us(programs.size());
  for (std::size_t k = 0; k < programs.size(); ++k) {
    const auto& steps = programs[k]->current_program().steps;
    for (std::size_t i = 0; i < least[k].size(); ++i) us[k][steps[i].node] += least[k][i] * 1e-3;
  }
  return us;
}

}  // namespace ptq
