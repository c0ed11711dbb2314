// SPDX-License-Identifier: Apache-2.0
// The kernels for avx_vnni. Flags: -mavx2 -mfma -mavxvnni -O2 -fno-lto

#include <ptq/native/make_table.hpp>

#include "library.hpp"

namespace {
struct tag : ptq::native::avx_vnni {
  static ptq::kernels::prepared blank(std::size_t bytes) { return ptq::isa::blank(bytes); }
};
}  // namespace

constexpr ptq::kernels::kernel_table ptq::isa::avx_vnni = ptq::native::make_table<tag>();
