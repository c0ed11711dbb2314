#pragma once
// SPDX-License-Identifier: Apache-2.0
// How elementwise work is cut: chunks of one long row, or runs along the innermost dimension of a
// broadcast. Units are some thousands of elements, enough to pay for handing them out and few
// enough to share among threads.

#include <cstdint>

#include <ptq/core/parallel.hpp>
#include <ptq/kernels/args.hpp>
#include <ptq/native/object.hpp>

namespace ptq::native {

/// Elements of a unit: 16 KiB of floats, half of a first-level cache. A multiple of every
/// register's length.
inline constexpr std::int64_t chunk_elements = 4096;

template <class Isa>
PTQ_ALWAYS_INLINE std::int64_t least(std::int64_t a, std::int64_t b) {
  return a < b ? a : b;
}
template <class Isa>
PTQ_ALWAYS_INLINE std::int64_t chunks_of(std::int64_t size) {
  return (size + chunk_elements - 1) / chunk_elements;
}

/// Rows of n elements as units: parts of long rows, or groups of short ones.
template <class Isa>
struct row_split {
  std::int64_t rows = 1, n = 0, parts = 1, group = 1;

  static row_split of(std::int64_t rows, std::int64_t n, std::int64_t chunk = chunk_elements) {
    row_split s{rows, n, 1, 1};
    if (n > chunk)
      s.parts = (n + chunk - 1) / chunk;
    else if (n > 0)
      s.group = chunk / n;
    return s;
  }
  std::int64_t units() const {
    return n == 0 ? 0 : parts > 1 ? rows * parts : (rows + group - 1) / group;
  }
  /// f(row, begin, end) for each piece of the units, rows in order
  template <class F>
  PTQ_ALWAYS_INLINE void for_pieces(work_range range, F f) const {
    if (parts > 1) {
      const std::int64_t chunk = ((n + parts - 1) / parts + 63) / 64 * 64;
      for (std::int64_t u = range.begin; u < range.end; ++u) {
        const std::int64_t part = u % parts, begin = least<Isa>(part * chunk, n);
        f(u / parts, begin, least<Isa>(begin + chunk, n));
      }
    } else {
      const std::int64_t last = least<Isa>(range.end * group, rows);
      for (std::int64_t row = range.begin * group; row < last; ++row) f(row, std::int64_t{0}, n);
    }
  }
};

/// A broadcast as runs along its innermost dimension, merged where the strides allow.
template <class Isa>
struct broadcast_runs {
  kernels::broadcast over;
  row_split<Isa> split;

  static broadcast_runs of(const kernels::broadcast& given) {
    broadcast_runs r;
    r.over = {};
    kernels::broadcast& m = r.over;
    m.rank = 0;
    for (int d = 0; d < given.rank; ++d) {
      const std::int64_t extent = given.extent[at(d)];
      if (extent == 1) continue;
      if (m.rank > 0 && m.a_stride[at(m.rank - 1)] == extent * given.a_stride[at(d)] &&
          m.b_stride[at(m.rank - 1)] == extent * given.b_stride[at(d)]) {
        m.extent[at(m.rank - 1)] *= extent;
      } else {
        m.extent[at(m.rank++)] = extent;
      }
      m.a_stride[at(m.rank - 1)] = given.a_stride[at(d)];
      m.b_stride[at(m.rank - 1)] = given.b_stride[at(d)];
    }
    if (m.rank == 0) {
      m.rank = 1;
      m.extent[0] = 1;
    }
    std::int64_t rows = 1;
    for (int d = 0; d + 1 < m.rank; ++d) rows *= m.extent[at(d)];
    r.split = row_split<Isa>::of(rows, m.extent[at(m.rank - 1)]);
    return r;
  }
  std::int64_t units() const { return split.units(); }
  std::int64_t a_step() const { return over.a_stride[at(over.rank - 1)]; }
  std::int64_t b_step() const { return over.b_stride[at(over.rank - 1)]; }

  /// f.operator()<A, B>(dst offset, a offset, b offset, n) for each run; A and B are the strides
  /// along it, 2 standing for any other.
  template <class F>
  PTQ_ALWAYS_INLINE void for_runs(work_range range, F f) const {
    const auto along = [&]<int A, int B>() PTQ_INLINE_LAMBDA {
      walk(range, [&](std::int64_t to, std::int64_t from_a, std::int64_t from_b, std::int64_t n)
                      PTQ_INLINE_LAMBDA { f.template operator()<A, B>(to, from_a, from_b, n); });
    };
    const std::int64_t a = a_step(), b = b_step();
    if (a == 1 && b == 1)
      along.template operator()<1, 1>();
    else if (a == 1 && b == 0)
      along.template operator()<1, 0>();
    else if (a == 0 && b == 1)
      along.template operator()<0, 1>();
    else
      along.template operator()<2, 2>();
  }

 private:
  template <class F>
  PTQ_ALWAYS_INLINE void walk(work_range range, F f) const {
    std::int64_t index[8] = {}, from_a = 0, from_b = 0, current = -1;
    split.for_pieces(range, [&](std::int64_t row, std::int64_t begin,
                                std::int64_t end) PTQ_INLINE_LAMBDA {
      if (current < 0) {
        std::int64_t rest = row;
        for (int d = over.rank - 1; d-- > 0;) {
          index[d] = rest % over.extent[at(d)];
          rest /= over.extent[at(d)];
          from_a += index[d] * over.a_stride[at(d)];
          from_b += index[d] * over.b_stride[at(d)];
        }
      } else if (row != current) {
        for (int d = over.rank - 1; d-- > 0;) {  // one step of an odometer
          from_a += over.a_stride[at(d)];
          from_b += over.b_stride[at(d)];
          if (++index[d] < over.extent[at(d)]) break;
          index[d] = 0;
          from_a -= over.extent[at(d)] * over.a_stride[at(d)];
          from_b -= over.extent[at(d)] * over.b_stride[at(d)];
        }
      }
      current = row;
      f(row * split.n + begin, from_a + begin * a_step(), from_b + begin * b_step(), end - begin);
    });
  }
  static constexpr std::size_t at(int d) { return static_cast<std::size_t>(d); }
};

}  // namespace ptq::native
