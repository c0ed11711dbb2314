// SPDX-License-Identifier: Apache-2.0
// Winograd's convolution against the definition. Its error is bounded by a multiple of Σ|w · x| over the
// tile, which the largest of the outputs' own sums stands for; beyond that: the same bits in any number of
// parts and on every ISA that has it, and nothing read or written beside the images.

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <ptq/dispatch.hpp>
#include <ptq/kernels/reference/float_conv.hpp>

#include "float_support.hpp"

using ptq::kernels::conv_args;
using ptq::kernels::conv_geometry;

namespace {

conv_geometry shape_of(std::int64_t h, std::int64_t w, std::int64_t in, std::int64_t out, std::int64_t pad = 1,
                       std::int64_t batch = 1) {
  return {.batch = batch, .in_h = h, .in_w = w, .in_c = in, .out_h = h + 2 * pad - 2, .out_w = w + 2 * pad - 2,
          .out_c = out, .kernel_h = 3, .kernel_w = 3, .pad_top = pad, .pad_left = pad};
}

bool fused_and_built() {
  for (const auto* t : ptq::available_kernels())
    if (t->winograd_conv) return true;
  MESSAGE("no ISA here has a fused multiply-add: skipped");
  return false;
}

void close_to_reference(const conv_geometry& g, ptq::clamp act = {}, bool bias = true) {
  const auto x = ptq_test::numbers((g.batch * g.in_h * g.in_w - 1) * g.src_pixel() + g.in_c, 1);
  const auto w = ptq_test::numbers(g.out_c * 9 * g.in_c, 2), b = ptq_test::numbers(g.out_c, 3);
  std::vector<float> size_x, size_w;
  for (float v : x) size_x.push_back(std::abs(v));
  for (float v : w) size_w.push_back(std::abs(v));
  const conv_args args{.geometry = g, .weights = w.data(), .bias = bias ? b.data() : nullptr, .act = act};
  const std::int64_t size = (g.batch * g.out_h * g.out_w - 1) * g.dst_pixel() + g.out_c;
  const auto expected = ptq_test::run(ptq::kernels::reference::conv(args), {x}, size, 1);
  const auto sums = ptq_test::run(
      ptq::kernels::reference::conv({.geometry = g, .weights = size_w.data(), .bias = nullptr, .act = {}}), {size_x},
      size, 1);
  const double bound = std::ldexp(static_cast<double>(*std::max_element(sums.begin(), sums.end())), -21);
  INFO(g.batch << " " << g.in_h << "x" << g.in_w << " " << g.in_c << "->" << g.out_c << " pad " << g.pad_top);
  std::vector<float> first;
  for (const auto* table : ptq::available_kernels()) {
    if (!table->winograd_conv) continue;
    INFO(table->isa);
    const auto p = table->winograd_conv(args);
    REQUIRE(p);
    const auto one = ptq_test::run(p, {x}, size, 1);
    double worst = 0;
    for (std::size_t i = 0; i < one.size(); ++i) {
      if (expected[i] == -77.0f) REQUIRE(one[i] == -77.0f);  // between pixels
      worst = std::max(worst, std::abs(static_cast<double>(one[i]) - static_cast<double>(expected[i])));
    }
    CHECK(worst <= bound);
    for (int parts : {2, 3}) CHECK(ptq_test::first_difference(ptq_test::run(p, {x}, size, parts), one) == -1);
    if (first.empty()) first = one;
    CHECK(ptq_test::first_difference(one, first) == -1);
  }
}

}  // namespace

TEST_CASE("winograd: whole tiles, parts of tiles, one pixel wide rests") {
  if (!fused_and_built()) return;
  for (std::int64_t h : {8, 9, 11, 14})
    for (std::int64_t w : {8, 13, 17}) close_to_reference(shape_of(h, w, 16, 32));
}

TEST_CASE("winograd: blocks of tiles, panels of channels, chunks of input channels") {
  if (!fused_and_built()) return;
  close_to_reference(shape_of(56, 56, 64, 64));   // several blocks
  close_to_reference(shape_of(28, 28, 32, 300));  // several units of panels, the last one partial
  close_to_reference(shape_of(20, 20, 272, 48));  // more input channels than a chunk
  close_to_reference(shape_of(14, 14, 16, 17));   // a panel of one register, with one channel
  close_to_reference(shape_of(14, 14, 16, 47));
}

TEST_CASE("winograd: padding, batches, bounds, no bias, pixels with gaps") {
  if (!fused_and_built()) return;
  for (std::int64_t pad : {0, 1, 2}) close_to_reference(shape_of(12, 15, 16, 16, pad));
  close_to_reference(shape_of(7, 7, 16, 32, 1, 5));
  close_to_reference(shape_of(12, 12, 16, 16), {.low = 0, .high = 1.5f});
  close_to_reference(shape_of(12, 12, 16, 16), {}, false);
  auto apart = shape_of(12, 12, 32, 16);
  apart.src_stride = 40;
  apart.dst_stride = 23;
  close_to_reference(apart);
}

TEST_CASE("winograd: what it leaves to others") {
  for (const auto* table : ptq::available_kernels()) {
    if (!table->winograd_conv) continue;
    INFO(table->isa);
    const std::vector<float> w(9 * 512 * 512);
    const auto takes = [&](const conv_geometry& g) {
      return static_cast<bool>(table->winograd_conv({.geometry = g, .weights = w.data()}));
    };
    CHECK(takes(shape_of(14, 14, 512, 512)));
    CHECK_FALSE(takes(shape_of(7, 7, 512, 512)));  // filters read once per four tiles
    CHECK_FALSE(takes(shape_of(32, 32, 3, 16)));
    auto g = shape_of(32, 32, 32, 32);
    g.groups = 2;
    CHECK_FALSE(takes(g));
    g = shape_of(32, 32, 32, 32);
    g.stride_h = g.stride_w = 2;
    g.out_h = g.out_w = 16;
    CHECK_FALSE(takes(g));
    g = shape_of(32, 32, 32, 32, 2);
    g.dilation_h = g.dilation_w = 2;
    g.out_h = g.out_w = 32;
    CHECK_FALSE(takes(g));
  }
}

TEST_CASE("winograd: packed memory of one extent serves another; of another size it is refused") {
  for (const auto* table : ptq::available_kernels()) {
    if (!table->winograd_conv) continue;
    INFO(table->isa);
    auto g = shape_of(12, 12, 32, 48);
    const auto w = ptq_test::numbers(48 * 9 * 32, 2), b = ptq_test::numbers(48, 3);
    const auto p = table->winograd_conv({.geometry = g, .weights = w.data(), .bias = b.data()});
    REQUIRE(p);
    g = shape_of(16, 19, 32, 48);
    const auto own = table->winograd_conv({.geometry = g, .weights = w.data(), .bias = b.data()});
    const auto shared = table->winograd_conv({.geometry = g, .packed = p.packed});
    REQUIRE(shared);
    const auto x = ptq_test::numbers(16 * 19 * 32, 1);
    CHECK(ptq_test::first_difference(ptq_test::run(own, {x}, 16 * 19 * 48, 1),
                                     ptq_test::run(shared, {x}, 16 * 19 * 48, 1)) == -1);
    CHECK_FALSE(table->winograd_conv({.geometry = shape_of(12, 12, 32, 80), .packed = p.packed}));
  }
}
