#pragma once
// SPDX-License-Identifier: Apache-2.0
// The kernel of an If or a Loop: programs that run inside one step (emit/control.hpp).

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ptq/core/error.hpp>
#include <ptq/graph/op/control.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/lower/program.hpp>
#include <ptq/lower/run_step.hpp>

namespace ptq::lowering {

/// Programs inside each other.
inline constexpr int deepest_program = op::deepest_body;

/// A loop without an end is an error of the model; no network we know comes near.
inline constexpr std::int64_t most_turns = std::int64_t{1} << 24;

/// Programs run by a step, and where their operands lie: captured values and carried ones in one block each.
class body_runner {
 public:
  std::vector<std::shared_ptr<const program>> bodies;
  std::string name;
  std::int64_t carried = 0;
  bool loop = false;
  std::vector<std::int64_t> operand_offset;  // in source 1: carried, then captured
  std::vector<std::int64_t> result_offset;   // in the destination: carried, then stacked
  std::vector<std::int64_t> carried_bytes, part_bytes;  // of carried values; of one turn's stacked parts
  std::int64_t room = 0;                     // turns that stacked results have room for

  /// For the larger body; a loop keeps two sets of carried values, the iteration and the condition.
  std::size_t scratch_bytes() const {
    std::size_t most = 0;
    for (const auto& p : bodies) most = std::max(most, line(p->arena_bytes) + line(p->scratch_bytes));
    return most + 2 * state_bytes() + 2 * tensor_alignment;
  }

  void operator()(const kernels::operands& io, std::byte* scratch) const {
    if (loop) return turns(io, scratch);
    const bool yes = *static_cast<const std::uint8_t*>(io.src[0]) != 0;
    const auto& p = *bodies[yes ? 0 : 1];
    memory at{.arena = scratch + 2 * state_bytes() + 2 * tensor_alignment, .inputs = {}, .outputs = {}};
    for (auto o : operand_offset) at.inputs.push_back(source(io, o));
    for (auto o : result_offset) at.outputs.push_back(static_cast<std::byte*>(io.dst) + o);
    run(p, at);
  }

 private:
  static std::size_t line(std::size_t bytes) { return (bytes + tensor_alignment - 1) / tensor_alignment * tensor_alignment; }
  std::size_t state_bytes() const {
    std::size_t n = 0;
    for (auto b : carried_bytes) n += line(static_cast<std::size_t>(b));
    return n;
  }
  static const std::byte* source(const kernels::operands& io, std::int64_t offset) {
    return static_cast<const std::byte*>(io.src[1]) + offset;
  }

  static void run(const program& p, const memory& at) {
    std::byte* inner = at.arena + line(p.arena_bytes);
    for (const auto& s : p.steps) s.kernel.run(s.kernel.object.get(), at.operands(p, s), inner, {0, s.kernel.units});
  }

  void turns(const kernels::operands& io, std::byte* scratch) const {
    const auto& p = *bodies[0];
    // Source 0: trip count and condition, a cache line apart.
    std::int64_t trips;
    std::uint8_t on;
    std::memcpy(&trips, io.src[0], sizeof trips);
    std::memcpy(&on, static_cast<const std::byte*>(io.src[0]) + tensor_alignment, sizeof on);
    if (!part_bytes.empty()) trips = std::min(trips, room);
    std::byte* sets[2] = {scratch, scratch + state_bytes()};
    std::byte* small = scratch + 2 * state_bytes();
    const auto n = static_cast<std::size_t>(carried);
    std::size_t at_byte = 0;
    for (std::size_t i = 0; i < n; ++i) {
      std::memcpy(sets[0] + at_byte, source(io, operand_offset[i]), static_cast<std::size_t>(carried_bytes[i]));
      at_byte += line(static_cast<std::size_t>(carried_bytes[i]));
    }
    int now = 0;
    for (std::int64_t turn = 0; on != 0 && turn < trips; ++turn, now ^= 1) {
      if (turn == most_turns)  // the one item of its step runs on the caller's thread, so this reaches the caller
        throw error("execute: node '" + name + "' (Loop): turns: expected at most " + std::to_string(most_turns) +
                    ", got more");
      std::memcpy(small, &turn, sizeof turn);
      std::memcpy(small + sizeof turn, &on, sizeof on);
      memory at{.arena = small + 2 * tensor_alignment, .inputs = {small, small + sizeof turn}, .outputs = {}};
      at.outputs.push_back(small + tensor_alignment);
      at_byte = 0;
      for (std::size_t i = 0; i < n; ++i) {
        at.inputs.push_back(sets[now] + at_byte);
        at.outputs.push_back(sets[now ^ 1] + at_byte);
        at_byte += line(static_cast<std::size_t>(carried_bytes[i]));
      }
      for (std::size_t i = n; i < operand_offset.size(); ++i) at.inputs.push_back(source(io, operand_offset[i]));
      for (std::size_t i = 0; i < part_bytes.size(); ++i)
        at.outputs.push_back(static_cast<std::byte*>(io.dst) + result_offset[n + i] + turn * part_bytes[i]);
      run(p, at);
      std::memcpy(&on, small + tensor_alignment, sizeof on);
    }
    at_byte = 0;
    for (std::size_t i = 0; i < n; ++i) {
      std::memcpy(static_cast<std::byte*>(io.dst) + result_offset[i], sets[now] + at_byte,
                  static_cast<std::size_t>(carried_bytes[i]));
      at_byte += line(static_cast<std::size_t>(carried_bytes[i]));
    }
  }
};

/// The step's kernel.
inline kernels::prepared body_kernel(body_runner made) {
  kernels::prepared k;
  k.scratch = made.scratch_bytes();
  k.name = made.loop ? "loop" : "branch";
  k.object = std::make_shared<const body_runner>(std::move(made));
  k.run = [](const void* object, const kernels::operands& io, std::byte* scratch, work_range) {
    (*static_cast<const body_runner*>(object))(io, scratch);
  };
  return k;
}

}  // namespace ptq::lowering
