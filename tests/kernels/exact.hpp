#pragma once
// SPDX-License-Identifier: Apache-2.0
// Compares an entry of every table that this CPU runs with the reference, bit for bit, for one, two
// and three workers. Destinations have a guard behind them; sources are exactly as long as they
// claim, so that a sanitizer sees any read past the end.

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <ptq/core/tensor.hpp>
#include <ptq/dispatch.hpp>
#include <ptq/kernels/reference.hpp>

namespace ptq_test {

inline constexpr std::size_t guard = 64;

/// Runs all units in `parts` ranges, the last first. The destination starts as 0x5b bytes.
template <class T>
std::vector<T> run_parts(const ptq::kernels::prepared& p, const std::vector<const void*>& src,
                         std::int64_t dst_size, int parts) {
  std::vector<T> dst(static_cast<std::size_t>(dst_size) + guard);
  std::memset(static_cast<void*>(dst.data()), 0x5b, dst.size() * sizeof(T));
  ptq::kernels::operands io;
  for (std::size_t i = 0; i < src.size(); ++i) io.src[i] = src[i];
  io.dst = dst.data();
  auto scratch = ptq::allocate_aligned(p.scratch);
  for (int part = parts - 1; part >= 0; --part)
    p.run(p.object.get(), io, scratch.get(), ptq::share_of(p.units, part, parts));
  return dst;
}

inline bool same_bits(float a, float b) {
  return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b) ||
         (std::isnan(a) && std::isnan(b));
}
template <class T>
bool same_bits(T a, T b) {
  return a == b;
}

/// Index of the first difference, or -1.
template <class T>
std::int64_t first_difference(const std::vector<T>& a, const std::vector<T>& b) {
  for (std::size_t i = 0; i < a.size(); ++i)
    if (!same_bits(a[i], b[i])) return static_cast<std::int64_t>(i);
  return -1;
}

template <class T, class Args>
void equals_reference(ptq::kernels::entry<Args> ptq::kernels::kernel_table::*entry,
                      const Args& args, const std::vector<const void*>& src, std::int64_t dst_size,
                      const std::string& what) {
  const auto reference = (ptq::kernels::reference_kernels().*entry)(args);
  const auto want = run_parts<T>(reference, src, dst_size, 1);
  for (const auto* table : ptq::available_kernels()) {
    if (!(table->*entry)) continue;
    const auto fast = (table->*entry)(args);
    for (int parts : {1, 2, 3}) {
      const auto at = first_difference(run_parts<T>(fast, src, dst_size, parts), want);
      INFO(table->isa << ", " << what << ", " << parts << " parts, first difference at " << at);
      CHECK(at == -1);
    }
  }
}

/// Sizes around registers of 4, 8 and 16 floats and 16 to 64 bytes, primes, and around a unit of
/// 4096.
inline const std::vector<std::int64_t>& awkward_sizes() {
  static const std::vector<std::int64_t> sizes = {
      1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 4095, 4096, 4097, 9973};
  return sizes;
}

/// Floats within ±scale, with zeros of both signs; `special` adds NaN, infinities, huge and
/// subnormal values.
inline std::vector<float> reals(std::int64_t n, unsigned seed, float scale = 4.0f,
                                bool special = false) {
  constexpr float inf = std::numeric_limits<float>::infinity();
  constexpr float specials[] = {std::numeric_limits<float>::quiet_NaN(),
                                inf,
                                -inf,
                                3e38f,
                                -3e38f,
                                1e-40f,
                                -1e-40f,
                                1e-45f,
                                88.8f,
                                -104.0f,
                                0.625f,
                                1.0f,
                                -1.0f};
  std::mt19937 random(seed);
  std::vector<float> v(static_cast<std::size_t>(n));
  for (float& x : v) {
    x = scale * (static_cast<float>(random() % 2000001u) / 1e6f - 1.0f);
    const unsigned kind = random() % 32;
    if (kind == 0) x = 0.0f;
    if (kind == 1) x = -0.0f;
    if (special && kind > 1 && kind < 8) x = specials[random() % std::size(specials)];
  }
  return v;
}

inline std::vector<std::uint8_t> codes(std::int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::uint8_t> v(static_cast<std::size_t>(n));
  for (auto& x : v) {
    const unsigned kind = random() % 8;
    x = static_cast<std::uint8_t>(kind == 0 ? 0 : kind == 1 ? 255 : random() % 256);
  }
  return v;
}

}  // namespace ptq_test
