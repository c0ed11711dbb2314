#pragma once
// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution of codes of 8 or 16 bits: channels in lanes, two taps a product (vpmaddwd),
// int32 sums over as many taps as the weights allow (wide_gemm.hpp), requantized in double.
//
// A chunk is 2 · lanes channels; the last begins earlier where channels don't divide, and all is
// copied to scratch where there are fewer channels than that. A unit is a few output pixels.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include <ptq/kernels/args.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/native/object.hpp>
#include <ptq/native/wide_gemm.hpp>
#include <ptq/native/wide_rows.hpp>
#include <ptq/native/wide_sums.hpp>
#include <ptq/native/wide_words.hpp>

namespace ptq::native {

struct wide_depthwise_object {
  kernels::conv_geometry g;
  wide_rule rule;
  wide_cut cut;  // pairs of taps
  std::int64_t pixels = 0, chunks = 1;
  const std::int16_t* weights = nullptr;  // [chunk][pair][part][2][lanes][2]
  const double* constant = nullptr;       // [chunk][2 · lanes]
  const double* multiplier = nullptr;
  const void* padding = nullptr;  // a pixel of zero points
  const std::int64_t* offset =
      nullptr;  // [2 · pairs] elements from the first tap; what fills up is 0
};

/// Output pixels whose sums wait for requantization together.
inline constexpr std::int64_t wide_pixels = 8;

template <class Isa>
inline constexpr std::int64_t wide_chunk = 2 * simd<Isa, register_bytes<Isa>>::lanes;

/// First channel of a chunk.
template <class Isa>
PTQ_ALWAYS_INLINE std::int64_t chunk_channel(std::int64_t channels, std::int64_t chunk) {
  const std::int64_t last = std::max<std::int64_t>(0, channels - wide_chunk<Isa>);
  return std::min(chunk * wide_chunk<Isa>, last);
}

/// One pixel's sums of a chunk over `pairs` pairs of taps → [2][Parts][lanes].
template <class Isa, class X, int Parts>
PTQ_ALWAYS_INLINE void multiply_wide_taps(const X* const* taps, std::int64_t channel,
                                          const std::int16_t* w, std::int64_t pairs,
                                          std::int32_t* sums) {
  using S = simd<Isa, register_bytes<Isa>>;
  using W = wide_words<Isa, register_bytes<Isa>>;
  typename S::ints acc[Parts][2], first, second;
  unrolled<Parts>([&](auto p) PTQ_INLINE_LAMBDA {
    acc[decltype(p)::value][0] = acc[decltype(p)::value][1] = S::zero();
  });
  for (std::int64_t k = 0; k < pairs; ++k, taps += 2) {
    W::pair(W::load(taps[0] + channel), W::load(taps[1] + channel), first, second);
    unrolled<Parts>([&](auto p) PTQ_INLINE_LAMBDA {
      constexpr int part = decltype(p)::value;
      acc[part][0] = dot_words<Isa>(acc[part][0], first, S::load(w));
      acc[part][1] = dot_words<Isa>(acc[part][1], second, S::load(w + 2 * S::lanes));
      w += 4 * S::lanes;
    });
  }
  unrolled<Parts>([&](auto p) PTQ_INLINE_LAMBDA {
    constexpr int part = decltype(p)::value;
    W::join(acc[part][0], acc[part][1]);
    S::store(sums + part * S::lanes, acc[part][0]);
    S::store(sums + (Parts + part) * S::lanes, acc[part][1]);
  });
}

/// Where the taps of up to wide_pixels output pixels lie, two for each pair.
template <class Isa, class X>
struct wide_taps {
  const wide_depthwise_object& c;
  const X* src;
  const X** table;  // [wide_pixels][2 · pairs]
  X* copies;        // the same of wide_chunk elements each, for few channels

  PTQ_ALWAYS_INLINE std::int64_t pitch() const { return 2 * c.cut.pairs; }
  void fill(std::int64_t first, std::int64_t count) const {
    const kernels::conv_geometry& g = c.g;
    std::int64_t ox = first % g.out_w, oy = first / g.out_w % g.out_h;
    const X* image = src + first / (g.out_w * g.out_h) * g.in_h * g.in_w * g.src_pixel();
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t x = ox * g.stride_w - g.pad_left, y = oy * g.stride_h - g.pad_top;
      const bool inside = x >= 0 && y >= 0 && x + (g.kernel_w - 1) * g.dilation_w < g.in_w &&
                          y + (g.kernel_h - 1) * g.dilation_h < g.in_h;
      if (inside)
        fill_inside(image + (y * g.in_w + x) * g.src_pixel(), table + i * pitch());
      else
        fill_border(image, y, x, table + i * pitch());
      if (++ox < g.out_w) continue;
      ox = 0;
      if (++oy < g.out_h) continue;
      oy = 0;
      image += g.in_h * g.in_w * g.src_pixel();
    }
    if (g.in_c >= wide_chunk<Isa>) return;
    for (std::int64_t i = 0; i < count * pitch(); ++i) {
      X* to = copies + i * wide_chunk<Isa>;
      copy_few<Isa, wide_chunk<Isa>* static_cast<int>(sizeof(X)) / 2>(
          to, table[i], g.in_c * static_cast<std::int64_t>(sizeof(X)));
      table[i] = to;
    }
  }

 private:
  void fill_inside(const X* corner, const X** to) const {
    for (std::int64_t k = 0; k < pitch(); ++k) to[k] = corner + c.offset[k];
  }
  void fill_border(const X* image, std::int64_t y, std::int64_t first_x, const X** to) const {
    const kernels::conv_geometry& g = c.g;
    const auto* padding = static_cast<const X*>(c.padding);
    for (std::int64_t kh = 0; kh < g.kernel_h; ++kh, y += g.dilation_h) {
      std::int64_t x = first_x;
      for (std::int64_t kw = 0; kw < g.kernel_w; ++kw, x += g.dilation_w)
        *to++ = y < 0 || y >= g.in_h || x < 0 || x >= g.in_w
                    ? padding
                    : image + (y * g.in_w + x) * g.src_pixel();
    }
    if (g.kernel_h * g.kernel_w % 2 != 0) *to = padding;
  }
};

template <class Isa, class X, int Parts>
void run_wide_depthwise(const void* object, const kernels::operands& io, std::byte* scratch,
                        work_range range) {
  constexpr std::int64_t chunk = wide_chunk<Isa>, lanes = chunk / 2;
  const auto& c = *static_cast<const wide_depthwise_object*>(object);
  const std::int64_t table_bytes = (wide_pixels * 2 * c.cut.pairs * 8 + 63) / 64 * 64;
  const wide_taps<Isa, X> taps{c, static_cast<const X*>(io.src[0]),
                               reinterpret_cast<const X**>(scratch),
                               reinterpret_cast<X*>(scratch + table_bytes)};
  alignas(64) std::int32_t sums[static_cast<std::size_t>(wide_pixels * Parts * chunk)];
  alignas(64) double before[static_cast<std::size_t>(wide_pixels * chunk)];
  const std::int64_t element = c.rule.element(), stride = c.g.dst_pixel();
  const std::int64_t columns = std::min(c.g.in_c, chunk), blocks = c.cut.blocks();
  for (std::int64_t unit = range.begin; unit < range.end; ++unit) {
    const std::int64_t first = unit * wide_pixels;
    const std::int64_t count = std::min(wide_pixels, c.pixels - first);
    taps.fill(first, count);
    for (std::int64_t i = 0; i < c.chunks; ++i) {
      const std::int64_t channel = chunk_channel<Isa>(c.g.in_c, i);
      const wide_tile t{.sums = sums,
                        .pitch = Parts * chunk,
                        .vector_step = Parts * lanes,
                        .part_step = lanes,
                        .before = blocks > 1 ? before : nullptr,
                        .before_pitch = chunk,
                        .rows = count,
                        .vectors = static_cast<int>((columns + lanes - 1) / lanes)};
      for (std::int64_t b = 0; b < blocks; ++b) {
        const std::int64_t k = b * c.cut.block, pairs = std::min(c.cut.block, c.cut.pairs - k);
        const std::int16_t* w = c.weights + (i * c.cut.pairs + k) * Parts * 2 * chunk;
        for (std::int64_t p = 0; p < count; ++p)
          multiply_wide_taps<Isa, X, Parts>(taps.table + p * taps.pitch() + 2 * k, channel, w,
                                            pairs, sums + p * Parts * chunk);
        if (b + 1 < blocks) add_wide_sums<Isa, Parts>(t, b == 0);
      }
      store_wide<Isa, Parts>(
          t, c.rule, c.constant + i * chunk, c.multiplier + i * chunk,
          {static_cast<std::byte*>(io.dst) + (first * stride + channel) * element, stride,
           columns});
    }
  }
}

/// What a wide kernel's packed memory starts with: how its weights are cut, and whether for tiles
/// (null: they may not be). False where the kernel packs nothing like it.
template <class Isa>
PTQ_ALWAYS_INLINE bool read_wide_cut(const kernels::packed_memory& packed, wide_cut& cut,
                                     bool* tiled = nullptr) {
  std::int64_t form[3] = {};
  if (packed.bytes < sizeof form) return false;
  std::memcpy(form, packed.data, sizeof form);
  const bool in_tiles = form[2] == 1 && tiled && Isa::has_tiles;
  const bool fit = (form[0] == 1 || form[0] == 2) && form[1] >= 1 && form[1] <= cut.pairs &&
                   (form[2] == 0 || (in_tiles && form[0] == 1));
  if (!fit) return false;
  if (tiled) *tiled = in_tiles;
  cut.parts = form[0];
  cut.block = form[1];
  return true;
}

/// b − z · Σw, where z is the shifted codes' zero point: the shift and it have the same sum.
PTQ_ALWAYS_INLINE double wide_constant(std::int64_t bias, std::int64_t shifted_zero,
                                       std::int64_t sum) {
  return static_cast<double>(bias - shifted_zero * sum);
}

/// Weights, constants and multipliers of a chunk's channels.
template <class Isa>
void pack_wide_chunk(const kernels::wide_conv_args& a, const wide_depthwise_object& c,
                     std::int64_t chunk, std::int64_t zero) noexcept {
  using W = wide_words<Isa, register_bytes<Isa>>;
  constexpr int lanes = simd<Isa, register_bytes<Isa>>::lanes;
  const std::int64_t taps = c.g.kernel_h * c.g.kernel_w;
  auto* weights = const_cast<std::int16_t*>(c.weights) +
                  chunk * c.cut.pairs * c.cut.parts * 2 * wide_chunk<Isa>;
  auto* constant = const_cast<double*>(c.constant) + chunk * wide_chunk<Isa>;
  auto* multiplier = const_cast<double*>(c.multiplier) + chunk * wide_chunk<Isa>;
  for (int half = 0; half < 2; ++half)
    for (int l = 0; l < lanes; ++l) {
      const int at = W::channel(half, l);
      if (at >= c.g.in_c) continue;
      const std::int64_t o = chunk_channel<Isa>(c.g.in_c, chunk) + at;
      std::int64_t sum = 0;
      for (std::int64_t k = 0; k < taps; ++k) {
        const std::int16_t w = a.weights[o * taps + k];
        sum += w;
        for (std::int64_t part = 0; part < c.cut.parts; ++part)
          weights[(((k / 2 * c.cut.parts + part) * 2 + half) * lanes + l) * 2 + k % 2] =
              weight_part(w, c.cut.parts, part);
      }
      constant[at] = wide_constant(a.bias ? a.bias[o] : 0, zero, sum);
      multiplier[at] = a.multiplier.data()[a.multiplier.size() == 1 ? 0 : o];
    }
}

template <class Isa>
kernels::prepared prepare_wide_depthwise(const kernels::wide_conv_args& a) {
  const kernels::conv_geometry& g = a.geometry;
  const bool words = a.x_type == dtype::u16;
  const std::int64_t taps = g.kernel_h * g.kernel_w;
  wide_depthwise_object c;
  c.g = g;
  c.rule = make_wide_rule<Isa>(a);
  c.pixels = g.batch * g.out_h * g.out_w;
  c.chunks = (g.in_c + wide_chunk<Isa> - 1) / wide_chunk<Isa>;
  c.cut.pairs = (taps + 1) / 2;
  if (!a.packed.data)
    c.cut = cut_for<Isa>(a.weights, g.out_c, taps,
                         words ? code_reach<std::uint16_t> : code_reach<std::uint8_t>);
  const bool known = !a.packed.data || read_wide_cut<Isa>(a.packed, c.cut);

  const std::int64_t columns = c.chunks * wide_chunk<Isa>;
  const std::int64_t padding = std::max(g.in_c, wide_chunk<Isa>);
  block_layout<Isa> own, packed;
  own.template add<wide_depthwise_object>(1);
  const std::size_t padding_at = own.template add<std::uint16_t>(padding);
  const std::size_t offset_at = own.template add<std::int64_t>(2 * c.cut.pairs);
  const std::size_t form_at = packed.template add<std::int64_t>(3);
  const std::size_t weights_at =
      packed.template add<std::int16_t>(columns * c.cut.pairs * 2 * c.cut.parts);
  const std::size_t constant_at = packed.template add<double>(columns);
  const std::size_t multiplier_at = packed.template add<double>(columns);
  kernels::prepared p = blank<Isa>(own, packed, a.packed);
  if (!known || (a.packed.data && a.packed.bytes != packed.bytes)) return p;
  auto* object = object_of<wide_depthwise_object>(p);
  c.weights = packed_at<std::int16_t>(p, weights_at);
  c.constant = packed_at<double>(p, constant_at);
  c.multiplier = packed_at<double>(p, multiplier_at);
  auto* bytes = at_offset<std::uint8_t>(object, padding_at);
  auto* pixel = at_offset<std::uint16_t>(object, padding_at);
  for (std::int64_t i = 0; i < padding; ++i)
    if (words)
      pixel[i] = static_cast<std::uint16_t>(a.x_zero_point);
    else
      bytes[i] = static_cast<std::uint8_t>(a.x_zero_point);
  c.padding = bytes;
  auto* offset = at_offset<std::int64_t>(object, offset_at);
  for (std::int64_t k = 0; k < taps; ++k)
    offset[k] =
        (k / g.kernel_w * g.dilation_h * g.in_w + k % g.kernel_w * g.dilation_w) * g.src_pixel();
  c.offset = offset;
  std::memcpy(static_cast<void*>(object), &c, sizeof c);
  if (!a.packed.data) {
    auto* form = packed_at<std::int64_t>(p, form_at);
    form[0] = c.cut.parts;
    form[1] = c.cut.block;
    const std::int64_t zero = a.x_zero_point - (words ? code_shift<std::uint16_t> : 0);
    for (std::int64_t i = 0; i < c.chunks; ++i) pack_wide_chunk<Isa>(a, c, i, zero);
  }
  if (words)
    p.run = c.cut.parts == 2 ? run_wide_depthwise<Isa, std::uint16_t, 2>
                             : run_wide_depthwise<Isa, std::uint16_t, 1>;
  else
    p.run = c.cut.parts == 2 ? run_wide_depthwise<Isa, std::uint8_t, 2>
                             : run_wide_depthwise<Isa, std::uint8_t, 1>;
  p.units = (c.pixels + wide_pixels - 1) / wide_pixels;
  p.scratch = static_cast<std::size_t>((wide_pixels * 2 * c.cut.pairs * 8 + 63) / 64 * 64);
  if (g.in_c < wide_chunk<Isa>)
    p.scratch += static_cast<std::size_t>(wide_pixels * 2 * c.cut.pairs * wide_chunk<Isa>) * 2;
  p.name = c.cut.parts == 2 ? "wide depthwise, two sums" : "wide depthwise";
  return p;
}

}  // namespace ptq::native
