#pragma once
// SPDX-License-Identifier: Apache-2.0
// Element types of tensors. The two of FP8 are codes: they exist in constants and qparams only. fp16, bf16 and double exist in files only: import converts them to f32, so the rest of the
// library meets one real type.

#include <cstddef>
#include <cstdint>

namespace ptq {

enum class dtype : std::uint8_t { f32, s64, s32, s16, u16, s8, u8, boolean, f8e4m3, f8e5m2 };

constexpr std::size_t size_of(dtype t) {
  switch (t) {
    case dtype::s64: return 8;
    case dtype::f32:
    case dtype::s32: return 4;
    case dtype::s16:
    case dtype::u16: return 2;
    default: return 1;
  }
}

constexpr const char* name_of(dtype t) {
  switch (t) {
    case dtype::f32: return "f32";
    case dtype::s64: return "s64";
    case dtype::s32: return "s32";
    case dtype::s16: return "s16";
    case dtype::u16: return "u16";
    case dtype::s8: return "s8";
    case dtype::u8: return "u8";
    case dtype::boolean: return "bool";
    case dtype::f8e4m3: return "f8e4m3";
    case dtype::f8e5m2: return "f8e5m2";
  }
  return "?";
}

/// C++ type → dtype: dtype_of<float> == dtype::f32. `bool` stands for one byte that holds 0 or 1.
template <class T> inline constexpr dtype dtype_of = dtype::f32;
template <> inline constexpr dtype dtype_of<std::int64_t> = dtype::s64;
template <> inline constexpr dtype dtype_of<std::int32_t> = dtype::s32;
template <> inline constexpr dtype dtype_of<std::int16_t> = dtype::s16;
template <> inline constexpr dtype dtype_of<std::uint16_t> = dtype::u16;
template <> inline constexpr dtype dtype_of<std::int8_t> = dtype::s8;
template <> inline constexpr dtype dtype_of<std::uint8_t> = dtype::u8;
template <> inline constexpr dtype dtype_of<bool> = dtype::boolean;

/// Smallest and largest code of an integer type that can hold quantized values.
constexpr std::int32_t lowest_code(dtype t) {
  switch (t) {
    case dtype::s8: return -128;
    case dtype::s16: return -32768;
    case dtype::s32: return INT32_MIN;
    default: return 0;
  }
}

constexpr std::int32_t highest_code(dtype t) {
  switch (t) {
    case dtype::s8: return 127;
    case dtype::u8: return 255;
    case dtype::s16: return 32767;
    case dtype::u16: return 65535;
    default: return INT32_MAX;
  }
}

}  // namespace ptq
