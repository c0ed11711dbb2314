// SPDX-License-Identifier: Apache-2.0
// Every table's integer convolution against the reference, byte for byte, in buffers of exactly the
// size that the contract promises (a sanitizer sees one byte too many).
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <ptq/core/numeric.hpp>
#include <ptq/dispatch.hpp>
#include <ptq/kernels/reference/integer_conv.hpp>

namespace {

using namespace ptq;
using namespace ptq::kernels;

struct problem {
  conv_geometry g;
  enum class output { codes, clamped, added, reals } out = output::codes;
  bool extreme = false;  // only the codes 0 and 255, −128 and 127
  int largest = 128;     // of the weights' magnitudes; at most 64: no pair exceeds 16 bits
  int seldom = 0;        // one weight in this many is −128 or 127 all the same
  bool one_multiplier = false;
  bool bias = true;
  int zero_point = 113, y_zero_point = 121;
  float gain = 1;  // of the multipliers

  std::string text() const {
    return "n" + std::to_string(g.batch) + " " + std::to_string(g.in_h) + "x" +
           std::to_string(g.in_w) + "x" + std::to_string(g.in_c) + " -> " +
           std::to_string(g.out_h) + "x" + std::to_string(g.out_w) + "x" + std::to_string(g.out_c) +
           " kernel " + std::to_string(g.kernel_h) + "x" + std::to_string(g.kernel_w) + " stride " +
           std::to_string(g.stride_w) + " groups " + std::to_string(g.groups) + " output " +
           std::to_string(static_cast<int>(out)) + " zero point " + std::to_string(zero_point);
  }
};

/// Fills out_h and out_w from symmetric padding.
conv_geometry geometry(conv_geometry g) {
  const auto size = [](std::int64_t in, std::int64_t pad, std::int64_t dilation,
                       std::int64_t kernel, std::int64_t stride) {
    return (in + 2 * pad - dilation * (kernel - 1) - 1) / stride + 1;
  };
  g.out_h = size(g.in_h, g.pad_top, g.dilation_h, g.kernel_h, g.stride_h);
  g.out_w = size(g.in_w, g.pad_left, g.dilation_w, g.kernel_w, g.stride_w);
  return g;
}
conv_geometry square(std::int64_t hw, std::int64_t in_c, std::int64_t out_c, std::int64_t kernel,
                     std::int64_t stride = 1, std::int64_t groups = 1, std::int64_t dilation = 1) {
  const std::int64_t pad = dilation * (kernel / 2);
  return geometry({.in_h = hw,
                   .in_w = hw,
                   .in_c = in_c,
                   .out_c = out_c,
                   .kernel_h = kernel,
                   .kernel_w = kernel,
                   .stride_h = stride,
                   .stride_w = stride,
                   .dilation_h = dilation,
                   .dilation_w = dilation,
                   .pad_top = pad,
                   .pad_left = pad,
                   .groups = groups});
}
conv_geometry matrix(std::int64_t m, std::int64_t n, std::int64_t k) {
  return {.in_w = m, .in_c = k, .out_w = m, .out_c = n};
}

/// Bytes from a pixel stride: the last pixel ends with its own channels.
std::size_t extent(std::int64_t pixels, std::int64_t stride, std::int64_t channels) {
  return static_cast<std::size_t>((pixels - 1) * stride + channels);
}

/// Units [0, units) split among `workers`, each with scratch of its own, exactly as large as
/// declared.
void run_split(const prepared& p, const operands& io, int workers) {
  for (int w = 0; w < workers; ++w) {
    std::unique_ptr<std::byte[]> scratch(new std::byte[p.scratch + 64]);
    const auto at = reinterpret_cast<std::uintptr_t>(scratch.get());
    // dirty memory: a kernel may not count on zeros
    std::memset(scratch.get(), 0xa5, p.scratch + 64);
    p.run(p.object.get(), io, scratch.get() + (64 - at % 64) % 64, share_of(p.units, w, workers));
  }
}

void check(const problem& q) {
  const conv_geometry& g = q.g;
  std::mt19937 random(20240229);
  const auto draw = [&](int low, int high) {
    if (q.extreme) return random() % 2 ? low : high;
    return low + static_cast<int>(random() % static_cast<unsigned>(high - low + 1));
  };
  const std::int64_t taps = g.kernel_h * g.kernel_w * g.group_in();
  std::vector<std::int8_t> weights(static_cast<std::size_t>(g.out_c * taps));
  for (auto& w : weights) {
    w = static_cast<std::int8_t>(draw(-q.largest, std::min(q.largest, 127)));
    if (q.seldom && random() % static_cast<unsigned>(q.seldom) == 0)
      w = random() % 2 ? std::int8_t{127} : std::int8_t{-128};
  }
  std::vector<std::int32_t> bias(static_cast<std::size_t>(g.out_c));
  for (auto& b : bias) b = static_cast<std::int32_t>(random() % 20001) - 10000;
  std::vector<float> multiplier(q.one_multiplier ? 1 : static_cast<std::size_t>(g.out_c));
  // products spread over the codes: a sum of `taps` random terms is about 5000 · sqrt(taps)
  for (auto& m : multiplier)
    m = static_cast<float>(50 + random() % 100) /
        (q.extreme ? 16384.0f * static_cast<float>(taps)
                   : 500000.0f * std::sqrt(static_cast<float>(taps))) *
        q.gain;

  const std::int64_t pixels = g.batch * g.out_h * g.out_w;
  const std::size_t src_size = extent(g.batch * g.in_h * g.in_w, g.src_pixel(), g.in_c);
  const std::size_t dst_size = extent(pixels, g.dst_pixel(), g.out_c);
  std::unique_ptr<std::uint8_t[]> x(new std::uint8_t[src_size]);
  std::unique_ptr<std::uint8_t[]> r(new std::uint8_t[dst_size]);
  for (std::size_t i = 0; i < src_size; ++i) x[i] = static_cast<std::uint8_t>(draw(0, 255));
  for (std::size_t i = 0; i < dst_size; ++i) r[i] = static_cast<std::uint8_t>(draw(0, 255));

  qconv_args a{.geometry = g,
               .weights = weights.data(),
               .bias = q.bias ? bias.data() : nullptr,
               .x_zero_point = q.zero_point,
               .epilogue = {.multiplier = multiplier, .zero_point = q.y_zero_point}};
  if (q.out == problem::output::clamped) {
    a.epilogue.low = 130;
    a.epilogue.high = 190;
  }
  if (q.out == problem::output::added) {
    a.epilogue.add = true;
    a.epilogue.low = q.y_zero_point;
    a.epilogue.residual_first = g.out_c % 2 != 0;
    a.epilogue.sum = a.epilogue.residual_first ? add_rule_of(1.2519f, 128, 0.7345f, 121, 1, 30)
                                               : add_rule_of(0.7345f, 121, 1.2519f, 128, 1, 30);
    a.epilogue.sum.low = 30;
    a.epilogue.sum.high = 250;
  }
  if (q.out == problem::output::reals) {
    a.epilogue.to_float = true;
    a.epilogue.float_low = 0;
  }
  const std::size_t element = q.out == problem::output::reals ? 4 : 1;
  const auto buffer = [&] {
    std::unique_ptr<std::byte[]> y(new std::byte[dst_size * element]);
    std::memset(y.get(), 0x5a, dst_size * element);  // between pixels nothing may change
    return y;
  };
  operands io;
  io.src = {x.get(), q.out == problem::output::added ? r.get() : nullptr};
  const auto expected = buffer();
  io.dst = expected.get();
  run_split(reference::qconv(a), io, 1);

  for (const kernel_table* table : available_kernels()) {
    const prepared p = table->qconv(a);
    for (const int workers : {1, 2, 3}) {
      const auto y = buffer();
      io.dst = y.get();
      run_split(p, io, workers);
      const bool same = std::memcmp(y.get(), expected.get(), dst_size * element) == 0;
      CHECK_MESSAGE(same, std::string(table->isa) << " " << std::string(p.name) << ": " << q.text()
                                                  << ", " << workers << " workers");
      if (!same) return;
    }
  }
}

using output = problem::output;

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
// excess of a few pairs in extra groups, or everything widened.
TEST_CASE("weights of any size equal the reference") {
  for (const auto& [largest, seldom] : {std::pair(64, 0), std::pair(40, 30), std::pair(128, 0)}) {
    const auto with = [&, largest = largest, seldom = seldom](const conv_geometry& g) {
      check({.g = g, .largest = largest, .seldom = seldom});
    };
    for (const std::int64_t k : {1, 4, 6, 13, 64, 130}) with(matrix(13, 37, k));
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

TEST_CASE("grouped convolution equals the reference") {
  check({.g = square(7, 16, 32, 3, 1, 4)});
  check({.g = square(7, 24, 12, 3, 2, 4), .out = output::added});
  check({.g = square(6, 6, 6, 3, 1, 3)});  // two channels a group
  check({.g = square(5, 140, 210, 1, 1, 2), .out = output::reals});
  check({.g = square(14, 128, 128, 3, 1, 32)});
}

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
