#pragma once
// SPDX-License-Identifier: Apache-2.0
// What depthwise.hpp prepares: the taps of a filter as groups of slots, channels cut into blocks,
// and weights as depthwise_walk.hpp reads them.
//
// A slot group is what one dot product takes: four bytes of a channel. The rows of the filter lie
// in groups one below the other, as many as there are taps in a group (rows of one column). Where
// fewer rows are left for the last group, it takes neighbouring columns of them instead: one row of
// a 5×5 filter with vpdpbusd, so that its taps are 5 groups of four rows and 2 of four columns.
//
// With vpdpbusd a group has four taps. Where pairs are added in 16 bits it has three, and the second
// of them again, so that its weight can be split (pair_add.hpp); a filter whose columns lie in a
// buffer has two there, widened to 16 bits once for all the products that read them.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include <ptq/kernels/args.hpp>
#include <ptq/native/dot.hpp>
#include <ptq/native/epilogue.hpp>
#include <ptq/native/gemm.hpp>
#include <ptq/native/object.hpp>
#include <ptq/native/pair_add.hpp>

namespace ptq::native {

/// The registers whose lanes are channels: an ISA's widest.
template <class Isa>
using depthwise_lanes = simd<Isa, register_bytes<Isa>>;
template <class Isa>
inline constexpr int depthwise_width = 4 * depthwise_lanes<Isa>::lanes;  // bytes

/// Channels that fill one register, or an equal part of it: parts hold the same channels of output
/// pixels, equal lengths of the row apart.
struct depthwise_block {
  std::int64_t channel = 0, columns = 0;
  std::int64_t skip = 0;     // leading columns that the block before it stores
  std::int64_t weights = 0;  // offset in bytes
  std::int64_t padded = 0;   // offset into bias and multiplier
  int parts = 1;
  bool quads = false;  // bytes are multiplied, not 16-bit halves of them
};

/// Where a slot reads: a row of the filter's window, and columns to the right of the group's own.
struct depthwise_slot {
  std::int32_t kh = 0, right = 0;
};

struct depthwise_object {
  kernels::conv_geometry g;
  epilogue_rule rule;
  bool three = false;           // 3×3 to codes, of a function or not: columns stay in registers
  bool widened = false;         // slots are 16-bit halves: `words`
  bool dense = false;           // parts of a register are neighbouring pixels
  std::int64_t repeat = 1;      // output channels per input channel
  std::int64_t group_taps = 4;  // most taps of a slot group
  std::int64_t groups = 1;      // slot groups of a column
  std::int64_t steps = 1;       // slot groups of a pixel
  std::int64_t room = 1;        // columns that the walk's buffer holds
  std::int64_t ahead = 1;       // pixels whose columns are made at once
  std::int64_t blocks = 1, blocks_per_unit = 1;
  std::int64_t rows_together = 1;  // output rows that a block walks before the next block does
  const depthwise_block* block = nullptr;
  const depthwise_slot* slot = nullptr;  // [groups][4]
  const std::int64_t* offset = nullptr;  // [steps] bytes from a pixel's first column
  const std::int64_t* every = nullptr;   // [groups] columns from one that pixels read to the next
  const std::int8_t* weights = nullptr;
  const std::int32_t* bias = nullptr;  // in interleaved order, like the multipliers
  const float* multiplier = nullptr;
  const std::uint8_t* padding = nullptr;  // a row of zero points, a register at least

  /// Bytes from pixel to pixel of the rows that walks read.
  PTQ_ALWAYS_INLINE std::int64_t pixel() const { return repeat == 1 ? g.src_pixel() : g.out_c; }
  PTQ_ALWAYS_INLINE std::int64_t taps() const { return g.kernel_h * g.kernel_w; }
};

/// A way beside `quads` and `pairs`: two taps of a group, 16 bits each.
struct words {
  static constexpr int steps = 1;
};
/// Taps of a slot group: its last slot is one of its own where no pairs are added in 16 bits.
template <class Isa, class Way>
inline constexpr int taps_per_group = std::is_same_v<Way, words> ? 2
                                      : has_pair_add<Isa>        ? 3
                                                                 : 4;

/// Rows and columns of the filter that a slot group of a column takes.
struct depthwise_group {
  std::int64_t rows, columns;
};
template <class Isa>
PTQ_ALWAYS_INLINE depthwise_group group_shape(const depthwise_object& d, std::int64_t group) {
  const std::int64_t rows = std::min(d.group_taps, d.g.kernel_h - d.group_taps * group);
  return {rows, std::min(d.group_taps / rows, d.g.kernel_w)};
}

/// Cuts the filter into groups of `taps`.
template <class Isa>
void cut_filter(depthwise_object& d, std::int64_t taps) noexcept {
  d.group_taps = taps;
  d.groups = (d.g.kernel_h + taps - 1) / taps;
  const std::int64_t columns = group_shape<Isa>(d, d.groups - 1).columns;
  d.steps = (d.groups - 1) * d.g.kernel_w + (d.g.kernel_w + columns - 1) / columns;
}

/// A slot group of a pixel: a group of the column that is the filter's column `kw`.
struct depthwise_step {
  std::int64_t group, kw;
};
template <class Isa>
PTQ_ALWAYS_INLINE depthwise_step step_at(const depthwise_object& d, std::int64_t step) {
  const std::int64_t group = std::min(step / d.g.kernel_w, d.groups - 1);
  return {group, (step - group * d.g.kernel_w) * group_shape<Isa>(d, group).columns};
}

/// The tap that a slot takes, as row and column from the group's first; false: it takes none, or
/// one of another slot's again, which is then the tap returned.
template <class Isa>
PTQ_ALWAYS_INLINE bool slot_tap(const depthwise_object& d, const depthwise_group& shape,
                                std::int64_t slot, depthwise_group& tap) {
  const std::int64_t taps = shape.rows * shape.columns;
  const bool again = slot >= taps || slot >= d.group_taps;
  if (again) slot = has_pair_add<Isa> && slot == 3 && taps > 1 ? 1 : taps - 1;
  tap = {slot % shape.rows, slot / shape.rows};
  return !again;
}

/// Weights of a slot group of one filter, before any is split.
template <class Isa>
PTQ_ALWAYS_INLINE void step_weights(const depthwise_object& d, std::int64_t step,
                                    const std::int8_t* filter, std::int8_t (&w)[4]) {
  const depthwise_step at = step_at<Isa>(d, step);
  const depthwise_group shape = group_shape<Isa>(d, at.group);
  for (std::int64_t i = 0; i < 4; ++i) {
    depthwise_group tap;
    const bool own = slot_tap<Isa>(d, shape, i, tap) && at.kw + tap.columns < d.g.kernel_w;
    const std::int64_t kh = at.group * d.group_taps + tap.rows;
    w[i] = own ? filter[kh * d.g.kernel_w + at.kw + tap.columns] : std::int8_t{0};
  }
}

/// Bytes of a block's weights per slot group.
template <class S, class Way>
inline constexpr int depthwise_group_bytes = Way::steps * 16 * S::lanes;

/// Where slot `t` of a group of `lane` is packed; in 16 bits, except for `quads`.
template <class S, class Way>
PTQ_ALWAYS_INLINE void put_depthwise_weight(std::int8_t* group, int column, int t, std::int8_t w) {
  const int j = column % 16 / 4, lane = column / 16 * 4 + column % 4;
  const std::int16_t wide = w;
  if constexpr (std::is_same_v<Way, quads>)
    group[(j * S::lanes + lane) * 4 + t] = w;
  else if constexpr (std::is_same_v<Way, pairs>)
    std::memcpy(group + ((j * 2 + t % 2) * S::lanes + lane) * 4 + t / 2 * 2, &wide, 2);
  else if (t < 2)
    std::memcpy(group + (j * S::lanes + lane) * 4 + t * 2, &wide, 2);
}

/// Bytes that there are for a block's weights per slot group, whichever way is taken.
template <class Isa>
PTQ_ALWAYS_INLINE std::int64_t depthwise_group_room(const depthwise_object& d) {
  return (has_dpbusd<Isa> || d.widened ? 4 : 8) * depthwise_width<Isa>;
}

/// Cuts the output's channels into whole registers and parts of one that cover the rest,
/// overlapping the block before where they are wider than the rest; returns the count, and fills
/// `block` if any.
template <class Isa>
std::int64_t cut_channels(const depthwise_object& d, depthwise_block* block) noexcept {
  constexpr int width = depthwise_width<Isa>, narrowest = 8;
  const std::int64_t channels = d.g.out_c, group = depthwise_group_room<Isa>(d);
  std::int64_t n = 0;
  for (std::int64_t c = 0; c < channels; ++n) {
    const std::int64_t left = channels - c;
    int part = narrowest;
    while (part < left && 2 * part <= std::min<std::int64_t>(width, channels)) part *= 2;
    const std::int64_t columns = std::min<std::int64_t>(part, left);
    const std::int64_t skip = channels >= part ? part - columns : 0;
    if (block)
      block[n] = {c - skip,  columns + skip, skip, n * d.steps * group,
                  n * width, width / part,   false};
    c += columns;
  }
  return n;
}

/// Whether a block's weights may be multiplied as bytes.
template <class Isa>
bool takes_quads(const depthwise_object& d, const depthwise_block& b,
                 const std::int8_t* filters) noexcept {
  if (has_dpbusd<Isa>) return true;
  if (!has_pair_add<Isa> || d.widened) return false;
  for (std::int64_t c = b.skip; c < b.columns; ++c)
    for (std::int64_t step = 0; step < d.steps; ++step) {
      std::int8_t w[4], slots[4];
      step_weights<Isa>(d, step, filters + (b.channel + c) * d.taps(), w);
      if (!split_three({w[0], w[1], w[2]}, slots)) return false;
    }
  return true;
}

/// One block's weights, folded biases and multipliers; each part of the register has them all.
template <class Isa>
void pack_depthwise_block(const depthwise_object& d, const depthwise_block& b,
                          const kernels::qconv_args& a, std::int8_t* weights, std::int32_t* bias,
                          float* multiplier) noexcept {
  using S = depthwise_lanes<Isa>;
  constexpr int width = depthwise_width<Isa>;
  const std::int64_t group_bytes = (b.quads || d.widened ? 1 : 2) * 4 * width;
  for (int column = 0; column < width; ++column) {
    const std::int64_t c = column % (width / b.parts);
    if (c < b.skip || c >= b.columns) continue;
    const std::int64_t o = b.channel + c;
    std::int32_t sum = 0;
    for (std::int64_t step = 0; step < d.steps; ++step) {
      std::int8_t w[4];
      step_weights<Isa>(d, step, a.weights + o * d.taps(), w);
      for (const std::int8_t x : w) sum += x;
      if (has_pair_add<Isa> && b.quads) split_three({w[0], w[1], w[2]}, w);
      std::int8_t* group = weights + b.weights + step * group_bytes;
      for (int t = 0; t < 4; ++t)
        b.quads     ? put_depthwise_weight<S, quads>(group, column, t, w[t])
        : d.widened ? put_depthwise_weight<S, words>(group, column, t, w[t])
                    : put_depthwise_weight<S, pairs>(group, column, t, w[t]);
    }
    const std::int64_t at = b.padded + column % 16 / 4 * S::lanes + column / 16 * 4 + column % 4;
    bias[at] = static_cast<std::int32_t>(static_cast<std::uint32_t>(a.bias ? a.bias[o] : 0) -
                                         static_cast<std::uint32_t>(a.x_zero_point) *
                                             static_cast<std::uint32_t>(sum));
    multiplier[at] = a.epilogue.multiplier.data()[a.epilogue.multiplier.size() == 1 ? 0 : o];
  }
}

}  // namespace ptq::native
