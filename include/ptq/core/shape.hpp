#pragma once
// SPDX-License-Identifier: Apache-2.0
// Tensor extents. In a graph an extent may be unknown (-1: a free dimension such as the batch); in a program every
// extent is known.

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include <ptq/core/error.hpp>

namespace ptq {

inline constexpr std::int64_t unknown = -1;

/// Extents, outermost first. A scalar has rank 0 and one element.
struct shape {
  std::vector<std::int64_t> dims;

  shape() = default;
  shape(std::initializer_list<std::int64_t> d) : dims(d) {}
  explicit shape(std::vector<std::int64_t> d) : dims(std::move(d)) {}

  int rank() const { return static_cast<int>(dims.size()); }
  std::int64_t operator[](int i) const { return dims[static_cast<std::size_t>(i)]; }
  std::int64_t& operator[](int i) { return dims[static_cast<std::size_t>(i)]; }
  bool operator==(const shape&) const = default;

  bool known() const {
    for (auto d : dims)
      if (d < 0) return false;
    return true;
  }

  /// Number of elements; throws shape_error if an extent is unknown or the product passes 2^62.
  std::int64_t size() const {
    std::int64_t n = 1;
    for (auto d : dims) {
      if (d < 0) throw shape_error("shape " + text() + ": an extent is unknown");
      if (d != 0 && n > (std::int64_t{1} << 62) / d)
        throw shape_error("shape " + text() + ": too many elements");
      n *= d;
    }
    return n;
  }

  std::string text() const {
    std::string s = "[";
    for (std::size_t i = 0; i < dims.size(); ++i) {
      if (i) s += ',';
      s += dims[i] < 0 ? "?" : std::to_string(dims[i]);
    }
    return s + "]";
  }
};

/// Axis in [-rank, rank) → [0, rank); throws shape_error otherwise.
inline int normalized_axis(std::int64_t axis, int rank, const std::string& who) {
  if (axis < -rank || axis >= rank)
    throw shape_error(who + ": axis: expected [" + std::to_string(-rank) + "," +
                      std::to_string(rank) + "), got " + std::to_string(axis));
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

/// Row-major strides in elements.
inline std::vector<std::int64_t> strides_of(const shape& s) {
  std::vector<std::int64_t> strides(s.dims.size(), 1);
  for (int i = s.rank() - 2; i >= 0; --i)
    strides[static_cast<std::size_t>(i)] = strides[static_cast<std::size_t>(i) + 1] * s[i + 1];
  return strides;
}

}  // namespace ptq
