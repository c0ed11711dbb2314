// SPDX-License-Identifier: Apache-2.0
// An algorithm for a CPU that the tests may not have: the kernels of avx_vnni (and the 256-bit parts of
// avx512_vnni, the same templates) with vpdpbusd replaced by what it is defined as, on AVX2. A program of
// its own, because it is compiled for AVX2.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include <ptq/kernels/reference/integer_conv.hpp>
#include <ptq/native/conv.hpp>
#include <ptq/native/qmatmul.hpp>

namespace {

using namespace ptq;
using namespace ptq::kernels;

/// AVX2 with Intel's definition of vpdpbusd: four products of a u8 and an s8, added to the lane, wrapping.
struct stand_in : native::avx2 {
  static constexpr bool has_dpbusd = true;
  template <class Ints>
  static Ints dpbusd(Ints acc, Ints a, Ints w) {
    constexpr std::size_t lanes = sizeof(Ints) / 4;
    std::uint8_t u[4 * lanes];
    std::int8_t s[4 * lanes];
    std::uint32_t sum[lanes];
    std::memcpy(u, &a, sizeof a);
    std::memcpy(s, &w, sizeof w);
    std::memcpy(sum, &acc, sizeof acc);
    for (std::size_t i = 0; i < 4 * lanes; ++i)
      sum[i / 4] += static_cast<std::uint32_t>(u[i] * s[i]);
    std::memcpy(&acc, sum, sizeof acc);
    return acc;
  }
};
static_assert(native::has_dpbusd<stand_in> && !native::has_pair_add<stand_in>);

std::vector<std::uint8_t> run(const prepared& p, operands io, std::size_t size) {
  std::vector<std::uint8_t> y(size, 0x5a);
  const auto scratch = allocate_aligned(p.scratch);
  io.dst = y.data();
  for (int part = 2; part >= 0; --part)
    p.run(p.object.get(), io, scratch.get(), share_of(p.units, part, 3));
  return y;
}

struct square_conv {
  std::int64_t side, in, out, kernel = 1, stride = 1, groups = 1;
};

void check(const square_conv& s) {
  conv_geometry g;
  g.in_h = g.in_w = s.side;
  g.in_c = s.in;
  g.out_c = s.out;
  g.kernel_h = g.kernel_w = s.kernel;
  g.stride_h = g.stride_w = s.stride;
  g.pad_top = g.pad_left = s.kernel / 2;
  g.out_h = g.out_w = (s.side + 2 * (s.kernel / 2) - s.kernel) / s.stride + 1;
  g.groups = s.groups;
  std::mt19937 random(20240229);
  const auto taps = static_cast<std::size_t>(g.kernel_h * g.kernel_w * g.group_in());
  std::vector<std::int8_t> weights(static_cast<std::size_t>(g.out_c) * taps);
  for (auto& w : weights)
    w = random() % 4 == 0 ? (random() % 2 ? std::int8_t{127} : std::int8_t{-128})
                          : static_cast<std::int8_t>(random());
  std::vector<std::uint8_t> x(static_cast<std::size_t>(g.in_h * g.in_w * g.in_c));
  for (auto& v : x) v = random() % 4 == 0 ? std::uint8_t{255} : static_cast<std::uint8_t>(random());
  std::vector<std::int32_t> bias(static_cast<std::size_t>(g.out_c));
  for (auto& b : bias) b = static_cast<std::int32_t>(random() % 20001) - 10000;
  const std::vector<float> multiplier(bias.size(),
                                      100.0f / (500000.0f * std::sqrt(static_cast<float>(taps))));
  const qconv_args a{.geometry = g,
                     .weights = weights.data(),
                     .bias = bias.data(),
                     .x_zero_point = 113,
                     .epilogue = {.multiplier = multiplier, .zero_point = 121}};
  operands io;
  io.src[0] = x.data();
  const auto size = static_cast<std::size_t>(g.out_h * g.out_w * g.out_c);
  INFO(s.side << " " << s.in << " -> " << s.out << " kernel " << s.kernel << " stride " << s.stride
              << " groups " << s.groups);
  CHECK(run(native::qconv<stand_in>(a), io, size) == run(reference::qconv(a), io, size));
}

TEST_CASE("convolution by vpdpbusd equals the reference") {
  for (const std::int64_t c : {1, 2, 3, 4, 5, 8, 17, 32, 67}) {
    check({7, c, 33});
    check({9, 21, c, 3});
    check({9, c, 18, 3, 2});
    check({13, c, 24, 5, 2});
  }
  check({1, 257, 255});
  check({7, 24, 12, 3, 2, 4});
  check({6, 6, 6, 3, 1, 3});
}

TEST_CASE("depthwise convolution by vpdpbusd equals the reference") {
  for (const std::int64_t c : {2, 3, 8, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 96})
    for (const std::int64_t stride : {1, 2})
      for (const std::int64_t kernel : {3, 5}) check({9, c, c, kernel, stride, c});
  check({7, 5, 15, 3, 2, 5});
}

TEST_CASE("a product of activations by vpdpbusd equals the reference") {
  for (const std::int64_t m : {1, 3, 6, 7, 13})
    for (const std::int64_t n : {1, 8, 9, 16, 31, 33})
      for (const std::int64_t k : {1, 3, 4, 5, 8, 31, 64, 67})
        for (const bool transposed : {false, true}) {
          std::mt19937 random(7);
          std::vector<std::uint8_t> x(static_cast<std::size_t>(m * k)),
              y(static_cast<std::size_t>(k * n));
          for (auto& v : x) v = static_cast<std::uint8_t>(random());
          for (auto& v : y)
            v = random() % 4 == 0 ? std::uint8_t{0} : static_cast<std::uint8_t>(random());
          const std::int64_t offset[1] = {0};
          const float multiplier[1] = {100.0f / (500000.0f * std::sqrt(static_cast<float>(k)))};
          const qmatmul_args a{.m = m,
                               .n = n,
                               .k = k,
                               .a_trans = transposed,
                               .b_trans = transposed,
                               .a_offset = offset,
                               .b_offset = offset,
                               .a_zero_point = 100,
                               .b_zero_point = 140,
                               .epilogue = {.multiplier = multiplier, .zero_point = 128}};
          operands io;
          io.src = {x.data(), y.data()};
          const auto size = static_cast<std::size_t>(m * n);
          INFO(m << " x " << n << " x " << k << (transposed ? " transposed" : ""));
          CHECK(run(native::qmatmul<stand_in>(a), io, size) ==
                run(reference::qmatmul(a), io, size));
        }
}

}  // namespace

int main(int argc, char** argv) {
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
    std::puts("skipped: this program is compiled for AVX2");
    return 77;
  }
  return doctest::Context(argc, argv).run();
}
