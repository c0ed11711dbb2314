#pragma once
// SPDX-License-Identifier: Apache-2.0
// The value of a node whose operands are constants: the node is lowered to the reference kernels and run at once, so
// folding and execution can't disagree.

#include <memory>
#include <vector>

#include <ptq/graph/graph.hpp>
#include <ptq/graph/infer.hpp>
#include <ptq/kernels/reference.hpp>
#include <ptq/lower/emit/node.hpp>
#include <ptq/lower/emitter.hpp>
#include <ptq/lower/plan.hpp>
#include <ptq/lower/run_step.hpp>

namespace ptq {

/// The outputs of `n`, one tensor each (empty for absent ones).
///
/// g  a graph that holds n's operands, all of them constants or absent
/// throws  unsupported if an operand is no constant or the operator can't be lowered, shape_error if they contradict
template <class = void>
std::vector<tensor> evaluate(const graph& g, const node& n) {
  graph one;
  node copy = n;
  for (auto& id : copy.inputs) {
    if (id == none) continue;
    const auto& v = g[id];
    if (!v.constant)
      throw unsupported("evaluate: node '" + n.name + "': operand '" + v.name + "' is not constant");
    value c;
    c.name = v.name;
    c.type = v.type;
    c.dims = v.constant->dims();
    c.shaped = true;
    c.constant = v.constant;
    c.quant = v.quant;
    id = one.add(std::move(c));
  }
  for (auto& id : copy.outputs) {
    if (id == none) continue;
    value out;
    out.name = g[id].name;
    id = one.add(std::move(out));
    one.outputs.push_back(id);
  }
  const auto results = infer_node(one, copy, {});
  for (std::size_t i = 0; i < copy.outputs.size() && i < results.size(); ++i) {
    if (copy.outputs[i] == none) continue;
    auto& v = one[copy.outputs[i]];
    v.type = results[i].type;
    v.dims = results[i].dims;
    v.shaped = results[i].shaped;
    if (!v.shaped || !v.dims.known())
      throw unsupported("evaluate: node '" + n.name + "': the extents of '" + v.name +
                        "' depend on data");
  }
  one.nodes.push_back(copy);

  lowering::emitter e(one, kernels::reference_kernels(), false);
  const uses edges(one);
  lowering::absorbed_nodes absorbed{.edges = &edges, .done = {}, .allowed = false};
  lowering::emit_node(e, one.nodes[0], absorbed);
  std::vector<int> slots;
  for (auto id : copy.outputs) slots.push_back(id == none ? -1 : e.real_plain(id));
  auto& p = e.result();
  lowering::find_lifetimes(p);
  for (int s : slots)
    if (s >= 0) e.storage_of(s).last = static_cast<int>(p.steps.size());
  lowering::place_storages(p);

  const auto arena = allocate_aligned(p.arena_bytes);
  const lowering::memory at{.arena = arena.get(), .inputs = {}, .outputs = {}};
  for (const auto& s : p.steps) {
    const auto scratch = allocate_aligned(s.kernel.scratch);
    s.kernel.run(s.kernel.object.get(), at.operands(p, s), scratch.get(), {0, s.kernel.units});
  }
  std::vector<tensor> out;
  for (int s : slots) {
    if (s < 0) {
      out.emplace_back();
      continue;
    }
    tensor t(e.slot_at(s).type, e.slot_at(s).dims);
    if (t.byte_count() > 0) std::memcpy(t.mutable_data(), at.at(p, s), t.byte_count());
    out.push_back(std::move(t));
  }
  return out;
}

}  // namespace ptq
