#pragma once
// SPDX-License-Identifier: Apache-2.0
// Strided copies, in the words of the specification: transposes, slices, concatenation, broadcasts
// and flips are all this. One unit is one innermost run.

#include <cstdint>
#include <cstring>
#include <memory>

#include <ptq/kernels/args.hpp>
#include <ptq/kernels/table.hpp>

namespace ptq::kernels::reference {

namespace move {

/// dst[dst_offset + Σ i·dst_stride] = src[src_offset + Σ i·src_stride] for the outer indices that
/// `row` counts
inline void copy_row(const copy_args& args, const std::byte* src, std::byte* dst,
                     std::int64_t row) {
  std::int64_t from = args.src_offset, to = args.dst_offset;
  for (int d = args.rank - 1; d-- > 0;) {
    const auto i = static_cast<std::size_t>(d);
    const std::int64_t along = row % args.extent[i];
    row /= args.extent[i];
    from += along * args.src_stride[i];
    to += along * args.dst_stride[i];
  }
  const auto last = static_cast<std::size_t>(args.rank > 0 ? args.rank - 1 : 0);
  const std::int64_t n = args.rank > 0 ? args.extent[last] : 1;
  for (std::int64_t i = 0; i < n; ++i)
    std::memcpy(dst + (to + i * args.dst_stride[last]) * args.element_bytes,
                src + (from + i * args.src_stride[last]) * args.element_bytes,
                static_cast<std::size_t>(args.element_bytes));
}

}  // namespace move

inline prepared copy(const copy_args& args) {
  prepared p;
  p.object = std::make_shared<const copy_args>(args);
  p.units = 1;
  for (int d = 0; d + 1 < args.rank; ++d) p.units *= args.extent[static_cast<std::size_t>(d)];
  p.name = "copy";
  p.run = [](const void* object, const operands& io, std::byte*, work_range range) {
    for (std::int64_t row = range.begin; row < range.end; ++row)
      move::copy_row(*static_cast<const copy_args*>(object),
                     static_cast<const std::byte*>(io.src[0]), static_cast<std::byte*>(io.dst),
                     row);
  };
  return p;
}

}  // namespace ptq::kernels::reference
