#pragma once
// SPDX-License-Identifier: Apache-2.0
// Pointers of a step's operands. Shared by the executor and by constant evaluation, so that a step runs in one way only.

#include <vector>

#include <ptq/lower/program.hpp>

namespace ptq::lowering {

/// Where the bytes of a program's storages are during one run.
struct memory {
  std::byte* arena = nullptr;
  std::vector<const std::byte*> inputs;
  std::vector<std::byte*> outputs;

  std::byte* at(const program& p, int slot) const {
    const auto& s = p.slots[static_cast<std::size_t>(slot)];
    const auto& st = p.storages[static_cast<std::size_t>(s.storage)];
    std::byte* base = nullptr;
    switch (st.where) {
      case storage::place::arena: base = arena + st.offset; break;
      // Constants and inputs are only ever read: no step has one as its destination.
      case storage::place::constant: base = const_cast<std::byte*>(st.constant.data()); break;
      case storage::place::input:
        base = const_cast<std::byte*>(inputs[static_cast<std::size_t>(st.port)]);
        break;
      case storage::place::output: base = outputs[static_cast<std::size_t>(st.port)]; break;
    }
    return base + s.offset;
  }

  kernels::operands operands(const program& p, const step& s) const {
    kernels::operands io;
    for (std::size_t i = 0; i < s.src.size(); ++i) io.src[i] = at(p, s.src[i]);
    io.dst = at(p, s.dst);
    return io;
  }
};

}  // namespace ptq::lowering
