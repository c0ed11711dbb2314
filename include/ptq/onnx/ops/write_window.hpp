#pragma once
// SPDX-License-Identifier: Apache-2.0
// Export of convolutions, pools, reductions and searches.

#include <cstdint>
#include <string>
#include <string_view>

#include <ptq/onnx/exporter.hpp>
#include <ptq/onnx/ops/names.hpp>

namespace ptq::onnx {

inline void put_window(exporter& e, node_proto& p, const op::window& w) {
  using same = op::window::auto_pad;
  e.set(p, "kernel_shape", w.kernel);
  e.set(p, "strides", w.strides);
  if (w.same == same::none)
    e.set(p, "pads", w.pads);
  else
    e.set(p, "auto_pad",
          std::string_view(w.same == same::same_upper ? "SAME_UPPER" : "SAME_LOWER"));
}

inline bool dilated(const op::window& w) {
  for (auto d : w.dilations)
    if (d != 1) return true;
  return false;
}

inline void write(exporter& e, const node& n, const op::conv& c) {
  auto p = e.begin(n, "Conv");
  put_window(e, p, c.win);
  e.set(p, "dilations", c.win.dilations);
  e.set(p, "group", c.groups);
  e.end(n, std::move(p), c.act);
}

inline void write(exporter& e, const node& n, const op::conv_transpose& c) {
  auto p = e.begin(n, "ConvTranspose");
  put_window(e, p, c.win);
  e.set(p, "dilations", c.win.dilations);
  e.set(p, "group", c.groups);
  if (!c.output_padding.empty()) e.set(p, "output_padding", c.output_padding);
  if (!c.output_shape.empty()) e.set(p, "output_shape", c.output_shape);
  e.end(n, std::move(p), c.act);
}

inline void write(exporter& e, const node& n, const op::pool& o) {
  const std::string kind = o.kind == pool_kind::max       ? "MaxPool"
                           : o.kind == pool_kind::average ? "AveragePool"
                                                          : "LpPool";
  auto p = e.begin(n, o.global ? "Global" + kind : kind);
  if (!o.global) {
    put_window(e, p, o.win);
    if (dilated(o.win)) e.set(p, "dilations", o.win.dilations);
    e.flag(p, "ceil_mode", o.ceil_mode, false);
    e.flag(p, "count_include_pad", o.count_include_pad, false);
  }
  if (o.kind == pool_kind::lp) e.set(p, "p", o.p);
  e.end(n, std::move(p));
}

inline void write(exporter& e, const node& n, const op::reduce& r) {
  std::string_view op_type;
  for (const auto& row : reduce_names)
    if (row.kind == r.kind) op_type = row.op_type;
  const bool as_input = e.opset() >= (r.kind == reduce_kind::sum ? 13 : 18);
  auto p = e.bare(n, op_type);
  p.inputs = {e.operand(n.inputs[0])};
  if (n.inputs.size() > 1 && n.inputs[1] != none) {
    if (as_input) {
      p.inputs.push_back(e.operand(n.inputs[1]));
    } else {
      const auto axes = e.g.constant_of(n.inputs[1])->view<std::int64_t>();
      e.set(p, "axes", op::ints(axes.begin(), axes.end()));
    }
  }
  e.set(p, "keepdims", std::int64_t{r.keepdims});
  if (as_input) e.flag(p, "noop_with_empty_axes", r.noop_with_empty_axes, false);
  e.end(n, std::move(p));
}

inline void write(exporter& e, const node& n, const op::arg_reduce& a) {
  auto p = e.begin(n, a.max ? "ArgMax" : "ArgMin");
  e.set(p, "axis", a.axis);
  e.set(p, "keepdims", std::int64_t{a.keepdims});
  e.flag(p, "select_last_index", a.select_last, false);
  e.end(n, std::move(p));
}

inline void write(exporter& e, const node& n, const op::top_k& t) {
  auto p = e.begin(n, "TopK");
  e.set(p, "axis", t.axis);
  e.flag(p, "largest", t.largest, true);
  e.flag(p, "sorted", t.sorted, true);
  e.end(n, std::move(p));
}

inline void write(exporter& e, const node& n, const op::cumulative_sum& c) {
  auto p = e.begin(n, "CumSum");
  e.flag(p, "exclusive", c.exclusive, false);
  e.flag(p, "reverse", c.reverse, false);
  e.end(n, std::move(p));
}

}  // namespace ptq::onnx
