#pragma once
// SPDX-License-Identifier: Apache-2.0
// max(-1, 0) + max(2, 0) through graph, lower and execute, included by both files.

#include <ptq/ptq.hpp>

/// returns  2
inline float run_relu(const ptq::kernels::kernel_table& table) {
  ptq::graph g;
  ptq::value source, result;
  source.name = "x";
  source.dims = {2};
  source.shaped = true;
  result.name = "y";
  g.inputs = {g.add(source)};
  g.outputs = {g.add(result)};
  g.nodes.push_back(
      {"relu", ptq::op::unary{.kind = ptq::unary_kind::relu}, g.inputs, g.outputs, ""});
  const auto x = ptq::tensor::from<float>({2}, {-1.0f, 2.0f});
  const auto y = ptq::execute(ptq::lower(g, table), {&x, 1}).at(0);
  return y.view<float>()[0] + y.view<float>()[1];
}
