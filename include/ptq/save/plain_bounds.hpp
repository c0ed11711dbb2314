#pragma once
// SPDX-License-Identifier: Apache-2.0
// How far plain kernels reach into their operands; bounds.hpp for what no table has.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include <ptq/lower/plain.hpp>
#include <ptq/save/bounds.hpp>

namespace ptq::saving {

/// Bytes of an element of a type that plain kernels compute with.
inline std::int64_t plain_bytes(dtype t) {
  if (t > dtype::boolean) throw mismatch{"type: expected integers or f32, got " + std::string(name_of(t))};
  return bytes_of(t);
}

inline reach reach_of(const lowering::gather_rows& k) {
  if (k.index != dtype::s32 && k.index != dtype::s64)
    throw mismatch{"indices: expected s32 or s64, got " + std::string(name_of(k.index))};
  const auto rows = elements({k.outer, k.count, k.run});
  if (k.extent == 0) return {{}, rows};
  return {{elements({k.outer, k.extent, k.run}), elements({k.count}) * bytes_of(k.index)}, rows};
}
inline reach reach_of(const lowering::fill_elements& k) {
  if (k.element.empty() || k.element.size() < 1) throw mismatch{"a filling without an element"};
  return elementwise(k.count, 0, bytes_of(k.element.type()));
}
inline reach reach_of(const lowering::cast_elements& k) {
  return elementwise(k.size, plain_bytes(k.from), plain_bytes(k.to));
}
inline reach reach_of(const lowering::binary_elements& k) {
  reach r = reach_of(k.over, plain_bytes(k.type));
  if (lowering::yields_bool(k.kind)) r.dst /= plain_bytes(k.type);
  return r;
}

inline void check_grid(const lowering::grid& g) {
  require_within("scales", static_cast<std::int64_t>(g.scale.size()), 1, most_extent);
  const auto count = static_cast<std::int64_t>(g.scale.size());
  require_within("zero points", static_cast<std::int64_t>(g.zero_point.size()), count, count);
  require_within("elements per step", g.inner, 1, most_elements);
}
inline reach reach_of(const lowering::quantize_elements& k) {
  check_grid(k.g);
  return elementwise(k.count, 4, plain_bytes(k.g.type));
}
inline reach reach_of(const lowering::dequantize_elements& k) {
  check_grid(k.g);
  return elementwise(k.count, plain_bytes(k.from), 4);
}

/// Elements of src up to the furthest tap; dst is dense.
inline reach reach_of(const lowering::tap_walk& w, std::int64_t bytes, std::int64_t least_index) {
  const auto rank = w.extent.size();
  require_within("axes", static_cast<std::int64_t>(rank), 1, 32);
  require_within("strides", static_cast<std::int64_t>(w.stride.size()), static_cast<std::int64_t>(rank),
                 static_cast<std::int64_t>(rank));
  require_within("taps", static_cast<std::int64_t>(w.taps.size()), static_cast<std::int64_t>(rank),
                 static_cast<std::int64_t>(rank));
  std::int64_t rows = 1, furthest = 0, count = 1;
  for (std::size_t d = 0; d < rank; ++d) {
    const auto& t = w.taps[d];
    require_within("stride", w.stride[d], 0, most_extent);
    require_within("taps of an element", static_cast<std::int64_t>(std::min<std::size_t>(t.per, PTRDIFF_MAX)),
                   1, least_index < 0 ? most_extent : 1);
    const auto all = elements({w.extent[d], static_cast<std::int64_t>(t.per)});
    require_within("indices", static_cast<std::int64_t>(t.index.size()), all, all);
    require_within("weights", static_cast<std::int64_t>(t.weight.size()), all, all);
    std::int64_t most = 0;
    for (auto i : t.index) {
      require_within("index", i, least_index, most_extent);
      most = std::max(most, i);
    }
    const bool last = d + 1 == rank;
    furthest += last && w.straight ? std::max<std::int64_t>(w.columns - 1, 0) : most * w.stride[d];
    require_within("span", furthest, 0, most_elements);
    if (w.extent[d] > 0) require_within("elements", count, 0, most_elements / w.extent[d]);
    count *= w.extent[d];
    if (!last) rows *= w.extent[d];
  }
  require_within("rows", w.rows, rows, rows);
  require_within("columns", w.columns, w.extent.back(), w.extent.back());
  return {{count == 0 ? 0 : (furthest + 1) * bytes}, count * bytes};
}
inline reach reach_of(const lowering::map_elements& k) {
  require_within("element", k.bytes, 1, 8);
  return reach_of(k.w, k.bytes, 0);
}
inline reach reach_of(const lowering::interpolate_elements& k) { return reach_of(k.w, 4, -1); }

}  // namespace ptq::saving
