#pragma once
// SPDX-License-Identifier: Apache-2.0
// If and Loop whose turn depends on data: each body is a program of its own, run inside one step. Extents are known all
// the same: branches must agree in theirs, and what a loop carries keeps its own. An If whose condition follows from
// extents never comes here: lower puts the taken branch in its place.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ptq/lower/body.hpp>
#include <ptq/lower/emitter.hpp>
#include <ptq/lower/pack.hpp>

namespace ptq::lowering {

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
  return std::make_shared<const program>(e.lower_body(std::move(g), e.table(), e.keep_recipes));
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
  node named = n;
  if (e.integers() && named.note.empty()) named.note = "its body runs in float";
  auto k = body_kernel(std::move(r));
  auto recipe = e.keep_recipes ? recipe_of_object(body_entry, k) : nullptr;
  e.emit(named, {std::move(k), std::move(recipe)}, {head, in.slot}, out.slot).macs = macs;
  for (std::size_t i = 0; i < n.outputs.size(); ++i)
    if (n.outputs[i] != none) e.produced(n.outputs[i], out.parts[i]);
}

}  // namespace ptq::lowering
