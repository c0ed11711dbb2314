#pragma once
// SPDX-License-Identifier: Apache-2.0
// Integer convolution (and the product with constant weights) by tiles. A unit is some rows times
// some panels of 32 output channels; its rows are found once (tile_source.hpp), its weights stay in
// the second-level cache: block after block of 32 rows passes over all of them.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include <ptq/kernels/args.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/native/object.hpp>
#include <ptq/native/tile_conv_object.hpp>
#include <ptq/native/tile_copy.hpp>
#include <ptq/native/tile_gemm.hpp>

namespace ptq::native {

/// A unit's rows, ready for products.
struct tile_unit {
  const std::uint8_t* rows = nullptr;  // the first
  std::int64_t count = 0;
  std::int64_t last = 0;    // where a tile may begin at most
  std::int64_t result = 0;  // pixel of the first result, of all images
};

/// Results among the first n rows of a unit.
PTQ_ALWAYS_INLINE std::int64_t results_of(const tile_source& s, std::int64_t n) {
  const std::int64_t line = s.g.out_w + s.gap();
  if (line == s.g.out_w) return n;
  return n / line * s.g.out_w + std::min(n % line, s.g.out_w);
}

/// The block that starts at a row: where its tiles and results lie, for any panel.
struct tile_rows {
  tile_block block;
  tile_results results;
  std::int64_t tiles = 1, first = 0;  // first: row of the first result
  std::int64_t pixel = 0;             // of the first result

  PTQ_ALWAYS_INLINE tile_rows() = default;
  PTQ_ALWAYS_INLINE tile_rows(const tile_conv_object& c, const tile_unit& u, std::int64_t row) {
    const tile_source& s = c.source;
    const std::int64_t rows = std::min(tile_block_rows, u.count - row), gap = s.gap();
    const std::int64_t at[2] = {std::min(row, u.last), std::min(row + c.rows, u.last)};
    for (int i = 0; i < 2; ++i) block.rows[i] = u.rows + at[i] * s.pixel;
    block.row_pitch = s.pixel;
    block.offset = c.offset;
    block.steps = c.steps;
    block.weight_pitch = 64;
    block.weight_tile = c.tile_bytes();
    block.distant = c.distant;
    tiles = rows > c.rows ? 2 : 1;
    first = row - at[0];
    results.rows = rows;
    results.left = results.run = tile_block_rows;
    if (tiles == 2 && at[1] < row + c.rows) {  // the second tile repeats rows of the first
      results.left = c.rows;
      results.gap = row + c.rows - at[1];
    }
    if (gap > 0) {
      const std::int64_t x = row % (s.g.out_w + gap);
      if (x >= s.g.out_w) first += s.g.out_w + gap - x;
      results.rows = results_of(s, row + rows) - results_of(s, row);
      results.run = s.g.out_w;
      results.left = x < s.g.out_w ? s.g.out_w - x : s.g.out_w;
      results.gap = gap;
    }
    results.chunks = (rows + 3) / 4 + rows / results.run + 1;
    results.rule = &c.rule;
    results.to.stride = s.g.dst_pixel();
    pixel = u.result + results_of(s, row);
  }
};

/// A block of rows times a panel of a group.
template <class Isa>
PTQ_ALWAYS_INLINE void multiply_panel(const tile_conv_object& c, const kernels::operands& io,
                                      tile_rows& rows, std::int64_t group, std::int64_t panel,
                                      tile_pipeline<Isa>& pipeline) {
  const std::int64_t column = panel * tile_panel, vectors = c.vectors_of(panel);
  const std::int64_t padded = group * c.panels * tile_panel + column;
  const std::int64_t out = c.source.g.group_out(), stride = c.source.g.dst_pixel();
  const std::int64_t at = rows.pixel * stride + group * out + column;
  const std::int64_t element = c.rule.what == epilogue_rule::kind::reals ? 4 : 1;
  rows.block.weights = c.weights + group * c.group_bytes() + 2 * panel * c.steps * c.tile_bytes();
  rows.block.weight_step = vectors * c.tile_bytes();
  rows.block.bias = c.bias + padded;
  tile_results& r = pipeline.next();
  r = rows.results;
  r.vectors = static_cast<int>(vectors);
  r.multiplier = c.multiplier + padded;
  r.to.dst = static_cast<std::byte*>(io.dst) + at * element;
  r.to.residual = io.src[1] ? static_cast<const std::uint8_t*>(io.src[1]) + at : nullptr;
  r.to.columns = std::min(tile_panel, out - column);
  pipeline.multiply(rows.block, rows.tiles, rows.first);
}

/// Panels [begin, end) of a group, for all rows of a unit.
template <class Isa>
PTQ_ALWAYS_INLINE void multiply_unit(const tile_conv_object& c, const kernels::operands& io,
                                     const tile_unit& unit, std::int64_t group, work_range panels,
                                     tile_pipeline<Isa>& pipeline) {
  constexpr std::int64_t most = 16;
  for (std::int64_t row = 0; row < unit.count;) {
    tile_rows rows[most];
    std::int64_t blocks = 0;
    for (; blocks < most && row < unit.count; row += tile_block_rows) {
      rows[blocks] = tile_rows(c, unit, row);
      blocks += rows[blocks].results.rows > 0;
    }
    if (c.rows_inside)
      for (std::int64_t panel = panels.begin; panel < panels.end; ++panel)
        for (std::int64_t i = 0; i < blocks; ++i)
          multiply_panel<Isa>(c, io, rows[i], group, panel, pipeline);
    else
      for (std::int64_t i = 0; i < blocks; ++i)
        for (std::int64_t panel = panels.begin; panel < panels.end; ++panel)
          multiply_panel<Isa>(c, io, rows[i], group, panel, pipeline);
  }
}

/// Lines [begin, end) of all images, of one image where padded, times panels [first, last).
template <class Isa>
PTQ_ALWAYS_INLINE void multiply_lines(const tile_conv_object& c, const kernels::operands& io,
                                      std::uint8_t* copies, work_range lines, work_range panels,
                                      tile_pipeline<Isa>& pipeline) {
  const tile_source& s = c.source;
  const kernels::conv_geometry& g = s.g;
  const auto* src = static_cast<const std::uint8_t*>(io.src[0]);
  const std::int64_t count = lines.end - lines.begin;
  using way = tile_source::way;
  tile_unit unit{copies, count, count, lines.begin};
  if (s.by == way::direct) {
    unit.rows = src + lines.begin * s.pixel;
    unit.last = c.all_lines() - c.rows - lines.begin;
  }
  if (s.by == way::padded) {
    unit.count = unit.last = s.rows_of(count);
    unit.result = lines.begin * g.out_w;
    const std::int64_t image = lines.begin / g.out_h * g.in_h * g.in_w * g.src_pixel();
    fill_padded<Isa>(s, src + image, lines.begin % g.out_h, count, c.lines, copies);
  }
  for (std::int64_t p = panels.begin; p < panels.end;) {
    const std::int64_t group = p / c.panels, first = group * c.panels;
    const std::int64_t end = std::min(panels.end, first + c.panels);
    tile_unit of_group = unit;
    if (s.by == way::windows)
      fill_windows<Isa>(s, src, lines.begin, count, group, copies);
    else
      of_group.rows += group * g.group_in();
    multiply_unit<Isa>(c, io, of_group, group, {p - first, end - first}, pipeline);
    p = end;
  }
}

template <class Isa>
void run_tile_conv(const void* object, const kernels::operands& io, std::byte* scratch,
                   work_range range) {
  const auto& c = *static_cast<const tile_conv_object*>(object);
  const std::int64_t all = c.all_lines(), panels = c.source.g.groups * c.panels;
  const std::int64_t out_h = c.source.by == tile_source::way::padded ? c.source.g.out_h : all;
  auto* copies = reinterpret_cast<std::uint8_t*>(scratch);
  const configured_tiles<Isa> configured(c.rows, c.width);
  tile_pipeline<Isa> pipeline;
  for (std::int64_t unit = range.begin; unit < range.end;) {
    const std::int64_t group = unit / c.parts, part = unit % c.parts;
    const std::int64_t parts = std::min(range.end - unit, c.parts - part);
    const std::int64_t end = std::min((part + parts) * c.part, all);
    for (std::int64_t line = part * c.part; line < end;) {
      const std::int64_t next = std::min(std::min(end, line + c.lines), (line / out_h + 1) * out_h);
      multiply_lines<Isa>(
          c, io, copies, {line, next},
          {group * c.panels_per_unit, std::min((group + 1) * c.panels_per_unit, panels)}, pipeline);
      line = next;
    }
    unit += parts;
  }
  pipeline.finish();
}

/// u8 · s8 convolution by tiles, see qconv_args; bit-equal to reference::qconv.
template <class Isa>
kernels::prepared prepare_tile_conv(const kernels::qconv_args& a) {
  kernels::conv_geometry g = a.geometry;
  const bool empty = g.batch == 0 || g.out_h == 0 || g.out_w == 0;
  if (empty) g.batch = g.out_h = g.out_w = 1;  // to be planned: nothing of it runs
  tile_conv_object c;
  c.source = choose_source<Isa>(g, a.x_zero_point);
  c.rule = make_rule<Isa>(a.epilogue);
  c.steps = c.source.steps();
  c.width = c.source.width();
  c.panels = (g.group_out() + tile_panel - 1) / tile_panel;
  choose_units(c);

  const std::int64_t columns = g.groups * c.panels * tile_panel;
  block_layout<Isa> own, packed;
  own.template add<tile_conv_object>(1);
  const std::size_t offset_at = own.template add<std::int64_t>(c.steps);
  const std::size_t weights_at = packed.template add<std::int8_t>(g.groups * c.group_bytes());
  const std::size_t bias_at = packed.template add<std::int32_t>(columns);
  const std::size_t multiplier_at = packed.template add<float>(columns);
  kernels::prepared p = blank<Isa>(own, packed, a.packed);
  if (a.packed.data && a.packed.bytes != packed.bytes) return p;
  auto* object = object_of<tile_conv_object>(p);
  auto* offset = at_offset<std::int64_t>(object, offset_at);
  auto* weights = packed_at<std::int8_t>(p, weights_at);
  auto* bias = packed_at<std::int32_t>(p, bias_at);
  auto* multiplier = packed_at<float>(p, multiplier_at);
  c.offset = offset;
  c.weights = weights;
  c.bias = bias;
  c.multiplier = multiplier;
  c.source.for_runs(c.lines, [&](const tile_run& r) PTQ_INLINE_LAMBDA {
    for (std::int64_t step = 0; step < r.steps(); ++step) *offset++ = r.offset + r.begin(step);
  });
  const std::int64_t filter = g.kernel_h * g.kernel_w * g.group_in();
  for (std::int64_t o = 0; o < g.out_c && !a.packed.data; ++o) {
    const std::int64_t group = o / g.group_out(), column = o % g.group_out();
    const std::int64_t padded = group * c.panels * tile_panel + column;
    const std::int32_t sum =
        pack_tile_column(c, a.weights + o * filter, weights + group * c.group_bytes(), column);
    bias[padded] = folded_bias(a.bias ? a.bias[o] : 0, a.x_zero_point, sum);
    multiplier[padded] = a.epilogue.multiplier.data()[a.epilogue.multiplier.size() == 1 ? 0 : o];
  }
  std::memcpy(static_cast<void*>(object), &c, sizeof c);
  p.run = run_tile_conv<Isa>;
  p.units = empty ? 0 : c.parts * c.panel_groups;
  p.scratch = static_cast<std::size_t>((c.source.bytes(c.lines) + 63) / 64 * 64);
  const char* names[] = {"gemm, tiles", "padded conv, tiles", "window gemm, tiles"};
  p.name = names[static_cast<int>(c.source.by)];
  return p;
}

}  // namespace ptq::native
