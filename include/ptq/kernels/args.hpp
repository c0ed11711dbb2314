#pragma once
// SPDX-License-Identifier: Apache-2.0
// What a kernel is asked to do: plain structs, filled by lowering, read by every implementation. The pointers in them
// are borrowed for the time of `prepare` only: what a kernel needs later it packs or copies.
//
// Conventions
//   layout   image-like tensors are n h w c, contiguous but for the stated stride between pixels; weights o h w i
//   codes    activations are u8 everywhere inside a program (an s8 code q with zero point z is the u8 code q + 128 with
//            zero point z + 128, the same real number); weights are s8, symmetric (zero point 0), per output channel
//   exact    integer kernels equal kernels/reference/ bit for bit; formulas in core/numeric.hpp
//   float    float kernels accumulate each output in increasing k with fused multiply-adds unless stated; entries
//            marked `exact_float` equal the reference bit for bit, others (oneDNN) within a derived tolerance
//   strides  are in elements

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include <ptq/core/dtype.hpp>
#include <ptq/core/kinds.hpp>
#include <ptq/core/numeric.hpp>

namespace ptq::kernels {

/// What an entry has packed: weights, bias and multipliers as its kernel reads them. Aligned to 64 bytes, free of
/// pointers, and equal for equal weights whatever batch, in_h, in_w, out_h and out_w are (m of a product): these may only
/// choose between forms. Passed back to its entry, in any form and for any extents, it takes the place of what it was
/// packed from, and is read where it lies, say in a mapped file. It may come from an untrusted file: an entry checks its
/// size and every address in it, and returns no function where it doesn't fit. An entry that knows no packed memory
/// leaves prepared::packed empty, and returns no function where weights are null.
struct packed_memory {
  const std::byte* data = nullptr;
  std::size_t bytes = 0;
};

/// Geometry of a convolution over n h w c. A matrix product c[m,n] = a[m,k] · b[k,n] is the convolution with batch = 1,
/// in_h = 1, in_w = m, in_c = k, out_c = n and a 1×1 kernel; a 1-D convolution has height 1.
struct conv_geometry {
  std::int64_t batch = 1, in_h = 1, in_w = 1, in_c = 1, out_h = 1, out_w = 1, out_c = 1;
  std::int64_t kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1;
  std::int64_t dilation_h = 1, dilation_w = 1, pad_top = 0, pad_left = 0;  // bottom/right follow from out_h, out_w
  std::int64_t groups = 1;
  std::int64_t src_stride = 0;  // elements from pixel to pixel of the source; 0: in_c
  std::int64_t dst_stride = 0;  // of the destination; 0: out_c

  std::int64_t src_pixel() const { return src_stride ? src_stride : in_c; }
  std::int64_t dst_pixel() const { return dst_stride ? dst_stride : out_c; }
  std::int64_t group_in() const { return in_c / groups; }
  std::int64_t group_out() const { return out_c / groups; }
  bool depthwise() const { return groups > 1 && group_in() == 1; }
  bool operator==(const conv_geometry&) const = default;
};

/// A function of a layer's sum, before that is rounded for the first time; multipliers are below 2^64 in magnitude.
struct epilogue_function {
  enum class kind : std::uint8_t { none, leaky_relu, hard_swish } what = kind::none;
  float alpha = 0;  // of leaky_relu, from 0 to 1
  float scale = 1;  // of the codes
};

/// Whether epilogue_function has a function.
inline bool in_epilogue(unary_kind f, float alpha) {
  return f == unary_kind::hard_swish || (f == unary_kind::leaky_relu && alpha >= 0 && alpha <= 1);
}

/// From int32 accumulators to the destination.
///
///   to_float:  y = min(max(float(acc) · multiplier[c], float_low), float_high)
///   otherwise: q = requantize_value(acc, multiplier[c], zero_point, low, high)
///   and with `add`, r the code of the second source (same extents as dst, contiguous pixels of dst_pixel elements):
///              q = add_value(q, r, sum), or add_value(r, q, sum) where `residual_first`
///   codes behind a function, without `add`:
///              q = quantize_value(f(float(acc) · multiplier[c]), scale, zero_point, low, high)
struct int_epilogue {
  std::span<const float> multiplier;            // [out_c], or [1] for all
  bool to_float = false;
  float float_low = -std::numeric_limits<float>::infinity();
  float float_high = std::numeric_limits<float>::infinity();
  std::int32_t zero_point = 0, low = 0, high = 255;
  bool add = false;
  add_rule sum = {};
  bool residual_first = false;
  epilogue_function function = {};
  bool amplifies = false;  // where packed memory stands for the multipliers: one of them is not below 1 in magnitude
};

/// Whether a product with one of these may leave int32: |acc| ≤ 2^31 as a float, and the largest float below 1 leaves it
/// at 2^31 − 128.
inline bool amplifying(std::span<const float> multiplier) {
  for (const float m : multiplier)
    if (!(m > -1.0f && m < 1.0f)) return true;
  return false;
}

/// u8 · s8 convolution: acc[o] = bias[o] + Σ w[o,h,w,i] · (x[…] − x_zero_point), taps outside the image contribute 0.
/// src: x u8, [residual u8]; dst: u8, or f32 if to_float.
/// The caller guarantees |bias| + Σ|w| · max|x − z| < 2^31 per output channel.
struct qconv_args {
  conv_geometry geometry;
  const std::int8_t* weights = nullptr;   // [out_c, kernel_h, kernel_w, in_c / groups]
  const std::int32_t* bias = nullptr;     // [out_c] or null
  std::int32_t x_zero_point = 0;
  int_epilogue epilogue;
  packed_memory packed = {};              // in place of weights, bias and multipliers, where given
};

/// Convolution of codes of 8 or 16 bits with weights of up to 16: what qconv_args is too narrow for.
///
///   acc[o] = bias[o] + Σ w[o,h,w,i] · (x[…] − x_zero_point)   in 64 bits; taps outside contribute 0
///   y_type f32: y = min(max(float(double(acc) · multiplier[c]), float_low), float_high)
///   otherwise:  q = requantize_wide(acc, multiplier[c], zero_point, low, high)
/// src: x u8 or u16 (x_type); dst: u8, u16 or f32 (y_type)
/// The caller guarantees |bias| + Σ|w| · max|x − z| < 2^53 per output channel.
struct wide_conv_args {
  conv_geometry geometry;
  const std::int16_t* weights = nullptr;  // [out_c, kernel_h, kernel_w, in_c / groups]
  const std::int32_t* bias = nullptr;     // [out_c] or null
  dtype x_type = dtype::u16;
  std::int32_t x_zero_point = 0;
  std::span<const double> multiplier;  // [out_c], or [1] for all
  dtype y_type = dtype::u16;
  float float_low = -std::numeric_limits<float>::infinity();
  float float_high = std::numeric_limits<float>::infinity();
  std::int32_t zero_point = 0, low = 0, high = 65535;
  packed_memory packed = {};              // in place of weights, bias and multiplier, where given
};

/// Batched product of two activations: acc = Σ_k (a − za) · (b − zb); src: a u8, b u8; dst u8, or f32 if to_float.
/// Batch i reads a + a_offset[i], b + b_offset[i] and writes c + i · m · n.
/// a is [m,k] rows (a_trans: [k,m]), b is [k,n] (b_trans: [n,k]), all contiguous.
struct qmatmul_args {
  std::int64_t m = 1, n = 1, k = 1;
  bool a_trans = false, b_trans = false;
  std::span<const std::int64_t> a_offset = {}, b_offset = {};  // [batch], elements
  std::int32_t a_zero_point = 0, b_zero_point = 0;
  int_epilogue epilogue;                              // multiplier has one element; no add
};

/// src: f32 [size]; dst: u8 [size]; quantize_value(x, scale, zero_point, 0, 255). NaN → 0.
struct quantize_args {
  std::int64_t size = 0;
  float scale = 1;
  std::int32_t zero_point = 0;
};
/// src: u8 [size]; dst: f32 [size]; dequantize_value
struct dequantize_args {
  std::int64_t size = 0;
  float scale = 1;
  std::int32_t zero_point = 0;
};
/// dst[r, c] = table[src[r, c]]: requantization, activations, s8 ↔ u8. One byte each.
struct lookup_args {
  std::int64_t rows = 1, columns = 0;
  std::int64_t src_stride = 0, dst_stride = 0;       // from row to row; 0: columns
  std::array<std::uint8_t, 256> table{};
};

/// Two operands seen through broadcasting, dimensions merged where possible: element (i0,…) of the destination
/// (contiguous) reads a[Σ i·a_stride], b[Σ i·b_stride]. At most 8 dimensions, innermost last; a stride of 0 repeats.
struct broadcast {
  int rank = 1;
  std::array<std::int64_t, 8> extent{}, a_stride{}, b_stride{};
  std::int64_t size() const {
    std::int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= extent[static_cast<std::size_t>(i)];
    return n;
  }
};

/// u8 ∘ u8 → u8.
///   add: add_value(a, b, sum)
///   mul: requantize_value((a − za) · (b − zb), multiplier, zero_point, low, high)
struct qbinary_args {
  enum class kind : std::uint8_t { add, mul } what = kind::add;
  broadcast over;
  std::int32_t a_zero_point = 0, b_zero_point = 0, zero_point = 0, low = 0, high = 255;
  float multiplier = 1;
  add_rule sum = {};
};

/// u8 pooling over n h w c. max: the largest code (padding never wins).
/// average: requantize_value(Σ(x − x_zero_point), float(multiplier / count), zero_point, 0, 255), `count` the window's
/// taps inside the image (count_include_pad: inside the padded image, which the pads below bound).
struct qpool_args {
  bool average = false;
  conv_geometry geometry;              // in_c == out_c, groups unused
  bool count_include_pad = false;
  std::int64_t pad_bottom = 0, pad_right = 0;
  std::int32_t x_zero_point = 0, zero_point = 0;
  double multiplier = 1;               // s_x / s_y
};

// ---- float -----------------------------------------------------------------------------------------------------------

/// f32 convolution. src: x f32; dst: f32. bias [out_c] or null.
struct conv_args {
  conv_geometry geometry;
  const float* weights = nullptr;      // [out_c, kernel_h, kernel_w, in_c / groups]
  const float* bias = nullptr;
  clamp act = {};
  packed_memory packed = {};           // in place of weights and bias, where given
};

/// Batched f32 product a · b + bias. src: a, b (unless `b` below), dst contiguous [batch, m, n].
struct matmul_args {
  std::int64_t m = 1, n = 1, k = 1;
  bool a_trans = false, b_trans = false;
  std::span<const std::int64_t> a_offset = {}, b_offset = {};  // [batch], elements
  const float* b = nullptr;            // constant right side, packed once; then src has a alone
  const float* bias = nullptr;         // [n] or null
  clamp act = {};
  packed_memory packed = {};           // in place of b and bias, where given
};

/// src, dst f32 [size]
struct unary_args {
  unary_kind kind = unary_kind::relu;
  float alpha = 0, beta = 0;
  std::int64_t size = 0;
};
/// f32 arithmetic (add sub mul div min max pow prelu), clamped
struct binary_args {
  binary_kind kind = binary_kind::add;
  broadcast over;
  clamp act = {};
};
/// f32 pooling over n h w c
struct pool_args {
  pool_kind kind = pool_kind::max;
  conv_geometry geometry;
  bool count_include_pad = false;
  std::int64_t pad_bottom = 0, pad_right = 0;
  std::int64_t p = 2;
};
/// f32 [outer, size, inner] along the middle axis
struct softmax_args {
  std::int64_t outer = 1, size = 1, inner = 1;
  bool log = false;
  bool normalized = true;  // false: e^(x − max) as it is
};
/// f32 [rows, size], normalised per row; scale and bias [size] or null: src: x, [scale], [bias] where not constant
struct layer_norm_args {
  std::int64_t rows = 1, size = 1;
  float epsilon = 1e-5f;
  bool rms = false;
  const float* scale = nullptr;
  const float* bias = nullptr;
};
/// f32 [outer, size, inner] → [outer, inner] over the middle axis
struct reduce_args {
  reduce_kind kind = reduce_kind::mean;
  std::int64_t outer = 1, size = 1, inner = 1;
};

// ---- data movement, any element type -----------------------------------------------------------------------------------

/// dst[dst_offset + Σ i·dst_stride] = src[src_offset + Σ i·src_stride]; strides may be 0 (repeat) or negative (flip) for
/// the source. Elements of 1, 2, 4 or 8 bytes.
struct copy_args {
  int element_bytes = 4;
  int rank = 1;
  std::array<std::int64_t, 8> extent{}, src_stride{}, dst_stride{};
  std::int64_t src_offset = 0, dst_offset = 0;
};

}  // namespace ptq::kernels
