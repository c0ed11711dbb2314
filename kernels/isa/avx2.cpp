// SPDX-License-Identifier: Apache-2.0
// The kernels for avx2. Flags: -mavx2 -mfma -O2 -fno-lto

#include <ptq/native/make_table.hpp>

#include "library.hpp"

namespace {
struct tag : ptq::native::avx2 {
  static ptq::kernels::prepared blank(std::size_t bytes) { return ptq::isa::blank(bytes); }
};
}  // namespace

constexpr ptq::kernels::kernel_table ptq::isa::avx2 = ptq::native::make_table<tag>();
