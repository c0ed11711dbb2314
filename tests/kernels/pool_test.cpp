// SPDX-License-Identifier: Apache-2.0
#include "exact.hpp"

using namespace ptq;
using namespace ptq::kernels;
using namespace ptq_test;

namespace {

conv_geometry plane(std::int64_t in, std::int64_t kernel, std::int64_t stride, std::int64_t pad,
                    std::int64_t channels, std::int64_t dilation = 1) {
  conv_geometry g;
  g.batch = 2;
  g.in_h = in;
  g.in_w = in + 2;
  g.in_c = g.out_c = channels;
  g.kernel_h = g.kernel_w = kernel;
  g.stride_h = g.stride_w = stride;
  g.dilation_h = g.dilation_w = dilation;
  g.pad_top = g.pad_left = pad;
  const std::int64_t reach = (kernel - 1) * dilation + 1;
  g.out_h = (g.in_h + 2 * pad - reach) / stride + 1;
  g.out_w = (g.in_w + 2 * pad - reach) / stride + 1;
  return g;
}

std::vector<conv_geometry> planes(std::int64_t channels) {
  std::vector<conv_geometry> all = {plane(6, 2, 2, 0, channels), plane(7, 3, 2, 1, channels),
                                    plane(5, 3, 1, 1, channels), plane(7, 3, 1, 2, channels, 2),
                                    plane(3, 5, 1, 4, channels)};  // some windows miss the image
  conv_geometry global = plane(7, 7, 1, 0, channels);
  global.kernel_w = 9;
  global.out_w = 1;
  all.push_back(global);
  conv_geometry strided = plane(5, 3, 2, 1, channels);
  strided.src_stride = channels + 5;
  strided.dst_stride = channels + 2;
  all.push_back(strided);
  return all;
}

std::int64_t src_size(const conv_geometry& g) {
  return (g.batch * g.in_h * g.in_w - 1) * g.src_pixel() + g.in_c;
}
std::int64_t dst_size(const conv_geometry& g) {
  return g.batch * g.out_h * g.out_w * g.dst_pixel();
}

constexpr std::int64_t channel_counts[] = {1,  3,  8,  15, 16, 17, 24,  31,
                                           32, 33, 48, 63, 64, 65, 129, 200};

}  // namespace

TEST_CASE("pooling of codes equals the reference at every channel count and window") {
  for (const auto channels : channel_counts)
    for (const auto& g : planes(channels)) {
      const auto x = codes(src_size(g), 21);
      for (const bool average : {false, true})
        for (const bool include : {false, true}) {
          const qpool_args args{.average = average,
                                .geometry = g,
                                .count_include_pad = include,
                                .pad_bottom = g.pad_top,
                                .pad_right = g.pad_left,
                                .x_zero_point = 3,
                                .zero_point = 9,
                                .multiplier = 1.25};
          equals_reference<std::uint8_t>(&kernel_table::qpool, args, {x.data()}, dst_size(g),
                                         "channels " + std::to_string(channels));
        }
    }
}

TEST_CASE("float pooling equals the reference, NaN and infinities among the elements") {
  using enum pool_kind;
  for (const auto channels : {1, 3, 8, 15, 16, 17, 33, 64, 67})
    for (const auto& g : planes(channels)) {
      const auto x = reals(src_size(g), 22, 3.0f, channels % 2);
      for (const auto kind : {max, average, lp})
        for (const std::int64_t p : {1, 2, 3}) {
          if (kind != lp && p > 1) continue;
          const pool_args args{.kind = kind,
                               .geometry = g,
                               .count_include_pad = channels % 3 == 0,
                               .pad_bottom = g.pad_top,
                               .pad_right = g.pad_left,
                               .p = p};
          equals_reference<float>(&kernel_table::pool, args, {x.data()}, dst_size(g),
                                  "channels " + std::to_string(channels));
        }
    }
}

TEST_CASE("an average counts the taps inside the image, or inside the padded one") {
  conv_geometry g;
  g.in_h = g.in_w = 2;
  g.kernel_h = g.kernel_w = 2;
  g.pad_top = g.pad_left = 1;
  g.out_h = g.out_w = 2;
  const std::vector<float> x = {1, 2, 3, 6};
  for (const bool include : {false, true}) {
    const pool_args args{.kind = pool_kind::average, .geometry = g, .count_include_pad = include};
    auto y = run_parts<float>(reference_kernels().pool(args), {x.data()}, 4, 1);
    y.resize(4);
    const auto want = include ? std::vector<float>{0.25f, 0.75f, 1.0f, 3.0f}
                              : std::vector<float>{1.0f, 1.5f, 2.0f, 3.0f};
    CHECK(y == want);
  }
}

TEST_CASE("an average of codes rounds half to even") {
  conv_geometry g;
  g.in_w = 4;
  g.out_w = 2;
  g.kernel_w = g.stride_w = 2;
  const std::vector<std::uint8_t> x = {10, 11, 11, 12};  // 10.5 and 11.5
  const qpool_args args{.average = true, .geometry = g};
  const auto y = run_parts<std::uint8_t>(reference_kernels().qpool(args), {x.data()}, 2, 1);
  CHECK(y[0] == 10);
  CHECK(y[1] == 12);
}
