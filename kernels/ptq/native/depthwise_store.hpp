#pragma once
// SPDX-License-Identifier: Apache-2.0
// Sums of a depthwise walk (depthwise_walk.hpp), and where they go: one pixel of each part.

#include <cstdint>
#include <cstring>

#include <ptq/native/depthwise_columns.hpp>
#include <ptq/native/epilogue.hpp>
#include <ptq/native/gemm.hpp>

namespace ptq::native {

/// `bare` and `codes`: codes whose products fit int32, without residual or function. `shaped`: codes of a function.
/// `any`: every other result.
enum class depthwise_output { bare, codes, shaped, any };

template <class S, int Parts, depthwise_output Output>
struct depthwise_store {
  using ints = typename S::ints;
  static constexpr int width = 4 * S::lanes, part = width / Parts;

  const depthwise_run& run;  // only `any` reads it at every pixel
  std::uint8_t* dst;
  std::int64_t stride, pixels, columns, skip;
  depthwise_places<Parts> place;
  epilogue<S> e;

  PTQ_ALWAYS_INLINE explicit depthwise_store(const depthwise_run& r)
      : run(r),
        dst(static_cast<std::uint8_t*>(r.to.dst)),
        stride(r.to.stride),
        pixels(r.pixels),
        columns(r.to.columns),
        skip(r.skip),
        place(r),
        e(r.conv->rule) {}

  /// What `put` takes of register J of Count pixels; as soon as it is complete, for the loads and
  /// registers that this saves.
  template <int J, int Count>
  PTQ_ALWAYS_INLINE void complete(ints (&acc)[Count][4], const float* multiplier) const {
    if constexpr (Output == depthwise_output::shaped) {
      const auto m = S::load(multiplier + J * S::lanes);
      e.shaped([](auto f) PTQ_INLINE_LAMBDA { unrolled<Count>(f); },
               [&](auto v) PTQ_INLINE_LAMBDA { return S::multiply(S::to_float(acc[decltype(v)::value][J]), m); },
               [&](auto v, ints x) PTQ_INLINE_LAMBDA { acc[decltype(v)::value][J] = x; });
    } else if constexpr (Output != depthwise_output::any) {
      const auto m = S::load(multiplier + J * S::lanes);
      unrolled<Count>([&](auto v) PTQ_INLINE_LAMBDA {
        constexpr int p = decltype(v)::value;
        acc[p][J] = S::round(S::multiply(S::to_float(acc[p][J]), m));
        if constexpr (Count > 1) acc[p][J] = in_register(acc[p][J]);
      });
    }
  }

  PTQ_ALWAYS_INLINE void put(const ints (&x)[4], std::int64_t at) const {
    if constexpr (Output == depthwise_output::any) {
      const ints spilled[4] = {x[0], x[1], x[2], x[3]};  // the accumulators stay in registers
      return put_any(run, spilled, at);
    } else {
      const ints packed = e.template packed<Output == depthwise_output::bare>(x);
      if (Parts == 1 && skip == 0) return S::store(dst + at * stride, packed);
      std::uint8_t all[width];
      if (columns - skip == part && pixel(at, Parts - 1) < pixels) {
        std::uint8_t* const y = dst + at * place.step * stride;
        if (part == 8 && place.dense) return S::store(y, packed);
        S::store(all, packed);
        unrolled<Parts>([&](auto v) PTQ_INLINE_LAMBDA {
          constexpr int i = decltype(v)::value;
          std::memcpy(y + i * place.apart * stride, all + i * part, part);
        });
      } else {
        S::store(all, packed);
        put_some(run, all, at);
      }
    }
  }
  PTQ_ALWAYS_INLINE std::int64_t pixel(std::int64_t at, int i) const {
    return at * place.step + i * place.apart;
  }

  /// Parts of which some channels are not stored, or that lie beyond the run.
  [[gnu::noinline]] static void put_some(const depthwise_run& r, const std::uint8_t* all,
                                         std::int64_t at) {
    const depthwise_places<Parts> place(r);
    const std::int64_t n = r.to.columns - r.skip;
    std::int64_t pixel = at * place.step;
    for (int i = 0; i < Parts && pixel < r.pixels; ++i, pixel += place.apart) {
      std::uint8_t* const y = static_cast<std::uint8_t*>(r.to.dst) + pixel * r.to.stride + r.skip;
      if (n == part)
        std::memcpy(y, all + i * part, part);
      else
        copy_few<S, largest_part(part)>(y, all + i * part + r.skip, n);
    }
  }

  [[gnu::noinline]] static void put_any(const depthwise_run& r, const ints (&acc)[4],
                                        std::int64_t at) {
    const depthwise_store to(r);
    if (to.e.rule.what == epilogue_rule::kind::reals) return to.put_reals(r, acc, at);
    ints code[4];
    if (to.e.added) {
      const std::uint8_t* p[Parts];
      for (int i = 0; i < Parts; ++i)
        p[i] = to.pixel(at, i) < to.pixels ? r.to.residual + to.pixel(at, i) * to.stride
                                           : r.conv->padding;
      const std::int64_t few = to.columns < part ? to.columns : part;
      const ints x[4] = {load_parts<S>(p, few), S::zero(), S::zero(), S::zero()};
      ints residual[4];
      S::interleave(x, residual);
      to.e.template sums<4>(acc, r.multiplier, residual, code);
    } else {
      to.e.template rounded<4>(acc, r.multiplier, code);
    }
    std::uint8_t all[width];
    S::store(all, to.e.packed(code));
    put_some(r, all, at);
  }

  PTQ_ALWAYS_INLINE void put_reals(const depthwise_run& r, const ints (&acc)[4],
                                   std::int64_t at) const {
    float lane[width];  // register by register: 16 channels are four lanes of each
    unrolled<4>([&](auto v) PTQ_INLINE_LAMBDA {
      constexpr int j = decltype(v)::value;
      S::store(lane + j * S::lanes, e.real(acc[j], S::load(r.multiplier + j * S::lanes)));
    });
    for (int i = 0; i < Parts && pixel(at, i) < pixels; ++i) {
      float* y = static_cast<float*>(r.to.dst) + pixel(at, i) * stride;
      for (std::int64_t c = skip; c < columns;) {
        const std::int64_t l = i * part + c;
        const float* from = lane + l % 16 / 4 * S::lanes + l / 16 * 4 + l % 4;
        const bool four = l % 4 == 0 && c + 4 <= columns;
        four ? std::memcpy(y + c, from, 4 * sizeof(float))
             : std::memcpy(y + c, from, sizeof(float));
        c += four ? 4 : 1;
      }
    }
  }
};

/// What every walk has: where a block's bytes come from, its sums, and where these go.
template <class S, class Way, int Parts, depthwise_output Output>
struct depthwise_pixels {
  using ints = typename S::ints;
  static constexpr int width = 4 * S::lanes;
  static constexpr bool many_registers = register_bytes<typename S::isa> == 64;

  // local copies: stores of codes may alias anything else
  const depthwise_columns<S, Parts> source;
  const depthwise_store<S, Parts, Output> to;
  const std::int8_t* const weights;
  const std::int32_t* const bias;
  const float* const multiplier;

  PTQ_ALWAYS_INLINE explicit depthwise_pixels(const depthwise_run& r)
      : source(r), to(r), weights(r.weights), bias(r.bias), multiplier(r.multiplier) {}

  /// Adds to register J of Count pixels a slot group of each, x(pixel), times w.
  template <int J, int Count, class Codes>
  static PTQ_ALWAYS_INLINE void add_group(ints (&acc)[Count][4], const std::int8_t* w, Codes x) {
    unrolled<Way::steps>([&](auto s) PTQ_INLINE_LAMBDA {
      constexpr int half = decltype(s)::value;
      ints shared = S::load(w + (J * Way::steps + half) * width);
      if constexpr (Count > 1) shared = in_register(shared);  // else an operand in memory
      unrolled<Count>([&](auto p) PTQ_INLINE_LAMBDA {
        constexpr int i = decltype(p)::value;
        if constexpr (std::is_same_v<Way, words>)
          acc[i][J] = S::dot2(acc[i][J], x(p), shared);
        else if constexpr (Way::steps == 1)
          acc[i][J] = S::dot4(acc[i][J], x(p), shared);
        else
          acc[i][J] = S::dot2(acc[i][J], S::template split<half>(x(p)), shared);
        if constexpr (Count > 1) acc[i][J] = in_register(acc[i][J]);
      });
    });
  }
  template <int J, int Count>
  PTQ_ALWAYS_INLINE void start(ints (&acc)[Count][4]) const {
    const ints x = in_register(S::load(bias + J * S::lanes));
    unrolled<Count>([&](auto p) PTQ_INLINE_LAMBDA { acc[decltype(p)::value][J] = x; });
  }
};

}  // namespace ptq::native
