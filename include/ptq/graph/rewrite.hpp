#pragma once
// SPDX-License-Identifier: Apache-2.0
// A graph under edit: producers and consumers stay right after every change, so that a pass costs
// what it touches. Used by fold and fuse; the graph comes back from finish() in topological order,
// without what nobody reads.
//
// Invariants: node indices stay valid while editing (removed nodes become empty); what nobody reads
// any more goes at once; a new node stands just before or after the node that it was inserted for;
// names stay unique; outputs of the graph keep their names.

#include <algorithm>
#include <cstdint>
#include <string>
#include <tuple>
#include <unordered_set>
#include <utility>
#include <vector>

#include <ptq/graph/graph.hpp>

namespace ptq {

class rewriter {
 public:
  explicit rewriter(graph g);

  const graph& now() const { return g_; }
  /// Ordered and pruned; the rewriter is spent.
  graph finish();
  bool changed() const { return changed_; }

  // ---- reading

  int node_count() const { return static_cast<int>(g_.nodes.size()); }
  const node& at(int n) const { return g_.nodes[static_cast<std::size_t>(n)]; }
  const value& operator[](value_id id) const { return g_[id]; }
  bool removed(int n) const { return at(n).outputs.empty(); }
  /// Node that writes `id`, -1 for inputs, constants and `none`.
  int producer(value_id id) const { return id == none ? -1 : producer_[index(id)]; }
  const std::vector<int>& consumers(value_id id) const { return consumers_[index(id)]; }
  bool is_output(value_id id) const { return is_output_[index(id)]; }
  /// Read once, by one node, and no output of the graph.
  bool sole_use(value_id id) const { return consumers(id).size() == 1 && !is_output(id); }

  // ---- writing

  /// A constant with a name near `name`.
  value_id add_constant(const std::string& name, tensor t);
  /// An f32 value with a name near `name`; extents are inferred later.
  value_id add_value(const std::string& name);
  /// Replaces operator and operands of a node.
  void set(int n, operation what, std::vector<value_id> inputs);
  void set(int n, operation what) { set(n, std::move(what), at(n).inputs); }
  void set_input(int n, std::size_t port, value_id id);
  /// Replaces a constant operand of one node; other readers of the constant keep theirs.
  void set_constant(int n, std::size_t port, tensor t);
  enum class side { before, after };
  /// A new node beside `anchor`; returns its index.
  int insert(side where, int anchor, const node& fresh);
  void remove(int n);
  /// All consumers of `from` read `to` instead. `from` is no output of the graph.
  void redirect(value_id from, value_id to);
  /// Node n writes `to` in place of its first output; the node that wrote `to`, if any, is removed.
  void take_over(int n, value_id to);
  /// y = f(x) with f the identity: consumers of y read x, or x's producer writes y where y is an
  /// output of the graph. False if neither can be.
  bool bypass(int n);
  /// Turns the outputs of a node into constants.
  void make_constant(int n, std::vector<tensor> results);

 private:
  static std::size_t index(value_id id) { return static_cast<std::size_t>(id); }
  std::string unused(std::unordered_set<std::string>& names, std::string name) const;
  void link(int n);
  void unlink(int n);
  void clear(int n);
  void drop_unused(std::vector<value_id> ids);
  bool unused_outputs(int n) const;

  graph g_;
  std::vector<int> producer_;
  std::vector<std::vector<int>> consumers_;  // one entry per operand, so twice for x · x
  std::vector<bool> is_output_;
  struct place {
    int anchor;  // itself, unless inserted
    int side;    // -1 before, 0 the anchor, 1 after
  };
  std::vector<place> places_;
  std::unordered_set<std::string> value_names_, node_names_;
  bool changed_ = false;
};

// -------------------------------------------------------------------------------------------------

inline rewriter::rewriter(graph g)
    : g_(std::move(g)),
      producer_(g_.values.size(), -1),
      consumers_(g_.values.size()),
      is_output_(g_.values.size()) {
  for (int n = 0; n < node_count(); ++n) {
    link(n);
    places_.push_back({n, 0});
    node_names_.insert(at(n).name);
  }
  for (auto id : g_.outputs) is_output_[index(id)] = true;
  for (const auto& v : g_.values) value_names_.insert(v.name);
}

inline void rewriter::link(int n) {
  for (auto id : at(n).inputs)
    if (id != none) consumers_[index(id)].push_back(n);
  for (auto id : at(n).outputs)
    if (id != none) producer_[index(id)] = n;
}

inline void rewriter::unlink(int n) {
  for (auto id : at(n).inputs) {
    if (id == none) continue;
    auto& c = consumers_[index(id)];
    c.erase(std::find(c.begin(), c.end(), n));
  }
  for (auto id : at(n).outputs)
    if (id != none) producer_[index(id)] = -1;
}

inline std::string rewriter::unused(std::unordered_set<std::string>& names,
                                    std::string name) const {
  if (name.empty()) name = "value";
  std::string candidate = name;
  for (int i = 1; !names.insert(candidate).second; ++i) candidate = name + "_" + std::to_string(i);
  return candidate;
}

inline value_id rewriter::add_constant(const std::string& name, tensor t) {
  const auto id = add_value(name);
  auto& v = g_[id];
  v.type = t.type();
  v.dims = t.dims();
  v.shaped = true;
  v.constant = std::move(t);
  return id;
}

inline value_id rewriter::add_value(const std::string& name) {
  value v;
  v.name = unused(value_names_, name);
  g_.values.push_back(std::move(v));
  producer_.push_back(-1);
  consumers_.emplace_back();
  is_output_.push_back(false);
  return static_cast<value_id>(g_.values.size() - 1);
}

inline void rewriter::set(int n, operation what, std::vector<value_id> inputs) {
  unlink(n);
  auto& target = g_.nodes[static_cast<std::size_t>(n)];
  target.what = std::move(what);
  auto before = std::move(target.inputs);
  target.inputs = std::move(inputs);
  link(n);
  changed_ = true;
  drop_unused(std::move(before));
}

inline void rewriter::set_input(int n, std::size_t port, value_id id) {
  auto inputs = at(n).inputs;
  if (inputs.size() <= port) inputs.resize(port + 1, none);
  inputs[port] = id;
  set(n, at(n).what, std::move(inputs));
}

inline void rewriter::set_constant(int n, std::size_t port, tensor t) {
  const auto id = at(n).inputs[port];
  auto& v = g_[id];
  if (sole_use(id) && v.type == t.type()) {
    v.dims = t.dims();
    v.constant = std::move(t);
    changed_ = true;
  } else {
    set_input(n, port, add_constant(v.name, std::move(t)));
  }
}

inline int rewriter::insert(side where, int anchor, const node& fresh) {
  g_.nodes.push_back(fresh);
  g_.nodes.back().name = unused(node_names_, fresh.name);
  const int n = node_count() - 1;
  const auto& p = places_[static_cast<std::size_t>(anchor)];
  const int asked = where == side::before ? -1 : 1;
  places_.push_back({p.anchor, p.side != 0 ? p.side : asked});
  link(n);
  changed_ = true;
  return n;
}

inline bool rewriter::unused_outputs(int n) const {
  const auto& o = at(n).outputs;
  return std::all_of(o.begin(), o.end(), [&](value_id id) {
    return id == none || (consumers(id).empty() && !is_output(id));
  });
}

/// Removes producers of unread values, and what only they read. A list instead of recursion: chains
/// may be long.
inline void rewriter::drop_unused(std::vector<value_id> ids) {
  while (!ids.empty()) {
    const int n = producer(ids.back());
    ids.pop_back();
    if (n < 0 || !unused_outputs(n)) continue;
    const auto inputs = at(n).inputs;
    clear(n);
    ids.insert(ids.end(), inputs.begin(), inputs.end());
  }
}

inline void rewriter::clear(int n) {
  unlink(n);
  auto& gone = g_.nodes[static_cast<std::size_t>(n)];
  gone.inputs.clear();
  gone.outputs.clear();
  changed_ = true;
}

inline void rewriter::remove(int n) {
  auto inputs = at(n).inputs;
  clear(n);
  drop_unused(std::move(inputs));
}

inline void rewriter::redirect(value_id from, value_id to) {
  const auto readers = consumers(from);  // a copy: relinking edits the list
  for (int n : readers) {
    unlink(n);
    auto& inputs = g_.nodes[static_cast<std::size_t>(n)].inputs;
    std::replace(inputs.begin(), inputs.end(), from, to);
    link(n);
  }
  changed_ = true;
}

inline void rewriter::take_over(int n, value_id to) {
  const int old = producer(to);
  std::vector<value_id> inputs;
  if (old >= 0) {
    inputs = at(old).inputs;
    clear(old);
  }
  unlink(n);
  g_.nodes[static_cast<std::size_t>(n)].outputs[0] = to;
  link(n);
  changed_ = true;
  drop_unused(std::move(inputs));
}

inline bool rewriter::bypass(int n) {
  const auto x = at(n).inputs[0], y = at(n).outputs[0];
  if (!is_output(y)) {
    redirect(y, x);
    remove(n);
    return true;
  }
  const int p = producer(x);
  if (p < 0 || is_output(x) || at(p).outputs[0] != x) return false;
  clear(n);
  redirect(x, y);
  take_over(p, y);
  return true;
}

inline void rewriter::make_constant(int n, std::vector<tensor> results) {
  const auto outputs = at(n).outputs;
  remove(n);
  for (std::size_t i = 0; i < outputs.size() && i < results.size(); ++i) {
    if (outputs[i] == none) continue;
    auto& v = g_[outputs[i]];
    v.type = results[i].type();
    v.dims = results[i].dims();
    v.shaped = true;
    v.constant = std::move(results[i]);
  }
}

inline graph rewriter::finish() {
  std::vector<int> order;
  for (int n = 0; n < node_count(); ++n)
    if (!removed(n)) order.push_back(n);
  const auto key = [&](int n) {
    const auto& p = places_[static_cast<std::size_t>(n)];
    return std::tuple(p.anchor, p.side, n);
  };
  std::sort(order.begin(), order.end(), [&](int a, int b) { return key(a) < key(b); });
  std::vector<node> nodes;
  for (int n : order) nodes.push_back(std::move(g_.nodes[static_cast<std::size_t>(n)]));
  g_.nodes = std::move(nodes);
  return sorted(pruned(std::move(g_)));
}

}  // namespace ptq
