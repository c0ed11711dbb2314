// SPDX-License-Identifier: Apache-2.0
// Integer convolutions that are not depthwise: tiles, ways to find rows, borders, outputs.
#include "qconv_problem.hpp"

using namespace qconv_test;

namespace {

TEST_CASE("a matrix product equals the reference at every edge of a tile") {
  for (const std::int64_t m : {1, 2, 3, 5, 6, 7, 11, 12, 13, 16, 17, 49, 72, 97})
    check({.g = matrix(m, 67, 36)});
  for (const std::int64_t n : {1,  3,  4,  5,  7,  8,  9,  15, 16,  17,  31,  32,
                               33, 47, 48, 49, 63, 64, 65, 80, 127, 128, 129, 191})
    check({.g = matrix(13, n, 20), .out = n % 2 ? output::added : output::codes});
  for (const std::int64_t k : {1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 63, 64, 65, 127, 257})
    check({.g = matrix(7, 37, k), .out = k % 2 ? output::reals : output::clamped});
}

// Where the ISA has tiles they take 16 rows at once, from 16 columns and 32 bytes of K on.
TEST_CASE("a matrix product of many rows equals the reference at every edge of a tile") {
  for (const std::int64_t m : {15, 16, 17, 19, 20, 31, 32, 33, 48, 49, 71, 72, 97})
    check({.g = matrix(m, 67, 64)});
  for (const std::int64_t n : {15, 16, 17, 31, 32, 33, 48, 49, 64, 65, 96, 129})
    check({.g = matrix(37, n, 36), .out = n % 2 ? output::added : output::reals});
  for (const std::int64_t k : {31, 32, 33, 60, 63, 64, 65, 68, 96, 127, 128, 160, 257})
    check({.g = matrix(36, 70, k), .out = k % 2 ? output::clamped : output::codes});
  for (const std::int64_t c : {32, 33, 64, 80}) {
    check({.g = square(13, c, 40, 3), .out = output::added});
    check({.g = square(13, c, 40, 3, 2)});
  }
}

TEST_CASE("the largest and smallest codes and weights do not saturate on the way") {
  for (const std::int64_t k : {4, 64, 1000})
    for (const int zero_point : {0, 255}) {
      check({.g = matrix(9, 70, k), .extreme = true, .zero_point = zero_point});
      check({.g = matrix(20, 70, k), .extreme = true, .zero_point = zero_point});
      check({.g = square(5, 32, 32, 3, 1, 32), .extreme = true, .zero_point = zero_point});
    }
}

// Where there is no vpdpbusd, the weights decide how they are multiplied: pairs added in 16 bits, with the
// excess of a few pairs in extra groups, out of 4, 8 or 16 bytes, or everything widened.
TEST_CASE("weights of any size equal the reference") {
  for (const auto& [largest, seldom] : {std::pair(64, 0), std::pair(40, 30), std::pair(128, 0)}) {
    const auto with = [&, largest = largest, seldom = seldom](const conv_geometry& g) {
      check({.g = g, .largest = largest, .seldom = seldom});
    };
    for (const std::int64_t k : {1, 4, 6, 7, 8, 10, 13, 15, 16, 17, 18, 22, 31, 34, 64, 130}) with(matrix(13, 37, k));
    with(matrix(97, 40, 26));
    for (const std::int64_t n : {7, 8, 9, 16, 17, 33, 64, 65}) with(matrix(7, n, 20));
    with(square(9, 20, 70, 3, 2));
    with(square(9, 3, 20, 3));
    with(square(7, 24, 12, 3, 2, 4));
    with(square(9, 3, 20, 3, 1, 1, 2));
    for (const std::int64_t c : {3, 16, 24, 33, 70}) {
      with(square(7, c, c, 3, 1, c));
      with(square(7, c, c, 5, 2, c));
      with(square(9, c, c, 3, 1, c, 2));
    }
  }
}

TEST_CASE("a convolution equals the reference under stride, dilation and padding") {
  for (const auto out : {output::codes, output::clamped, output::added, output::reals}) {
    check({.g = square(9, 8, 24, 3), .out = out});
    check({.g = square(9, 20, 70, 3, 2), .out = out});
    check({.g = square(11, 5, 17, 3, 1, 1, 2), .out = out});
    check({.g = square(8, 33, 65, 1, 2), .out = out});
    check({.g = square(6, 64, 80, 5), .out = out, .one_multiplier = true, .bias = false});
  }
  check({.g = square(3, 4, 4, 7)});  // padding on both sides of a window
  check({.g = geometry({.batch = 3,
                        .in_h = 5,
                        .in_w = 13,
                        .in_c = 12,
                        .out_c = 40,
                        .kernel_h = 1,
                        .kernel_w = 7,
                        .pad_left = 3})});
  check({.g = geometry({.in_h = 13,
                        .in_w = 1,
                        .in_c = 7,
                        .out_c = 9,
                        .kernel_h = 5,
                        .kernel_w = 1,
                        .stride_h = 3,
                        .pad_top = 2})});
}

TEST_CASE("a function of the sum equals the reference, rounded once") {
  for (const auto out : {output::leaky_relu, output::hard_swish}) {
    for (const std::int64_t n : {1, 7, 8, 16, 33, 64, 129}) check({.g = matrix(13, n, 20), .out = out});
    for (const std::int64_t m : {1, 4, 16, 37}) check({.g = matrix(m, 70, 64), .out = out});
    check({.g = square(13, 64, 40, 3), .out = out, .y_zero_point = 0});
    check({.g = square(9, 20, 70, 3, 2), .out = out, .gain = 30});
    check({.g = square(14, 64, 64, 3), .out = out, .extreme = true});
    check({.g = square(9, 3, 20, 3), .out = out});
    for (const std::int64_t c : {3, 16, 40}) {
      check({.g = square(9, c, c, 3, 1, c), .out = out});
      check({.g = square(9, c, c, 5, 2, c), .out = out});
    }
  }
}

// Tiles whose taps lie in the padding skip them where that pays.
TEST_CASE("a padded image equals the reference on every side") {
  for (const std::int64_t side : {3, 6, 7, 14, 23})
    for (const std::int64_t kernel : {3, 5})
      for (const std::int64_t stride : {1, 2})
        for (const int zero_point : {0, 113}) {
          const auto with = [&](std::int64_t out_c, output out) {
            conv_geometry g = square(side, 20, out_c, kernel, stride);
            g.batch = out_c % 3;
            check({.g = geometry(g), .out = out, .zero_point = zero_point});
          };
          with(64, output::codes);
          with(16, output::added);
          with(47, output::reals);
          with(100, output::clamped);
          with(130, output::codes);
        }
  conv_geometry g = square(13, 32, 32, 3, 1, 2);
  g.dst_stride = 37;
  g.src_stride = 35;
  check({.g = g, .out = output::added});
  check({.g = square(15, 24, 64, 3, 1, 1, 3)});
  // no padding above, and more of it below than the filter has rows
  check({.g = {.in_h = 9,
               .in_w = 30,
               .in_c = 16,
               .out_h = 14,
               .out_w = 33,
               .out_c = 64,
               .kernel_h = 3,
               .kernel_w = 2,
               .pad_left = 2}});
}

TEST_CASE("codes that use the whole byte, and products beyond int32, equal the reference") {
  for (const conv_geometry& g :
       {matrix(13, 70, 36), square(9, 20, 70, 3), square(9, 70, 70, 3, 1, 70),
        square(11, 64, 64, 3, 2, 64), square(9, 48, 48, 5, 1, 48)})
    for (const auto out : {output::codes, output::clamped, output::added})
      for (const float gain : {1.0f, 3e4f, 1e9f, 1e15f}) {
        check({.g = g, .out = out, .y_zero_point = 0, .gain = gain});
        check({.g = g, .out = out, .y_zero_point = 130, .gain = gain});
      }
}

TEST_CASE("a first layer of few channels equals the reference") {
  for (const std::int64_t in_c : {1, 2, 3, 4, 6}) {
    check({.g = square(19, in_c, 64, 7, 2)});
    check({.g = square(17, in_c, 32, 3, 2), .out = output::clamped});
    check({.g = square(9, in_c, 20, 3, 1, 1, 2)});  // dilated: windows are gathered
    check({.g = square(7, in_c, 5, 1)});
    check({.g = square(4, in_c, 16, 11, 4)});  // window wider than the image
  }
  conv_geometry g = square(12, 3, 10, 3);
  g.src_stride = 5;  // a slice of a wider image
  check({.g = g});
}

TEST_CASE("narrow images, whose windows mostly cross a border, equal the reference") {
  for (const std::int64_t in_w : {1, 2, 3, 4, 5, 8, 11})
    for (const std::int64_t in_c : {1, 2, 3})
      for (const std::int64_t kernel_w : {1, 2, 3, 5})
        for (const std::int64_t stride : {1, 2, 4}) {
          CAPTURE(in_w);
          CAPTURE(in_c);
          CAPTURE(kernel_w);
          CAPTURE(stride);
          check({.g = geometry({.in_h = 5,
                                .in_w = in_w,
                                .in_c = in_c,
                                .out_c = 20,
                                .kernel_h = 3,
                                .kernel_w = kernel_w,
                                .stride_w = stride,
                                .pad_top = 1,
                                .pad_left = 2})});
        }
}

TEST_CASE("grouped convolution equals the reference") {
  check({.g = square(7, 16, 32, 3, 1, 4)});
  check({.g = square(7, 24, 12, 3, 2, 4), .out = output::added});
  check({.g = square(6, 6, 6, 3, 1, 3)});  // two channels a group
  check({.g = square(5, 140, 210, 1, 1, 2), .out = output::reals});
  check({.g = square(14, 128, 128, 3, 1, 32)});
}

TEST_CASE("strides between pixels are honoured and the bytes between are untouched") {
  for (const std::int64_t groups : {1, 36}) {
    conv_geometry g = square(6, 36, 36, 3, 1, groups);
    g.src_stride = 41;
    g.dst_stride = 50;
    for (const auto out : {output::codes, output::added, output::reals})
      check({.g = g, .out = out});
  }
  conv_geometry g = matrix(19, 70, 13);
  g.src_stride = 14;
  g.dst_stride = 71;
  check({.g = g, .out = output::added});
}

TEST_CASE("an asymmetric padding equals the reference") {
  conv_geometry g = square(8, 12, 20, 3, 2);
  g.pad_top = g.pad_left = 0;  // the bottom and right are padded instead: out_h and out_w say so
  check({.g = g});
  g.in_c = g.out_c = g.groups = 12;
  check({.g = g});
  g.kernel_h = g.kernel_w = 5;
  check({.g = g});
  g.pad_top = g.pad_left = 4;
  check({.g = g});
}

TEST_CASE("an integer convolution is within its derived bound of the float one") {
  // one pixel, one channel: x = (q − z) · sx, w = qw · sw; y = round(Σ x·w / sy) + zy, off by at
  // most half a step
  const std::int8_t weights[4] = {100, -50, 25, 127};
  const std::uint8_t x[4] = {10, 200, 77, 255};
  const float sx = 0.02f, sw = 0.004f, sy = 0.03f;
  const float multiplier[1] = {sx * sw / sy};
  const qconv_args a{.geometry = matrix(1, 1, 4),
                     .weights = weights,
                     .x_zero_point = 60,
                     .epilogue = {.multiplier = multiplier, .zero_point = 40}};
  double real = 0;
  for (int i = 0; i < 4; ++i) real += static_cast<double>((x[i] - 60) * weights[i]) * sx * sw;
  for (const kernel_table* table : available_kernels()) {
    std::uint8_t y = 0;
    operands io;
    io.src[0] = x;
    io.dst = &y;
    run_split(table->qconv(a), io, 1);
    CHECK(std::abs((y - 40) * static_cast<double>(sy) - real) <= 0.5 * sy + 1e-6);
  }
}

}  // namespace
