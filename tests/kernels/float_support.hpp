#pragma once
// SPDX-License-Identifier: Apache-2.0
// What the tests of float kernels share: numbers that stress the fused multiply-add, and a run of a
// prepared kernel in several ranges over scratch full of NaN.

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <span>
#include <vector>

#include <ptq/core/tensor.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/native/isa.hpp>

namespace ptq_test {

/// Floats of either sign: mostly around 1, some zeros of both signs, some far apart in magnitude so
/// that cancellation and subnormal results occur.
inline std::vector<float> numbers(std::int64_t n, unsigned seed, bool wild = false) {
  std::mt19937 random(seed);
  std::vector<float> v(static_cast<std::size_t>(n));
  for (float& x : v) {
    const float mantissa = static_cast<float>(random() % 2000001u) / 1e6f - 1.0f;
    const unsigned kind = random() % 16;
    if (kind == 0)
      x = mantissa < 0 ? -0.0f : 0.0f;
    else if (kind < 4 && wild)
      x = std::ldexp(mantissa, static_cast<int>(random() % 160) - 80);
    else if (kind < 6 && wild)  // few bits: sums that tie between two floats
      x = std::ldexp(static_cast<float>(static_cast<int>(random() % 7) - 3),
                     static_cast<int>(random() % 26) - 13);
    else
      x = mantissa;
  }
  return v;
}

/// Runs all units in `parts` ranges, the last one first; dst starts as `filler` everywhere.
inline std::vector<float> run(const ptq::kernels::prepared& p,
                              std::vector<std::span<const float>> src, std::int64_t dst_size,
                              int parts, float filler = -77.0f) {
  std::vector<float> dst(static_cast<std::size_t>(dst_size), filler);
  ptq::kernels::operands io;
  for (std::size_t i = 0; i < src.size(); ++i) io.src[i] = src[i].data();
  io.dst = dst.data();
  auto scratch = ptq::allocate_aligned(p.scratch);
  for (int part = parts - 1; part >= 0; --part) {
    std::memset(scratch.get(), 0xff, p.scratch);  // NaN as float
    p.run(p.object.get(), io, scratch.get(), ptq::share_of(p.units, part, parts));
  }
  return dst;
}

/// Index of the first element whose bits differ, or -1. Any NaN equals any other.
inline std::int64_t first_difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (std::bit_cast<std::uint32_t>(a[i]) != std::bit_cast<std::uint32_t>(b[i]) &&
        !(std::isnan(a[i]) && std::isnan(b[i])))
      return static_cast<std::int64_t>(i);
  return -1;
}

}  // namespace ptq_test
