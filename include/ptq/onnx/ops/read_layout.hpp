#pragma once
// SPDX-License-Identifier: Apache-2.0
// Import of operators that move elements: reshapes, transposes, joins, cuts, look-ups, padding,
// resizing. Attributes that became inputs in a later opset become constant inputs here.

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <ptq/onnx/importer.hpp>

namespace ptq::onnx {

inline void read_reshape(importer& in) {
  op::reshape r;
  r.allow_zero = in.flag("allowzero", false);
  in.emit(r, in.inputs(2, 2));
}

inline void read_flatten(importer& in) {
  op::reshape r{op::reshape::kind::flatten, false, in.integer("axis", 1)};
  in.emit(r, in.inputs(1, 1));
}

inline void read_squeeze(importer& in, op::reshape::kind kind) {
  const bool squeeze = kind == op::reshape::kind::squeeze;
  op::reshape r;
  r.what = kind;
  auto ids = in.inputs(in.opset() < 13 || squeeze ? 1 : 2, in.opset() < 13 ? 1 : 2);
  if (in.opset() < 13) {
    if (in.has("axes"))
      ids.push_back(in.make_indices("axes", in.integers("axes")));
    else if (!squeeze)
      in.fail("axes: expected a list, got none");
  }
  in.emit(r, ids);
}

inline void read_transpose(importer& in) {
  in.emit(op::transpose{in.integers("perm")}, in.inputs(1, 1));
}

inline void read_concat(importer& in) {
  const auto ids = in.inputs(1, std::numeric_limits<std::size_t>::max());
  for (auto id : ids)
    if (id == none) in.fail("inputs: expected a value at every position");
  if (!in.has("axis")) in.fail("axis: expected a value, got none");
  in.emit(op::concat{in.integer("axis", 0)}, ids);
}

inline void read_split(importer& in) {
  auto ids = in.inputs(1, in.opset() < 13 ? 1 : 2);
  if (in.opset() < 13 && in.has("split"))
    ids.push_back(in.make_indices("split", in.integers("split")));
  const auto parts =
      in.integer("num_outputs", static_cast<std::int64_t>(in.source().outputs.size()));
  if (parts != static_cast<std::int64_t>(in.source().outputs.size()))
    in.fail("num_outputs: expected " + std::to_string(in.source().outputs.size()) +
            " as there are outputs, got " + std::to_string(parts));
  if (parts == 0) in.fail("outputs: expected at least 1, got none");
  std::vector<value_id> out;
  const dtype type = in.g[ids[0]].type;
  for (std::size_t i = 0; i < in.source().outputs.size(); ++i) {
    // A part that nobody reads still takes its share of the axis.
    const bool named = !in.source().outputs[i].empty();
    out.push_back(named ? in.output(i, type) : in.make_value(in.node_name() + "_part", type));
  }
  in.emit(op::split{in.integer("axis", 0)}, ids, out);
}

inline void read_slice(importer& in) {
  if (in.opset() >= 10) {
    in.emit(op::slice{}, in.inputs(3, 5));
    return;
  }
  auto ids = in.inputs(1, 1);
  ids.push_back(in.make_indices("starts", in.integers("starts")));
  ids.push_back(in.make_indices("ends", in.integers("ends")));
  if (in.has("axes")) ids.push_back(in.make_indices("axes", in.integers("axes")));
  in.emit(op::slice{}, ids);
}

inline void read_gather(importer& in, op::gather::kind kind) {
  op::gather g;
  g.what = kind;
  g.axis = in.integer("axis", 0);
  g.batch_dims = in.integer("batch_dims", 0);
  in.emit(g, in.inputs(2, 2));
}

inline void read_expand(importer& in) { in.emit(op::expand{}, in.inputs(2, 2)); }
inline void read_tile(importer& in) { in.emit(op::tile{}, in.inputs(2, 2)); }

inline constexpr std::pair<std::string_view, op::pad::mode> pad_modes[] = {
    {"constant", op::pad::mode::constant},
    {"reflect", op::pad::mode::reflect},
    {"edge", op::pad::mode::edge},
    {"wrap", op::pad::mode::wrap}};

inline void read_pad(importer& in) {
  op::pad p;
  p.how = in.word("mode", op::pad::mode::constant, pad_modes);
  if (in.opset() >= 11) {
    in.emit(p, in.inputs(2, in.opset() < 18 ? 3 : 4));
    return;
  }
  auto ids = in.inputs(1, 1);
  ids.push_back(in.make_indices("pads", in.integers("pads")));
  if (const float fill = in.real("value", 0.0f); fill != 0.0f)
    ids.push_back(in.make_constant(in.node_name() + "_value", tensor::scalar(fill)));
  in.emit(p, ids);
}

inline void read_depth_to_space(importer& in, bool inverse) {
  op::depth_to_space d;
  d.block = in.integer("blocksize", 0);
  if (d.block < 1 || d.block > (1 << 16))
    in.fail("blocksize: expected >= 1, got " + std::to_string(d.block));
  d.inverse = inverse;
  static constexpr std::pair<std::string_view, bool> words[] = {{"DCR", false}, {"CRD", true}};
  d.column_row_depth = in.word("mode", false, words);
  in.emit(d, in.inputs(1, 1));
}

namespace detail_layout {

using resize = op::resize;

inline constexpr std::pair<std::string_view, resize::mode> modes[] = {
    {"nearest", resize::mode::nearest},
    {"linear", resize::mode::linear},
    {"bilinear", resize::mode::linear},
    {"cubic", resize::mode::cubic}};
inline constexpr std::pair<std::string_view, resize::coordinates> coordinates[] = {
    {"half_pixel", resize::coordinates::half_pixel},
    {"half_pixel_symmetric", resize::coordinates::half_pixel_symmetric},
    {"pytorch_half_pixel", resize::coordinates::pytorch_half_pixel},
    {"align_corners", resize::coordinates::align_corners},
    {"asymmetric", resize::coordinates::asymmetric},
    {"tf_crop_and_resize", resize::coordinates::tf_crop_and_resize}};
inline constexpr std::pair<std::string_view, resize::rounding> roundings[] = {
    {"round_prefer_floor", resize::rounding::round_prefer_floor},
    {"round_prefer_ceil", resize::rounding::round_prefer_ceil},
    {"floor", resize::rounding::floor},
    {"ceil", resize::rounding::ceil}};
inline constexpr std::pair<std::string_view, resize::policy> policies[] = {
    {"stretch", resize::policy::stretch},
    {"not_larger", resize::policy::not_larger},
    {"not_smaller", resize::policy::not_smaller}};

/// Writers pass empty tensors for what they leave out.
inline value_id unless_empty(importer& in, value_id id) {
  const tensor* t = in.g.constant_of(id);
  return t && t->size() == 0 ? none : id;
}

}  // namespace detail_layout

/// Opset 11 on: x, roi, scales, sizes.
inline void read_resize(importer& in) {
  using namespace detail_layout;
  resize r;
  r.how = in.word("mode", resize::mode::nearest, modes);
  r.at = in.word("coordinate_transformation_mode", resize::coordinates::half_pixel, coordinates);
  r.near = in.word("nearest_mode", resize::rounding::round_prefer_floor, roundings);
  r.cubic_a = in.real("cubic_coeff_a", -0.75f);
  r.extrapolation = in.real("extrapolation_value", 0.0f);
  r.exclude_outside = in.flag("exclude_outside", false);
  r.antialias = in.flag("antialias", false);
  r.axes = in.integers("axes");
  r.keep_aspect = in.word("keep_aspect_ratio_policy", resize::policy::stretch, policies);
  const auto all = in.inputs(1, 4);
  std::vector<value_id> ids = {all[0], none, none, none};
  for (std::size_t i = 1; i < all.size(); ++i) ids[i] = unless_empty(in, all[i]);
  if (r.at != resize::coordinates::tf_crop_and_resize) ids[1] = none;
  if (ids[2] == none && ids[3] == none) in.fail("scales and sizes: expected one of them, got none");
  in.emit(r, ids);
}

/// Upsample, and Resize of opset 10: out pixel i lies at i / scale. Nearest takes the pixel below
/// when enlarging; when shrinking, the one above (ONNX Runtime's rule, which the operator's own
/// test of opset 10 agrees with).
inline void read_old_resize(importer& in) {
  using namespace detail_layout;
  resize r;
  r.how = in.word("mode", resize::mode::nearest, modes);
  r.at = resize::coordinates::asymmetric;
  r.near = resize::rounding::floor;
  auto ids = in.inputs(1, 2);
  if (ids.size() == 1) {
    const auto scales = in.reals("scales");
    if (scales.empty()) in.fail("scales: expected a list, got none");
    ids.push_back(in.make_constant(in.node_name() + "_scales",
                                   tensor::from<float>({static_cast<std::int64_t>(scales.size())},
                                                       std::span<const float>(scales))));
  }
  if (const tensor* t = in.g.constant_of(ids[1]); t && t->type() == dtype::f32)
    for (float s : t->view<float>())
      if (s < 1.0f) r.near = resize::rounding::ceil;
  in.emit(r, {ids[0], none, ids[1]});
}

inline constexpr read_row layout_rows[] = {
    {"Reshape", read_reshape},
    {"Flatten", read_flatten},
    {"Squeeze", [](importer& in) { read_squeeze(in, op::reshape::kind::squeeze); }},
    {"Unsqueeze", [](importer& in) { read_squeeze(in, op::reshape::kind::unsqueeze); }},
    {"Transpose", read_transpose},
    {"Concat", read_concat},
    {"Split", read_split},
    {"Slice", read_slice},
    {"Gather", [](importer& in) { read_gather(in, op::gather::kind::axis); }},
    {"GatherElements", [](importer& in) { read_gather(in, op::gather::kind::elements); }},
    {"GatherND", [](importer& in) { read_gather(in, op::gather::kind::nd); }},
    {"Expand", read_expand},
    {"Tile", read_tile},
    {"Pad", read_pad},
    {"DepthToSpace", [](importer& in) { read_depth_to_space(in, false); }},
    {"SpaceToDepth", [](importer& in) { read_depth_to_space(in, true); }},
    {"Resize", [](importer& in) { in.opset() < 11 ? read_old_resize(in) : read_resize(in); }},
    {"Upsample", read_old_resize},
};

}  // namespace ptq::onnx
