// SPDX-License-Identifier: Apache-2.0
// Integer depthwise convolutions: filters, strides, channels that share registers.
#include "qconv_problem.hpp"

using namespace qconv_test;

namespace {

TEST_CASE("depthwise convolution equals the reference for every count of channels") {
  for (const std::int64_t c : {2, 3, 8, 15, 16, 17, 24, 31, 32, 33, 48, 63, 64, 65, 96, 113, 120})
    for (const std::int64_t stride : {1, 2})
      check({.g = square(7, c, c, 3, stride, c),
             .out = c % 3 == 0   ? output::added
                    : c % 3 == 1 ? output::codes
                                 : output::reals});
  for (const std::int64_t kernel : {1, 2, 5, 7}) {
    check({.g = square(9, 40, 40, kernel, 1, 40)});
    check({.g = square(9, 40, 40, kernel, 2, 40), .out = output::clamped});
  }
  check({.g = square(11, 20, 20, 3, 1, 20, 2)});  // dilated
  check({.g = square(11, 20, 20, 3, 3, 20)});
  check({.g = square(2, 20, 20, 3, 1, 20)});  // narrower than the filter
  check({.g = square(1, 70, 70, 3, 1, 70)});
  check({.g = square(1, 70, 70, 5, 2, 70)});
  for (const std::int64_t w : {1, 2, 3, 4, 5, 6, 7})
    check({.g = geometry({.batch = 2,
                          .in_h = 3,
                          .in_w = w,
                          .in_c = 19,
                          .out_c = 19,
                          .kernel_h = 3,
                          .kernel_w = 3,
                          .pad_top = 1,
                          .pad_left = 1,
                          .groups = 19})});
  check({.g = geometry({.in_h = 9,
                        .in_w = 9,
                        .in_c = 32,
                        .out_c = 32,
                        .kernel_h = 3,
                        .kernel_w = 3,
                        .groups = 32})});  // no padding
}

TEST_CASE(
    "depthwise convolution of few channels, whose pixels share registers, equals the reference") {
  for (const std::int64_t c : {4, 8, 16, 24, 40})
    for (const std::int64_t stride : {1, 2, 3})
      for (std::int64_t w = 1; w <= 19; ++w) {
        conv_geometry g = geometry({.batch = 2,
                                    .in_h = 4,
                                    .in_w = w,
                                    .in_c = c,
                                    .out_c = c,
                                    .kernel_h = 3,
                                    .kernel_w = 3,
                                    .stride_h = stride,
                                    .stride_w = stride,
                                    .pad_top = 1,
                                    .pad_left = 1,
                                    .groups = c});
        for (const auto out : {output::codes, output::added, output::reals})
          check({.g = g, .out = out});
        g.dst_stride = c + 3;
        check({.g = g});
        g.src_stride = c + 5;
        check({.g = g});
        g.dst_stride = 0;
        check({.g = g, .out = output::added});
      }
  conv_geometry g = square(8, 8, 8, 3, 2, 8);
  g.pad_top = g.pad_left = 0;
  check({.g = g});
}

// Columns of the filter's rows are walked in groups, pixels of a row in parts: every remainder of
// both, images smaller than the filter, and paddings that are not alike.
TEST_CASE("depthwise convolution by any filter equals the reference") {
  std::mt19937 random(41);
  const auto draw = [&](std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(random() % static_cast<unsigned>(high - low + 1));
  };
#ifndef PTQ_TEST_FILTERS
#define PTQ_TEST_FILTERS 400
#endif
  for (int i = 0; i < PTQ_TEST_FILTERS; ++i) {
    const bool is_square = draw(0, 1) != 0;
    conv_geometry g{.batch = draw(1, 2), .in_h = draw(1, 12), .in_w = draw(1, 40)};
    g.in_c = g.groups = draw(0, 2) == 0 ? 8 * draw(1, 10) : draw(2, 200);
    g.out_c = g.in_c * (draw(0, 9) == 0 ? draw(2, 9) : 1);
    g.kernel_h = draw(1, 9);
    g.kernel_w = is_square ? g.kernel_h : draw(1, 9);
    g.stride_h = draw(1, 3);
    g.stride_w = is_square ? g.stride_h : draw(1, 4);
    g.dilation_h = draw(0, 3) == 0 ? draw(2, 3) : 1;
    g.dilation_w = is_square ? g.dilation_h : draw(1, 4);
    g.pad_top = draw(0, g.dilation_h * (g.kernel_h - 1));
    g.pad_left = draw(0, g.dilation_w * (g.kernel_w - 1));
    g = geometry(g);
    // the padding below and to the right is another
    g.out_h = std::max<std::int64_t>(g.out_h + draw(-1, 1), 1);
    g.out_w = std::max<std::int64_t>(g.out_w + draw(-1, 2), 1);
    if (draw(0, 3) == 0) g.src_stride = g.in_c + draw(1, 9);
    if (draw(0, 3) == 0) g.dst_stride = g.out_c + draw(1, 9);
    problem q{.g = g, .out = static_cast<output>(draw(0, 3))};
    q.extreme = draw(0, 7) == 0;
    q.largest = draw(0, 1) != 0 ? 64 : 128;
    q.seldom = draw(0, 1) != 0 ? 60 : 0;
    q.one_multiplier = draw(0, 7) == 0;
    q.bias = draw(0, 3) != 0;
    q.zero_point = static_cast<int>(draw(0, 255));
    q.y_zero_point = draw(0, 2) == 0 ? 0 : 121;
    check(q);
  }
}

TEST_CASE("depthwise convolution with several outputs per channel equals the reference") {
  check({.g = square(7, 8, 16, 3, 1, 8)});
  check({.g = square(7, 5, 15, 3, 2, 5), .out = output::added});
  check({.g = square(7, 40, 80, 5, 1, 40), .out = output::reals});
}

}  // namespace
