#pragma once
// SPDX-License-Identifier: Apache-2.0
// Programs in a file: the fields, then a kernel for each step; an If or a Loop holds programs of its own.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include <ptq/core/error.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/lower/body.hpp>
#include <ptq/lower/cpu.hpp>
#include <ptq/lower/program.hpp>
#include <ptq/save/check.hpp>
#include <ptq/save/kernels.hpp>
#include <ptq/save/recurrence.hpp>

namespace ptq::saving {

template <class = void>
void write_program(writer& out, const program& p) {
  for (const auto& s : p.steps)
    if (!s.recipe)
      throw unsupported("save: node '" + s.node + "' (" + s.what + "): kernel '" + s.kernel.name +
                        "': expected one that can be made again (see lower_options::keep_recipes)");
  program kept = p;  // shares its constants with p
  std::erase(kept.notes, lowering::slower_than_cpu(p.isa));  // of the machine, not of the program
  out(kept);
  for (const auto& s : p.steps) {
    const auto& r = *s.recipe;
    if (r.entry < lowering::recurrence_entry) {
      write_made(out, r, s.kernel.packed);
      continue;
    }
    out(static_cast<std::uint64_t>(r.entry));
    if (r.entry == lowering::recurrence_entry) {
      write_recurrence(out, *static_cast<const lowering::recurrence*>(r.arguments.get()));
    } else {
      const auto& k = *static_cast<const lowering::body_runner*>(r.arguments.get());
      out(k);
      for (const auto& body : k.bodies) write_program(out, *body);
    }
  }
}

/// Operands and results of bodies against the step's slots, and what a loop carries against both.
inline void check_body(const lowering::body_runner& k, const rooms& of) {
  constexpr auto line = static_cast<std::int64_t>(tensor_alignment);
  require_within("sources", static_cast<std::int64_t>(of.src.size()), 2, 4);
  require_within("condition", k.loop ? line + 1 : 1, 0, of.src[0]);
  const auto n = k.loop ? k.carried : 0;
  require_within("carried values", n, 0, static_cast<std::int64_t>(k.operand_offset.size()));
  const auto exactly = [](const char* what, std::size_t got, std::int64_t count) {
    require_within(what, static_cast<std::int64_t>(got), count, count);
  };
  exactly("bytes of carried values", k.carried_bytes.size(), n);
  require_within("turns", k.room, 0, most_extent);
  const auto stacked = static_cast<std::int64_t>(k.part_bytes.size());
  if (k.loop) exactly("results", k.result_offset.size(), n + stacked);
  else exactly("stacked results", k.part_bytes.size(), 0);
  const auto operands = static_cast<std::int64_t>(k.operand_offset.size()),
             results = static_cast<std::int64_t>(k.result_offset.size());
  for (const auto& body : k.bodies) {
    const auto input = [&](std::int64_t i) { return byte_count(body->input(static_cast<std::size_t>(i))); };
    const auto output = [&](std::int64_t i) { return byte_count(body->output(static_cast<std::size_t>(i))); };
    exactly("inputs of a body", body->inputs.size(), operands + (k.loop ? 2 : 0));
    exactly("outputs of a body", body->outputs.size(), results + (k.loop ? 1 : 0));
    if (k.loop) {
      require_within("turn", input(0), 8, 8);
      require_within("condition", input(1), 1, 1);
      require_within("condition", output(0), 1, 1);
    }
    const auto lies = [](const char* what, std::int64_t offset, std::int64_t bytes, std::int64_t room) {
      require_within(what, offset, 0, most_elements);
      require_within(what, offset % line, 0, 0);
      require_within(what, offset + bytes, 0, room);
    };
    for (std::int64_t i = 0; i < operands; ++i)
      lies("operand of a body", k.operand_offset[static_cast<std::size_t>(i)], input(i + (k.loop ? 2 : 0)), of.src[1]);
    for (std::int64_t i = 0; i < results; ++i) {
      const auto bytes = output(i + (k.loop ? 1 : 0));
      std::int64_t turns = 1;
      if (k.loop && i < n) {
        for (auto same : {bytes, input(i + 2)})
          require_within("carried value", same, k.carried_bytes[static_cast<std::size_t>(i)],
                         k.carried_bytes[static_cast<std::size_t>(i)]);
      } else if (k.loop) {
        const auto part = k.part_bytes[static_cast<std::size_t>(i - n)];
        require_within("stacked result", bytes, part, part);
        turns = k.room;
      }
      if (turns > 0) require_within("result of a body", bytes, 0, most_elements / turns);
      lies("result of a body", k.result_offset[static_cast<std::size_t>(i)], bytes * turns, of.dst);
    }
  }
}

template <class = void>
void read_kernels(reader& in, program& p, const kernels::kernel_table& table, int depth = 0);

template <class = void>
kernels::prepared read_body(reader& in, const rooms& of, const kernels::kernel_table& table, int depth) {
  require_within("programs inside each other", depth, 0, lowering::deepest_program);
  lowering::body_runner k;
  in(k);
  for (int i = 0; i < (k.loop ? 1 : 2); ++i) {
    auto body = std::make_shared<program>();
    in(*body);
    read_kernels(in, *body, table, depth);
    k.bodies.push_back(std::move(body));
  }
  check_body(k, of);
  return lowering::body_kernel(std::move(k));
}

/// Kernels of a program whose fields are read; its memory is planned.
///
/// throws  mismatch, with the step that is at fault
template <class>
void read_kernels(reader& in, program& p, const kernels::kernel_table& table, int depth) {
  complete(p);
  for (auto& s : p.steps) {
    const auto at = [&s] { return "node '" + s.node + "' (" + s.what + "): "; };
    try {
      std::uint64_t entry = 0;
      in(entry);
      require_within("entry", static_cast<std::int64_t>(std::min<std::uint64_t>(entry, lowering::body_entry + 1)), 0,
                     static_cast<std::int64_t>(lowering::body_entry));
      const auto of = rooms_of(p, s);
      if (entry == lowering::body_entry) s.kernel = read_body(in, of, table, depth + 1);
      else if (entry == lowering::recurrence_entry) s.kernel = read_recurrence(in, of, table);
      else s.kernel = read_made(in, static_cast<std::size_t>(entry), of, table);
    } catch (const mismatch& m) {
      throw mismatch{at() + m.what};
    } catch (const std::bad_alloc&) {
      throw mismatch{at() + "it needs more memory than there is"};
    }
    p.scratch_bytes = std::max(p.scratch_bytes, s.kernel.scratch);
  }
}

}  // namespace ptq::saving
