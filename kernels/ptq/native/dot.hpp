#pragma once
// SPDX-License-Identifier: Apache-2.0
// The integer registers of an ISA: one struct with the same members for every width. The heart is
// the product of four u8 activations with four s8 weights added to an int32 lane, exact everywhere:
//   dot4   on bytes: one vpdpbusd (its sum of four products does not saturate) where the ISA has it;
//          otherwise vpmaddubsw and vpmaddwd, whose sums of two products must fit int16: only for
//          weights split by pair_add.hpp
//   dot2   on 16-bit pairs: vpmaddwd; two of them take four products. Weights are widened as they
//          are loaded, activations before (gemm.hpp) or by a mask and a shift (`split`: bytes 0 and
//          2, then 1 and 3)

#include <concepts>
#include <cstdint>

#include <ptq/native/isa.hpp>
#include <ptq/native/object.hpp>

#if XSIMD_WITH_SSE2
#include <immintrin.h>
#endif

namespace ptq::native {

template <class Isa>
inline constexpr bool has_dpbusd = Isa::has_dpbusd;

/// Whether dot4 exists for weights whose pairs fit int16.
#if defined(__SSSE3__)
template <class Isa>
inline constexpr bool has_pair_add = !has_dpbusd<Isa>;
#else
template <class Isa>
inline constexpr bool has_pair_add = false;
#endif

/// Bytes of the widest register of a tag; 0 where only plain C++ is known.
#if XSIMD_WITH_SSE2
template <class Isa>
inline constexpr int register_bytes =
    static_cast<int>(sizeof(typename xsimd::batch<float, typename Isa::arch>));
#else
template <class Isa>
inline constexpr int register_bytes = 0;
#endif

/// Keeps g++ from adding products to each other before the accumulator, which then leaves its
/// register (the 6 × 2 tile spilled all twelve and ran at 0.7 of its speed), and from loading again
/// for each use what one load may serve.
template <class Ints>
PTQ_ALWAYS_INLINE Ints in_register(Ints x) {
#if defined(__GNUC__) && XSIMD_WITH_SSE2
  if constexpr (!requires { x.v[0]; }) {  // plain C++ has none
#if defined(__AVX512VL__)
    asm("" : "+v"(x));  // all 32
#else
    asm("" : "+x"(x));
#endif
  }
#endif
  return x;
}

/// acc + x in acc's register. Left to itself g++ takes another one and moves the sum back; where twelve
/// sums leave four registers, one of them then lives in memory (6 × 2 tile of pairs, Zen 3: 0.72 to 1.0
/// of its speed, as chance has it).
template <class S, class Ints>
PTQ_ALWAYS_INLINE Ints add_in_place(Ints acc, Ints x) {
#if defined(__GNUC__) && defined(__AVX512VL__)
  asm("vpaddd %1, %0, %0" : "+v"(acc) : "v"(x));
#elif defined(__GNUC__) && defined(__AVX__)
  asm("vpaddd %1, %0, %0" : "+x"(acc) : "x"(x));
#elif defined(__GNUC__) && XSIMD_WITH_SSE2
  asm("paddd %1, %0" : "+x"(acc) : "x"(x));
#else
  acc = S::add(acc, x);
#endif
  return acc;
}

/// Keeps g++ from adding up several pointers in a vector register, which they leave through memory
/// (1.0 to 1.25 of the time of a 6 × 2 tile of 1×1 convolutions, Zen 3).
template <class T>
PTQ_ALWAYS_INLINE T* in_register(T* p) {
#if defined(__GNUC__)
  asm("" : "+r"(p));
#endif
  return p;
}

/// Registers of `Bytes` bytes. `ints` holds `lanes` int32 or 4 · lanes bytes.
template <class Isa, int Bytes>
struct simd;

/// Members that don't depend on the register type.
template <class Isa, int Lanes>
struct simd_layout {
  using isa = Isa;
  static constexpr int lanes = Lanes;
  static constexpr int steps =
      has_dpbusd<Isa> ? 1 : 2;  // products of four bytes: dot4, or dot2 twice

  /// Channel that `interleave` puts into lane `l` of its register `j`.
  static PTQ_ALWAYS_INLINE int interleaved_channel(int j, int l) {
    return l / 4 * 16 + 4 * j + l % 4;
  }
};

}  // namespace ptq::native

#if XSIMD_WITH_SSE2
#include <ptq/native/dot_x86.hpp>
#else
#include <ptq/native/dot_plain.hpp>
#endif
