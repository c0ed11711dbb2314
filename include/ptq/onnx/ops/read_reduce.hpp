#pragma once
// SPDX-License-Identifier: Apache-2.0
// Import of reductions, searches and scans.

#include <cstdint>
#include <vector>

#include <ptq/onnx/importer.hpp>
#include <ptq/onnx/ops/names.hpp>

namespace ptq::onnx {

/// Axes are an attribute before opset 18 (ReduceSum: 13), an input from then on.
inline void read_reduce(importer& in) {
  for (const auto& row : reduce_names)
    if (row.op_type == in.source().op_type) {
      const int moved = row.kind == reduce_kind::sum ? 13 : 18;
      op::reduce r;
      r.kind = row.kind;
      r.keepdims = in.flag("keepdims", true);
      auto ids = in.inputs(1, in.opset() < moved ? 1 : 2);
      if (in.opset() < moved) {
        if (in.has("axes")) ids.push_back(in.make_indices("axes", in.integers("axes")));
      } else {
        r.noop_with_empty_axes = in.flag("noop_with_empty_axes", false);
      }
      in.emit(r, ids);
      return;
    }
}

inline void read_arg_reduce(importer& in, bool max) {
  in.emit(op::arg_reduce{max, in.integer("axis", 0), in.flag("keepdims", true),
                         in.flag("select_last_index", false)},
          in.inputs(1, 1), dtype::s64);
}

inline void read_top_k(importer& in) {
  op::top_k t;
  t.axis = in.integer("axis", -1);
  t.largest = in.flag("largest", true);
  t.sorted = in.flag("sorted", true);
  std::vector<value_id> ids = in.inputs(1, in.opset() < 10 ? 1 : 2);
  if (in.opset() < 10)
    ids.push_back(in.make_indices("k", {in.integer("k", 0)}));
  else
    in.required(1);
  in.only_outputs(2);
  const dtype type = in.g[ids[0]].type;
  const auto values = in.output(0, type);
  in.emit(t, ids, std::vector<value_id>{values, in.output(1, dtype::s64)});
}

inline void read_cumulative_sum(importer& in) {
  in.emit(op::cumulative_sum{in.flag("exclusive", false), in.flag("reverse", false)},
          in.inputs(2, 2));
}

inline void read_triangle(importer& in) {
  in.emit(op::triangle{in.flag("upper", true)}, in.inputs(1, 2));
}

inline constexpr read_row reduce_rows[] = {
    {"ArgMax", [](importer& in) { read_arg_reduce(in, true); }},
    {"ArgMin", [](importer& in) { read_arg_reduce(in, false); }},
    {"TopK", read_top_k},
    {"CumSum", read_cumulative_sum},
    {"Trilu", read_triangle},
};

}  // namespace ptq::onnx
