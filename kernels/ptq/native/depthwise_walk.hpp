#pragma once
// SPDX-License-Identifier: Apache-2.0
// A depthwise convolution along one output row, for one block of channels. Each column of the image
// is interleaved once: the bytes of a slot group (depthwise_pack.hpp) become a dword for each
// channel, eight unpacks per group, and serve all the output pixels that they touch. The unpacks
// leave channels in the order that packing restores for free when the codes are stored.
//
// A 3×3 filter's columns stay in registers. Those of any other filter lie in a buffer in the first
// cache, made just before the pixels that read them, so that unpacks run beside products.
// Neighbouring pixels share the loads of weights.

#include <cstdint>
#include <cstring>

#include <ptq/native/depthwise_columns.hpp>
#include <ptq/native/depthwise_pack.hpp>
#include <ptq/native/depthwise_store.hpp>
#include <ptq/native/dot.hpp>
#include <ptq/native/gemm.hpp>

namespace ptq::native {

using depthwise_walk_function = void (*)(const depthwise_run&);

template <class S, class Way, int Parts, depthwise_output Output>
struct depthwise_walk {
  using ints = typename S::ints;
  static constexpr int width = 4 * S::lanes;
  static constexpr bool many_registers = register_bytes<typename S::isa> == 64;

  // local copies: stores of codes may alias anything else
  const depthwise_columns<S, Parts> source;
  const depthwise_store<S, Parts, Output> to;
  const std::int8_t* const weights;
  const std::int32_t* const bias;
  const float* const multiplier;

  PTQ_ALWAYS_INLINE explicit depthwise_walk(const depthwise_run& r)
      : source(r), to(r), weights(r.weights), bias(r.bias), multiplier(r.multiplier) {}

  /// Adds to register J of Count pixels a slot group of each, x(pixel), times w.
  template <int J, int Count, class Codes>
  static PTQ_ALWAYS_INLINE void add_group(ints (&acc)[Count][4], const std::int8_t* w, Codes x) {
    unrolled<Way::steps>([&](auto s) PTQ_INLINE_LAMBDA {
      constexpr int half = decltype(s)::value;
      const ints shared = in_register(S::load(w + (J * Way::steps + half) * width));
      unrolled<Count>([&](auto p) PTQ_INLINE_LAMBDA {
        constexpr int i = decltype(p)::value;
        if constexpr (Way::steps == 1)
          acc[i][J] = in_register(S::dot4(acc[i][J], x(p), shared));
        else
          acc[i][J] = in_register(S::dot2(acc[i][J], S::template split<half>(x(p)), shared));
      });
    });
  }
  template <int J, int Count>
  PTQ_ALWAYS_INLINE void start(ints (&acc)[Count][4]) const {
    const ints x = in_register(S::load(bias + J * S::lanes));
    unrolled<Count>([&](auto p) PTQ_INLINE_LAMBDA { acc[decltype(p)::value][J] = x; });
  }

  // ---- 3×3 ----

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
      start<j>(acc);
      unrolled<3>([&](auto k) PTQ_INLINE_LAMBDA {
        constexpr int tap = decltype(k)::value;
        add_group<j>(acc, weights + tap * depthwise_group_bytes<S, Way>,
                     [&](auto p) PTQ_INLINE_LAMBDA {
                       return column[decltype(p)::value * Stride + tap][j];
                     });
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

  // ---- any filter ----

  /// Pixels that share weights: their accumulators fill half the registers.
  static constexpr int together = many_registers ? 4 : 2;

  static PTQ_ALWAYS_INLINE void keep(const ints (&x)[4], std::uint8_t* at) {
    unrolled<4>([&](auto v) PTQ_INLINE_LAMBDA {
      S::store(at + decltype(v)::value * width, x[decltype(v)::value]);
    });
  }

  /// Of slot group g, the columns from `column` to `end` that pixels read, to where they lie from
  /// `at` on.
  PTQ_ALWAYS_INLINE void make_columns(const depthwise_run& r, std::int64_t g, std::int64_t column,
                                      std::int64_t end, std::uint8_t* at) const {
    const std::int64_t step = r.conv->every[g], entry = r.conv->groups * 4 * width;
    const depthwise_slot* slot = r.conv->slot + 4 * g;
    // the last slot, but for one that is another's again, is the rightmost
    const std::int64_t right = slot[taps_per_group<typename S::isa> - 1].right;
    const std::uint8_t* const* row = r.row + 4 * g;
    const std::uint8_t* const from[4] = {row[0], row[1], row[2], row[3]};
    const std::int64_t inner = source.first_inside(0), outer = source.last_inside(right);
    std::int64_t place = source.to(column);
    at += column * entry;
    while (column < end) {
      ints t[4], out[4];
      if (column < inner || column >= outer) {
        if (Parts == 1 && right == 0) {
          unrolled<4>([&](auto v) PTQ_INLINE_LAMBDA { out[decltype(v)::value] = source.padding; });
          keep(out, at);
        } else {
          make_border(r, g, column, at);
        }
        column += step, place += step * source.pitch, at += step * entry;
        continue;
      }
      const std::int64_t stop = end < outer ? end : outer;
      for (; column < stop; column += step, place += step * source.pitch, at += step * entry) {
        unrolled<4>([&](auto v) PTQ_INLINE_LAMBDA {
          t[decltype(v)::value] = source.at(from[decltype(v)::value], place);
        });
        S::interleave(t, out);
        keep(out, at);
      }
    }
  }
  /// A column some of which is beside the image; apart from the others, which need the registers.
  [[gnu::noinline]] static void make_border(const depthwise_run& r, std::int64_t g,
                                            std::int64_t column, std::uint8_t* at) {
    const depthwise_columns<S, Parts> source(r);
    ints t[4], out[4];
    for (int j = 0; j < 4; ++j)
      t[j] = source.anywhere(r.row[4 * g + j], column, r.conv->slot[4 * g + j].right);
    S::interleave(t, out);
    keep(out, at);
  }

  /// `Count` neighbours, `pixel` the first; from: its first column in the buffer.
  template <int Count>
  PTQ_ALWAYS_INLINE void pixels(const depthwise_object& d, const std::uint8_t* from,
                                std::int64_t pixel) const {
    const std::int64_t next = source.stride * d.groups * 4 * width, steps = d.steps;
    const std::int64_t* offset = d.offset;
    const std::int8_t* w = weights;
    ints acc[Count][4];
    unrolled<4>([&](auto v) PTQ_INLINE_LAMBDA { start<decltype(v)::value>(acc); });
    for (std::int64_t step = 0; step < steps; ++step, w += depthwise_group_bytes<S, Way>) {
      const std::uint8_t* x = from + offset[step];
      unrolled<4>([&](auto v) PTQ_INLINE_LAMBDA {
        constexpr int j = decltype(v)::value;
        add_group<j>(acc, w, [&](auto p) PTQ_INLINE_LAMBDA {
          return S::load(x + decltype(p)::value * next + j * width);
        });
      });
    }
    unrolled<4>([&](auto v) PTQ_INLINE_LAMBDA {
      to.template complete<decltype(v)::value>(acc, multiplier);
    });
    unrolled<Count>([&](auto p) PTQ_INLINE_LAMBDA {
      to.put(acc[decltype(p)::value], pixel + decltype(p)::value);
    });
  }

  PTQ_ALWAYS_INLINE void walk(const depthwise_run& r) const {
    const depthwise_object& d = *r.conv;
    const std::int64_t stride = source.stride, entry = d.groups * 4 * width;
    std::uint8_t* const buffer = r.columns;
    std::int64_t begin = 0, made = 0;  // columns in the buffer: [begin, made)
    for (std::int64_t pixel = 0; pixel < to.place.count;) {
      const std::int64_t rest = to.place.count - pixel;
      const std::int64_t n = rest >= together ? together : rest >= 2 ? 2 : 1;
      const std::int64_t first = pixel * stride, end = first + (n - 1) * stride + d.g.kernel_w;
      if (made < first) made = first;  // columns that a stride leaves out
      if (end - begin > d.room) {
        std::memmove(buffer, buffer + (first - begin) * entry,
                     static_cast<std::size_t>((made - first) * entry));
        begin = first;
      }
      for (std::int64_t g = 0; g < d.groups; ++g) {
        std::int64_t column = d.every[g] == 1 ? made : first;
        while (column < made) column += stride;
        make_columns(r, g, column, end, buffer + (4 * g * width - begin * entry));
      }
      made = end;
      const std::uint8_t* from = buffer + (first - begin) * entry;
      if (together > 2 && n == together)
        pixels<together>(d, from, pixel);
      else if (n == 2)
        pixels<2>(d, from, pixel);
      else
        pixels<1>(d, from, pixel);
      pixel += n;
    }
  }

  // apart from each other, each with all registers
  template <int Stride>
  [[gnu::noinline]] static void run3(const depthwise_run& r) {
    depthwise_walk(r).template walk3<Stride>(r);
  }
  [[gnu::noinline]] static void run_dense(const depthwise_run& r) { depthwise_walk(r).walk_dense(r); }
  [[gnu::noinline]] static void run_any(const depthwise_run& r) { depthwise_walk(r).walk(r); }

  static PTQ_ALWAYS_INLINE depthwise_walk_function of(const depthwise_object& d) {
    if (!d.three) return run_any;
    if constexpr (width / Parts == 8)
      if (d.dense) return run_dense;
    return d.g.stride_w == 1 ? run3<1> : d.g.stride_w == 2 ? run3<2> : run3<3>;
  }
};

/// The walk of a block's parts and weights, and of what becomes of its results.
template <class Isa>
PTQ_ALWAYS_INLINE depthwise_walk_function walk_of(const depthwise_object& d,
                                                  const depthwise_block& b) {
  using S = depthwise_lanes<Isa>;
  using enum depthwise_output;
  const bool plain = d.rule.what == epilogue_rule::kind::codes && !d.rule.guarded;
  const bool is_bare = plain && epilogue<S>::is_bare(d.rule);
  const auto with = [&]<class Way, int Parts>(Way, constant<Parts>) PTQ_INLINE_LAMBDA {
    return is_bare ? depthwise_walk<S, Way, Parts, bare>::of(d)
           : plain ? depthwise_walk<S, Way, Parts, codes>::of(d)
                   : depthwise_walk<S, Way, Parts, any>::of(d);
  };
  const auto way = [&]<class Way>(Way w) PTQ_INLINE_LAMBDA {
    if constexpr (depthwise_width<Isa> >= 64)
      if (b.parts == 8) return with(w, constant<8>{});
    if constexpr (depthwise_width<Isa> >= 32)
      if (b.parts == 4) return with(w, constant<4>{});
    return b.parts == 2 ? with(w, constant<2>{}) : with(w, constant<1>{});
  };
  if constexpr (has_dpbusd<Isa>)
    return way(quads{});
  else if constexpr (has_pair_add<Isa>)
    return b.quads ? way(quads{}) : way(pairs{});
  else
    return way(pairs{});
}

}  // namespace ptq::native
