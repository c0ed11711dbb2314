#pragma once
// SPDX-License-Identifier: Apache-2.0
// Depthwise walks whose columns stay in registers: 3×3, where neighbouring pixels share them, and
// filters of one slot group, of which no column serves two pixels.

#include <cstdint>

#include <ptq/native/depthwise_columns.hpp>
#include <ptq/native/depthwise_store.hpp>
#include <ptq/native/dot.hpp>

namespace ptq::native {

template <class S, class Way, int Parts, depthwise_output Output>
struct depthwise_three : depthwise_pixels<S, Way, Parts, Output> {
  using base = depthwise_pixels<S, Way, Parts, Output>;
  using base::base, base::bias, base::many_registers, base::multiplier, base::source, base::to,
      base::weights, base::width;
  using typename base::ints;

  /// Columns of three rows, one after the other.
  struct three_rows {
    const depthwise_columns<S, Parts>& source;
    const std::uint8_t* row[3];
    std::int64_t column = 0, place;

    PTQ_ALWAYS_INLINE three_rows(const depthwise_columns<S, Parts>& from, const depthwise_run& r)
        : source(from), row{r.row[0], r.row[1], r.row[2]}, place(from.to(0)) {}

    PTQ_ALWAYS_INLINE void next(ints* out) {
      if (column >= source.first_inside(0) && column < source.last_inside(0)) {
        const ints middle = source.at(row[1], place);
        const ints t[4] = {source.at(row[0], place), middle, source.at(row[2], place), middle};
        S::interleave(t, out);
      } else if constexpr (Parts == 1) {
        unrolled<4>([&](auto v) PTQ_INLINE_LAMBDA { out[decltype(v)::value] = source.padding; });
      } else {
        const ints middle = source.anywhere(row[1], column, 0);
        const ints t[4] = {source.anywhere(row[0], column, 0), middle,
                           source.anywhere(row[2], column, 0), middle};
        S::interleave(t, out);
      }
      ++column;
      place += source.pitch;
    }
    PTQ_ALWAYS_INLINE void skip(std::int64_t columns) {
      column += columns;
      place += columns * source.pitch;
    }
  };

  /// Neighbouring pixels: the columns of pixel p are those from p · Stride on.
  template <int Stride, int Columns>
  PTQ_ALWAYS_INLINE void pixels3(std::int64_t& pixel, const ints* const (&column)[Columns]) const {
    constexpr int count = (Columns - 3) / Stride + 1;
    ints acc[count][4];
    unrolled<4>([&](auto v) PTQ_INLINE_LAMBDA {
      constexpr int j = decltype(v)::value;
      this->template start<j>(acc);
      unrolled<3>([&](auto k) PTQ_INLINE_LAMBDA {
        constexpr int tap = decltype(k)::value;
        this->template add_group<j>(
            acc, weights + tap * depthwise_group_bytes<S, Way>,
            [&](auto p) PTQ_INLINE_LAMBDA { return column[decltype(p)::value * Stride + tap][j]; });
      });
      to.template complete<j>(acc, multiplier);
    });
    unrolled<count>([&](auto p) PTQ_INLINE_LAMBDA { to.put(acc[decltype(p)::value], pixel++); });
  }

  /// Pixels in pairs, where there are 32 registers. Stride: 3 is any that shares no columns.
  template <int Stride>
  PTQ_ALWAYS_INLINE void walk3(const depthwise_run& r) const {
    three_rows from(source, r);
    std::int64_t pixel = 0;
    const std::int64_t count = to.place.count;
    ints a[4], b[4], c[4];
    from.next(a);
    if constexpr (many_registers && Way::steps == 1 && Stride == 1) {
      ints d[4];
      from.next(b);
      while (count - pixel >= 2) {
        from.next(c);
        from.next(d);
        pixels3<1>(pixel, {a, b, c, d});
        if (count - pixel < 2) {
          if (pixel == count) return;
          from.next(a);
          return pixels3<1>(pixel, {c, d, a});
        }
        from.next(a);
        from.next(b);
        pixels3<1>(pixel, {c, d, a, b});
      }
      if (pixel == count) return;
      from.next(c);
      pixels3<1>(pixel, {a, b, c});
    } else if constexpr (many_registers && Way::steps == 1 && Stride == 2) {
      ints d[4], f[4];
      while (count - pixel >= 2) {
        from.next(b);
        from.next(c);
        from.next(d);
        from.next(f);
        pixels3<2>(pixel, {a, b, c, d, f});
        unrolled<4>([&](auto v)
                        PTQ_INLINE_LAMBDA { a[decltype(v)::value] = f[decltype(v)::value]; });
      }
      if (pixel == count) return;
      from.next(b);
      from.next(c);
      pixels3<2>(pixel, {a, b, c});
    } else if constexpr (Stride == 1) {
      from.next(b);
      for (;;) {
        from.next(c);
        pixels3<1>(pixel, {a, b, c});
        if (pixel == count) return;
        from.next(a);
        pixels3<1>(pixel, {b, c, a});
        if (pixel == count) return;
        from.next(b);
        pixels3<1>(pixel, {c, a, b});
        if (pixel == count) return;
      }
    } else if constexpr (Stride == 2) {
      for (;;) {
        from.next(b);
        from.next(c);
        pixels3<2>(pixel, {a, b, c});
        if (pixel == count) return;
        from.next(b);
        from.next(a);
        pixels3<2>(pixel, {c, b, a});
        if (pixel == count) return;
      }
    } else {
      for (;;) {
        from.next(b);
        from.next(c);
        pixels3<1>(pixel, {a, b, c});
        if (pixel == count) return;
        from.skip(source.stride - 3);
        from.next(a);
      }
    }
  }

  /// Parts that are neighbours: no column serves two registers, and one load is all parts.
  PTQ_ALWAYS_INLINE void walk_dense(const depthwise_run& r) const {
    const std::uint8_t* const row[3] = {r.row[0], r.row[1], r.row[2]};
    std::int64_t column = 0, place = source.to(0);
    for (std::int64_t at = 0; at < to.place.count; column += Parts, place += Parts * source.pitch) {
      const bool inside = column >= source.first && column + Parts + 1 < source.last;
      ints x[3][4];
      unrolled<3>([&](auto k) PTQ_INLINE_LAMBDA {
        constexpr int tap = decltype(k)::value;
        ints t[4];
        unrolled<3>([&](auto v) PTQ_INLINE_LAMBDA {
          constexpr int j = decltype(v)::value;
          t[j] = in_register(inside ? S::load(row[j] + place + tap * source.pitch)
                                    : source.anywhere_dense(row[j], column + tap));
        });
        t[3] = t[1];
        S::interleave(t, x[tap]);
      });
      pixels3<1>(at, {x[0], x[1], x[2]});
    }
  }

  /// One slot group: its columns are the pixel's.
  PTQ_ALWAYS_INLINE void walk_single(const depthwise_run& r) const {
    const std::uint8_t* const row[4] = {r.row[0], r.row[1], r.row[2], r.row[3]};
    const depthwise_slot* slot = r.conv->slot;
    const std::int64_t right = slot[taps_per_group<typename S::isa, Way> - 1].right;
    const std::int64_t inner = source.first_inside(0), outer = source.last_inside(right);
    std::int64_t column = 0;
    for (std::int64_t at = 0; at < to.place.count; ++at, column += source.stride) {
      ints t[4], x[4], acc[1][4];
      if (column >= inner && column < outer) {
        const std::int64_t place = source.to(column);
        unrolled<4>([&](auto v) PTQ_INLINE_LAMBDA {
          t[decltype(v)::value] = source.at(row[decltype(v)::value], place);
        });
      } else {
        for (int j = 0; j < 4; ++j) t[j] = source.anywhere(row[j], column, slot[j].right);
      }
      S::interleave(t, x);
      unrolled<4>([&](auto v) PTQ_INLINE_LAMBDA {
        constexpr int j = decltype(v)::value;
        this->template start<j>(acc);
        this->template add_group<j>(acc, weights, [&](auto) PTQ_INLINE_LAMBDA { return x[j]; });
        to.template complete<j>(acc, multiplier);
      });
      to.put(acc[0], at);
    }
  }

  // apart from each other, each with all registers
  template <int Stride>
  [[gnu::noinline]] static void run(const depthwise_run& r) {
    depthwise_three(r).template walk3<Stride>(r);
  }
  [[gnu::noinline]] static void run_dense(const depthwise_run& r) {
    depthwise_three(r).walk_dense(r);
  }
  [[gnu::noinline]] static void run_single(const depthwise_run& r) {
    depthwise_three(r).walk_single(r);
  }
};

}  // namespace ptq::native
