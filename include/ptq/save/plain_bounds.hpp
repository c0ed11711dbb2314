#pragma once
// SPDX-License-Identifier: Apache-2.0
// How far plain kernels reach into their operands; bounds.hpp for what no table has.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <ptq/lower/plain.hpp>
#include <ptq/save/bounds.hpp>

namespace ptq::saving {

/// Bytes of an element of a type that plain kernels compute with.
inline std::int64_t plain_bytes(dtype t) {
  if (t > dtype::boolean) throw mismatch{"type: expected integers or f32, got " + std::string(name_of(t))};
  return bytes_of(t);
}

inline void check_index(dtype t) {
  if (t != dtype::s32 && t != dtype::s64) throw mismatch{"indices: expected s32 or s64, got " + std::string(name_of(t))};
}

inline reach reach_of(const lowering::gather_rows& k) {
  check_index(k.index);
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

// ---- by index

/// Behind the furthest element that an index per extent leads to; 0 where an extent is.
inline std::int64_t indexed_span(const std::vector<std::int64_t>& extent, const std::vector<std::int64_t>& stride) {
  const auto rank = static_cast<std::int64_t>(extent.size());
  require_within("strides", static_cast<std::int64_t>(stride.size()), rank, rank);
  std::int64_t furthest = 0;
  bool none = false;
  for (std::size_t d = 0; d < extent.size(); ++d) {
    require_within("extent", extent[d], 0, most_extent);
    require_within("stride", stride[d], 0, most_elements);
    if (extent[d] > 1) require_within("stride", stride[d], 0, most_elements / (extent[d] - 1));
    furthest += extent[d] > 0 ? (extent[d] - 1) * stride[d] : 0;
    require_within("span", furthest, 0, most_elements);
    none = none || extent[d] == 0;
  }
  return none ? 0 : furthest + 1;
}

inline reach reach_of(const lowering::gather_elements& k) {
  check_index(k.index);
  require_within("element", k.bytes, 1, 8);
  require_within("axis", k.axis, 0, static_cast<std::int64_t>(k.extent.size()) - 1);
  const auto count = elements(k.extent);
  if (count == 0 || k.along == 0) return {{}, count * k.bytes};
  auto reached = k.extent;
  reached[static_cast<std::size_t>(k.axis)] = k.along;
  return {{indexed_span(reached, k.stride) * k.bytes, count * bytes_of(k.index)}, count * k.bytes};
}
inline reach reach_of(const lowering::gather_tuples& k) {
  check_index(k.index);
  require_within("tuples of a batch", k.per_batch, 1, most_extent);
  const auto dst = elements({k.tuples, k.run});
  const auto depth = static_cast<std::int64_t>(k.extent.size());
  const auto span = indexed_span(k.extent, k.stride);
  if (k.tuples == 0 || span == 0) return {{}, dst};
  const auto batches = elements({(k.tuples - 1) / k.per_batch, k.batch_bytes});
  return {{batches + span - 1 + k.run, elements({k.tuples, depth}) * bytes_of(k.index)}, dst};
}
inline reach reach_of(const lowering::arg_elements& k) {
  return {{elements({k.outer, k.size, k.inner}) * plain_bytes(k.type)}, elements({k.outer, k.inner}) * 8};
}
inline reach reach_of(const lowering::top_elements& k) {
  require_within("k", k.k, 0, k.size);
  return {{elements({k.outer, k.size, k.inner}) * plain_bytes(k.type)},
          elements({k.outer, k.k, k.inner}) * (k.indices ? 8 : plain_bytes(k.type))};
}
inline reach reach_of(const lowering::running_sum& k) {
  return elementwise(elements({k.outer, k.size, k.inner}), plain_bytes(k.type), plain_bytes(k.type));
}
inline reach reach_of(const lowering::triangle_elements& k) {
  require_within("element", k.bytes, 1, 8);
  require_within("rows", k.rows, k.total > 0 ? 1 : 0, most_extent);
  require_within("columns", k.columns, k.total > 0 ? 1 : 0, most_extent);
  return elementwise(k.total, k.bytes, k.bytes);
}
inline reach reach_of(const lowering::range_elements& k) {
  const auto bytes = plain_bytes(k.type);
  require_within("size", k.count, 0, most_elements);
  return {{bytes, bytes}, k.count * bytes};
}

// ---- elementwise, windows

inline reach reach_of(const lowering::unary_elements& k) {
  return elementwise(k.size, plain_bytes(k.type), plain_bytes(k.type));
}
inline reach reach_of(const lowering::nan_elements& k) { return elementwise(k.size, 4, 1); }
inline reach reach_of(const lowering::select_elements& k) {
  require_within("element", k.bytes, 1, 8);
  const auto count = size_of(k.first);
  require_within("elements", size_of(k.second), count, count);
  const auto condition = [](const kernels::broadcast& over) { return strided_span(over.rank, over.extent, over.a_stride); };
  const auto chosen = [](const kernels::broadcast& over) { return strided_span(over.rank, over.extent, over.b_stride); };
  return {{std::max(condition(k.first), condition(k.second)), chosen(k.first) * k.bytes, chosen(k.second) * k.bytes},
          count * k.bytes};
}
inline reach reach_of(const lowering::reduce_elements& k) {
  const auto bytes = plain_bytes(k.type);
  return {{elements({k.outer, k.size, k.inner}) * bytes}, elements({k.outer, k.inner}) * bytes};
}
inline reach reach_of(const lowering::float8_elements& k) {
  if (!is_float8(k.type)) throw mismatch{"type: expected FP8, got " + std::string(name_of(k.type))};
  return elementwise(k.size, 4, 4);
}
inline void check_reals(const char* what, const tensor& t, std::int64_t count) {
  if (t.empty() || t.type() != dtype::f32 || t.size() != count)
    throw mismatch{std::string(what) + ": expected f32 of " + std::to_string(count) + " elements"};
}
inline void check_dense(const kernels::conv_geometry& g) {
  check_geometry(g);
  require_within("pixel stride", g.src_stride, 0, 0);
  require_within("pixel stride", g.dst_stride, 0, 0);
}
inline reach reach_of(const lowering::transposed_conv& k) {
  check_dense(k.geometry);
  check_reals("weights", k.weights, lowering::weight_count(k.geometry));
  check_reals("bias", k.bias, k.geometry.out_c);
  return reach_of(k.geometry, 4, 4);
}
inline reach reach_of(const lowering::computed_conv& k) {
  check_dense(k.geometry);
  reach r = reach_of(k.geometry, 4, 4);
  r.src[1] = lowering::weight_count(k.geometry) * 4;
  if (k.bias) r.src[2] = k.geometry.out_c * 4;
  return r;
}
inline reach reach_of(const lowering::local_response& k) {
  require_within("channels of a window", k.size, 1, most_extent);
  return elementwise(elements({k.pixels, k.channels}), 4, 4);
}

}  // namespace ptq::saving
