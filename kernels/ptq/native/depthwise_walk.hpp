#pragma once
// SPDX-License-Identifier: Apache-2.0
// A depthwise convolution along one output row, for one block of channels. Each column of the image
// is interleaved once: the bytes of a slot group (depthwise_pack.hpp) become a dword for each
// channel, eight unpacks per group, and serve all the output pixels that they touch. The unpacks
// leave channels in the order that packing restores for free when the codes are stored.
//
// A 3×3 filter's columns stay in registers (depthwise_three.hpp). Those of any other filter lie in a
// buffer in the first cache, made for a dozen pixels at a time: often enough to stay there, seldom
// enough not to cost more than the products (1.1 to 1.25 of the time if made for two, 5×5, Zen 3).
// Neighbouring pixels share the loads of weights.

#include <cstdint>
#include <cstring>

#include <ptq/native/depthwise_columns.hpp>
#include <ptq/native/depthwise_pack.hpp>
#include <ptq/native/depthwise_store.hpp>
#include <ptq/native/depthwise_three.hpp>
#include <ptq/native/dot.hpp>

namespace ptq::native {

template <class S, class Way, int Parts, depthwise_output Output>
struct depthwise_walk : depthwise_pixels<S, Way, Parts, Output> {
  using base = depthwise_pixels<S, Way, Parts, Output>;
  using base::base, base::bias, base::many_registers, base::multiplier, base::source, base::to,
      base::weights, base::width;
  using typename base::ints;

  /// Pixels that share weights: their accumulators fill 16 of 32 registers, or 12 of 16.
  static constexpr int together = many_registers ? 4 : 3;

  static constexpr int taps = taps_per_group<typename S::isa, Way>;
  static constexpr bool widened = std::is_same_v<Way, words>;

  static PTQ_ALWAYS_INLINE void keep(const ints (&x)[4], std::uint8_t* at) {
    unrolled<4>([&](auto v) PTQ_INLINE_LAMBDA {
      S::store(at + decltype(v)::value * width, x[decltype(v)::value]);
    });
  }
  /// A column from the bytes of its slots.
  template <class Slots>
  static PTQ_ALWAYS_INLINE void keep_slots(Slots slot, std::uint8_t* at) {
    ints t[4], out[4];
    if constexpr (widened) {
      t[0] = slot(constant<0>{}), t[2] = slot(constant<1>{});
      t[1] = t[3] = S::zero();
    } else {
      unrolled<4>([&](auto v) PTQ_INLINE_LAMBDA { t[decltype(v)::value] = slot(v); });
    }
    S::interleave(t, out);
    keep(out, at);
  }

  /// Of slot group g, the columns from `column` to `end` that pixels read, to where they lie from
  /// `at` on.
  PTQ_ALWAYS_INLINE void make_columns(const depthwise_run& r, std::int64_t g, std::int64_t column,
                                      std::int64_t end, std::uint8_t* at) const {
    const std::int64_t step = r.conv->every[g], entry = r.conv->groups * 4 * width;
    const depthwise_slot* slot = r.conv->slot + 4 * g;
    // the last slot, but for one that is another's again, is the rightmost
    const std::int64_t right = slot[taps - 1].right;
    const std::uint8_t* const* row = r.row + 4 * g;
    const std::uint8_t* const from[4] = {row[0], row[1], row[2], row[3]};
    const std::int64_t inner = source.first_inside(0), outer = source.last_inside(right);
    std::int64_t place = source.to(column);
    at += column * entry;
    while (column < end) {
      if (column < inner || column >= outer) {
        if (Parts == 1 && right == 0) {
          keep_slots([&](auto) PTQ_INLINE_LAMBDA { return source.padding; }, at);
        } else {
          make_border(r, g, column, at);
        }
        column += step, place += step * source.pitch, at += step * entry;
        continue;
      }
      const std::int64_t stop = end < outer ? end : outer;
      for (; column < stop; column += step, place += step * source.pitch, at += step * entry) {
        keep_slots([&](auto v)
                       PTQ_INLINE_LAMBDA { return source.at(from[decltype(v)::value], place); },
                   at);
      }
    }
  }
  /// A column some of which is beside the image; apart from the others, which need the registers.
  [[gnu::noinline]] static void make_border(const depthwise_run& r, std::int64_t g,
                                            std::int64_t column, std::uint8_t* at) {
    const depthwise_columns<S, Parts> source(r);
    keep_slots(
        [&](auto v) PTQ_INLINE_LAMBDA {
          const std::int64_t j = 4 * g + decltype(v)::value;
          return source.anywhere(r.row[j], column, r.conv->slot[j].right);
        },
        at);
  }

  /// `Count` neighbours, `pixel` the first; from: its first column in the buffer.
  template <int Count>
  PTQ_ALWAYS_INLINE void pixels(const depthwise_object& d, const std::uint8_t* from,
                                std::int64_t pixel) const {
    const std::int64_t next = source.stride * d.groups * 4 * width, steps = d.steps;
    const std::int64_t* offset = d.offset;
    const std::int8_t* w = weights;
    ints acc[Count][4];
    unrolled<4>([&](auto v) PTQ_INLINE_LAMBDA { this->template start<decltype(v)::value>(acc); });
    for (std::int64_t step = 0; step < steps; ++step, w += depthwise_group_bytes<S, Way>) {
      const std::uint8_t* x = from + offset[step];
      unrolled<4>([&](auto v) PTQ_INLINE_LAMBDA {
        constexpr int j = decltype(v)::value;
        this->template add_group<j>(acc, w, [&](auto p) PTQ_INLINE_LAMBDA {
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
      const std::int64_t first = pixel * stride, last = first + (n - 1) * stride + d.g.kernel_w;
      if (made < last) {
        if (made < first) made = first;  // columns that a stride leaves out
        const std::int64_t soon = rest < d.ahead ? rest : d.ahead;
        const std::int64_t end = first + (soon - 1) * stride + d.g.kernel_w;
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
      }
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

  [[gnu::noinline]] static void run(const depthwise_run& r) { depthwise_walk(r).walk(r); }
};

using depthwise_walk_function = void (*)(const depthwise_run&);

template <class S, class Way, int Parts, depthwise_output Output>
PTQ_ALWAYS_INLINE depthwise_walk_function walk_to(const depthwise_object& d) {
  if constexpr (Output != depthwise_output::any && !std::is_same_v<Way, words>) {
    using three = depthwise_three<S, Way, Parts, Output>;
    if (d.steps == 1) return three::run_single;
    if constexpr (three::width / Parts == 8)
      if (d.dense) return three::run_dense;
    if (d.three)
      return d.g.stride_w == 1   ? three::template run<1>
             : d.g.stride_w == 2 ? three::template run<2>
                                 : three::template run<3>;
  }
  return depthwise_walk<S, Way, Parts, Output>::run;
}

/// The walk of a block's parts and weights, and of what becomes of its results.
template <class Isa>
PTQ_ALWAYS_INLINE depthwise_walk_function walk_of(const depthwise_object& d,
                                                  const depthwise_block& b) {
  using S = depthwise_lanes<Isa>;
  using enum depthwise_output;
  const auto with = [&]<class Way, int Parts>(Way, constant<Parts>) PTQ_INLINE_LAMBDA {
    if (d.rule.shaped()) return walk_to<S, Way, Parts, shaped>(d);
    if (!d.rule.plain()) return walk_to<S, Way, Parts, any>(d);
    if constexpr (Parts == 1)
      if (epilogue<S>::is_bare(d.rule)) return walk_to<S, Way, Parts, bare>(d);
    return walk_to<S, Way, Parts, codes>(d);
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
    return d.widened ? way(words{}) : b.quads ? way(quads{}) : way(pairs{});
  else
    return way(pairs{});
}

}  // namespace ptq::native
