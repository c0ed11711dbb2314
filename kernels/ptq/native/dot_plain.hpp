#pragma once
// SPDX-License-Identifier: Apache-2.0
// `simd` (dot.hpp) in plain C++: for compilers and machines without intrinsics of ours, and for
// registers that a test's CPU lacks.

#include <cstdint>
#include <cstring>

#include <ptq/native/dot.hpp>

namespace ptq::native {

/// `simd` of any number of lanes that is a multiple of four.
template <class Isa, int Lanes>
struct plain_simd : simd_layout<Isa, Lanes> {
  struct ints {
    std::int32_t v[Lanes];
  };
  struct floats {
    float v[Lanes];
  };
  template <class R, class F>
  static PTQ_ALWAYS_INLINE R each(F&& f) {
    R r;
    for (int i = 0; i < Lanes; ++i) r.v[i] = f(i);
    return r;
  }
  static std::uint32_t bits(std::int32_t x) { return static_cast<std::uint32_t>(x); }
  static std::int32_t wrap(std::uint32_t x) { return static_cast<std::int32_t>(x); }
  static ints load(const void* p) {
    ints r;
    std::memcpy(&r, p, sizeof r);
    return r;
  }
  static floats load(const float* p) {
    floats r;
    std::memcpy(&r, p, sizeof r);
    return r;
  }
  static void store(void* p, ints x) { std::memcpy(p, &x, sizeof x); }
  static void store(float* p, floats x) { std::memcpy(p, &x, sizeof x); }
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
  static floats divide(floats a, floats b) {
    return each<floats>([&](int i) { return a.v[i] / b.v[i]; });
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
  static floats greatest(floats a, floats b) {
    return each<floats>([&](int i) { return a.v[i] < b.v[i] ? b.v[i] : a.v[i]; });
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
    std::uint8_t bytes[4 * Lanes];
    for (int i = 0; i < 4 * Lanes; ++i) {
      const std::int32_t q = x[i / Lanes].v[i % Lanes] + zero_point.v[0];
      bytes[plain_simd::interleaved_channel(i / Lanes, i % Lanes)] =
          static_cast<std::uint8_t>(q > high.v[0]  ? high.v[0]
                                    : q < low.v[0] ? low.v[0]
                                                   : q);
    }
    return load(bytes);
  }
  template <int Count, int First>
  static void store_codes(std::uint8_t* p, ints packed) {
    std::uint8_t bytes[4 * Lanes];
    store(bytes, packed);
    for (int i = 0; i < Count * Lanes; ++i)
      p[i] = bytes[plain_simd::interleaved_channel(First + i / Lanes, i % Lanes)];
  }
  static void interleave(const ints* t, ints* out) {
    std::uint8_t from[4][4 * Lanes], to[4][Lanes][4];
    std::memcpy(from, t, sizeof from);
    for (int i = 0; i < 16 * Lanes; ++i) {
      const int j = i / 4 / Lanes, lane = i / 4 % Lanes;
      to[j][lane][i % 4] = from[i % 4][plain_simd::interleaved_channel(j, lane)];
    }
    std::memcpy(out, to, sizeof to);
  }
};

#if !XSIMD_WITH_SSE2
template <class Isa>
struct simd<Isa, 0> : plain_simd<Isa, 4> {};
#endif

}  // namespace ptq::native
