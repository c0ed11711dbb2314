#pragma once
// SPDX-License-Identifier: Apache-2.0
// What the reading functions of ops/ work with: the graph so far, the node at hand, its inputs as
// values, its attributes with their defaults. Nodes come in topological order, so an input's
// constant is known when it is asked for.

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include <ptq/core/error.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/onnx/schema.hpp>
#include <ptq/onnx/tensors.hpp>

namespace ptq::onnx {

class importer {
 public:
  importer(tensor_source from, int opset) : from_(std::move(from)), opset_(opset) {}

  graph g;

  int opset() const { return opset_; }
  const node_proto& source() const { return *at_; }

  // --- names and values ---

  /// Takes a name of the file, so that no made-up name collides with it.
  void reserve(const std::string& name) { names_.insert(name); }
  void mark_output(const std::string& name) { graph_outputs_.insert(name); }
  void mark_read(const std::string& name) { read_.insert(name); }

  /// Adds a value under a name of the file.
  value_id define(const std::string& name, value v) {
    v.name = name;
    const auto id = push(std::move(v));
    if (!ids_.emplace(name, id).second) fail_file("value '" + name + "' is defined twice");
    return id;
  }
  bool defined(const std::string& name) const { return ids_.count(name) != 0; }
  value_id find(const std::string& name) const {
    const auto i = ids_.find(name);
    return i == ids_.end() ? none : i->second;
  }

  /// A value that the file doesn't have.
  value_id make_value(const std::string& wish, dtype type = dtype::f32) {
    value v;
    v.name = unique(names_, wish);
    v.type = type;
    return push(std::move(v));
  }
  value_id make_constant(const std::string& wish, tensor t) {
    const auto id = make_value(wish, t.type());
    g[id].dims = t.dims();
    g[id].shaped = true;
    g[id].constant = std::move(t);
    return id;
  }
  value_id make_indices(const char* what, const std::vector<std::int64_t>& v) {
    return make_constant(node_name_ + "_" + what,
                         tensor::from<std::int64_t>({static_cast<std::int64_t>(v.size())},
                                                    std::span<const std::int64_t>(v)));
  }

  // --- the node at hand ---

  void begin(const node_proto& n, const std::string& name) {
    at_ = &n;
    node_name_ = unique(node_names_, name);
    emitted_ = 0;
  }
  const std::string& node_name() const { return node_name_; }

  std::size_t input_count() const {
    std::size_t n = at_->inputs.size();
    while (n > 0 && at_->inputs[n - 1].empty()) --n;
    return n;
  }
  /// `none` where the optional input is absent.
  value_id input(std::size_t i) const {
    return i < at_->inputs.size() && !at_->inputs[i].empty() ? find(at_->inputs[i]) : none;
  }
  value_id required(std::size_t i) const {
    const auto id = input(i);
    if (id == none)
      fail("input " + std::to_string(i) + ": expected a value, got " +
           std::to_string(input_count()) + " inputs");
    return id;
  }
  std::vector<value_id> inputs(std::size_t least, std::size_t most) const {
    const auto n = input_count();
    if (n < least || n > most)
      fail("inputs: expected " + std::to_string(least) +
           (most == least ? "" : " to " + std::to_string(most)) + ", got " + std::to_string(n));
    std::vector<value_id> ids;
    for (std::size_t i = 0; i < n; ++i) ids.push_back(i < least ? required(i) : input(i));
    return ids;
  }
  const tensor* constant(std::size_t i) const {
    const auto id = input(i);
    return id != none && !g[id].quant ? g.constant_of(id) : nullptr;
  }

  // --- attributes ---

  const attribute_proto* attribute(std::string_view name) const {
    for (const auto& a : at_->attributes)
      if (a.name == name) return &a;
    return nullptr;
  }
  bool has(std::string_view name) const { return attribute(name) != nullptr; }
  std::int64_t integer(std::string_view name, std::int64_t otherwise) const {
    const auto* a = attribute(name);
    return a ? a->i : otherwise;
  }
  bool flag(std::string_view name, bool otherwise) const {
    return integer(name, otherwise ? 1 : 0) != 0;
  }
  float real(std::string_view name, float otherwise) const {
    const auto* a = attribute(name);
    return a ? a->f : otherwise;
  }
  std::string text(std::string_view name, std::string_view otherwise) const {
    const auto* a = attribute(name);
    return a ? a->s : std::string(otherwise);
  }
  std::vector<std::int64_t> integers(std::string_view name) const {
    const auto* a = attribute(name);
    return a ? a->ints : std::vector<std::int64_t>{};
  }
  std::vector<float> reals(std::string_view name) const {
    const auto* a = attribute(name);
    return a ? a->floats : std::vector<float>{};
  }
  std::vector<std::string> texts(std::string_view name) const {
    const auto* a = attribute(name);
    return a ? a->strings : std::vector<std::string>{};
  }
  /// One of the words of a table {word, enumerator}.
  template <class Enum, std::size_t N>
  Enum word(std::string_view name, Enum otherwise,
            const std::pair<std::string_view, Enum> (&table)[N]) const {
    const auto* a = attribute(name);
    if (!a) return otherwise;
    for (const auto& row : table)
      if (row.first == a->s) return row.second;
    not_supported(std::string(name) + " '" + a->s + "'");
  }

  // --- results ---

  /// The node's own output, defined on first use; `none` if the file leaves it out.
  value_id output(std::size_t i, dtype type) {
    if (i >= at_->outputs.size() || at_->outputs[i].empty()) {
      if (i == 0) fail("outputs: expected at least 1, got none");
      return none;
    }
    value v;
    v.type = type;
    return define(at_->outputs[i], std::move(v));
  }
  /// Says that only the first `n` outputs are computed: reading another is not supported.
  void only_outputs(std::size_t n) const {
    for (std::size_t i = n; i < at_->outputs.size(); ++i)
      if (const auto& o = at_->outputs[i];
          !o.empty() && (read_.count(o) || graph_outputs_.count(o)))
        not_supported("output " + std::to_string(i) + " ('" + o + "')");
  }
  /// Adds a node between given values.
  void emit(operation what, std::vector<value_id> in, std::vector<value_id> out) {
    node n;
    n.name = emitted_++ == 0 ? node_name_
                             : unique(node_names_, node_name_ + "_" + std::to_string(emitted_));
    n.what = std::move(what);
    n.inputs = std::move(in);
    n.outputs = std::move(out);
    while (!n.inputs.empty() && n.inputs.back() == none) n.inputs.pop_back();
    g.nodes.push_back(std::move(n));
  }
  /// Adds the node's one operation; its result has the given type, or that of the first input.
  value_id emit(operation what, std::vector<value_id> in) {
    const dtype t = in.empty() || in[0] == none ? dtype::f32 : g[in[0]].type;
    return emit(std::move(what), std::move(in), t);
  }
  value_id emit(operation what, std::vector<value_id> in, dtype type) {
    only_outputs(1);
    const auto out = output(0, type);
    emit(std::move(what), std::move(in), std::vector<value_id>{out});
    return out;
  }
  /// Adds an operation that leads to another one of this node.
  value_id emit_inner(const char* what_for, operation what, std::vector<value_id> in) {
    const dtype t = in.empty() || in[0] == none ? dtype::f32 : g[in[0]].type;
    const auto out = make_value(node_name_ + "_" + what_for, t);
    emit(std::move(what), std::move(in), std::vector<value_id>{out});
    return out;
  }

  /// The node does nothing: its first output is `x` under another name.
  void forward(value_id x) {
    only_outputs(1);
    if (at_->outputs.empty() || at_->outputs[0].empty()) return;
    const std::string& name = at_->outputs[0];
    if (graph_outputs_.count(name)) {
      const bool fixed =
          g[x].constant || produced_.count(x) == 0 || graph_outputs_.count(g[x].name);
      if (fixed) {
        emit(op::identity{}, {x});
        return;
      }
      g[x].name = name;  // x takes the name that the caller of the model knows
    }
    if (!ids_.emplace(name, x).second) fail_file("value '" + name + "' is defined twice");
  }
  void finish_node() {
    for (std::size_t i = first_unseen_; i < g.nodes.size(); ++i)
      for (auto id : g.nodes[i].outputs)
        if (id != none) produced_.insert(id);
    first_unseen_ = g.nodes.size();
  }

  // --- bodies of the node at hand ---

  /// Imports a body; `prepare` adds what it captures once its own inputs and initializers are there. Set by model.hpp.
  using prepare_body = std::function<void(importer&, const graph_proto&)>;
  using body_import = graph (*)(importer& outer, const graph_proto&, const prepare_body&);
  graph read_body(const graph_proto& p, const prepare_body& prepare) { return import_body(*this, p, prepare); }
  body_import import_body = nullptr;

  /// A value of this graph by its name in the file; a body's captured values are values of the body.
  value_id find_outer(const std::string& name) const { return find(name); }
  const tensor_source& file() const { return from_; }

  // --- tensors and errors ---

  tensor read(const tensor_proto& t) const { return read_tensor(t, from_); }

  std::string where() const {
    return "import: " + from_.file + ": node '" + node_name_ + "' (" + at_->op_type + "): ";
  }
  [[noreturn]] void fail(const std::string& what) const { throw import_error(where() + what); }
  [[noreturn]] void not_supported(const std::string& what) const {
    throw unsupported(where() + what + " is not supported");
  }
  [[noreturn]] void fail_file(const std::string& what) const {
    throw import_error("import: " + from_.file + ": " + what);
  }

 private:
  value_id push(value v) {
    g.values.push_back(std::move(v));
    return static_cast<value_id>(g.values.size() - 1);
  }
  /// `wish`, with a number if it is taken; the numbers go on from where they stopped, so that a
  /// million equal wishes cost no more than a million steps.
  std::string unique(std::unordered_set<std::string>& taken, const std::string& wish) {
    if (taken.insert(wish).second) return wish;
    for (int& n = next_number_[wish];;) {
      std::string s = wish + "_" + std::to_string(++n);
      if (taken.insert(s).second) return s;
    }
  }

  tensor_source from_;
  int opset_;
  const node_proto* at_ = nullptr;
  std::string node_name_;
  int emitted_ = 0;
  std::size_t first_unseen_ = 0;
  std::unordered_map<std::string, value_id> ids_;
  std::unordered_map<std::string, int> next_number_;
  std::unordered_set<std::string> names_, node_names_, graph_outputs_, read_;
  std::unordered_set<value_id> produced_;
};

/// A row of the table of operators.
struct read_row {
  std::string_view op_type;
  void (*read)(importer&);
};

}  // namespace ptq::onnx
