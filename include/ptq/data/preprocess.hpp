#pragma once
// SPDX-License-Identifier: Apache-2.0
// Pixels → model input: resize, centre crop, channel order, (x · scale − mean) / std, layout,
// element type. One struct for every source of raw values: photographs, IDX, CIFAR and raw records.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <ptq/core/dtype.hpp>
#include <ptq/core/error.hpp>
#include <ptq/core/numeric.hpp>
#include <ptq/core/tensor.hpp>
#include <ptq/data/resize.hpp>
#include <ptq/data/samples.hpp>

namespace ptq {

enum class channel_order : std::uint8_t { rgb, bgr, gray };
enum class image_layout : std::uint8_t { nchw, nhwc };

/// What happens to raw values on their way into a model, in the order of the members. The defaults
/// change nothing but the element type.
struct preprocessing {
  std::int64_t resize = 0;  // 0: none. With crop: the shorter side; without: resize x resize
  std::int64_t crop = 0;    // 0: none. Side of the square cut from the centre; a smaller image is enlarged first
  channel_order channels = channel_order::rgb;  // order in the result; sources hold rgb
  float scale = 1.0f;                           // value = (x · scale − mean) / std, x as stored
  std::vector<float> mean = {};  // none, one, or one per channel in the order of the result
  std::vector<float> std = {};   // same
  image_layout layout = image_layout::nchw;  // of the result
  dtype type = dtype::f32;                   // f32, or u8, s8: rounded half to even and saturated

  bool operator==(const preprocessing&) const = default;
  bool active() const { return *this != preprocessing{}; }
};

namespace detail_preprocess {

/// A record seen as an image: extents and distance in elements between neighbours along each axis.
struct view {
  std::int64_t c, h, w;
  std::int64_t stride_c, stride_h, stride_w;
};

/// [c,h,w] or [h,w,c]: channels last if the last extent is 1 or 3 and the first is neither.
inline view view_of(const shape& s) {
  auto few = [](std::int64_t n) { return n == 1 || n == 3; };
  if (few(s[2]) && !few(s[0])) return {s[2], s[0], s[1], 1, s[1] * s[2], s[2]};
  return {s[0], s[1], s[2], s[1] * s[2], s[2], 1};
}

inline float at_channel(const std::vector<float>& v, std::int64_t c, float absent) {
  if (v.empty()) return absent;
  return v.size() == 1 ? v[0] : v[static_cast<std::size_t>(c)];
}

inline void require_count(const std::vector<float>& v, std::int64_t channels, const char* what) {
  if (v.size() > 1 && static_cast<std::int64_t>(v.size()) != channels)
    throw data_error(std::string("data: preprocess: ") + what + ": expected 1 or " +
                     std::to_string(channels) + " values, got " + std::to_string(v.size()));
}

inline void require_valid(const preprocessing& p, std::int64_t channels) {
  require_count(p.mean, channels, "mean");
  require_count(p.std, channels, "std");
  for (float s : p.std)
    if (!(s > 0.0f || s < 0.0f))
      throw data_error("data: preprocess: std: expected non-zero values, got " + std::to_string(s));
  if (p.type != dtype::f32 && p.type != dtype::u8 && p.type != dtype::s8)
    throw data_error(std::string("data: preprocess: type: expected f32, u8 or s8, got ") +
                     name_of(p.type));
}

/// The one formula. The product of two floats is exact in double, so that a fused multiply-add
/// changes nothing.
inline float normalized(float x, float scale, float mean, float std) {
  const double product = static_cast<double>(x) * static_cast<double>(scale);
  return static_cast<float>((product - static_cast<double>(mean)) / static_cast<double>(std));
}

template <class To>
To stored(float v) {
  if constexpr (std::is_same_v<To, float>)
    return v;
  else
    return static_cast<To>(
        quantize_value(v, 1.0f, 0, lowest_code(dtype_of<To>), highest_code(dtype_of<To>)));
}

/// Value → result for one channel; 8-bit sources go through a table of their 256 values.
template <class From, class To>
class mapping {
 public:
  mapping(const preprocessing& p, std::int64_t c)
      : scale_(p.scale), mean_(at_channel(p.mean, c, 0.0f)), std_(at_channel(p.std, c, 1.0f)) {
    if constexpr (sizeof(From) == 1)
      for (int i = 0; i < 256; ++i)
        table_[static_cast<std::size_t>(i)] = compute(static_cast<From>(i));
  }
  To operator()(From x) const {
    if constexpr (sizeof(From) == 1)
      return table_[static_cast<std::uint8_t>(x)];
    else
      return compute(x);
  }

 private:
  To compute(From x) const {
    return stored<To>(normalized(static_cast<float>(x), scale_, mean_, std_));
  }
  float scale_, mean_, std_;
  std::array<To, sizeof(From) == 1 ? 256 : 1> table_{};
};

template <class From, class To>
tensor map_image(const tensor& src, const view& v, const preprocessing& p) {
  const bool last = p.layout == image_layout::nhwc;
  tensor out(dtype_of<To>, last ? shape{1, v.h, v.w, v.c} : shape{1, v.c, v.h, v.w});
  const From* from = src.view<From>().data();
  To* to = out.mutable_view<To>().data();
  const std::int64_t step_c = last ? 1 : v.h * v.w, step_w = last ? v.c : 1;
  for (std::int64_t c = 0; c < v.c; ++c) {
    const bool reverse = p.channels == channel_order::bgr && v.c == 3;
    const mapping<From, To> map(p, c);
    for (std::int64_t y = 0; y < v.h; ++y) {
      const From* row = from + (reverse ? 2 - c : c) * v.stride_c + y * v.stride_h;
      To* dst = to + c * step_c + y * v.w * step_w;
      for (std::int64_t x = 0; x < v.w; ++x) dst[x * step_w] = map(row[x * v.stride_w]);
    }
  }
  return out;
}

/// Records that are no images: one mean and std for all, and a batch axis in front.
template <class From, class To>
tensor map_flat(const tensor& src, shape dims, const preprocessing& p) {
  tensor out(dtype_of<To>, std::move(dims));
  const mapping<From, To> map(p, 0);
  auto to = out.mutable_view<To>();
  auto from = src.view<From>();
  for (std::size_t i = 0; i < from.size(); ++i) to[i] = map(from[i]);
  return out;
}

template <class F>
tensor with_type(dtype from, dtype to, F&& f) {
  auto second = [&]<class From>(From) -> tensor {
    if (to == dtype::u8) return f(From{}, std::uint8_t{});
    if (to == dtype::s8) return f(From{}, std::int8_t{});
    return f(From{}, float{});
  };
  switch (from) {
    case dtype::f32:
      return second(float{});
    case dtype::s64:
      return second(std::int64_t{});
    case dtype::s32:
      return second(std::int32_t{});
    case dtype::s16:
      return second(std::int16_t{});
    case dtype::u16:
      return second(std::uint16_t{});
    case dtype::s8:
      return second(std::int8_t{});
    case dtype::u8:
      return second(std::uint8_t{});
    case dtype::boolean:
    case dtype::f8e4m3:
    case dtype::f8e5m2:
      break;
  }
  throw data_error(std::string("data: preprocess: expected numbers, got ") + name_of(from));
}

/// u8 image in any view → [h,w,c] bytes, resized and cropped, gray where asked for.
inline tensor resized(const tensor& src, const view& v, const preprocessing& p) {
  if (src.type() != dtype::u8)
    throw data_error(std::string("data: preprocess: resize, crop and gray need u8 images, got ") +
                     name_of(src.type()) + " " + src.dims().text());
  tensor image(dtype::u8, {v.h, v.w, v.c});
  auto from = src.view<std::uint8_t>();
  auto to = image.mutable_view<std::uint8_t>();
  std::size_t o = 0;
  for (std::int64_t y = 0; y < v.h; ++y)
    for (std::int64_t x = 0; x < v.w; ++x)
      for (std::int64_t c = 0; c < v.c; ++c)
        to[o++] = from[static_cast<std::size_t>(y * v.stride_h + x * v.stride_w + c * v.stride_c)];
  if (p.resize > 0) {
    const std::int64_t shorter = std::min(v.h, v.w);
    if (p.crop > 0)
      image = resize_image(image, p.resize * v.h / shorter, p.resize * v.w / shorter);
    else
      image = resize_image(image, p.resize, p.resize);
  }
  if (p.crop > 0) {
    // A smaller image is enlarged until the square fits.
    const std::int64_t h = image.dims()[0], w = image.dims()[1], shorter = std::min(h, w);
    if (shorter < p.crop) image = resize_image(image, p.crop * h / shorter, p.crop * w / shorter);
    image = centre_crop(image, p.crop);
  }
  return p.channels == channel_order::gray && v.c == 3 ? gray_image(image) : image;
}

}  // namespace detail_preprocess

/// Raw values → model input.
///
///   value = (x · scale − mean) / std
///
/// raw     image [c,h,w] or [h,w,c] (channels last if only the last extent is 1 or 3), with or
///         without a leading 1; or any other numeric record [...], which takes no resize or crop,
///         and one mean and std. Resize, crop and gray need u8
/// returns [1,c,h,w] or [1,h,w,c] for images, [1,...] for other records, of p.type
/// throws  data_error for counts that don't match the channels, or a mean, std or scale that is no number or
///         std 0
/// exact   scale 1, mean 0, std 1 and the raw type as p.type: values unchanged
inline tensor preprocess(const tensor& raw, const preprocessing& p) {
  namespace d = detail_preprocess;
  tensor src = raw;
  if (src.dims().rank() == 4 && src.dims()[0] == 1)
    src = src.reshaped({src.dims()[1], src.dims()[2], src.dims()[3]});
  const bool geometry = p.resize > 0 || p.crop > 0 || p.channels == channel_order::gray;
  if (src.dims().rank() != 3) {
    d::require_valid(p, 1);
    if (geometry)
      throw data_error("data: preprocess: resize and crop need images [c,h,w] or [h,w,c], got " +
                       src.dims().text());
    shape dims = raw.dims();
    dims.dims.insert(dims.dims.begin(), 1);
    return d::with_type(src.type(), p.type, [&]<class From, class To>(From, To) {
      return d::map_flat<From, To>(src, dims, p);
    });
  }
  d::view v = d::view_of(src.dims());
  if (geometry) {
    src = d::resized(src, v, p);
    const auto& s = src.dims();
    v = {s[2], s[0], s[1], 1, s[1] * s[2], s[2]};
  }
  d::require_valid(p, v.c);
  return d::with_type(src.type(), p.type, [&]<class From, class To>(From, To) {
    return d::map_image<From, To>(src, v, p);
  });
}

/// Every tensor of every sample preprocessed as it is asked for.
inline samples preprocessed(const samples& from, const preprocessing& p) {
  return transformed(from, [p](sample s) {
    for (auto& input : s.inputs) input.value = preprocess(input.value, p);
    return s;
  });
}

}  // namespace ptq
