#pragma once
// SPDX-License-Identifier: Apache-2.0
// One node → its steps: the row that a new operator adds.
//
// Like the stages, the functions of this folder are templates on nothing: a program that takes lower from ptq::dispatch
// (ptq/compiled.hpp) does not compile them.

#include <ptq/lower/emit/control.hpp>
#include <ptq/lower/emit/conv.hpp>
#include <ptq/lower/emit/elementwise.hpp>
#include <ptq/lower/emit/index.hpp>
#include <ptq/lower/emit/matmul.hpp>
#include <ptq/lower/emit/move.hpp>
#include <ptq/lower/emit/pool.hpp>
#include <ptq/lower/emit/quantize.hpp>
#include <ptq/lower/emit/recurrent.hpp>

namespace ptq::lowering {

template <class... F>
struct overloaded : F... {
  using F::operator()...;
};
template <class... F> overloaded(F...) -> overloaded<F...>;

template <class = void>
void emit_node(emitter& e, const node& n, absorbed_nodes& absorbed) {
  e.begin(n);
  n.what.visit(overloaded{
      [&](const op::conv& o) { emit_conv(e, n, o, absorbed); },
      [&](const op::conv_transpose& o) { emit_conv_transpose(e, n, o); },
      [&](const op::matmul& o) { emit_matmul(e, n, o, absorbed); },
      [&](const op::batch_norm& o) { emit_batch_norm(e, n, o); },
      [&](const op::unary& o) { emit_unary(e, n, o); },
      [&](const op::binary& o) { emit_binary(e, n, o); },
      [&](const op::where&) { emit_where(e, n); },
      [&](const op::softmax& o) { emit_softmax(e, n, o); },
      [&](const op::pool& o) { emit_pool(e, n, o); },
      [&](const op::reduce& o) { emit_reduce(e, n, o); },
      [&](const op::arg_reduce& o) { emit_arg_reduce(e, n, o); },
      [&](const op::local_response_norm& o) { emit_local_response_norm(e, n, o); },
      [&](const op::layer_norm& o) { emit_layer_norm(e, n, o); },
      [&](const op::group_norm& o) { emit_group_norm(e, n, o); },
      [&](const op::concat& o) { emit_concat(e, n, o); },
      [&](const op::split& o) { emit_split(e, n, o); },
      [&](const op::slice&) { emit_slice(e, n); },
      [&](const op::gather& o) { emit_gather(e, n, o); },
      [&](const op::reshape&) { emit_reshape(e, n); },
      [&](const op::transpose& o) { emit_transpose(e, n, o); },
      [&](const op::expand&) { emit_expand(e, n); },
      [&](const op::tile&) { emit_tile(e, n); },
      [&](const op::pad& o) { emit_pad(e, n, o); },
      [&](const op::resize& o) { emit_resize(e, n, o); },
      [&](const op::depth_to_space& o) { emit_depth_to_space(e, n, o); },
      [&](const op::shape_of& o) { emit_shape_of(e, n, o); },
      [&](const op::constant_of_shape& o) { emit_constant_of_shape(e, n, o); },
      [&](const op::cast& o) { emit_cast(e, n, o); },
      [&](const op::range&) { emit_range(e, n); },
      [&](const op::identity&) { emit_identity(e, n); },
      [&](const op::quantize_linear& o) { emit_quantize_linear(e, n, o); },
      [&](const op::dequantize_linear& o) { emit_dequantize_linear(e, n, o); },
      [&](const op::top_k& o) { emit_top_k(e, n, o); },
      [&](const op::cumulative_sum& o) { emit_cumulative_sum(e, n, o); },
      [&](const op::triangle& o) { emit_triangle(e, n, o); },
      [&](const op::recurrent& o) { emit_recurrent(e, n, o); },
      [&](const op::control& o) { emit_control(e, n, o); },
  });
}

}  // namespace ptq::lowering
