#pragma once
// SPDX-License-Identifier: Apache-2.0
// What depthwise_conv.hpp prepares: channels cut into blocks, and their weights as the kernels of
// depthwise.hpp read them.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include <ptq/kernels/args.hpp>
#include <ptq/native/dot.hpp>
#include <ptq/native/epilogue.hpp>
#include <ptq/native/gemm.hpp>
#include <ptq/native/object.hpp>
#include <ptq/native/pair_add.hpp>

namespace ptq::native {

struct depthwise_block {
  std::int64_t channel = 0, columns = 0;
  std::int64_t skip = 0;     // leading columns that the block before it stores
  std::int64_t weights = 0;  // offset in bytes
  std::int64_t padded = 0;   // offset into bias and multiplier
  int width = 16;            // channels of the registers used
  bool quads = false;        // bytes are multiplied, not 16-bit halves of them
};

/// A slot's tap in the filter; kh < 0: none.
struct depthwise_slot {
  std::int32_t kh = -1, kw = 0;
};

struct depthwise_object {
  kernels::conv_geometry g;
  epilogue_rule rule;
  bool columns3 = false;    // the 3×3 form
  std::int64_t groups = 1;  // groups of four slots
  std::int64_t repeat = 1;  // output channels per input channel
  std::int64_t side = 1;    // output pixels side by side (3×3 only)
  std::int64_t blocks = 1, blocks_per_unit = 1, parts = 1;
  const depthwise_block* block = nullptr;
  const depthwise_slot* slot = nullptr;  // [4 · groups]
  const std::int8_t* weights = nullptr;
  const std::int32_t* bias = nullptr;  // in interleaved order, like the multipliers
  const float* multiplier = nullptr;
  const std::uint8_t* padding = nullptr;  // 64 zero points
};

/// Bytes of a block's weights per group of slots.
template <class S, class Way>
inline constexpr int depthwise_group_bytes = Way::steps * 16 * S::lanes;

/// Where slot `t` of the group of `channel` (within the block) is packed; widened to 16 bits where
/// steps are 2.
template <class S, class Way>
PTQ_ALWAYS_INLINE void put_depthwise_weight(std::int8_t* group, int channel, int t, std::int8_t w) {
  const int j = channel % 16 / 4, lane = channel / 16 * 4 + channel % 4;
  if constexpr (Way::steps == 1) {
    group[(j * S::lanes + lane) * 4 + t] = w;
  } else {
    const std::int16_t wide = w;
    std::memcpy(group + ((j * 2 + t % 2) * S::lanes + lane) * 4 + t / 2 * 2, &wide, 2);
  }
}

/// Taps of a group of slots: the last slot is a tap of its own only with vpdpbusd.
template <class Isa>
inline constexpr std::int64_t taps_per_group = has_dpbusd<Isa> ? 4 : 3;

/// Slots of a filter and their order: the tap (kh, kw) of slot s, or −1 where it is empty.
template <class Isa>
PTQ_ALWAYS_INLINE std::int64_t depthwise_tap(const depthwise_object& d, std::int64_t slot) {
  const std::int64_t group = slot / 4;
  if (d.columns3) return (slot % 4 == 3 ? 1 : slot % 4) * 3 + group;
  const bool again = taps_per_group<Isa> == 3 && slot % 4 == 3;
  const std::int64_t t = taps_per_group<Isa> * group + (again ? 1 : slot % 4);
  return t < d.g.kernel_h * d.g.kernel_w ? t : -1;
}

/// Weights of a group of slots of one filter, before any is split: a tap met again weighs nothing.
template <class Isa>
PTQ_ALWAYS_INLINE void group_weights(const depthwise_object& d, std::int64_t group,
                                     const std::int8_t* filter, std::int8_t (&w)[4]) {
  for (int i = 0; i < 4; ++i) {
    const std::int64_t t = depthwise_tap<Isa>(d, 4 * group + i);
    const bool again = i == 3 && (d.columns3 || taps_per_group<Isa> == 3);
    w[i] = t < 0 || again ? std::int8_t{0} : filter[t];
  }
}

/// Cuts `channels` into blocks of the widest registers and one that covers the rest, overlapping
/// the one before it where it is wider than the rest; returns the count, and fills `block` if any.
template <class Isa>
std::int64_t cut_channels(std::int64_t channels, std::int64_t groups,
                          depthwise_block* block) noexcept {
  constexpr int steps = has_dpbusd<Isa> ? 1 : 2,
                widest = register_bytes<Isa> < 16 ? 16 : register_bytes<Isa>;
  std::int64_t n = 0, weights = 0, padded = 0;
  for (std::int64_t c = 0; c < channels; ++n) {
    const std::int64_t left = channels - c;
    int width = 16;
    while (width < left && 2 * width <= std::min<std::int64_t>(widest, channels)) width *= 2;
    const std::int64_t columns = std::min<std::int64_t>(width, left);
    const std::int64_t skip = channels >= width ? width - columns : 0;
    if (block) block[n] = {c - skip, columns + skip, skip, weights, padded, width, false};
    weights += groups * steps * 4 * width;
    padded += width;
    c += columns;
  }
  return n;
}

template <class Isa>
PTQ_ALWAYS_INLINE void pack_depthwise_weights(std::int8_t* group, const depthwise_block& b,
                                              int channel, const std::int8_t (&w)[4]) {
  const auto put = [&]<class S>(S) {
    for (int t = 0; t < 4; ++t)
      b.quads ? put_depthwise_weight<S, quads>(group, channel, t, w[t])
              : put_depthwise_weight<S, pairs>(group, channel, t, w[t]);
  };
  if constexpr (register_bytes<Isa> >= 64)
    if (b.width == 64) return put(simd<Isa, 64>{});
  if constexpr (register_bytes<Isa> >= 32)
    if (b.width == 32) return put(simd<Isa, 32>{});
  put(simd < Isa, register_bytes<Isa> == 0 ? 0 : 16 > {});
}

/// Pixels side by side, see depthwise.hpp.
template <class Isa>
std::int64_t pixels_side_by_side(const depthwise_object& d) noexcept {
  const kernels::conv_geometry& g = d.g;
  if (register_bytes<Isa> < 32 || !d.columns3 || d.repeat != 1 || g.dst_pixel() != g.out_c) return 1;
  // neighbours are loaded as one
  if ((g.stride_w == 1 || register_bytes<Isa> == 64) && g.src_pixel() != g.in_c) return 1;
  std::int64_t side = 1;
  if (register_bytes<Isa> == 32 && (g.out_c == 8 || g.out_c == 16)) side = 32 / g.out_c;
  if (register_bytes<Isa> == 64 && g.stride_w == 1) {
    if (g.out_c == 16) side = 4;
    if (g.out_c == 8 || g.out_c == 24 || g.out_c == 40) side = 8;
  }
  return g.out_w >= side ? side : 1;
}

/// The filter of a block's column.
inline std::int64_t filter_of(const depthwise_object& d, const depthwise_block& b,
                              std::int64_t column) noexcept {
  return d.side == 1 ? b.channel + column : (b.channel + column) % d.g.out_c;
}

/// Whether a block's weights may be multiplied as bytes.
template <class Isa>
bool takes_quads(const depthwise_object& d, const depthwise_block& b,
                 const std::int8_t* filters) noexcept {
  if (has_dpbusd<Isa>) return true;
  if (!has_pair_add<Isa>) return false;
  const std::int64_t taps = d.g.kernel_h * d.g.kernel_w;
  for (std::int64_t c = b.skip; c < b.columns; ++c)
    for (std::int64_t group = 0; group < d.groups; ++group) {
      std::int8_t w[4], slots[4];
      group_weights<Isa>(d, group, filters + filter_of(d, b, c) * taps, w);
      if (!split_three({w[0], w[1], w[2]}, slots)) return false;
    }
  return true;
}

/// What a depthwise convolution's packed memory starts with: its form, and which blocks take quads.
struct depthwise_form {
  std::int64_t side = 1, blocks = 0;
};

/// One block's weights, folded biases and multipliers.
template <class Isa>
void pack_depthwise_block(const depthwise_object& d, const depthwise_block& b,
                          const kernels::qconv_args& a, std::int8_t* weights, std::int32_t* bias,
                          float* multiplier) noexcept {
  const std::int64_t taps = d.g.kernel_h * d.g.kernel_w;
  const int lanes = b.width / 4;
  const std::int64_t group_bytes = (b.quads ? 1 : 2) * 4 * b.width;
  for (auto c = static_cast<int>(b.skip); c < b.columns; ++c) {
    const std::int64_t o = filter_of(d, b, c);
    std::int32_t sum = 0;
    for (std::int64_t group = 0; group < d.groups; ++group) {
      std::int8_t w[4];
      group_weights<Isa>(d, group, a.weights + o * taps, w);
      for (const std::int8_t x : w) sum += x;
      if (!has_dpbusd<Isa> && b.quads) split_three({w[0], w[1], w[2]}, w);
      pack_depthwise_weights<Isa>(weights + b.weights + group * group_bytes, b, c, w);
    }
    const std::int64_t at = b.padded + c % 16 / 4 * lanes + c / 16 * 4 + c % 4;
    bias[at] = static_cast<std::int32_t>(static_cast<std::uint32_t>(a.bias ? a.bias[o] : 0) -
                                         static_cast<std::uint32_t>(a.x_zero_point) *
                                             static_cast<std::uint32_t>(sum));
    multiplier[at] = a.epilogue.multiplier.data()[a.epilogue.multiplier.size() == 1 ? 0 : o];
  }
}

}  // namespace ptq::native
