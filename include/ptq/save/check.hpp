#pragma once
// SPDX-License-Identifier: Apache-2.0
// Whether a program that was read holds together: every index names something, inputs, outputs and constants are as
// large as the slots in them, and no step writes to what is only read. Memory is planned as lowering does it.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <ptq/core/tensor.hpp>
#include <ptq/lower/plan.hpp>
#include <ptq/lower/program.hpp>
#include <ptq/save/bounds.hpp>

namespace ptq::saving {

inline void require_index(const char* what, std::int64_t i, std::size_t count) {
  require_within(what, i, 0, static_cast<std::int64_t>(count) - 1);
}

inline std::int64_t byte_count(const slot& s) {
  std::int64_t n = 1;
  for (auto d : s.dims.dims) {
    require_within("extent", d, 0, most_extent);
    if (d > 0) require_within("elements", n, 0, most_elements / d);
    n *= d;
  }
  return n * static_cast<std::int64_t>(size_of(s.type));
}

inline const slot& slot_at(const program& p, int i) { return p.slots[static_cast<std::size_t>(i)]; }

/// Bytes that a run has for the storage, where that isn't the arena.
inline std::int64_t bytes_given(const program& p, const storage& s) {
  switch (s.where) {
    case storage::place::arena: break;
    case storage::place::constant:
      return s.constant.empty() ? 0 : static_cast<std::int64_t>(s.constant.byte_count());
    case storage::place::input:
      require_index("input", s.port, p.inputs.size());
      return byte_count(slot_at(p, p.inputs[static_cast<std::size_t>(s.port)].slot));
    case storage::place::output:
      require_index("output", s.port, p.outputs.size());
      return byte_count(slot_at(p, p.outputs[static_cast<std::size_t>(s.port)].slot));
  }
  return most_elements;
}

/// A storage is as large as its slots need.
inline void check_slot(program& p, const slot& s) {
  require_index("storage", s.storage, p.storages.size());
  require_within("slot offset", s.offset, 0, most_elements);
  if (s.codes) check_codes({s.codes->zero_point}, 65535);
  require_within("alignment", s.offset % static_cast<std::int64_t>(size_of(s.type)), 0, 0);
  auto& bytes = p.storages[static_cast<std::size_t>(s.storage)].bytes;
  bytes = std::max(bytes, static_cast<std::size_t>(s.offset + byte_count(s)));
  std::vector<bool> seen(s.dims.dims.size(), false);
  require_within("axes", static_cast<std::int64_t>(s.memory.size()), s.dims.rank(), s.dims.rank());
  for (int axis : s.memory) {
    require_index("axis", axis, seen.size());
    if (seen[static_cast<std::size_t>(axis)]) throw mismatch{"an order with axis " + std::to_string(axis) + " twice"};
    seen[static_cast<std::size_t>(axis)] = true;
  }
}

inline void check_step(const program& p, const step& s) {
  require_within("sources", static_cast<std::int64_t>(s.src.size()), 0, 4);
  for (int i : s.src) require_index("source", i, p.slots.size());
  require_index("destination", s.dst, p.slots.size());
  const auto where = p.storages[static_cast<std::size_t>(slot_at(p, s.dst).storage)].where;
  if (where != storage::place::arena && where != storage::place::output)
    throw mismatch{"node '" + s.node + "' writes to what is only read"};
}

/// Also plans its memory. throws  mismatch with the figure and its bounds
template <class = void>
void complete(program& p) {
  for (const auto* ports : {&p.inputs, &p.outputs})
    for (const auto& port : *ports) require_index("slot of a port", port.slot, p.slots.size());
  for (const auto& s : p.slots) check_slot(p, s);
  for (const auto& s : p.storages)
    require_within("bytes", static_cast<std::int64_t>(s.bytes), 0, bytes_given(p, s));
  for (const auto& s : p.steps) check_step(p, s);
  int step = -1;
  for (const auto& t : p.taps) {
    require_index("slot of a tap", t.slot, p.slots.size());
    require_within("step of a tap", t.step, step, static_cast<std::int64_t>(p.steps.size()) - 1);
    step = t.step;
  }
  lowering::find_lifetimes(p);
  lowering::place_storages(p);
  for (const auto& t : p.taps) {
    const auto& s = p.storages[static_cast<std::size_t>(slot_at(p, t.slot).storage)];
    if (s.where == storage::place::arena && s.last < 0) throw mismatch{"a tap on what no step writes"};
  }
}

}  // namespace ptq::saving
