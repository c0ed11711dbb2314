// SPDX-License-Identifier: Apache-2.0
// The kernels for amx_int8. Flags: those of avx512_vnni, -mamx-tile -mamx-int8

#include <ptq/native/make_table.hpp>

#include "library.hpp"

namespace {
struct tag : ptq::native::amx_int8 {
  static ptq::kernels::prepared blank(std::size_t bytes) { return ptq::isa::blank(bytes); }
};
}  // namespace

constexpr ptq::kernels::kernel_table ptq::isa::amx_int8 = ptq::native::make_table<tag>();
