#pragma once
// SPDX-License-Identifier: Apache-2.0
// Many operands or results in one block of memory: a kernel call has few pointers (kernels/table.hpp). Each part starts
// on a cache line.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <ptq/lower/emitter.hpp>

namespace ptq::lowering {

/// What a part of a block holds.
struct part {
  std::string name;
  dtype type = dtype::f32;
  shape dims;
};

struct block {
  int slot = -1;
  std::vector<std::int64_t> offset;  // of each part, bytes
  std::vector<int> parts;            // slots: views of the block
};

/// A block with room for the parts, as one slot of bytes and a view each.
inline block create_block(emitter& e, const std::string& name, const std::vector<part>& parts) {
  block b;
  std::int64_t bytes = 0;
  for (const auto& p : parts) {
    b.offset.push_back(bytes);
    constexpr auto line = static_cast<std::int64_t>(tensor_alignment);
    bytes += (p.dims.size() * static_cast<std::int64_t>(size_of(p.type)) + line - 1) / line * line;
  }
  b.slot = e.create(name, dtype::u8, shape{bytes}, plain_order(1));
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const int v = e.view(b.slot, parts[i].name, parts[i].dims, plain_order(parts[i].dims.rank()));
    e.slot_at(v).type = parts[i].type;
    e.slot_at(v).offset += b.offset[i];
    b.parts.push_back(v);
  }
  return b;
}

/// Copies of whole slots, side by side.
inline block pack(emitter& e, const node& n, const std::vector<int>& slots) {
  std::vector<part> parts;
  for (int s : slots) parts.push_back({e.slot_at(s).value, e.slot_at(s).type, e.slot_at(s).dims});
  const block b = create_block(e, n.name, parts);
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const shape dims = e.slot_at(slots[i]).dims;
    if (dims.size() == 0) continue;
    const auto strides = strides_of(dims);
    const int bytes = static_cast<int>(size_of(e.slot_at(slots[i]).type));
    e.emit(n, e.prepare(&kernels::kernel_table::copy, copy_between(dims, strides, strides, bytes)), {slots[i]},
           b.parts[i]);
  }
  return b;
}

}  // namespace ptq::lowering
