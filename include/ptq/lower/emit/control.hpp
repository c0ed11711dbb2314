#pragma once
// SPDX-License-Identifier: Apache-2.0
// If and Loop whose turn depends on data: each body is a program of its own, run inside one step. Extents are known all
// the same: branches must agree in theirs, and what a loop carries keeps its own. An If whose condition follows from
// extents never comes here: lower puts the taken branch in its place.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ptq/lower/emitter.hpp>
#include <ptq/lower/pack.hpp>
#include <ptq/lower/run_step.hpp>

namespace ptq::lowering {

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
    const bool yes = *static_cast<const bool*>(io.src[0]);
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
    bool on;
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
    for (std::int64_t turn = 0; on && turn < trips; ++turn, now ^= 1) {
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

/// A body with its inputs bound to what the node's operands are, as a program.
template <class = void>
std::shared_ptr<const program> lowered_body(emitter& e, const node& n, const op::control& c, const graph& body) {
  if (!e.lower_body) throw unsupported("lower: " + label(n) + ": is not computed ahead of time");
  graph g = body;
  const auto own = op::own_inputs(c);
  const auto bind = [&](std::size_t i, dtype type, const shape& dims) {
    auto& v = g[g.inputs[i]];
    v.type = type;
    v.dims = dims;
    v.shaped = true;
  };
  if (own >= 2) bind(0, dtype::s64, {}), bind(1, dtype::boolean, {});
  for (std::size_t i = 2; i < own; ++i) bind(i, e.at(n.inputs[i]).type, e.dims(n.inputs[i]));
  for (std::size_t i = own; i < g.inputs.size(); ++i) {
    const auto id = n.inputs[op::own_operands(c) + i - own];
    bind(i, e.at(id).type, e.dims(id));
  }
  return std::make_shared<const program>(e.lower_body(std::move(g), e.table(), e.integers()));
}

template <class = void>
void expect_result(const node& n, const program& p, std::size_t output, dtype type, const shape& dims) {
  const auto& got = p.output(output);
  if (got.type != type || got.dims != dims)
    throw unsupported("lower: " + label(n) + ": output " + std::to_string(output) + " of a body: expected " +
                      name_of(type) + " " + dims.text() + ", got " + name_of(got.type) + " " + got.dims.text() +
                      ": extents that depend on data have no program");
}

template <class = void>
void emit_control(emitter& e, const node& n, const op::control& c) {
  body_runner r;
  r.name = n.name;
  r.loop = c.what == op::control::kind::loop;
  r.carried = c.carried;
  std::int64_t macs = 0;
  for (const auto& b : c.bodies) {
    r.bodies.push_back(lowered_body(e, n, c, *b));
    std::int64_t own = 0;
    for (const auto& s : r.bodies.back()->steps) own += s.macs;
    macs = std::max(macs, own);
  }
  std::vector<int> operands;
  for (std::size_t i = r.loop ? 2 : 1; i < n.inputs.size(); ++i) operands.push_back(e.real_plain(n.inputs[i]));
  const auto bytes_of = [&](dtype t, const shape& dims) { return dims.size() * static_cast<std::int64_t>(size_of(t)); };
  for (std::size_t i = 0; i < static_cast<std::size_t>(c.carried); ++i) {
    const auto id = n.inputs[2 + i];
    expect_result(n, *r.bodies[0], 1 + i, e.at(id).type, e.dims(id));
    r.carried_bytes.push_back(bytes_of(e.at(id).type, e.dims(id)));
  }
  // Results that nobody reads have room all the same: the body writes them.
  std::vector<part> parts;
  const auto results = r.bodies[0]->outputs.size() - (r.loop ? 1 : 0);
  for (std::size_t i = 0; i < results; ++i) {
    const auto id = i < n.outputs.size() ? n.outputs[i] : none;
    const auto& made = r.bodies[0]->output(i + (r.loop ? 1 : 0));
    shape dims = made.dims;
    if (r.loop && i >= static_cast<std::size_t>(c.carried)) {
      if (id != none) r.room = e.dims(id)[0];
      r.part_bytes.push_back(bytes_of(made.type, made.dims));
    } else if (!r.loop) {
      expect_result(n, *r.bodies[1], i, made.type, made.dims);
    }
    parts.push_back({id == none ? n.name : e.at(id).name, made.type, dims});
  }
  for (std::size_t i = static_cast<std::size_t>(c.carried); r.loop && i < results; ++i)
    parts[i].dims.dims.insert(parts[i].dims.dims.begin(), r.room);
  const block in = pack(e, n, operands);
  const block out = create_block(e, n.name + ".results", parts);
  r.operand_offset = in.offset;
  r.result_offset = out.offset;
  const int head = r.loop ? pack(e, n, {e.real_plain(n.inputs[0]), e.real_plain(n.inputs[1])}).slot
                          : e.real_plain(n.inputs[0]);
  kernels::prepared k;
  k.scratch = r.scratch_bytes();
  k.name = r.loop ? "loop" : "branch";
  k.object = std::make_shared<const body_runner>(std::move(r));
  k.run = [](const void* object, const kernels::operands& io, std::byte* scratch, work_range) {
    (*static_cast<const body_runner*>(object))(io, scratch);
  };
  node named = n;
  if (e.integers() && named.note.empty()) named.note = "its body runs in float";
  e.emit(named, std::move(k), {head, in.slot}, out.slot).macs = macs;
  for (std::size_t i = 0; i < n.outputs.size(); ++i)
    if (n.outputs[i] != none) e.produced(n.outputs[i], out.parts[i]);
}

}  // namespace ptq::lowering
