// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <ptq/data/resize.hpp>

using ptq::shape;
using ptq::tensor;

namespace {

std::vector<int> pixels(const tensor& t) {
  auto v = t.view<std::uint8_t>();
  return {v.begin(), v.end()};
}

tensor image(shape dims, std::initializer_list<std::uint8_t> v) {
  return tensor::from<std::uint8_t>(std::move(dims), v);
}

}  // namespace

TEST_CASE(
    "a reduction by two weighs with the widened triangle: 3 3 1 and 1 3 3 sevenths at the edges") {
  const auto row = image({1, 4, 1}, {0, 70, 140, 210});
  CHECK(pixels(ptq::resize_image(row, 1, 2)) == std::vector<int>{50, 160});
  const auto column = image({4, 1, 1}, {0, 70, 140, 210});
  CHECK(pixels(ptq::resize_image(column, 2, 1)) == std::vector<int>{50, 160});
}

TEST_CASE("an enlargement interpolates between pixel centres") {
  const auto row = image({1, 2, 1}, {0, 100});
  CHECK(pixels(ptq::resize_image(row, 1, 4)) == std::vector<int>{0, 25, 75, 100});
}

TEST_CASE("channels are resized apart, and the same extents change nothing") {
  const auto rgb = image({1, 2, 3}, {0, 10, 255, 100, 10, 255});
  CHECK(pixels(ptq::resize_image(rgb, 1, 4)) ==
        std::vector<int>{0, 10, 255, 25, 10, 255, 75, 10, 255, 100, 10, 255});
  CHECK(pixels(ptq::resize_image(rgb, 1, 2)) == pixels(rgb));
}

TEST_CASE("a constant image stays constant at any size") {
  tensor flat(ptq::dtype::u8, {13, 7, 3});
  for (auto& v : flat.mutable_view<std::uint8_t>()) v = 255;
  for (auto [h, w] : {std::pair{1, 1}, {5, 5}, {31, 64}})
    for (int v : pixels(ptq::resize_image(flat, h, w))) CHECK(v == 255);
}

TEST_CASE("the centre crop of an odd margin leaves less at the top and left") {
  const auto numbered = image({3, 4, 1}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  CHECK(pixels(ptq::centre_crop(numbered, 2)) == std::vector<int>{1, 2, 5, 6});
  CHECK(pixels(ptq::centre_crop(numbered, 3)) == std::vector<int>{0, 1, 2, 4, 5, 6, 8, 9, 10});
  CHECK_THROWS_AS(ptq::centre_crop(numbered, 4), ptq::data_error);
}

TEST_CASE("gray is BT.601 luma") {
  const auto rgb = image({1, 4, 3}, {255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255});
  CHECK(pixels(ptq::gray_image(rgb)) == std::vector<int>{76, 150, 29, 255});  // .299 .587 .114
}

TEST_CASE("an absurd size is refused") {
  const auto one = image({1, 1, 1}, {0});
  CHECK_THROWS_AS(ptq::resize_image(one, 1 << 20, 1 << 20), ptq::data_error);
  CHECK_THROWS_AS(ptq::resize_image(one, 0, 1), ptq::data_error);
}
