#pragma once
// SPDX-License-Identifier: Apache-2.0
// Filters as integer_winograd.hpp reads them, and which it takes.

#include <cstddef>
#include <cstdint>

#include <ptq/kernels/args.hpp>
#include <ptq/native/epilogue.hpp>
#include <ptq/native/gemm.hpp>
#include <ptq/native/object.hpp>

namespace ptq::native {

namespace integer_winograd {

inline constexpr int side = 4, reach = 6, products = reach * reach;  // outputs and inputs of a tile
inline constexpr std::int32_t ninth = 0x38e38e39;                    // · 9 = 1 modulo 2^32
inline constexpr std::int64_t largest_sum = (std::int64_t{1} << 25) - 1;

/// Whether this ISA has the kernel.
template <class Isa>
inline constexpr bool there = has_pair_add<Isa>;

template <class Isa>
inline constexpr int lanes = simd<Isa, register_bytes<Isa>>::lanes;
template <class Isa>
inline constexpr int panel_vectors = gemm_shape<Isa>::vectors;
/// Rows behind a block that its last products may take along.
template <class Isa>
inline constexpr std::int64_t slack = gemm_shape<Isa>::rows(1);

/// Registers of a panel: the last one has as few as hold its columns.
template <class Isa>
PTQ_ALWAYS_INLINE int vectors_of(std::int64_t out, std::int64_t panel) {
  const std::int64_t left = out - panel * panel_vectors<Isa> * lanes<Isa>;
  const std::int64_t vectors = (left + lanes<Isa> - 1) / lanes<Isa>;
  return static_cast<int>(vectors < panel_vectors<Isa> ? vectors : panel_vectors<Isa>);
}

template <class Isa>
using words = xsimd::batch<std::int16_t, typename Isa::arch>;

/// Three weights in a line → six.
PTQ_ALWAYS_INLINE void transform_filter(int a, int b, int c, int (&y)[reach]) {
  const int even = a + c, wide = a + 4 * c;
  y[0] = 6 * a;
  y[1] = even + b;
  y[2] = even - b;
  y[3] = wide + 2 * b;
  y[4] = wide - 2 * b;
  y[5] = 6 * c;
}

/// Whether every sum of products of codes is one that the outputs' shift leaves as it is.
template <class Isa>
bool sums_fit(const kernels::qconv_args& a) noexcept {
  const std::int64_t count = 9 * a.geometry.in_c;
  for (std::int64_t o = 0; o < a.geometry.out_c; ++o) {
    std::int64_t above = 0, below = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t w = a.weights[o * count + i];
      (w > 0 ? above : below) += w;
    }
    if (255 * above > largest_sum || 255 * -below > largest_sum) return false;
  }
  return true;
}

/// Packed memory: weights, then bias, then multipliers.
template <class Isa>
struct packed_layout {
  block_layout<Isa> bytes;
  std::size_t weights, bias, multiplier;
  PTQ_ALWAYS_INLINE explicit packed_layout(const kernels::conv_geometry& g) {
    const std::int64_t padded = (g.out_c + lanes<Isa> - 1) / lanes<Isa> * lanes<Isa>;
    weights = bytes.template add<std::int16_t>(products * ((g.in_c + 1) / 2 * 2) * padded);
    bias = bytes.template add<std::int32_t>(padded);
    multiplier = bytes.template add<float>(padded);
  }
};

/// Whether these arguments are for this kernel: packed memory that is its own, or weights whose sums fit and whose
/// transform pays.
template <class Isa>
bool takes(const kernels::qconv_args& a) noexcept {
  const kernels::conv_geometry& g = a.geometry;
  constexpr std::int64_t least_tiles = 4, least_out = 2 * lanes<Isa>;
  // packed eight times as large, they have to be read often enough: 512 x 512 filters on 14 x 14 pixels
  constexpr std::int64_t most_weights = 1 << 14;
  if (g.kernel_h != 3 || g.kernel_w != 3 || g.stride_h != 1 || g.stride_w != 1 || g.dilation_h != 1 ||
      g.dilation_w != 1 || g.groups != 1 || g.in_c < std::int64_t{words<Isa>::size})
    return false;
  if (a.packed.data) return packed_layout<Isa>(g).bytes.bytes == a.packed.bytes;
  const std::int64_t tiles = g.batch * ((g.out_h + side - 1) / side) * ((g.out_w + side - 1) / side);
  return g.out_c >= least_out && tiles >= least_tiles && g.in_c * g.out_c <= tiles * most_weights && sums_fit<Isa>(a);
}

/// Weights of input channel c of one filter, `in` channels from tap to tap, to the 36 products' columns, `size`
/// elements apart. Returns Σw.
PTQ_ALWAYS_INLINE std::int32_t pack_channel(const std::int8_t* w, std::int64_t in, std::int16_t* to,
                                            std::int64_t size) {
  int half[3][reach];  // rows transformed
  std::int32_t sum = 0;
  for (int h = 0; h < 3; ++h) {
    const int a = w[3 * h * in], b = w[(3 * h + 1) * in], c = w[(3 * h + 2) * in];
    sum += a + b + c;
    transform_filter(a, b, c, half[h]);
  }
  for (int j = 0; j < reach; ++j) {
    int u[reach];
    transform_filter(half[0][j], half[1][j], half[2][j], u);
    for (int i = 0; i < reach; ++i) to[(i * reach + j) * size] = static_cast<std::int16_t>(u[i]);
  }
  return sum;
}

template <class Isa>
void pack_weights(const kernels::qconv_args& a, std::int64_t pairs, std::int16_t* to, std::int32_t* bias,
                  float* multiplier) noexcept {
  const std::int64_t in = a.geometry.in_c, out = a.geometry.out_c;
  constexpr std::int64_t columns = panel_vectors<Isa> * lanes<Isa>;
  for (std::int64_t first = 0; first < out; first += columns) {
    const std::int64_t width = vectors_of<Isa>(out, first / columns) * lanes<Isa>;
    const std::int64_t count = out - first < columns ? out - first : columns, size = pairs * 2 * width;
    std::int32_t sum[columns] = {};
    for (std::int64_t c = 0; c < in; ++c)  // neighbouring columns share cache lines
      for (std::int64_t o = 0; o < count; ++o)
        sum[o] += pack_channel(a.weights + (first + o) * 9 * in + c, in,
                               to + c / 2 * 2 * width + 2 * o + c % 2, size);
    to += products * size;
    for (std::int64_t o = 0; o < count; ++o) {
      const std::int64_t at = first + o;
      bias[at] = folded_bias(a.bias ? a.bias[at] : 0, a.x_zero_point, sum[o]);
      multiplier[at] = a.epilogue.multiplier.data()[a.epilogue.multiplier.size() == 1 ? 0 : at];
    }
  }
}

}  // namespace integer_winograd

}  // namespace ptq::native
