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

  /// Neighbouring pixels of one output row: rows [at, at + count) of the table. (y, x): the image
  /// position of the first one's top left tap.
  struct segment {
    const std::uint8_t* image;
    std::int64_t at, count, y, x;
  };

  void fill(std::int64_t first, std::int64_t count, std::int64_t group) const {
    const kernels::conv_geometry& g = c.g;
    std::int64_t ox = first % g.out_w, oy = first / g.out_w % g.out_h;
    const std::uint8_t* image = src + first / (g.out_w * g.out_h) * g.in_h * g.in_w * g.src_pixel();
    for (std::int64_t i = 0; i < count;) {
      const std::int64_t length = std::min(count - i, g.out_w - ox);
      const segment s{image, i, length, oy * g.stride_h - g.pad_top, ox * g.stride_w - g.pad_left};
      if (c.rows_by == conv_object::way::runs)
        fill_runs(s);
      else if (c.rows_by == conv_object::way::gathered)
        for (std::int64_t j = 0; j < length; ++j) gather(s, j, group * g.group_in());
      else
        fill_taps(s);
      i += length;
      ox = 0;
      if (++oy < g.out_h) continue;
      oy = 0;
      image += g.in_h * g.in_w * g.src_pixel();
    }
    for (std::int64_t tap = 0; tap < c.taps; ++tap)
      for (std::int64_t i = count; i < block_pitch; ++i) table[tap * block_pitch + i] = c.padding;
  }

  /// Pixels of a segment whose image columns x, x + stride_w, … lie in [0, end).
  work_range inside(const segment& s, std::int64_t x, std::int64_t end) const {
    const std::int64_t stride = c.g.stride_w;
    const std::int64_t from = x >= 0 ? 0 : (stride - 1 - x) / stride;
    const std::int64_t to = end <= x ? 0 : (end - x + stride - 1) / stride;
    const std::int64_t first = std::min(from, s.count);
    return {first, std::max(first, std::min(to, s.count))};
  }

  void fill_taps(const segment& s) const {
    const kernels::conv_geometry& g = c.g;
    const std::int64_t step = g.stride_w * g.src_pixel();
    const std::uint8_t** to = table + s.at;
    for (std::int64_t kw = 0; kw < g.kernel_w; ++kw) {
      const std::int64_t x = s.x + kw * g.dilation_w;
      const work_range in = inside(s, x, g.in_w);
      for (std::int64_t kh = 0; kh < g.kernel_h; ++kh) {
        const std::int64_t y = s.y + kh * g.dilation_h;
        const std::uint8_t** tap = to + (kh * g.kernel_w + kw) * block_pitch;
        const bool outside = y < 0 || y >= g.in_h;
        const std::int64_t begin = outside ? s.count : in.begin;
        const std::int64_t end = outside ? s.count : in.end;
        const std::uint8_t* from = s.image + (y * g.in_w + x) * g.src_pixel();
        for (std::int64_t i = 0; i < begin; ++i) tap[i] = c.padding;
        for (std::int64_t i = begin; i < end; ++i) tap[i] = from + i * step;
        for (std::int64_t i = end; i < s.count; ++i) tap[i] = c.padding;
      }
    }
  }

  void fill_runs(const segment& s) const {
    const kernels::conv_geometry& g = c.g;
    const work_range in = inside(s, s.x, g.in_w - g.kernel_w + 1);
    const std::int64_t step = g.stride_w * g.in_c;
    for (std::int64_t kh = 0; kh < g.kernel_h; ++kh) {
      const std::int64_t y = s.y + kh * g.dilation_h;
      const std::uint8_t** tap = table + kh * block_pitch + s.at;
      if (y < 0 || y >= g.in_h) {
        for (std::int64_t i = 0; i < s.count; ++i) tap[i] = c.padding;
        continue;
      }
      const std::uint8_t* row = s.image + y * g.in_w * g.in_c;
      std::uint8_t* window = windows + (kh * block_pitch + s.at) * c.slot;
      for (std::int64_t i = 0; i < in.begin; ++i)
        tap[i] = copy_window(row, s.x + i * g.stride_w, window + i * c.slot);
      const std::uint8_t* from = row + s.x * g.in_c;
      for (std::int64_t i = in.begin; i < in.end; ++i) tap[i] = from + i * step;
      for (std::int64_t i = in.end; i < s.count; ++i)
        tap[i] = copy_window(row, s.x + i * g.stride_w, window + i * c.slot);
    }
  }

  /// kernel_w pixels from column x of a row, zero points outside of it.
  const std::uint8_t* copy_window(const std::uint8_t* row, std::int64_t x,
                                  std::uint8_t* window) const {
    const kernels::conv_geometry& g = c.g;
    const std::int64_t from = std::max<std::int64_t>(x, 0);
    const std::int64_t to = std::min(x + g.kernel_w, g.in_w);
    std::memset(window, c.zero_point, static_cast<std::size_t>(c.slot));
    if (from < to)
      std::memcpy(window + (from - x) * g.in_c, row + from * g.in_c,
                  static_cast<std::size_t>((to - from) * g.in_c));
    return window;
  }

  /// All taps of pixel j of a segment, behind each other.
  void gather(const segment& s, std::int64_t j, std::int64_t channel) const {
    const kernels::conv_geometry& g = c.g;
    const std::int64_t in = g.group_in(), x = s.x + j * g.stride_w;
    std::uint8_t* window = windows + (s.at + j) * c.slot;
    table[s.at + j] = window;
    std::memset(window, c.zero_point, static_cast<std::size_t>(c.slot));
    for (std::int64_t kh = 0; kh < g.kernel_h; ++kh) {
      const std::int64_t iy = s.y + kh * g.dilation_h;
      if (iy < 0 || iy >= g.in_h) continue;
      for (std::int64_t kw = 0; kw < g.kernel_w; ++kw) {
        const std::int64_t ix = x + kw * g.dilation_w;
        if (ix < 0 || ix >= g.in_w) continue;
        const std::uint8_t* from = s.image + (iy * g.in_w + ix) * g.src_pixel() + channel;
        std::uint8_t* to = window + (kh * g.kernel_w + kw) * in;
        for (std::int64_t b = 0; b < in; ++b) to[b] = from[b];
      }
    }
  }
};

template <class Isa>
void run_qconv(const void* object, const kernels::operands& io, std::byte* scratch,
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
  constexpr std::int64_t usual_rows = 48, cached_bytes = 256 << 10, enough_units = 32,
                         least_rows = 12;
  c.pixels = c.g.batch * c.g.out_h * c.g.out_w;
  const std::int64_t bytes = panel_bytes<Isa>(c.taps, c.depth, gemm_shape<Isa>::vectors);
  c.panels_per_unit = std::clamp<std::int64_t>(cached_bytes / bytes, 1, c.panels);
  c.blocks = std::max<std::int64_t>(1, (c.pixels + usual_rows / 2) / usual_rows);
  const auto units = [&] {
    return c.blocks * ((c.panels + c.panels_per_unit - 1) / c.panels_per_unit);
  };
  while (units() < enough_units && c.panels_per_unit > 1)
    c.panels_per_unit = (c.panels_per_unit + 1) / 2;
  while (units() < enough_units && c.pixels / c.blocks >= 2 * least_rows) c.blocks *= 2;
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
kernels::prepared prepare_qconv(const kernels::qconv_args& a) {
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
  p.run = run_qconv<Isa>;
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
  if (a.geometry.depthwise()) return prepare_qdepthwise<Isa>(a);
  return prepare_qconv<Isa>(a);
}

}  // namespace ptq::native
