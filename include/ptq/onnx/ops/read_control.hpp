#pragma once
// SPDX-License-Identifier: Apache-2.0
// Import of If, Loop and Scan. What a body reads of the graphs around it becomes an input of body and node; a constant
// becomes a constant of the body. A Scan comes in as a Loop that gathers a slice of each scanned input per turn.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include <ptq/onnx/importer.hpp>

namespace ptq::onnx {

/// The names that a graph reads and does not define, its bodies' included; each once, in order of first use.
inline std::vector<std::string> outer_names(const graph_proto& g) {
  std::unordered_set<std::string> own, seen;
  for (const auto& v : g.inputs) own.insert(v.name);
  for (const auto& t : g.initializers) own.insert(t.name);
  for (const auto& n : g.nodes)
    for (const auto& o : n.outputs) own.insert(o);
  std::vector<std::string> outer;
  const auto read = [&](const std::string& name) {
    if (!name.empty() && !own.count(name) && seen.insert(name).second) outer.push_back(name);
  };
  for (const auto& n : g.nodes) {
    for (const auto& i : n.inputs) read(i);
    for (const auto& a : n.attributes)
      for (const auto& body : a.graphs)
        for (const auto& name : outer_names(body)) read(name);
  }
  for (const auto& o : g.outputs) read(o.name);
  return outer;
}

/// A body of the node at hand.
inline const graph_proto& body_proto(importer& in, std::string_view name) {
  const auto* a = in.attribute(name);
  if (!a || a->graphs.empty()) in.fail(std::string(name) + ": expected a graph, got none");
  return a->graphs.front();
}

/// Captured values of the node at hand, with the bodies that read them.
class body_reader {
 public:
  explicit body_reader(importer& in) : in_(in) {}

  /// Makes the values that any of the bodies captures inputs of all of them.
  void capture(const graph_proto& body) {
    for (const auto& name : outer_names(body)) {
      const auto id = in_.find_outer(name);
      if (id == none) in_.fail("a body reads '" + name + "', which no graph around it has");
      if (in_.g.constant_of(id) && !in_.g[id].quant) {
        if (std::find(constants_.begin(), constants_.end(), std::pair{name, id}) == constants_.end())
          constants_.push_back({name, id});
      } else {
        if (std::find(names_.begin(), names_.end(), name) != names_.end()) continue;
        names_.push_back(name);
        captured.push_back(id);
      }
    }
  }

  /// The body as a graph: its own inputs, then the captured values.
  graph read(const graph_proto& body) {
    return in_.read_body(body, [this](importer& inner, const graph_proto& p) {
      const auto mine = outer_names(p);
      const auto reads = [&](const std::string& name) { return std::find(mine.begin(), mine.end(), name) != mine.end(); };
      for (const auto& [name, id] : constants_) {
        value v = in_.g[id];
        if (reads(name)) inner.define(name, std::move(v));
      }
      std::vector<value_id> inputs = inner.g.inputs;
      for (std::size_t i = 0; i < names_.size(); ++i) {
        value v;
        v.type = in_.g[captured[i]].type;
        inputs.push_back(reads(names_[i]) ? inner.define(names_[i], std::move(v)) : inner.make_value(names_[i], v.type));
      }
      inner.g.inputs = std::move(inputs);
    });
  }

  std::vector<value_id> captured;

 private:
  importer& in_;
  std::vector<std::string> names_;
  std::vector<std::pair<std::string, value_id>> constants_;
};

inline std::vector<value_id> control_outputs(importer& in, const graph& body, std::size_t first) {
  std::vector<value_id> out;
  for (std::size_t i = 0; i < in.source().outputs.size(); ++i) {
    if (first + i >= body.outputs.size())
      in.fail("outputs: expected at most " + std::to_string(body.outputs.size() - first) + ", got " +
              std::to_string(in.source().outputs.size()));
    const bool named = !in.source().outputs[i].empty();
    out.push_back(named ? in.output(i, body[body.outputs[first + i]].type) : none);
  }
  return out;
}

inline void read_if(importer& in) {
  auto ids = in.inputs(1, 1);
  const auto& yes = body_proto(in, "then_branch");
  const auto& no = body_proto(in, "else_branch");
  body_reader bodies(in);
  bodies.capture(yes);
  bodies.capture(no);
  op::control c;
  c.bodies = {std::make_shared<const graph>(bodies.read(yes)), std::make_shared<const graph>(bodies.read(no))};
  ids.insert(ids.end(), bodies.captured.begin(), bodies.captured.end());
  auto out = control_outputs(in, *c.bodies[0], 0);
  in.emit(std::move(c), std::move(ids), std::move(out));
}

inline void read_loop(importer& in) {
  const auto& proto = body_proto(in, "body");
  const auto count = in.source().inputs.size();
  if (count < 2) in.fail("inputs: expected at least 2, got " + std::to_string(count));
  op::control c;
  c.what = op::control::kind::loop;
  c.carried = static_cast<std::int64_t>(count) - 2;
  std::vector<value_id> ids{in.input(0), in.input(1)};
  if (ids[0] == none)
    ids[0] = in.make_constant(in.node_name() + "_endless", tensor::scalar(std::numeric_limits<std::int64_t>::max()));
  if (ids[1] == none) ids[1] = in.make_constant(in.node_name() + "_always", tensor::scalar(true));
  for (std::size_t i = 2; i < count; ++i) ids.push_back(in.required(i));
  body_reader bodies(in);
  bodies.capture(proto);
  graph body = bodies.read(proto);
  const auto own = body.inputs.size() - bodies.captured.size();
  if (own != count) in.fail("inputs of the body: expected " + std::to_string(count) + ", got " + std::to_string(own));
  if (body.outputs.size() < count - 1)
    in.fail("outputs of the body: expected at least " + std::to_string(count - 1) + ", got " +
            std::to_string(body.outputs.size()));
  body[body.inputs[0]].type = dtype::s64;
  body[body.inputs[1]].type = dtype::boolean;
  for (std::size_t i = 2; i < count; ++i) body[body.inputs[i]].type = in.g[ids[i]].type;
  c.bodies = {std::make_shared<const graph>(std::move(body))};
  ids.insert(ids.end(), bodies.captured.begin(), bodies.captured.end());
  auto out = control_outputs(in, *c.bodies[0], 1);
  in.emit(std::move(c), std::move(ids), std::move(out));
}

inline constexpr read_row control_rows[] = {
    {"If", read_if},
    {"Loop", read_loop},
};

}  // namespace ptq::onnx
