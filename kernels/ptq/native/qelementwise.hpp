#pragma once
// SPDX-License-Identifier: Apache-2.0
// Elementwise kernels on codes: float → u8, u8 → float, tables, and u8 ∘ u8 → u8. Equal to the
// reference bit for bit: the formulas of core/numeric.hpp in registers, each product either exact
// or not added to anything.

#include <cstdint>
#include <cstring>

#include <ptq/core/exponential.hpp>
#include <ptq/kernels/args.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/native/dot.hpp>
#include <ptq/native/lanes.hpp>
#include <ptq/native/lookup.hpp>
#include <ptq/native/runs.hpp>

namespace ptq::native {

/// The codes that `pack` made of four registers, in the order of lanes.
template <class S>
PTQ_ALWAYS_INLINE void store_interleaved(std::uint8_t* y, typename S::ints codes) {
  if constexpr (S::lanes == 16) {
    S::template store_codes<4, 0>(y, codes);
  } else {
    S::template store_codes<2, 0>(y, codes);
    S::template store_codes<2, 2>(y + 2 * S::lanes, codes);
  }
}

/// x / scale rounds like x · (1 / scale) unless that lies close to a tie: registers with such a
/// lane divide.
///
/// |x · r − x / s| <= |x / s| · 3 · 2^-24 (one rounding each of r, the product and the quotient),
/// and |x / s| <= 256 where it is not clamped, so 2^-14 > 256 · 3 · 2^-24 is far enough.
template <class Isa>
struct quantize_kernel {
  using lane = lanes<Isa>;
  using real = typename lane::real;
  float scale, inverse, low, high;
  std::int32_t zero_point;
  bool divide;  // 1 / scale or a product could leave the normal numbers
  std::int64_t size;

  PTQ_ALWAYS_INLINE real bounded(real q) const {  // NaN becomes low
    return lane::lesser(lane::greater(q, lane::constant(low)), lane::constant(high));
  }
  template <bool Divide>
  PTQ_ALWAYS_INLINE typename lane::whole code(real x) const {
    real n;
    if constexpr (Divide) {
      n = lane::round(bounded(x / lane::constant(scale)));
    } else {
      const real q = bounded(x * lane::constant(inverse));
      n = lane::round(q);
      const auto off = elementary::abs<lane>(q - n);
      if (xsimd::any(off > lane::constant(0.5f - 0x1p-14f)))
        n = lane::round(bounded(x / lane::constant(scale)));
    }
    return lane::to_whole(n) + lane::constant_whole(zero_point);
  }
  /// Four registers at once; false, and nothing is stored, if one has to divide. What is too small,
  /// and NaN, becomes the smallest int32 and so the lowest code.
  PTQ_ALWAYS_INLINE bool four_registers(const float* x, std::uint8_t* y) const {
    using S = simd<Isa, register_bytes<Isa>>;
    typename S::ints code[4];
    real farthest = lane::constant(0.0f);
    unrolled<4>([&](auto v) PTQ_INLINE_LAMBDA {
      constexpr int i = decltype(v)::value;
      const real q = lane::lesser(lane::constant(high),
                                  lane::load(x + i * lane::width) * lane::constant(inverse));
      code[i] = S::round(static_cast<typename real::register_type>(q));
      farthest = lane::farther_from_whole(q, farthest);
    });
    if (xsimd::any(farthest > lane::constant(0.5f - 0x1p-14f))) return false;
    store_interleaved<S>(
        y, S::pack(code, S::set_words(zero_point), S::set_bytes(0), S::set_bytes(255)));
    return true;
  }
  template <bool Divide>
  static void apply(const void* object, const kernels::operands& io, std::byte*, work_range range) {
    const auto& k = *static_cast<const quantize_kernel*>(object);
    const auto* src = static_cast<const float*>(io.src[0]);
    auto* dst = static_cast<std::uint8_t*>(io.dst);
    const std::int64_t last = least<Isa>(range.end * chunk_elements, k.size);
    std::int64_t i = range.begin * chunk_elements;
    if constexpr (!Divide && register_bytes<Isa> == 4 * lane::width)
      for (; i + 4 * lane::width <= last; i += 4 * lane::width)
        if (!k.four_registers(src + i, dst + i))
          unrolled<4>([&](auto v) PTQ_INLINE_LAMBDA {
            constexpr int at = decltype(v)::value * lane::width;
            lane::store(dst + i + at, k.template code<true>(lane::load(src + i + at)));
          });
    for (; i + lane::width <= last; i += lane::width)
      lane::store(dst + i, k.template code<Divide>(lane::load(src + i)));
    if (i < last)
      lane::store(dst + i, k.template code<Divide>(lane::load(src + i, last - i)), last - i);
  }
};

template <class Isa>
inline kernels::prepared quantize(const kernels::quantize_args& args) {
  using kernel = quantize_kernel<Isa>;
  auto p = blank<Isa>(sizeof(kernel));
  const bool divide = !(args.scale > 0x1p-90f && args.scale < 0x1p90f);
  *object_of<kernel>(p) = {args.scale,
                           1.0f / args.scale,
                           static_cast<float>(0 - args.zero_point),
                           static_cast<float>(255 - args.zero_point),
                           args.zero_point,
                           divide,
                           args.size};
  p.units = chunks_of<Isa>(args.size);
  p.run = divide ? &kernel::template apply<true> : &kernel::template apply<false>;
  p.name = "quantize registers";
  return p;
}

template <class Isa>
struct dequantize_kernel {
  using lane = lanes<Isa>;
  float scale;
  std::int32_t zero_point;
  std::int64_t size;

  PTQ_ALWAYS_INLINE typename lane::real value(typename lane::whole q) const {
    return lane::constant(scale) * lane::to_real(q - lane::constant_whole(zero_point));
  }
  static void apply(const void* object, const kernels::operands& io, std::byte*, work_range range) {
    const auto& k = *static_cast<const dequantize_kernel*>(object);
    const auto* src = static_cast<const std::uint8_t*>(io.src[0]);
    auto* dst = static_cast<float*>(io.dst);
    const std::int64_t last = least<Isa>(range.end * chunk_elements, k.size);
    std::int64_t i = range.begin * chunk_elements;
    for (; i + lane::width <= last; i += lane::width)
      lane::store(dst + i, k.value(lane::load(src + i)));
    if (i < last) lane::store(dst + i, k.value(lane::load(src + i, last - i)), last - i);
  }
};

template <class Isa>
inline kernels::prepared dequantize(const kernels::dequantize_args& args) {
  using kernel = dequantize_kernel<Isa>;
  auto p = blank<Isa>(sizeof(kernel));
  *object_of<kernel>(p) = {args.scale, args.zero_point, args.size};
  p.units = chunks_of<Isa>(args.size);
  p.run = &kernel::apply;
  p.name = "dequantize registers";
  return p;
}

template <class Isa>
struct lookup_kernel {
  lookup_tables tables;
  row_split<Isa> split;
  std::int64_t src_stride, dst_stride;
  bool vbmi;

  static void apply(const void* object, const kernels::operands& io, std::byte*, work_range range) {
    const auto& k = *static_cast<const lookup_kernel*>(object);
    const auto* src = static_cast<const std::uint8_t*>(io.src[0]);
    auto* dst = static_cast<std::uint8_t*>(io.dst);
    k.split.for_pieces(range, [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
      look_up<Isa>(k.tables, src + row * k.src_stride + begin, dst + row * k.dst_stride + begin,
                   end - begin, k.vbmi);
    });
  }
};

template <class Isa>
inline kernels::prepared lookup(const kernels::lookup_args& args) {
  using kernel = lookup_kernel<Isa>;
  auto p = blank<Isa>(sizeof(kernel));
  auto& k = *object_of<kernel>(p);
  k.src_stride = args.src_stride ? args.src_stride : args.columns;
  k.dst_stride = args.dst_stride ? args.dst_stride : args.columns;
  const bool whole = k.src_stride == args.columns && k.dst_stride == args.columns;
  k.split = whole ? row_split<Isa>::of(1, args.rows * args.columns)
                  : row_split<Isa>::of(args.rows, args.columns);
  std::memcpy(k.tables.plain.data(), args.table.data(), 256);
  fold_table<Isa>(k.tables);
  k.vbmi = has_vbmi<Isa>();
  p.units = k.split.units();
  p.run = &kernel::apply;
  p.name = "lookup registers";
  return p;
}

template <class Isa>
struct qbinary_kernel {
  using lane = lanes<Isa>;
  using real = typename lane::real;
  using whole = typename lane::whole;
  std::int32_t a_zero, b_zero, zero_point;
  std::int32_t low_code, high_code;
  float multiplier, low, high;
  add_rule sum;
  broadcast_runs<Isa> runs;

  template <bool Mul>
  PTQ_ALWAYS_INLINE real exact(whole a, whole b) const {
    if constexpr (Mul) {  // the product of differences is exact: below 2^18
      const real x = lane::to_real(a - lane::constant_whole(a_zero));
      const real y = lane::to_real(b - lane::constant_whole(b_zero));
      return x * y * lane::constant(multiplier);
    } else {
      const real inner =
          lane::fma(lane::to_real(b), lane::constant(sum.second), lane::constant(sum.constant));
      return lane::fma(lane::to_real(a), lane::constant(sum.first), inner);
    }
  }
  template <bool Mul>
  PTQ_ALWAYS_INLINE whole code(whole a, whole b) const {
    const real x = lane::greater(exact<Mul>(a, b), lane::constant(low));
    return lane::to_whole(lane::round(lane::lesser(x, lane::constant(high)))) +
           lane::constant_whole(zero_point);
  }
  /// Four registers of results. What is too small, and NaN, becomes the smallest int32 and so the
  /// lowest code.
  template <class Real>
  PTQ_ALWAYS_INLINE void store_four(std::uint8_t* y, Real exact_of) const {
    using S = simd<Isa, register_bytes<Isa>>;
    typename S::ints code[4];
    unrolled<4>([&](auto v) PTQ_INLINE_LAMBDA {
      const real x = lane::lesser(lane::constant(high), exact_of(decltype(v)::value));
      code[decltype(v)::value] = S::round(static_cast<typename real::register_type>(x));
    });
    store_interleaved<S>(y, S::pack(code, S::set_words(zero_point), S::set_bytes(low_code),
                                    S::set_bytes(high_code)));
  }
  template <bool Mul, int A, int B>
  static void run_of(const qbinary_kernel& k, const std::uint8_t* a, const std::uint8_t* b,
                     std::uint8_t* dst, std::int64_t n) {
    const std::int64_t a_step = k.runs.a_step(), b_step = k.runs.b_step();
    const auto part = [&]<int Stride>(const std::uint8_t* p, std::int64_t i, std::int64_t step,
                                      std::int64_t count) PTQ_INLINE_LAMBDA {
      if constexpr (Stride == 0)
        return lane::constant_whole(*p);
      else if constexpr (Stride == 1)
        return count == lane::width ? lane::load(p + i) : lane::load(p + i, count);
      else
        return lane::gather(p + i * step, step, count);
    };
    const auto value = [&](std::int64_t i, std::int64_t count) PTQ_INLINE_LAMBDA {
      return k.template code<Mul>(part.template operator()<A>(a, i, a_step, count),
                                  part.template operator()<B>(b, i, b_step, count));
    };
    std::int64_t i = 0;
    if constexpr (A < 2 && B < 2 && register_bytes<Isa> == 4 * lane::width)
      for (; i + 4 * lane::width <= n; i += 4 * lane::width)
        k.store_four(dst + i, [&](int r) PTQ_INLINE_LAMBDA {
          const std::int64_t at = i + r * lane::width;
          return k.template exact<Mul>(part.template operator()<A>(a, at, 1, lane::width),
                                       part.template operator()<B>(b, at, 1, lane::width));
        });
    for (; i + lane::width <= n; i += lane::width) lane::store(dst + i, value(i, lane::width));
    if (i < n) lane::store(dst + i, value(i, n - i), n - i);
  }
  template <bool Mul>
  static void apply(const void* object, const kernels::operands& io, std::byte*, work_range range) {
    const auto& k = *static_cast<const qbinary_kernel*>(object);
    const auto* a = static_cast<const std::uint8_t*>(io.src[0]);
    const auto* b = static_cast<const std::uint8_t*>(io.src[1]);
    auto* dst = static_cast<std::uint8_t*>(io.dst);
    k.runs.for_runs(range, [&]<int A, int B>(std::int64_t to, std::int64_t from_a,
                                             std::int64_t from_b, std::int64_t n) {
      run_of<Mul, A, B>(k, a + from_a, b + from_b, dst + to, n);
    });
  }
};

template <class Isa>
inline kernels::prepared qbinary(const kernels::qbinary_args& args) {
  using kernel = qbinary_kernel<Isa>;
  auto p = blank<Isa>(sizeof(kernel));
  auto& k = *object_of<kernel>(p);
  k.a_zero = args.a_zero_point;
  k.b_zero = args.b_zero_point;
  k.multiplier = args.multiplier;
  k.sum = args.sum;
  const bool mul = args.what == kernels::qbinary_args::kind::mul;
  k.zero_point = mul ? args.zero_point : 0;  // the sum's is in its constant
  k.low_code = mul ? args.low : args.sum.low;
  k.high_code = mul ? args.high : args.sum.high;
  k.low = static_cast<float>(k.low_code - k.zero_point);
  k.high = static_cast<float>(k.high_code - k.zero_point);
  k.runs = broadcast_runs<Isa>::of(args.over);
  p.units = k.runs.units();
  p.run = mul ? &kernel::template apply<true> : &kernel::template apply<false>;
  p.name = "qbinary registers";
  return p;
}

}  // namespace ptq::native
