#pragma once
// SPDX-License-Identifier: Apache-2.0
// Import of matrix products, normalisations and softmax.

#include <cstdint>
#include <string>
#include <vector>

#include <ptq/onnx/importer.hpp>

namespace ptq::onnx {

inline void read_matmul(importer& in) { in.emit(op::matmul{}, in.inputs(2, 2), dtype::f32); }

/// factor · x: a new constant where x is one, a multiply elsewhere.
inline value_id scaled(importer& in, value_id x, float factor, const char* what) {
  if (factor == 1.0f) return x;
  const value& v = in.g[x];
  if (v.constant && !v.quant && v.constant->type() == dtype::f32) {
    tensor t = *v.constant;
    for (auto& e : t.mutable_view<float>()) e *= factor;
    return in.make_constant(v.name + "_" + what, std::move(t));
  }
  const auto c = in.make_constant(in.node_name() + "_" + what, tensor::scalar(factor));
  return in.emit_inner("scaled", op::binary{binary_kind::mul, {}}, {x, c});
}

/// alpha · a · b + beta · c, all of rank 2.
inline void read_gemm(importer& in) {
  auto ids = in.inputs(2, 3);
  const float alpha = in.real("alpha", 1.0f), beta = in.real("beta", 1.0f);
  const std::size_t side = in.g.constant_of(ids[1]) ? 1 : 0;
  ids[side] = scaled(in, ids[side], alpha, "alpha");
  if (ids.size() == 3 && ids[2] != none) ids[2] = scaled(in, ids[2], beta, "beta");
  if (ids.size() == 3 && beta == 0.0f) ids.pop_back();
  op::matmul m;
  m.trans_a = in.flag("transA", false);
  m.trans_b = in.flag("transB", false);
  const auto y = in.emit(m, ids, dtype::f32);
  in.g[y].dims = {unknown, unknown};  // the rank is a fact that export needs to write Gemm again
  in.g[y].shaped = true;
}

inline void read_batch_norm(importer& in) {
  if (in.opset() < 9 && !in.flag("spatial", true)) in.not_supported("spatial = 0");
  if (in.flag("training_mode", false)) in.not_supported("training_mode = 1");
  in.emit(op::batch_norm{in.real("epsilon", 1e-5f)}, in.inputs(5, 5), dtype::f32);
}

inline void read_instance_norm(importer& in) {
  in.emit(op::group_norm{in.real("epsilon", 1e-5f), 0}, in.inputs(3, 3), dtype::f32);
}

/// Opset 21: scale and bias per channel; 18: per group, repeated here for each channel where their
/// number is known.
inline void read_group_norm(importer& in) {
  auto ids = in.inputs(3, 3);
  const auto groups = in.integer("num_groups", 0);
  if (groups < 1 || groups > (1 << 24))
    in.fail("num_groups: expected >= 1, got " + std::to_string(groups));
  const value& x = in.g[ids[0]];
  const auto channels = x.shaped && x.dims.rank() > 1 ? x.dims[1] : unknown;
  if (in.opset() < 21 && channels != groups) {
    for (std::size_t i = 1; i < 3; ++i) {
      const tensor* t = in.constant(i);
      if (!t || t->type() != dtype::f32 || channels < groups || channels % groups != 0 ||
          t->size() != groups)
        in.not_supported("scale per group (opset < 21) for an unknown number of channels");
      tensor wide(dtype::f32, {channels});
      const auto src = t->view<float>();
      const auto dst = wide.mutable_view<float>();
      const auto each = static_cast<std::size_t>(channels / groups);
      for (std::size_t c = 0; c < dst.size(); ++c) dst[c] = src[c / each];
      ids[i] = in.make_constant(in.g[ids[i]].name + "_wide", std::move(wide));
    }
  }
  in.emit(op::group_norm{in.real("epsilon", 1e-5f), groups}, ids, dtype::f32);
}

inline void read_layer_norm(importer& in) {
  in.emit(op::layer_norm{in.integer("axis", -1), in.real("epsilon", 1e-5f), false}, in.inputs(2, 3),
          dtype::f32);
}

inline void read_rms_norm(importer& in) {
  in.emit(op::layer_norm{in.integer("axis", -1), in.real("epsilon", 1e-5f), true}, in.inputs(2, 2),
          dtype::f32);
}

inline void read_local_response_norm(importer& in) {
  const auto size = in.integer("size", 0);
  if (size < 1 || size > (1 << 24)) in.fail("size: expected >= 1, got " + std::to_string(size));
  in.emit(op::local_response_norm{in.real("alpha", 1e-4f), in.real("beta", 0.75f),
                                  in.real("bias", 1.0f), size},
          in.inputs(1, 1), dtype::f32);
}

/// Opset < 13: axis 1 by default, and all axes from it on are one. The last axis alone is the same
/// in both.
inline void read_softmax(importer& in, bool log) {
  const bool old = in.opset() < 13;
  const auto axis = in.integer("axis", old ? 1 : -1);
  in.emit(op::softmax{axis, log, old && axis != -1}, in.inputs(1, 1), dtype::f32);
}

inline constexpr read_row matrix_rows[] = {
    {"MatMul", read_matmul},
    {"Gemm", read_gemm},
    {"BatchNormalization", read_batch_norm},
    {"InstanceNormalization", read_instance_norm},
    {"GroupNormalization", read_group_norm},
    {"LayerNormalization", read_layer_norm},
    {"RMSNormalization", read_rms_norm},
    {"LRN", read_local_response_norm},
    {"Softmax", [](importer& in) { read_softmax(in, false); }},
    {"LogSoftmax", [](importer& in) { read_softmax(in, true); }},
};

}  // namespace ptq::onnx
