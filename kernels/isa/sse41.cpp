// SPDX-License-Identifier: Apache-2.0
// The kernels for sse41. Flags: -msse4.1 -O2 -fno-lto

#include <ptq/native/make_table.hpp>

#include "library.hpp"

namespace {
struct tag : ptq::native::sse41 {
  static ptq::kernels::prepared blank(std::size_t bytes) { return ptq::isa::blank(bytes); }
};
}  // namespace

constexpr ptq::kernels::kernel_table ptq::isa::sse41 = ptq::native::make_table<tag>();
