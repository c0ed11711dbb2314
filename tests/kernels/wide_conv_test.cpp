// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include <ptq/core/numeric.hpp>
#include <ptq/kernels/reference.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/dispatch.hpp>
#endif

namespace {

using namespace ptq;
using namespace ptq::kernels;

template <class T>
std::vector<T> random_codes(std::size_t n, std::int64_t low, std::int64_t high, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<std::int64_t> d(low, high);
  std::vector<T> v(n);
  for (std::size_t i = 0; i < n; ++i)
    v[i] = static_cast<T>(i % 11 == 0 ? low : i % 13 == 0 ? high : d(random));
  return v;
}

template <class Y, class Args, class X>
std::vector<Y> result(entry<Args> make, const Args& args, const std::vector<X>& x, std::size_t n) {
  const auto p = make(args);
  REQUIRE(p);
  std::vector<Y> y(n, Y{});
  std::vector<std::byte> scratch(p.scratch + 64);
  // In uneven parts: results do not depend on the split.
  for (std::int64_t at = 0; at < p.units;) {
    const std::int64_t end = std::min<std::int64_t>(p.units, at + 1 + at % 5);
    p.run(p.object.get(), {.src = {x.data()}, .dst = y.data()}, scratch.data(), {at, end});
    at = end;
  }
  return y;
}

conv_geometry image(std::int64_t c, std::int64_t o, std::int64_t groups = 1) {
  return {.batch = 2,
          .in_h = 7,
          .in_w = 6,
          .in_c = c,
          .out_h = 4,
          .out_w = 6,
          .out_c = o,
          .kernel_h = 3,
          .kernel_w = 3,
          .stride_h = 2,
          .dilation_w = 1,
          .pad_top = 1,
          .pad_left = 1,
          .groups = groups};
}

std::vector<const kernel_table*> tables() {
  std::vector<const kernel_table*> all{&reference_kernels()};
#ifdef PTQ_TEST_DISPATCH
  for (const auto* t : available_kernels())
    if (t->wide_conv) all.push_back(t);
#endif
  return all;
}

}  // namespace

TEST_CASE("wide requantization rounds halves to even and saturates, for sums beyond 2^32") {
  CHECK(requantize_wide(5, 0.5, 0, -100, 100) == 2);
  CHECK(requantize_wide(7, 0.5, 0, -100, 100) == 4);
  CHECK(requantize_wide(-5, 0.5, 0, -100, 100) == -2);
  CHECK(requantize_wide(-7, 0.5, 10, -100, 100) == 6);
  CHECK(requantize_wide(std::int64_t{1} << 50, 0x1p-36, 7, 0, 65535) == 16391);
  CHECK(requantize_wide(std::int64_t{1} << 52, 1.0, 7, 0, 65535) == 65535);
  CHECK(requantize_wide(-(std::int64_t{1} << 52), 1.0, 7, 0, 65535) == 0);
  std::mt19937_64 random(5);
  for (int i = 0; i < 100000; ++i) {
    const auto acc = static_cast<std::int64_t>(random()) >> 12;
    const double m = std::ldexp(1.0 + static_cast<double>(random() % 1000) / 1000, -40);
    const double want = std::nearbyint(static_cast<double>(acc) * m) + 32768;
    CHECK(requantize_wide(acc, m, 32768, 0, 65535) ==
          static_cast<std::int32_t>(std::min(std::max(want, 0.0), 65535.0)));
  }
}

TEST_CASE("a 16-bit convolution is that of its high bytes times 256 plus that of its low bytes") {
  for (auto [c, o, groups] : {std::array<std::int64_t, 3>{3, 5, 1}, {8, 8, 8}, {4, 6, 2}}) {
    const auto g = image(c, o, groups);
    const auto w8 =
        random_codes<std::int8_t>(static_cast<std::size_t>(o * 9 * c / groups), -127, 127, 1);
    const std::vector<std::int16_t> w(w8.begin(), w8.end());
    const auto x =
        random_codes<std::uint16_t>(static_cast<std::size_t>(2 * 7 * 6 * c), 0, 65535, 2);
    const auto bias = random_codes<std::int32_t>(static_cast<std::size_t>(o), -1000000, 1000000, 3);
    std::vector<std::uint8_t> high, low;
    for (auto v : x) {
      high.push_back(static_cast<std::uint8_t>(v >> 8));
      low.push_back(static_cast<std::uint8_t>(v & 255));
    }
    const std::int32_t z = 256 * 77 + 5;
    const float one = 1;
    const double unit = 1;
    const auto n = static_cast<std::size_t>(2 * 4 * 6 * o);
    // |acc| < 9 · 8 · 127 · 255 < 2^24: float holds it.
    const auto part = [&](const std::vector<std::uint8_t>& codes, std::int32_t zero,
                          bool with_bias) {
      qconv_args a{.geometry = g,
                   .weights = w8.data(),
                   .bias = with_bias ? bias.data() : nullptr,
                   .x_zero_point = zero,
                   .epilogue = {}};
      a.epilogue.multiplier = {&one, 1};
      a.epilogue.to_float = true;
      return result<float>(reference_kernels().qconv, a, codes, n);
    };
    const auto h = part(high, 77, false), l = part(low, 5, true);
    for (const auto* table : tables()) {
      CAPTURE(table->isa);
      wide_conv_args a{.geometry = g,
                       .weights = w.data(),
                       .bias = bias.data(),
                       .x_zero_point = z,
                       .multiplier = {&unit, 1},
                       .y_type = dtype::f32};
      const auto y = result<float>(table->wide_conv, a, x, n);
      for (std::size_t i = 0; i < n; ++i)
        CHECK(y[i] ==
              static_cast<float>(256.0 * static_cast<double>(h[i]) + static_cast<double>(l[i])));
    }
  }
}

TEST_CASE("sums of 16-bit weights and codes are exact where 32 bits would have wrapped") {
  conv_geometry g;
  g.in_w = g.out_w = 3;
  g.in_c = 1000;
  g.out_c = 2;
  std::vector<std::int16_t> w(2000, 32767);
  for (std::size_t i = 1000; i < 2000; ++i) w[i] = -32768;
  const std::vector<std::uint16_t> x(3000, 65535);
  const double unit = 0x1p-24;
  for (const auto* table : tables()) {
    CAPTURE(table->isa);
    wide_conv_args a{.geometry = g,
                     .weights = w.data(),
                     .x_zero_point = 0,
                     .multiplier = {&unit, 1},
                     .y_type = dtype::f32};
    const auto y = result<float>(table->wide_conv, a, x, 6);
    CHECK(y[0] == static_cast<float>(1000.0 * 65535 * 32767 * unit));
    CHECK(y[1] == static_cast<float>(-1000.0 * 65535 * 32768 * unit));
  }
}

TEST_CASE("every wide kernel equals the reference, for 8 and 16 bits in and out") {
  for (const auto* table : tables()) {
    CAPTURE(table->isa);
    for (std::int64_t c : {1, 2, 7, 16, 17, 33})
      for (std::int64_t o : {1, 3, 4, 5, 8})
        for (int highest : {127, 32767}) {
          const auto g = image(c, o);
          const auto w =
              random_codes<std::int16_t>(static_cast<std::size_t>(o * 9 * c), -highest, highest, 4);
          const auto bias =
              random_codes<std::int32_t>(static_cast<std::size_t>(o), -(1 << 30), 1 << 30, 5);
          std::vector<double> m;
          for (std::int64_t i = 0; i < o; ++i)
            m.push_back(1.0 / (30.0 * static_cast<double>(highest) * static_cast<double>(c + i)));
          const auto n = static_cast<std::size_t>(2 * 4 * 6 * o);
          wide_conv_args a{.geometry = g,
                           .weights = w.data(),
                           .bias = bias.data(),
                           .x_zero_point = 30000,
                           .multiplier = m,
                           .y_type = dtype::u16,
                           .zero_point = 31000,
                           .low = 5,
                           .high = 65530};
          const auto x =
              random_codes<std::uint16_t>(static_cast<std::size_t>(2 * 7 * 6 * c), 0, 65535, 6);
          CHECK(result<std::uint16_t>(table->wide_conv, a, x, n) ==
                result<std::uint16_t>(reference_kernels().wide_conv, a, x, n));
          a.x_type = a.y_type = dtype::u8;
          a.x_zero_point = 3;
          a.zero_point = 100;
          a.low = 0;
          a.high = 255;
          const auto x8 = random_codes<std::uint8_t>(x.size(), 0, 255, 7);
          CHECK(result<std::uint8_t>(table->wide_conv, a, x8, n) ==
                result<std::uint8_t>(reference_kernels().wide_conv, a, x8, n));
        }
  }
}
