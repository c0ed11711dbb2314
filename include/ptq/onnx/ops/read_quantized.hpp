#pragma once
// SPDX-License-Identifier: Apache-2.0
// Import of quantized operators. QuantizeLinear and DequantizeLinear come in as nodes, which
// merge_quantization then turns into qparams. Operators on codes (QLinearConv …) are written out as
// what they stand for: dequantized inputs, the real operator, a quantized result.

#include <cstdint>
#include <string>
#include <vector>

#include <ptq/onnx/importer.hpp>
#include <ptq/onnx/ops/read_matrix.hpp>
#include <ptq/onnx/ops/read_window.hpp>

namespace ptq::onnx {

/// Type of codes: that of the zero point, u8 without one.
inline dtype code_type(importer& in, value_id zero_point) {
  return zero_point == none ? dtype::u8 : in.g[zero_point].type;
}

inline void refuse_blocks(importer& in) {
  if (in.integer("block_size", 0) != 0)
    in.not_supported("block_size " + std::to_string(in.integer("block_size", 0)));
}

inline void read_quantize(importer& in) {
  refuse_blocks(in);
  if (!in.flag("saturate", true)) in.not_supported("saturate = 0");
  auto ids = in.inputs(2, 3);
  if (ids.size() == 2) {
    dtype to = dtype::u8;
    const auto onnx = in.integer("output_dtype", 0);
    if (onnx != 0 && (onnx < 0 || onnx > 0xffff ||
                      !core_type(static_cast<std::int32_t>(onnx), to) || to == dtype::f32))
      in.not_supported("output_dtype " + std::to_string(onnx));
    const tensor* scale = in.constant(1);
    if (to != dtype::u8) {
      if (!scale) in.not_supported("output_dtype with a scale that is no constant");
      ids.push_back(in.make_constant(in.node_name() + "_zero_point", tensor(to, scale->dims())));
    }
  }
  const auto zero_point = ids.size() > 2 ? ids[2] : none;
  in.emit(op::quantize_linear{in.integer("axis", 1)}, ids, code_type(in, zero_point));
}

inline void read_dequantize(importer& in) {
  refuse_blocks(in);
  const auto ids = in.inputs(2, 3);
  const auto y = in.emit(op::dequantize_linear{in.integer("axis", 1)}, ids, dtype::f32);
  if (in.g[ids[0]].shaped) {  // weights: Conv asks for their extents
    in.g[y].dims = in.g[ids[0]].dims;
    in.g[y].shaped = true;
  }
}

namespace detail_quantized {

/// Position of a value's codes, scale and zero point among the inputs.
struct triple {
  std::size_t codes, scale, zero_point;
};

inline value_id real_of(importer& in, triple at, std::int64_t axis, const char* what) {
  const auto q = in.required(at.codes);
  const auto y = in.emit_inner(what, op::dequantize_linear{axis},
                               {q, in.required(at.scale), in.input(at.zero_point)});
  in.g[y].type = dtype::f32;
  in.g[y].dims = in.g[q].dims;
  in.g[y].shaped = in.g[q].shaped;
  return y;
}

/// The real result `y`, quantized to the node's output.
inline void put_codes(importer& in, value_id y, std::size_t scale, std::size_t zero_point) {
  in.g[y].type = dtype::f32;
  const auto z = in.input(zero_point);
  in.emit(op::quantize_linear{1}, {y, in.required(scale), z}, code_type(in, z));
}

/// Bias of codes s32 with the scale that QLinearConv implies: sx · sw, zero point 0.
inline value_id real_bias(importer& in, std::size_t bias, std::size_t x_scale,
                          std::size_t w_scale) {
  const auto b = in.input(bias);
  if (b == none) return none;
  const tensor* sx = in.constant(x_scale);
  const tensor* sw = in.constant(w_scale);
  if (!sx || !sw || sx->type() != dtype::f32 || sw->type() != dtype::f32 || sx->size() != 1)
    in.not_supported("a bias whose scales are no constants");
  tensor s = *sw;
  for (auto& e : s.mutable_view<float>()) e *= sx->view<float>()[0];
  const auto scale = in.make_constant(in.g[b].name + "_scale", std::move(s));
  const auto y = in.emit_inner("bias", op::dequantize_linear{0}, {b, scale});
  in.g[y].type = dtype::f32;
  return y;
}

}  // namespace detail_quantized

/// x, sx, zx, w, sw, zw, sy, zy, [bias s32]
inline void read_qlinear_conv(importer& in) {
  using namespace detail_quantized;
  in.inputs(8, 9);
  const auto x = real_of(in, {0, 1, 2}, 1, "x");
  const auto w = real_of(in, {3, 4, 5}, 0, "w");
  const auto b = real_bias(in, 8, 1, 4);
  op::conv c;
  c.win = read_window(in, &in.g[w]);
  if (c.win.same != op::window::auto_pad::none) detail_window::resolve_same(c.win, in.g[x]);
  c.groups = read_groups(in);
  put_codes(in, in.emit_inner("real", c, {x, w, b}), 6, 7);
}

/// a, sa, za, b, sb, zb, sy, zy
inline void read_qlinear_matmul(importer& in) {
  using namespace detail_quantized;
  in.inputs(8, 8);
  const tensor* row_scale = in.constant(1);
  if (row_scale && row_scale->size() != 1) in.not_supported("a scale per row of the left side");
  const auto a = real_of(in, {0, 1, 2}, 1, "a");
  const auto b = real_of(in, {3, 4, 5}, 1, "b");
  put_codes(in, in.emit_inner("real", op::matmul{}, {a, b}), 6, 7);
}

/// com.microsoft: a, sa, za, b, sb, zb, sy, zy
inline void read_qlinear_binary(importer& in, binary_kind kind) {
  using namespace detail_quantized;
  in.inputs(7, 8);
  const auto a = real_of(in, {0, 1, 2}, 1, "a");
  const auto b = real_of(in, {3, 4, 5}, 1, "b");
  put_codes(in, in.emit_inner("real", op::binary{kind, {}}, {a, b}), 6, 7);
}

/// com.microsoft: x, sx, zx, sy, zy
inline void read_qlinear_unary(importer& in, operation what) {
  using namespace detail_quantized;
  in.inputs(4, 5);
  const auto x = real_of(in, {0, 1, 2}, 1, "x");
  put_codes(in, in.emit_inner("real", std::move(what), {x}), 3, 4);
}

inline void read_qlinear_global_pool(importer& in) {
  if (in.flag("channels_last", false)) in.not_supported("channels_last = 1");
  op::pool p;
  p.kind = pool_kind::average;
  p.global = true;
  read_qlinear_unary(in, p);
}

/// com.microsoft: sy, zy, then codes, scale and zero point of each input
inline void read_qlinear_concat(importer& in) {
  using namespace detail_quantized;
  const auto n = in.input_count();
  if (n < 5 || n % 3 != 2) in.fail("inputs: expected 2 + 3 n, got " + std::to_string(n));
  std::vector<value_id> parts;
  for (std::size_t i = 2; i < n; i += 3) parts.push_back(real_of(in, {i, i + 1, i + 2}, 1, "part"));
  put_codes(in, in.emit_inner("real", op::concat{in.integer("axis", 0)}, parts), 0, 1);
}

inline constexpr read_row quantized_rows[] = {
    {"QuantizeLinear", read_quantize},
    {"DequantizeLinear", read_dequantize},
    {"QLinearConv", read_qlinear_conv},
    {"QLinearMatMul", read_qlinear_matmul},
    {"com.microsoft.QLinearAdd", [](importer& in) { read_qlinear_binary(in, binary_kind::add); }},
    {"com.microsoft.QLinearMul", [](importer& in) { read_qlinear_binary(in, binary_kind::mul); }},
    {"com.microsoft.QLinearSigmoid",
     [](importer& in) { read_qlinear_unary(in, op::unary{unary_kind::sigmoid}); }},
    {"com.microsoft.QLinearLeakyRelu",
     [](importer& in) {
       read_qlinear_unary(in, op::unary{unary_kind::leaky_relu, in.real("alpha", 0.01f)});
     }},
    {"com.microsoft.QLinearGlobalAveragePool", read_qlinear_global_pool},
    {"com.microsoft.QLinearConcat", read_qlinear_concat},
    // ONNX Runtime writes Q and DQ of 16-bit codes in its own domain before opset 21.
    {"com.microsoft.QuantizeLinear", read_quantize},
    {"com.microsoft.DequantizeLinear", read_dequantize},
};

}  // namespace ptq::onnx
