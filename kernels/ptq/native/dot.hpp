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
#include <cstring>

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

#if !XSIMD_WITH_SSE2
/// Plain C++ of four lanes, for compilers and machines without intrinsics below.
template <class Isa>
struct simd<Isa, 0> : simd_layout<Isa, 4> {
  struct ints {
    std::int32_t v[4];
  };
  struct floats {
    float v[4];
  };
  template <class R, class F>
  static PTQ_ALWAYS_INLINE R each(F&& f) {
    R r;
    for (int i = 0; i < 4; ++i) r.v[i] = f(i);
    return r;
  }
  static std::uint32_t bits(std::int32_t x) { return static_cast<std::uint32_t>(x); }
  static std::int32_t wrap(std::uint32_t x) { return static_cast<std::int32_t>(x); }
  static ints load(const void* p) {
    ints r;
    std::memcpy(&r, p, 16);
    return r;
  }
  static floats load(const float* p) {
    floats r;
    std::memcpy(&r, p, 16);
    return r;
  }
  static void store(void* p, ints x) { std::memcpy(p, &x, 16); }
  static void store(float* p, floats x) { std::memcpy(p, &x, 16); }
  static ints zero() { return set(0); }
  static ints set(std::int32_t x) {
    return each<ints>([&](int) { return x; });
  }
  static floats set(float x) {
    return each<floats>([&](int) { return x; });
  }
  static ints add(ints a, ints b) {
    return each<ints>([&](int i) { return wrap(bits(a.v[i]) + bits(b.v[i])); });
  }
  static floats add(floats a, floats b) {
    return each<floats>([&](int i) { return a.v[i] + b.v[i]; });
  }
  static floats multiply(floats a, floats b) {
    return each<floats>([&](int i) { return a.v[i] * b.v[i]; });
  }
  static floats clamp(floats x, floats low, floats high) {
    return each<floats>([&](int i) {
      const float y = x.v[i] < low.v[i] ? low.v[i] : x.v[i];
      return high.v[i] < y ? high.v[i] : y;
    });
  }
  static floats to_float(ints x) {
    return each<floats>([&](int i) { return static_cast<float>(x.v[i]); });
  }
  static floats least(floats x, floats high) {
    return each<floats>([&](int i) { return high.v[i] < x.v[i] ? high.v[i] : x.v[i]; });
  }
  /// Half to even, of what codes can need: beyond ±2^20 `pack` saturates anyway. Adding 1.5 · 2^23
  /// leaves the rounded integer in the low bits.
  static ints round(floats x) {
    const floats bounded = clamp(x, set(-1048576.0f), set(1048576.0f));
    return each<ints>([&](int i) {
      const float y = bounded.v[i] + 12582912.0f;
      std::int32_t b;
      std::memcpy(&b, &y, 4);
      return b - 0x4b400000;
    });
  }
  static floats nearest(floats x) { return to_float(round(x)); }
  static ints broadcast4(const std::uint8_t* p) {
    std::int32_t x;
    std::memcpy(&x, p, 4);
    return set(x);
  }
  template <int Step>
  static ints split(ints x) {
    return each<ints>([&](int i) { return wrap((bits(x.v[i]) >> (8 * Step)) & 0x00ff00ffu); });
  }
  static ints weight_pairs(const std::int8_t* p) {
    return each<ints>([&](int i) {
      const std::int8_t* w = p + 2 * i;
      return wrap((bits(w[0]) & 0xffffu) | (bits(w[1]) << 16));
    });
  }
  static ints dot2(ints acc, ints a, ints w) {
    return each<ints>([&](int i) {
      const std::int32_t x = (a.v[i] & 0xffff) * static_cast<std::int16_t>(w.v[i] & 0xffff) +
                             (a.v[i] >> 16) * (w.v[i] >> 16);
      return wrap(bits(acc.v[i]) + bits(x));
    });
  }
  static ints flip_signs(ints x) {
    return each<ints>([&](int i) { return wrap(bits(x.v[i]) ^ 0x80808080u); });
  }
  static ints load_codes(const std::uint8_t* p) {
    return each<ints>([&](int i) { return static_cast<std::int32_t>(p[i]); });
  }
  static ints set_words(int x) { return set(x); }
  static ints set_bytes(int x) { return set(x); }
  static ints pack(const ints (&x)[4]) { return pack(x, set(0), set(0), set(255)); }
  static ints pack(const ints (&x)[4], ints zero_point, ints low, ints high) {
    std::uint8_t bytes[16];
    for (int j = 0; j < 16; ++j) {
      const std::int32_t q = x[j / 4].v[j % 4] + zero_point.v[0];
      bytes[j] = static_cast<std::uint8_t>(q > high.v[0] ? high.v[0] : q < low.v[0] ? low.v[0] : q);
    }
    return load(bytes);
  }
  template <int Count, int First>
  static void store_codes(std::uint8_t* p, ints packed) {
    std::memcpy(p, packed.v + First, 4 * Count);
  }
  static void interleave(const ints* t, ints* out) {
    std::uint8_t from[4][16], to[64];
    std::memcpy(from, t, 64);
    for (int i = 0; i < 64; ++i) to[i] = from[i % 4][i / 4];
    std::memcpy(out, to, 64);
  }
};
#endif

}  // namespace ptq::native

#if XSIMD_WITH_SSE2
#include <ptq/native/dot_x86.hpp>
#endif
