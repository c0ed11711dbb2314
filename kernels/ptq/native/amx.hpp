#pragma once
// SPDX-License-Identifier: Apache-2.0
// AMX's instructions for bytes: eight tile registers of at most 16 rows of 64 bytes, whose shapes
// are configured at run time. An ISA that has tiles names a type with these members
// (`Isa::tiles`); the tests have one in plain C++.

#include <cstdint>

/// Defined where the compiler's flags allow AMX for bytes; clang 14 spells its macro in its own way.
#if defined(__AMX_INT8__) || defined(__AMXINT8__)
#define PTQ_AMX_INT8
#endif

namespace ptq::native {

/// Shapes of tiles, as ldtilecfg reads them.
struct alignas(64) tile_config {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};
static_assert(sizeof(tile_config) == 64);

#if defined(PTQ_AMX_INT8)
/// Spelled in assembler: g++ 12's intrinsics take no template arguments as numbers of registers,
/// and its _tile_loadd does not say that it reads memory.
struct amx_tiles {
  /// All tiles are zero afterwards.
  static inline __attribute__((always_inline)) void configure(const tile_config& c) {
    asm volatile("ldtilecfg %0" : : "m"(c));
  }
  /// Back to the initial state: nothing more to save for the thread.
  static inline __attribute__((always_inline)) void release() { asm volatile("tilerelease"); }
  template <int Tile>
  static inline __attribute__((always_inline)) void zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(Tile));
  }
  /// Rows from `p` on, `stride` bytes apart.
  template <int Tile>
  static inline __attribute__((always_inline)) void load(const void* p, std::int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(p), "r"(stride), "i"(Tile) : "memory");
  }
  template <int Tile>
  static inline __attribute__((always_inline)) void store(void* p, std::int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(p), "r"(stride), "i"(Tile) : "memory");
  }
  /// Sums (int32, wrapping) += u8 activations [m, k] · s8 weights [k / 4, n, 4].
  template <int Sums, int Activations, int Weights>
  static inline __attribute__((always_inline)) void dot() {
    asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0"
                 :
                 : "i"(Sums), "i"(Activations), "i"(Weights));
  }
};
#endif

}  // namespace ptq::native
