#pragma once
// SPDX-License-Identifier: Apache-2.0
// What the elementary functions compute on: a lane names the operations of IEEE 754 that they are
// made of. The scalar lane is here; registers are in the fast kernels. Equal operations in equal
// order give equal bits on every ISA.
//
// Compilers join a multiplication and an addition into one fused operation where the target has it,
// also through intrinsics and inlined functions. So code on lanes never adds a product to anything
// unless by `fma`, which rounds once everywhere: a product may be an operand of a multiplication,
// division, comparison, `round`, or the addend of an fma.

#include <bit>
#include <cmath>
#include <cstdint>

#include <ptq/core/numeric.hpp>

namespace ptq {

/// One float at a time. Tag keeps instances that are compiled with different flags apart.
template <class Tag>
struct scalar_lane_of {
  using real = float;
  using whole = std::int32_t;
  using truth = bool;
  static constexpr int width = 1;

  static real constant(float v) { return v; }
  static whole constant_whole(std::int32_t v) { return v; }
  static real fma(real a, real b, real c) { return std::fma(a, b, c); }
  static real sqrt(real x) { return std::sqrt(x); }
  static real select(truth t, real a, real b) { return t ? a : b; }
  static truth both(truth a, truth b) { return a && b; }
  static truth either(truth a, truth b) { return a || b; }
  static whole bits(real x) { return std::bit_cast<whole>(x); }
  static real from_bits(whole x) { return std::bit_cast<real>(x); }
  /// x integral and in range; otherwise unspecified, without trap
  static whole to_whole(real x) {
    return x >= -2147483648.0f && x < 2147483648.0f ? static_cast<whole>(x) : 0;
  }
  static real to_real(whole x) { return static_cast<real>(x); }
  static whole shift_left_23(whole x) {
    return std::bit_cast<whole>(std::bit_cast<std::uint32_t>(x) << 23);
  }
  static whole shift_right_23(whole x) { return x >> 23; }
  static whole shift_right_1(whole x) { return x >> 1; }
  /// a < b ? a : b and a > b ? a : b: b where they compare unordered or equal
  static real lesser(real a, real b) { return a < b ? a : b; }
  static real greater(real a, real b) { return a > b ? a : b; }
  static truth unordered(real x) { return x != x; }
  static real round(real x) { return round_half_even<Tag>(x); }
  /// f of each lane
  template <class F>
  static real each(real x, F f) {
    return f(x);
  }
  template <class F>
  static real each(real x, real y, F f) {
    return f(x, y);
  }
};

using scalar_lane = scalar_lane_of<void>;

}  // namespace ptq
