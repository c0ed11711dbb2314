// SPDX-License-Identifier: Apache-2.0
// oneDNN's integer convolution is ours where its sums don't saturate: with weights of at most 64 on any CPU.
#include <doctest/doctest.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include <ptq/dispatch.hpp>
#include <ptq/kernels/reference.hpp>

#include "kernels/exact.hpp"

namespace {

using namespace ptq;
using namespace ptq::kernels;

conv_geometry square(std::int64_t side, std::int64_t in, std::int64_t out, std::int64_t kernel,
                     std::int64_t stride = 1, std::int64_t groups = 1) {
  conv_geometry g;
  g.in_h = g.in_w = side;
  g.in_c = in;
  g.out_c = out;
  g.kernel_h = g.kernel_w = kernel;
  g.stride_h = g.stride_w = stride;
  g.pad_top = g.pad_left = kernel / 2;
  g.out_h = g.out_w = (side + 2 * (kernel / 2) - kernel) / stride + 1;
  g.groups = groups;
  return g;
}

/// Compares codes and reals; returns whether oneDNN took the shape.
bool check(const conv_geometry& g, bool reals, int zero_point) {
  std::mt19937 random(3);
  std::vector<std::int8_t> weights(
      static_cast<std::size_t>(g.out_c * g.kernel_h * g.kernel_w * g.group_in()));
  for (auto& w : weights) w = static_cast<std::int8_t>(static_cast<int>(random() % 129) - 64);
  std::vector<std::int32_t> bias(static_cast<std::size_t>(g.out_c));
  for (auto& b : bias) b = static_cast<std::int32_t>(random() % 2001) - 1000;
  std::vector<float> multiplier(bias.size());
  for (auto& m : multiplier) m = static_cast<float>(1 + random() % 100) * 2e-5f;
  const auto x = ptq_test::codes(g.in_h * g.in_w * g.in_c, 5);
  qconv_args a{.geometry = g,
               .weights = weights.data(),
               .bias = bias.data(),
               .x_zero_point = zero_point,
               .epilogue = {}};
  a.epilogue.multiplier = multiplier;
  a.epilogue.zero_point = 100;
  a.epilogue.low = 100;  // a ReLU
  a.epilogue.to_float = reals;
  const auto fast = onednn_int8_kernels()->qconv(a);
  if (!fast) return false;
  const auto reference = reference_kernels().qconv(a);
  const std::int64_t size = g.out_h * g.out_w * g.out_c;
  INFO(g.in_c << " -> " << g.out_c << ", kernel " << g.kernel_h << (reals ? ", reals" : ", codes"));
  if (reals)
    CHECK(ptq_test::first_difference(ptq_test::run_parts<float>(fast, {x.data()}, size, 1),
                                     ptq_test::run_parts<float>(reference, {x.data()}, size, 1)) ==
          -1);
  else
    CHECK(ptq_test::first_difference(
              ptq_test::run_parts<std::uint8_t>(fast, {x.data()}, size, 1),
              ptq_test::run_parts<std::uint8_t>(reference, {x.data()}, size, 1)) == -1);
  return true;
}

TEST_CASE("oneDNN's integer convolution equals the reference where it can't saturate") {
  if (!onednn_int8_kernels()) {
    MESSAGE("skipped: built without oneDNN");
    return;
  }
  int taken = 0;
  for (const bool reals : {false, true})
    for (const int zero_point : {0, 77})
      for (const conv_geometry& g :
           {square(9, 21, 37, 1), square(9, 16, 32, 3), square(11, 3, 20, 7, 2),
            square(7, 24, 12, 3, 2, 4), square(9, 32, 32, 3, 1, 32)})
        taken += check(g, reals, zero_point);
  INFO(taken << " of 20 shapes taken");
  CHECK(taken > 0);
}

TEST_CASE("oneDNN's integer table is none of the exact ones") {
  for (const built_kernel& b : built_kernels()) CHECK(b.table != onednn_int8_kernels());
}

}  // namespace
