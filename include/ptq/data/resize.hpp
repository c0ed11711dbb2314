#pragma once
// SPDX-License-Identifier: Apache-2.0
// Geometry of images [h,w,c] u8, before preprocess.hpp turns them into a model's input. Source of
// the resampling: Pillow's Resample.c (BILINEAR, antialiased: the triangle widens with the
// reduction), fixed point included, because models are trained and scored through it; results equal
// Pillow's byte for byte.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <ptq/core/error.hpp>
#include <ptq/core/tensor.hpp>

namespace ptq {

namespace detail_resize {

/// Weights of the source pixels first, first + 1, … for one destination pixel; they sum to 1 <<
/// precision.
struct taps {
  std::int64_t first = 0;
  std::vector<std::int32_t> weight;
};

/// 32 bits less 8 of the pixel and 2 of headroom.
inline constexpr int precision = 32 - 8 - 2;

inline std::vector<taps> taps_of(std::int64_t from, std::int64_t to) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double stretch = std::max(scale, 1.0);  // a reduction averages over `scale` source pixels
  std::vector<taps> all(static_cast<std::size_t>(to));
  for (std::int64_t i = 0; i < to; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const auto first = std::max<std::int64_t>(static_cast<std::int64_t>(centre - stretch + 0.5), 0);
    const auto last = std::min(static_cast<std::int64_t>(centre + stretch + 0.5), from);
    std::vector<double> weight;
    double sum = 0.0;
    for (std::int64_t x = first; x < last; ++x) {
      const double distance = std::abs((static_cast<double>(x) - centre + 0.5) * (1.0 / stretch));
      weight.push_back(distance < 1.0 ? 1.0 - distance : 0.0);
      sum += weight.back();
    }
    taps& t = all[static_cast<std::size_t>(i)];
    t.first = first;
    for (double w : weight)
      t.weight.push_back(static_cast<std::int32_t>(0.5 + w / sum * (1 << precision)));
  }
  return all;
}

/// Resamples the middle axis of [outer, from, inner].
inline void resample(const std::uint8_t* src, std::uint8_t* dst, std::int64_t outer,
                     std::int64_t from, std::int64_t inner, const std::vector<taps>& all) {
  std::vector<std::int32_t> sum(static_cast<std::size_t>(inner));
  for (std::int64_t o = 0; o < outer; ++o, src += from * inner)
    for (const taps& t : all) {
      std::fill(sum.begin(), sum.end(), 1 << (precision - 1));
      const std::uint8_t* p = src + t.first * inner;
      for (std::int32_t w : t.weight)
        for (auto& s : sum) s += w * *p++;
      for (std::int32_t s : sum)
        *dst++ = static_cast<std::uint8_t>(std::clamp(s >> precision, 0, 255));
    }
}

inline void require_image(const tensor& image, const char* who) {
  if (image.type() != dtype::u8 || image.dims().rank() != 3 || image.size() == 0)
    throw data_error(std::string("data: ") + who + ": expected an image [h,w,c] of u8, got " +
                     image.dims().text() + " of " + name_of(image.type()));
}

}  // namespace detail_resize

/// Bilinear, antialiased, aspect not kept.
///
/// image   [h,w,c] u8
/// returns [height,width,c] u8
/// throws  data_error if an extent is not positive, or the result passes 2^30 bytes
/// exact   an axis whose extent stays is not touched
/// source  Pillow's Resample.c, Image.resize((width, height), BILINEAR)
inline tensor resize_image(const tensor& image, std::int64_t height, std::int64_t width) {
  namespace d = detail_resize;
  d::require_image(image, "resize");
  const std::int64_t h = image.dims()[0], w = image.dims()[1], c = image.dims()[2];
  constexpr std::int64_t limit = std::int64_t{1} << 30;
  if (height <= 0 || width <= 0 || height > limit / width || height * width > limit / c ||
      h * width > limit / c)
    throw data_error("data: resize: can't make " + std::to_string(height) + " x " +
                     std::to_string(width) + " of an image " + image.dims().text());
  tensor across = image;
  if (width != w) {
    across = tensor(dtype::u8, {h, width, c});
    d::resample(image.view<std::uint8_t>().data(), across.mutable_view<std::uint8_t>().data(), h, w,
                c, d::taps_of(w, width));
  }
  if (height == h) return across;
  tensor out(dtype::u8, {height, width, c});
  d::resample(across.view<std::uint8_t>().data(), out.mutable_view<std::uint8_t>().data(), 1, h,
              width * c, d::taps_of(h, height));
  return out;
}

/// The square of `side` at the centre; where the margin is odd, the smaller part is at the top and
/// left.
///
/// throws  data_error if the image is smaller
inline tensor centre_crop(const tensor& image, std::int64_t side) {
  detail_resize::require_image(image, "crop");
  const std::int64_t h = image.dims()[0], w = image.dims()[1], c = image.dims()[2];
  if (side <= 0 || side > h || side > w)
    throw data_error("data: crop: expected an image of at least " + std::to_string(side) + " x " +
                     std::to_string(side) + ", got " + std::to_string(h) + " x " +
                     std::to_string(w));
  tensor out(dtype::u8, {side, side, c});
  const auto* src = image.view<std::uint8_t>().data() + ((h - side) / 2 * w + (w - side) / 2) * c;
  auto* dst = out.mutable_view<std::uint8_t>().data();
  for (std::int64_t y = 0; y < side; ++y)
    std::copy_n(src + y * w * c, side * c, dst + y * side * c);
  return out;
}

/// [h,w,3] RGB → [h,w,1] luma, ITU-R BT.601 weights in 16 bits as Pillow's convert("L").
inline tensor gray_image(const tensor& image) {
  detail_resize::require_image(image, "gray");
  if (image.dims()[2] != 3)
    throw data_error("data: gray: expected 3 channels, got " + std::to_string(image.dims()[2]));
  tensor out(dtype::u8, {image.dims()[0], image.dims()[1], 1});
  auto src = image.view<std::uint8_t>();
  auto dst = out.mutable_view<std::uint8_t>();
  for (std::size_t i = 0; i < dst.size(); ++i) {
    const std::uint32_t luma = src[3 * i] * 19595u + src[3 * i + 1] * 38470u +
                               src[3 * i + 2] * 7471u + (1u << 15);  // .299 .587 .114 · 2^16
    dst[i] = static_cast<std::uint8_t>(luma >> 16);
  }
  return out;
}

}  // namespace ptq
