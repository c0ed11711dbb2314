#pragma once
// SPDX-License-Identifier: Apache-2.0
// Plain kernels that read their source through taps of every axis: padding by reflection, and resize.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include <ptq/core/numeric.hpp>
#include <ptq/core/parallel.hpp>
#include <ptq/kernels/table.hpp>

namespace ptq::lowering {

/// index and weight are [extent of the output axis][per]; an index of −1 lies outside (extrapolation value).
struct axis_taps {
  std::size_t per = 1;
  std::vector<std::int64_t> index;
  std::vector<float> weight;
  bool identity(std::int64_t in) const {
    if (per != 1 || static_cast<std::int64_t>(index.size()) != in) return false;
    for (std::size_t i = 0; i < index.size(); ++i)
      if (index[i] != static_cast<std::int64_t>(i)) return false;
    return true;
  }
};

/// Output positions over all axes but the last in memory, as work items.
struct tap_walk {
  std::vector<std::int64_t> extent, stride;     // memory order
  std::vector<axis_taps> taps;                  // memory order
  std::int64_t rows = 1, columns = 1;
  bool straight = false;                        // the last axis is copied whole
};

/// dst[i…] = src[tap(i)…], elements of `bytes` bytes.
struct map_elements {
  static constexpr const char* name = "index map";
  tap_walk w;
  std::int64_t bytes = 1;

  std::int64_t units() const { return w.rows; }
  void operator()(const kernels::operands& io, work_range r) const {
    const auto width = static_cast<std::size_t>(bytes);
    const std::size_t last = w.extent.size() - 1;
    for (auto row = r.begin; row < r.end; ++row) {
      std::int64_t rest = row, from = 0;
      for (std::size_t d = last; d-- > 0;) {
        from += w.taps[d].index[static_cast<std::size_t>(rest % w.extent[d])] * w.stride[d];
        rest /= w.extent[d];
      }
      const auto* src = static_cast<const std::byte*>(io.src[0]) + static_cast<std::size_t>(from) * width;
      auto* dst = static_cast<std::byte*>(io.dst) + static_cast<std::size_t>(row * w.columns) * width;
      if (w.straight) {
        std::memcpy(dst, src, static_cast<std::size_t>(w.columns) * width);
      } else {
        for (std::int64_t c = 0; c < w.columns; ++c)
          std::memcpy(dst + static_cast<std::size_t>(c) * width,
                      src + static_cast<std::size_t>(w.taps[last].index[static_cast<std::size_t>(c)] * w.stride[last]) * width,
                      width);
      }
    }
  }
};

/// f32: dst = Σ weights · src over the taps of every axis, in increasing tap order.
struct interpolate_elements {
  static constexpr const char* name = "interpolate";
  tap_walk w;
  float outside = 0;

  std::int64_t units() const { return w.rows; }
  void operator()(const kernels::operands& io, work_range r) const {
    const auto* x = static_cast<const float*>(io.src[0]);
    const std::size_t last = w.extent.size() - 1;
    std::vector<std::int64_t> at(last + 1, 0);
    for (auto row = r.begin; row < r.end; ++row) {
      std::int64_t rest = row;
      for (std::size_t d = last; d-- > 0;) {
        at[d] = rest % w.extent[d];
        rest /= w.extent[d];
      }
      float* y = static_cast<float*>(io.dst) + row * w.columns;
      std::fill(y, y + w.columns, 0.0f);
      std::int64_t combinations = 1;
      for (std::size_t d = 0; d < last; ++d) combinations *= static_cast<std::int64_t>(w.taps[d].per);
      bool inside = true;
      for (std::int64_t k = 0; k < combinations && inside; ++k) {
        std::int64_t digits = k, from = 0;
        float weight = 1.0f;
        for (std::size_t d = last; d-- > 0;) {
          const auto per = static_cast<std::int64_t>(w.taps[d].per);
          const auto tap = static_cast<std::size_t>(at[d] * per + digits % per);
          digits /= per;
          if (w.taps[d].index[tap] < 0) inside = false;
          from += w.taps[d].index[tap] * w.stride[d];
          weight *= w.taps[d].weight[tap];
        }
        if (!inside || weight == 0.0f) continue;
        const auto& t = w.taps[last];
        for (std::int64_t c = 0; c < w.columns; ++c)
          for (std::size_t p = 0; p < t.per; ++p) {
            const auto tap = static_cast<std::size_t>(c) * t.per + p;
            if (t.index[tap] < 0) y[c] = outside;
            else y[c] = fused_multiply_add(weight * t.weight[tap], x[from + t.index[tap] * w.stride[last]], y[c]);
          }
      }
      if (!inside) std::fill(y, y + w.columns, outside);
    }
  }
};

}  // namespace ptq::lowering
