#pragma once
// SPDX-License-Identifier: Apache-2.0
// A graph as text: one line per input, constant and node, in order. Made for golden tests of passes
// and for a reader's eye; every attribute that differs from its default shows, so that two graphs
// with one text do the same (weights aside).
//
//   input x f32[?,3,8,8]
//   const w f32[4,3,3,3]
//   conv1: y f32[?,4,6,6] = Conv(x, w) clamp=[0,inf]
//   output y

#include <cstdint>
#include <string>
#include <type_traits>
#include <variant>

#include <ptq/graph/graph.hpp>
#include <ptq/graph/print/attributes.hpp>

namespace ptq {

/// The ONNX name of an operator: family and kind, e.g. "Conv", "Relu", "GlobalAveragePool".
inline const char* op_name(const operation& what);

/// The graph as text, one line per input, constant, node and output.
inline std::string print(const graph& g);

// -------------------------------------------------------------------------------------------------

namespace printing {

inline const char* name(unary_kind k) {
  constexpr const char* names[] = {"Relu",     "Clip",        "LeakyRelu", "ThresholdedRelu",
                                   "Sigmoid",  "HardSigmoid", "HardSwish", "Swish",
                                   "Mish",     "Gelu",        "Gelu",      "Tanh",
                                   "Elu",      "Selu",        "Celu",      "Softplus",
                                   "Softsign", "Erf",         "Exp",       "Log",
                                   "Sqrt",     "Reciprocal",  "Neg",       "Abs",
                                   "Floor",    "Ceil",        "Round",     "Sign",
                                   "Sin",      "Cos",         "Not",       "IsNaN"};
  return names[static_cast<std::size_t>(k)];
}

inline const char* name(binary_kind k) {
  constexpr const char* names[] = {"Add",
                                   "Sub",
                                   "Mul",
                                   "Div",
                                   "Pow",
                                   "Min",
                                   "Max",
                                   "Mod",
                                   "Mod",
                                   "PRelu",
                                   "Equal",
                                   "Greater",
                                   "GreaterOrEqual",
                                   "Less",
                                   "LessOrEqual",
                                   "And",
                                   "Or",
                                   "Xor"};
  return names[static_cast<std::size_t>(k)];
}

inline const char* name(reduce_kind k) {
  constexpr const char* names[] = {"ReduceMean",      "ReduceSum",      "ReduceMax", "ReduceMin",
                                   "ReduceProd",      "ReduceL1",       "ReduceL2",  "ReduceLogSum",
                                   "ReduceLogSumExp", "ReduceSumSquare"};
  return names[static_cast<std::size_t>(k)];
}

inline const char* name(const op::pool& p) {
  switch (p.kind) {
    case pool_kind::max:
      return p.global ? "GlobalMaxPool" : "MaxPool";
    case pool_kind::average:
      return p.global ? "GlobalAveragePool" : "AveragePool";
    default:
      return p.global ? "GlobalLpPool" : "LpPool";
  }
}

inline const char* name(const op::reshape& r) {
  constexpr const char* names[] = {"Reshape", "Flatten", "Squeeze", "Unsqueeze"};
  return names[static_cast<std::size_t>(r.what)];
}

inline const char* name(const op::gather& r) {
  constexpr const char* names[] = {"Gather", "GatherElements", "GatherND"};
  return names[static_cast<std::size_t>(r.what)];
}

struct namer {
  const char* operator()(const op::conv&) const { return "Conv"; }
  const char* operator()(const op::conv_transpose&) const { return "ConvTranspose"; }
  const char* operator()(const op::matmul&) const { return "MatMul"; }
  const char* operator()(const op::batch_norm&) const { return "BatchNormalization"; }
  const char* operator()(const op::unary& o) const { return name(o.kind); }
  const char* operator()(const op::binary& o) const { return name(o.kind); }
  const char* operator()(const op::where&) const { return "Where"; }
  const char* operator()(const op::softmax& o) const { return o.log ? "LogSoftmax" : "Softmax"; }
  const char* operator()(const op::pool& o) const { return name(o); }
  const char* operator()(const op::reduce& o) const { return name(o.kind); }
  const char* operator()(const op::arg_reduce& o) const { return o.max ? "ArgMax" : "ArgMin"; }
  const char* operator()(const op::local_response_norm&) const { return "LRN"; }
  const char* operator()(const op::layer_norm& o) const {
    return o.rms ? "RMSNormalization" : "LayerNormalization";
  }
  const char* operator()(const op::group_norm& o) const {
    return o.groups == 0 ? "InstanceNormalization" : "GroupNormalization";
  }
  const char* operator()(const op::concat&) const { return "Concat"; }
  const char* operator()(const op::split&) const { return "Split"; }
  const char* operator()(const op::slice&) const { return "Slice"; }
  const char* operator()(const op::gather& o) const { return name(o); }
  const char* operator()(const op::reshape& o) const { return name(o); }
  const char* operator()(const op::transpose&) const { return "Transpose"; }
  const char* operator()(const op::expand&) const { return "Expand"; }
  const char* operator()(const op::tile&) const { return "Tile"; }
  const char* operator()(const op::pad&) const { return "Pad"; }
  const char* operator()(const op::resize&) const { return "Resize"; }
  const char* operator()(const op::depth_to_space& o) const {
    return o.inverse ? "SpaceToDepth" : "DepthToSpace";
  }
  const char* operator()(const op::shape_of&) const { return "Shape"; }
  const char* operator()(const op::constant_of_shape&) const { return "ConstantOfShape"; }
  const char* operator()(const op::cast&) const { return "Cast"; }
  const char* operator()(const op::range&) const { return "Range"; }
  const char* operator()(const op::identity&) const { return "Identity"; }
  const char* operator()(const op::quantize_linear&) const { return "QuantizeLinear"; }
  const char* operator()(const op::dequantize_linear&) const { return "DequantizeLinear"; }
  const char* operator()(const op::top_k&) const { return "TopK"; }
  const char* operator()(const op::cumulative_sum&) const { return "CumSum"; }
  const char* operator()(const op::triangle&) const { return "Trilu"; }
  const char* operator()(const op::control& o) const {
    return o.what == op::control::kind::branch ? "If" : "Loop";
  }
  const char* operator()(const op::recurrent& o) const {
    constexpr const char* names[] = {"RNN", "GRU", "LSTM"};
    return names[static_cast<std::size_t>(o.what)];
  }
};

/// "name f32[1,3] q=u8(0.05,128)"
inline std::string text(const value& v) {
  std::string s = v.name + " " + name_of(v.type) + (v.shaped ? v.dims.text() : "[...]");
  if (!v.quant) return s;
  const auto& q = *v.quant;
  s += std::string(" q=") + name_of(q.type) + "(";
  s += q.scale.empty() ? "" : number(q.scale[0]);
  if (!q.zero_point.empty()) s += "," + std::to_string(q.zero_point[0]);
  if (q.per_channel()) s += ",… axis=" + std::to_string(q.axis);
  return s + ")";
}

/// Small constants show their elements: shapes, axes, scalars.
template <class T>
std::string elements(const tensor& t) {
  std::string s = " = ";
  bool first = true;
  for (T e : t.view<T>()) {
    if (!first) s += ',';
    first = false;
    if constexpr (std::is_same_v<T, float>) {
      s += number(e);
    } else {
      s += std::to_string(e);
    }
  }
  return s;
}

inline std::string elements(const tensor& t) {
  constexpr std::int64_t most_shown = 8;
  if (t.empty() || t.size() > most_shown) return "";
  switch (t.type()) {
    case dtype::f32:
      return elements<float>(t);
    case dtype::s64:
      return elements<std::int64_t>(t);
    case dtype::s32:
      return elements<std::int32_t>(t);
    default:
      return "";
  }
}

/// A body, set off from what is around it.
inline std::string indented(const std::string& lines) {
  std::string s = "  {\n    ";
  for (char c : lines) s += c == '\n' ? std::string("\n    ") : std::string(1, c);
  s.resize(s.size() - 4);
  return s + "  }\n";
}

}  // namespace printing

inline const char* op_name(const operation& what) { return what.visit(printing::namer{}); }

inline std::string print(const graph& g) {
  std::string s;
  for (auto id : g.inputs) s += "input " + printing::text(g[id]) + "\n";
  for (const auto& v : g.values)
    if (v.constant) s += "const " + printing::text(v) + printing::elements(*v.constant) + "\n";
  const auto list = [&](const std::vector<value_id>& ids, auto&& text_of) {
    std::string t;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (i) t += ", ";
      t += ids[i] == none ? "-" : text_of(g[ids[i]]);
    }
    return t;
  };
  for (const auto& n : g.nodes) {
    printing::attributes a;
    n.what.visit([&](const auto& o) { printing::describe(a, o); });
    s += n.name + ": " + list(n.outputs, [](const value& v) { return printing::text(v); }) + " = " +
         op_name(n.what) + "(" + list(n.inputs, [](const value& v) { return v.name; }) + ")" +
         a.text + "\n";
    if (const auto* c = std::get_if<op::control>(&n.what))
      for (const auto& b : c->bodies) s += printing::indented(print(*b));
  }
  for (auto id : g.outputs) s += "output " + g[id].name + "\n";
  return s;
}

}  // namespace ptq
