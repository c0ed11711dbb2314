#pragma once
// SPDX-License-Identifier: Apache-2.0
// Whether a program that was read holds together: every index names something, every slot lies in its storage, every
// storage in its memory, and no step writes to what is only read.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <ptq/core/tensor.hpp>
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

inline void check_storage(const program& p, const storage& s) {
  require_within("storage bytes", static_cast<std::int64_t>(std::min<std::size_t>(s.bytes, PTRDIFF_MAX)), 0, most_elements);
  switch (s.where) {
    case storage::place::arena:
      require_within("arena", static_cast<std::int64_t>(std::min<std::size_t>(s.offset, PTRDIFF_MAX)), 0,
                     static_cast<std::int64_t>(p.arena_bytes) - static_cast<std::int64_t>(s.bytes));
      require_within("alignment", static_cast<std::int64_t>(s.offset % tensor_alignment), 0, 0);
      break;
    case storage::place::constant:
      if (s.bytes == 0) break;
      if (s.constant.empty()) throw mismatch{"a constant without bytes"};
      require_within("constant bytes", static_cast<std::int64_t>(s.bytes), 0,
                     static_cast<std::int64_t>(s.constant.byte_count()));
      break;
    case storage::place::input:
      require_index("input", s.port, p.inputs.size());
      require_within("input bytes", static_cast<std::int64_t>(s.bytes), 0,
                     byte_count(p.slots[static_cast<std::size_t>(p.inputs[static_cast<std::size_t>(s.port)].slot)]));
      break;
    case storage::place::output:
      require_index("output", s.port, p.outputs.size());
      require_within("output bytes", static_cast<std::int64_t>(s.bytes), 0,
                     byte_count(p.slots[static_cast<std::size_t>(p.outputs[static_cast<std::size_t>(s.port)].slot)]));
  }
}

inline void check_slot(const program& p, const slot& s) {
  require_index("storage", s.storage, p.storages.size());
  const auto bytes = static_cast<std::int64_t>(p.storages[static_cast<std::size_t>(s.storage)].bytes);
  require_within("slot offset", s.offset, 0, bytes);
  require_within("slot", byte_count(s), 0, bytes - s.offset);
  require_within("alignment", s.offset % static_cast<std::int64_t>(size_of(s.type)), 0, 0);
  std::vector<bool> seen(s.dims.dims.size(), false);
  require_within("axes", static_cast<std::int64_t>(s.memory.size()), s.dims.rank(), s.dims.rank());
  for (int axis : s.memory) {
    require_index("axis", axis, seen.size());
    if (seen[static_cast<std::size_t>(axis)]) throw mismatch{"an order with axis " + std::to_string(axis) + " twice"};
    seen[static_cast<std::size_t>(axis)] = true;
  }
}

/// throws  mismatch with the figure and its bounds
template <class = void>
void check(const program& p) {
  require_within("arena", static_cast<std::int64_t>(std::min<std::size_t>(p.arena_bytes, PTRDIFF_MAX)), 0, most_elements);
  for (const auto* ports : {&p.inputs, &p.outputs})
    for (const auto& port : *ports) require_index("slot of a port", port.slot, p.slots.size());
  for (const auto& s : p.storages) check_storage(p, s);
  for (const auto& s : p.slots) check_slot(p, s);
  int step = -1;
  for (const auto& t : p.taps) {
    require_index("slot of a tap", t.slot, p.slots.size());
    require_within("step of a tap", t.step, step, static_cast<std::int64_t>(p.steps.size()) - 1);
    step = t.step;
  }
  for (const auto& s : p.steps) {
    require_within("sources", static_cast<std::int64_t>(s.src.size()), 0, 4);
    for (int i : s.src) require_index("source", i, p.slots.size());
    require_index("destination", s.dst, p.slots.size());
    const auto where = p.storages[static_cast<std::size_t>(p.slots[static_cast<std::size_t>(s.dst)].storage)].where;
    if (where != storage::place::arena && where != storage::place::output)
      throw mismatch{"node '" + s.node + "' writes to what is only read"};
  }
}

}  // namespace ptq::saving
