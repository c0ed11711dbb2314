#pragma once
// SPDX-License-Identifier: Apache-2.0
// When vpmaddubsw is exact. Its sum of two products of a u8 activation with an s8 weight saturates
// at int16; it can't where the positive, and the negative, parts of the two weights sum to at most
// 128 in magnitude (255 · 128 = 32640). What a pair exceeds that by goes to another pair, which meets
// the activation once more: the sum of both is the product, exactly.

#include <cstdint>

#include <ptq/native/object.hpp>

namespace ptq::native {

inline constexpr int pair_limit = 128;

PTQ_ALWAYS_INLINE bool pair_exceeds(int a, int b) {
  return (a > 0 ? a : 0) + (b > 0 ? b : 0) > pair_limit ||
         (a < 0 ? a : 0) + (b < 0 ? b : 0) < -pair_limit;
}

/// What a pair that exceeds is to be lowered by: no more than either of its weights, which have one sign.
template <class Weight>
PTQ_ALWAYS_INLINE int pair_excess(const Weight* pair) {
  const int sum = pair[0] + pair[1];
  return sum > 0 ? sum - pair_limit : sum + pair_limit;
}

/// Three weights a, b, c as the pairs (a, part of b), (c, rest of b), for b's activation twice; false
/// where that can't be within the limit: all of one sign, and large.
PTQ_ALWAYS_INLINE bool split_three(const std::int8_t (&w)[3], std::int8_t (&slots)[4]) {
  int part = w[1];
  if (pair_exceeds(w[0], part)) part = part > 0 ? pair_limit - w[0] : -pair_limit - w[0];
  const int rest = w[1] - part;
  slots[0] = w[0];
  slots[1] = static_cast<std::int8_t>(part);
  slots[2] = w[2];
  slots[3] = static_cast<std::int8_t>(rest);
  return !pair_exceeds(w[2], rest);
}

}  // namespace ptq::native
