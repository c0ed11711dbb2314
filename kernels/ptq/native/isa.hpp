#pragma once
// SPDX-License-Identifier: Apache-2.0
// Instruction sets as tags. Every fast kernel is a template on such a tag; the tag names the xsimd
// architecture whose registers it uses and inherits from the set that it extends, so that an
// overload for a parent serves its children.
//
// No two programs' parts that are compiled with different flags may share a symbol:
// kernels/isa/*.cpp derive a tag of their own in an unnamed namespace, and headers-only builds use
// `compiled<features>` (see native.hpp).

// g++ 12 warns of its own _mm512_undefined_ps() wherever one of its intrinsics is inlined
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <xsimd/xsimd.hpp>
#if XSIMD_WITH_SSE2
#include <immintrin.h>
#endif
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#include <ptq/native/amx.hpp>

namespace ptq::native {

/// What the compiler's baseline offers, exact everywhere: SSE2 on x86-64, NEON on AArch64.
struct portable {
#if XSIMD_WITH_SSE2
  using arch = xsimd::sse2;
#elif defined(__aarch64__)
  using arch = xsimd::neon64;
#else
  using arch = xsimd::generic;
#endif
  static constexpr const char* name = "portable";
  static constexpr bool fma = false;         // a fused multiply-add is one instruction
  static constexpr bool has_dpbusd = false;  // and then a function `dpbusd`, see dot.hpp
  static constexpr bool has_tiles = false;   // and then a type `tiles`, see amx.hpp
};

#if XSIMD_WITH_SSE4_1
struct sse41 : portable {
  using arch = xsimd::sse4_1;
  static constexpr const char* name = "sse41";
};
#endif

#if XSIMD_WITH_AVX2 && defined(__FMA__)
struct avx2 : portable {
  using arch = xsimd::fma3<xsimd::avx2>;
  static constexpr const char* name = "avx2";
  static constexpr bool fma = true;
};
#endif

#if XSIMD_WITH_AVX2 && defined(__FMA__) && defined(__AVXVNNI__)
struct avx_vnni : avx2 {
  static constexpr const char* name = "avx_vnni";
  static constexpr bool has_dpbusd = true;
  static inline __attribute__((always_inline)) __m128i dpbusd(__m128i acc, __m128i a, __m128i w) {
    return _mm_dpbusd_avx_epi32(acc, a, w);
  }
  static inline __attribute__((always_inline)) __m256i dpbusd(__m256i acc, __m256i a, __m256i w) {
    return _mm256_dpbusd_avx_epi32(acc, a, w);
  }
};
#endif

#if XSIMD_WITH_AVX512BW && defined(__AVX512VL__) && defined(__AVX512DQ__)
struct avx512 : avx2 {
  using arch = xsimd::avx512bw;
  static constexpr const char* name = "avx512";
};
#if defined(__AVX512VNNI__)
struct avx512_vnni : avx512 {
  static constexpr const char* name = "avx512_vnni";
  static constexpr bool has_dpbusd = true;
  static inline __attribute__((always_inline)) __m128i dpbusd(__m128i acc, __m128i a, __m128i w) {
    return _mm_dpbusd_epi32(acc, a, w);
  }
  static inline __attribute__((always_inline)) __m256i dpbusd(__m256i acc, __m256i a, __m256i w) {
    return _mm256_dpbusd_epi32(acc, a, w);
  }
  static inline __attribute__((always_inline)) __m512i dpbusd(__m512i acc, __m512i a, __m512i w) {
    return _mm512_dpbusd_epi32(acc, a, w);
  }
};
#if defined(PTQ_AMX_INT8)
struct amx_int8 : avx512_vnni {
  static constexpr const char* name = "amx_int8";
  static constexpr bool has_tiles = true;
  using tiles = amx_tiles;
};
#endif
#endif
#endif

/// Registers of a tag's architecture.
template <class Isa>
using f32s = xsimd::batch<float, typename Isa::arch>;
template <class Isa>
using s32s = xsimd::batch<std::int32_t, typename Isa::arch>;

/// The best tag that this translation unit's flags allow.
#if XSIMD_WITH_AVX512BW && defined(__AVX512VL__) && defined(__AVX512DQ__) && defined(__AVX512VNNI__)
#if defined(PTQ_AMX_INT8)
using best = amx_int8;
#else
using best = avx512_vnni;
#endif
#elif XSIMD_WITH_AVX512BW && defined(__AVX512VL__) && defined(__AVX512DQ__)
using best = avx512;
#elif XSIMD_WITH_AVX2 && defined(__FMA__) && defined(__AVXVNNI__)
using best = avx_vnni;
#elif XSIMD_WITH_AVX2 && defined(__FMA__)
using best = avx2;
#elif XSIMD_WITH_SSE4_1
using best = sse41;
#else
using best = portable;
#endif

}  // namespace ptq::native
