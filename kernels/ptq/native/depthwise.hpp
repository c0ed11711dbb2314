#pragma once
// SPDX-License-Identifier: Apache-2.0
// Depthwise integer convolution: every channel is its own filter, so a lane is a channel. Four
// taps' bytes of 4 · lanes channels are interleaved into dwords (eight unpacks) and multiplied four
// at a time like the matrix kernels' K; the unpacks leave channels in the order that packing
// restores for free when the codes are stored.
//
// Taps lie in slots of four: three taps, and the second of them again, so that its weight can be
// split where pairs are added in 16 bits (pair_add.hpp); with vpdpbusd, four taps. A 3×3 filter
// without dilation takes one group of slots per column, so that an interleaved column serves the
// three output pixels that it touches; other filters fill slots in order. A unit is one output row
// times some blocks of channels.
//
// Where a 3×3 filter's few channels would leave a register half empty, neighbouring output pixels lie
// in it side by side: the channels of 2, 4 or 8 pixels are cut into blocks as if they were one pixel's.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include <ptq/native/depthwise_pack.hpp>
#include <ptq/native/depthwise_walk.hpp>
#include <ptq/native/dot.hpp>
#include <ptq/native/epilogue.hpp>
#include <ptq/native/gemm.hpp>
#include <ptq/native/object.hpp>

namespace ptq::native {

#if XSIMD_WITH_AVX2
/// `Count` pieces of 32 / Count bytes, `step` bytes from one to the next, in one register.
template <int Count>
PTQ_ALWAYS_INLINE __m256i load_pieces(const std::uint8_t* p, std::int64_t step) {
  static_assert(Count == 2 || Count == 4);
  const auto half = [&](const std::uint8_t* q) PTQ_INLINE_LAMBDA {
    if constexpr (Count == 2)
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(q));
    else
      return _mm_unpacklo_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(q)),
                                _mm_loadl_epi64(reinterpret_cast<const __m128i*>(q + step)));
  };
  return _mm256_inserti128_si256(_mm256_castsi128_si256(half(p)), half(p + Count / 2 * step), 1);
}
#endif

template <class S, class Way>
struct depthwise_kernel {
  using ints = typename S::ints;
  static constexpr int width = 4 * S::lanes;

  /// A block's bytes of one pixel. A source of fewer channels than the narrowest register is loaded
  /// under a mask, or copied where there is none.
  template <bool Whole>
  static PTQ_ALWAYS_INLINE ints load(const std::uint8_t* p, const depthwise_run& r) {
    if constexpr (Whole || S::lanes > 4) return S::load(p);
    if (r.to.columns == width) return S::load(p);
#if defined(__AVX512BW__) && defined(__AVX512VL__)
    if constexpr (width == 16) return _mm_maskz_loadu_epi8(first_lanes(r.to.columns), p);
#endif
    std::uint8_t few[width] = {};
    copy_few<S, largest_part(width)>(few, p, r.to.columns);
    return S::load(few);
  }

#if defined(__AVX512BW__) && defined(__AVX512VL__)
  static PTQ_ALWAYS_INLINE __mmask16 first_lanes(std::int64_t n) {
    return static_cast<__mmask16>((1u << n) - 1u);
  }
#endif

  static PTQ_ALWAYS_INLINE void start(ints* acc, const depthwise_run& r) {
    unrolled<4>([&](auto v) PTQ_INLINE_LAMBDA {
      constexpr int j = decltype(v)::value;
      acc[j] = S::load(r.bias + j * S::lanes);
    });
  }

  template <bool Whole>
  static PTQ_ALWAYS_INLINE void store(const ints* acc, const depthwise_run& r, const epilogue<S>& e,
                                      std::int64_t pixel) {
    if (e.rule.what == epilogue_rule::kind::reals) {
      const ints spilled[4] = {acc[0], acc[1], acc[2],
                               acc[3]};  // the accumulators stay in registers
      return store_reals(spilled, r, e, pixel);
    }
    std::uint8_t* y = static_cast<std::uint8_t*>(r.to.dst) + pixel * r.to.stride;
    ints code[4];
    if (e.added) {
      const ints x[4] = {load<Whole>(r.to.residual + pixel * r.to.stride, r), S::zero(), S::zero(),
                         S::zero()};
      ints residual[4];
      S::interleave(x, residual);
      e.template sums<4>(acc, r.multiplier, residual, code);
    } else {
      e.template rounded<4>(acc, r.multiplier, code);
    }
    const ints packed = e.packed(code);
    if constexpr (Whole) {
      S::store(y, packed);
    } else {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
      if constexpr (width == 16) {
        const auto lanes = static_cast<__mmask16>(first_lanes(r.to.columns) & ~first_lanes(r.skip));
        return _mm_mask_storeu_epi8(y, lanes, packed);
      }
#endif
      std::uint8_t few[width];
      S::store(few, packed);
      copy_few<S, largest_part(width)>(y + r.skip, few + r.skip, r.to.columns - r.skip);
    }
  }

  static PTQ_ALWAYS_INLINE void store_reals(const ints* acc, const depthwise_run& r,
                                            const epilogue<S>& e, std::int64_t pixel) {
    float* y = static_cast<float*>(r.to.dst) + pixel * r.to.stride;
    float lane[width];
    for (int j = 0; j < 4; ++j)
      S::store(lane + j * S::lanes, e.real(acc[j], S::load(r.multiplier + j * S::lanes)));
    for (auto c = static_cast<int>(r.skip); c < r.to.columns; ++c)
      y[c] = lane[c % 16 / 4 * S::lanes + c / 16 * 4 + c % 4];
  }

  /// Any filter: slots in order, taps of the run all inside the image or all in the padding.
  template <bool Whole>
  static void run_slots(const depthwise_run& given) {
    const depthwise_run r = given;  // a copy: stores of codes may alias anything that is not local
    const epilogue<S> e(*r.rule);
    for (std::int64_t i = 0; i < r.count; ++i) {
      ints acc[4];
      start(acc, r);
      for (std::int64_t g = 0; g < r.groups; ++g) {
        ints t[4], x[4];
        unrolled<4>([&](auto v) PTQ_INLINE_LAMBDA {
          constexpr int j = decltype(v)::value;
          t[j] = load<Whole>(r.tap[4 * g + j] + i * r.pitch[4 * g + j], r);
        });
        S::interleave(t, x);
        unrolled<4>([&](auto v) PTQ_INLINE_LAMBDA {
          constexpr int j = decltype(v)::value;
          acc[j] = multiply_slots<S, Way, j>(acc[j], x[j],
                                             r.weights + g * depthwise_group_bytes<S, Way>);
        });
      }
      store<Whole>(acc, r, e, i);
    }
  }

  struct three_rows {
    const std::uint8_t* tap[3];
    std::int64_t pitch[3];
  };

  /// A row's bytes of column `x`, and of the columns that `Side` pixels have there.
  template <bool Whole, int Side>
  static PTQ_ALWAYS_INLINE ints row_of(const depthwise_run& r, const std::uint8_t* row,
                                       std::int64_t pitch, std::int64_t x) {
    const bool inside = x >= 0 && x + (Side - 1) * r.stride < r.in_w;
    if constexpr (Side == 1) {
      return load<Whole>(inside ? row + x * pitch : r.padding, r);
    } else {
      if (pitch == 0) return S::load(r.padding);
      if (inside && r.stride == 1) return S::load(row + x * pitch);
#if XSIMD_WITH_AVX2
      if constexpr (width == 32)
        if (inside) return load_pieces<Side>(row + x * pitch, r.stride * pitch);
#endif
#if defined(__AVX512BW__)
      if constexpr (width == 64) {
        const std::int64_t begin = std::max<std::int64_t>(-x * pitch - r.channel, 0);
        const std::int64_t end = std::min<std::int64_t>((r.in_w - x) * pitch - r.channel, width);
        const std::uint64_t lanes = end > begin ? ~0ull >> (width - (end - begin)) << begin : 0;
        return _mm512_mask_loadu_epi8(S::load(r.padding), lanes, row + x * pitch);
      }
#endif
      std::uint8_t few[width];
      for (int i = 0; i < Side; ++i, x += r.stride)
        std::memcpy(few + i * (width / Side), x >= 0 && x < r.in_w ? row + x * pitch : r.padding,
                    width / Side);
      return S::load(few);
    }
  }

  /// Column `x` of the image, three rows interleaved; padding outside.
  template <bool Whole, int Side>
  static PTQ_ALWAYS_INLINE void column(const depthwise_run& r, const three_rows& rows,
                                       std::int64_t x, ints* out) {
    ints t[4];
    unrolled<3>([&](auto v) PTQ_INLINE_LAMBDA {
      constexpr int j = decltype(v)::value;
      t[j] = row_of<Whole, Side>(r, rows.tap[j], rows.pitch[j], x);
    });
    t[3] = t[1];
    S::interleave(t, out);
  }

  template <bool Whole>
  static PTQ_ALWAYS_INLINE void pixel3(const depthwise_run& r, const epilogue<S>& e, std::int64_t i,
                                       const ints* a, const ints* b, const ints* c) {
    ints acc[4];
    // register by register: with 16 of them, three columns leave room for little else
    unrolled<4>([&](auto v) PTQ_INLINE_LAMBDA {
      constexpr int j = decltype(v)::value;
      ints x = S::load(r.bias + j * S::lanes);
      x = multiply_slots<S, Way, j>(x, a[j], r.weights);
      x = multiply_slots<S, Way, j>(x, b[j], r.weights + depthwise_group_bytes<S, Way>);
      acc[j] = multiply_slots<S, Way, j>(x, c[j], r.weights + 2 * depthwise_group_bytes<S, Way>);
    });
    store<Whole>(acc, r, e, i);
  }

  /// 3×3: neighbours share interleaved columns, two of three at stride 1, one of three at stride 2.
  template <bool Whole, int Side>
  static void run_columns(const depthwise_run& given) {
    const depthwise_run r = given;
    const epilogue<S> e(*r.rule);
    const three_rows rows = {{r.tap[0], r.tap[1], r.tap[2]}, {r.pitch[0], r.pitch[1], r.pitch[2]}};
    ints a[4], b[4];
    ints c[4] = {S::zero(), S::zero(), S::zero(),
                 S::zero()};                    // g++ 12 can't see that i > 0 follows
    const std::int64_t step = Side * r.stride;  // columns from register to register
    std::int64_t x = r.left;
    if (step == 1) {
      column<Whole, Side>(r, rows, x, a);
      column<Whole, Side>(r, rows, x + 1, b);
      for (std::int64_t i = 0; i < r.count; i += 3, x += 3) {
        column<Whole, Side>(r, rows, x + 2, c);
        pixel3<Whole>(r, e, i, a, b, c);
        if (i + 1 == r.count) break;
        column<Whole, Side>(r, rows, x + 3, a);
        pixel3<Whole>(r, e, i + 1, b, c, a);
        if (i + 2 == r.count) break;
        column<Whole, Side>(r, rows, x + 4, b);
        pixel3<Whole>(r, e, i + 2, c, a, b);
      }
      return;
    }
    for (std::int64_t i = 0; i < r.count; ++i, x += step) {
      if (i > 0 && step == 2)
        for (int j = 0; j < 4; ++j) a[j] = c[j];
      else
        column<Whole, Side>(r, rows, x, a);
      column<Whole, Side>(r, rows, x + 1, b);
      column<Whole, Side>(r, rows, x + 2, c);
      pixel3<Whole>(r, e, i, a, b, c);
    }
  }

  template <int Side>  // 1; 2 or 4 where registers have 32 bytes, 4 or 8 where they have 64
  static PTQ_ALWAYS_INLINE void run_side(const depthwise_run& r) {
    if (r.skip > 0 || r.to.columns < width) return run_columns<false, Side>(r);
    using walk = depthwise_walk<S, Way>;
    if constexpr (Side == 1)
      if (walk::takes(r)) return walk::run(r);
    if constexpr (Side > 1 && width == 64)
      if (walk::takes(r)) {
        const auto at = [&](const std::uint8_t* row, std::int64_t pitch, std::int64_t x)
                            PTQ_INLINE_LAMBDA { return row_of<true, Side>(r, row, pitch, x); };
        return epilogue<S>::is_bare(*r.rule) ? walk::template walk_groups<true>(r, at)
                                             : walk::template walk_groups<false>(r, at);
      }
    run_columns<true, Side>(r);
  }

  static void run(const depthwise_run& r, bool columns3) {
    if constexpr (width == 32 && register_bytes<typename S::isa> == 32) {
      if (r.side == 2) return run_side<2>(r);
      if (r.side == 4) return run_side<4>(r);
    }
    if constexpr (width == 64) {
      if (r.side == 4) return run_side<4>(r);
      if (r.side == 8) return run_side<8>(r);
    }
    if (columns3) return run_side<1>(r);
    r.skip > 0 || r.to.columns < width ? run_slots<false>(r) : run_slots<true>(r);
  }
};

template <class Isa, class S>
PTQ_ALWAYS_INLINE void run_depthwise_width(const depthwise_run& r, bool quads, bool columns3) {
  if constexpr (has_dpbusd<Isa> || has_pair_add<Isa>)
    if (quads) return depthwise_kernel<S, native::quads>::run(r, columns3);
  if constexpr (!has_dpbusd<Isa>) depthwise_kernel<S, pairs>::run(r, columns3);
}

/// The widths of blocks of channels that an ISA has; 16 is the least.
template <class Isa>
PTQ_ALWAYS_INLINE void run_depthwise_block(const depthwise_run& r, const depthwise_block& b,
                                           bool columns3) {
  if constexpr (register_bytes<Isa> >= 64)
    if (b.width == 64) return run_depthwise_width<Isa, simd<Isa, 64>>(r, b.quads, columns3);
  if constexpr (register_bytes<Isa> >= 32)
    if (b.width == 32) return run_depthwise_width<Isa, simd<Isa, 32>>(r, b.quads, columns3);
  run_depthwise_width<Isa, simd<Isa, register_bytes<Isa> == 0 ? 0 : 16>>(r, b.quads, columns3);
}

}  // namespace ptq::native

#include <ptq/native/depthwise_conv.hpp>
