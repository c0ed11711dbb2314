// SPDX-License-Identifier: Apache-2.0
// The kernels for avx512. Flags: -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512cd -mfma -O2
// -fno-lto

#include <ptq/native/make_table.hpp>

#include "library.hpp"

namespace {
struct tag : ptq::native::avx512 {
  static ptq::kernels::prepared blank(std::size_t bytes) { return ptq::isa::blank(bytes); }
};
}  // namespace

constexpr ptq::kernels::kernel_table ptq::isa::avx512 = ptq::native::make_table<tag>();
