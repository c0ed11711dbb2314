#pragma once
// SPDX-License-Identifier: Apache-2.0
// Plain kernels that read by index, or yield one: gathers, fills, sorting, running sums, triangles.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <type_traits>
#include <vector>

#include <ptq/core/tensor.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/lower/plain/elements.hpp>

namespace ptq::lowering {

/// Reads index i of a tensor of s32 or s64, wrapped to [0, extent) and held inside (a wild index must not read wild memory).
template <class = void>
std::int64_t index_at(const void* p, dtype t, std::int64_t i, std::int64_t extent) {
  const auto v = t == dtype::s32 ? static_cast<const std::int32_t*>(p)[i]
                                 : static_cast<const std::int64_t*>(p)[i];
  return std::clamp<std::int64_t>(v < 0 ? v + extent : v, 0, extent - 1);
}

/// dst[o, k] = src[o, index[k]] in runs of bytes; src: [outer, extent] runs, [count] indices (s32 or s64).
struct gather_rows {
  static constexpr const char* name = "gather rows";
  std::int64_t outer = 1, count = 0, extent = 0, run = 1;
  dtype index = dtype::s64;

  std::int64_t units() const { return outer * count; }
  void operator()(const kernels::operands& io, work_range r) const {
    const auto bytes = static_cast<std::size_t>(run);
    for (auto k = r.begin; k < r.end && extent > 0; ++k) {
      const auto row = k / count * extent + index_at(io.src[1], index, k % count, extent);
      std::memcpy(static_cast<std::byte*>(io.dst) + static_cast<std::size_t>(k) * bytes,
                  static_cast<const std::byte*>(io.src[0]) + static_cast<std::size_t>(row) * bytes, bytes);
    }
  }
};

/// dst[i…] = src[i… with index[i…] along one axis], elements of `bytes` bytes; src: data, indices like dst (s32 or s64).
struct gather_elements {
  static constexpr const char* name = "gather elements";
  std::vector<std::int64_t> extent, stride;  // of dst and the indices; of data, in elements
  std::int64_t axis = 0, along = 0;          // extent of data along the axis
  dtype index = dtype::s64;
  std::int64_t bytes = 1;

  std::int64_t units() const { return 1; }
  void operator()(const kernels::operands& io, work_range) const {
    std::int64_t total = along > 0 ? 1 : 0;
    for (auto e : extent) total *= e;
    const auto width = static_cast<std::size_t>(bytes);
    for (std::int64_t i = 0; i < total; ++i) {
      std::int64_t rest = i, from = 0;
      for (std::size_t d = extent.size(); d-- > 0;) {
        const auto here = rest % extent[d];
        rest /= extent[d];
        from += stride[d] * (static_cast<std::int64_t>(d) == axis ? index_at(io.src[1], index, i, along) : here);
      }
      std::memcpy(static_cast<std::byte*>(io.dst) + static_cast<std::size_t>(i) * width,
                  static_cast<const std::byte*>(io.src[0]) + static_cast<std::size_t>(from) * width, width);
    }
  }
};

/// dst[k] = the run of bytes at index tuple k; src: data, [tuples, extent.size()] indices (s32 or s64).
struct gather_tuples {
  static constexpr const char* name = "gather tuples";
  std::int64_t tuples = 0, per_batch = 1, batch_bytes = 0, run = 1;
  std::vector<std::int64_t> extent, stride;  // of each index of a tuple; bytes
  dtype index = dtype::s64;

  std::int64_t units() const { return 1; }
  void operator()(const kernels::operands& io, work_range) const {
    for (auto e : extent)
      if (e == 0) return;
    const auto depth = static_cast<std::int64_t>(extent.size());
    for (std::int64_t k = 0; k < tuples; ++k) {
      auto from = k / per_batch * batch_bytes;
      for (std::size_t d = 0; d < extent.size(); ++d)
        from += index_at(io.src[1], index, k * depth + static_cast<std::int64_t>(d), extent[d]) * stride[d];
      std::memcpy(static_cast<std::byte*>(io.dst) + k * run, static_cast<const std::byte*>(io.src[0]) + from,
                  static_cast<std::size_t>(run));
    }
  }
};

/// dst[i] = element, count times.
struct fill_elements {
  static constexpr const char* name = "fill";
  std::int64_t count = 0;
  tensor element;

  std::int64_t units() const { return 1; }
  void operator()(const kernels::operands& io, work_range) const {
    const auto bytes = size_of(element.type());
    auto* to = static_cast<std::byte*>(io.dst);
    for (std::int64_t i = 0; i < count; ++i)
      std::memcpy(to + static_cast<std::size_t>(i) * bytes, element.data(), bytes);
  }
};

/// s64 [outer, inner]: where the largest or smallest of [outer, size, inner] is.
struct arg_elements {
  static constexpr const char* name = "arg";
  dtype type = dtype::f32;
  std::int64_t outer = 1, size = 1, inner = 1;
  bool max = true, select_last = false;

  std::int64_t units() const { return 1; }
  void operator()(const kernels::operands& io, work_range) const {
    with_type(type, [&](auto zero) {
      using T = decltype(zero);
      const auto* p = static_cast<const T*>(io.src[0]);
      auto* q = static_cast<std::int64_t*>(io.dst);
      for (std::int64_t o = 0; o < outer; ++o)
        for (std::int64_t i = 0; i < inner; ++i) {
          std::int64_t best = 0;
          for (std::int64_t k = 1; k < size; ++k) {
            const T v = p[(o * size + k) * inner + i], b = p[(o * size + best) * inner + i];
            if (max ? v > b : v < b) best = k;
            else if (select_last && v == b) best = k;
          }
          q[o * inner + i] = best;
        }
    });
  }
};

/// [outer, k, inner]: the k first of [outer, size, inner] in order, or where they are (s64). Equals keep their order; NaN
/// counts as larger than any number.
struct top_elements {
  static constexpr const char* name = "top k";
  dtype type = dtype::f32;
  std::int64_t outer = 1, size = 1, inner = 1, k = 0;
  bool largest = true, indices = false;

  std::int64_t units() const { return 1; }
  std::size_t scratch() const { return static_cast<std::size_t>(outer * inner > 0 ? size : 0) * sizeof(std::int64_t); }
  void operator()(const kernels::operands& io, std::byte* scratch, work_range) const {
    auto* rank = reinterpret_cast<std::int64_t*>(scratch);
    with_type(type, [&](auto zero) {
      using T = decltype(zero);
      for (std::int64_t o = 0; o < outer; ++o)
        for (std::int64_t i = 0; i < inner; ++i) {
          const T* p = static_cast<const T*>(io.src[0]) + o * size * inner + i;
          std::iota(rank, rank + size, std::int64_t{0});
          std::sort(rank, rank + size, [&](auto a, auto b) {
            const T x = p[a * inner], y = p[b * inner];
            const bool before = largest ? above(x, y) : above(y, x), behind = largest ? above(y, x) : above(x, y);
            return before || (!behind && a < b);
          });
          for (std::int64_t j = 0; j < k; ++j) {
            const auto at = (o * k + j) * inner + i;
            if (indices) static_cast<std::int64_t*>(io.dst)[at] = rank[j];
            else static_cast<T*>(io.dst)[at] = p[rank[j] * inner];
          }
        }
    });
  }

 private:
  template <class T>
  static bool above(T x, T y) {
    if constexpr (std::is_floating_point_v<T>)
      if (std::isnan(x) || std::isnan(y)) return std::isnan(x) && !std::isnan(y);
    return x > y;
  }
};

/// Sums along the middle of [outer, size, inner].
struct running_sum {
  static constexpr const char* name = "running sum";
  dtype type = dtype::f32;
  std::int64_t outer = 1, size = 1, inner = 1;
  bool exclusive = false, reverse = false;

  std::int64_t units() const { return 1; }
  void operator()(const kernels::operands& io, work_range) const {
    with_type(type, [&](auto zero) {
      using T = decltype(zero);
      const auto* p = static_cast<const T*>(io.src[0]);
      auto* q = static_cast<T*>(io.dst);
      for (std::int64_t o = 0; o < outer; ++o)
        for (std::int64_t i = 0; i < inner; ++i) {
          T sum = T(0);
          for (std::int64_t k = 0; k < size; ++k) {
            const auto at = (o * size + (reverse ? size - 1 - k : k)) * inner + i;
            if (exclusive) q[at] = sum;
            if constexpr (std::is_floating_point_v<T>) sum += p[at];
            else sum = integer_binary(binary_kind::add, sum, p[at]);
            if (!exclusive) q[at] = sum;
          }
        }
    });
  }
};

/// One triangle of matrices, zero elsewhere; elements of `bytes` bytes.
struct triangle_elements {
  static constexpr const char* name = "triangle";
  std::int64_t total = 0, rows = 1, columns = 1, shift = 0, bytes = 1;
  bool upper = true;

  std::int64_t units() const { return 1; }
  void operator()(const kernels::operands& io, work_range) const {
    const auto width = static_cast<std::size_t>(bytes);
    for (std::int64_t i = 0; i < total; ++i) {
      const auto r = i / columns % rows, c = i % columns;
      auto* to = static_cast<std::byte*>(io.dst) + static_cast<std::size_t>(i) * width;
      if (upper ? c - r >= shift : c - r <= shift)
        std::memcpy(to, static_cast<const std::byte*>(io.src[0]) + static_cast<std::size_t>(i) * width, width);
      else
        std::memset(to, 0, width);
    }
  }
};

/// start, start + step, …; src: start, step.
struct range_elements {
  static constexpr const char* name = "range";
  dtype type = dtype::s64;
  std::int64_t count = 0;

  std::int64_t units() const { return 1; }
  void operator()(const kernels::operands& io, work_range) const {
    with_type(type, [&](auto zero) {
      using T = decltype(zero);
      const T a = *static_cast<const T*>(io.src[0]), d = *static_cast<const T*>(io.src[1]);
      for (std::int64_t i = 0; i < count; ++i) {
        auto& y = static_cast<T*>(io.dst)[i];
        if constexpr (std::is_floating_point_v<T>) y = a + static_cast<T>(i) * d;
        else y = integer_binary(binary_kind::add, a, integer_binary(binary_kind::mul, static_cast<T>(i), d));
      }
    });
  }
};

}  // namespace ptq::lowering
