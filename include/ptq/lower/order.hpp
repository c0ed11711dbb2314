#pragma once
// SPDX-License-Identifier: Apache-2.0
// Memory orders: which logical axis varies slowest … fastest in memory. ONNX order is {0,1,2,3}; channels last is
// {0,2,3,1}. A transpose is a change of order and moves nothing until a kernel needs another one.

#include <algorithm>
#include <cstdint>
#include <vector>

#include <ptq/core/shape.hpp>
#include <ptq/core/tensor.hpp>
#include <ptq/kernels/args.hpp>

namespace ptq::lowering {

/// A permutation of the logical axes, slowest first.
using order = std::vector<int>;

inline order plain_order(int rank) {
  order o(static_cast<std::size_t>(rank));
  for (int i = 0; i < rank; ++i) o[static_cast<std::size_t>(i)] = i;
  return o;
}

/// n, spatial axes, c; plain below rank 3.
inline order channels_last(int rank) {
  if (rank < 3) return plain_order(rank);
  order o{0};
  for (int i = 2; i < rank; ++i) o.push_back(i);
  o.push_back(1);
  return o;
}

/// Stride of every logical axis, in elements, of a dense tensor in that order.
inline std::vector<std::int64_t> strides_in(const shape& dims, const order& o) {
  std::vector<std::int64_t> strides(dims.dims.size(), 1);
  std::int64_t step = 1;
  for (std::size_t i = o.size(); i-- > 0;) {
    strides[static_cast<std::size_t>(o[i])] = step;
    step *= dims[o[i]];
  }
  return strides;
}

/// True when both orders lay these extents out alike (axes of extent 1 don't matter).
inline bool same_memory(const shape& dims, const order& a, const order& b) {
  std::vector<int> x, y;
  for (int i : a)
    if (dims[i] != 1) x.push_back(i);
  for (int i : b)
    if (dims[i] != 1) y.push_back(i);
  return x == y;
}

/// Extents in memory order.
inline shape physical(const shape& dims, const order& o) {
  shape s;
  for (int i : o) s.dims.push_back(dims[i]);
  return s;
}

/// Merges neighbouring dimensions that both operands step through alike, and drops those of extent 1.
/// strides: one vector per operand, in the same dimension order as extent.
inline void merge_dimensions(std::vector<std::int64_t>& extent,
                             std::vector<std::vector<std::int64_t>*> strides) {
  std::size_t n = 0;
  for (std::size_t i = 0; i < extent.size(); ++i) {
    if (extent[i] == 1) continue;
    bool join = n > 0;
    for (auto* s : strides) join = join && (*s)[n - (n > 0)] == (*s)[i] * extent[i];
    if (join) {
      extent[n - 1] *= extent[i];
      for (auto* s : strides) (*s)[n - 1] = (*s)[i];
    } else {
      extent[n] = extent[i];
      for (auto* s : strides) (*s)[n] = (*s)[i];
      ++n;
    }
  }
  extent.resize(n);
  for (auto* s : strides) s->resize(n);
  if (n == 0) {
    extent = {1};
    for (auto* s : strides) *s = {0};
  }
}

/// An operand of a broadcasting operation: its extents (rank at most that of the result) and its memory order.
struct operand_view {
  shape dims;
  order memory;
  /// Stride for every axis of the result; 0 where the operand repeats.
  std::vector<std::int64_t> strides_for(const shape& result) const {
    const auto own = strides_in(dims, memory);
    std::vector<std::int64_t> s(result.dims.size(), 0);
    const int shift = result.rank() - dims.rank();
    for (int i = 0; i < dims.rank(); ++i)
      if (dims[i] != 1) s[static_cast<std::size_t>(i + shift)] = own[static_cast<std::size_t>(i)];
    return s;
  }
};

/// Two operands over a dense result of memory order `o`.
inline kernels::broadcast broadcast_over(const shape& result, const order& o, const operand_view& a,
                                         const operand_view& b) {
  const auto sa = a.strides_for(result), sb = b.strides_for(result);
  std::vector<std::int64_t> extent, xa, xb;
  for (int i : o) {
    extent.push_back(result[i]);
    xa.push_back(sa[static_cast<std::size_t>(i)]);
    xb.push_back(sb[static_cast<std::size_t>(i)]);
  }
  merge_dimensions(extent, {&xa, &xb});
  if (extent.size() > 8) throw unsupported("lower: a broadcast over more than 8 dimensions");
  kernels::broadcast over;
  over.rank = static_cast<int>(extent.size());
  std::copy(extent.begin(), extent.end(), over.extent.begin());
  std::copy(xa.begin(), xa.end(), over.a_stride.begin());
  std::copy(xb.begin(), xb.end(), over.b_stride.begin());
  return over;
}

/// Copies dims elements from one set of strides to another (in elements; both indexed by logical axis).
inline kernels::copy_args copy_between(const shape& dims, std::vector<std::int64_t> src,
                                       std::vector<std::int64_t> dst, int element_bytes) {
  // Iterate in the destination's memory order: writes stay sequential.
  std::vector<std::size_t> axes(dims.dims.size());
  for (std::size_t i = 0; i < axes.size(); ++i) axes[i] = i;
  std::stable_sort(axes.begin(), axes.end(), [&](auto a, auto b) { return dst[a] > dst[b]; });
  std::vector<std::int64_t> extent, xs, xd;
  for (auto i : axes) {
    extent.push_back(dims.dims[i]);
    xs.push_back(src[i]);
    xd.push_back(dst[i]);
  }
  merge_dimensions(extent, {&xs, &xd});
  if (extent.size() > 8) throw unsupported("lower: a copy over more than 8 dimensions");
  kernels::copy_args args;
  args.element_bytes = element_bytes;
  args.rank = static_cast<int>(extent.size());
  std::copy(extent.begin(), extent.end(), args.extent.begin());
  std::copy(xs.begin(), xs.end(), args.src_stride.begin());
  std::copy(xd.begin(), xd.end(), args.dst_stride.begin());
  return args;
}

}  // namespace ptq::lowering
