#pragma once
// SPDX-License-Identifier: Apache-2.0
// Which function reads which operator: the tables of the groups, one after the other. A new
// operator is a row there.

#include <span>
#include <string_view>

#include <ptq/onnx/ops/names.hpp>
#include <ptq/onnx/ops/read_control.hpp>
#include <ptq/onnx/ops/read_elementwise.hpp>
#include <ptq/onnx/ops/read_layout.hpp>
#include <ptq/onnx/ops/read_matrix.hpp>
#include <ptq/onnx/ops/read_quantized.hpp>
#include <ptq/onnx/ops/read_recurrent.hpp>
#include <ptq/onnx/ops/read_reduce.hpp>
#include <ptq/onnx/ops/read_shape.hpp>
#include <ptq/onnx/ops/read_window.hpp>

namespace ptq::onnx {

/// The function that reads `op_type` (with its domain and a dot before it unless that is ai.onnx),
/// or null.
inline auto reader_of(std::string_view op_type) -> void (*)(importer&) {
  static constexpr std::span<const read_row> groups[] = {elementwise_rows, window_rows, matrix_rows,
                                                         reduce_rows,      layout_rows, shape_rows,
                                                         quantized_rows,   recurrent_rows, control_rows};
  for (const auto group : groups)
    for (const auto& row : group)
      if (row.op_type == op_type) return row.read;
  for (const auto& row : unary_names)
    if (row.op_type == op_type) return read_unary;
  for (const auto& row : binary_names)
    if (row.op_type == op_type) return read_binary;
  for (const auto& row : reduce_names)
    if (row.op_type == op_type) return read_reduce;
  return nullptr;
}

}  // namespace ptq::onnx
