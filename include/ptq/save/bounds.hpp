#pragma once
// SPDX-License-Identifier: Apache-2.0
// How far a kernel made of given arguments reaches into its operands. Arguments from a file are untrusted: they are
// held against these figures before a kernel is made of them, so that no step leaves its slots.

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include <ptq/core/dtype.hpp>
#include <ptq/kernels/args.hpp>

namespace ptq::saving {

/// Bytes from an operand's start; 0 where it isn't read.
struct reach {
  std::array<std::int64_t, 4> src{};
  std::int64_t dst = 0;
  bool first_alone = false;  // the kernel does without the other sources
};

/// What a figure should have been and is; becomes an import_error that names the file.
struct mismatch {
  std::string what;
};

inline void require_within(const char* what, std::int64_t v, std::int64_t least, std::int64_t most) {
  if (v < least || v > most)
    throw mismatch{std::string(what) + ": expected " + std::to_string(least) + " to " +
                       std::to_string(most) + ", got " + std::to_string(v)};
}

inline constexpr std::int64_t most_extent = (std::int64_t{1} << 31) - 1, most_elements = std::int64_t{1} << 48;

/// Product of extents, each checked: 0 to 2^31 − 1, and at most 2^48 together.
inline std::int64_t elements(std::span<const std::int64_t> extents) {
  std::int64_t n = 1;
  for (auto e : extents) {
    require_within("extent", e, 0, most_extent);
    if (e > 0) require_within("elements", n, 0, most_elements / e);
    n *= e;
  }
  return n;
}
inline std::int64_t elements(std::initializer_list<std::int64_t> extents) {
  return elements(std::span<const std::int64_t>(extents.begin(), extents.size()));
}

/// Elements from the first to behind the last of `pixels` pixels.
inline std::int64_t pixel_span(std::int64_t pixels, std::int64_t channels, std::int64_t stride) {
  if (pixels == 0 || channels == 0) return 0;
  require_within("pixel stride", stride, channels, most_extent);
  require_within("pixels", pixels, 0, most_elements / stride);
  return (pixels - 1) * stride + channels;
}

inline void check_geometry(const kernels::conv_geometry& g) {
  for (auto v : {g.in_c, g.out_c, g.kernel_h, g.kernel_w, g.stride_h, g.stride_w, g.dilation_h, g.dilation_w, g.groups})
    require_within("geometry", v, 1, most_extent);
  for (auto v : {g.batch, g.in_h, g.in_w, g.out_h, g.out_w, g.pad_top, g.pad_left, g.src_stride, g.dst_stride})
    require_within("geometry", v, 0, most_extent);
  elements({g.out_c, g.kernel_h, g.kernel_w, g.in_c});
  elements({g.dilation_h, g.kernel_h, g.dilation_w, g.kernel_w});
  if (g.in_c % g.groups != 0 || g.out_c % g.groups != 0)
    throw mismatch{"groups: expected a divisor of " + std::to_string(g.in_c) + " and " +
                       std::to_string(g.out_c) + ", got " + std::to_string(g.groups)};
}

/// src and dst of a window that goes over n h w c.
inline reach reach_of(const kernels::conv_geometry& g, std::int64_t src_bytes, std::int64_t dst_bytes) {
  reach r;
  r.src[0] = pixel_span(elements({g.batch, g.in_h, g.in_w}), g.in_c, g.src_pixel()) * src_bytes;
  r.dst = pixel_span(elements({g.batch, g.out_h, g.out_w}), g.out_c, g.dst_pixel()) * dst_bytes;
  return r;
}

inline std::int64_t bytes_of(dtype t) { return static_cast<std::int64_t>(size_of(t)); }

/// Elements from the first to behind the last that `strides` lead to; `first` is where they start.
inline std::int64_t strided_span(int rank, const std::array<std::int64_t, 8>& extent,
                                 const std::array<std::int64_t, 8>& stride, std::int64_t first = 0) {
  require_within("rank", rank, 0, 8);
  require_within("offset", first, 0, most_elements);
  std::int64_t lowest = first, highest = first, count = 1;
  bool none = false;
  for (std::size_t i = 0; i < static_cast<std::size_t>(rank); ++i) {
    require_within("stride", stride[i], -most_extent, most_extent);
    const auto e = elements({1, extent[i]});
    none = none || e == 0;
    if (e > 0) require_within("elements", count, 0, most_elements / e);
    count *= std::max<std::int64_t>(e, 1);
  }
  if (none) return 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(rank); ++i) {
    (stride[i] < 0 ? lowest : highest) += (extent[i] - 1) * stride[i];
    require_within("span", highest, 0, most_elements);
    require_within("span", lowest, 0, most_elements);
  }
  return highest + 1;
}
inline std::int64_t size_of(const kernels::broadcast& over) {
  std::int64_t n = 1;
  require_within("rank", over.rank, 0, 8);
  for (std::size_t i = 0; i < static_cast<std::size_t>(over.rank); ++i) {
    require_within("extent", over.extent[i], 0, most_extent);
    if (over.extent[i] > 0) require_within("elements", n, 0, most_elements / over.extent[i]);
    n *= over.extent[i];
  }
  return n;
}
inline reach reach_of(const kernels::broadcast& over, std::int64_t bytes) {
  return {{strided_span(over.rank, over.extent, over.a_stride) * bytes,
           strided_span(over.rank, over.extent, over.b_stride) * bytes},
          size_of(over) * bytes};
}

inline reach elementwise(std::int64_t size, std::int64_t src_bytes, std::int64_t dst_bytes) {
  require_within("size", size, 0, most_elements);
  return {{size * src_bytes}, size * dst_bytes};
}

/// Batched products; both offsets have one element per batch, or there is one batch.
template <class Args>
reach reach_of_product(const Args& a, std::int64_t bytes, std::int64_t dst_bytes) {
  const auto behind = [&](std::span<const std::int64_t> offsets, std::int64_t one) {
    std::int64_t furthest = 0;
    for (auto at : offsets) {
      require_within("offset", at, 0, most_elements);
      furthest = std::max(furthest, at);
    }
    return furthest + one;
  };
  const auto count = std::max(a.a_offset.size(), a.b_offset.size());
  for (auto n : {a.a_offset.size(), a.b_offset.size()})
    if (n != count && (n > 0 || count > 1))
      throw mismatch{"offsets: expected " + std::to_string(count) + ", got " + std::to_string(n)};
  const auto batch = std::max<std::int64_t>(static_cast<std::int64_t>(count), 1);
  return {{behind(a.a_offset, elements({a.m, a.k})) * bytes, behind(a.b_offset, elements({a.k, a.n})) * bytes},
          elements({batch, a.m, a.n}) * dst_bytes};
}

inline void check_multipliers(std::size_t count, std::int64_t channels) {
  if (count != 1 && static_cast<std::int64_t>(count) != channels)
    throw mismatch{"multipliers: expected 1 or " + std::to_string(channels) + ", got " + std::to_string(count)};
}

/// Codes of u8, or up to `top`.
inline void check_codes(std::initializer_list<std::int32_t> codes, std::int32_t top = 255) {
  for (auto q : codes) require_within("code", q, 0, top);
}

// ---- one per arguments

inline reach reach_of(const kernels::qconv_args& a) {
  reach r = reach_of(a.geometry, 1, a.epilogue.to_float ? 4 : 1);
  if (a.epilogue.add) r.src[1] = r.dst;
  if (a.epilogue.add && a.epilogue.to_float) throw mismatch{"a sum of codes as reals"};
  check_codes({a.x_zero_point, a.epilogue.zero_point, a.epilogue.low, a.epilogue.high, a.epilogue.sum.low,
               a.epilogue.sum.high});
  if (!a.packed.data) check_multipliers(a.epilogue.multiplier.size(), a.geometry.out_c);
  return r;
}
inline reach reach_of(const kernels::wide_conv_args& a) {
  check_codes({a.x_zero_point, a.zero_point, a.low, a.high}, 65535);
  if (!a.packed.data) check_multipliers(a.multiplier.size(), a.geometry.out_c);
  return reach_of(a.geometry, bytes_of(a.x_type), bytes_of(a.y_type));
}
inline reach reach_of(const kernels::qmatmul_args& a) {
  check_multipliers(a.epilogue.multiplier.size(), 1);
  check_codes({a.a_zero_point, a.b_zero_point, a.epilogue.zero_point, a.epilogue.low, a.epilogue.high});
  if (a.epilogue.add) throw mismatch{"a batched product with a sum"};
  return reach_of_product(a, 1, a.epilogue.to_float ? 4 : 1);
}
inline reach reach_of(const kernels::lookup_args& a) {
  const auto span = [&](std::int64_t stride) { return pixel_span(a.rows, a.columns, stride ? stride : a.columns); };
  elements({a.rows, a.columns});
  return {{span(a.src_stride)}, span(a.dst_stride)};
}
inline reach reach_of(const kernels::qbinary_args& a) {
  check_codes({a.a_zero_point, a.b_zero_point, a.zero_point, a.low, a.high, a.sum.low, a.sum.high});
  return reach_of(a.over, 1);
}
inline reach reach_of(const kernels::qpool_args& a) {
  check_codes({a.x_zero_point, a.zero_point});
  require_within("pad", a.pad_bottom, 0, most_extent);
  require_within("pad", a.pad_right, 0, most_extent);
  require_within("channels", a.geometry.out_c, a.geometry.in_c, a.geometry.in_c);
  return reach_of(a.geometry, 1, 1);
}
inline reach reach_of(const kernels::conv_args& a) { return reach_of(a.geometry, 4, 4); }
inline reach reach_of(const kernels::matmul_args& a) {
  reach r = reach_of_product(a, 4, 4);
  if (a.b || a.packed.data) r.src[1] = 0;
  return r;
}
inline reach reach_of(const kernels::unary_args& a) { return elementwise(a.size, 4, 4); }
inline reach reach_of(const kernels::binary_args& a) { return reach_of(a.over, 4); }
inline reach reach_of(const kernels::pool_args& a) {
  require_within("pad", a.pad_bottom, 0, most_extent);
  require_within("pad", a.pad_right, 0, most_extent);
  require_within("channels", a.geometry.out_c, a.geometry.in_c, a.geometry.in_c);
  return reach_of(a.geometry, 4, 4);
}
inline reach reach_of(const kernels::softmax_args& a) {
  return elementwise(elements({a.outer, a.size, a.inner}), 4, 4);
}
inline reach reach_of(const kernels::layer_norm_args& a) {
  reach r = elementwise(elements({a.rows, a.size}), 4, 4);
  r.src[1] = r.src[2] = a.size * 4;
  r.first_alone = true;
  return r;
}
inline reach reach_of(const kernels::reduce_args& a) {
  reach r = elementwise(elements({a.outer, a.size, a.inner}), 4, 4);
  r.dst = elements({a.outer, a.inner}) * 4;
  return r;
}
inline reach reach_of(const kernels::copy_args& a) {
  if (a.element_bytes != 1 && a.element_bytes != 2 && a.element_bytes != 4 && a.element_bytes != 8)
    throw mismatch{"element: expected 1, 2, 4 or 8 bytes, got " + std::to_string(a.element_bytes)};
  return {{strided_span(a.rank, a.extent, a.src_stride, a.src_offset) * a.element_bytes},
          strided_span(a.rank, a.extent, a.dst_stride, a.dst_offset) * a.element_bytes};
}

}  // namespace ptq::saving
