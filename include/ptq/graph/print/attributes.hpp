#pragma once
// SPDX-License-Identifier: Apache-2.0
// The attributes of an operator as text, " key=value" each, those at their default left out.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string>

#include <ptq/graph/op.hpp>

namespace ptq::printing {

inline std::string number(float v) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", static_cast<double>(v));
  return text;
}

/// Collects " key=value" for attributes that are not at their default.
class attributes {
 public:
  std::string text;

  void add(const char* key, const std::string& v) { text += std::string(" ") + key + "=" + v; }
  void flag(const char* key, bool v) {
    if (v) text += std::string(" ") + key;
  }
  void add(const char* key, float v, float usual) {
    if (v != usual) add(key, number(v));
  }
  void add(const char* key, std::int64_t v, std::int64_t usual) {
    if (v != usual) add(key, std::to_string(v));
  }
  void add(const char* key, const op::ints& v, std::int64_t usual) {
    if (!std::all_of(v.begin(), v.end(), [&](auto e) { return e == usual; }))
      add(key, shape(v).text());
  }
  void add(const clamp& c) {
    if (c.active()) add("clamp", "[" + number(c.low) + "," + number(c.high) + "]");
  }
  void add(const op::window& w) {
    add("strides", w.strides, 1);
    add("dilations", w.dilations, 1);
    add("pads", w.pads, 0);
    if (w.same == op::window::auto_pad::same_upper) add("auto_pad", "same_upper");
    if (w.same == op::window::auto_pad::same_lower) add("auto_pad", "same_lower");
  }
};

inline void describe(attributes& a, const op::conv& o) {
  a.add(o.win);
  a.add("groups", o.groups, 1);
  a.add(o.act);
}
inline void describe(attributes& a, const op::conv_transpose& o) {
  a.add(o.win);
  a.add("groups", o.groups, 1);
  a.add("output_padding", o.output_padding, 0);
  if (!o.output_shape.empty()) a.add("output_shape", shape(o.output_shape).text());
  a.add(o.act);
}
inline void describe(attributes& a, const op::matmul& o) {
  a.flag("trans_a", o.trans_a);
  a.flag("trans_b", o.trans_b);
  a.add(o.act);
}
inline void describe(attributes& a, const op::batch_norm& o) {
  a.add("epsilon", o.epsilon, op::batch_norm{}.epsilon);
}
inline void describe(attributes& a, const op::unary& o) {
  if (o.kind == unary_kind::gelu_tanh) a.add("approximate", "tanh");
  a.add("alpha", o.alpha, 0.0f);
  a.add("beta", o.beta, 0.0f);
}
inline void describe(attributes& a, const op::binary& o) {
  a.flag("fmod", o.kind == binary_kind::fmod);
  a.add(o.act);
}
inline void describe(attributes& a, const op::softmax& o) {
  a.add("axis", o.axis, -1);
  a.flag("flattened", o.flattened);
  a.flag("not_normalized", !o.normalized);
}
inline void describe(attributes& a, const op::pool& o) {
  if (!o.global) {
    a.add("kernel", shape(o.win.kernel).text());
    a.add(o.win);
  }
  a.flag("ceil_mode", o.ceil_mode);
  a.flag("count_include_pad", o.count_include_pad);
  a.add("p", o.p, 2);
}
inline void describe(attributes& a, const op::reduce& o) {
  a.flag("drop_dims", !o.keepdims);
  a.flag("noop_with_empty_axes", o.noop_with_empty_axes);
}
inline void describe(attributes& a, const op::arg_reduce& o) {
  a.add("axis", o.axis, 0);
  a.flag("drop_dims", !o.keepdims);
  a.flag("select_last", o.select_last);
}
inline void describe(attributes& a, const op::local_response_norm& o) {
  a.add("alpha", number(o.alpha));
  a.add("beta", number(o.beta));
  a.add("bias", number(o.bias));
  a.add("size", std::to_string(o.size));
}
inline void describe(attributes& a, const op::layer_norm& o) {
  a.add("axis", o.axis, -1);
  a.add("epsilon", o.epsilon, op::layer_norm{}.epsilon);
}
inline void describe(attributes& a, const op::group_norm& o) {
  a.add("groups", o.groups, 0);
  a.add("epsilon", o.epsilon, op::group_norm{}.epsilon);
}
inline void describe(attributes& a, const op::concat& o) { a.add("axis", std::to_string(o.axis)); }
inline void describe(attributes& a, const op::split& o) { a.add("axis", std::to_string(o.axis)); }
inline void describe(attributes& a, const op::gather& o) {
  a.add("axis", o.axis, 0);
  a.add("batch_dims", o.batch_dims, 0);
}
inline void describe(attributes& a, const op::reshape& o) {
  a.flag("allow_zero", o.allow_zero);
  if (o.what == op::reshape::kind::flatten) a.add("axis", o.axis, 1);
}
inline void describe(attributes& a, const op::transpose& o) { a.add("perm", shape(o.perm).text()); }
inline void describe(attributes& a, const op::pad& o) {
  constexpr const char* modes[] = {"constant", "reflect", "edge", "wrap"};
  if (o.how != op::pad::mode::constant) a.add("mode", modes[static_cast<std::size_t>(o.how)]);
}
inline void describe(attributes& a, const op::resize& o) {
  constexpr const char* modes[] = {"nearest", "linear", "cubic"};
  constexpr const char* places[] = {"half_pixel",    "half_pixel_symmetric", "pytorch_half_pixel",
                                    "align_corners", "asymmetric",           "tf_crop_and_resize"};
  constexpr const char* roundings[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"};
  constexpr const char* policies[] = {"stretch", "not_larger", "not_smaller"};
  a.add("mode", modes[static_cast<std::size_t>(o.how)]);
  a.add("at", places[static_cast<std::size_t>(o.at)]);
  if (o.near != op::resize::rounding::round_prefer_floor)
    a.add("near", roundings[static_cast<std::size_t>(o.near)]);
  if (o.keep_aspect != op::resize::policy::stretch)
    a.add("keep_aspect", policies[static_cast<std::size_t>(o.keep_aspect)]);
  a.add("cubic_a", o.cubic_a, op::resize{}.cubic_a);
  a.add("extrapolation", o.extrapolation, 0.0f);
  a.flag("exclude_outside", o.exclude_outside);
  a.flag("antialias", o.antialias);
  if (!o.axes.empty()) a.add("axes", shape(o.axes).text());
}
inline void describe(attributes& a, const op::depth_to_space& o) {
  a.add("block", std::to_string(o.block));
  a.flag("crd", o.column_row_depth);
}
inline void describe(attributes& a, const op::shape_of& o) {
  a.add("start", o.start, 0);
  a.add("end", o.end, op::shape_of{}.end);
}
inline void describe(attributes& a, const op::cast& o) { a.add("to", name_of(o.to)); }
inline void describe(attributes& a, const op::quantize_linear& o) { a.add("axis", o.axis, 1); }
inline void describe(attributes& a, const op::dequantize_linear& o) { a.add("axis", o.axis, 1); }
inline void describe(attributes& a, const op::top_k& o) {
  a.add("axis", o.axis, -1);
  a.flag("smallest", !o.largest);
  a.flag("unsorted", !o.sorted);
}
inline void describe(attributes& a, const op::cumulative_sum& o) {
  a.flag("exclusive", o.exclusive);
  a.flag("reverse", o.reverse);
}
inline void describe(attributes& a, const op::triangle& o) { a.flag("lower", !o.upper); }
inline void describe(attributes& a, const op::recurrent& o) {
  constexpr const char* functions[] = {"sigmoid", "tanh", "relu", "affine", "leaky_relu", "thresholded_relu",
                                       "scaled_tanh", "hard_sigmoid", "elu", "softsign", "softplus"};
  std::string list;
  for (const auto& f : o.functions) {
    list += (list.empty() ? "" : ",") + std::string(functions[static_cast<std::size_t>(f.what)]);
    if (f.alpha != 0 || f.beta != 0) list += "(" + number(f.alpha) + "," + number(f.beta) + ")";
  }
  a.add("functions", list);
  if (o.way == op::recurrent::direction::reverse) a.flag("reverse", true);
  if (o.way == op::recurrent::direction::both) a.flag("both_ways", true);
  a.add("clip", o.clip, 0.0f);
  a.flag("linear_before_reset", o.linear_before_reset);
  a.flag("input_forget", o.input_forget);
  a.flag("batch_first", o.batch_first);
}
inline void describe(attributes& a, const op::control& o) { a.add("carried", o.carried, 0); }
template <class Op>
void describe(attributes&, const Op&) {}  // where, slice, expand, …: no attributes

}  // namespace ptq::printing
