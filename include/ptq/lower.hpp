#pragma once
// SPDX-License-Identifier: Apache-2.0
// Stage: graph → program. Float where a value has no qparams, integers where there are. A float network is a graph
// lowered with no qparams: there is one lowering and one executor, so the accuracy that is measured is that of the
// integers that ship.
//
// Extents are bound here: a program has one shape. A fast path that is refused is recorded in the step's note.

#include <deque>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include <ptq/graph/graph.hpp>
#include <ptq/graph/infer.hpp>
#include <ptq/graph/inline_body.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/lower/cpu.hpp>
#include <ptq/lower/emit/node.hpp>
#include <ptq/lower/evaluate.hpp>
#include <ptq/lower/openmp_threads.hpp>
#include <ptq/lower/plan.hpp>
#include <ptq/lower/program.hpp>

namespace ptq {

struct lower_options {
  /// Extents of graph inputs by name; inputs that are not listed take 1 for every free dimension.
  std::vector<std::pair<std::string, shape>> input_shapes;
  /// Keep every value of the graph visible to taps: nothing is fused away.
  bool keep_values = false;
  /// Float programs may use kernels that are not equal to the bit across ISAs (oneDNN).
  bool fast_float = true;
  /// That the session will have: kernels that thread by themselves (oneDNN) plan for them.
  int threads = 1;
  /// Keep what every kernel was made of, which save_program needs.
  bool keep_recipes = false;
  /// Where packed weights are looked for, and kept for the next lowering; null: nowhere.
  packed_weights* packed = nullptr;
};

namespace lowering {

/// Fixes the extents of the inputs.
template <class = void>
void bind_inputs(graph& g, const lower_options& options) {
  for (auto id : g.inputs) {
    auto& v = g[id];
    if (!v.shaped)
      throw unsupported("lower: input '" + v.name + "' has no shape in the model");
    for (const auto& [name, dims] : options.input_shapes) {
      if (name != v.name) continue;
      bool fits = dims.rank() == v.dims.rank();
      for (int i = 0; fits && i < dims.rank(); ++i)
        fits = dims[i] >= 0 && (v.dims[i] < 0 || v.dims[i] == dims[i]);
      if (!fits)
        throw shape_error("lower: input '" + name + "': shape: expected " + v.dims.text() + ", got " +
                          dims.text());
      v.dims = dims;
    }
    for (auto& d : v.dims.dims)
      if (d < 0) d = 1;
  }
}

/// Extents of every value, and constants for whatever depends on extents alone; the taken branch in place of an If whose
/// condition is such a constant.
template <class = void>
void resolve_shapes(graph& g) {
  for (auto& v : g.values)
    if (!v.constant) v.shaped = false;
  for (auto id : g.inputs) g[id].shaped = true;
  std::vector<node> left;
  std::deque<node> waiting(std::move_iterator(g.nodes.begin()), std::move_iterator(g.nodes.end()));
  while (!waiting.empty()) {
    node n = std::move(waiting.front());
    waiting.pop_front();
    const auto* control = std::get_if<op::control>(&n.what);
    if (control && control->what == op::control::kind::branch && g.constant_of(n.inputs[0])) {
      if (const auto taken = condition_of(*g.constant_of(n.inputs[0]))) {
        auto body = inlined(g, n, *control->bodies[*taken ? 0 : 1]);
        waiting.insert(waiting.begin(), std::move_iterator(body.begin()), std::move_iterator(body.end()));
        continue;
      }
    }
    const auto results = infer_node(g, n, {});
    bool constant = control == nullptr;
    for (std::size_t i = 0; i < n.outputs.size(); ++i) {
      if (n.outputs[i] == none) continue;
      auto& v = g[n.outputs[i]];
      const auto& r = results.at(i);
      v.type = r.type;
      v.dims = r.dims;
      v.shaped = r.shaped;
      if (!v.shaped || !v.dims.known())
        throw unsupported("lower: node '" + n.name + "' (" + op_name(n.what) + "): the extents of '" +
                          v.name + "' depend on data: " + (v.shaped ? v.dims.text() : "unknown rank"));
      if (v.quant) constant = false;
    }
    if (const auto* s = std::get_if<op::shape_of>(&n.what)) {
      std::vector<std::int64_t> extents;
      const shape& d = g[n.inputs[0]].dims;
      const auto bound = [&](std::int64_t i) {
        return std::clamp<std::int64_t>(i < 0 ? i + d.rank() : i, 0, d.rank());
      };
      for (auto i = bound(s->start); i < bound(s->end); ++i) extents.push_back(d[static_cast<int>(i)]);
      auto& v = g[n.outputs[0]];
      v.constant = tensor::from<std::int64_t>({static_cast<std::int64_t>(extents.size())},
                                              std::span<const std::int64_t>(extents));
      continue;
    }
    for (auto id : n.inputs)
      if (id != none && !g[id].constant) constant = false;
    if (!constant) {
      left.push_back(std::move(n));
      continue;
    }
    auto values = evaluate(g, n);
    for (std::size_t i = 0; i < n.outputs.size(); ++i)
      if (n.outputs[i] != none) g[n.outputs[i]].constant = std::move(values[i]);
  }
  g.nodes = std::move(left);
  make_node_names_unique(g);
}

/// Every output in its own memory, in ONNX order.
template <class = void>
void emit_outputs(emitter& e) {
  auto& p = e.result();
  const auto ids = e.network().outputs;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto& v = e.network()[ids[i]];
    int s = e.real_plain(ids[i]);
    auto& st = e.storage_of(s);
    const slot made = e.slot_at(s);
    const bool own = st.where == storage::place::arena && made.offset == 0 &&
                     st.bytes == static_cast<std::size_t>(made.dims.size()) * size_of(made.type);
    if (own) {
      st.where = storage::place::output;
      st.port = static_cast<int>(i);
    } else {
      const int copy = e.create(v.name, made.type, made.dims, plain_order(made.dims.rank()));
      const auto strides = strides_of(made.dims);
      node n;
      n.name = v.name;
      n.what = op::identity{};
      e.emit(n,
             e.prepare(&kernels::kernel_table::copy,
                       copy_between(made.dims, strides, strides, static_cast<int>(size_of(made.type)))),
             {s}, copy);
      e.storage_of(copy).where = storage::place::output;
      e.storage_of(copy).port = static_cast<int>(i);
      s = copy;
    }
    p.outputs.push_back({v.name, s});
  }
}

}  // namespace lowering

/// Graph → program for one ISA.
///
/// g        checked; its free dimensions are bound as options say
/// throws   shape_error where extents contradict each other, unsupported where a node has no lowering
/// exact    integer steps, and float steps of a program that holds integers, give the same bits with every table
template <class = void>
program lower(graph g, const kernels::kernel_table& table, const lower_options& options = {}) {
  const lowering::openmp_threads planned(options.threads);
  lowering::bind_inputs(g, options);
  lowering::resolve_shapes(g);
  g = pruned(std::move(g));
  bool integers = false, simulated = false;
  for (const auto& v : g.values) {
    integers = integers || v.quant.has_value();
    simulated = simulated || (v.quant && is_float8(v.quant->type));
  }
  lowering::emitter e(std::move(g), table, integers || !options.fast_float);
  e.lower_body = [](graph body, const kernels::kernel_table& with, bool keep_recipes) {
    // Steps of a body run inside one step: no kernel there may start threads.
    lower_options inner;
    inner.fast_float = false;
    inner.keep_recipes = keep_recipes;
    return lower(std::move(body), with, inner);
  };
  const uses edges(e.network());
  lowering::absorbed_nodes absorbed{.edges = &edges, .done = {}, .allowed = !options.keep_values};
  e.keep_recipes = options.keep_recipes;
  e.packed = options.packed;
  auto& p = e.result();
  p.isa = table.isa;
  for (std::size_t i = 0; i < e.network().inputs.size(); ++i) {
    const auto id = e.network().inputs[i];
    const int s = e.add_input(id, static_cast<int>(i));
    p.inputs.push_back({e.at(id).name, s});
    node n;
    n.name = e.at(id).name;
    e.begin(n);
    e.produced(id, s);
  }
  for (std::size_t i = 0; i < e.network().nodes.size(); ++i)
    if (!absorbed.done.contains(static_cast<std::int32_t>(i)))
      lowering::emit_node(e, e.network().nodes[i], absorbed);
  lowering::emit_outputs(e);
  lowering::find_lifetimes(p);
  lowering::place_storages(p);
  for (const auto& s : p.steps) p.scratch_bytes = std::max(p.scratch_bytes, s.kernel.scratch);
  if (auto note = lowering::slower_than_cpu(table.isa); !note.empty()) p.notes.push_back(note);
  if (simulated)
    p.notes.push_back(
        "simulated: values and weights are rounded to FP8, the arithmetic is float; accuracy is that "
        "of FP8, time is not");
  return std::move(p);
}

}  // namespace ptq
