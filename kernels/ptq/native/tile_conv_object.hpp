#pragma once
// SPDX-License-Identifier: Apache-2.0
// What tile_conv.hpp prepares: how the work is cut into units, and the weights as tiles.

#include <algorithm>
#include <cstdint>

#include <ptq/kernels/args.hpp>
#include <ptq/native/epilogue.hpp>
#include <ptq/native/object.hpp>
#include <ptq/native/tile_gemm.hpp>
#include <ptq/native/tile_source.hpp>

namespace ptq::native {

struct tile_conv_object {
  tile_source source;
  epilogue_rule rule;
  std::int64_t steps = 1, width = 1;  // of K
  std::int64_t rows = 0;              // of a tile
  std::int64_t part = 1, parts = 1;   // lines of a unit, image rows (padded) or rows; how many
  std::int64_t lines = 1;             // most that are found at once: neighbouring units together
  std::int64_t panels = 1, panels_per_unit = 1, panel_groups = 1;  // of a group of channels
  bool distant = false;      // weights beyond the second-level cache
  bool rows_inside = false;  // a panel meets all rows that are found before the next one does
  const std::int64_t* offset = nullptr;  // [steps]
  const std::int8_t* weights = nullptr;
  const std::int32_t* bias = nullptr;  // [groups][panels · 32]
  const float* multiplier = nullptr;   // [groups][panels · 32]

  PTQ_ALWAYS_INLINE std::int64_t vectors_of(std::int64_t panel) const {
    const std::int64_t columns = source.g.group_out() - panel * tile_panel;
    return columns > tile_side ? 2 : 1;
  }
  PTQ_ALWAYS_INLINE std::int64_t tile_bytes() const { return 64 * width; }
  /// Of a group's weights: all panels but the last have two tiles a step.
  PTQ_ALWAYS_INLINE std::int64_t group_bytes() const {
    return (2 * (panels - 1) + vectors_of(panels - 1)) * steps * tile_bytes();
  }
  /// Rows of results of all images (lines, where padded).
  PTQ_ALWAYS_INLINE std::int64_t all_lines() const {
    const kernels::conv_geometry& g = source.g;
    return g.batch * g.out_h * (source.by == tile_source::way::padded ? 1 : g.out_w);
  }
};

/// Whether tiles are worth it: by time per product, vpdpbusd 128 a cycle at best, tdpbusd 1024 of
/// 64 bytes by 16 columns. Doesn't depend on the number of rows: packed weights serve any.
PTQ_ALWAYS_INLINE bool tiles_pay(const kernels::conv_geometry& g) {
  constexpr std::int64_t farthest = 4096;  // rows and columns; padded images grow with them
  return g.kernel_h * g.kernel_w * g.group_in() >= 16 && g.group_out() >= 4 &&
         g.kernel_h * g.dilation_h <= farthest && g.kernel_w * g.dilation_w <= farthest &&
         g.stride_h <= farthest && g.stride_w <= farthest;
}

/// Units small enough for several threads; neighbouring ones are done together. Their weights, and
/// what is copied at once, stay in the second-level cache.
PTQ_ALWAYS_INLINE void choose_units(tile_conv_object& c) {
  constexpr std::int64_t copied_rows = 512, cached_bytes = 512 << 10, enough_units = 16,
                         first_level = 24 << 10, second_level = 1 << 20;
  const tile_source& s = c.source;
  const bool padded = s.by == tile_source::way::padded;
  const std::int64_t all = c.all_lines(), panels = s.g.groups * c.panels;
  c.part = padded ? std::clamp<std::int64_t>(tile_block_rows / s.pitch, 1, s.g.out_h)
                  : std::min(tile_block_rows, all);
  c.parts = (all + c.part - 1) / c.part;
  c.lines = s.by == tile_source::way::direct
                ? all
                : std::clamp<std::int64_t>(copied_rows / (padded ? s.pitch : 1), c.part,
                                           padded ? s.g.out_h : all);
  c.panels_per_unit =
      std::clamp<std::int64_t>(cached_bytes / (2 * c.steps * c.tile_bytes()), 1, panels);
  while (c.parts * ((panels + c.panels_per_unit - 1) / c.panels_per_unit) < enough_units &&
         c.panels_per_unit > 2)
    c.panels_per_unit = (c.panels_per_unit + 1) / 2;
  c.panel_groups = (panels + c.panels_per_unit - 1) / c.panels_per_unit;
  // A panel stays in the first-level cache while rows pass; they are read once a panel. The other
  // way round blocks stay, and all panels pass. Pixels of a padded image are in several rows.
  const std::int64_t panel = 2 * c.steps * c.tile_bytes(), rows = tile_block_rows * s.pixel;
  c.distant = s.g.groups * c.group_bytes() > second_level;
  c.rows_inside = panel <= first_level && panel * c.panels_per_unit > first_level && rows < panel;
  c.rows = std::min(tile_side, padded ? s.rows_of(c.lines) : c.lines);
}

/// Packs the weights of a group's output channel `column`; returns their sum. `to`: the group's.
PTQ_ALWAYS_INLINE std::int32_t pack_tile_column(const tile_conv_object& c,
                                                const std::int8_t* filter, std::int8_t* to,
                                                std::int64_t column) {
  const std::int64_t panel = column / tile_panel;
  const std::int64_t step_bytes = c.vectors_of(panel) * c.tile_bytes();
  const kernels::conv_geometry& g = c.source.g;
  to += 2 * panel * c.steps * c.tile_bytes() + column % tile_panel / tile_side * c.tile_bytes() +
        column % tile_side * 4;
  std::int32_t sum = 0;
  c.source.for_runs(c.lines, [&](const tile_run& r) PTQ_INLINE_LAMBDA {
    std::int64_t at = 0, left = 64, step = 0;  // in the step; bytes until the next
    for (std::int64_t tap = 0; tap < r.taps; ++tap) {
      const std::int8_t* w = filter + (r.h * g.kernel_w + r.w + tap * r.w_step) * r.depth;
      for (std::int64_t i = 0; i < r.depth; ++i, ++at, --left) {
        if (left == 0) {
          ++step;
          at = 64 * step - r.begin(step);
          left = 64;
          to += step_bytes;
        }
        to[at / 4 * 64 + at % 4] = w[i];
        sum += w[i];
      }
    }
    to += step_bytes;
  });
  return sum;
}

}  // namespace ptq::native
