#pragma once
// SPDX-License-Identifier: Apache-2.0
// Sliding windows: auto_pad turned into pads, and the extents of convolutions and poolings. Source:
// ONNX Conv, ConvTranspose, MaxPool (opset 22).

#include <algorithm>
#include <cstdint>
#include <string>

#include <ptq/graph/infer/operands.hpp>

namespace ptq {

/// Defaults filled in (strides and dilations 1, pads 0, kernel) and auto_pad turned into pads.
///
///   SAME: out = ceil(in / stride), pads shared out with the odd one at the end (upper) or the
///   begin (lower)
///
/// input, kernel  one extent per spatial axis; input's may be unknown
/// returns        a window whose `same` is none, unless a pad hangs on an unknown extent
inline op::window resolved(op::window w, const shape& input, const shape& kernel) {
  const auto rank = input.dims.size();
  w.kernel = kernel.dims;
  if (w.strides.empty()) w.strides.assign(rank, 1);
  if (w.dilations.empty()) w.dilations.assign(rank, 1);
  if (w.same == op::window::auto_pad::none) {
    if (w.pads.empty()) w.pads.assign(2 * rank, 0);
    return w;
  }
  op::ints pads(2 * rank, 0);
  for (std::size_t i = 0; i < rank; ++i) {
    const auto span = w.dilations[i] * (w.kernel[i] - 1) + 1;
    const auto stride = w.strides[i], in = input.dims[i];
    if (in < 0 && stride != 1) return w;
    const auto total =
        in < 0 ? span - 1
               : std::max<std::int64_t>(0, ((in + stride - 1) / stride - 1) * stride + span - in);
    const bool upper = w.same == op::window::auto_pad::same_upper;
    pads[i] = upper ? total / 2 : total - total / 2;
    pads[rank + i] = total - pads[i];
  }
  w.pads = std::move(pads);
  w.same = op::window::auto_pad::none;
  return w;
}

/// Defaults filled in, auto_pad and output_shape turned into pads and output_padding.
///
///   output_shape: total = stride·(in − 1) + output_padding + dilation·(k − 1) + 1 − output_shape;
///   a negative total is appended at the end as output padding
///
/// returns  output_shape empty and `same` none, unless a pad hangs on an unknown extent
inline op::conv_transpose resolved(op::conv_transpose c, const shape& input, const shape& kernel) {
  const auto rank = input.dims.size();
  if (c.output_padding.empty()) c.output_padding.assign(rank, 0);
  using same = op::window::auto_pad;
  const bool upper = c.win.same == same::same_upper;
  const bool automatic = c.win.same != same::none;
  if (!automatic && c.output_shape.empty()) {
    c.win = resolved(std::move(c.win), input, kernel);
    return c;
  }
  auto w = c.win;
  w.same = same::none;
  w.pads.clear();
  w = resolved(std::move(w), input, kernel);
  auto extra = c.output_padding;
  for (std::size_t i = 0; i < rank; ++i) {
    const auto in = input.dims[i], stride = w.strides[i];
    const auto span = w.dilations[i] * (w.kernel[i] - 1) + 1;
    std::int64_t total = span - stride + extra[i];  // SAME: out = in · stride, whatever in is
    if (!c.output_shape.empty()) {
      if (in < 0) return c;
      total = stride * (in - 1) + extra[i] + span - c.output_shape[i];
    }
    if (total < 0) {
      extra[i] -= total;
      total = 0;
    }
    w.pads[i] = upper ? total / 2 : total - total / 2;
    w.pads[rank + i] = total - w.pads[i];
  }
  c.win = std::move(w);
  c.output_padding = std::move(extra);
  c.output_shape.clear();
  return c;
}

/// Number of windows along one axis.
///
///   floor((in + pads − span) / stride) + 1; ceil mode rounds up, but the last window starts inside
///   input or left pad
///
/// returns  unknown if in is; may be ≤ 0 where the window does not fit
inline std::int64_t windows_along(const op::window& w, std::size_t axis, std::int64_t in,
                                  bool ceil) {
  if (in < 0) return unknown;
  const auto rank = w.strides.size();
  const auto stride = w.strides[axis], begin = w.pads[axis], end = w.pads[rank + axis];
  const auto room = in + begin + end - (w.dilations[axis] * (w.kernel[axis] - 1) + 1);
  if (room < 0) return 0;
  auto n = (ceil ? room + stride - 1 : room) / stride + 1;
  if (ceil && (n - 1) * stride >= in + begin) --n;
  return n;
}

namespace inference {

inline shape spatial(const shape& s) {
  return shape(std::vector<std::int64_t>(s.dims.begin() + 2, s.dims.end()));
}

/// Attribute lists have the right length and sane elements.
inline void check_window(const operands& in, const op::window& w, std::size_t rank) {
  // Keeps every later product of two within 64 bits.
  constexpr std::int64_t limit = std::int64_t{1} << 30;
  const auto check = [&](const op::ints& v, const char* what, std::size_t length,
                         std::int64_t least) {
    if (!v.empty() && v.size() != length)
      in.fail(what, std::to_string(length) + " elements", shape(v).text());
    for (auto e : v)
      if (e < least || e > limit)
        in.fail(what, "elements in [" + std::to_string(least) + "," + std::to_string(limit) + "]",
                std::to_string(e));
  };
  check(w.kernel, "kernel", rank, 1);
  check(w.strides, "strides", rank, 1);
  check(w.dilations, "dilations", rank, 1);
  check(w.pads, "pads", 2 * rank, 0);
}

/// Spatial extents after `w`; SAME with an unknown extent is ceil(in / stride).
inline void append_windows(const operands& in, shape& out, const op::window& w, const shape& input,
                           bool ceil) {
  for (std::size_t i = 0; i < input.dims.size(); ++i) {
    const auto e = input.dims[i];
    std::int64_t n = unknown;
    if (w.same != op::window::auto_pad::none) {
      if (e >= 0) n = (e + w.strides[i] - 1) / w.strides[i];
    } else {
      n = windows_along(w, i, e, ceil);
      if (n == 0)
        in.fail("window", "a kernel that fits into the padded input",
                "kernel " + shape(w.kernel).text() + " pads " + shape(w.pads).text() + " on " +
                    input.text());
    }
    out.dims.push_back(in.extent(n, "output extent"));
  }
}

inline std::vector<inferred> infer(const op::conv& o, const operands& in) {
  if (!in.shaped(0) || !in.shaped(1)) return {unshaped(in.type(0))};
  in.rank_at_least(0, 3);
  in.rank_is(1, in.dims(0).rank());
  const auto &x = in.dims(0), &w = in.dims(1);
  if (o.groups < 1 || o.groups > largest_extent)
    in.fail("groups", "1 or more", std::to_string(o.groups));
  if (w[1] >= 0) in.same_extent(in.extent(w[1] * o.groups, "channels"), x[1], "input channels");
  if (w[0] >= 0 && w[0] % o.groups != 0)
    in.fail("output channels", "a multiple of " + std::to_string(o.groups), std::to_string(w[0]));
  in.check_vector(2, w[0], "bias");
  const shape plane = spatial(x), kernel = spatial(w);
  check_window(in, o.win, plane.dims.size());
  if (!kernel.known()) in.fail("weights", "known extents", w.text());
  auto sized = o.win;
  sized.kernel = kernel.dims;
  check_window(in, sized, plane.dims.size());
  if (!o.win.kernel.empty() && o.win.kernel != kernel.dims)
    in.fail("kernel", kernel.text() + " of the weights", shape(o.win.kernel).text());
  shape out{x[0], w[0]};
  append_windows(in, out, resolved(o.win, plane, kernel), plane, false);
  return {shaped_as(in.type(0), out)};
}

inline std::vector<inferred> infer(const op::conv_transpose& o, const operands& in) {
  if (!in.shaped(0) || !in.shaped(1)) return {unshaped(in.type(0))};
  in.rank_at_least(0, 3);
  in.rank_is(1, in.dims(0).rank());
  const auto &x = in.dims(0), &w = in.dims(1);
  if (o.groups < 1 || o.groups > largest_extent)
    in.fail("groups", "1 or more", std::to_string(o.groups));
  in.same_extent(w[0], x[1], "input channels");
  if (w[0] >= 0 && w[0] % o.groups != 0)
    in.fail("input channels", "a multiple of " + std::to_string(o.groups), std::to_string(w[0]));
  const auto channels = w[1] < 0 ? unknown : in.extent(w[1] * o.groups, "channels");
  in.check_vector(2, channels, "bias");
  const shape plane = spatial(x), kernel = spatial(w);
  const auto rank = plane.dims.size();
  if (!kernel.known()) in.fail("weights", "known extents", w.text());
  auto sized = o.win;
  sized.kernel = kernel.dims;
  check_window(in, o.win, rank);
  check_window(in, sized, rank);
  if (!o.output_padding.empty() && o.output_padding.size() != rank)
    in.fail("output_padding", std::to_string(rank) + " elements", shape(o.output_padding).text());
  if (!o.output_shape.empty() && o.output_shape.size() != rank)
    in.fail("output_shape", std::to_string(rank) + " elements", shape(o.output_shape).text());
  for (auto e : o.output_padding) in.extent(std::max<std::int64_t>(e, -2), "output_padding");
  for (auto e : o.output_shape) in.extent(std::max<std::int64_t>(e, -2), "output_shape");
  const auto c = resolved(o, plane, kernel);
  shape out{x[0], channels};
  for (std::size_t i = 0; i < rank; ++i) {
    std::int64_t n = unknown;
    if (!c.output_shape.empty()) {
      n = c.output_shape[i];
    } else if (plane.dims[i] >= 0) {
      n = c.win.strides[i] * (plane.dims[i] - 1) + c.output_padding[i] +
          c.win.dilations[i] * (c.win.kernel[i] - 1) + 1 - c.win.pads[i] - c.win.pads[rank + i];
      if (n < 0) n = -2;
    }
    out.dims.push_back(in.extent(n, "output extent"));
  }
  return {shaped_as(in.type(0), out)};
}

inline std::vector<inferred> infer(const op::pool& o, const operands& in) {
  std::vector<inferred> r(std::max<std::size_t>(1, in.self().outputs.size()));
  r[0].type = in.type(0);
  for (std::size_t i = 1; i < r.size(); ++i) r[i].type = dtype::s64;  // indices of the maxima
  if (!in.shaped(0)) return r;
  in.rank_at_least(0, 3);
  const auto& x = in.dims(0);
  const shape plane = spatial(x);
  shape out{x[0], x[1]};
  if (o.global) {
    out.dims.resize(x.dims.size(), 1);
  } else {
    if (o.win.kernel.empty()) in.fail("kernel", shape(plane).text() + " extents", "none");
    check_window(in, o.win, plane.dims.size());
    append_windows(in, out, resolved(o.win, plane, shape(o.win.kernel)), plane, o.ceil_mode);
  }
  for (auto& e : r) {
    e.dims = out;
    e.shaped = true;
  }
  return r;
}

}  // namespace inference
}  // namespace ptq
