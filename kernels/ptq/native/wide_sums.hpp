#pragma once
// SPDX-License-Identifier: Apache-2.0
// From int32 sums of 16-bit products to the destination: what a block of K came to joins the other
// blocks in double, where every sum below 2^53 is exact, and is requantized there as
// requantize_wide says. Sums of a column may come in two parts, of its weights' high and low
// bytes: 256 · high + low.
//
// The product is followed by a clamp, so that no compiler can fuse it with an addition; 256 · high
// + low is exact fused or not. The conversion to integers rounds half to even.

#include <cstdint>

#include <ptq/kernels/args.hpp>
#include <ptq/native/double_lanes.hpp>
#include <ptq/native/epilogue.hpp>

namespace ptq::native {

/// A wide_conv_args' destination, as the arithmetic wants it.
struct wide_rule {
  dtype type = dtype::u16;
  double low = 0, high = 65535;  // lo − z, hi − z
  std::int32_t zero_point = 0;
  float float_low = 0, float_high = 0;

  PTQ_ALWAYS_INLINE std::int64_t element() const {
    return type == dtype::f32 ? 4 : type == dtype::u16 ? 2 : 1;
  }
};

template <class Isa>
PTQ_ALWAYS_INLINE wide_rule make_wide_rule(const kernels::wide_conv_args& a) {
  return {a.y_type,
          static_cast<double>(a.low - a.zero_point),
          static_cast<double>(a.high - a.zero_point),
          a.zero_point,
          a.float_low,
          a.float_high};
}

/// Sums of a tile: rows of `pitch` int32, of a part that of the next `vector_step`, and the low part
/// `part_step` behind the high one; `before`, where not null: what earlier blocks came to, rows of
/// `before_pitch` doubles.
struct wide_tile {
  const std::int32_t* sums = nullptr;
  std::int64_t pitch = 0, vector_step = 0, part_step = 0;
  double* before = nullptr;
  std::int64_t before_pitch = 0;
  std::int64_t rows = 0;
  int vectors = 0;  // of channels
};

/// Half `h` of a channel vector's sums.
template <class Isa, int Parts>
PTQ_ALWAYS_INLINE auto wide_half(const std::int32_t* sums, int h, std::int64_t part_step) {
  using D = double_lanes<Isa, register_bytes<Isa>>;
  const std::int32_t* p = sums + h * D::width;
  if constexpr (Parts == 1)
    return D::of(p);
  else
    return D::add(D::multiply(D::of(p), D::set(256)), D::of(p + part_step));
}

/// Keeps what a block came to, added to what was before it.
template <class Isa, int Parts>
void add_wide_sums(const wide_tile& t, bool first) {
  using D = double_lanes<Isa, register_bytes<Isa>>;
  for (std::int64_t row = 0; row < t.rows; ++row)
    for (int v = 0; v < t.vectors; ++v)
      unrolled<2>([&](auto half) PTQ_INLINE_LAMBDA {
        constexpr int h = decltype(half)::value;
        double* to = t.before + row * t.before_pitch + (2 * v + h) * D::width;
        auto x = wide_half<Isa, Parts>(t.sums + row * t.pitch + v * t.vector_step, h, t.part_step);
        if (!first) x = D::add(x, D::load(to));
        D::store(to, x);
      });
}

/// Where requantized rows go: `columns` of the first row from dst on, `stride` elements apart.
struct wide_target {
  std::byte* dst = nullptr;
  std::int64_t stride = 0, columns = 0;
};

template <class Isa, int Parts, class Y, bool Before>
void store_wide_rows(const wide_tile& t, const wide_rule& given, const double* constant,
                     const double* multiplier, const wide_target& to) {
  using D = double_lanes<Isa, register_bytes<Isa>>;
  using reals = typename D::reals;
  constexpr int lanes = 2 * D::width;
  // copies: stores of codes may alias anything that is not local
  const wide_rule rule = given;
  const std::int64_t rows = t.rows, pitch = t.pitch, before_pitch = t.before_pitch;
  const std::int64_t part_step = t.part_step;
  const std::int64_t stride = to.stride, columns = to.columns;
  const int vectors = t.vectors;
  const reals low = D::set(rule.low), high = D::set(rule.high);
  for (int v = 0; v < vectors; ++v) {
    const std::int32_t* sums = t.sums + v * t.vector_step;
    const double* before = Before ? t.before + v * lanes : nullptr;
    Y* y = reinterpret_cast<Y*>(to.dst) + v * lanes;
    const std::int64_t left = columns - v * lanes;
    reals c[2], m[2];
    unrolled<2>([&](auto half) PTQ_INLINE_LAMBDA {
      constexpr int h = decltype(half)::value;
      c[h] = D::load(constant + (2 * v + h) * D::width);
      m[h] = D::load(multiplier + (2 * v + h) * D::width);
    });
    for (std::int64_t row = 0; row < rows; ++row, sums += pitch, y += stride) {
      reals x[2];
      unrolled<2>([&](auto half) PTQ_INLINE_LAMBDA {
        constexpr int h = decltype(half)::value;
        x[h] = D::add(wide_half<Isa, Parts>(sums, h, part_step), c[h]);
        if constexpr (Before) x[h] = D::add(x[h], D::load(before + h * D::width));
        x[h] = D::multiply(x[h], m[h]);
        if constexpr (sizeof(Y) < 4) x[h] = D::clamp(x[h], low, high);
      });
      if constexpr (Before) before += before_pitch;
      Y few[static_cast<std::size_t>(lanes)];
      Y* out = left < lanes ? few : y;
      if constexpr (sizeof(Y) == 4)
        D::store_reals(out, x[0], x[1], rule.float_low, rule.float_high);
      else
        D::store_codes(out, x[0], x[1], rule.zero_point);
      if (left < lanes)
        copy_few<Isa, lanes* static_cast<int>(sizeof(Y)) / 2>(
            y, few, left * static_cast<std::int64_t>(sizeof(Y)));
    }
  }
}

template <class Isa, int Parts, class Y>
PTQ_ALWAYS_INLINE void store_wide_as(const wide_tile& t, const wide_rule& rule,
                                     const double* constant, const double* multiplier,
                                     const wide_target& to) {
  t.before ? store_wide_rows<Isa, Parts, Y, true>(t, rule, constant, multiplier, to)
           : store_wide_rows<Isa, Parts, Y, false>(t, rule, constant, multiplier, to);
}

/// Requantizes a tile; constant and multiplier have its columns, padding included.
template <class Isa, int Parts>
PTQ_ALWAYS_INLINE void store_wide(const wide_tile& t, const wide_rule& rule, const double* constant,
                                  const double* multiplier, const wide_target& to) {
  if (rule.type == dtype::u16)
    store_wide_as<Isa, Parts, std::uint16_t>(t, rule, constant, multiplier, to);
  else if (rule.type == dtype::f32)
    store_wide_as<Isa, Parts, float>(t, rule, constant, multiplier, to);
  else
    store_wide_as<Isa, Parts, std::uint8_t>(t, rule, constant, multiplier, to);
}

}  // namespace ptq::native
