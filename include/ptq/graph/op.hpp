#pragma once
// SPDX-License-Identifier: Apache-2.0
// The operators of a graph: plain structs, at most 40 families, held in one variant. Attributes that ONNX moved between
// attribute and input over its opsets have one form here (stated per struct); import brings old opsets to it.
//
// Inputs and outputs are listed by position; [x] marks an optional one (graph value id `none` when absent). Tensors are
// in ONNX's logical order: n c h w, weights o i h w.

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <ptq/core/dtype.hpp>
#include <ptq/core/kinds.hpp>
#include <ptq/core/tensor.hpp>
#include <ptq/graph/op/control.hpp>
#include <ptq/graph/op/one_of.hpp>
#include <ptq/graph/op/recurrent.hpp>

namespace ptq {

namespace op {

using ints = std::vector<std::int64_t>;

/// Spatial window. `strides` and `dilations` have one entry per spatial axis, `pads` has all begins, then all ends;
/// import resolves auto_pad unless extents are unknown (then `same` says which).
struct window {
  ints kernel, strides, dilations, pads;
  enum class auto_pad : std::uint8_t { none, same_upper, same_lower } same = auto_pad::none;
  bool operator==(const window&) const = default;
};

/// x [n c d…], w [o c/groups k…], [b [o]] → y. Kernel extents are those of w. 1-, 2- or 3-D.
struct conv {
  window win;
  std::int64_t groups = 1;
  clamp act;
  bool operator==(const conv&) const = default;
};
/// x [n c d…], w [c o/groups k…], [b [o]] → y
struct conv_transpose {
  window win;
  std::int64_t groups = 1;
  ints output_padding, output_shape;
  clamp act;
  bool operator==(const conv_transpose&) const = default;
};
/// a · b [+ bias]: ONNX MatMul (rank > 2 broadcasts as numpy) and Gemm (rank 2, transposes). alpha and beta are folded
/// into constants or separate multiplies by import. bias broadcasts to the result; [n] where quantized.
struct matmul {
  bool trans_a = false, trans_b = false;
  clamp act;
  bool operator==(const matmul&) const = default;
};
/// x [n c …], scale [c], bias [c], mean [c], variance [c] → y
struct batch_norm {
  float epsilon = 1e-5f;
  bool operator==(const batch_norm&) const = default;
};

/// x → y, elementwise
struct unary {
  unary_kind kind = unary_kind::relu;
  float alpha = 0.0f, beta = 0.0f;
  bool operator==(const unary&) const = default;
};

/// a, b → y, numpy broadcasting. ONNX's variadic Sum, Mean, Min, Max become chains.
struct binary {
  binary_kind kind = binary_kind::add;
  clamp act;
  bool operator==(const binary&) const = default;
};
/// condition, a, b → y, numpy broadcasting
struct where {
  bool operator==(const where&) const = default;
};

/// x → y along `axis`
struct softmax {
  std::int64_t axis = -1;
  bool log = false;
  /// Opset < 13: all axes from `axis` on are one.
  bool flattened = false;
  /// false: e^(x − max) as it is, its largest 1; what reads it divides by its sum.
  bool normalized = true;
  bool operator==(const softmax&) const = default;
};

/// x [n c d…] → y. `global` pools the whole plane (window unused).
struct pool {
  pool_kind kind = pool_kind::max;
  window win;
  bool ceil_mode = false;
  bool count_include_pad = false;
  bool global = false;
  std::int64_t p = 2;
  bool operator==(const pool&) const = default;
};

/// x, [axes s64] → y. Absent axes: all, or none if noop_with_empty_axes.
struct reduce {
  reduce_kind kind = reduce_kind::mean;
  bool keepdims = true;
  bool noop_with_empty_axes = false;
  bool operator==(const reduce&) const = default;
};
/// x → index s64
struct arg_reduce {
  bool max = true;
  std::int64_t axis = 0;
  bool keepdims = true;
  bool select_last = false;
  bool operator==(const arg_reduce&) const = default;
};
struct local_response_norm {
  float alpha = 1e-4f, beta = 0.75f, bias = 1.0f;
  std::int64_t size = 1;
  bool operator==(const local_response_norm&) const = default;
};
/// x, scale, [bias] → y, over the axes from `axis` on; scale and bias broadcast to those. `rms`: no mean is subtracted.
struct layer_norm {
  std::int64_t axis = -1;
  float epsilon = 1e-5f;
  bool rms = false;
  bool operator==(const layer_norm&) const = default;
};
/// x [n c d…], scale [c], bias [c] → y, normalised over each group of channels: groups == 0 stands for one group per
/// channel (InstanceNormalization).
struct group_norm {
  float epsilon = 1e-5f;
  std::int64_t groups = 0;
  bool operator==(const group_norm&) const = default;
};

/// x… → y
struct concat {
  std::int64_t axis = 0;
  bool operator==(const concat&) const = default;
};
/// x, [sizes s64] → y…; absent sizes: equal parts
struct split {
  std::int64_t axis = 0;
  bool operator==(const split&) const = default;
};
/// x, starts, ends, [axes], [steps] → y (all s64)
struct slice {
  bool operator==(const slice&) const = default;
};
/// data, indices → y
struct gather {
  enum class kind : std::uint8_t { axis, elements, nd } what = kind::axis;
  std::int64_t axis = 0;
  std::int64_t batch_dims = 0;
  bool operator==(const gather&) const = default;
};
/// Same elements, other extents.
struct reshape {
  enum class kind : std::uint8_t {
    to_shape,   // x, shape s64 (0 copies unless allow_zero, -1 infers)
    flatten,    // x; `axis`
    squeeze,    // x, [axes]
    unsqueeze   // x, axes
  } what = kind::to_shape;
  bool allow_zero = false;
  std::int64_t axis = 1;
  bool operator==(const reshape&) const = default;
};
/// x → y; empty perm reverses
struct transpose {
  ints perm;
  bool operator==(const transpose&) const = default;
};
/// x, shape s64 → y
struct expand {
  bool operator==(const expand&) const = default;
};
/// x, repeats s64 → y
struct tile {
  bool operator==(const tile&) const = default;
};
/// x, pads s64 (all begins, then all ends), [value], [axes] → y
struct pad {
  enum class mode : std::uint8_t { constant, reflect, edge, wrap } how = mode::constant;
  bool operator==(const pad&) const = default;
};
/// x, [roi], [scales f32], [sizes s64] → y. Upsample and old Resize come in as this.
struct resize {
  enum class mode : std::uint8_t { nearest, linear, cubic } how = mode::nearest;
  enum class coordinates : std::uint8_t {
    half_pixel, half_pixel_symmetric, pytorch_half_pixel, align_corners, asymmetric, tf_crop_and_resize
  } at = coordinates::half_pixel;
  enum class rounding : std::uint8_t { round_prefer_floor, round_prefer_ceil, floor, ceil } near =
      rounding::round_prefer_floor;
  float cubic_a = -0.75f, extrapolation = 0.0f;
  bool exclude_outside = false, antialias = false;
  ints axes;                 // empty: all
  enum class policy : std::uint8_t { stretch, not_larger, not_smaller } keep_aspect = policy::stretch;
  bool operator==(const resize&) const = default;
};
/// x [n c h w] → y
struct depth_to_space {
  std::int64_t block = 1;
  bool column_row_depth = false;  // CRD instead of DCR
  bool inverse = false;           // SpaceToDepth
  bool operator==(const depth_to_space&) const = default;
};

/// x → extents s64 of the axes [start, end)
struct shape_of {
  std::int64_t start = 0;
  std::int64_t end = std::numeric_limits<std::int64_t>::max();
  bool operator==(const shape_of&) const = default;
};
/// shape s64 → y filled with `value` (one element)
struct constant_of_shape {
  tensor value;
  bool operator==(const constant_of_shape& o) const {
    return value.type() == o.value.type() && value.empty() == o.value.empty() &&
           (value.empty() ||
            std::memcmp(value.data(), o.value.data(), size_of(value.type())) == 0);
  }
};
struct cast {
  dtype to = dtype::f32;
  bool operator==(const cast&) const = default;
};
/// start, limit, delta → y
struct range {
  bool operator==(const range&) const = default;
};
/// x → the same value. What makes it useful: its output may carry qparams of its own, so that one value can be seen as
/// codes by some consumers and as real numbers by others. Import removes it elsewhere.
struct identity {
  bool operator==(const identity&) const = default;
};
/// Real → codes as an integer tensor (x, scale, [zero_point] → q), where codes leave the graph or meet an operator on
/// integers. A pair Q → DQ is no node but qparams on a value.
struct quantize_linear {
  std::int64_t axis = 1;
  bool operator==(const quantize_linear&) const = default;
};
/// q, scale, [zero_point] → real
struct dequantize_linear {
  std::int64_t axis = 1;
  bool operator==(const dequantize_linear&) const = default;
};
/// x, k s64 → values, indices s64
struct top_k {
  std::int64_t axis = -1;
  bool largest = true, sorted = true;
  bool operator==(const top_k&) const = default;
};
/// x, axis s64 → y
struct cumulative_sum {
  bool exclusive = false, reverse = false;
  bool operator==(const cumulative_sum&) const = default;
};
/// x, [k s64] → y: upper or lower triangle
struct triangle {
  bool upper = true;
  bool operator==(const triangle&) const = default;
};

}  // namespace op

struct operation
    : op::one_of<op::conv, op::conv_transpose, op::matmul, op::batch_norm, op::unary, op::binary,
                 op::where, op::softmax, op::pool, op::reduce, op::arg_reduce,
                 op::local_response_norm, op::layer_norm, op::group_norm, op::concat, op::split,
                 op::slice, op::gather, op::reshape, op::transpose, op::expand, op::tile, op::pad,
                 op::resize, op::depth_to_space, op::shape_of, op::constant_of_shape, op::cast,
                 op::range, op::identity, op::quantize_linear, op::dequantize_linear, op::top_k,
                 op::cumulative_sum, op::triangle, op::recurrent, op::control> {
  using one_of::one_of;
};

}  // namespace ptq
