#pragma once
// SPDX-License-Identifier: Apache-2.0
// Extents of If and Loop: those of their bodies, inferred for what the operands are known to be.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ptq/graph/infer/operands.hpp>

namespace ptq::inference {

/// Types and extents of a body's outputs; defined in infer.hpp, where whole graphs are inferred.
std::vector<inferred> body_results(const graph& body, const std::vector<inferred>& inputs);

/// Whether a loop's body always asks for another turn: a constant, or the condition it was given.
inline bool always_on(const graph& body) {
  const auto out = body.outputs[0];
  if (const tensor* t = body.constant_of(out))
    return t->type() == dtype::boolean && t->size() == 1 && t->view<bool>()[0];
  for (const auto& n : body.nodes)
    if (n.outputs[0] == out)
      return std::holds_alternative<op::identity>(n.what) && n.inputs[0] == body.inputs[1];
  return out == body.inputs[1];
}

/// What is known of operand i, free extents without their symbols: a body has its own.
inline inferred seen_by_body(const operands& in, std::size_t i) {
  inferred r = like(in, i);
  for (auto& e : r.dims.dims) e = e < 0 ? unknown : e;
  return r;
}

/// What holds of both.
inline inferred joined(const operands& in, const inferred& a, const inferred& b, std::size_t output) {
  if (a.type != b.type)
    in.fail("output " + std::to_string(output), std::string("one type, ") + name_of(a.type), name_of(b.type));
  if (!a.shaped || !b.shaped || a.dims.rank() != b.dims.rank()) return unshaped(a.type);
  inferred r = shaped_as(a.type, a.dims);
  for (int i = 0; i < r.dims.rank(); ++i)
    if (r.dims[i] != b.dims[i]) r.dims[i] = unknown;
  return r;
}

inline std::vector<inferred> captured_by(const op::control& c, const operands& in) {
  std::vector<inferred> r;
  for (std::size_t i = own_operands(c); i < in.count(); ++i) r.push_back(seen_by_body(in, i));
  return r;
}

inline void expect_inputs(const operands& in, const graph& body, std::size_t count) {
  if (body.inputs.size() != count) in.fail("inputs of a body", std::to_string(body.inputs.size()), std::to_string(count));
}

inline std::vector<inferred> branch_results(const op::control& c, const operands& in) {
  if (c.bodies.size() != 2) in.fail("bodies", "2", std::to_string(c.bodies.size()));
  if (in.type(0) != dtype::boolean) in.fail("condition", name_of(dtype::boolean), name_of(in.type(0)));
  const auto inputs = captured_by(c, in);
  const auto known = in.elements(0);
  const auto result = [&](std::size_t i) {
    expect_inputs(in, *c.bodies[i], inputs.size());
    return body_results(*c.bodies[i], inputs);
  };
  if (known && known->size() == 1 && (*known)[0]) return result(*(*known)[0] ? 0 : 1);
  auto a = result(0);
  const auto b = result(1);
  if (a.size() != b.size()) in.fail("outputs of the bodies", std::to_string(a.size()), std::to_string(b.size()));
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = joined(in, a[i], b[i], i);
  return a;
}

inline std::vector<inferred> loop_results(const op::control& c, const operands& in) {
  if (c.bodies.size() != 1) in.fail("bodies", "1", std::to_string(c.bodies.size()));
  const auto carried = static_cast<std::size_t>(c.carried);
  if (in.count() < 2 + carried) in.fail("inputs", std::to_string(2 + carried), std::to_string(in.count()));
  const graph& body = *c.bodies[0];
  std::vector<inferred> inputs{shaped_as(dtype::s64, {}), shaped_as(dtype::boolean, {})};
  for (std::size_t i = 0; i < carried; ++i) inputs.push_back(seen_by_body(in, 2 + i));
  for (auto& r : captured_by(c, in)) inputs.push_back(std::move(r));
  expect_inputs(in, body, inputs.size());
  auto out = body_results(body, inputs);
  if (out.size() < 1 + carried) in.fail("outputs of the body", std::to_string(1 + carried), std::to_string(out.size()));
  // What changes its extents from one turn to the next has none that can be stated.
  bool steady = true;
  for (std::size_t i = 0; i < carried; ++i) {
    auto& was = inputs[2 + i];
    if (was.shaped && (!out[1 + i].shaped || out[1 + i].dims != was.dims)) {
      was = joined(in, was, out[1 + i], i);
      steady = false;
    }
  }
  if (!steady) out = body_results(body, inputs);
  std::vector<inferred> r;
  for (std::size_t i = 0; i < carried; ++i) r.push_back(joined(in, inputs[2 + i], out[1 + i], i));
  const auto trips = in.has(0) ? in.integers(0) : std::nullopt;
  // A condition that the body may turn off leaves the count open.
  const bool whole = always_on(body);
  for (std::size_t i = 1 + carried; i < out.size(); ++i) {
    if (!out[i].shaped) {
      r.push_back(unshaped(out[i].type));
      continue;
    }
    shape dims = out[i].dims;
    const bool starts = !in.has(1) || (in.elements(1) && in.elements(1)->size() == 1 && (*in.elements(1))[0] == 1);
    const bool counted = trips && trips->size() == 1 && whole && starts;
    dims.dims.insert(dims.dims.begin(),
                     counted ? in.extent(std::max<std::int64_t>((*trips)[0], 0), "trip count") : unknown);
    r.push_back(shaped_as(out[i].type, dims));
  }
  return r;
}

inline std::vector<inferred> infer(const op::control& c, const operands& in) {
  return c.what == op::control::kind::branch ? branch_results(c, in) : loop_results(c, in);
}

}  // namespace ptq::inference
