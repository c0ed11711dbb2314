#pragma once
// SPDX-License-Identifier: Apache-2.0
// What a walk along an output row (depthwise_walk.hpp) reads: the bytes of one column of the image,
// for one block of channels. Beside the image they are zero points; rows above and below it are a
// row of zero points that the object keeps.
//
// A block of few channels holds several output pixels in one register: the row is walked in as many
// places at once, equal lengths of it apart, so that pixels share columns. Eight channels of an image
// that has no others are taken from neighbouring pixels instead where that is one load (dense).

#include <cstdint>
#include <cstring>

#include <ptq/native/depthwise_pack.hpp>
#include <ptq/native/dot.hpp>
#include <ptq/native/epilogue.hpp>
#include <ptq/native/object.hpp>

namespace ptq::native {

/// One block's run along an output row, or with dilation along every dilation-th pixel of it: then a
/// column is as far from the next, and everything here is counted in such columns.
struct depthwise_run {
  const depthwise_object* conv = nullptr;
  const std::uint8_t* const* row =
      nullptr;                       // [groups][4] a slot's row, its columns to the right on
  std::int64_t offset = 0;           // bytes from there to the run's first column
  std::int64_t pitch = 0;            // bytes from column to column
  std::int64_t first = 0, last = 0;  // columns [first, last) are the image's
  std::uint8_t* columns = nullptr;   // the walk's buffer, aligned to 64
  const std::int8_t* weights = nullptr;
  const std::int32_t* bias = nullptr;
  const float* multiplier = nullptr;
  std::int64_t pixels = 0;  // of the run
  std::int64_t skip = 0;    // columns of the register not to store
  tile_target to;           // the run's first pixel; columns of the block
};

/// Which output pixel a part of a register holds: register · step + part · apart.
template <int Parts>
struct depthwise_places {
  std::int64_t count;  // registers
  bool dense;
  std::int64_t step, apart;
  PTQ_ALWAYS_INLINE explicit depthwise_places(const depthwise_run& r)
      : count((r.pixels + Parts - 1) / Parts),
        dense(Parts > 1 && r.conv->dense),
        step(dense ? Parts : 1),
        apart(dense ? 1 : count) {}
};

/// n < 8 bytes, the lowest first.
template <class S>
PTQ_ALWAYS_INLINE std::uint64_t few_bytes(const std::uint8_t* p, std::int64_t n) {
  const auto ends = [&]<class Word>(Word first) PTQ_INLINE_LAMBDA {
    Word last;
    std::memcpy(&first, p, sizeof first);
    std::memcpy(&last, p + n - static_cast<std::int64_t>(sizeof last), sizeof last);
    return first | static_cast<std::uint64_t>(last) << 8 * (n - static_cast<int>(sizeof last));
  };
  return n >= 4 ? ends(std::uint32_t{}) : n >= 2 ? ends(std::uint16_t{}) : *p;
}

/// `Parts` pieces of a register side by side, from an address each. `few`: bytes that there are of a
/// piece where these are less than 8, the least piece.
template <class S, int Parts>
PTQ_ALWAYS_INLINE typename S::ints load_parts(const std::uint8_t* const (&p)[Parts],
                                              std::int64_t few) {
  constexpr int width = 4 * S::lanes, part = width / Parts;
  if constexpr (Parts == 1) {
    return S::load(p[0]);
  } else {
    constexpr bool in_memory = requires(typename S::ints x) { x.v[0]; };  // plain C++
#if XSIMD_WITH_SSE2
    if constexpr (!in_memory) {
      const auto sixteen = [&](int i) PTQ_INLINE_LAMBDA -> __m128i {  // bytes, from piece i on
        if constexpr (part > 8) return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p[i]));
        if (few < 8) [[unlikely]]
          return _mm_set_epi64x(static_cast<long long>(few_bytes<S>(p[i + 1], few)),
                                static_cast<long long>(few_bytes<S>(p[i], few)));
        double low, high;
        std::memcpy(&low, p[i], sizeof low);
        std::memcpy(&high, p[i + 1], sizeof high);
        return _mm_castpd_si128(_mm_set_pd(high, low));
      };
      if constexpr (width == 16) {
        return sixteen(0);
      } else {
#if XSIMD_WITH_AVX2
        constexpr int other = part > 8 ? 16 / part : 2;  // pieces of 16 bytes
        const auto thirty_two = [&](int i) PTQ_INLINE_LAMBDA -> __m256i {
          if constexpr (part == 32)
            return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p[i]));
          return _mm256_inserti128_si256(_mm256_castsi128_si256(sixteen(i)), sixteen(i + other), 1);
        };
        if constexpr (width == 32) {
          return thirty_two(0);
        } else {
#if XSIMD_WITH_AVX512BW
          return _mm512_inserti64x4(_mm512_castsi256_si512(thirty_two(0)), thirty_two(Parts / 2),
                                    1);
#endif
        }
#endif
      }
    } else
#endif
        if constexpr (in_memory) {
      std::uint8_t all[width] = {};
      for (int i = 0; i < Parts; ++i)
        std::memcpy(all + i * part, p[i], static_cast<std::size_t>(few < part ? few : part));
      return S::load(all);
    }
  }
}

template <class S, int Parts>
struct depthwise_columns {
  using ints = typename S::ints;
  static constexpr int width = 4 * S::lanes, part = width / Parts;

  std::int64_t first, last, offset, pitch;
  std::int64_t apart, stride;  // columns from part to part, from register to register
  std::int64_t few;
  const std::uint8_t* beside;
  ints padding;

  PTQ_ALWAYS_INLINE explicit depthwise_columns(const depthwise_run& r)
      : first(r.first),
        last(r.last),
        offset(r.offset),
        pitch(r.pitch),
        apart(depthwise_places<Parts>(r).apart * r.conv->g.stride_w),
        stride(depthwise_places<Parts>(r).step * r.conv->g.stride_w),
        few(r.to.columns < part ? r.to.columns : part),
        beside(r.conv->padding),
        padding(in_register(S::load(r.conv->padding))) {}

  /// Of columns where all parts of a slot are in the image, which is `right` columns further on.
  PTQ_ALWAYS_INLINE std::int64_t first_inside(std::int64_t right) const { return first - right; }
  PTQ_ALWAYS_INLINE std::int64_t last_inside(std::int64_t right) const {  // the first beyond
    return last - right - (Parts - 1) * apart;
  }
  /// Bytes from a slot's row to its byte for a column.
  PTQ_ALWAYS_INLINE std::int64_t to(std::int64_t column) const { return offset + column * pitch; }
  /// The bytes there, inside.
  PTQ_ALWAYS_INLINE ints at(const std::uint8_t* row, std::int64_t place) const {
    const std::uint8_t* p[Parts];
    unrolled<Parts>([&](auto v) PTQ_INLINE_LAMBDA {
      constexpr int i = decltype(v)::value;
      p[i] = row + (place + i * apart * pitch);
    });
    return in_register(load_parts<S>(p, few));
  }
  /// Any column.
  PTQ_ALWAYS_INLINE ints anywhere(const std::uint8_t* row, std::int64_t column,
                                  std::int64_t right) const {
    const std::uint8_t* p[Parts];
    const std::uint8_t* place = row + to(column);
    column += right - first;
    unrolled<Parts>([&](auto v) PTQ_INLINE_LAMBDA {
      constexpr int i = decltype(v)::value;
      const bool in =
          static_cast<std::uint64_t>(column + i * apart) < static_cast<std::uint64_t>(last - first);
      const auto address = reinterpret_cast<std::uintptr_t>(place + i * apart * pitch);
      const auto other = reinterpret_cast<std::uintptr_t>(beside);
      // no branch: which parts are beside the image changes from column to column
      const std::uintptr_t mask = std::uintptr_t{0} - static_cast<std::uintptr_t>(in);
      p[i] = reinterpret_cast<const std::uint8_t*>(other ^ ((address ^ other) & mask));
    });
    return load_parts<S>(p, few);
  }
  /// Any column of parts that are neighbours.
  PTQ_ALWAYS_INLINE ints anywhere_dense(const std::uint8_t* row, std::int64_t column) const {
    const std::uint8_t* const place = row + to(column);
#if defined(__AVX512BW__)
    if constexpr (width == 64) {
      const std::int64_t begin = column < first ? (first - column) * part : 0;
      const std::int64_t end = column + Parts > last ? (last - column) * part : width;
      const std::uint64_t lanes = begin < end ? ~0ull >> (width - (end - begin)) << begin : 0;
      return _mm512_mask_loadu_epi8(padding, lanes, place);
    }
#endif
    std::uint8_t all[width];
    for (int i = 0; i < Parts; ++i) {
      const bool in = column + i >= first && column + i < last;
      std::memcpy(all + i * part, in ? place + i * part : beside, part);
    }
    return S::load(all);
  }
};

}  // namespace ptq::native
