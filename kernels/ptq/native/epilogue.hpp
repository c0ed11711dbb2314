#pragma once
// SPDX-License-Identifier: Apache-2.0
// From accumulators in registers to the destination: requantize_value, add_value and the float
// store of core/numeric.hpp and kernels/args.hpp, lane by lane and bit for bit. Three facts make
// that possible without care for contraction: the requantizing product is followed by a clamp, not
// by an addition; the add stage is two fused multiply-adds, spelled out; the conversion rounds half
// to even.

#include <cstdint>

#include <ptq/kernels/args.hpp>
#include <ptq/native/dot.hpp>
#include <ptq/native/lanes.hpp>

namespace ptq::native {

/// An int_epilogue with its bounds as the arithmetic wants them; multipliers lie elsewhere, per
/// channel.
struct epilogue_rule {
  enum class kind : std::int32_t { codes, codes_added, reals } what = kind::codes;
  float low = 0, high = 255;  // codes: lo − z, hi − z; reals: the clamp
  std::int32_t zero_point = 0;
  float q_multiplier = 1, r_multiplier = 1, constant = 0;  // of the sum
  bool residual_first = false;
  float y_high = 255;
  std::int32_t least_code = 0, most_code = 255;  // of what is stored
  bool guarded = false;                          // a product or sum may leave int32
  kernels::epilogue_function function;           // of the real sum

  PTQ_ALWAYS_INLINE bool shaped() const {
    return function.what != kernels::epilogue_function::kind::none;
  }
  /// Codes without residual or function whose products fit int32.
  PTQ_ALWAYS_INLINE bool plain() const { return what == kind::codes && !guarded && !shaped(); }
};

/// b − zero_point · Σw. May wrap on the way: only the whole sum of products has to fit.
PTQ_ALWAYS_INLINE std::int32_t folded_bias(std::int32_t b, std::int32_t zero_point,
                                           std::int32_t sum) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(b) -
                                   static_cast<std::uint32_t>(zero_point) *
                                       static_cast<std::uint32_t>(sum));
}

/// Where the results of a tile go. `columns` ≤ the tile's width, the rest is padding.
struct tile_target {
  void* dst = nullptr;                     // u8 or f32, first element of the tile
  const std::uint8_t* residual = nullptr;  // same position in the second source
  std::int64_t stride = 0;                 // elements from row to row, of both
  const std::int64_t* offset = nullptr;    // [rows] elements to each row instead, where rows jump
  std::int64_t rows = 0, columns = 0;

  PTQ_ALWAYS_INLINE std::int64_t at(std::int64_t row) const {
    return offset ? offset[row] : row * stride;
  }
};

template <class Isa>
PTQ_ALWAYS_INLINE epilogue_rule make_rule(const kernels::int_epilogue& e) {
  epilogue_rule r;
  if (e.to_float) {
    r.what = epilogue_rule::kind::reals;
    r.low = e.float_low;
    r.high = e.float_high;
    return r;
  }
  r.what = e.add ? epilogue_rule::kind::codes_added : epilogue_rule::kind::codes;
  r.low = static_cast<float>(e.low - e.zero_point);
  r.high = static_cast<float>(e.high - e.zero_point);
  r.zero_point = e.zero_point;
  r.residual_first = e.residual_first;
  r.q_multiplier = e.residual_first ? e.sum.second : e.sum.first;
  r.r_multiplier = e.residual_first ? e.sum.first : e.sum.second;
  r.constant = e.sum.constant;
  r.y_high = static_cast<float>(e.sum.high);
  r.least_code = e.add ? e.sum.low : e.low;
  r.most_code = e.add ? e.sum.high : e.high;
  r.function = e.function;
  r.guarded = e.amplifies;
  for (const float m : e.multiplier) r.guarded |= !(m > -1.0f && m < 1.0f);  // as kernels::amplifying, which is no template
  const auto magnitude = [](float x) PTQ_INLINE_LAMBDA { return x < 0 ? -x : x; };
  if (e.add)
    r.guarded = !(magnitude(r.constant) + 255 * (magnitude(e.sum.first) + magnitude(e.sum.second)) <
                  1073741824.0f);
  return r;
}

/// A rule in registers of S.
template <class S>
struct epilogue {
  using ints = typename S::ints;
  using floats = typename S::floats;
  const epilogue_rule rule;  // a copy: stores of codes may alias anything that is not local
  const bool added, bare;
  const floats low, high;
  const ints zero_point, least_code, most_code;  // as `pack` takes them

  /// Codes from 0 to 255 with zero point 0: what packing saturates to.
  static PTQ_ALWAYS_INLINE bool is_bare(const epilogue_rule& r) {
    return (r.what == epilogue_rule::kind::codes_added || r.zero_point == 0) && r.least_code == 0 &&
           r.most_code == 255;
  }

  PTQ_ALWAYS_INLINE explicit epilogue(const epilogue_rule& r)
      : rule(r),
        added(r.what == epilogue_rule::kind::codes_added),
        bare(is_bare(r)),
        low(S::set(r.low)),
        high(S::set(r.high)),
        zero_point(S::set_words(added ? 0 : r.zero_point)),
        least_code(S::set_bytes(r.least_code)),
        most_code(S::set_bytes(r.most_code)) {}

  PTQ_ALWAYS_INLINE floats real(ints acc, floats multiplier) const {
    return S::clamp(S::multiply(S::to_float(acc), multiplier), low, high);
  }
  /// The rounded products of Count registers, for `pack`. Bounds are met there: rounding keeps
  /// order.
  template <int Count, bool Guarded>
  PTQ_ALWAYS_INLINE void rounded(const ints* acc, const float* multiplier, ints* code) const {
    unrolled<Count>([&](auto v) PTQ_INLINE_LAMBDA {
      constexpr int i = decltype(v)::value;
      floats x = S::multiply(S::to_float(acc[i]), S::load(multiplier + i * S::lanes));
      if constexpr (Guarded) x = S::least(x, high);
      code[i] = S::round(x);
    });
  }
  /// The rounded values of the rule's function (elementary.hpp), divided by the scale as quantization divides:
  /// code(at) = those of acc(at) for all places that each(place) goes through.
  template <class Each, class Sum, class Store>
  PTQ_ALWAYS_INLINE void shaped(Each each, Sum real_sum, Store code) const {
    using isa = typename S::isa;
    const floats scale = S::set(rule.function.scale);
    const auto with = [&](auto f) PTQ_INLINE_LAMBDA {
      each([&](auto v) PTQ_INLINE_LAMBDA {
        code(v, S::round(S::least(S::divide(f(real_sum(v)), scale), high)));
      });
    };
    if (rule.function.what == kernels::epilogue_function::kind::leaky_relu) {
      const floats alpha = S::set(rule.function.alpha);
      with([&](floats x) PTQ_INLINE_LAMBDA { return S::greatest(x, S::multiply(x, alpha)); });
    } else {
      const floats sixth = S::set(1.0f / 6.0f), half = S::set(0.5f), zero = S::set(0.0f), one = S::set(1.0f);
      with([&](floats x) PTQ_INLINE_LAMBDA {
        return S::multiply(x, S::clamp(fused<isa>(x, sixth, half), zero, one));
      });
    }
  }
  template <int Count>
  PTQ_ALWAYS_INLINE void shaped(const ints* acc, const float* multiplier, ints* code) const {
    shaped([](auto f) PTQ_INLINE_LAMBDA { unrolled<Count>(f); },
           [&](auto v) PTQ_INLINE_LAMBDA {
             constexpr int i = decltype(v)::value;
             return S::multiply(S::to_float(acc[i]), S::load(multiplier + i * S::lanes));
           },
           [&](auto v, ints x) PTQ_INLINE_LAMBDA { code[decltype(v)::value] = x; });
  }
  template <int Count>
  PTQ_ALWAYS_INLINE void rounded(const ints* acc, const float* multiplier, ints* code) const {
    if (rule.shaped()) return shaped<Count>(acc, multiplier, code);
    rule.guarded ? rounded<Count, true>(acc, multiplier, code)
                 : rounded<Count, false>(acc, multiplier, code);
  }
  /// The rounded sums with the residual's codes r, for `pack`.
  template <int Count, bool ResidualFirst, bool Guarded>
  PTQ_ALWAYS_INLINE void sums(const ints* acc, const float* multiplier, const ints* r,
                              ints* code) const {
    using isa = typename S::isa;
    const floats zero = S::set(static_cast<float>(rule.zero_point)),
                 constant = S::set(rule.constant);
    const floats q_multiplier = S::set(rule.q_multiplier), r_multiplier = S::set(rule.r_multiplier);
    unrolled<Count>([&](auto v) PTQ_INLINE_LAMBDA {
      constexpr int i = decltype(v)::value;
      const floats q = S::add(S::nearest(real(acc[i], S::load(multiplier + i * S::lanes))), zero);
      const floats other = S::to_float(r[i]);
      floats sum;
      if constexpr (ResidualFirst)
        sum = fused<isa>(other, r_multiplier, fused<isa>(q, q_multiplier, constant));
      else
        sum = fused<isa>(q, q_multiplier, fused<isa>(other, r_multiplier, constant));
      if constexpr (Guarded) sum = S::least(sum, S::set(rule.y_high));
      code[i] = S::round(sum);
    });
  }
  template <int Count>
  PTQ_ALWAYS_INLINE void sums(const ints* acc, const float* multiplier, const ints* r,
                              ints* code) const {
    if (rule.guarded)
      rule.residual_first ? sums<Count, true, true>(acc, multiplier, r, code)
                          : sums<Count, false, true>(acc, multiplier, r, code);
    else
      rule.residual_first ? sums<Count, true, false>(acc, multiplier, r, code)
                          : sums<Count, false, false>(acc, multiplier, r, code);
  }
  template <bool Bare>
  PTQ_ALWAYS_INLINE ints packed(const ints (&code)[4]) const {
    if constexpr (Bare) return S::pack(code);
    return S::pack(code, zero_point, least_code, most_code);
  }
  PTQ_ALWAYS_INLINE ints packed(const ints (&code)[4]) const {
    return bare ? packed<true>(code) : packed<false>(code);
  }
};

/// The largest power of two below `width`.
constexpr int largest_part(int width) {
  int p = 1;
  while (2 * p < width) p *= 2;
  return p;
}

/// Copies n < 2 · Largest bytes (Largest a power of two) without a call.
template <class S, int Largest>
PTQ_ALWAYS_INLINE void copy_few(void* to, const void* from, std::int64_t n) {
  auto* t = static_cast<std::uint8_t*>(to);
  const auto* f = static_cast<const std::uint8_t*>(from);
  if constexpr (Largest > 1) {
    if (n & Largest) {
      std::memcpy(t, f, Largest);
      t += Largest;
      f += Largest;
    }
    copy_few<S, Largest / 2>(t, f, n);
  } else if (n & 1) {
    *t = *f;
  }
}

/// Rows of a tile that are packed at once.
template <class S, int Vectors>
inline constexpr int rows_per_pack = 4 / Vectors;

/// Stores a whole tile of plain codes (epilogue_rule::plain): no branch.
template <class S, int Rows, int Vectors, bool Bare, class Accumulators>
PTQ_ALWAYS_INLINE void store_plain(const Accumulators& acc, const epilogue<S>& e,
                                   const float* multiplier, std::uint8_t* dst,
                                   std::int64_t stride) {
  using ints = typename S::ints;
  constexpr int together = rows_per_pack<S, Vectors>;
  unrolled<(Rows + together - 1) / together>([&](auto g) PTQ_INLINE_LAMBDA {
    constexpr int first = decltype(g)::value * together;
    constexpr int rows = Rows - first < together ? Rows - first : together;
    ints code[4];
    unrolled<rows>([&](auto r) PTQ_INLINE_LAMBDA {
      constexpr int row = decltype(r)::value;
      e.template rounded<Vectors, false>(acc[first + row], multiplier, code + row * Vectors);
    });
    // registers that the rows lack: any will do
    unrolled<4 - rows * Vectors>(
        [&](auto v) PTQ_INLINE_LAMBDA { code[rows * Vectors + decltype(v)::value] = code[0]; });
    const ints packed = e.template packed<Bare>(code);
    unrolled<rows>([&](auto r) PTQ_INLINE_LAMBDA {
      constexpr int row = decltype(r)::value;
      S::template store_codes<Vectors, row * Vectors>(dst, packed);
      dst += stride;
    });
  });
}

/// Stores the tile of Rows × (Vectors · lanes) accumulators whose first row is row `from` of the target;
/// `multiplier` has the tile's columns, padding included.
///
/// to  a copy that is local: stores of codes may alias anything else
template <class S, int Rows, int Vectors, class Accumulators>
PTQ_ALWAYS_INLINE void store_tile(const Accumulators& acc, const epilogue<S>& e,
                                  const float* multiplier, const tile_target& to,
                                  std::int64_t from) {
  using ints = typename S::ints;
  constexpr int width = Vectors * S::lanes;
  const bool whole = to.columns == width;
  const std::int64_t left = to.rows - from;
  if (e.rule.what == epilogue_rule::kind::reals) {
    unrolled<Rows>([&](auto r) PTQ_INLINE_LAMBDA {
      constexpr int row = decltype(r)::value;
      if (row >= left) return;
      float* y = static_cast<float*>(to.dst) + to.at(from + row);
      float few[width];
      float* out = whole ? y : few;
      unrolled<Vectors>([&](auto v) PTQ_INLINE_LAMBDA {
        constexpr int i = decltype(v)::value;
        S::store(out + i * S::lanes, e.real(acc[row][i], S::load(multiplier + i * S::lanes)));
      });
      if (!whole) copy_few<S, largest_part(4 * width)>(y, few, 4 * to.columns);
    });
    return;
  }
  // as many rows as fill the four registers that `pack` takes, see rows_per_pack
  constexpr int together = rows_per_pack<S, Vectors>;
  unrolled<(Rows + together - 1) / together>([&](auto g) PTQ_INLINE_LAMBDA {
    constexpr int first = decltype(g)::value * together;
    constexpr int rows = Rows - first < together ? Rows - first : together;
    if (first >= left) return;
    std::uint8_t few[width];
    ints code[4];
    unrolled<rows>([&](auto r) PTQ_INLINE_LAMBDA {
      constexpr int row = first + decltype(r)::value, at = decltype(r)::value * Vectors;
      if (!e.added) return e.template rounded<Vectors>(acc[row], multiplier, code + at);
      const std::uint8_t* x = to.residual + to.at(from + row < to.rows ? from + row : to.rows - 1);
      if (!whole) {
        std::memset(few, 0, sizeof few);
        copy_few<S, largest_part(width)>(few, x, to.columns);
        x = few;
      }
      ints residual[Vectors];
      unrolled<Vectors>([&](auto v) PTQ_INLINE_LAMBDA {
        constexpr int i = decltype(v)::value;
        residual[i] = S::load_codes(x + i * S::lanes);
      });
      e.template sums<Vectors>(acc[row], multiplier, residual, code + at);
    });
    // registers that the rows lack: any will do
    unrolled<4 - rows * Vectors>(
        [&](auto v) PTQ_INLINE_LAMBDA { code[rows * Vectors + decltype(v)::value] = code[0]; });
    const ints packed = e.packed(code);
    unrolled<rows>([&](auto r) PTQ_INLINE_LAMBDA {
      constexpr int row = first + decltype(r)::value, at = decltype(r)::value * Vectors;
      if (row >= left) return;
      std::uint8_t* y = static_cast<std::uint8_t*>(to.dst) + to.at(from + row);
      S::template store_codes<Vectors, at>(whole ? y : few, packed);
      if (!whole) copy_few<S, largest_part(width)>(y, few, to.columns);
    });
  });
}
template <class S, int Rows, int Vectors, class Accumulators>
PTQ_ALWAYS_INLINE void store_tile(const Accumulators& acc, const epilogue_rule& rule,
                                  const float* multiplier, const tile_target& target) {
  const tile_target to = target;
  const epilogue<S> e(rule);
  store_tile<S, Rows, Vectors>(acc, e, multiplier, to, 0);
}

}  // namespace ptq::native
