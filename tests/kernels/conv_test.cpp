// SPDX-License-Identifier: Apache-2.0
// Float convolution: the reference against values worked out by hand and in double, every table
// against the reference to the bit.

#include <algorithm>
#include <cmath>
#include <string>

#include <doctest/doctest.h>

#include <ptq/dispatch.hpp>
#include <ptq/kernels/reference/float_conv.hpp>

#include "float_support.hpp"

using ptq::kernels::conv_args;
using ptq::kernels::conv_geometry;

namespace {

std::int64_t src_size(const conv_geometry& g) {
  const std::int64_t all = g.batch * g.in_h * g.in_w;
  return (all - 1) * g.src_pixel() + g.in_c;  // not one element beyond the last pixel
}
std::int64_t dst_size(const conv_geometry& g) {
  return (g.batch * g.out_h * g.out_w - 1) * g.dst_pixel() + g.out_c;
}

/// Fills out_h and out_w for equal padding on all sides, given as pad_top and pad_left.
conv_geometry sized(conv_geometry g) {
  g.out_h = (g.in_h + 2 * g.pad_top - g.dilation_h * (g.kernel_h - 1) - 1) / g.stride_h + 1;
  g.out_w = (g.in_w + 2 * g.pad_left - g.dilation_w * (g.kernel_w - 1) - 1) / g.stride_w + 1;
  return g;
}

std::string text(const conv_geometry& g) {
  std::string s;
  for (std::int64_t v : {g.batch, g.in_h, g.in_w, g.in_c, g.out_h, g.out_w, g.out_c, g.kernel_h,
                         g.kernel_w, g.stride_h, g.stride_w, g.dilation_h, g.dilation_w, g.pad_top,
                         g.pad_left, g.groups, g.src_stride, g.dst_stride})
    s += std::to_string(v) + " ";
  return s;
}

void same_as_reference(conv_geometry g, ptq::clamp act = {}, bool bias = true, bool wild = false) {
  g = sized(g);
  const auto x = ptq_test::numbers(src_size(g), 1, wild);
  const auto w = ptq_test::numbers(g.out_c * g.kernel_h * g.kernel_w * g.group_in(), 2, wild);
  const auto b = ptq_test::numbers(g.out_c, 3, wild);
  const conv_args args{
      .geometry = g, .weights = w.data(), .bias = bias ? b.data() : nullptr, .act = act};
  const auto expected = ptq_test::run(ptq::kernels::reference::conv(args), {x}, dst_size(g), 1);
  for (const ptq::kernels::kernel_table* table : ptq::available_kernels()) {
    if (!table->conv) continue;
    for (int parts : {1, 2, 3}) {
      const auto got = ptq_test::run(table->conv(args), {x}, dst_size(g), parts);
      INFO(table->isa << " in " << parts << " parts: " << text(g));
      CHECK(ptq_test::first_difference(got, expected) == -1);
    }
  }
}

}  // namespace

TEST_CASE("the reference convolution gives what is worked out by hand") {
  // One 3×2 image of one channel, kernel 2×2, padding 1 above and left; taps outside are 0.
  const float x[] = {1, 2, 3, 4, 5, 6};  // rows (1 2) (3 4) (5 6)
  const float w[] = {1, 10, 100, 1000};  // rows (1 10) (100 1000)
  const float bias[] = {0.5f};
  const conv_geometry g{.in_h = 3,
                        .in_w = 2,
                        .out_h = 3,
                        .out_w = 2,
                        .kernel_h = 2,
                        .kernel_w = 2,
                        .pad_top = 1,
                        .pad_left = 1};
  const auto y = ptq_test::run(
      ptq::kernels::reference::conv(
          {.geometry = g, .weights = w, .bias = bias, .act = {.low = 0, .high = 4000}}),
      {x}, 6, 1);
  CHECK(y == std::vector<float>{1000.5f, 2100.5f, 3010.5f, 4000.0f, 4000.0f, 4000.0f});
}

TEST_CASE("the reference convolution stays within the bound of a chain of k roundings") {
  const auto g = sized({.in_h = 7,
                        .in_w = 6,
                        .in_c = 6,
                        .out_c = 4,
                        .kernel_h = 3,
                        .kernel_w = 2,
                        .stride_h = 2,
                        .dilation_w = 2,
                        .pad_top = 2,
                        .pad_left = 1,
                        .groups = 2});
  const auto x = ptq_test::numbers(src_size(g), 5), w = ptq_test::numbers(4 * 3 * 2 * 3, 6);
  const auto y = ptq_test::run(ptq::kernels::reference::conv({.geometry = g, .weights = w.data()}),
                               {x}, dst_size(g), 1);
  for (std::int64_t oh = 0; oh < g.out_h; ++oh)
    for (std::int64_t ow = 0; ow < g.out_w; ++ow)
      for (std::int64_t oc = 0; oc < g.out_c; ++oc) {
        double sum = 0, magnitude = 0;
        for (std::int64_t c = 0; c < 3; ++c)
          for (std::int64_t kh = 0; kh < 3; ++kh)
            for (std::int64_t kw = 0; kw < 2; ++kw) {
              const std::int64_t ih = 2 * oh - 2 + kh, iw = ow - 1 + 2 * kw;
              if (ih < 0 || ih >= 7 || iw < 0 || iw >= 6) continue;
              const double p =
                  static_cast<double>(
                      x[static_cast<std::size_t>((ih * 6 + iw) * 6 + oc / 2 * 3 + c)]) *
                  static_cast<double>(
                      w[static_cast<std::size_t>(((oc * 3 + kh) * 2 + kw) * 3 + c)]);
              sum += p;
              magnitude += std::abs(p);
            }
        const float got = y[static_cast<std::size_t>((oh * g.out_w + ow) * 4 + oc)];
        CHECK(std::abs(static_cast<double>(got) - sum) <= 18 * std::ldexp(magnitude, -24) * 1.01);
      }
}

TEST_CASE("convolutions equal the reference at the edges of row and column tiles") {
  // Tiles: 14, 6 or 4 rows; 32, 16 or 8 columns; units of 128 columns; chunks of 256 in k.
  for (std::int64_t pixels : {1, 3, 4, 5, 6, 7, 13, 14, 15, 29})
    for (std::int64_t out : {1, 7, 8, 9, 15, 16, 17, 31, 33})
      same_as_reference({.in_w = pixels, .in_c = 5, .out_c = out});
  for (std::int64_t out : {63, 64, 65, 97, 127, 128, 129, 145, 257}) {
    same_as_reference({.in_w = 1, .in_c = 3, .out_c = out});
    same_as_reference({.in_w = 17, .in_c = 3, .out_c = out});
  }
  for (std::int64_t in : {1, 2, 3, 7, 8, 15, 16, 17, 31, 255, 256, 257, 512, 513})
    same_as_reference({.in_w = 9, .in_c = in, .out_c = 19});
  same_as_reference({.in_w = 259, .in_c = 1100, .out_c = 9});  // several units of rows
}

TEST_CASE("convolutions equal the reference with padding, strides, dilation and groups") {
  for (std::int64_t stride : {1, 2, 3})
    for (std::int64_t dilation : {1, 2})
      for (std::int64_t in : {1, 3, 16}) {
        same_as_reference({.batch = 2,
                           .in_h = 9,
                           .in_w = 8,
                           .in_c = in,
                           .out_c = 11,
                           .kernel_h = 3,
                           .kernel_w = 3,
                           .stride_h = stride,
                           .stride_w = stride,
                           .dilation_h = dilation,
                           .dilation_w = dilation,
                           .pad_top = 1,
                           .pad_left = 1});
        same_as_reference({.in_h = 11,
                           .in_w = 12,
                           .in_c = 2 * in,
                           .out_c = 34,
                           .kernel_h = 1,
                           .kernel_w = 5,
                           .stride_w = stride,
                           .dilation_w = dilation,
                           .pad_left = 4,
                           .groups = 2});
      }
  // A kernel wider than the image: some pixels see padding alone.
  same_as_reference({.in_h = 1,
                     .in_w = 2,
                     .in_c = 3,
                     .out_c = 5,
                     .kernel_h = 5,
                     .kernel_w = 7,
                     .pad_top = 4,
                     .pad_left = 6});
  // 7×7 of 3 channels, the first layer of many networks; 32 groups of 4, those of ResNeXt.
  same_as_reference({.in_h = 19,
                     .in_w = 19,
                     .in_c = 3,
                     .out_c = 64,
                     .kernel_h = 7,
                     .kernel_w = 7,
                     .stride_h = 2,
                     .stride_w = 2,
                     .pad_top = 3,
                     .pad_left = 3});
  same_as_reference({.in_h = 5,
                     .in_w = 5,
                     .in_c = 128,
                     .out_c = 128,
                     .kernel_h = 3,
                     .kernel_w = 3,
                     .pad_top = 1,
                     .pad_left = 1,
                     .groups = 32});
}

TEST_CASE("pixels further apart than their channels are read and written in place") {
  for (std::int64_t groups : {1, 3, 6}) {
    const auto g = sized({.batch = 2,
                          .in_h = 5,
                          .in_w = 6,
                          .in_c = 6,
                          .out_c = 6,
                          .kernel_h = 3,
                          .kernel_w = 3,
                          .pad_top = 1,
                          .pad_left = 1,
                          .groups = groups,
                          .src_stride = 11,
                          .dst_stride = 13});
    same_as_reference(g);
  }
}

TEST_CASE("depthwise convolutions equal the reference") {
  for (std::int64_t c : {2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 65, 79, 80, 81, 127})
    same_as_reference({.in_h = 6,
                       .in_w = 7,
                       .in_c = c,
                       .out_c = c,
                       .kernel_h = 3,
                       .kernel_w = 3,
                       .pad_top = 1,
                       .pad_left = 1,
                       .groups = c});
  for (std::int64_t width : {1, 2, 3, 4, 5, 8, 9, 13})
    for (std::int64_t stride : {1, 2})
      same_as_reference({.batch = 2,
                         .in_h = 5,
                         .in_w = width,
                         .in_c = 24,
                         .out_c = 24,
                         .kernel_h = 5,
                         .kernel_w = 3,
                         .stride_h = stride,
                         .stride_w = stride,
                         .dilation_h = 2,
                         .pad_top = 4,
                         .pad_left = 1,
                         .groups = 24});
}

TEST_CASE("depthwise convolutions with several outputs per channel equal the reference") {
  for (std::int64_t multiplier : {2, 3})
    same_as_reference({.in_h = 4,
                       .in_w = 5,
                       .in_c = 5,
                       .out_c = 5 * multiplier,
                       .kernel_h = 3,
                       .kernel_w = 3,
                       .pad_top = 1,
                       .pad_left = 1,
                       .groups = 5});
}

TEST_CASE("bounds and a missing bias give the reference's bits") {
  const conv_geometry dense{.in_h = 5,
                            .in_w = 5,
                            .in_c = 9,
                            .out_c = 21,
                            .kernel_h = 3,
                            .kernel_w = 3,
                            .pad_top = 1,
                            .pad_left = 1};
  const conv_geometry depthwise{.in_h = 5,
                                .in_w = 5,
                                .in_c = 21,
                                .out_c = 21,
                                .kernel_h = 3,
                                .kernel_w = 3,
                                .pad_top = 1,
                                .pad_left = 1,
                                .groups = 21};
  for (const auto& g : {dense, depthwise}) {
    same_as_reference(g, {}, false);
    same_as_reference(g, {.low = 0});
    same_as_reference(g, {.low = 0, .high = 0.75f}, false);
    same_as_reference(g, {.high = -0.25f});
  }
}

TEST_CASE("numbers far apart, ties and subnormals are rounded once per step on every ISA") {
  const conv_geometry dense{.in_h = 9,
                            .in_w = 9,
                            .in_c = 13,
                            .out_c = 37,
                            .kernel_h = 3,
                            .kernel_w = 3,
                            .pad_top = 1,
                            .pad_left = 1};
  const conv_geometry depthwise{.in_h = 20,
                                .in_w = 20,
                                .in_c = 37,
                                .out_c = 37,
                                .kernel_h = 3,
                                .kernel_w = 3,
                                .pad_top = 1,
                                .pad_left = 1,
                                .groups = 37};
  same_as_reference(dense, {}, true, true);
  same_as_reference(depthwise, {}, true, true);
}

TEST_CASE("infinities and NaN of the source arrive where the reference has them") {
  const auto g = sized({.in_h = 6,
                        .in_w = 6,
                        .in_c = 4,
                        .out_c = 18,
                        .kernel_h = 3,
                        .kernel_w = 3,
                        .pad_top = 1,
                        .pad_left = 1});
  auto x = ptq_test::numbers(src_size(g), 1);
  auto w = ptq_test::numbers(18 * 9 * 4, 2);
  x[7] = std::numeric_limits<float>::quiet_NaN();
  x[60] = std::numeric_limits<float>::infinity();
  w[40] = -std::numeric_limits<float>::infinity();  // times 0 in the padding: NaN
  const conv_args args{.geometry = g, .weights = w.data(), .act = {.low = 0, .high = 6}};
  const auto expected = ptq_test::run(ptq::kernels::reference::conv(args), {x}, dst_size(g), 1);
  CHECK(std::any_of(expected.begin(), expected.end(), [](float v) { return std::isnan(v); }));
  for (const ptq::kernels::kernel_table* table : ptq::available_kernels())
    if (table->conv) {
      INFO(table->isa);
      CHECK(ptq_test::first_difference(ptq_test::run(table->conv(args), {x}, dst_size(g), 1),
                                       expected) == -1);
    }
}
