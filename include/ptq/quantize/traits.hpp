#pragma once
// SPDX-License-Identifier: Apache-2.0
// What an operator does with codes: the one table that says which nodes our integer kernels can
// run, on which of their inputs codes may arrive, and why another node stays in float. Placement
// knows operators through this only.

#include <cstdint>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include <ptq/graph/graph.hpp>
#include <ptq/graph/print.hpp>

namespace ptq::quantization {

enum class trait : std::uint8_t {
  weighted,     // convolution, product with constant weights: codes in; codes or reals out
  product,      // product of two activations: codes in; codes or reals out
  elementwise,  // two activations: codes in, codes out, scales of their own
  lookup,       // function of one activation: a table of 256 codes
  of_sum,       // function of a layer's sum that stays real for it: codes out
  average,      // mean of codes
  mover,        // codes go through unchanged: input and outputs share scale and zero point
  concat,       // several inputs and the output share scale and zero point
  real,         // float only
  outside       // no real numbers: shapes, indices, conditions
};

struct node_traits {
  trait what = trait::real;
  std::string why;               // of `real`: the reason that reports show
  std::int32_t activations = 1;  // inputs 0 … activations−1 carry codes
};

/// By value: true where it depends on constants and extents alone (positions, masks, the tables of
/// rotary embeddings). Once extents are bound it is a constant, and no sample ever moves it.
inline std::vector<bool> fixed_values(const graph& g);

/// The traits of a node, from its operator, its constants and the ranks that are known.
///
/// fixed  as fixed_values; empty: only constants are
inline node_traits traits_of(const graph& g, const node& n, const std::vector<bool>& fixed = {});

// ---------------------------------------------------------------------------------------------------------------------

struct trait_rules {
  const graph& g;
  const node& n;
  const std::vector<bool>& fixed;

  node_traits stays_float(std::string why) const { return {trait::real, std::move(why), 0}; }
  node_traits stays_float() const {
    return stays_float(std::string(op_name(n.what)) + " runs in float");
  }
  value_id input(std::size_t i) const { return i < n.inputs.size() ? n.inputs[i] : none; }
  bool activation(std::size_t i) const {
    const auto id = input(i);
    return id != none && !g[id].constant && !is_fixed(id) && g[id].type == dtype::f32;
  }
  bool is_fixed(value_id id) const { return !fixed.empty() && fixed[static_cast<std::size_t>(id)]; }
  /// -1: unknown
  int rank(value_id id) const { return g[id].shaped ? g[id].dims.rank() : -1; }
  bool image(value_id id) const { return rank(id) == 3 || rank(id) == 4; }
  bool real_constant(value_id id) const {
    return g.constant_of(id) && g.constant_of(id)->type() == dtype::f32 && !g[id].quant;
  }

  node_traits operator()(const op::conv&) const {
    if (!real_constant(input(1))) return stays_float("its weights are computed");
    const int spatial = g[input(1)].constant->dims().rank() - 2;
    if (spatial != 1 && spatial != 2)
      return stays_float("no integer kernel for " + std::to_string(spatial) +
                         " spatial dimensions");
    if (input(2) != none && !real_constant(input(2))) return stays_float("its bias is computed");
    return {trait::weighted, "", 1};
  }
  node_traits operator()(const op::matmul& m) const {
    const auto* b = g.constant_of(input(1));
    if (!b && activation(0) && activation(1)) {
      if (input(2) != none) return stays_float("a product of two activations with a bias");
      if (rank(input(0)) == 1 || rank(input(1)) == 1) return stays_float("a product with a vector");
      return {trait::product, "", 2};
    }
    if (!b && is_fixed(input(1))) return stays_float("its right side depends on extents alone");
    if (!real_constant(input(1))) return stays_float("its left side is constant");
    if (b->dims().rank() != 2) return stays_float("its weights are a batch of matrices");
    if (m.trans_a) return stays_float("its left side is transposed");
    if (rank(input(0)) == 1) return stays_float("its left side is a vector");
    const auto channels = b->dims()[m.trans_b ? 0 : 1];
    if (input(2) != none) {
      if (!real_constant(input(2))) return stays_float("its bias is computed");
      const auto& bias = *g.constant_of(input(2));
      const bool vector = bias.size() == channels &&
                          (channels == 1 || bias.dims()[bias.dims().rank() - 1] == channels);
      if (!vector && bias.size() != 1) return stays_float("its bias is no vector");
    }
    return {trait::weighted, "", 1};
  }
  node_traits operator()(const op::binary& b) const {
    if (b.kind != binary_kind::add && b.kind != binary_kind::sub && b.kind != binary_kind::mul)
      return stays_float();
    if (!activation(0) || !activation(1)) return stays_float("one operand is constant");
    return {trait::elementwise, "", 2};
  }
  node_traits operator()(const op::unary& u) const {
    switch (u.kind) {
      case unary_kind::relu:
      case unary_kind::clip:
      case unary_kind::leaky_relu:
      case unary_kind::thresholded_relu:
      case unary_kind::sigmoid:
      case unary_kind::hard_sigmoid:
      case unary_kind::hard_swish:
      case unary_kind::silu:
      case unary_kind::mish:
      case unary_kind::gelu:
      case unary_kind::gelu_tanh:
      case unary_kind::tanh:
      case unary_kind::elu:
      case unary_kind::selu:
      case unary_kind::celu:
      case unary_kind::softplus:
      case unary_kind::softsign:
      case unary_kind::erf:
      case unary_kind::abs:
        return {trait::lookup, "", 1};
      default:
        return stays_float();
    }
  }
  node_traits operator()(const op::pool& p) const {
    if (!image(input(0))) return stays_float("no integer kernel for this rank");
    if (p.kind == pool_kind::average) return {trait::average, "", 1};
    if (p.kind == pool_kind::max && (n.outputs.size() < 2 || n.outputs[1] == none))
      return {trait::mover, "", 1};
    return stays_float();
  }
  node_traits operator()(const op::reduce& r) const {
    const int rank = this->rank(input(0));
    const auto* axes = g.constant_of(input(1));
    if (r.kind != reduce_kind::mean || rank < 3) return stays_float();
    if (!axes || axes->type() != dtype::s64 || axes->size() != rank - 2)
      return stays_float("a mean over other than the spatial axes");
    for (auto a : axes->view<std::int64_t>())
      if ((a < 0 ? a + rank : a) < 2) return stays_float("a mean over other than the spatial axes");
    return {trait::average, "", 1};
  }
  node_traits operator()(const op::concat&) const {
    for (std::size_t i = 0; i < n.inputs.size(); ++i)
      if (!activation(i)) return stays_float("one part is constant");
    return {trait::concat, "", static_cast<std::int32_t>(n.inputs.size())};
  }
  node_traits operator()(const op::gather& o) const {
    if (g.constant_of(input(0))) return stays_float("an embedding");
    return o.what == op::gather::kind::axis ? mover() : stays_float();
  }
  node_traits operator()(const op::pad& p) const {
    if (p.how != op::pad::mode::constant || input(2) == none) return mover();
    const auto* v = g.constant_of(input(2));
    const bool zero = v && v->type() == dtype::f32 && v->size() == 1 && v->view<float>()[0] == 0.0f;
    return zero ? mover() : stays_float("it pads with other than zero");
  }
  node_traits operator()(const op::resize& r) const {
    return r.how == op::resize::mode::nearest && r.at != op::resize::coordinates::tf_crop_and_resize
               ? mover()
               : stays_float("it interpolates");
  }
  node_traits mover() const { return {trait::mover, "", 1}; }
  node_traits operator()(const op::split&) const { return mover(); }
  node_traits operator()(const op::slice&) const { return mover(); }
  node_traits operator()(const op::reshape&) const { return mover(); }
  node_traits operator()(const op::transpose&) const { return mover(); }
  node_traits operator()(const op::expand&) const { return mover(); }
  node_traits operator()(const op::tile&) const { return mover(); }
  node_traits operator()(const op::depth_to_space&) const { return mover(); }
  node_traits operator()(const op::identity&) const { return mover(); }
  node_traits operator()(const op::conv_transpose&) const {
    return stays_float("no integer kernel for a ConvTranspose with groups, unequal strides, or more zeros than weights");
  }
  template <class Op>
  node_traits operator()(const Op&) const {
    return stays_float();
  }
};

inline std::vector<bool> fixed_values(const graph& g) {
  std::vector<bool> fixed(g.values.size());
  for (std::size_t i = 0; i < g.values.size(); ++i) fixed[i] = g.values[i].constant.has_value();
  for (const auto& n : g.nodes) {
    bool all = true;
    for (auto id : n.inputs) all = all && (id == none || fixed[static_cast<std::size_t>(id)]);
    if (!all && !std::holds_alternative<op::shape_of>(n.what)) continue;
    for (auto id : n.outputs)
      if (id != none) fixed[static_cast<std::size_t>(id)] = true;
  }
  return fixed;
}

inline node_traits traits_of(const graph& g, const node& n, const std::vector<bool>& fixed) {
  bool reads = false, writes = false, computed = false;
  for (auto id : n.inputs) reads = reads || (id != none && g[id].type == dtype::f32);
  for (auto id : n.outputs) {
    if (id == none) continue;
    writes = writes || g[id].type == dtype::f32;
    computed = computed || fixed.empty() || !fixed[static_cast<std::size_t>(id)];
  }
  if (!computed) return {trait::outside, "", 0};
  if (std::holds_alternative<op::shape_of>(n.what) || (!reads && !writes))
    return {trait::outside, "", 0};
  const auto t = n.what.visit(trait_rules{g, n, fixed});
  const bool codes_arrive = t.activations > 0 && trait_rules{g, n, fixed}.activation(0);
  if (t.what == trait::real || codes_arrive) return t;
  return {trait::real, "its input is constant", 0};
}

}  // namespace ptq::quantization
