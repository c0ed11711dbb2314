#pragma once
// SPDX-License-Identifier: Apache-2.0
// What the epilogue of an integer layer takes over from the nodes behind it: a residual add of codes, or a function of
// the real sum that yields codes. Bit for bit what their own steps compute.

#include <cstddef>
#include <cstdint>
#include <set>
#include <tuple>
#include <utility>
#include <variant>

#include <ptq/lower/emitter.hpp>

namespace ptq::lowering {

/// Nodes (indices) that an earlier step's epilogue computes; filled as steps are emitted.
struct absorbed_nodes {
  const uses* edges = nullptr;
  std::set<std::int32_t> done;
  bool allowed = true;
};

/// Codes that bound `act` on the grid `q`: clamping codes equals clamping reals first, as rounding is monotonic.
template <class = void>
std::pair<std::int32_t, std::int32_t> code_bounds(const clamp& act, const code& q) {
  const auto top = highest_code(q.type);
  return {quantize_value(act.low, q.scale, q.zero_point, 0, top),
          quantize_value(act.high, q.scale, q.zero_point, 0, top)};
}

/// How a sum or difference of the codes of a and b is computed.
template <class = void>
add_rule sum_of(const op::binary& what, const code& a, const code& b, const code& y) {
  auto r = add_rule_of(a.scale, a.zero_point, what.kind == binary_kind::sub ? -b.scale : b.scale,
                       b.zero_point, y.scale, y.zero_point);
  std::tie(r.low, r.high) = code_bounds(what.act, y);
  return r;
}

/// The add that alone reads `y` and whose other operand is there already, or null.
template <class = void>
const node* residual_add(const emitter& e, value_id y, const absorbed_nodes& absorbed,
                         std::int32_t& index, int& port) {
  if (!absorbed.allowed || !absorbed.edges->single_consumer(y)) return nullptr;
  const auto use = absorbed.edges->consumers[static_cast<std::size_t>(y)][0];
  const auto& n = e.network().nodes[static_cast<std::size_t>(use.node)];
  const auto* b = std::get_if<op::binary>(&n.what);
  if (!b || (b->kind != binary_kind::add && b->kind != binary_kind::sub)) return nullptr;
  const auto other = n.inputs[use.port == 0 ? 1 : 0];
  if (!e.has_codes(y) || !e.has_codes(other) || !e.has_codes(n.outputs[0])) return nullptr;
  if (!e.emitted(other) || e.constant(other) || e.dims(other) != e.dims(y)) return nullptr;
  if (other == y || e.dims(n.outputs[0]) != e.dims(y)) return nullptr;
  index = use.node;
  port = use.port;
  return &n;
}

/// The function that alone reads the real numbers `y`, yields codes, and that an epilogue computes as its own step
/// would; or null.
template <class = void>
const node* epilogue_function_of(const emitter& e, value_id y, const absorbed_nodes& absorbed,
                                 std::int32_t& index, kernels::epilogue_function& f) {
  if (!absorbed.allowed || e.at(y).quant || !absorbed.edges->single_consumer(y)) return nullptr;
  index = absorbed.edges->consumers[static_cast<std::size_t>(y)][0].node;
  const auto& n = e.network().nodes[static_cast<std::size_t>(index)];
  const auto* u = std::get_if<op::unary>(&n.what);
  if (!u || !kernels::in_epilogue(u->kind, u->alpha) || !e.has_codes(n.outputs[0])) return nullptr;
  using kind = kernels::epilogue_function::kind;
  f = {.what = u->kind == unary_kind::leaky_relu ? kind::leaky_relu : kind::hard_swish,
       .alpha = u->alpha,
       .scale = e.codes_of(n.outputs[0]).scale};
  return &n;
}

}  // namespace ptq::lowering
