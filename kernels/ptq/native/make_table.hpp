#pragma once
// SPDX-License-Identifier: Apache-2.0
// The table of one ISA: every entry instantiated for its tag. A new kernel is one line here; an
// entry without a line falls back to the reference.

#include <ptq/kernels/table.hpp>
#include <ptq/native/conv.hpp>
#include <ptq/native/copy.hpp>
#include <ptq/native/elementwise.hpp>
#include <ptq/native/float_conv.hpp>
#include <ptq/native/float_gemm.hpp>
#include <ptq/native/isa.hpp>
#include <ptq/native/observe.hpp>
#include <ptq/native/pool.hpp>
#include <ptq/native/qelementwise.hpp>
#include <ptq/native/qmatmul.hpp>
#include <ptq/native/rows.hpp>
#include <ptq/native/wide_conv.hpp>
#include <ptq/native/wide_elementwise.hpp>
#include <ptq/native/winograd.hpp>

namespace ptq::native {

template <class Isa>
constexpr kernels::kernel_table make_table() {
  kernels::kernel_table t;
  t.isa = Isa::name;
  t.qconv = qconv<Isa>;
  t.qmatmul = qmatmul<Isa>;
  t.quantize = quantize<Isa>;
  t.dequantize = dequantize<Isa>;
  t.lookup = lookup<Isa>;
  t.qbinary = qbinary<Isa>;
  t.qpool = qpool<Isa>;
  t.conv = conv<Isa>;
  t.matmul = matmul<Isa>;
  t.unary = unary<Isa>;
  t.binary = binary<Isa>;
  t.pool = pool<Isa>;
  t.softmax = softmax<Isa>;
  t.layer_norm = layer_norm<Isa>;
  t.reduce = reduce<Isa>;
  t.copy = copy<Isa>;
  t.wide_conv = wide_conv<Isa>;
  t.wide_quantize = wide_quantize<Isa>;
  t.wide_dequantize = wide_dequantize<Isa>;
  if constexpr (Isa::fma) t.winograd_conv = winograd_conv<Isa>;
  t.observing = {observe<Isa>, count<Isa>};
  return t;
}

}  // namespace ptq::native
