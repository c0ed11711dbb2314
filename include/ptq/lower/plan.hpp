#pragma once
// SPDX-License-Identifier: Apache-2.0
// The memory plan: every storage of the arena gets an offset so that two that hold data at the same step never overlap,
// but for a result that is written over an operand read for the last time. Greedy, in several orders, until one needs no
// more than the step that needs most.
// Source: Pisarchyk & Lee 2020, "Efficient memory management for deep neural net inference" (greedy by size, by breadth).

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <set>
#include <utility>
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

/// Storages that lie in one place, one after the other in time.
struct region {
  std::size_t bytes = 0;
  int first = 0, last = 0;
  std::vector<std::size_t> storages;

  bool meets(const region& o) const { return first <= o.last && o.first <= last; }
};

/// The one source that step `i` may write its result over, as a storage; nothing where there is none.
inline const storage* overwritten(const program& p, int i, const std::set<std::pair<int, int>>& tapped) {
  const auto& s = p.steps[static_cast<std::size_t>(i)];
  const auto storage_at = [&](int slot) -> const storage& {
    return p.storages[static_cast<std::size_t>(p.slots[static_cast<std::size_t>(slot)].storage)];
  };
  const auto whole = [&](int slot) {
    const auto& v = p.slots[static_cast<std::size_t>(slot)];
    const auto& st = storage_at(slot);
    return st.where == storage::place::arena && v.offset == 0 &&
           st.bytes == static_cast<std::size_t>(v.dims.size()) * size_of(v.type);
  };
  const auto& to = storage_at(s.dst);
  if (!whole(s.dst) || to.first != i) return nullptr;
  for (std::size_t k = 0; k < s.src.size(); ++k) {
    const auto& from = storage_at(s.src[k]);
    bool fits = (s.overwritable >> k & 1) && &from != &to && whole(s.src[k]) && from.bytes == to.bytes &&
                from.last == i && !tapped.contains({p.slots[static_cast<std::size_t>(s.src[k])].storage, i});
    // Another source that lies in the same storage must be read element by element too.
    for (std::size_t other = 0; other < s.src.size(); ++other)
      if (&storage_at(s.src[other]) == &from) fits = fits && (s.overwritable >> other & 1) && whole(s.src[other]);
    if (fits) return &from;
  }
  return nullptr;
}

/// The arena's storages, those that share a place together.
inline std::vector<region> regions_of(const program& p) {
  std::set<std::pair<int, int>> tapped;  // storage, step
  for (const auto& t : p.taps) tapped.insert({p.slots[static_cast<std::size_t>(t.slot)].storage, t.step});
  std::vector<region> regions;
  std::vector<std::size_t> region_of(p.storages.size());
  for (std::size_t i = 0; i < p.storages.size(); ++i) {
    const auto& s = p.storages[i];
    if (s.where != storage::place::arena || s.last < 0) continue;
    region_of[i] = regions.size();
    regions.push_back({s.bytes, s.first, s.last, {i}});
  }
  for (int i = 0; i < static_cast<int>(p.steps.size()); ++i) {
    const auto* from = overwritten(p, i, tapped);
    if (!from) continue;
    const auto to = static_cast<std::size_t>(
        p.slots[static_cast<std::size_t>(p.steps[static_cast<std::size_t>(i)].dst)].storage);
    auto& into = regions[region_of[static_cast<std::size_t>(from - p.storages.data())]];
    auto& joins = regions[region_of[to]];
    into.last = joins.last;
    into.storages.push_back(to);
    joins.storages.clear();
    region_of[to] = static_cast<std::size_t>(&into - regions.data());
  }
  std::erase_if(regions, [](const region& r) { return r.storages.empty(); });
  return regions;
}

inline std::size_t on_line(std::size_t bytes) {
  return (bytes + tensor_alignment - 1) / tensor_alignment * tensor_alignment;
}

/// Each region at the lowest place where nothing lies that was placed before it and meets it: offsets, and their end.
inline std::pair<std::vector<std::size_t>, std::size_t> placed_in(const std::vector<std::size_t>& order,
                                                                  const std::vector<region>& regions) {
  std::vector<std::size_t> offset(regions.size());
  std::size_t end = 0;
  std::vector<std::pair<std::size_t, std::size_t>> taken;
  for (std::size_t n = 0; n < order.size(); ++n) {
    const auto& r = regions[order[n]];
    taken.clear();
    for (std::size_t k = 0; k < n; ++k)
      if (regions[order[k]].meets(r)) taken.push_back({offset[order[k]], offset[order[k]] + regions[order[k]].bytes});
    std::sort(taken.begin(), taken.end());
    std::size_t at = 0;
    for (auto [begin, behind] : taken) {
      if (at + r.bytes <= begin) break;
      at = std::max(at, on_line(behind));
    }
    offset[order[n]] = at;
    end = std::max(end, at + r.bytes);
  }
  return {std::move(offset), end};
}

/// Offsets for all storages of the arena, and the arena's size.
inline void place_storages(program& p) {
  const auto regions = regions_of(p);
  std::vector<std::size_t> live(p.steps.size(), 0);
  for (const auto& r : regions)
    for (int i = r.first; i <= r.last && i < static_cast<int>(live.size()); ++i)
      live[static_cast<std::size_t>(i)] += on_line(r.bytes);
  // What the busiest step that a region lives through needs.
  std::vector<std::size_t> breadth(regions.size(), 0);
  for (std::size_t k = 0; k < regions.size(); ++k)
    for (int i = regions[k].first; i <= regions[k].last && i < static_cast<int>(live.size()); ++i)
      breadth[k] = std::max(breadth[k], live[static_cast<std::size_t>(i)]);
  const std::size_t least = live.empty() ? 0 : *std::max_element(live.begin(), live.end());

  std::vector<std::size_t> order(regions.size());
  const auto try_order = [&](auto before) {
    if (p.arena_bytes > 0 && p.arena_bytes <= least) return;
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), before);
    const auto [offset, end] = placed_in(order, regions);
    if (p.arena_bytes > 0 && end >= p.arena_bytes) return;
    p.arena_bytes = end;
    for (std::size_t k = 0; k < regions.size(); ++k)
      for (auto s : regions[k].storages) p.storages[s].offset = offset[k];
  };
  const auto span = [&](std::size_t k) { return regions[k].last - regions[k].first; };
  try_order([&](auto a, auto b) { return regions[a].bytes > regions[b].bytes; });
  try_order([&](auto a, auto b) {
    return breadth[a] != breadth[b] ? breadth[a] > breadth[b] : regions[a].bytes > regions[b].bytes;
  });
  try_order([&](auto a, auto b) {
    return breadth[a] != breadth[b] ? breadth[a] > breadth[b] : span(a) > span(b);
  });
  try_order([&](auto a, auto b) { return span(a) > span(b); });
  try_order([&](auto a, auto b) { return regions[a].first < regions[b].first; });
}

}  // namespace ptq::lowering
