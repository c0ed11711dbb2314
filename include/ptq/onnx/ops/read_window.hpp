#pragma once
// SPDX-License-Identifier: Apache-2.0
// Import of operators with a spatial window: convolutions and pools. Defaults are written out and
// auto_pad is resolved where the extents allow it.

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <ptq/onnx/importer.hpp>

namespace ptq::onnx {

namespace detail_window {

// Larger than any real window, small enough that sums and products of a few stay in int64.
inline constexpr std::int64_t most = std::int64_t{1} << 31;

inline void require(importer& in, const char* what, const op::ints& v, std::size_t count,
                    std::int64_t least) {
  if (v.size() != count)
    in.fail(std::string(what) + ": expected " + std::to_string(count) + " entries, got " +
            std::to_string(v.size()));
  for (auto x : v)
    if (x < least || x >= most)
      in.fail(std::string(what) + ": expected entries >= " + std::to_string(least) + ", got " +
              std::to_string(x));
}

inline op::ints with_default(op::ints v, std::size_t count, std::int64_t otherwise) {
  return v.empty() ? op::ints(count, otherwise) : v;
}

/// Shares a total padding between begin and end; `upper` puts the odd one at the end.
inline void share(op::window& w, std::size_t axis, std::int64_t total, bool upper) {
  const auto rank = w.kernel.size();
  w.pads[axis] = upper ? total / 2 : total - total / 2;
  w.pads[axis + rank] = total - w.pads[axis];
}

inline std::int64_t effective(const op::window& w, std::size_t axis) {
  return w.dilations[axis] * (w.kernel[axis] - 1) + 1;
}

/// SAME_UPPER and SAME_LOWER: out = ceil(in / stride), so with stride 1 no extent is needed.
inline void resolve_same(op::window& w, const value& x) {
  op::window r = w;
  for (std::size_t i = 0; i < w.kernel.size(); ++i) {
    const bool sized = x.shaped && x.dims.dims.size() == w.kernel.size() + 2;
    const std::int64_t extent = sized ? x.dims.dims[i + 2] : unknown;
    if (w.strides[i] != 1 && (extent < 0 || extent >= most)) return;
    const std::int64_t s = w.strides[i];
    const std::int64_t total =
        s == 1
            ? effective(w, i) - 1
            : std::max<std::int64_t>(0, ((extent + s - 1) / s - 1) * s + effective(w, i) - extent);
    share(r, i, total, w.same == op::window::auto_pad::same_upper);
  }
  r.same = op::window::auto_pad::none;
  w = std::move(r);
}

}  // namespace detail_window

/// kernel_shape (or the weights' extents), strides, dilations, pads, auto_pad.
inline op::window read_window(importer& in, const value* weights) {
  using namespace detail_window;
  op::window w;
  w.kernel = in.integers("kernel_shape");
  if (weights && weights->shaped) {
    if (weights->dims.rank() < 3 || weights->dims.rank() > 5)
      in.fail("weights '" + weights->name + "': expected rank 3 to 5, got " + weights->dims.text());
    const op::ints extents(weights->dims.dims.begin() + 2, weights->dims.dims.end());
    if (!w.kernel.empty() && w.kernel != extents)
      in.fail("kernel_shape: expected " + shape(extents).text() + " as in '" + weights->name +
              "', got " + shape(w.kernel).text());
    w.kernel = extents;
  }
  if (w.kernel.empty())
    in.not_supported("a window without kernel_shape and without constant weights");
  const auto rank = w.kernel.size();
  if (rank > 3) in.fail("kernel_shape: expected 1 to 3 entries, got " + std::to_string(rank));
  w.strides = with_default(in.integers("strides"), rank, 1);
  w.dilations = with_default(in.integers("dilations"), rank, 1);
  w.pads = with_default(in.integers("pads"), 2 * rank, 0);
  require(in, "kernel_shape", w.kernel, rank, 1);
  require(in, "strides", w.strides, rank, 1);
  require(in, "dilations", w.dilations, rank, 1);
  require(in, "pads", w.pads, 2 * rank, 0);
  using same = op::window::auto_pad;
  static constexpr std::pair<std::string_view, same> words[] = {{"", same::none},
                                                                {"NOTSET", same::none},
                                                                {"VALID", same::none},
                                                                {"SAME_UPPER", same::same_upper},
                                                                {"SAME_LOWER", same::same_lower}};
  w.same = in.word("auto_pad", same::none, words);
  if (w.same != same::none || in.text("auto_pad", "") == "VALID") w.pads.assign(2 * rank, 0);
  return w;
}

inline std::int64_t read_groups(importer& in) {
  const auto groups = in.integer("group", 1);
  if (groups < 1 || groups >= detail_window::most)
    in.fail("group: expected >= 1, got " + std::to_string(groups));
  return groups;
}

inline void read_conv(importer& in) {
  const auto ids = in.inputs(2, 3);
  op::conv c;
  c.win = read_window(in, &in.g[ids[1]]);
  if (c.win.same != op::window::auto_pad::none) detail_window::resolve_same(c.win, in.g[ids[0]]);
  c.groups = read_groups(in);
  in.emit(c, ids, dtype::f32);
}

inline void read_conv_transpose(importer& in) {
  using namespace detail_window;
  const auto ids = in.inputs(2, 3);
  op::conv_transpose c;
  c.win = read_window(in, &in.g[ids[1]]);
  c.groups = read_groups(in);
  const auto rank = c.win.kernel.size();
  c.output_padding = with_default(in.integers("output_padding"), rank, 0);
  require(in, "output_padding", c.output_padding, rank, 0);
  c.output_shape = in.integers("output_shape");
  if (c.output_shape.size() == rank + 2)  // some writers list n and c too
    c.output_shape.erase(c.output_shape.begin(), c.output_shape.begin() + 2);
  if (!c.output_shape.empty()) require(in, "output_shape", c.output_shape, rank, 0);
  if (c.win.same != op::window::auto_pad::none && c.output_shape.empty()) {
    // The result has in · stride elements whatever `in` is; a window that falls short is filled up
    // at the end.
    const bool upper = c.win.same == op::window::auto_pad::same_upper;
    c.win.same = op::window::auto_pad::none;
    for (std::size_t i = 0; i < rank; ++i) {
      const auto total = effective(c.win, i) + c.output_padding[i] - c.win.strides[i];
      share(c.win, i, std::max<std::int64_t>(total, 0), upper);
      if (total < 0) c.output_padding[i] -= total;
    }
  }
  in.emit(c, ids, dtype::f32);
}

inline void read_pool(importer& in, pool_kind kind) {
  op::pool p;
  p.kind = kind;
  const auto ids = in.inputs(1, 1);
  p.win = read_window(in, nullptr);
  if (p.win.same != op::window::auto_pad::none) detail_window::resolve_same(p.win, in.g[ids[0]]);
  p.ceil_mode = in.flag("ceil_mode", false);
  p.count_include_pad = in.flag("count_include_pad", false);
  p.p = in.integer("p", 2);
  in.emit(p, ids);
}

inline void read_global_pool(importer& in, pool_kind kind) {
  op::pool p;
  p.kind = kind;
  p.global = true;
  p.p = in.integer("p", 2);
  in.emit(p, in.inputs(1, 1));
}

inline constexpr read_row window_rows[] = {
    {"Conv", read_conv},
    {"ConvTranspose", read_conv_transpose},
    {"MaxPool", [](importer& in) { read_pool(in, pool_kind::max); }},
    {"AveragePool", [](importer& in) { read_pool(in, pool_kind::average); }},
    {"LpPool", [](importer& in) { read_pool(in, pool_kind::lp); }},
    {"GlobalMaxPool", [](importer& in) { read_global_pool(in, pool_kind::max); }},
    {"GlobalAveragePool", [](importer& in) { read_global_pool(in, pool_kind::average); }},
    {"GlobalLpPool", [](importer& in) { read_global_pool(in, pool_kind::lp); }},
};

}  // namespace ptq::onnx
