// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <ptq/data/preprocess.hpp>

#include "../support/temp_folder.hpp"

using ptq::dtype;
using ptq::preprocessing;
using ptq::shape;
using ptq::tensor;

namespace {

template <class T>
std::vector<T> values(const tensor& t) {
  auto v = t.view<T>();
  return {v.begin(), v.end()};
}

/// Two pixels in a row: (10,20,30) and (11,21,31).
const auto last = tensor::from<std::uint8_t>({2, 1, 3}, {10, 20, 30, 11, 21, 31});
const auto planar = tensor::from<std::uint8_t>({3, 2, 1}, {10, 11, 20, 21, 30, 31});

}  // namespace

TEST_CASE("channels-last and planar pixels give the same input") {
  const std::vector<float> nchw = {10, 11, 20, 21, 30, 31};
  CHECK(values<float>(preprocess(last, {})) == nchw);
  CHECK(preprocess(last, {}).dims() == shape{1, 3, 2, 1});
  CHECK(values<float>(preprocess(planar, {})) == nchw);
  CHECK(preprocess(planar, {}).dims() == shape{1, 3, 2, 1});
  const preprocessing nhwc{.layout = ptq::image_layout::nhwc};
  const std::vector<float> interleaved = {10, 20, 30, 11, 21, 31};
  CHECK(values<float>(preprocess(last, nhwc)) == interleaved);
  CHECK(values<float>(preprocess(planar, nhwc)) == interleaved);
  CHECK(preprocess(planar, nhwc).dims() == shape{1, 2, 1, 3});
}

TEST_CASE("mean and std follow the order of the result's channels") {
  const preprocessing p{
      .channels = ptq::channel_order::bgr, .scale = 2, .mean = {1, 2, 3}, .std = {1, 2, 4}};
  // b: (60 - 1) / 1, g: (40 - 2) / 2, r: (20 - 3) / 4
  CHECK(values<float>(preprocess(last, p)) == std::vector<float>{59, 61, 19, 20, 4.25f, 4.75f});
}

TEST_CASE("one mean and std serve every channel, another count is refused") {
  CHECK(values<float>(preprocess(last, {.mean = {10}, .std = {2}})) ==
        std::vector<float>{0, 0.5f, 5, 5.5f, 10, 10.5f});
  CHECK_THROWS_AS(preprocess(last, {.mean = {1, 2}}), ptq::data_error);
  CHECK_THROWS_AS(preprocess(last, {.std = {1, 2, 3, 4}}), ptq::data_error);
  CHECK_THROWS_AS(preprocess(last, {.std = {1, 0, 1}}), ptq::data_error);
}

TEST_CASE("8-bit results of raw pixels are the pixels, others round half to even and saturate") {
  const preprocessing raw{.layout = ptq::image_layout::nhwc, .type = dtype::u8};
  CHECK(values<std::uint8_t>(preprocess(last, raw)) == values<std::uint8_t>(last));
  const auto t = tensor::from<std::uint8_t>({1, 1, 4}, {1, 3, 255, 0});
  CHECK(values<std::uint8_t>(preprocess(t, {.scale = 0.5f, .type = dtype::u8})) ==
        std::vector<std::uint8_t>{0, 2, 128, 0});
  CHECK(values<std::int8_t>(preprocess(t, {.mean = {128}, .type = dtype::s8})) ==
        std::vector<std::int8_t>{-127, -125, 127, -128});
  CHECK(values<std::uint8_t>(preprocess(t, {.scale = 2, .mean = {10}, .type = dtype::u8})) ==
        std::vector<std::uint8_t>{0, 0, 255, 0});
  CHECK_THROWS_AS(preprocess(t, {.type = dtype::s32}), ptq::data_error);
}

TEST_CASE("signed records and floats take the same formula") {
  const auto s8 = tensor::from<std::int8_t>({1, 1, 2}, {-128, 127});
  CHECK(values<float>(preprocess(s8, {.scale = 0.5f, .mean = {1}})) ==
        std::vector<float>{-65, 62.5f});
  const auto f32 = tensor::from<float>({2}, {1.5f, -1});
  CHECK(values<float>(preprocess(f32, {.scale = 2})) == std::vector<float>{3, -2});
  CHECK(preprocess(f32, {}).dims() == shape{1, 2});
  CHECK(preprocess(f32.reshaped({1, 2}), {}).dims() == shape{1, 1, 2});
  CHECK_THROWS_AS(preprocess(f32, {.resize = 4}), ptq::data_error);
  CHECK_THROWS_AS(preprocess(tensor(dtype::boolean, {2}), {}), ptq::data_error);
}

TEST_CASE("resize alone is square, resize and crop keep the aspect") {
  tensor wide(dtype::u8, {4, 8, 3});
  for (auto& v : wide.mutable_view<std::uint8_t>()) v = 7;
  CHECK(preprocess(wide, {.resize = 2}).dims() == shape{1, 3, 2, 2});
  CHECK(preprocess(wide, {.resize = 3, .crop = 3}).dims() == shape{1, 3, 3, 3});
  CHECK(preprocess(wide, {.crop = 4}).dims() == shape{1, 3, 4, 4});
  CHECK(preprocess(wide, {}).dims() == shape{1, 3, 4, 8});
  // The centre of a ramp, not the ramp squeezed: shorter side 4 stays, columns 2 … 5 are kept.
  auto pixels = wide.mutable_view<std::uint8_t>();
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i / 3 % 8);
  const auto cut = values<float>(preprocess(wide, {.resize = 4, .crop = 4}));
  CHECK(std::vector<float>(cut.begin(), cut.begin() + 4) == std::vector<float>{2, 3, 4, 5});
  // Too small for the square: enlarged to 5 x 10 first.
  CHECK(preprocess(wide, {.crop = 5}).dims() == shape{1, 3, 5, 5});
}

TEST_CASE("gray gives one channel") {
  CHECK(preprocess(last, {.channels = ptq::channel_order::gray}).dims() == shape{1, 1, 2, 1});
}
