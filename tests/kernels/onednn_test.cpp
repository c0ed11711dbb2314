// SPDX-License-Identifier: Apache-2.0
// oneDNN's convolution and matrix product against the reference. Both sides round k products and
// sums in an order of their own, so they differ by at most 2 · (k + 1) · 2^-24 · (|bias| + Σ|a ·
// b|), to first order.

#include <cmath>
#include <string>
#include <thread>

#include <doctest/doctest.h>

#include <ptq/kernels/reference/float_conv.hpp>
#include <ptq/native/onednn.hpp>

#include "float_support.hpp"

using ptq::kernels::conv_args;
using ptq::kernels::conv_geometry;
using ptq::kernels::matmul_args;

namespace {

std::vector<float> magnitudes(std::vector<float> v) {
  for (float& x : v) x = std::abs(x);
  return v;
}

/// `sums`: the reference's result for |a|, |b| and |bias|.
void close(const std::vector<float>& got, const std::vector<float>& expected,
           const std::vector<float>& sums, std::int64_t k) {
  REQUIRE(got.size() == expected.size());
  double worst = 0;  // in units of the bound
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (expected[i] == -77.0f) {  // between pixels
      CHECK(got[i] == -77.0f);
      continue;
    }
    const double bound =
        2.0 * static_cast<double>(k + 1) * std::ldexp(static_cast<double>(sums[i]), -24);
    const double error = std::abs(static_cast<double>(got[i]) - static_cast<double>(expected[i]));
    if (error > 0) worst = std::max(worst, bound > 0 ? error / bound : 1e9);
  }
  CHECK(worst <= 1.0);
}

void conv_is_close(conv_geometry g, ptq::clamp act = {}, bool bias = true) {
  g.out_h = (g.in_h + 2 * g.pad_top - g.dilation_h * (g.kernel_h - 1) - 1) / g.stride_h + 1;
  g.out_w = (g.in_w + 2 * g.pad_left - g.dilation_w * (g.kernel_w - 1) - 1) / g.stride_w + 1;
  const std::int64_t size = (g.batch * g.out_h * g.out_w - 1) * g.dst_pixel() + g.out_c;
  const std::int64_t k = g.kernel_h * g.kernel_w * g.group_in();
  const auto x = ptq_test::numbers((g.batch * g.in_h * g.in_w - 1) * g.src_pixel() + g.in_c, 1);
  const auto w = ptq_test::numbers(g.out_c * k, 2), b = ptq_test::numbers(g.out_c, 3);
  const auto xm = magnitudes(x), wm = magnitudes(w), bm = magnitudes(b);
  const conv_args args{
      .geometry = g, .weights = w.data(), .bias = bias ? b.data() : nullptr, .act = act};
  const conv_args sizes{
      .geometry = g, .weights = wm.data(), .bias = bias ? bm.data() : nullptr, .act = {}};
  const auto p = ptq::native::onednn_conv(args);
  INFO(g.in_h << "x" << g.in_w << " " << g.in_c << "->" << g.out_c << " groups " << g.groups);
  REQUIRE(p);
  CHECK(p.whole_op);
  CHECK(p.units == 1);
  close(ptq_test::run(p, {x}, size, 1),
        ptq_test::run(ptq::kernels::reference::conv(args), {x}, size, 1),
        ptq_test::run(ptq::kernels::reference::conv(sizes), {xm}, size, 1), k);
}

struct product {
  std::int64_t m = 1, n = 1, k = 1;
  bool a_trans = false, b_trans = false, constant = true, bias = true;
  std::vector<std::int64_t> a_offset = {0}, b_offset = {0};
  ptq::clamp act = {};
};

void product_is_close(const product& p) {
  const auto last = [](const auto& v) { return *std::max_element(v.begin(), v.end()); };
  const auto a = ptq_test::numbers(last(p.a_offset) + p.m * p.k, 1);
  const auto b = ptq_test::numbers(last(p.b_offset) + p.k * p.n, 2);
  const auto bias = ptq_test::numbers(p.n, 3);
  const auto am = magnitudes(a), bm = magnitudes(b), biasm = magnitudes(bias);
  matmul_args args{.m = p.m,
                   .n = p.n,
                   .k = p.k,
                   .a_trans = p.a_trans,
                   .b_trans = p.b_trans,
                   .a_offset = p.a_offset,
                   .b_offset = p.b_offset,
                   .b = p.constant ? b.data() : nullptr,
                   .bias = p.bias ? bias.data() : nullptr,
                   .act = p.act};
  matmul_args sizes = args;
  sizes.b = p.constant ? bm.data() : nullptr;
  sizes.bias = p.bias ? biasm.data() : nullptr;
  sizes.act = {};
  const std::int64_t size = static_cast<std::int64_t>(p.a_offset.size()) * p.m * p.n;
  const auto fast = ptq::native::onednn_matmul(args);
  INFO(p.m << "x" << p.n << "x" << p.k << " trans " << p.a_trans << p.b_trans << " constant "
           << p.constant << " batch " << p.a_offset.size());
  REQUIRE(fast);
  close(ptq_test::run(fast, {a, b}, size, 1),
        ptq_test::run(ptq::kernels::reference::matmul(args), {a, b}, size, 1),
        ptq_test::run(ptq::kernels::reference::matmul(sizes), {am, bm}, size, 1), p.k);
}

}  // namespace

TEST_CASE("oneDNN's convolution is within the rounding of k terms") {
  for (std::int64_t in : {1, 3, 16, 20})
    for (std::int64_t stride : {1, 2})
      for (std::int64_t dilation : {1, 2})
        conv_is_close({.batch = 2,
                       .in_h = 9,
                       .in_w = 8,
                       .in_c = in,
                       .out_c = 19,
                       .kernel_h = 3,
                       .kernel_w = 3,
                       .stride_h = stride,
                       .stride_w = stride,
                       .dilation_h = dilation,
                       .dilation_w = dilation,
                       .pad_top = 1,
                       .pad_left = 1});
  conv_is_close({.in_h = 7, .in_w = 7, .in_c = 64, .out_c = 64});
  conv_is_close({.in_w = 50, .in_c = 33, .out_c = 10, .kernel_w = 5, .pad_left = 2});
}

TEST_CASE("oneDNN's grouped and depthwise convolutions are within the rounding of k terms") {
  for (std::int64_t groups : {2, 4, 12, 24})
    conv_is_close({.in_h = 9,
                   .in_w = 8,
                   .in_c = 24,
                   .out_c = 24,
                   .kernel_h = 3,
                   .kernel_w = 3,
                   .pad_top = 1,
                   .pad_left = 1,
                   .groups = groups});
  conv_is_close(
      {.in_h = 6, .in_w = 6, .in_c = 5, .out_c = 10, .kernel_h = 3, .kernel_w = 3, .groups = 5});
}

TEST_CASE("oneDNN reads and writes pixels that lie further apart, and nothing between them") {
  for (std::int64_t groups : {1, 16})
    conv_is_close({.batch = 2,
                   .in_h = 5,
                   .in_w = 6,
                   .in_c = 16,
                   .out_c = 16,
                   .kernel_h = 3,
                   .kernel_w = 3,
                   .pad_top = 1,
                   .pad_left = 1,
                   .groups = groups,
                   .src_stride = 40,
                   .dst_stride = 21});
}

TEST_CASE("oneDNN applies bounds and does without a bias") {
  const conv_geometry g{
      .in_h = 6, .in_w = 6, .in_c = 16, .out_c = 32, .kernel_h = 3, .kernel_w = 3};
  for (ptq::clamp act :
       {ptq::clamp{.low = 0}, {.low = 0, .high = 0.5f}, {.low = -0.25f}, {.high = 0.125f}}) {
    conv_is_close(g, act, false);
    product_is_close({.m = 9, .n = 20, .k = 30, .act = act});
  }
}

TEST_CASE("oneDNN's products are within the rounding of k terms, for every layout") {
  for (std::int64_t m : {1, 7, 32})
    for (std::int64_t n : {1, 17, 64})
      for (int trans = 0; trans < 4; ++trans)
        for (bool constant : {false, true})
          for (bool bias : {false, true}) {
            if (m == 1 && constant) continue;  // left to our own kernel
            product_is_close({.m = m,
                              .n = n,
                              .k = 37,
                              .a_trans = (trans & 1) != 0,
                              .b_trans = (trans & 2) != 0,
                              .constant = constant,
                              .bias = bias});
          }
}

TEST_CASE("oneDNN's batches read where their offsets say") {
  const std::int64_t m = 5, n = 19, k = 7;
  for (bool constant : {false, true}) {
    product_is_close({.m = m,
                      .n = n,
                      .k = k,
                      .constant = constant,
                      .a_offset = {0, m * k, 2 * m * k},
                      .b_offset = {0, 0, 0}});
    product_is_close({.m = m,
                      .n = n,
                      .k = k,
                      .constant = constant,
                      .a_offset = {0, m * k, 2 * m * k},
                      .b_offset = {0, k * n, 2 * k * n}});
    product_is_close({.m = m,
                      .n = n,
                      .k = k,
                      .constant = constant,
                      .a_offset = {0, 0, 0},
                      .b_offset = {0, k * n, 2 * k * n}});
    product_is_close({.m = m,
                      .n = n,
                      .k = k,
                      .b_trans = true,
                      .constant = constant,
                      .a_offset = {35, 0, 0, 70},
                      .b_offset = {k * n, 0, k * n, 0}});
  }
}

TEST_CASE("one oneDNN object gives the same bits to several threads at once") {
  const auto x = ptq_test::numbers(14 * 14 * 32, 1), w = ptq_test::numbers(32 * 9 * 32, 2);
  const conv_geometry g{.in_h = 14,
                        .in_w = 14,
                        .in_c = 32,
                        .out_h = 14,
                        .out_w = 14,
                        .out_c = 32,
                        .kernel_h = 3,
                        .kernel_w = 3,
                        .pad_top = 1,
                        .pad_left = 1};
  const auto p = ptq::native::onednn_conv({.geometry = g, .weights = w.data()});
  REQUIRE(p);
  const auto expected = ptq_test::run(p, {x}, 14 * 14 * 32, 1);
  std::vector<std::vector<float>> got(3);
  std::vector<std::thread> threads;
  for (auto& out : got) threads.emplace_back([&] { out = ptq_test::run(p, {x}, 14 * 14 * 32, 1); });
  for (auto& t : threads) t.join();
  for (const auto& out : got) CHECK(ptq_test::first_difference(out, expected) == -1);
}

TEST_CASE("what oneDNN refuses comes back empty, for the caller to do otherwise") {
  const float one = 1;
  CHECK_FALSE(ptq::native::onednn_conv({.geometry = {.batch = 0}, .weights = &one}));
  CHECK_FALSE(ptq::native::onednn_matmul({.k = 0, .b = &one}));
  CHECK_FALSE(  // bounds in the wrong order
      ptq::native::onednn_conv(
          {.geometry = {.in_w = 4, .out_w = 4}, .weights = &one, .act = {.low = 2, .high = 1}}));
}

TEST_CASE("one row times a constant matrix is left to the kernel that reads it faster") {
  const std::vector<float> w(8 * 16);
  CHECK_FALSE(ptq::native::onednn_matmul({.m = 1, .n = 8, .k = 16, .b = w.data()}));
  CHECK(ptq::native::onednn_matmul({.m = 2, .n = 8, .k = 16, .b = w.data()}));
  CHECK_FALSE(ptq::native::onednn_conv({.geometry = {.in_c = 16, .out_c = 8}, .weights = w.data()}));
  CHECK(ptq::native::onednn_conv({.geometry = {.in_w = 2, .in_c = 16, .out_w = 2, .out_c = 8}, .weights = w.data()}));
}

TEST_CASE("a table with oneDNN keeps its other entries") {
  ptq::kernels::kernel_table table{.isa = "some", .conv = ptq::kernels::reference::conv};
  const auto with = ptq::native::with_onednn(table);
  CHECK(with.isa == table.isa);
  CHECK((with.conv == table.conv));
  CHECK((with.fast_conv == ptq::native::onednn_conv));
  CHECK((with.fast_matmul == ptq::native::onednn_matmul));
}
