// SPDX-License-Identifier: Apache-2.0
// The kernels for portable. Flags: -O2 -fno-lto, no more than the baseline

#include <ptq/native/make_table.hpp>

#include "library.hpp"

namespace {
struct tag : ptq::native::portable {
  static ptq::kernels::prepared blank(std::size_t bytes) { return ptq::isa::blank(bytes); }
};
}  // namespace

constexpr ptq::kernels::kernel_table ptq::isa::portable = ptq::native::make_table<tag>();
