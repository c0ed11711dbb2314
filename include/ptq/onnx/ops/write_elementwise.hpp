#pragma once
// SPDX-License-Identifier: Apache-2.0
// Export of elementwise operators, matrix products and normalisations.

#include <cstdint>
#include <string>
#include <string_view>

#include <ptq/onnx/exporter.hpp>
#include <ptq/onnx/ops/names.hpp>

namespace ptq::onnx {

inline void write(exporter& e, const node& n, const op::unary& u) {
  using kind = unary_kind;
  for (const auto& row : unary_names)
    if (row.kind == u.kind) {
      auto p = e.begin(n, row.op_type);
      if (!row.alpha.empty()) e.set(p, row.alpha, u.alpha);
      if (!row.beta.empty()) e.set(p, row.beta, u.beta);
      return e.end(n, std::move(p));
    }
  if (u.kind == kind::clip) {
    auto p = e.begin(n, "Clip");
    e.put_bounds(p, u.alpha, u.beta);
    return e.end(n, std::move(p));
  }
  if (u.kind == kind::silu) {  // ONNX has Swish from opset 24 only
    const auto x = e.operand(n.inputs[0]);
    const auto s = e.inner(n, "Sigmoid", {x});
    auto p = e.bare(n, "Mul");
    p.inputs = {x, s};
    return e.end(n, std::move(p));
  }
  auto p = e.begin(n, "Gelu");
  if (u.kind == kind::gelu_tanh) e.set(p, "approximate", std::string_view("tanh"));
  e.end(n, std::move(p));
}

inline std::string_view name_of(binary_kind k) {
  for (const auto& row : binary_names)
    if (row.kind == k) return row.op_type;
  switch (k) {
    case binary_kind::min:
      return "Min";
    case binary_kind::max:
      return "Max";
    default:
      return "Mod";
  }
}

inline void write(exporter& e, const node& n, const op::binary& b) {
  auto p = e.begin(n, name_of(b.kind));
  if (b.kind == binary_kind::fmod) e.set(p, "fmod", std::int64_t{1});
  e.end(n, std::move(p), b.act);
}

inline void write(exporter& e, const node& n, const op::where&) { e.end(n, e.begin(n, "Where")); }

inline void write(exporter& e, const node& n, const op::cast& c) {
  auto p = e.begin(n, "Cast");
  e.set(p, "to", std::int64_t{onnx_type(c.to)});
  e.end(n, std::move(p));
}

namespace detail_matmul {

inline int rank_of(const value& v) { return v.shaped ? v.dims.rank() : -1; }

/// MatMul has no transposes: those of operands that are no matrices become nodes.
inline std::string transposed(exporter& e, const node& n, std::size_t i, bool transpose) {
  const auto name = e.operand(n.inputs[i]);
  if (!transpose) return name;
  const int rank = rank_of(e.g[n.inputs[i]]);
  if (rank < 2) e.not_supported(n, "a transposed operand of unknown rank");
  attribute_proto perm;
  perm.name = "perm";
  perm.type = attribute_ints;
  for (int a = 0; a < rank; ++a) perm.ints.push_back(a);
  std::swap(perm.ints[static_cast<std::size_t>(rank) - 1],
            perm.ints[static_cast<std::size_t>(rank) - 2]);
  return e.inner(n, "Transpose", {name}, {perm});
}

}  // namespace detail_matmul

/// Matrices (rank 2) with a bias or a transpose are Gemm, which runtimes fuse with the bias;
/// anything else is MatMul with an Add for the bias.
inline void write(exporter& e, const node& n, const op::matmul& m) {
  using namespace detail_matmul;
  const bool bias = n.inputs.size() > 2 && n.inputs[2] != none;
  const int a = rank_of(e.g[n.inputs[0]]), b = rank_of(e.g[n.inputs[1]]);
  const int y = rank_of(e.g[n.outputs[0]]);
  const bool matrices = (y == 2 || a == 2) && (b == 2 || b == -1);
  const bool transposes = m.trans_a || m.trans_b;
  const bool undecided = y == -1 && a == -1 && transposes;  // only Gemm brings those in
  if ((matrices && (bias || transposes)) || undecided) {
    auto p = e.begin(n, "Gemm");
    e.flag(p, "transA", m.trans_a, false);
    e.flag(p, "transB", m.trans_b, false);
    return e.end(n, std::move(p), m.act);
  }
  const auto left = transposed(e, n, 0, m.trans_a);
  const auto right = transposed(e, n, 1, m.trans_b);
  auto p = e.bare(n, "MatMul");
  p.inputs = {left, right};
  if (!bias) return e.end(n, std::move(p), m.act);
  p.outputs = {e.fresh(e.g[n.outputs[0]].name + "_product")};
  auto add = e.make("Add", n.name + "_Add");
  add.inputs = {p.outputs[0], e.operand(n.inputs[2])};
  e.out.nodes.push_back(std::move(p));
  e.end(n, std::move(add), m.act);
}

inline void write(exporter& e, const node& n, const op::batch_norm& b) {
  auto p = e.begin(n, "BatchNormalization");
  e.set(p, "epsilon", b.epsilon);
  e.end(n, std::move(p));
}

inline void write(exporter& e, const node& n, const op::group_norm& o) {
  auto p = e.begin(n, o.groups ? "GroupNormalization" : "InstanceNormalization");
  if (o.groups) e.set(p, "num_groups", o.groups);
  e.set(p, "epsilon", o.epsilon);
  e.end(n, std::move(p));
}

inline void write(exporter& e, const node& n, const op::layer_norm& l) {
  auto p = e.begin(n, l.rms ? "RMSNormalization" : "LayerNormalization");
  e.set(p, "axis", l.axis);
  e.set(p, "epsilon", l.epsilon);
  e.end(n, std::move(p));
}

inline void write(exporter& e, const node& n, const op::local_response_norm& l) {
  auto p = e.begin(n, "LRN");
  e.set(p, "alpha", l.alpha);
  e.set(p, "beta", l.beta);
  e.set(p, "bias", l.bias);
  e.set(p, "size", l.size);
  e.end(n, std::move(p));
}

/// e^(x − max), as fuse finds it again.
inline void write_exponentials(exporter& e, const node& n, const op::softmax& s) {
  const auto x = e.operand(n.inputs[0]);
  std::vector<std::string> inputs{x};
  std::vector<attribute_proto> attributes;
  if (e.opset() >= 18) {
    inputs.push_back(e.constant(n.name + "_axes", tensor::from<std::int64_t>({1}, {s.axis})));
  } else {
    auto& axes = attributes.emplace_back();
    axes.name = "axes";
    axes.type = attribute_ints;
    axes.ints = {s.axis};
  }
  const auto largest = e.inner(n, "ReduceMax", std::move(inputs), std::move(attributes));
  auto p = e.bare(n, "Exp");
  p.inputs = {e.inner(n, "Sub", {x, largest})};
  e.end(n, std::move(p));
}

/// The old meaning (all axes from `axis` on are one) is spelled Flatten → Softmax → Reshape where
/// it differs.
inline void write(exporter& e, const node& n, const op::softmax& s) {
  if (!s.normalized) return write_exponentials(e, n, s);
  const auto op_type = s.log ? "LogSoftmax" : "Softmax";
  const value& x = e.g[n.inputs[0]];
  const bool last = s.axis == -1 || (x.shaped && s.axis == x.dims.rank() - 1);
  if (!s.flattened || last) {
    auto p = e.begin(n, op_type);
    e.set(p, "axis", s.axis);
    return e.end(n, std::move(p));
  }
  const auto name = e.operand(n.inputs[0]);
  attribute_proto axis;
  axis.name = "axis";
  axis.type = attribute_int;
  axis.i = s.axis;
  const auto flat = e.inner(n, "Flatten", {name}, {axis});
  axis.i = 1;
  const auto y = e.inner(n, op_type, {flat}, {axis});
  auto p = e.bare(n, "Reshape");
  p.inputs = {y, e.inner(n, "Shape", {name})};
  e.end(n, std::move(p));
}

}  // namespace ptq::onnx
