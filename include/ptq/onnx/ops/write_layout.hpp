#pragma once
// SPDX-License-Identifier: Apache-2.0
// Export of operators that move elements, make them, or quantize.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include <ptq/onnx/exporter.hpp>
#include <ptq/onnx/ops/read_layout.hpp>

namespace ptq::onnx {

/// The word that a table of {word, enumerator} has for an enumerator.
template <class Enum, std::size_t N>
std::string_view word_of(const std::pair<std::string_view, Enum> (&table)[N], Enum v) {
  for (const auto& row : table)
    if (row.second == v) return row.first;
  return {};
}

inline void write(exporter& e, const node& n, const op::concat& c) {
  auto p = e.begin(n, "Concat");
  e.set(p, "axis", c.axis);
  e.end(n, std::move(p));
}

inline void write(exporter& e, const node& n, const op::split& s) {
  auto p = e.begin(n, "Split");
  e.set(p, "axis", s.axis);
  if (e.opset() >= 18 && p.inputs.size() < 2)
    e.set(p, "num_outputs", static_cast<std::int64_t>(n.outputs.size()));
  e.end(n, std::move(p));
}

inline void write(exporter& e, const node& n, const op::slice&) { e.end(n, e.begin(n, "Slice")); }

inline void write(exporter& e, const node& n, const op::gather& g) {
  using kind = op::gather::kind;
  const bool nd = g.what == kind::nd;
  auto p = e.begin(n, nd ? "GatherND" : g.what == kind::elements ? "GatherElements" : "Gather");
  if (nd)
    e.set(p, "batch_dims", g.batch_dims);
  else
    e.set(p, "axis", g.axis);
  e.end(n, std::move(p));
}

inline void write(exporter& e, const node& n, const op::reshape& r) {
  using kind = op::reshape::kind;
  static constexpr std::pair<std::string_view, kind> words[] = {{"Reshape", kind::to_shape},
                                                                {"Flatten", kind::flatten},
                                                                {"Squeeze", kind::squeeze},
                                                                {"Unsqueeze", kind::unsqueeze}};
  auto p = e.begin(n, word_of(words, r.what));
  if (r.what == kind::flatten) e.set(p, "axis", r.axis);
  if (r.what == kind::to_shape) e.flag(p, "allowzero", r.allow_zero, false);
  e.end(n, std::move(p));
}

inline void write(exporter& e, const node& n, const op::transpose& t) {
  auto p = e.begin(n, "Transpose");
  if (!t.perm.empty()) e.set(p, "perm", t.perm);
  e.end(n, std::move(p));
}

inline void write(exporter& e, const node& n, const op::expand&) { e.end(n, e.begin(n, "Expand")); }
inline void write(exporter& e, const node& n, const op::tile&) { e.end(n, e.begin(n, "Tile")); }
inline void write(exporter& e, const node& n, const op::range&) { e.end(n, e.begin(n, "Range")); }

inline void write(exporter& e, const node& n, const op::pad& o) {
  auto p = e.begin(n, "Pad");
  e.set(p, "mode", word_of(pad_modes, o.how));
  e.end(n, std::move(p));
}

inline void write(exporter& e, const node& n, const op::resize& r) {
  using namespace detail_layout;
  auto p = e.begin(n, "Resize");
  e.set(p, "mode", word_of(modes, r.how));
  e.set(p, "coordinate_transformation_mode", word_of(coordinates, r.at));
  e.set(p, "nearest_mode", word_of(roundings, r.near));
  if (r.how == resize::mode::cubic) e.set(p, "cubic_coeff_a", r.cubic_a);
  if (r.extrapolation != 0.0f) e.set(p, "extrapolation_value", r.extrapolation);
  e.flag(p, "exclude_outside", r.exclude_outside, false);
  e.flag(p, "antialias", r.antialias, false);
  if (!r.axes.empty()) e.set(p, "axes", r.axes);
  if (r.keep_aspect != resize::policy::stretch)
    e.set(p, "keep_aspect_ratio_policy", word_of(policies, r.keep_aspect));
  e.end(n, std::move(p));
}

inline void write(exporter& e, const node& n, const op::depth_to_space& d) {
  auto p = e.begin(n, d.inverse ? "SpaceToDepth" : "DepthToSpace");
  e.set(p, "blocksize", d.block);
  if (!d.inverse) e.set(p, "mode", std::string_view(d.column_row_depth ? "CRD" : "DCR"));
  e.end(n, std::move(p));
}

inline void write(exporter& e, const node& n, const op::shape_of& s) {
  auto p = e.begin(n, "Shape");
  if (s.start != 0) e.set(p, "start", s.start);
  if (s.end != op::shape_of{}.end) e.set(p, "end", s.end);
  e.end(n, std::move(p));
}

inline void write(exporter& e, const node& n, const op::constant_of_shape& c) {
  auto p = e.begin(n, "ConstantOfShape");
  if (!c.value.empty()) e.put(p, "value", attribute_tensor).t.push_back(e.proto_of(c.value, {}));
  e.end(n, std::move(p));
}

inline void write(exporter& e, const node& n, const op::triangle& t) {
  auto p = e.begin(n, "Trilu");
  e.set(p, "upper", std::int64_t{t.upper});
  e.end(n, std::move(p));
}

/// Its result's qparams are one more Q and DQ on the value that it reads.
inline void write(exporter& e, const node& n, const op::identity&) {
  const value_id y = n.outputs[0];
  if (!e.g[y].quant) return e.end(n, e.begin(n, "Identity"));
  e.finish(y, e.operand(n.inputs[0]), n.name);
}

inline void write(exporter& e, const node& n, const op::quantize_linear& q) {
  auto p = e.begin(n, "QuantizeLinear");
  e.set(p, "axis", q.axis);
  e.end(n, std::move(p));
}

inline bool same_parameters(const graph& g, const node& n, const qparams& q) {
  const tensor* scale = g.constant_of(n.inputs[1]);
  const bool has_zero_point = n.inputs.size() > 2 && n.inputs[2] != none;
  const tensor* zero = has_zero_point ? g.constant_of(n.inputs[2]) : nullptr;
  if (!scale || scale->type() != dtype::f32 || (has_zero_point && !zero)) return false;
  const auto s = scale->view<float>();
  if (!std::equal(s.begin(), s.end(), q.scale.begin(), q.scale.end())) return false;
  for (std::size_t i = 0; i < q.zero_point.size(); ++i)
    if ((zero ? quantization_merger::code(*zero, i) : 0) != q.zero_point[i]) return false;
  return true;
}

/// A result that carries the parameters of this very node is on that grid already: each reader gets
/// a DQ of the codes.
inline void write(exporter& e, const node& n, const op::dequantize_linear& d) {
  const value_id y = n.outputs[0];
  if (e.g[y].quant && same_parameters(e.g, n, *e.g[y].quant)) {
    const auto codes = e.operand(n.inputs[0]), scale = e.operand(n.inputs[1]);
    const auto zero = n.inputs.size() > 2 ? e.operand(n.inputs[2]) : std::string();
    return e.adopt(y, codes, scale, zero, n.name);
  }
  auto p = e.begin(n, "DequantizeLinear");
  e.set(p, "axis", d.axis);
  e.end(n, std::move(p));
}

}  // namespace ptq::onnx
