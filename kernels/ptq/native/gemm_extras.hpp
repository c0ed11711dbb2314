#pragma once
// SPDX-License-Identifier: Apache-2.0
// The extra groups of gemm.hpp: what pairs of weights exceed the 16 bits of vpmaddubsw by.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include <ptq/native/dot.hpp>
#include <ptq/native/gemm.hpp>
#include <ptq/native/object.hpp>
#include <ptq/native/pair_add.hpp>

namespace ptq::native {

/// What pairs of one vector's weights exceed vpmaddubsw's 16 bits by, as extra groups (gemm.hpp): each
/// takes of every lane up to four bytes of K out of a window. Packed, or only counted.
template <class Isa>
struct extra_groups {
  static constexpr int lanes = simd<Isa, register_bytes<Isa>>::lanes;
  std::int64_t depth;
  std::int64_t count = 0;
  gemm_extra* extra = nullptr;   // to be written, or null
  std::int8_t* memory = nullptr;  // two registers for each

  std::int64_t tap = -1, base = 0;  // of the group that is open
  std::int8_t weight[lanes][4] = {};
  int used[lanes] = {};

  /// `amount` times byte k of a tap, for one lane. In the order of taps and k.
  PTQ_ALWAYS_INLINE void add(std::int64_t at_tap, std::int64_t k, int lane, int amount) {
    if (at_tap != tap || k >= base + extra_window(depth) || !fits(lane, amount)) open(at_tap, k);
    const int slot = used[lane]++;
    weight[lane][slot] = static_cast<std::int8_t>(amount);
    if (!memory) return;
    std::int8_t* const group = memory + (count - 1) * 2 * lanes * 4;
    group[4 * lane + slot] = static_cast<std::int8_t>(k - base);
    group[4 * (lanes + lane) + slot] = weight[lane][slot];
  }

  /// The excess of a pair of neighbouring weights from byte k on, taken from the first of them.
  template <class Weight>
  PTQ_ALWAYS_INLINE void take(Weight* pair, std::int64_t at_tap, std::int64_t k, int lane) {
    const int excess = pair_excess(pair);
    pair[0] = static_cast<Weight>(pair[0] - excess);
    add(at_tap, k, lane, excess);
  }

 private:
  PTQ_ALWAYS_INLINE bool fits(int lane, int amount) const {
    const int slot = used[lane];
    return slot < 4 && (slot % 2 == 0 || !pair_exceeds(weight[lane][slot - 1], amount));
  }
  PTQ_ALWAYS_INLINE void open(std::int64_t at_tap, std::int64_t k) {
    tap = at_tap;
    base = std::min(k, depth - extra_window(depth));
    for (int lane = 0; lane < lanes; ++lane) {
      used[lane] = 0;
      for (std::int8_t& w : weight[lane]) w = 0;
    }
    if (extra) extra[count] = {static_cast<std::int32_t>(tap), static_cast<std::int32_t>(base)};
    if (memory) std::memset(memory + count * 2 * lanes * 4, 0, 2 * lanes * 4);
    ++count;
  }
};

}  // namespace ptq::native
