#pragma once
// SPDX-License-Identifier: Apache-2.0
// The fast kernels, headers only: the table for the ISA that this translation unit's flags allow.
// As with every such library, all files of a program that include it should be compiled with the
// same ISA flags; should they not be, no function is shared between them: the tag below encodes the
// flags, and so does every symbol instantiated from it.

#include <ptq/kernels/amx.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/native/isa.hpp>
#include <ptq/native/make_table.hpp>

namespace ptq {

namespace native {

/// One bit per compiler flag that changes what kernels are compiled to.
inline constexpr unsigned compiled_features = 0
#ifdef __SSE3__
                                              | 1u << 0
#endif
#ifdef __SSSE3__
                                              | 1u << 1
#endif
#ifdef __SSE4_1__
                                              | 1u << 2
#endif
#ifdef __SSE4_2__
                                              | 1u << 3
#endif
#ifdef __AVX__
                                              | 1u << 4
#endif
#ifdef __AVX2__
                                              | 1u << 5
#endif
#ifdef __FMA__
                                              | 1u << 6
#endif
#ifdef __F16C__
                                              | 1u << 7
#endif
#ifdef __BMI__
                                              | 1u << 8
#endif
#ifdef __BMI2__
                                              | 1u << 9
#endif
#ifdef __LZCNT__
                                              | 1u << 10
#endif
#ifdef __AVX512F__
                                              | 1u << 11
#endif
#ifdef __AVX512BW__
                                              | 1u << 12
#endif
#ifdef __AVX512VL__
                                              | 1u << 13
#endif
#ifdef __AVX512DQ__
                                              | 1u << 14
#endif
#ifdef __AVX512CD__
                                              | 1u << 15
#endif
#ifdef __AVX512VNNI__
                                              | 1u << 16
#endif
#ifdef __AVX512VBMI__
                                              | 1u << 17
#endif
#ifdef __AVX512VBMI2__
                                              | 1u << 18
#endif
#ifdef __AVXVNNI__
                                              | 1u << 19
#endif
#ifdef __AVX512IFMA__
                                              | 1u << 20
#endif
#ifdef __AVX512BF16__
                                              | 1u << 21
#endif
#ifdef __AVX512FP16__
                                              | 1u << 22
#endif
#ifdef PTQ_AMX_INT8
                                              | 1u << 23
#endif
#ifdef __POPCNT__
                                              | 1u << 24
#endif
#ifdef __GFNI__
                                              | 1u << 25
#endif
#ifdef __AVX512BITALG__
                                              | 1u << 26
#endif
#ifdef __AVX512VPOPCNTDQ__
                                              | 1u << 27
#endif
#ifdef __ARM_FEATURE_DOTPROD
                                              | 1u << 28
#endif
#ifdef __OPTIMIZE__
                                              | 1u << 31
#endif
    ;

/// The best tag of these flags, under a name of its own per set of flags.
template <unsigned Features>
struct compiled : best {};
#if defined(PTQ_AMX_INT8)
/// In its place where the operating system refuses tiles.
template <unsigned Features>
struct compiled_without_tiles : avx512_vnni {};
#endif

template <class Isa>
inline constexpr kernels::kernel_table table_of = make_table<Isa>();

}  // namespace native

/// The kernels for the ISA of this translation unit's flags. Internal linkage: every file has its
/// own. A template, so that a file that takes its kernels elsewhere does not compile these. With
/// AMX's flags it asks the operating system for tiles, and gives avx512_vnni's table where they are
/// refused.
template <unsigned Features = native::compiled_features>
[[maybe_unused]] static const kernels::kernel_table& native_kernels() {
#if defined(PTQ_AMX_INT8)
  if (!kernels::request_amx()) return native::table_of<native::compiled_without_tiles<Features>>;
#endif
  return native::table_of<native::compiled<Features>>;
}

}  // namespace ptq
