#pragma once
// SPDX-License-Identifier: Apache-2.0
// f32 → u16 codes and back, equal to the reference bit for bit. Quantizing divides: of quotients as
// large as these one in thirty lies too close to a tie for a product with 1 / scale to tell, which
// is most registers (qelementwise.hpp has the bound).

#include <cstdint>
#include <cstring>

#include <ptq/kernels/args.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/native/lanes.hpp>
#include <ptq/native/runs.hpp>

namespace ptq::native {

/// Lanes of int32 from u16, and back: each in [0, 65535].
#if XSIMD_WITH_SSE2
PTQ_ALWAYS_INLINE __m128i load_words(const std::uint16_t* p, __m128i) {
  return _mm_unpacklo_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)),
                            _mm_setzero_si128());
}
PTQ_ALWAYS_INLINE void store_words(std::uint16_t* p, __m128i x) {
  const __m128i centred = _mm_sub_epi32(x, _mm_set1_epi32(32768));
  const __m128i words = _mm_packs_epi32(centred, centred);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p),
                   _mm_xor_si128(words, _mm_set1_epi16(static_cast<short>(0x8000))));
}
#else
template <class Register>
PTQ_ALWAYS_INLINE Register load_words(const std::uint16_t* p, Register r) {
  std::int32_t v[sizeof(Register) / 4];
  for (std::size_t i = 0; i < sizeof(Register) / 4; ++i) v[i] = p[i];
  std::memcpy(&r, v, sizeof r);
  return r;
}
template <class Register>
PTQ_ALWAYS_INLINE void store_words(std::uint16_t* p, Register x) {
  std::int32_t v[sizeof(Register) / 4];
  std::memcpy(v, &x, sizeof x);
  for (std::size_t i = 0; i < sizeof(Register) / 4; ++i) p[i] = static_cast<std::uint16_t>(v[i]);
}
#endif
#if XSIMD_WITH_AVX2
PTQ_ALWAYS_INLINE __m256i load_words(const std::uint16_t* p, __m256i) {
  return _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
PTQ_ALWAYS_INLINE void store_words(std::uint16_t* p, __m256i x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm_packus_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1)));
}
#endif
#if XSIMD_WITH_AVX512BW
PTQ_ALWAYS_INLINE __m512i load_words(const std::uint16_t* p, __m512i) {
  return _mm512_maskz_cvtepu16_epi32(0xffff,
                                     _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
PTQ_ALWAYS_INLINE void store_words(std::uint16_t* p, __m512i x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_maskz_cvtepi32_epi16(0xffff, x));
}
#endif

template <class Isa>
struct wide_quantize_kernel {
  using lane = lanes<Isa>;
  using whole_register = typename lane::whole_register;
  float scale, low, high;
  std::int32_t zero_point;
  std::int64_t size;

  PTQ_ALWAYS_INLINE typename lane::whole code(typename lane::real x) const {
    const auto q = lane::greater(x / lane::constant(scale), lane::constant(low));  // NaN: low
    return lane::to_whole(lane::round(lane::lesser(q, lane::constant(high)))) +
           lane::constant_whole(zero_point);
  }
  static void apply(const void* object, const kernels::operands& io, std::byte*, work_range range) {
    const wide_quantize_kernel k = *static_cast<const wide_quantize_kernel*>(object);
    const auto* src = static_cast<const float*>(io.src[0]);
    auto* dst = static_cast<std::uint16_t*>(io.dst);
    const std::int64_t last = least<Isa>(range.end * chunk_elements, k.size);
    std::int64_t i = range.begin * chunk_elements;
    for (; i + lane::width <= last; i += lane::width)
      store_words(dst + i, static_cast<whole_register>(k.code(lane::load(src + i))));
    if (i == last) return;
    alignas(64) std::int32_t few[static_cast<std::size_t>(lane::width)];
    k.code(lane::load(src + i, last - i)).store_aligned(few);
    for (std::int64_t j = i; j < last; ++j) dst[j] = static_cast<std::uint16_t>(few[j - i]);
  }
};

/// See quantize_args, with codes of 16 bits.
template <class Isa>
inline kernels::prepared wide_quantize(const kernels::quantize_args& args) {
  using kernel = wide_quantize_kernel<Isa>;
  auto p = blank<Isa>(sizeof(kernel));
  *object_of<kernel>(p) = {args.scale, static_cast<float>(0 - args.zero_point),
                           static_cast<float>(65535 - args.zero_point), args.zero_point, args.size};
  p.units = chunks_of<Isa>(args.size);
  p.run = &kernel::apply;
  p.name = "quantize 16 bits, registers";
  return p;
}

template <class Isa>
struct wide_dequantize_kernel {
  using lane = lanes<Isa>;
  using whole_register = typename lane::whole_register;
  float scale;
  std::int32_t zero_point;
  std::int64_t size;

  PTQ_ALWAYS_INLINE typename lane::real value(typename lane::whole q) const {
    return lane::constant(scale) * lane::to_real(q - lane::constant_whole(zero_point));
  }
  static void apply(const void* object, const kernels::operands& io, std::byte*, work_range range) {
    const wide_dequantize_kernel k = *static_cast<const wide_dequantize_kernel*>(object);
    const auto* src = static_cast<const std::uint16_t*>(io.src[0]);
    auto* dst = static_cast<float*>(io.dst);
    const std::int64_t last = least<Isa>(range.end * chunk_elements, k.size);
    std::int64_t i = range.begin * chunk_elements;
    for (; i + lane::width <= last; i += lane::width)
      lane::store(dst + i, k.value(typename lane::whole(load_words(src + i, whole_register{}))));
    if (i == last) return;
    alignas(64) std::uint16_t few[static_cast<std::size_t>(lane::width)] = {};
    for (std::int64_t j = i; j < last; ++j) few[j - i] = src[j];
    lane::store(dst + i, k.value(typename lane::whole(load_words(few, whole_register{}))),
                last - i);
  }
};

/// See dequantize_args, with codes of 16 bits.
template <class Isa>
inline kernels::prepared wide_dequantize(const kernels::dequantize_args& args) {
  using kernel = wide_dequantize_kernel<Isa>;
  auto p = blank<Isa>(sizeof(kernel));
  *object_of<kernel>(p) = {args.scale, args.zero_point, args.size};
  p.units = chunks_of<Isa>(args.size);
  p.run = &kernel::apply;
  p.name = "dequantize 16 bits, registers";
  return p;
}

}  // namespace ptq::native
