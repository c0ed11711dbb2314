#pragma once
// SPDX-License-Identifier: Apache-2.0
// Integer convolution as a matrix product over rows that are only pointed at: no im2col. Four ways
// to find the rows, chosen when prepared; all run the one micro-kernel of gemm.hpp.
//   direct     1×1: a row is a source pixel
//   indirect   a pointer per tap and output pixel, to a row of zero points where the tap lies in
//   the padding runs       few channels: kernel_w · in_c neighbouring bytes of one image row are
//   one run of K (a first layer);
//              windows that cross a side border are copied, padded, into scratch
//   gathered   the rest (fewer than 4 contiguous bytes, dilated first layers): every window is
//   copied
// Padding bytes hold the zero point, so that bias − zero_point · Σw, folded when packed, is right
// at the borders too.
//
// A unit is a block of output pixels times some panels of output channels; panels outermost, so
// that a thread keeps its share of the weights in its cache.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include <ptq/kernels/args.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/native/depthwise.hpp>
#include <ptq/native/gemm.hpp>
#include <ptq/native/object.hpp>

namespace ptq::native {

/// A conv_object's columns lie in panels; a panel belongs to one group.
struct conv_panel {
  std::int64_t weights = 0;  // byte offset
  std::int64_t group = 0, channel = 0, columns = 0;
  std::int64_t padded = 0;  // offset into bias and multiplier
  int vectors = 0;
};

struct conv_object {
  enum class way { direct, indirect, runs, gathered } rows_by = way::direct;
  kernels::conv_geometry g;
  epilogue_rule rule;
  std::int64_t taps = 1, depth = 1, slot = 0;  // slot: bytes of a copied window
  std::int64_t pixels = 0, block = 1, blocks = 1, panels = 0, panels_per_unit = 1;
  std::uint8_t zero_point = 0;
  const conv_panel* panel = nullptr;
  const std::int8_t* weights = nullptr;
  const std::int32_t* bias = nullptr;
  const float* multiplier = nullptr;
  const std::uint8_t* padding = nullptr;  // a row of zero points, as long as any row
};

/// Rows of a block, and of its pointer table: a last tile may read pointers beyond the block.
inline constexpr std::int64_t largest_block = 72, block_pitch = 88;

/// Pointers (and copied windows) of a block of output pixels.
template <class Isa>
struct conv_rows {
  const conv_object& c;
  const std::uint8_t* src;
  const std::uint8_t** table;  // [taps][block_pitch]
  std::uint8_t* windows;

  /// Top left corner of the window of an output pixel.
  struct corner {
    const std::uint8_t* image;
    std::int64_t y, x;
  };

  void fill(std::int64_t first, std::int64_t count, std::int64_t group) const {
    const kernels::conv_geometry& g = c.g;
    std::int64_t ox = first % g.out_w, oy = first / g.out_w % g.out_h;
    const std::uint8_t* image = src + first / (g.out_w * g.out_h) * g.in_h * g.in_w * g.src_pixel();
    for (std::int64_t i = 0; i < count; ++i) {
      const corner at{image, oy * g.stride_h - g.pad_top, ox * g.stride_w - g.pad_left};
      if (c.rows_by == conv_object::way::runs)
        fill_runs(at, i);
      else if (c.rows_by == conv_object::way::gathered)
        gather(at, i, group * g.group_in());
      else
        fill_taps(at, i);
      if (++ox < g.out_w) continue;
      ox = 0;
      if (++oy < g.out_h) continue;
      oy = 0;
      image += g.in_h * g.in_w * g.src_pixel();
    }
    for (std::int64_t tap = 0; tap < c.taps; ++tap)
      for (std::int64_t i = count; i < block_pitch; ++i) table[tap * block_pitch + i] = c.padding;
  }

  void fill_taps(const corner& at, std::int64_t i) const {
    const kernels::conv_geometry& g = c.g;
    const std::uint8_t** to = table + i;
    for (std::int64_t kh = 0; kh < g.kernel_h; ++kh) {
      const std::int64_t iy = at.y + kh * g.dilation_h;
      const bool inside = iy >= 0 && iy < g.in_h;
      std::int64_t ix = at.x;
      for (std::int64_t kw = 0; kw < g.kernel_w; ++kw, ix += g.dilation_w, to += block_pitch)
        *to = inside && ix >= 0 && ix < g.in_w ? at.image + (iy * g.in_w + ix) * g.src_pixel()
                                               : c.padding;
    }
  }

  void fill_runs(const corner& at, std::int64_t i) const {
    const kernels::conv_geometry& g = c.g;
    for (std::int64_t kh = 0; kh < g.kernel_h; ++kh) {
      const std::int64_t iy = at.y + kh * g.dilation_h;
      const std::uint8_t*& to = table[kh * block_pitch + i];
      if (iy < 0 || iy >= g.in_h) {
        to = c.padding;
      } else if (at.x >= 0 && at.x + g.kernel_w <= g.in_w) {
        to = at.image + (iy * g.in_w + at.x) * g.in_c;
      } else {
        std::uint8_t* window = windows + (kh * block_pitch + i) * c.slot;
        const std::int64_t from = std::max<std::int64_t>(at.x, 0);
        const std::int64_t to_x = std::min(at.x + g.kernel_w, g.in_w);
        std::memset(window, c.zero_point, static_cast<std::size_t>(c.slot));
        if (from < to_x)
          std::memcpy(window + (from - at.x) * g.in_c, at.image + (iy * g.in_w + from) * g.in_c,
                      static_cast<std::size_t>((to_x - from) * g.in_c));
        to = window;
      }
    }
  }

  void gather(const corner& at, std::int64_t i, std::int64_t channel) const {
    const kernels::conv_geometry& g = c.g;
    const std::int64_t in = g.group_in();
    std::uint8_t* window = windows + i * c.slot;
    table[i] = window;
    std::memset(window, c.zero_point, static_cast<std::size_t>(c.slot));
    for (std::int64_t kh = 0; kh < g.kernel_h; ++kh) {
      const std::int64_t iy = at.y + kh * g.dilation_h;
      if (iy < 0 || iy >= g.in_h) continue;
      for (std::int64_t kw = 0; kw < g.kernel_w; ++kw) {
        const std::int64_t ix = at.x + kw * g.dilation_w;
        if (ix < 0 || ix >= g.in_w) continue;
        const std::uint8_t* from = at.image + (iy * g.in_w + ix) * g.src_pixel() + channel;
        std::uint8_t* to = window + (kh * g.kernel_w + kw) * in;
        for (std::int64_t b = 0; b < in; ++b) to[b] = from[b];
      }
    }
  }
};

template <class Isa>
void run_conv(const void* object, const kernels::operands& io, std::byte* scratch,
              work_range range) {
  const auto& c = *static_cast<const conv_object*>(object);
  const auto* src = static_cast<const std::uint8_t*>(io.src[0]);
  auto* table = reinterpret_cast<const std::uint8_t**>(scratch);
  auto* windows = reinterpret_cast<std::uint8_t*>(table + c.taps * block_pitch);
  const conv_rows<Isa> rows{c, src, table, windows};
  const bool per_group = c.rows_by == conv_object::way::gathered;
  const std::int64_t element = c.rule.what == epilogue_rule::kind::reals ? 4 : 1;
  const std::int64_t stride = c.g.dst_pixel();
  for (std::int64_t unit = range.begin; unit < range.end; ++unit) {
    const std::int64_t first = unit % c.blocks * c.block;
    const std::int64_t count = std::min(c.block, c.pixels - first);
    const std::int64_t panel = unit / c.blocks * c.panels_per_unit;
    const std::int64_t end = std::min(panel + c.panels_per_unit, c.panels);
    std::int64_t filled = -1;  // the group whose rows the table holds
    for (std::int64_t i = panel; i < end; ++i) {
      const conv_panel& p = c.panel[i];
      if (filled < 0 || (per_group && filled != p.group)) {
        rows.fill(first, count, p.group);
        filled = p.group;
      }
      const std::int64_t at = first * stride + p.channel;
      gemm_tile t;
      t.rows = table;
      t.row_pitch = block_pitch;
      t.offset = per_group ? 0 : p.group * c.g.group_in();
      t.taps = c.taps;
      t.depth = c.depth;
      t.weights = c.weights + p.weights;
      t.bias = c.bias + p.padded;
      t.multiplier = c.multiplier + p.padded;
      t.rule = &c.rule;
      t.to.dst = static_cast<std::byte*>(io.dst) + at * element;
      t.to.residual = io.src[1] ? static_cast<const std::uint8_t*>(io.src[1]) + at : nullptr;
      t.to.stride = stride;
      t.to.rows = count;
      t.to.columns = p.columns;
      run_panel<Isa>(t, p.vectors);
    }
  }
}

/// How to find rows, from the geometry.
template <class Isa>
PTQ_ALWAYS_INLINE void choose_rows(conv_object& c) {
  const kernels::conv_geometry& g = c.g;
  using way = conv_object::way;
  const std::int64_t in = g.group_in(), kernel = g.kernel_h * g.kernel_w;
  const bool runs = g.groups == 1 && g.kernel_w > 1 && g.dilation_w == 1 && g.src_pixel() == in &&
                    g.kernel_w * in >= 4;
  // below 16 channels a pointer per tap costs more than it saves; beyond 64 padding to 4 no longer
  // matters
  if (runs && (in < 16 || (in % 4 != 0 && in < 64))) {
    c.rows_by = way::runs;
    c.taps = g.kernel_h;
    c.depth = g.kernel_w * in;
    c.slot = c.depth;
  } else if (in < 4) {
    c.rows_by = way::gathered;
    c.taps = 1;
    c.depth = std::max<std::int64_t>(kernel * in, 4);
    c.slot = c.depth;
  } else {
    c.rows_by = kernel == 1 ? way::direct : way::indirect;
    c.taps = kernel;
    c.depth = in;
  }
}

/// Block sizes: about 48 rows share a pass over a panel, 256 KiB of panels stay in the second-level
/// cache, and there are 32 units where the shape allows, for 16 threads.
template <class Isa>
PTQ_ALWAYS_INLINE void choose_blocks(conv_object& c) {
  constexpr std::int64_t usual_rows = 48, cached_bytes = 256 << 10, enough_units = 32;
  c.pixels = c.g.batch * c.g.out_h * c.g.out_w;
  const std::int64_t bytes = panel_bytes<Isa>(c.taps, c.depth, gemm_shape<Isa>::vectors);
  c.panels_per_unit = std::clamp<std::int64_t>(cached_bytes / bytes, 1, c.panels);
  c.blocks = std::max<std::int64_t>(1, (c.pixels + usual_rows / 2) / usual_rows);
  const auto units = [&] {
    return c.blocks * ((c.panels + c.panels_per_unit - 1) / c.panels_per_unit);
  };
  while (units() < enough_units && c.panels_per_unit > 1)
    c.panels_per_unit = (c.panels_per_unit + 1) / 2;
  while (units() < enough_units && c.pixels / c.blocks >= 2 * gemm_shape<Isa>::rows(1))
    c.blocks *= 2;
  c.block = std::max<std::int64_t>(1, (c.pixels + c.blocks - 1) / c.blocks);
  constexpr std::int64_t rows = gemm_shape<Isa>::rows(gemm_shape<Isa>::vectors);
  if (c.blocks > 1) c.block = (c.block + rows - 1) / rows * rows;
  c.blocks = (c.pixels + c.block - 1) / c.block;
}

/// Weights of the panel's column, as the kernel reads them; returns Σw.
template <class Isa>
std::int32_t pack_column(const conv_object& c, const std::int8_t* from, std::int8_t* to, int column,
                         int vectors) noexcept {
  const std::int64_t tap_bytes = panel_bytes<Isa>(1, c.depth, vectors);
  const std::int64_t k_all = c.g.kernel_h * c.g.kernel_w * c.g.group_in();
  std::int32_t sum = 0;
  for (std::int64_t i = 0; i < k_all;
       ++i) {  // gathered rows may be longer than k_all: those weights stay 0
    sum += from[i];
    const std::int64_t tap = i / c.depth, k = i % c.depth;
    to[tap * tap_bytes + weight_offset<Isa>(k, c.depth, column, vectors)] = from[i];
  }
  return sum;
}

/// Convolution that is not depthwise.
template <class Isa>
kernels::prepared prepare_conv(const kernels::qconv_args& a) {
  constexpr int lanes = simd<Isa, register_bytes<Isa>>::lanes;
  constexpr std::int64_t widest = gemm_shape<Isa>::vectors * lanes;
  const kernels::conv_geometry& g = a.geometry;
  conv_object c;
  c.g = g;
  c.rule = make_rule<Isa>(a.epilogue);
  c.zero_point = static_cast<std::uint8_t>(a.x_zero_point);
  choose_rows<Isa>(c);
  const std::int64_t group_panels = (g.group_out() + widest - 1) / widest;
  c.panels = g.groups * group_panels;
  choose_blocks<Isa>(c);

  const std::int64_t last =
      g.group_out() - (group_panels - 1) * widest;  // columns of a group's last panel
  const int last_vectors = static_cast<int>((last + lanes - 1) / lanes);
  const std::int64_t group_columns = (group_panels - 1) * widest + last_vectors * lanes;
  const std::int64_t group_bytes =
      (group_panels - 1) * panel_bytes<Isa>(c.taps, c.depth, gemm_shape<Isa>::vectors) +
      panel_bytes<Isa>(c.taps, c.depth, last_vectors);
  const std::int64_t padding = std::max(g.in_c, c.depth);

  block_layout<Isa> layout;
  layout.template add<conv_object>(1);
  const std::size_t panels_at = layout.template add<conv_panel>(c.panels);
  const std::size_t weights_at = layout.template add<std::int8_t>(g.groups * group_bytes);
  const std::size_t bias_at = layout.template add<std::int32_t>(g.groups * group_columns);
  const std::size_t multiplier_at = layout.template add<float>(g.groups * group_columns);
  const std::size_t padding_at = layout.template add<std::uint8_t>(padding);

  kernels::prepared p = blank<Isa>(layout.bytes);
  auto* object = object_of<conv_object>(p);
  auto* panel = at_offset<conv_panel>(object, panels_at);
  auto* weights = at_offset<std::int8_t>(object, weights_at);
  auto* bias = at_offset<std::int32_t>(object, bias_at);
  auto* multiplier = at_offset<float>(object, multiplier_at);
  auto* zero_points = at_offset<std::uint8_t>(object, padding_at);
  std::memset(zero_points, c.zero_point, static_cast<std::size_t>(padding));
  c.panel = panel;
  c.weights = weights;
  c.bias = bias;
  c.multiplier = multiplier;
  c.padding = zero_points;
  std::memcpy(static_cast<void*>(object), &c, sizeof c);

  const std::int64_t k_all = g.kernel_h * g.kernel_w * g.group_in();
  std::int64_t weights_used = 0, columns_used = 0;
  for (std::int64_t i = 0; i < c.panels; ++i) {
    conv_panel& q = panel[i];
    const std::int64_t first = i % group_panels * widest;
    q.group = i / group_panels;
    q.channel = q.group * g.group_out() + first;
    q.columns = std::min(g.group_out() - first, widest);
    q.vectors = static_cast<int>((q.columns + lanes - 1) / lanes);
    q.weights = weights_used;
    q.padded = columns_used;
    for (int column = 0; column < q.columns; ++column) {
      const std::int64_t o = q.channel + column;
      const std::int32_t sum =
          pack_column<Isa>(c, a.weights + o * k_all, weights + q.weights, column, q.vectors);
      // may wrap on the way: only the whole sum has to fit
      bias[q.padded + column] = static_cast<std::int32_t>(
          static_cast<std::uint32_t>(a.bias ? a.bias[o] : 0) -
          static_cast<std::uint32_t>(a.x_zero_point) * static_cast<std::uint32_t>(sum));
      multiplier[q.padded + column] =
          a.epilogue.multiplier.data()[a.epilogue.multiplier.size() == 1 ? 0 : o];
    }
    weights_used += panel_bytes<Isa>(c.taps, c.depth, q.vectors);
    columns_used += q.vectors * lanes;
  }

  using way = conv_object::way;
  p.run = run_conv<Isa>;
  p.units = c.blocks * ((c.panels + c.panels_per_unit - 1) / c.panels_per_unit);
  p.scratch = static_cast<std::size_t>(c.taps * block_pitch) *
              (sizeof(void*) + static_cast<std::size_t>(c.slot));
  p.name = c.rows_by == way::direct     ? "gemm"
           : c.rows_by == way::indirect ? "indirect gemm"
           : c.rows_by == way::runs     ? "row-run gemm"
                                        : "gathered gemm";
  return p;
}

/// u8 · s8 convolution, see qconv_args; bit-equal to reference::qconv.
template <class Isa>
kernels::prepared qconv(const kernels::qconv_args& a) {
  if (a.geometry.depthwise()) return prepare_depthwise<Isa>(a);
  return prepare_conv<Isa>(a);
}

}  // namespace ptq::native
