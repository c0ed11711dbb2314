#pragma once
// SPDX-License-Identifier: Apache-2.0
// The usual case of a 3×3 depthwise filter: whole registers of channels, codes out, stride 1 or 2.
// One output row is walked column by column, without the other cases' tests.

#include <cstdint>

#include <ptq/native/depthwise_pack.hpp>
#include <ptq/native/dot.hpp>
#include <ptq/native/epilogue.hpp>
#include <ptq/native/gemm.hpp>

namespace ptq::native {

/// One block's run along an output row.
struct depthwise_run {
  const std::uint8_t* const* tap =
      nullptr;  // [slots] at the run's first pixel (3×3: [rows], at column 0)
  const std::int64_t* pitch =
      nullptr;  // [slots] bytes from output pixel to output pixel (3×3: column to column)
  std::int64_t groups = 1, first = 0, count = 0;
  std::int64_t in_w = 0, left = 0,
               stride = 1;  // 3×3 only: image width, column of the first tap of pixel `first`
  // Pixels side by side: `count` counts groups of them, and a block starts at byte `channel` of one.
  std::int64_t side = 1, channel = 0;
  const std::uint8_t* padding = nullptr;
  const std::int8_t* weights = nullptr;
  const std::int32_t* bias = nullptr;
  const float* multiplier = nullptr;
  const epilogue_rule* rule = nullptr;
  std::int64_t skip = 0;  // columns not to store
  tile_target to;         // first pixel; columns of the block
};

/// acc + one group of slots of register J; x: its interleaved activations.
template <class S, class Way, int J>
PTQ_ALWAYS_INLINE typename S::ints multiply_slots(typename S::ints acc, typename S::ints x,
                                                  const std::int8_t* w) {
  unrolled<Way::steps>([&](auto s) PTQ_INLINE_LAMBDA {
    constexpr int step = decltype(s)::value;
    const auto weights = S::load(w + (J * Way::steps + step) * 4 * S::lanes);
    if constexpr (Way::steps == 1)
      acc = S::dot4(acc, x, weights);
    else
      acc = S::dot2(acc, S::template split<step>(x), weights);
  });
  return acc;
}

template <class S, class Way>
struct depthwise_walk {
  using ints = typename S::ints;
  static constexpr int width = 4 * S::lanes;

  /// Columns of three rows, one after the other, padding beside the image.
  struct walking_columns {
    const std::uint8_t* tap[3];
    std::int64_t pitch[3], x, in_w;
    ints padding;

    PTQ_ALWAYS_INLINE explicit walking_columns(const depthwise_run& r)
        : x(r.left), in_w(r.in_w), padding(S::load(r.padding)) {
      unrolled<3>([&](auto v) PTQ_INLINE_LAMBDA {
        constexpr int j = decltype(v)::value;
        tap[j] = r.tap[j] + r.left * r.pitch[j];
        pitch[j] = r.pitch[j];
      });
    }
    PTQ_ALWAYS_INLINE void next(ints* out) {
      const bool inside = static_cast<std::uint64_t>(x++) < static_cast<std::uint64_t>(in_w);
      if (inside) {
        const ints middle = in_register(S::load(tap[1]));
        const ints t[4] = {in_register(S::load(tap[0])), middle, in_register(S::load(tap[2])),
                           middle};
        S::interleave(t, out);
      } else {
        unrolled<4>([&](auto v) PTQ_INLINE_LAMBDA { out[decltype(v)::value] = padding; });
      }
      unrolled<3>([&](auto v) PTQ_INLINE_LAMBDA {
        constexpr int j = decltype(v)::value;
        tap[j] += pitch[j];
      });
    }
  };

  /// Of a run, what all its pixels share: local, as stores of codes may alias anything else.
  struct shared {
    const std::int8_t* weights;
    const std::int32_t* bias;
    const float* multiplier;
    std::int64_t stride;
  };

  /// Neighbouring pixels: the columns of pixel p are those from p · Stride on.
  template <int Stride, bool Bare, int Columns>
  static PTQ_ALWAYS_INLINE void pixels(const shared& r, const epilogue<S>& e, std::uint8_t*& y,
                                       const ints* const (&column)[Columns]) {
    constexpr int count = (Columns - 3) / Stride + 1;
    ints acc[count][4], code[4];
    unrolled<4>([&](auto v) PTQ_INLINE_LAMBDA {
      constexpr int j = decltype(v)::value;
      const ints bias = in_register(S::load(r.bias + j * S::lanes));
      unrolled<count>([&](auto p) PTQ_INLINE_LAMBDA { acc[decltype(p)::value][j] = bias; });
      unrolled<3>([&](auto k) PTQ_INLINE_LAMBDA {
        constexpr int tap = decltype(k)::value;
        const std::int8_t* w = r.weights + tap * depthwise_group_bytes<S, Way>;
        if constexpr (count == 1) {
          acc[0][j] = multiply_slots<S, Way, j>(acc[0][j], column[tap][j], w);
        } else {
          const ints both = in_register(S::load(w + j * width));
          unrolled<count>([&](auto p) PTQ_INLINE_LAMBDA {
            constexpr int pixel = decltype(p)::value;
            acc[pixel][j] = S::dot4(acc[pixel][j], column[pixel * Stride + tap][j], both);
          });
        }
      });
    });
    unrolled<count>([&](auto p) PTQ_INLINE_LAMBDA {
      e.template rounded<4, false>(acc[decltype(p)::value], r.multiplier, code);
      S::store(y, e.template packed<Bare>(code));
      y += r.stride;
    });
  }

  /// Two pixels share the loads of weights where 32 registers hold both.
  static constexpr bool pixel_pairs = register_bytes<typename S::isa> == 64 && Way::steps == 1;

  /// Two at a time, where there are 32 registers, halve the loads.
  template <int Stride, bool Bare>
  static void walk_columns(const depthwise_run& run) {
    const shared r = {run.weights, run.bias, run.multiplier, run.to.stride};
    const epilogue<S> e(*run.rule);
    walking_columns from(run);
    auto* y = static_cast<std::uint8_t*>(run.to.dst);
    std::int64_t left = run.count;
    ints a[4], b[4], c[4];
    from.next(a);
    if constexpr (pixel_pairs && Stride == 1) {
      ints d[4];
      from.next(b);
      for (; left >= 2; left -= 2) {
        from.next(c);
        from.next(d);
        pixels<1, Bare>(r, e, y, {a, b, c, d});
        if ((left -= 2) < 2) {
          if (left == 0) return;
          from.next(a);
          return pixels<1, Bare>(r, e, y, {c, d, a});
        }
        from.next(a);
        from.next(b);
        pixels<1, Bare>(r, e, y, {c, d, a, b});
      }
      if (left == 0) return;
      from.next(c);
      pixels<1, Bare>(r, e, y, {a, b, c});
    } else if constexpr (pixel_pairs) {
      ints d[4], f[4];
      for (; left >= 2; left -= 2) {
        from.next(b);
        from.next(c);
        from.next(d);
        from.next(f);
        pixels<2, Bare>(r, e, y, {a, b, c, d, f});
        unrolled<4>([&](auto v)
                        PTQ_INLINE_LAMBDA { a[decltype(v)::value] = f[decltype(v)::value]; });
      }
      if (left == 0) return;
      from.next(b);
      from.next(c);
      pixels<2, Bare>(r, e, y, {a, b, c});
    } else if constexpr (Stride == 1) {
      from.next(b);
      for (;;) {
        from.next(c);
        pixels<1, Bare>(r, e, y, {a, b, c});
        if (--left == 0) return;
        from.next(a);
        pixels<1, Bare>(r, e, y, {b, c, a});
        if (--left == 0) return;
        from.next(b);
        pixels<1, Bare>(r, e, y, {c, a, b});
        if (--left == 0) return;
      }
    } else {
      for (;;) {
        from.next(b);
        from.next(c);
        pixels<2, Bare>(r, e, y, {a, b, c});
        if (--left == 0) return;
        from.next(b);
        from.next(a);
        pixels<2, Bare>(r, e, y, {c, b, a});
        if (--left == 0) return;
      }
    }
  }

  /// Pixels side by side, stride 1: a register holds a block's bytes of one group of them, and its
  /// columns are the groups one and two pixels further on.
  ///
  /// at  (row, bytes from pixel to pixel, column) → the bytes there, also beside the image
  template <bool Bare, class Border>
  static void walk_groups(const depthwise_run& run, Border at) {
    const shared r = {run.weights, run.bias, run.multiplier, run.to.stride};
    const epilogue<S> e(*run.rule);
    auto* y = static_cast<std::uint8_t*>(run.to.dst);
    const std::int64_t reach = run.side + 1;  // from a group's first column to its last
    const std::uint8_t* const row[3] = {run.tap[0], run.tap[1], run.tap[2]};
    const std::int64_t pitch[3] = {run.pitch[0], run.pitch[1], run.pitch[2]};
    std::int64_t x = run.left;
    for (std::int64_t i = 0; i < run.count; ++i, x += run.side) {
      const bool inside = x >= 0 && x + reach < run.in_w;
      ints column[3][4];
      unrolled<3>([&](auto k) PTQ_INLINE_LAMBDA {
        constexpr int tap = decltype(k)::value;
        ints t[4];
        unrolled<3>([&](auto v) PTQ_INLINE_LAMBDA {
          constexpr int j = decltype(v)::value;
          t[j] = in_register(inside ? S::load(row[j] + (x + tap) * pitch[j])
                                    : at(row[j], pitch[j], x + tap));
        });
        t[3] = t[1];
        S::interleave(t, column[tap]);
      });
      pixels<1, Bare>(r, e, y, {column[0], column[1], column[2]});
    }
  }

  static PTQ_ALWAYS_INLINE bool takes(const depthwise_run& r) {
    return r.rule->what == epilogue_rule::kind::codes && !r.rule->guarded && r.stride <= 2;
  }

  static PTQ_ALWAYS_INLINE void run(const depthwise_run& r) {
    const bool bare = epilogue<S>::is_bare(*r.rule);
    if (r.stride == 1)
      bare ? walk_columns<1, true>(r) : walk_columns<1, false>(r);
    else
      bare ? walk_columns<2, true>(r) : walk_columns<2, false>(r);
  }
};

}  // namespace ptq::native
