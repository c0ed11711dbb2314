#pragma once
// SPDX-License-Identifier: Apache-2.0
// The specification of every kernel, in scalar code that is meant to be read. Fast kernels are tested against these bit
// for bit; folding constants runs on them.

#include <ptq/kernels/reference/elementwise.hpp>
#include <ptq/kernels/reference/float_conv.hpp>
#include <ptq/kernels/reference/integer_conv.hpp>
#include <ptq/kernels/reference/move.hpp>
#include <ptq/kernels/reference/pool.hpp>
#include <ptq/kernels/reference/rows.hpp>
#include <ptq/kernels/reference/wide_conv.hpp>
#include <ptq/kernels/table.hpp>

namespace ptq::kernels {

template <class>
const kernel_table& reference_kernels() {
  static constexpr kernel_table table = {
      .isa = "reference",
      .qconv = reference::qconv,
      .qmatmul = reference::qmatmul,
      .quantize = reference::quantize,
      .dequantize = reference::dequantize,
      .lookup = reference::lookup,
      .qbinary = reference::qbinary,
      .qpool = reference::qpool,
      .conv = reference::conv,
      .matmul = reference::matmul,
      .unary = reference::unary,
      .binary = reference::binary,
      .pool = reference::pool,
      .softmax = reference::softmax,
      .layer_norm = reference::layer_norm,
      .reduce = reference::reduce,
      .copy = reference::copy,
      .wide_conv = reference::wide_conv,
      .wide_quantize = reference::wide_quantize,
      .wide_dequantize = reference::wide_dequantize,
  };
  return table;
}

}  // namespace ptq::kernels
