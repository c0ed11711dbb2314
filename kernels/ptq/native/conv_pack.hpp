#pragma once
// SPDX-License-Identifier: Apache-2.0
// Weights of conv.hpp's convolutions as gemm.hpp reads them, and how a convolution is cut and
// multiplied.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include <ptq/native/conv_rows.hpp>
#include <ptq/native/gemm.hpp>
#include <ptq/native/gemm_extras.hpp>
#include <ptq/native/pair_add.hpp>

namespace ptq::native {

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
    c.slot = (c.depth + 7) / 4 * 4;  // four bytes may be written where the last begins
  } else {
    c.rows_by = kernel == 1 ? way::direct : way::indirect;
    c.taps = kernel;
    c.depth = in;
  }
}

/// Rows of a tile of a group's first panel.
template <class Isa>
PTQ_ALWAYS_INLINE std::int64_t first_panel_rows(const conv_object& c) {
  constexpr int lanes = simd<Isa, register_bytes<Isa>>::lanes;
  const std::int64_t vectors = (c.g.group_out() + lanes - 1) / lanes;
  return gemm_shape<Isa>::rows(
      static_cast<int>(std::min<std::int64_t>(vectors, gemm_shape<Isa>::vectors)));
}

/// Block sizes: about 48 rows share a pass over a panel, 256 KiB of panels stay in the second-level
/// cache, and there are 32 units, for 16 threads, where these are worth more than finding their rows.
template <class Isa>
PTQ_ALWAYS_INLINE void choose_blocks(conv_object& c) {
  constexpr std::int64_t usual_rows = 48, cached_bytes = 256 << 10, most_units = 32,
                         least_rows = 12, least_products = has_dpbusd<Isa> ? 1 << 18 : 1 << 17;
  c.pixels = c.g.batch * c.g.out_h * c.g.out_w;
  const std::int64_t bytes = panel_bytes<Isa>(c.taps, c.depth, gemm_shape<Isa>::vectors);
  c.panels_per_unit = std::clamp<std::int64_t>(cached_bytes / bytes, 1, c.panels);
  c.blocks = std::max<std::int64_t>(1, (c.pixels + usual_rows / 2) / usual_rows);
  const auto units = [&] {
    return c.blocks * ((c.panels + c.panels_per_unit - 1) / c.panels_per_unit);
  };
  const std::int64_t products = c.pixels * c.g.out_c * c.taps * c.depth;
  const std::int64_t enough_units = std::clamp<std::int64_t>(products / least_products, 1, most_units);
  if (c.wide) {  // the copies stay in the second-level cache too
    constexpr std::int64_t copy_bytes = 128 << 10;
    const std::int64_t most = std::clamp<std::int64_t>(
        copy_bytes / (2 * wide_pitch(c.taps * c.depth)), least_rows, usual_rows);
    c.blocks = std::max(c.blocks, (c.pixels + most - 1) / most);
  }
  const auto divide_panels = [&] {
    while (units() < enough_units && c.panels_per_unit > 1)
      c.panels_per_unit = (c.panels_per_unit + 1) / 2;
  };
  if (!c.wide) divide_panels();
  while (units() < enough_units && c.pixels / c.blocks >= 2 * least_rows) c.blocks *= 2;
  divide_panels();  // last where every part of them copies its rows
  c.block = std::max<std::int64_t>(1, (c.pixels + c.blocks - 1) / c.blocks);
  const std::int64_t rows = first_panel_rows<Isa>(c);
  if (c.blocks > 1) c.block = (c.block + rows - 1) / rows * rows;
  c.blocks = (c.pixels + c.block - 1) / c.block;
  constexpr std::int64_t kept_pointers = 4096;  // 32 KiB
  c.kept = !c.wide && c.rows_by != conv_object::way::gathered &&
           c.panels > c.panels_per_unit && c.pixels <= kept_pointers / c.taps;
}

/// Weights of one output channel in groups of four, as gemm.hpp lays rows into groups.
struct grouped_weights {
  std::int64_t taps = 1, depth = 4, count = 0;  // count: rows may be longer than the filter

  PTQ_ALWAYS_INLINE std::int64_t groups() const { return (depth + 3) / 4; }
  PTQ_ALWAYS_INLINE std::int64_t first(std::int64_t group) const {
    return std::min(4 * group, depth - 4);
  }
  /// Weight t of a group, 0 where an earlier group has it.
  PTQ_ALWAYS_INLINE std::int8_t at(const std::int8_t* w, std::int64_t tap, std::int64_t group,
                                   int t) const {
    const std::int64_t k = first(group) + t, i = tap * depth + k;
    return k < 4 * group || i >= count ? std::int8_t{0} : w[i];
  }
};

PTQ_ALWAYS_INLINE grouped_weights groups_of(const conv_object& c) {
  const std::int64_t count = c.g.kernel_h * c.g.kernel_w * c.g.group_in();
  if (c.wide) return {1, c.taps * c.depth, count};
  return {c.taps, c.depth, count};
}

/// Weights of the panel's column, as the kernel reads them; returns Σw.
template <class Isa, class Way>
std::int32_t pack_column(const grouped_weights& k, const std::int8_t* from, std::int8_t* to,
                         int column, int vectors) noexcept {
  using S = simd<Isa, register_bytes<Isa>>;
  std::int32_t sum = 0;
  to += column / S::lanes * S::lanes * 4;
  for (std::int64_t tap = 0; tap < k.taps; ++tap)
    for (std::int64_t group = 0; group < k.groups(); ++group, to += vectors * S::lanes * 4)
      for (int t = 0; t < 4; ++t) {
        const std::int8_t w = k.at(from, tap, group, t);
        sum += w;
        to[Way::position(S::lanes, column % S::lanes, t)] = w;
      }
  return sum;
}

/// A panel's biases where a kind of border tiles skips taps: as the panel's own, without the zero
/// points of those. From packed weights, `quads`.
template <class Isa>
void fold_border(const conv_object& c, const conv_panel& panel, const conv_border& kind,
                 std::int32_t* bias) noexcept {
  constexpr std::int64_t lanes = simd<Isa, register_bytes<Isa>>::lanes;
  const std::int64_t tap_bytes = (c.depth + 3) / 4 * panel.vectors * lanes * 4;
  for (std::int64_t column = 0; column < panel.vectors * lanes; ++column) {
    std::int32_t skipped = 0;
    for (std::int64_t tap = 0, i = 0; tap < c.taps; ++tap) {
      if (i < kind.count && kind.taps[i] == tap) {
        ++i;
        continue;
      }
      const std::int8_t* w = c.weights + panel.weights + tap * tap_bytes + 4 * column;
      for (std::int64_t k = 0; k < tap_bytes; k += panel.vectors * lanes * 4)
        for (std::int64_t t = 0; t < 4; ++t) skipped += w[k + t];
    }
    bias[panel.padded + column] =
        folded_bias(c.bias[panel.padded + column], -std::int32_t{c.zero_point}, skipped);
  }
}

/// Extra groups of a vector whose `columns` filters lie from `from` on.
template <class Isa>
std::int64_t count_extras(const grouped_weights& k, const std::int8_t* from,
                          std::int64_t columns) noexcept {
  extra_groups<Isa> extras{k.depth};
  for (std::int64_t tap = 0; tap < k.taps; ++tap)
    for (std::int64_t group = 0; group < k.groups(); ++group)
      for (int t = 0; t < 4; t += 2)
        for (std::int64_t c = 0; c < columns; ++c) {
          int pair[2] = {k.at(from + c * k.count, tap, group, t),
                         k.at(from + c * k.count, tap, group, t + 1)};
          if (pair_exceeds(pair[0], pair[1]))
            extras.take(pair, tap, k.first(group) + t, static_cast<int>(c));
        }
  return extras.count;
}

/// Moves what pairs of a packed panel exceed to extra groups behind it, vector by vector, lists and
/// counts those; returns how many there are.
template <class Isa>
std::int64_t move_excess(const grouped_weights& k, std::int8_t* weights, conv_panel& panel,
                         gemm_extra* extra) noexcept {
  constexpr std::int64_t lanes = simd<Isa, register_bytes<Isa>>::lanes, bytes = 4 * lanes;
  std::int8_t* const behind = weights + k.taps * k.groups() * panel.vectors * bytes;
  std::int64_t n = 0;
  for (int v = 0; v < panel.vectors; ++v) {
    extra_groups<Isa> extras{k.depth, 0, extra + n, behind + n * 2 * bytes};
    std::int8_t* group = weights + v * bytes;
    for (std::int64_t i = 0; i < k.taps * k.groups(); ++i, group += panel.vectors * bytes)
      for (int t = 0; t < 4; t += 2)
        for (int lane = 0; lane < lanes; ++lane) {
          std::int8_t* const pair = group + 4 * lane + t;
          if (pair_exceeds(pair[0], pair[1]))
            extras.take(pair, i / k.groups(), k.first(i % k.groups()) + t, lane);
        }
    panel.extras[v] = extras.count;
    n += extras.count;
  }
  return n;
}

/// Whether rows are widened, and how many extra groups there are where they are not.
template <class Isa>
PTQ_ALWAYS_INLINE void choose_way(conv_object& c, const kernels::qconv_args& a,
                                  std::int64_t& extras) {
  c.wide = !has_dpbusd<Isa>;
  if constexpr (has_pair_add<Isa>) {
    constexpr std::int64_t lanes = simd<Isa, register_bytes<Isa>>::lanes;
    conv_object bytes = c;
    bytes.wide = false;
    const grouped_weights k = groups_of(bytes);
    const std::int64_t out = c.g.group_out();
    std::int64_t groups = 0;
    for (std::int64_t group = 0; group < c.g.groups; ++group)
      for (std::int64_t first = 0; first < out; first += lanes) {
        const std::int8_t* filters = a.weights + (group * out + first) * k.count;
        extras += count_extras<Isa>(k, filters, std::min(lanes, out - first));
        groups += k.taps * k.groups();
      }
    // Times per group and vector, in those of one of quads: an extra one takes 1.5, one of pairs 1.26,
    // and its copy 1.3 for all vectors. Fitted to both ways of 23 shapes with uniform weights on Zen 3: what
    // is chosen loses 6 % at most to the other, but 10 % at 144 → 24 and 19 % in a first layer 3×3×3 → 32.
    const std::int64_t vectors = (out + lanes - 1) / lanes;
    c.wide = 150 * extras * vectors > (26 * vectors + 130) * groups;
  }
  if (c.wide) extras = 0;
}

/// What a convolution's packed memory starts with.
struct conv_form {
  std::int64_t extras = 0, wide = 0;
};

/// The way that packed memory was packed for, where it may be one of this ISA's.
template <class Isa>
PTQ_ALWAYS_INLINE void read_form(conv_object& c, const kernels::packed_memory& packed,
                                 std::int64_t& extras) {
  conv_form form;
  if (packed.bytes >= sizeof form) std::memcpy(&form, packed.data, sizeof form);
  c.wide = has_pair_add<Isa> ? form.wide != 0 : !has_dpbusd<Isa>;
  const auto most = static_cast<std::int64_t>(packed.bytes / sizeof(gemm_extra));
  if (has_pair_add<Isa> && !c.wide) extras = std::clamp<std::int64_t>(form.extras, 0, most);
}

/// Whether all extra groups read bytes of their rows.
template <class Isa>
PTQ_ALWAYS_INLINE bool extras_fit(const conv_object& c, const gemm_extra* extra,
                                  std::int64_t extras) {
  bool fit = true;
  for (std::int64_t i = 0; i < extras; ++i)
    fit = fit && extra[i].tap >= 0 && extra[i].tap < c.taps && extra[i].k >= 0 &&
          extra[i].k <= c.depth - extra_window(c.depth);
  return fit;
}

/// Whether a panel's extra groups are among the `left` that are there.
PTQ_ALWAYS_INLINE bool counts_fit(const conv_panel& q, std::int64_t left) {
  for (int v = 0; v < 4; ++v) {
    if (q.extras[v] < 0 || q.extras[v] > left || (v >= q.vectors && q.extras[v] != 0)) return false;
    left -= q.extras[v];
  }
  return true;
}

template <class Isa>
PTQ_ALWAYS_INLINE const char* name_of(const conv_object& c) {
  using way = conv_object::way;
  const char* by_pair_add[] = {"gemm, pair add", "indirect gemm, pair add",
                               "row-run gemm, pair add", "gathered gemm, pair add"};
  const char* usual[] = {"gemm", "indirect gemm", "row-run gemm", "gathered gemm"};
  static_assert(static_cast<int>(way::gathered) == 3);
  const auto at = static_cast<int>(c.rows_by);
  return has_pair_add<Isa> && !c.wide ? by_pair_add[at] : usual[at];
}

}  // namespace ptq::native
