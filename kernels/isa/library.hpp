#pragma once
// SPDX-License-Identifier: Apache-2.0
// What kernels/isa/*.cpp and kernels/dispatch.cpp share. Each ISA file defines one table, built
// with its ISA's flags, -O2 or more and -fno-lto; everything else in it has internal linkage,
// because its tag lies in an unnamed namespace.

#include <cstddef>

#include <ptq/kernels/table.hpp>

namespace ptq::isa {

/// native::blank for ISA files: shared_ptr's code is compiled in dispatch.cpp, for the baseline.
kernels::prepared blank(std::size_t bytes);

extern const kernels::kernel_table portable;
#if defined(__x86_64__) || defined(_M_X64)
extern const kernels::kernel_table sse41, avx2, avx_vnni, avx512, avx512_vnni, amx_int8;
#endif

}  // namespace ptq::isa
