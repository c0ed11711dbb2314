#pragma once
// SPDX-License-Identifier: Apache-2.0
// Functions that read what a layer sums up before it is rounded: one rounding behind LeakyRelu or HardSwish
// in place of one on either side, and no pass over memory for the function. Only where that costs no time:
// where the layer's store computes the function, or where it runs in float as it is.

#include <set>
#include <string>
#include <variant>

#include <ptq/graph/graph.hpp>
#include <ptq/kernels/args.hpp>
#include <ptq/quantize/in_sequence.hpp>

namespace ptq::recovering {

/// What integer layers yield as codes, and one function alone reads that needs none.
///
/// q  quantized
inline std::set<std::string> sums_before_functions(const graph& q) {
  std::set<std::string> found;
  const uses edges(q);
  for (const auto& n : q.nodes) {
    const auto* f = std::get_if<op::unary>(&n.what);
    if (!f || !q[n.inputs[0]].quant || !edges.single_consumer(n.inputs[0])) continue;
    const auto layer = edges.producer[static_cast<std::size_t>(n.inputs[0])];
    if (layer < 0) continue;
    const auto& made_by = q.nodes[static_cast<std::size_t>(layer)];
    if (!quantization::is_integer_layer(q, made_by)) continue;
    if (!q[n.outputs[0]].quant || kernels::in_epilogue(f->kind, f->alpha)) found.insert(q[n.inputs[0]].name);
  }
  return found;
}

}  // namespace ptq::recovering
