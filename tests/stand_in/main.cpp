// SPDX-License-Identifier: Apache-2.0
// Algorithms for CPUs that the tests may not have: the integer kernels of avx_vnni, avx512_vnni and
// amx_int8, the library's templates over the stand-ins of isas.hpp, and what only AVX2 has. A program of
// its own, because it is compiled for AVX2.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <ptq/kernels/reference/integer_conv.hpp>
#include <ptq/kernels/reference/wide_conv.hpp>
#include <ptq/native/conv.hpp>
#include <ptq/native/qmatmul.hpp>
#include <ptq/native/wide_conv.hpp>

#include "isas.hpp"

namespace {

using namespace ptq;
using namespace ptq::kernels;
using ptq_test::amx, ptq_test::plain, ptq_test::vnni_256, ptq_test::vnni_512;
using tiles = ptq_test::software_tiles;

/// All units in three parts, the last first; scratch is exactly as large as declared, and dirty.
std::vector<std::uint8_t> run(const prepared& p, operands io, std::size_t size) {
  std::vector<std::uint8_t> y(size, 0x5a);
  std::unique_ptr<std::byte[]> scratch(new std::byte[p.scratch + 64]);
  std::memset(scratch.get(), 0xa5, p.scratch + 64);
  std::byte* aligned =
      scratch.get() + (64 - reinterpret_cast<std::uintptr_t>(scratch.get()) % 64) % 64;
  io.dst = y.data();
  for (int part = 2; part >= 0; --part) {
    p.run(p.object.get(), io, aligned, share_of(p.units, part, 3));
    CHECK(!tiles::configured);  // nothing is left behind
  }
  return y;
}

enum class output { codes, added, reals };

void set_output(int_epilogue& e, output out) {
  e.zero_point = 121;
  if (out == output::added) {
    e.add = true;
    e.sum = add_rule_of(0.7345f, 121, 1.2519f, 128, 1, 30);
    e.sum.low = 30;
    e.sum.high = 250;
  }
  if (out == output::reals) {
    e.to_float = true;
    e.float_low = -0.5f;
  }
}

struct problem {
  std::int64_t h, w, in, out, kernel = 1, stride = 1, groups = 1, dilation = 1;
  std::int64_t apart = 0;  // bytes between pixels, of both sides
  std::int64_t batch = 1;
};

/// Returns the algorithm.
template <class Isa>
std::string check(const problem& s, output result = output::codes) {
  conv_geometry g;
  const std::int64_t pad = s.dilation * (s.kernel / 2), reach = s.dilation * (s.kernel - 1);
  g.batch = s.batch;
  g.in_h = s.h;
  g.in_w = s.w;
  g.in_c = s.in;
  g.out_c = s.out;
  g.kernel_h = g.kernel_w = s.kernel;
  g.stride_h = g.stride_w = s.stride;
  g.dilation_h = g.dilation_w = s.dilation;
  g.pad_top = g.pad_left = pad;
  g.out_h = (s.h + 2 * pad - reach - 1) / s.stride + 1;
  g.out_w = (s.w + 2 * pad - reach - 1) / s.stride + 1;
  g.groups = s.groups;
  if (s.apart) g.src_stride = s.in + s.apart, g.dst_stride = s.out + s.apart;
  std::mt19937 random(20240229);
  const auto taps = static_cast<std::size_t>(g.kernel_h * g.kernel_w * g.group_in());
  std::vector<std::int8_t> weights(static_cast<std::size_t>(g.out_c) * taps);
  for (auto& w : weights)
    w = random() % 4 == 0 ? (random() % 2 ? std::int8_t{127} : std::int8_t{-128})
                          : static_cast<std::int8_t>(random());
  const auto extent = [](std::int64_t pixels, std::int64_t stride, std::int64_t channels) {
    return static_cast<std::size_t>((pixels - 1) * stride + channels);
  };
  const std::size_t size = extent(g.batch * g.out_h * g.out_w, g.dst_pixel(), g.out_c);
  std::vector<std::uint8_t> x(extent(g.batch * g.in_h * g.in_w, g.src_pixel(), g.in_c)), r(size);
  for (auto* codes : {&x, &r})
    for (auto& v : *codes)
      v = random() % 4 == 0 ? std::uint8_t{255} : static_cast<std::uint8_t>(random());
  std::vector<std::int32_t> bias(static_cast<std::size_t>(g.out_c));
  for (auto& b : bias) b = static_cast<std::int32_t>(random() % 20001) - 10000;
  const std::vector<float> multiplier(bias.size(),
                                      100.0f / (500000.0f * std::sqrt(static_cast<float>(taps))));
  qconv_args a{.geometry = g,
               .weights = weights.data(),
               .bias = bias.data(),
               .x_zero_point = 113,
               .epilogue = {.multiplier = multiplier}};
  set_output(a.epilogue, result);
  operands io;
  io.src = {x.data(), result == output::added ? r.data() : nullptr};
  const std::size_t bytes = size * (result == output::reals ? 4 : 1);
  const prepared fast = native::qconv<Isa>(a);
  INFO(std::string(Isa::name) << " " << std::string(fast.name) << ": " << s.h << " x " << s.w
                              << ", " << s.in << " -> " << s.out << " kernel " << s.kernel
                              << " stride " << s.stride << " groups " << s.groups << " output "
                              << static_cast<int>(result));
  CHECK(run(fast, io, bytes) == run(reference::qconv(a), io, bytes));
  return fast.name;
}

template <class Isa>
void check_product(std::int64_t m, std::int64_t n, std::int64_t k, bool transposed, output result) {
  std::mt19937 random(7);
  constexpr std::int64_t batch = 2;
  std::vector<std::uint8_t> x(static_cast<std::size_t>(batch * m * k)),
      y(static_cast<std::size_t>(batch * k * n));
  for (auto& v : x) v = static_cast<std::uint8_t>(random());
  for (auto& v : y) v = random() % 4 == 0 ? std::uint8_t{0} : static_cast<std::uint8_t>(random());
  const std::int64_t a_offset[batch] = {m * k, 0}, b_offset[batch] = {0, n * k};
  const float multiplier[1] = {100.0f / (500000.0f * std::sqrt(static_cast<float>(k)))};
  qmatmul_args a{.m = m,
                 .n = n,
                 .k = k,
                 .a_trans = transposed,
                 .b_trans = transposed,
                 .a_offset = a_offset,
                 .b_offset = b_offset,
                 .a_zero_point = 100,
                 .b_zero_point = 140,
                 .epilogue = {.multiplier = multiplier}};
  set_output(a.epilogue, result);
  operands io;
  io.src = {x.data(), y.data()};
  const auto size = static_cast<std::size_t>(batch * m * n) * (result == output::reals ? 4 : 1);
  INFO(std::string(Isa::name) << " " << m << " x " << n << " x " << k
                              << (transposed ? " transposed" : ""));
  CHECK(run(native::qmatmul<Isa>(a), io, size) == run(reference::qmatmul(a), io, size));
}

TEST_CASE_TEMPLATE("convolution equals the reference", Isa, vnni_256, vnni_512, amx) {
  for (const std::int64_t c : {1, 2, 3, 4, 5, 8, 17, 32, 67}) {
    check<Isa>({7, 7, c, 33});
    check<Isa>({9, 9, 21, c, 3});
    check<Isa>({9, 9, c, 18, 3, 2});
    check<Isa>({13, 13, c, 24, 5, 2});
  }
  check<Isa>({1, 1, 257, 255});
  check<Isa>({7, 7, 24, 12, 3, 2, 4});
  check<Isa>({6, 6, 6, 6, 3, 1, 3});
}

// AVX2 needs no stand-in; here a sanitizer sees it on every machine.
TEST_CASE("exact Winograd equals the reference") {
  for (const std::int64_t c : {16, 17, 33, 64})
    for (const std::int64_t side : {6, 8, 13})
      for (const auto result : {output::codes, output::added, output::reals}) {
        CHECK(check<native::avx2>({side, side + 1, c, 40, 3}, result) == "exact Winograd 4x4");
        const problem spread{.h = side, .w = 9, .in = c, .out = 71, .kernel = 3, .apart = 3, .batch = 2};
        CHECK(check<native::avx2>(spread, result) == "exact Winograd 4x4");
      }
}

TEST_CASE_TEMPLATE("depthwise convolution equals the reference", Isa, vnni_256, vnni_512) {
  for (const std::int64_t c : {2, 3, 8, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 96})
    for (const std::int64_t stride : {1, 2})
      for (const std::int64_t kernel : {3, 5})
        check<Isa>(
            {.h = 9, .w = 9, .in = c, .out = c, .kernel = kernel, .stride = stride, .groups = c});
  check<Isa>({7, 7, 5, 15, 3, 2, 5});
}

TEST_CASE_TEMPLATE("a product of activations equals the reference", Isa, vnni_256, vnni_512, amx) {
  for (const std::int64_t m : {1, 3, 6, 7, 13})
    for (const std::int64_t n : {1, 8, 9, 16, 31, 33})
      for (const std::int64_t k : {1, 3, 4, 5, 8, 31, 64, 67})
        for (const bool transposed : {false, true})
          check_product<Isa>(m, n, k, transposed, output::codes);
}

TEST_CASE("tiles equal the reference at every edge of one") {
  tiles::dots = 0;
  for (const auto result : {output::codes, output::added, output::reals}) {
    for (const std::int64_t m : {15, 16, 17, 19, 20, 31, 32, 33, 36, 47, 48, 49, 52, 71, 72, 97})
      check<amx>({1, m, 64, 70}, result);
    for (const std::int64_t n : {15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 81, 96, 129})
      check<amx>({1, 36, 40, n}, result);
    for (const std::int64_t k :
         {31, 32, 33, 35, 36, 60, 63, 64, 65, 67, 68, 96, 127, 128, 129, 160, 257})
      check<amx>({1, 37, k, 33}, result);
  }
  CHECK(tiles::dots > 0);
}

TEST_CASE(
    "a convolution by tiles equals the reference at borders, strides, groups and runs of rows") {
  tiles::dots = 0;
  for (const std::int64_t c : {32, 33, 48, 64, 80, 130})
    for (const std::int64_t stride : {1, 2})
      for (const std::int64_t kernel : {1, 3, 5})
        check<amx>({11, 13, c, 40, kernel, stride}, c % 2 ? output::added : output::codes);
  check<amx>({24, 24, 32, 16, 3});  // 16 rows within a line of the image
  check<amx>({5, 40, 64, 70, 3, 1, 1, 2}, output::reals);
  check<amx>({9, 9, 64, 96, 3, 1, 2});
  check<amx>({40, 40, 64, 64, 1, 1, 2});  // both groups in one unit
  check<amx>({9, 9, 200, 132, 1, 1, 2}, output::added);
  check<amx>({13, 13, 12, 33, 3});  // a line's taps are one run
  check<amx>({29, 29, 5, 64, 7, 2});
  check<amx>({9, 9, 3, 20, 5, 1, 1, 2});  // gathered
  check<amx>({.h = 9, .w = 9, .in = 36, .out = 36, .kernel = 3, .apart = 5});
  check<amx>({.h = 1, .w = 40, .in = 67, .out = 70, .apart = 1}, output::added);
  CHECK(tiles::dots > 0);
}

TEST_CASE("a product of activations by tiles equals the reference") {
  tiles::dots = 0;
  for (const bool transposed : {false, true}) {
    for (const std::int64_t m : {15, 16, 17, 20, 33, 49, 197})
      check_product<amx>(m, 37, 64, transposed, output::codes);
    for (const std::int64_t n : {16, 31, 48, 64, 65, 197})
      check_product<amx>(21, n, 67, transposed, output::reals);
    for (const std::int64_t k : {32, 33, 63, 64, 66, 96, 197})
      check_product<amx>(23, 70, k, transposed, output::codes);
  }
  CHECK(tiles::dots > 0);
}

namespace {

/// Codes of X in, u16 out; weights up to `highest`.
template <class Isa, class X>
void check_wide(const conv_geometry& g, int highest) {
  CAPTURE(g.in_c);
  CAPTURE(highest);
  std::mt19937 random(11);
  const auto number = [&](int low, int high) {
    const int pick = static_cast<int>(random() % 8);
    return pick == 0   ? low
           : pick == 1 ? high
                       : low + static_cast<int>(random() % static_cast<unsigned>(high - low + 1));
  };
  std::vector<std::int16_t> w(
      static_cast<std::size_t>(g.out_c * g.kernel_h * g.kernel_w * g.group_in()));
  for (auto& v : w) v = static_cast<std::int16_t>(number(-highest - 1, highest));
  std::vector<X> x(static_cast<std::size_t>(g.in_h * g.in_w * g.in_c));
  constexpr int top = sizeof(X) == 2 ? 65535 : 255;
  for (auto& v : x) v = static_cast<X>(number(0, top));
  const double m = 1.0 / (4.0 * highest);
  const wide_conv_args a{.geometry = g,
                         .weights = w.data(),
                         .x_type = sizeof(X) == 2 ? dtype::u16 : dtype::u8,
                         .x_zero_point = top / 3,
                         .multiplier = {&m, 1},
                         .zero_point = 30000};
  const auto size = static_cast<std::size_t>(2 * g.out_h * g.out_w * g.out_c);
  const operands io{.src = {x.data()}};
  CHECK(run(native::wide_conv<Isa>(a), io, size) == run(reference::wide_conv(a), io, size));
}

}  // namespace

TEST_CASE_TEMPLATE("wide convolution equals the reference", Isa, plain, vnni_256, vnni_512, amx) {
  const conv_geometry image{.in_h = 6,
                            .in_w = 7,
                            .in_c = 5,
                            .out_h = 6,
                            .out_w = 7,
                            .out_c = 21,
                            .kernel_h = 3,
                            .kernel_w = 3,
                            .pad_top = 1,
                            .pad_left = 1};
  auto deep = image;
  deep.in_c = 33;
  deep.out_c = 70;
  auto depthwise = image;
  depthwise.in_c = depthwise.out_c = depthwise.groups = 37;
  for (const auto& g : {image, deep, depthwise})
    for (int highest : {127, 32767}) {
      check_wide<Isa, std::uint16_t>(g, highest);
      check_wide<Isa, std::uint8_t>(g, highest);
    }
}

TEST_CASE("wide products by tiles equal the reference at every edge of one") {
  for (std::int64_t m : {1, 15, 16, 17, 33})
    for (std::int64_t k : {32, 33, 63, 64, 65, 130, 200})
      for (std::int64_t n : {16, 17, 48, 65}) {
        CAPTURE(m);
        CAPTURE(n);
        const auto before = tiles::dots;
        check_wide<amx, std::uint16_t>({.in_w = m, .in_c = k, .out_w = m, .out_c = n}, 127);
        CHECK(tiles::dots > before);
      }
}

TEST_CASE("tiles take what they pay for") {
  tiles::dots = 0;
  check<amx>({1, 40, 15, 64});
  check<amx>({1, 40, 64, 3});
  CHECK(tiles::dots == 0);
  check<amx>({1, 16, 128, 64});
  CHECK(tiles::dots == 2 * 4);  // steps of K, tiles of columns
}

TEST_CASE("few rows, neighbouring images and units by tiles equal the reference") {
  tiles::dots = 0;
  for (const std::int64_t m : {1, 2, 3, 5, 8, 15})
    for (const std::int64_t k : {16, 31, 64, 100}) check<amx>({1, m, k, 70}, output::added);
  for (const std::int64_t side : {1, 2, 3, 4, 6, 17})
    for (const std::int64_t stride : {1, 2, 3})
      for (const std::int64_t dilation : {1, 2, 3, 4})
        check<amx>({.h = side,
                    .w = side + 1,
                    .in = 20,
                    .out = 24,
                    .kernel = 3,
                    .stride = stride,
                    .dilation = dilation,
                    .batch = 3},
                   side % 2 ? output::codes : output::reals);
  check<amx>({.h = 70, .w = 9, .in = 64, .out = 96, .kernel = 3, .batch = 2});  // several copies
  // images of a stride in another order than their phases
  for (const std::int64_t stride : {2, 3})
    for (const std::int64_t dilation : {1, 2, 3})
      for (const std::int64_t kernel : {5, 7}) {
        const problem p{.h = 33,
                        .w = 31,
                        .in = 64,
                        .out = 24,
                        .kernel = kernel,
                        .stride = stride,
                        .dilation = dilation};
        CHECK(check<amx>(p) == "padded conv, tiles");
      }
  check<amx>({.h = 33, .w = 34, .in = 3, .out = 40, .kernel = 7, .stride = 2, .batch = 2});
  check<amx>({.h = 5, .w = 5, .in = 512, .out = 600, .kernel = 3});  // panels in several units
  CHECK(tiles::dots > 0);
}

}  // namespace

int main(int argc, char** argv) {
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
    std::puts("skipped: this program is compiled for AVX2");
    return 77;
  }
  return doctest::Context(argc, argv).run();
}
