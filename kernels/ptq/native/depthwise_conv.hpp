#pragma once
// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution around the kernels of depthwise.hpp (which includes this): rows and
// borders. Several output channels per input channel are brought to the plain case by repeating
// the bytes of the rows in scratch.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include <ptq/native/depthwise.hpp>
#include <ptq/native/depthwise_pack.hpp>

namespace ptq::native {

/// Everything of one output row that its blocks share.
template <class Isa>
struct depthwise_row {
  const depthwise_object& d;
  const kernels::operands& io;
  const std::uint8_t** tap;   // scratch: [slots]
  std::int64_t* pitch;        // scratch: [slots]
  const std::uint8_t** rows;  // scratch: [kernel_h], null outside the image
  std::uint8_t* repeated;     // scratch: [kernel_h][in_w][out_c] when channels repeat
  std::int64_t pixel = 0;     // bytes from pixel to pixel of `rows`

  void find_rows(std::int64_t row) {
    const kernels::conv_geometry& g = d.g;
    const std::int64_t top = row % g.out_h * g.stride_h - g.pad_top;
    const auto* image = static_cast<const std::uint8_t*>(io.src[0]) +
                        row / g.out_h * g.in_h * g.in_w * g.src_pixel();
    pixel = d.repeat == 1 ? g.src_pixel() : g.out_c;
    for (std::int64_t kh = 0; kh < g.kernel_h; ++kh) {
      const std::int64_t iy = top + kh * g.dilation_h;
      rows[kh] = iy >= 0 && iy < g.in_h ? image + iy * g.in_w * g.src_pixel() : nullptr;
      if (d.repeat == 1 || !rows[kh]) continue;
      std::uint8_t* to = repeated + kh * g.in_w * g.out_c;
      for (std::int64_t x = 0; x < g.in_w; ++x)
        for (std::int64_t c = 0; c < g.in_c; ++c)
          for (std::int64_t i = 0; i < d.repeat; ++i)
            to[(x * g.in_c + c) * d.repeat + i] = rows[kh][x * g.src_pixel() + c];
      rows[kh] = repeated + kh * g.in_w * g.out_c;
    }
  }

  depthwise_run start(std::int64_t row, const depthwise_block& b) const {
    depthwise_run r;
    const std::int64_t at = row * d.g.out_w * d.g.dst_pixel() + b.channel;
    const std::int64_t element = d.rule.what == epilogue_rule::kind::reals ? 4 : 1;
    r.tap = tap;
    r.pitch = pitch;
    r.groups = d.groups;
    r.padding = d.padding;
    r.weights = d.weights + b.weights;
    r.bias = d.bias + b.padded;
    r.multiplier = d.multiplier + b.padded;
    r.rule = &d.rule;
    r.to.dst = static_cast<std::byte*>(io.dst) + at * element;
    r.to.residual = io.src[1] ? static_cast<const std::uint8_t*>(io.src[1]) + at : nullptr;
    r.to.stride = d.side * d.g.dst_pixel();
    r.to.columns = b.columns;
    r.skip = b.skip;
    r.side = d.side;
    r.channel = b.channel;
    return r;
  }

  void run_columns(depthwise_run& r, const depthwise_block& b) const {
    for (std::int64_t kh = 0; kh < 3; ++kh) {
      tap[kh] = rows[kh] ? rows[kh] + b.channel : d.padding;
      pitch[kh] = rows[kh] ? pixel : 0;
    }
    r.in_w = d.g.in_w;
    r.left = -d.g.pad_left;
    r.stride = d.g.stride_w;
    r.count = d.g.out_w / d.side;
    run_depthwise_block<Isa>(r, b, true);
    const std::int64_t rest = d.g.out_w % d.side, last = d.g.out_w - d.side;
    if (rest == 0) return;
    // one more group, whose first pixels are there already
    const std::int64_t done = (d.side - rest) * d.g.out_c - b.channel;
    if (done >= b.columns) return;
    const std::int64_t at = last * d.g.dst_pixel();
    const std::int64_t element = d.rule.what == epilogue_rule::kind::reals ? 4 : 1;
    r.left += last * r.stride;
    r.to.dst = static_cast<std::byte*>(r.to.dst) + at * element;
    if (r.to.residual) r.to.residual += at;
    r.skip = std::max<std::int64_t>(done, 0);
    r.count = 1;
    run_depthwise_block<Isa>(r, b, true);
  }

  /// Runs of pixels whose taps stay on one side of the borders: single pixels at the borders, all
  /// between at once.
  void run_slots(depthwise_run r, const depthwise_block& b) const {
    const kernels::conv_geometry& g = d.g;
    const std::int64_t reach = (g.kernel_w - 1) * g.dilation_w;
    // pixels [inner, outer) have all their taps within the image
    const std::int64_t inner =
        std::min(g.out_w, (std::max<std::int64_t>(g.pad_left, 0) + g.stride_w - 1) / g.stride_w);
    const std::int64_t room = g.in_w - 1 - reach + g.pad_left;
    const std::int64_t outer =
        std::max(inner, std::min(g.out_w, room < 0 ? 0 : room / g.stride_w + 1));
    const std::int64_t element = d.rule.what == epilogue_rule::kind::reals ? 4 : 1;
    auto* dst = static_cast<std::byte*>(r.to.dst);
    const std::uint8_t* residual = r.to.residual;
    for (std::int64_t ox = 0; ox < g.out_w;) {
      r.count = ox == inner && outer > inner ? outer - inner : 1;
      for (std::int64_t slot = 0; slot < 4 * d.groups; ++slot) {
        const depthwise_slot t = d.slot[slot];
        const std::uint8_t* row = t.kh < 0 ? nullptr : rows[t.kh];
        const std::int64_t ix = ox * g.stride_w - g.pad_left + t.kw * g.dilation_w;
        const bool inside = row && ix >= 0 && ix < g.in_w;
        tap[slot] = inside ? row + ix * pixel + b.channel : d.padding;
        pitch[slot] = inside ? g.stride_w * pixel : 0;
      }
      r.to.dst = dst + ox * r.to.stride * element;
      if (residual) r.to.residual = residual + ox * r.to.stride;
      run_depthwise_block<Isa>(r, b, false);
      ox += r.count;
    }
  }
};

template <class Isa>
void run_qdepthwise(const void* object, const kernels::operands& io, std::byte* scratch,
                    work_range range) {
  const auto& d = *static_cast<const depthwise_object*>(object);
  auto* tap = reinterpret_cast<const std::uint8_t**>(scratch);
  auto* rows = tap + 4 * d.groups;
  auto* pitch = reinterpret_cast<std::int64_t*>(rows + d.g.kernel_h);
  auto* repeated = reinterpret_cast<std::uint8_t*>(pitch + 4 * d.groups);
  depthwise_row<Isa> line{d, io, tap, pitch, rows, repeated};
  for (std::int64_t unit = range.begin; unit < range.end; ++unit) {
    const std::int64_t row = unit / d.parts, first = unit % d.parts * d.blocks_per_unit;
    const std::int64_t end = std::min(first + d.blocks_per_unit, d.blocks);
    line.find_rows(row);
    for (std::int64_t i = first; i < end; ++i) {
      const depthwise_block& b = d.block[i];
      depthwise_run r = line.start(row, b);
      if (d.columns3)
        line.run_columns(r, b);
      else
        line.run_slots(r, b);
    }
  }
}

/// Depthwise convolution, any number of output channels per input channel.
template <class Isa>
kernels::prepared prepare_qdepthwise(const kernels::qconv_args& a) {
  constexpr std::int64_t enough_units = 32;
  const kernels::conv_geometry& g = a.geometry;
  depthwise_object d;
  d.g = g;
  d.rule = make_rule<Isa>(a.epilogue);
  d.repeat = g.group_out();
  d.columns3 = g.kernel_h == 3 && g.kernel_w == 3 && g.dilation_w == 1;
  d.groups =
      d.columns3 ? 3 : (g.kernel_h * g.kernel_w + taps_per_group<Isa> - 1) / taps_per_group<Isa>;
  d.side = pixels_side_by_side<Isa>(d);
  d.blocks = cut_channels<Isa>(d.side * g.out_c, d.groups, nullptr);
  d.blocks_per_unit = d.blocks;
  const std::int64_t rows = g.batch * g.out_h;
  while (d.repeat == 1 && d.blocks_per_unit > 1 &&
         rows * ((d.blocks + d.blocks_per_unit - 1) / d.blocks_per_unit) < enough_units)
    d.blocks_per_unit = (d.blocks_per_unit + 1) / 2;
  d.parts = (d.blocks + d.blocks_per_unit - 1) / d.blocks_per_unit;

  // blocks overlap by less than 64
  const std::int64_t padded = (d.side * g.out_c + 15) / 16 * 16 + 64;
  block_layout<Isa> own, packed;
  own.template add<depthwise_object>(1);
  const std::size_t blocks_at = own.template add<depthwise_block>(d.blocks);
  const std::size_t slots_at = own.template add<depthwise_slot>(4 * d.groups);
  const std::size_t padding_at = own.template add<std::uint8_t>(64);
  const std::size_t form_at = packed.template add<depthwise_form>(1);
  const std::size_t quads_at = packed.template add<std::uint8_t>(d.blocks);
  const std::size_t weights_at = packed.template add<std::int8_t>(d.groups * padded * 8);
  const std::size_t bias_at = packed.template add<std::int32_t>(padded);
  const std::size_t multiplier_at = packed.template add<float>(padded);

  kernels::prepared p = blank<Isa>(own, packed, a.packed);
  if (a.packed.data && a.packed.bytes != packed.bytes) return p;
  auto* form = packed_at<depthwise_form>(p, form_at);
  if (a.packed.data && (form->side != d.side || form->blocks != d.blocks)) return p;
  auto* object = object_of<depthwise_object>(p);
  auto* block = at_offset<depthwise_block>(object, blocks_at);
  auto* slot = at_offset<depthwise_slot>(object, slots_at);
  auto* quads = packed_at<std::uint8_t>(p, quads_at);
  auto* weights = packed_at<std::int8_t>(p, weights_at);
  auto* bias = packed_at<std::int32_t>(p, bias_at);
  auto* multiplier = packed_at<float>(p, multiplier_at);
  auto* padding = at_offset<std::uint8_t>(object, padding_at);
  std::memset(padding, static_cast<std::uint8_t>(a.x_zero_point), 64);
  cut_channels<Isa>(d.side * g.out_c, d.groups, block);
  for (std::int64_t i = 0; i < 4 * d.groups; ++i) {
    const std::int64_t t = depthwise_tap<Isa>(d, i);
    slot[i] = {static_cast<std::int32_t>(t < 0 ? -1 : t / g.kernel_w),
               static_cast<std::int32_t>(t < 0 ? 0 : t % g.kernel_w)};
  }
  d.slot = slot;
  d.block = block;
  d.weights = weights;
  d.bias = bias;
  d.multiplier = multiplier;
  d.padding = padding;
  std::memcpy(static_cast<void*>(object), &d, sizeof d);
  if (!a.packed.data) *form = {d.side, d.blocks};
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
  p.units = rows * d.parts;
  p.scratch = static_cast<std::size_t>(4 * d.groups + g.kernel_h) * sizeof(void*) +
              static_cast<std::size_t>(4 * d.groups) * sizeof(std::int64_t);
  if (d.repeat > 1) p.scratch += static_cast<std::size_t>(g.kernel_h * g.in_w * g.out_c);
  p.name = d.columns3 ? "depthwise 3x3" : "depthwise";
  return p;
}

}  // namespace ptq::native
