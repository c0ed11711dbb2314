#pragma once
// SPDX-License-Identifier: Apache-2.0
// Which sources of a kernel its destination may lie on: those that have an element of the same size at the place of each
// of the destination's, where the kernel reads an element for the last time before it writes there
// (kernels/table.hpp names the entries).

#include <cstddef>
#include <cstdint>

#include <ptq/kernels/args.hpp>

namespace ptq::lowering {

/// Bit i: source i.
template <class Args>
std::uint8_t overwritable(const Args&) {
  return 0;
}
inline std::uint8_t overwritable(const kernels::unary_args&) { return 1; }
inline std::uint8_t overwritable(const kernels::softmax_args&) { return 1; }
inline std::uint8_t overwritable(const kernels::layer_norm_args&) { return 1; }
inline std::uint8_t overwritable(const kernels::lookup_args& a) { return a.src_stride == a.dst_stride ? 1 : 0; }

/// Operands that repeat nothing and lie as the result does.
inline std::uint8_t overwritable(const kernels::broadcast& over) {
  bool a = true, b = true;
  std::int64_t dense = 1;
  for (auto d = static_cast<std::size_t>(over.rank); d-- > 0;) {
    if (over.extent[d] == 1) continue;
    a = a && over.a_stride[d] == dense;
    b = b && over.b_stride[d] == dense;
    dense *= over.extent[d];
  }
  return static_cast<std::uint8_t>((a ? 1 : 0) | (b ? 2 : 0));
}
inline std::uint8_t overwritable(const kernels::binary_args& a) { return overwritable(a.over); }
inline std::uint8_t overwritable(const kernels::qbinary_args& a) { return overwritable(a.over); }

}  // namespace ptq::lowering
