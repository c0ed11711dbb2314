#pragma once
// SPDX-License-Identifier: Apache-2.0
// The members of kernels' arguments in a program's file, see save/fields.hpp. Pointers, spans and packed memory are no
// fields of a file: v skips them.

#include <ptq/core/dtype.hpp>
#include <ptq/core/kinds.hpp>
#include <ptq/core/numeric.hpp>
#include <ptq/kernels/args.hpp>
#include <ptq/lower/program.hpp>
#include <ptq/lower/recurrence.hpp>

namespace ptq::saving {

/// The last of an enumeration's values, all of which count from 0.
template <class Enum> inline constexpr Enum last_of = Enum{};
template <> inline constexpr dtype last_of<dtype> = dtype::f8e5m2;
template <> inline constexpr unary_kind last_of<unary_kind> = unary_kind::is_nan;
template <> inline constexpr binary_kind last_of<binary_kind> = binary_kind::logical_xor;
template <> inline constexpr pool_kind last_of<pool_kind> = pool_kind::lp;
template <> inline constexpr reduce_kind last_of<reduce_kind> = reduce_kind::sum_square;
template <> inline constexpr auto last_of<kernels::qbinary_args::kind> = kernels::qbinary_args::kind::mul;
template <> inline constexpr auto last_of<kernels::epilogue_function::kind> = kernels::epilogue_function::kind::hard_swish;
template <> inline constexpr auto last_of<storage::place> = storage::place::output;
template <> inline constexpr auto last_of<op::recurrent::cell> = op::recurrent::cell::lstm;
template <> inline constexpr auto last_of<op::recurrent::direction> = op::recurrent::direction::both;
template <> inline constexpr auto last_of<op::cell_function::kind> = op::cell_function::kind::softplus;

template <class V>
void visit(V& v, clamp& x) {
  auto& [low, high] = x;
  v(low, high);
}
template <class V>
void visit(V& v, add_rule& x) {
  auto& [first, second, constant, low, high] = x;
  v(first, second, constant, low, high);
}
template <class V>
void visit(V& v, kernels::conv_geometry& x) {
  auto& [batch, in_h, in_w, in_c, out_h, out_w, out_c, kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w,
         pad_top, pad_left, groups, src_stride, dst_stride] = x;
  v(batch, in_h, in_w, in_c, out_h, out_w, out_c, kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w,
    pad_top, pad_left, groups, src_stride, dst_stride);
}
template <class V>
void visit(V& v, kernels::epilogue_function& x) {
  auto& [what, alpha, scale] = x;
  v(what, alpha, scale);
}
template <class V>
void visit(V& v, kernels::int_epilogue& x) {
  auto& [multiplier, to_float, float_low, float_high, zero_point, low, high, add, sum, residual_first, function,
         amplifies] = x;
  v(multiplier, to_float, float_low, float_high, zero_point, low, high, add, sum, residual_first, function,
    amplifies);
}
template <class V>
void visit(V& v, kernels::broadcast& x) {
  auto& [rank, extent, a_stride, b_stride] = x;
  v(rank, extent, a_stride, b_stride);
}
template <class V>
void visit(V& v, kernels::qconv_args& x) {
  auto& [geometry, weights, bias, x_zero_point, epilogue, packed] = x;
  v(geometry, weights, bias, x_zero_point, epilogue, packed);
}
template <class V>
void visit(V& v, kernels::wide_conv_args& x) {
  auto& [geometry, weights, bias, x_type, x_zero_point, multiplier, y_type, float_low, float_high, zero_point, low,
         high, packed] = x;
  v(geometry, weights, bias, x_type, x_zero_point, multiplier, y_type, float_low, float_high, zero_point, low, high,
    packed);
}
template <class V>
void visit(V& v, kernels::qmatmul_args& x) {
  auto& [m, n, k, a_trans, b_trans, a_offset, b_offset, a_zero_point, b_zero_point, epilogue] = x;
  v(m, n, k, a_trans, b_trans, a_offset, b_offset, a_zero_point, b_zero_point, epilogue);
}
template <class V>
void visit(V& v, kernels::quantize_args& x) {
  auto& [size, scale, zero_point] = x;
  v(size, scale, zero_point);
}
template <class V>
void visit(V& v, kernels::dequantize_args& x) {
  auto& [size, scale, zero_point] = x;
  v(size, scale, zero_point);
}
template <class V>
void visit(V& v, kernels::lookup_args& x) {
  auto& [rows, columns, src_stride, dst_stride, table] = x;
  v(rows, columns, src_stride, dst_stride, table);
}
template <class V>
void visit(V& v, kernels::qbinary_args& x) {
  auto& [what, over, a_zero_point, b_zero_point, zero_point, low, high, multiplier, sum] = x;
  v(what, over, a_zero_point, b_zero_point, zero_point, low, high, multiplier, sum);
}
template <class V>
void visit(V& v, kernels::qpool_args& x) {
  auto& [average, geometry, count_include_pad, pad_bottom, pad_right, x_zero_point, zero_point, multiplier] = x;
  v(average, geometry, count_include_pad, pad_bottom, pad_right, x_zero_point, zero_point, multiplier);
}
template <class V>
void visit(V& v, kernels::conv_args& x) {
  auto& [geometry, weights, bias, act, packed] = x;
  v(geometry, weights, bias, act, packed);
}
template <class V>
void visit(V& v, kernels::matmul_args& x) {
  auto& [m, n, k, a_trans, b_trans, a_offset, b_offset, b, bias, act, packed] = x;
  v(m, n, k, a_trans, b_trans, a_offset, b_offset, b, bias, act, packed);
}
template <class V>
void visit(V& v, kernels::unary_args& x) {
  auto& [kind, alpha, beta, size] = x;
  v(kind, alpha, beta, size);
}
template <class V>
void visit(V& v, kernels::binary_args& x) {
  auto& [kind, over, act] = x;
  v(kind, over, act);
}
template <class V>
void visit(V& v, kernels::pool_args& x) {
  auto& [kind, geometry, count_include_pad, pad_bottom, pad_right, p] = x;
  v(kind, geometry, count_include_pad, pad_bottom, pad_right, p);
}
template <class V>
void visit(V& v, kernels::softmax_args& x) {
  auto& [outer, size, inner, log, normalized] = x;
  v(outer, size, inner, log, normalized);
}
template <class V>
void visit(V& v, kernels::layer_norm_args& x) {
  auto& [rows, size, epsilon, rms, scale, bias] = x;
  v(rows, size, epsilon, rms, scale, bias);
}
template <class V>
void visit(V& v, kernels::reduce_args& x) {
  auto& [kind, outer, size, inner] = x;
  v(kind, outer, size, inner);
}
template <class V>
void visit(V& v, kernels::copy_args& x) {
  auto& [element_bytes, rank, extent, src_stride, dst_stride, src_offset, dst_offset] = x;
  v(element_bytes, rank, extent, src_stride, dst_stride, src_offset, dst_offset);
}

}  // namespace ptq::saving
