#pragma once
// SPDX-License-Identifier: Apache-2.0
// ISAs that the machine may lack, on AVX2: their kernels are the library's, their missing
// instructions are what Intel defines them as, in plain C++.

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>

#include <ptq/native/amx.hpp>
#include <ptq/native/dot_plain.hpp>
#include <ptq/native/isa.hpp>

namespace ptq_test {

/// vpdpbusd: four products of a u8 and an s8, added to the lane, wrapping.
template <class Ints>
Ints dpbusd(Ints acc, Ints a, Ints w) {
  constexpr std::size_t lanes = sizeof(Ints) / 4;
  std::uint8_t u[4 * lanes];
  std::int8_t s[4 * lanes];
  std::uint32_t sum[lanes];
  std::memcpy(u, &a, sizeof a);
  std::memcpy(s, &w, sizeof w);
  std::memcpy(sum, &acc, sizeof acc);
  for (std::size_t i = 0; i < 4 * lanes; ++i) sum[i / 4] += static_cast<std::uint32_t>(u[i] * s[i]);
  std::memcpy(&acc, sum, sizeof acc);
  return acc;
}

/// The registers of avx_vnni; a CPU with AVX2 has them.
struct vnni_256 : ptq::native::avx2 {
  static constexpr const char* name = "avx_vnni";
  static constexpr bool has_dpbusd = true;
  template <class Ints>
  static Ints dpbusd(Ints acc, Ints a, Ints w) {
    return ptq_test::dpbusd(acc, a, w);
  }
};

/// The registers of avx512_vnni, in memory.
struct vnni_512 : vnni_256 {
  static constexpr const char* name = "avx512_vnni";
};

/// AMX's tiles. Checks what the instructions fault on: shapes, and use without a configuration.
struct software_tiles {
  static inline ptq::native::tile_config config;
  static inline bool configured = false;
  static inline std::int64_t dots = 0;  // so far
  static inline std::uint8_t tile[8][16][64];

  static void configure(const ptq::native::tile_config& c) {
    REQUIRE(c.palette == 1);
    REQUIRE(c.start_row == 0);
    for (const std::uint8_t byte : c.reserved) REQUIRE(byte == 0);
    for (int i = 0; i < 16; ++i) {
      REQUIRE(c.rows[i] <= (i < 8 ? 16 : 0));
      REQUIRE(c.row_bytes[i] <= (i < 8 ? 64 : 0));
      REQUIRE((c.rows[i] == 0) == (c.row_bytes[i] == 0));
    }
    config = c;
    configured = true;
    std::memset(tile, 0, sizeof tile);
  }
  static void release() { configured = false; }
  static void in_use(int t) {
    REQUIRE(configured);
    REQUIRE(config.rows[t] > 0);
  }
  template <int Tile>
  static void zero() {
    in_use(Tile);
    std::memset(tile[Tile], 0, sizeof tile[Tile]);
  }
  template <int Tile>
  static void load(const void* p, std::int64_t stride) {
    zero<Tile>();
    for (int row = 0; row < config.rows[Tile]; ++row)
      std::memcpy(tile[Tile][row], static_cast<const std::byte*>(p) + row * stride,
                  config.row_bytes[Tile]);
  }
  template <int Tile>
  static void store(void* p, std::int64_t stride) {
    in_use(Tile);
    for (int row = 0; row < config.rows[Tile]; ++row)
      std::memcpy(static_cast<std::byte*>(p) + row * stride, tile[Tile][row],
                  config.row_bytes[Tile]);
  }
  template <int Sums, int Activations, int Weights>
  static void dot() {
    static_assert(Sums != Activations && Sums != Weights && Activations != Weights);
    in_use(Sums), in_use(Activations), in_use(Weights);
    const int rows = config.rows[Sums], groups = config.rows[Weights];
    REQUIRE(config.rows[Activations] == rows);
    REQUIRE(config.row_bytes[Activations] == 4 * groups);
    REQUIRE(config.row_bytes[Weights] == config.row_bytes[Sums]);
    for (int m = 0; m < rows; ++m)
      for (int k = 0; k < groups; ++k) {
        ints sums, a, w;
        std::memcpy(&sums, tile[Sums][m], 64);
        for (std::size_t n = 0; n < 16; ++n) std::memcpy(&a.v[n], tile[Activations][m] + 4 * k, 4);
        std::memcpy(&w, tile[Weights][k], 64);
        sums = dpbusd(sums, a, w);
        std::memcpy(tile[Sums][m], &sums, config.row_bytes[Sums]);
      }
    ++dots;
  }

 private:
  struct ints {
    std::int32_t v[16];
  };
};

struct amx : vnni_512 {
  static constexpr const char* name = "amx_int8";
  static constexpr bool has_tiles = true;
  using tiles = software_tiles;
};

/// No registers at all: what compilers without intrinsics of ours get.
struct plain : ptq::native::avx2 {
  static constexpr const char* name = "portable";
};

/// 512 bits for vnni_512 and amx.
template <class Isa>
struct memory_512 : ptq::native::plain_simd<Isa, 16> {
  using ints = typename ptq::native::plain_simd<Isa, 16>::ints;
  static ints dot4(ints acc, ints a, ints w) { return ptq_test::dpbusd(acc, a, w); }
};

}  // namespace ptq_test

namespace ptq::native {

template <>
inline constexpr int register_bytes<ptq_test::vnni_512> = 64;
template <>
inline constexpr int register_bytes<ptq_test::amx> = 64;
template <>
inline constexpr int register_bytes<ptq_test::plain> = 0;
template <>
struct simd<ptq_test::plain, 0> : plain_simd<ptq_test::plain, 4> {};
template <>
struct simd<ptq_test::vnni_512, 64> : ptq_test::memory_512<ptq_test::vnni_512> {};
template <>
struct simd<ptq_test::amx, 64> : ptq_test::memory_512<ptq_test::amx> {};

}  // namespace ptq::native
