#pragma once
// SPDX-License-Identifier: Apache-2.0
// The float matrix product that convolution and matmul share: c[m,n] = a[m,k] · b[k,n] in register
// tiles.
//
// Lanes are columns of n, so each keeps the reference's chain (start at the bias, k increasing, one
// fused multiply-add per step) and the result equals it bit for bit; k is never split over
// accumulators. b is packed in panels of `columns` channels, [n / columns][k][columns]; a is copied
// in tiles of `rows` rows, in chunks of k whose row pitch is a constant: then a row of the tile is
// a displacement from one register, where row pointers would take more general registers than x86
// has. Copying costs one load and store per (n / lanes / 2) cycles of arithmetic, and takes
// convolution's taps, padding and transposition out of the inner loop.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <ptq/native/float_fused.hpp>
#include <ptq/native/isa.hpp>
#include <ptq/native/object.hpp>

namespace ptq::native::float_gemm {

template <class Isa>
inline constexpr int lanes = static_cast<int>(f32s<Isa>::size);

/// Columns of a panel: 2 registers, so that each broadcast element of a feeds two multiply-adds.
template <class Isa>
inline constexpr int columns = 2 * lanes<Isa>;

/// Rows of a tile: 2 · rows accumulators + 2 of b + 1 of a fill the register file: 31 of 32 on
/// AVX-512 and NEON, 15 of 16 on AVX2; SSE emulates the fused multiply-add and needs room for that.
template <class Isa>
inline constexpr int rows = lanes<Isa> == 16 ? 14 : (Isa::fma ? 6 : 4);

/// Elements of k in a chunk of a, and the pitch of its rows: 16 more, so that rows don't share
/// cache sets.
inline constexpr std::int64_t chunk = 256;
inline constexpr std::int64_t pitch = chunk + 16;

/// Columns that one unit of work covers, and the bytes of packed a it may keep: within the
/// second-level cache, with room for the panel that streams past.
inline constexpr std::int64_t unit_columns = 128;
inline constexpr std::int64_t unit_bytes = 1 << 20;
inline constexpr std::int64_t most_tiles = 8;

PTQ_ALWAYS_INLINE constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}
PTQ_ALWAYS_INLINE constexpr std::int64_t least(std::int64_t a, std::int64_t b) {
  return a < b ? a : b;
}

/// Floats of one packed tile of a.
template <class Isa>
constexpr std::int64_t tile_size(std::int64_t k) {
  return ceil_div(k, chunk) * rows<Isa> * pitch;
}

/// Tiles of a that one unit packs.
template <class Isa>
constexpr std::int64_t tiles_per_unit(std::int64_t k) {
  const std::int64_t bytes = tile_size<Isa>(k) * static_cast<std::int64_t>(sizeof(float));
  const std::int64_t fit = bytes > 0 ? unit_bytes / bytes : most_tiles;
  return fit < 1 ? 1 : (fit > most_tiles ? most_tiles : fit);
}

/// Floats of b packed for n columns: the last panel is one register wide when that is enough.
template <class Isa>
constexpr std::int64_t packed_size(std::int64_t k, std::int64_t n) {
  return ceil_div(n, lanes<Isa>) * lanes<Isa> * k;
}

/// Copies n floats without touching memory beyond them; n is small, so no call.
template <class Isa>
PTQ_ALWAYS_INLINE void copy_floats(float* dst, const float* src, std::int64_t n) {
  constexpr int step = lanes<Isa>;
  std::int64_t i = 0;
  for (; i + step <= n; i += step) f32s<Isa>::load_unaligned(src + i).store_unaligned(dst + i);
#if defined(__AVX512F__)
  if constexpr (step == 16) {
    const auto some = static_cast<__mmask16>((1u << (n - i)) - 1u);
    _mm512_mask_storeu_ps(dst + i, some, _mm512_maskz_loadu_ps(some, src + i));
    return;
  }
#endif
  if constexpr (step > 4)
    if (n - i >= 4) std::memcpy(dst + i, src + i, 16), i += 4;
  for (; i < n; ++i) std::memcpy(dst + i, src + i, sizeof(float));
}

/// Writes one row of a tile of a, chunk after chunk.
template <class Isa>
class row_writer {
 public:
  explicit row_writer(float* row) : at_(row) {}
  PTQ_ALWAYS_INLINE void copy(const float* src, std::int64_t n) {
    if (n <= left_) {  // the usual case
      copy_floats<Isa>(at_, src, n);
      advance(n);
      return;
    }
    while (n > 0) {
      const std::int64_t part = next(n);
      copy_floats<Isa>(at_, src, part);
      src += part;
      n -= part;
      advance(part);
    }
  }
  PTQ_ALWAYS_INLINE void zero(std::int64_t n) {
    while (n > 0) {
      const std::int64_t part = next(n);
      for (std::int64_t i = 0; i < part; ++i) at_[i] = 0.0f;
      n -= part;
      advance(part);
    }
  }

 private:
  std::int64_t next(std::int64_t n) {
    if (left_ == 0) {
      at_ += rows<Isa> * pitch - chunk;
      left_ = chunk;
    }
    return n < left_ ? n : left_;
  }
  void advance(std::int64_t n) {
    at_ += n;
    left_ -= n;
  }
  float* at_;
  std::int64_t left_ = chunk;
};

/// b → panels. Element (i, j) of b is src[i · k_stride + j · n_stride]; missing columns of the last
/// panel are 0.
template <class Isa>
void pack_panels(float* dst, const float* src, std::int64_t k, std::int64_t n,
                 std::int64_t k_stride, std::int64_t n_stride) noexcept {
  for (std::int64_t first = 0; first < n; first += columns<Isa>) {
    const std::int64_t left = n - first;
    const std::int64_t width = left > lanes<Isa> ? columns<Isa> : lanes<Isa>;
    const std::int64_t used = left < width ? left : width;
    const float* s = src + first * n_stride;
    if (n_stride == 1) {
      for (std::int64_t i = 0; i < k; ++i) {
        copy_floats<Isa>(dst + i * width, s + i * k_stride, used);
        for (std::int64_t j = used; j < width; ++j) dst[i * width + j] = 0.0f;
      }
    } else {
      constexpr std::int64_t block = 64;  // rows of dst that stay in the first-level cache
      for (std::int64_t i0 = 0; i0 < k; i0 += block) {
        const std::int64_t end = k < i0 + block ? k : i0 + block;
        for (std::int64_t j = 0; j < width; ++j)
          for (std::int64_t i = i0; i < end; ++i)
            dst[i * width + j] = j < used ? s[i * k_stride + j * n_stride] : 0.0f;
      }
    }
    dst += width * k;
  }
}

/// One block of c: `height` rows by `n` columns.
template <class Isa>
struct block {
  const float* a;       // tiles of a, each tile_size(k)
  std::int64_t height;  // valid rows
  const float* b;       // first panel
  const float* start;   // [n] rounded up to whole registers: bias
  std::int64_t k, n;
  float* c;
  std::int64_t c_stride;  // from row to row of c
  float low, high;
};

/// min(max(acc, low), high) in the reference's words, NaN and signed zeros included.
template <class Isa>
PTQ_ALWAYS_INLINE f32s<Isa> clamped(f32s<Isa> x, f32s<Isa> low, f32s<Isa> high) {
  x = xsimd::select(x < low, low, x);
  return xsimd::select(high < x, high, x);
}

/// Stores the first `count` lanes.
template <class Isa>
PTQ_ALWAYS_INLINE void store_some(float* dst, f32s<Isa> v, std::int64_t count) {
  if (count >= lanes<Isa>) {
    v.store_unaligned(dst);
    return;
  }
#if defined(__AVX512F__)
  if constexpr (lanes<Isa> == 16) {
    _mm512_mask_storeu_ps(dst, static_cast<__mmask16>((1u << count) - 1u), v);
    return;
  }
#endif
  alignas(64) float part[static_cast<std::size_t>(lanes<Isa>)];
  v.store_aligned(part);
  for (std::int64_t i = 0; i < count; ++i) dst[i] = part[i];
}

/// Rows × (Vectors · lanes) elements of c in registers. Panels > 1 (a vector times a matrix) widens
/// the tile over neighbouring panels: a single row has too few chains to hide the latency of the
/// multiply-add.
template <class Isa, int Rows, int Vectors, int Panels = 1>
void multiply_tile(const block<Isa>& w, const float* a, const float* b, std::int64_t column,
                   std::int64_t row) {
  using reg = f32s<Isa>;
  constexpr int L = lanes<Isa>;
  constexpr int width = Vectors * Panels;
  const std::int64_t panel = w.k * columns<Isa>;
  reg acc[Rows][width];
  unrolled<width>([&](auto at_v) PTQ_INLINE_LAMBDA {
    constexpr int v = decltype(at_v)::value;
    const reg s = reg::load_unaligned(w.start + column + v * L);
    unrolled<Rows>([&](auto at_r) PTQ_INLINE_LAMBDA { acc[decltype(at_r)::value][v] = s; });
  });
  for (std::int64_t k0 = 0; k0 < w.k; k0 += chunk) {
    const std::int64_t count = least(w.k - k0, chunk);
    for (std::int64_t i = 0; i < count; ++i) {
      reg bv[width];
      unrolled<width>([&](auto at_v) PTQ_INLINE_LAMBDA {
        constexpr int v = decltype(at_v)::value;
        bv[v] = reg::load_aligned(b + (v / Vectors) * panel + (v % Vectors) * L);
      });
      unrolled<Rows>([&](auto at_r) PTQ_INLINE_LAMBDA {
        constexpr int r = decltype(at_r)::value;
        const reg x(a[r * pitch + i]);
        unrolled<width>([&](auto at_v) PTQ_INLINE_LAMBDA {
          constexpr int v = decltype(at_v)::value;
          acc[r][v] = fused<Isa>(x, bv[v], acc[r][v]);
        });
      });
      b += Vectors * L;
    }
    a += rows<Isa> * pitch;
  }
  const reg low(w.low), high(w.high);
  float* c = w.c + row * w.c_stride + column;
  const std::int64_t valid = w.height - row, left = w.n - column;
  unrolled<Rows>([&](auto at_r) PTQ_INLINE_LAMBDA {
    constexpr int r = decltype(at_r)::value;
    if (r >= valid) return;
    unrolled<width>([&](auto at_v) PTQ_INLINE_LAMBDA {
      constexpr int v = decltype(at_v)::value;
      if (v * L < left)
        store_some<Isa>(c + r * w.c_stride + v * L, clamped<Isa>(acc[r][v], low, high),
                        left - v * L);
    });
  });
}

/// The smallest of Rows, Rows/2, Rows/4 … that covers what is left of the block.
template <class Isa, int Rows, int Vectors>
void multiply_rows(const block<Isa>& w, const float* a, const float* b, std::int64_t column,
                   std::int64_t row) {
  if constexpr (Rows > 1) {
    if (w.height - row <= (Rows + 1) / 2)
      return multiply_rows<Isa, (Rows + 1) / 2, Vectors>(w, a, b, column, row);
  }
  multiply_tile<Isa, Rows, Vectors>(w, a, b, column, row);
}

/// c = clamp(start + a · b) for one block. Panels outside, tiles inside: a panel that fits the
/// first-level cache is read once.
template <class Isa>
void multiply_block(const block<Isa>& w) {
  constexpr int wide = 4;
  const std::int64_t size = tile_size<Isa>(w.k);
  std::int64_t column = 0;
  if (w.height == 1)
    for (; column + (wide - 1) * columns<Isa> + lanes<Isa> < w.n; column += wide * columns<Isa>)
      multiply_tile<Isa, 1, 2, wide>(w, w.a, w.b + column * w.k, column, 0);
  for (; column < w.n; column += columns<Isa>) {
    const float* b = w.b + column * w.k;
    for (std::int64_t row = 0; row < w.height; row += rows<Isa>) {
      const float* a = w.a + row / rows<Isa> * size;
      if (w.n - column > lanes<Isa>)
        multiply_rows<Isa, rows<Isa>, 2>(w, a, b, column, row);
      else
        multiply_rows<Isa, rows<Isa>, 1>(w, a, b, column, row);
    }
  }
}

}  // namespace ptq::native::float_gemm
