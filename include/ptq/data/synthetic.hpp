#pragma once
// SPDX-License-Identifier: Apache-2.0
// Samples out of nothing but a seed, for users without data: pictures of overlapping discs whose
// radii follow the law of natural scenes, the same on every platform.
//
// Source: Lee, Mumford & Huang 2001, Occlusion models for natural images (dead leaves): density of
// radii ~ 1/r^3.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>

#include <ptq/core/error.hpp>
#include <ptq/core/tensor.hpp>
#include <ptq/data/samples.hpp>

namespace ptq {

/// u8 pictures [channels, height, width]; picture i depends on seed and i alone.
class synthetic_images {
 public:
  struct extents {
    std::int64_t channels = 3, height = 224, width = 224;
  };
  /// throws  data_error where an extent or the count is below 1
  synthetic_images(extents e, std::int64_t count, std::uint64_t seed)
      : extents_(e), count_(count), seed_(seed) {
    if (e.channels < 1 || e.height < 1 || e.width < 1 || count < 1)
      throw data_error("data: synthetic: expected positive extents and count, got [" +
                       std::to_string(e.channels) + "," + std::to_string(e.height) + "," +
                       std::to_string(e.width) + "], " + std::to_string(count));
  }
  std::int64_t count() const { return count_; }
  std::string name(std::int64_t i) const { return "synthetic " + std::to_string(i); }
  sample at(std::int64_t i) const { return sample(picture(i)); }

 private:
  tensor picture(std::int64_t i) const {
    std::mt19937_64 random(seed_ * 0x9e3779b97f4a7c15u + static_cast<std::uint64_t>(i));
    const auto unit = [&] { return static_cast<double>(random() >> 11) * 0x1p-53; };
    const auto [channels, height, width] = extents_;
    tensor t(dtype::u8, {channels, height, width});
    auto pixels = t.mutable_view<std::uint8_t>();
    const double largest = static_cast<double>(std::max(height, width)) / 2, smallest = 1;
    // Enough for the small discs to cover most of what the large ones leave.
    constexpr int discs = 600;
    for (int d = 0; d < discs; ++d) {
      // Inverse of the distribution of density 1/r^3 on [smallest, largest].
      const double a = 1 / (smallest * smallest), b = 1 / (largest * largest);
      const double r = d == 0 ? 2 * largest : 1 / std::sqrt(a - unit() * (a - b));
      const double y = unit() * static_cast<double>(height),
                   x = unit() * static_cast<double>(width);
      std::uint8_t colour[64];
      const auto painted = std::min<std::int64_t>(channels, 64);
      for (std::int64_t c = 0; c < painted; ++c)
        colour[c] = static_cast<std::uint8_t>(random() & 255);
      paint(pixels, {y, x, d == 0 ? 4 * r : r}, colour);
    }
    return t;
  }
  struct disc {
    double y, x, radius;
  };
  void paint(std::span<std::uint8_t> pixels, disc d, const std::uint8_t (&colour)[64]) const {
    const auto [channels, height, width] = extents_;
    const auto clip = [](double v, std::int64_t n) {
      return static_cast<std::int64_t>(std::clamp(std::ceil(v), 0.0, static_cast<double>(n)));
    };
    for (auto row = clip(d.y - d.radius, height); row < clip(d.y + d.radius, height); ++row) {
      const double dy = static_cast<double>(row) - d.y;
      const double half = std::sqrt(std::max(d.radius * d.radius - dy * dy, 0.0));
      const auto from = clip(d.x - half, width), to = clip(d.x + half, width);
      for (std::int64_t c = 0; c < channels; ++c) {
        auto* line = pixels.data() + (c * height + row) * width;
        std::fill(line + from, line + std::max(from, to), colour[c % 64]);
      }
    }
  }

  extents extents_;
  std::int64_t count_;
  std::uint64_t seed_;
};

/// Standard normal numbers for inputs of any extents (the sum of twelve uniform ones), 0 or 1 for
/// integers, so that they are valid as indices and masks.
inline tensor synthetic_tensor(dtype type, shape dims, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  tensor t(type, std::move(dims));
  const auto fill = [&](auto values) {
    using element = typename decltype(values)::element_type;
    for (auto& v : values) v = static_cast<element>(random() & 1);
  };
  switch (type) {
    case dtype::f32:
      for (auto& v : t.mutable_view<float>()) {
        double sum = -6;
        for (int i = 0; i < 12; ++i) sum += static_cast<double>(random() >> 11) * 0x1p-53;
        v = static_cast<float>(sum);
      }
      break;
    case dtype::s64:
      fill(t.mutable_view<std::int64_t>());
      break;
    case dtype::s32:
      fill(t.mutable_view<std::int32_t>());
      break;
    case dtype::s16:
      fill(t.mutable_view<std::int16_t>());
      break;
    case dtype::u16:
      fill(t.mutable_view<std::uint16_t>());
      break;
    case dtype::s8:
      fill(t.mutable_view<std::int8_t>());
      break;
    case dtype::u8:
      fill(t.mutable_view<std::uint8_t>());
      break;
    case dtype::boolean:
      fill(t.mutable_view<bool>());
      break;
    case dtype::f8e4m3:
    case dtype::f8e5m2:
      break;  // zeros: no graph input has these types
  }
  return t;
}

}  // namespace ptq
