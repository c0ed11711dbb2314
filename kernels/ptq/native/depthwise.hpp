#pragma once
// SPDX-License-Identifier: Apache-2.0
// Depthwise integer convolution: every channel is its own filter, so a lane is a channel. A unit is
// one output row times some blocks of channels, walked as depthwise_walk.hpp does; of a thread's
// rows, a block walks several before the next block does, as these read the same rows of the image.
//
// Several output channels per input channel are brought to the plain case by repeating the bytes of
// the rows in scratch.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include <ptq/native/depthwise_pack.hpp>
#include <ptq/native/depthwise_walk.hpp>
#include <ptq/native/object.hpp>

namespace ptq::native {

/// A thread's memory.
template <class Isa>
struct depthwise_scratch {
  std::uint8_t* columns = nullptr;     // [room][groups][4] registers
  std::uint8_t* repeated = nullptr;    // [kernel_h][repeated_pitch] where channels repeat
  std::int64_t* held = nullptr;        // [kernel_h] rows of all images that lie there
  const std::uint8_t** row = nullptr;  // [rows_together][groups][4]

  /// Its parts within `at`, or with none its size in bytes.
  std::size_t lay(const depthwise_object& d, std::byte* at) {
    block_layout<Isa> l;
    const std::size_t columns_at =
        d.three ? 0 : l.template add<std::uint8_t>(d.room * d.groups * 4 * depthwise_width<Isa>);
    const std::int64_t copies = d.repeat == 1 ? 0 : d.g.kernel_h;
    const std::size_t repeated_at = l.template add<std::uint8_t>(copies * repeated_pitch(d));
    const std::size_t held_at = l.template add<std::int64_t>(copies);
    const std::size_t row_at = l.template add<const std::uint8_t*>(d.rows_together * 4 * d.groups);
    if (at) {
      columns = at_offset<std::uint8_t>(at, columns_at);
      repeated = at_offset<std::uint8_t>(at, repeated_at);
      held = at_offset<std::int64_t>(at, held_at);
      row = at_offset<const std::uint8_t*>(at, row_at);
      for (std::int64_t i = 0; i < copies; ++i) held[i] = -1;
    }
    return l.bytes;
  }
  /// Bytes from row to row: eight are written at once.
  static std::int64_t repeated_pitch(const depthwise_object& d) { return d.g.in_w * d.g.out_c + 8; }
};

/// What all units of a call share.
template <class Isa>
struct depthwise_rows {
  const depthwise_object& d;
  const kernels::operands& io;
  depthwise_scratch<Isa> scratch;

  /// Row `iy` of an image, zero points outside it.
  PTQ_ALWAYS_INLINE const std::uint8_t* find(std::int64_t image, std::int64_t iy) const {
    const kernels::conv_geometry& g = d.g;
    if (iy < 0 || iy >= g.in_h) return d.padding;
    const std::int64_t row = image * g.in_h + iy;
    const auto* at = static_cast<const std::uint8_t*>(io.src[0]) + row * g.in_w * g.src_pixel();
    if (d.repeat == 1) return at;
    const std::int64_t place = iy / g.dilation_h % g.kernel_h;  // another for each of a window's
    std::uint8_t* const copy = scratch.repeated + place * scratch.repeated_pitch(d);
    if (scratch.held[place] != row) repeat(at, copy);
    scratch.held[place] = row;
    return copy;
  }
  PTQ_ALWAYS_INLINE void repeat(const std::uint8_t* from, std::uint8_t* to) const {
    const std::int64_t times = d.repeat, channels = d.g.in_c;
    for (std::int64_t x = 0; x < d.g.in_w; ++x, from += d.g.src_pixel())
      for (std::int64_t c = 0; c < channels; ++c, to += times) {
        const std::uint64_t eight = from[c] * std::uint64_t{0x0101010101010101};
        if (times <= 8)
          std::memcpy(to, &eight, 8);
        else
          std::memset(to, from[c], static_cast<std::size_t>(times));
      }
  }

  /// What the slots read for the `n` output rows from `first` on.
  PTQ_ALWAYS_INLINE void find_rows(std::int64_t first, std::int64_t n) const {
    const kernels::conv_geometry& g = d.g;
    const std::uint8_t** at = scratch.row;
    std::int64_t image = first / g.out_h, oy = first % g.out_h;
    for (std::int64_t row = 0; row < n; ++row) {
      const std::int64_t top = oy * g.stride_h - g.pad_top;
      for (std::int64_t i = 0; i < 4 * d.groups; ++i)
        *at++ = find(image, top + d.slot[i].kh * g.dilation_h) +
                d.slot[i].right * g.dilation_w * d.pixel();
      if (++oy == g.out_h) ++image, oy = 0;
    }
  }

  /// The `n` output rows from `first` on that were found, one block of channels.
  PTQ_ALWAYS_INLINE void run(std::int64_t first, std::int64_t n, const depthwise_block& b) const {
    const kernels::conv_geometry& g = d.g;
    const std::int64_t dilation = g.dilation_w, pixel = d.pixel();
    const std::int64_t element = d.rule.what == epilogue_rule::kind::reals ? 4 : 1;
    const auto walk = walk_of<Isa>(d, b);
    depthwise_run r;
    r.conv = &d;
    r.pitch = dilation * pixel;
    r.columns = scratch.columns;
    r.weights = d.weights + b.weights;
    r.bias = d.bias + b.padded;
    r.multiplier = d.multiplier + b.padded;
    r.skip = b.skip;
    r.to.columns = b.columns;
    r.to.stride = dilation * g.dst_pixel();
    for (std::int64_t pass = 0; pass < std::min(dilation, g.out_w); ++pass) {
      const std::int64_t left = pass * g.stride_w - g.pad_left;
      // of the columns from `left` on
      const auto before = [&](std::int64_t x) PTQ_INLINE_LAMBDA {
        return x > left ? (x - left + dilation - 1) / dilation : 0;
      };
      r.offset = left * pixel + b.channel;
      r.first = before(0);
      r.last = before(g.in_w);
      r.pixels = (g.out_w - pass + dilation - 1) / dilation;
      for (std::int64_t row = 0; row < n; ++row) {
        const std::int64_t at = ((first + row) * g.out_w + pass) * g.dst_pixel() + b.channel;
        r.row = scratch.row + row * 4 * d.groups;
        r.to.dst = static_cast<std::byte*>(io.dst) + at * element;
        if (io.src[1]) r.to.residual = static_cast<const std::uint8_t*>(io.src[1]) + at;
        walk(r);
      }
    }
  }
};

/// Units are rows of one set of blocks, then of the next.
template <class Isa>
void run_qdepthwise(const void* object, const kernels::operands& io, std::byte* scratch,
                    work_range range) {
  const auto& d = *static_cast<const depthwise_object*>(object);
  depthwise_rows<Isa> rows{d, io, {}};
  rows.scratch.lay(d, scratch);
  const std::int64_t all = d.g.batch * d.g.out_h;
  for (std::int64_t unit = range.begin; unit < range.end;) {
    const std::int64_t first = unit % all, block = unit / all * d.blocks_per_unit;
    const std::int64_t n = std::min({d.rows_together, all - first, range.end - unit});
    rows.find_rows(first, n);
    for (std::int64_t i = block; i < std::min(block + d.blocks_per_unit, d.blocks); ++i)
      rows.run(first, n, d.block[i]);
    unit += n;
  }
}

/// The filter as slot groups: what each slot reads, where each step finds its column, and which
/// columns a stride needs.
template <class Isa>
void lay_slots(const depthwise_object& d, depthwise_slot* slot, std::int64_t* offset,
               std::int64_t* every) noexcept {
  for (std::int64_t i = 0; i < 4 * d.groups; ++i) {
    depthwise_group tap;
    slot_tap<Isa>(d, group_shape<Isa>(d, i / 4), i % 4, tap);
    slot[i] = {static_cast<std::int32_t>(i / 4 * d.group_taps + tap.rows),
               static_cast<std::int32_t>(tap.columns)};
  }
  for (std::int64_t i = 0; i < d.groups; ++i) every[i] = d.g.stride_w;
  for (std::int64_t i = 0; i < d.steps; ++i) {
    const depthwise_step at = step_at<Isa>(d, i);
    offset[i] = (at.kw * d.groups + at.group) * 4 * depthwise_width<Isa>;
    if (at.kw % d.g.stride_w != 0) every[at.group] = 1;
  }
}

/// Depthwise convolution, any number of output channels per input channel.
template <class Isa>
kernels::prepared prepare_qdepthwise(const kernels::qconv_args& a) {
  constexpr std::int64_t enough_units = 32;
  constexpr std::int64_t buffer = 16384;          // bytes: half a first cache, beside the rows
  constexpr std::int64_t rows_of_image = 131072;  // bytes: a part of a second cache
  constexpr std::int64_t width = depthwise_width<Isa>;
  const kernels::conv_geometry& g = a.geometry;
  depthwise_object d;
  d.g = g;
  d.rule = make_rule<Isa>(a.epilogue);
  d.repeat = g.group_out();
  cut_filter<Isa>(d, taps_per_group<Isa, pairs>);
  d.three = g.kernel_h == 3 && g.kernel_w == 3 && (d.rule.plain() || d.rule.shaped());
  d.widened = has_pair_add<Isa> && !d.three && d.steps > 1;
  if (d.widened) cut_filter<Isa>(d, taps_per_group<Isa, words>);
  d.dense = d.three && g.out_c == 8 && d.repeat == 1 && g.stride_w == 1 && g.dilation_w == 1 &&
            g.src_pixel() == 8 && g.dst_pixel() == 8;
  // those of the pixels that are computed at once, twice at least: else most are moved each time
  d.room = std::max(2 * (g.kernel_w + 4 * g.stride_w), buffer / (d.groups * 4 * width));
  d.ahead = (d.room - g.kernel_w) / (2 * g.stride_w);
  d.blocks = cut_channels<Isa>(d, nullptr);
  d.blocks_per_unit = d.blocks;
  const std::int64_t rows = g.batch * g.out_h;
  while (d.repeat == 1 && d.blocks_per_unit > 1 &&
         rows * ((d.blocks + d.blocks_per_unit - 1) / d.blocks_per_unit) < enough_units)
    d.blocks_per_unit = (d.blocks_per_unit + 1) / 2;
  const std::int64_t parts = (d.blocks + d.blocks_per_unit - 1) / d.blocks_per_unit;
  // in bytes of the image; a saved geometry may have no columns or any stride
  const std::int64_t row_bytes =
      std::max<std::int64_t>(std::min(g.stride_h, g.in_h) * g.in_w * g.src_pixel(), 1);
  if (d.repeat == 1)
    d.rows_together = std::max<std::int64_t>(std::min(rows_of_image / row_bytes, rows), 1);

  block_layout<Isa> own, packed;
  own.template add<depthwise_object>(1);
  const std::size_t blocks_at = own.template add<depthwise_block>(d.blocks);
  const std::size_t slots_at = own.template add<depthwise_slot>(4 * d.groups);
  const std::size_t offsets_at = own.template add<std::int64_t>(d.steps);
  const std::size_t every_at = own.template add<std::int64_t>(d.groups);
  const std::size_t padding_at = own.template add<std::uint8_t>(g.in_w * d.pixel() + 64);
  const std::size_t quads_at = packed.template add<std::uint8_t>(d.blocks);
  const std::size_t weights_at =
      packed.template add<std::int8_t>(d.blocks * d.steps * depthwise_group_room<Isa>(d));
  const std::size_t bias_at = packed.template add<std::int32_t>(d.blocks * width);
  const std::size_t multiplier_at = packed.template add<float>(d.blocks * width);

  kernels::prepared p = blank<Isa>(own, packed, a.packed);
  if (a.packed.data && a.packed.bytes != packed.bytes) return p;
  auto* object = object_of<depthwise_object>(p);
  auto* block = at_offset<depthwise_block>(object, blocks_at);
  auto* slot = at_offset<depthwise_slot>(object, slots_at);
  auto* offset = at_offset<std::int64_t>(object, offsets_at);
  auto* every = at_offset<std::int64_t>(object, every_at);
  auto* padding = at_offset<std::uint8_t>(object, padding_at);
  auto* quads = packed_at<std::uint8_t>(p, quads_at);
  auto* weights = packed_at<std::int8_t>(p, weights_at);
  auto* bias = packed_at<std::int32_t>(p, bias_at);
  auto* multiplier = packed_at<float>(p, multiplier_at);
  std::memset(padding, static_cast<std::uint8_t>(a.x_zero_point),
              static_cast<std::size_t>(g.in_w * d.pixel() + 64));
  cut_channels<Isa>(d, block);
  lay_slots<Isa>(d, slot, offset, every);
  d.block = block;
  d.slot = slot;
  d.offset = offset;
  d.every = every;
  d.padding = padding;
  d.weights = weights;
  d.bias = bias;
  d.multiplier = multiplier;
  std::memcpy(static_cast<void*>(object), &d, sizeof d);
  for (std::int64_t i = 0; i < d.blocks; ++i) {
    if (a.packed.data) {
      block[i].quads = has_dpbusd<Isa> || (has_pair_add<Isa> && quads[i] != 0);
      continue;
    }
    block[i].quads = takes_quads<Isa>(d, block[i], a.weights);
    quads[i] = block[i].quads ? 1 : 0;
    pack_depthwise_block<Isa>(d, block[i], a, weights, bias, multiplier);
  }

  p.run = run_qdepthwise<Isa>;
  p.units = rows * parts;
  p.scratch = depthwise_scratch<Isa>{}.lay(d, nullptr);
  p.name = "depthwise";
  return p;
}

}  // namespace ptq::native
