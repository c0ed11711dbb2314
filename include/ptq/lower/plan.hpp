#pragma once
// SPDX-License-Identifier: Apache-2.0
// The memory plan: every storage of the arena gets an offset so that two that hold data at the same step never overlap.
// Greedy by size, which is within a few percent of the lower bound on the networks we know.
// Source: Pisarchyk & Lee 2020, "Efficient memory management for deep neural net inference" (greedy by size).

#include <algorithm>
#include <numeric>
#include <vector>

#include <ptq/lower/program.hpp>

namespace ptq::lowering {

/// First and last step that touch each storage.
inline void find_lifetimes(program& p) {
  const int never = static_cast<int>(p.steps.size());
  for (auto& s : p.storages) {
    s.first = never;
    s.last = -1;
  }
  const auto touch = [&](int slot, int at) {
    auto& s = p.storages[static_cast<std::size_t>(p.slots[static_cast<std::size_t>(slot)].storage)];
    s.first = std::min(s.first, at);
    s.last = std::max(s.last, at);
  };
  for (int i = 0; i < never; ++i) {
    const auto& s = p.steps[static_cast<std::size_t>(i)];
    for (int in : s.src) touch(in, i);
    touch(s.dst, i);
  }
  // A tap reads its slot right after a step: the bytes must still be there.
  for (const auto& t : p.taps)
    if (t.step >= 0) touch(t.slot, t.step);
}

/// Offsets for all storages of the arena, and the arena's size.
inline void place_storages(program& p) {
  constexpr std::size_t line = tensor_alignment;
  std::vector<std::size_t> order(p.storages.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) {
    return p.storages[a].bytes > p.storages[b].bytes;
  });
  std::vector<std::size_t> placed;
  for (auto i : order) {
    auto& s = p.storages[i];
    if (s.where != storage::place::arena || s.last < 0) continue;
    std::vector<std::pair<std::size_t, std::size_t>> taken;
    for (auto j : placed) {
      const auto& o = p.storages[j];
      if (o.first <= s.last && s.first <= o.last) taken.push_back({o.offset, o.offset + o.bytes});
    }
    std::sort(taken.begin(), taken.end());
    std::size_t at = 0;
    for (auto [begin, end] : taken) {
      if (at + s.bytes <= begin) break;
      at = std::max(at, (end + line - 1) / line * line);
    }
    s.offset = at;
    p.arena_bytes = std::max(p.arena_bytes, at + s.bytes);
    placed.push_back(i);
  }
}

}  // namespace ptq::lowering
