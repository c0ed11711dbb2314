// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
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

namespace {

/// The whole of a destination, so that what lies between pixels is compared too.
template <class Y, class X>
void check_equal(const kernel_table& table, const wide_conv_args& a, const std::vector<X>& x) {
  const auto& g = a.geometry;
  const auto n = static_cast<std::size_t>(g.batch * g.out_h * g.out_w * g.dst_pixel());
  CHECK(result<Y>(table.wide_conv, a, x, n) == result<Y>(reference_kernels().wide_conv, a, x, n));
}

/// As u8 and u16 in, and u8, u16 and f32 out.
void check_types(const kernel_table& table, wide_conv_args a) {
  const auto& g = a.geometry;
  const auto n = static_cast<std::size_t>(g.batch * g.in_h * g.in_w * g.src_pixel());
  for (auto type : {dtype::u16, dtype::u8}) {
    const std::int32_t top = highest_code(type);
    a.x_type = type;
    for (std::int32_t zero : {0, top / 2 + 1, top}) {
      a.x_zero_point = zero;
      const auto codes = random_codes<std::uint16_t>(n, 0, top, 21);
      const std::vector<std::uint8_t> bytes(codes.begin(), codes.end());
      const auto check = [&]<class Y>(Y) {
        type == dtype::u16 ? check_equal<Y>(table, a, codes) : check_equal<Y>(table, a, bytes);
      };
      a.y_type = dtype::u16;
      a.zero_point = 40000;
      a.low = 7;
      a.high = 65533;
      check(std::uint16_t{});
      a.y_type = dtype::u8;
      a.zero_point = 130;
      a.low = 0;
      a.high = 250;
      check(std::uint8_t{});
      a.y_type = dtype::f32;
      a.float_low = -3.5f;
      a.float_high = 4.25f;
      check(float{});
    }
  }
}

conv_geometry product(std::int64_t m, std::int64_t k, std::int64_t n) {
  return {.in_w = m, .in_c = k, .out_w = m, .out_c = n};
}

}  // namespace

TEST_CASE("sums of 1 to 5000 products are exact with every code and weight at its end") {
  for (const auto* table : tables()) {
    CAPTURE(table->isa);
    for (std::int64_t k : {1, 2, 3, 15, 16, 17, 255, 256, 511, 512, 513, 1031, 5000})
      for (auto [low, high] : {std::array{-128, -128},
                               {127, 127},
                               {-255, 255},
                               {-32768, -32768},
                               {32767, 32767},
                               {-32768, 32767}}) {
        CAPTURE(k);
        CAPTURE(low);
        std::vector<std::int16_t> w(static_cast<std::size_t>(3 * k));
        for (std::size_t i = 0; i < w.size(); ++i)
          w[i] = static_cast<std::int16_t>(i % 3 == 0 ? high : low);
        // Results of all sizes: the largest sum is far outside of the codes, the zero point's inside.
        const std::vector<double> m{0x1p-20, 0x1p-31, 1e-3};
        wide_conv_args a{.geometry = product(2, k, 3), .weights = w.data(), .multiplier = m};
        for (std::int32_t x : {0, 65535})
          for (std::int32_t z : {0, 32768, 65535}) {
            a.x_zero_point = z;
            const std::vector<std::uint16_t> codes(static_cast<std::size_t>(2 * k),
                                                   static_cast<std::uint16_t>(x));
            a.y_type = dtype::u16;
            a.zero_point = 32768;
            check_equal<std::uint16_t>(*table, a, codes);
            a.y_type = dtype::f32;
            check_equal<float>(*table, a, codes);
          }
      }
  }
}

TEST_CASE("wide kernels equal the reference at and beside the edges of tiles and blocks") {
  for (const auto* table : tables()) {
    CAPTURE(table->isa);
    for (std::int64_t m : {1, 5, 6, 7, 12, 13, 17, 48, 49, 101})
      for (std::int64_t n : {1, 7, 8, 9, 15, 16, 17, 31, 33, 47, 63, 64, 65, 130})
        for (int highest : {127, 32767}) {
          CAPTURE(m);
          CAPTURE(n);
          const std::int64_t k = 37;
          const auto w = random_codes<std::int16_t>(static_cast<std::size_t>(k * n), -highest,
                                                    highest, static_cast<unsigned>(n));
          const auto bias =
              random_codes<std::int32_t>(static_cast<std::size_t>(n), -(1 << 30), 1 << 30, 5);
          const double one = 1.0 / (40.0 * highest);
          const wide_conv_args a{.geometry = product(m, k, n),
                                 .weights = w.data(),
                                 .bias = bias.data(),
                                 .x_zero_point = 32768,
                                 .multiplier = {&one, 1},
                                 .zero_point = 30000};
          check_equal<std::uint16_t>(
              *table, a, random_codes<std::uint16_t>(static_cast<std::size_t>(m * k), 0, 65535, 9));
        }
  }
}

TEST_CASE("wide convolutions of every geometry equal the reference, for every type") {
  const auto strided = [](conv_geometry g) {
    g.src_stride = g.in_c + 3;
    g.dst_stride = g.out_c + 5;
    return g;
  };
  auto dilated = image(5, 7);
  dilated.dilation_h = dilated.dilation_w = 2;
  dilated.pad_top = dilated.pad_left = 2;
  auto long_k = image(130, 20);
  long_k.batch = 1;
  conv_geometry large{.in_h = 5, .in_w = 9, .in_c = 34, .out_h = 5, .out_w = 9, .out_c = 34};
  large.kernel_h = 5;
  large.kernel_w = 9;
  large.pad_top = 2;
  large.pad_left = 4;
  large.groups = 34;
  for (const auto* table : tables()) {
    CAPTURE(table->isa);
    for (const auto& g :
         {image(3, 18), image(17, 66), strided(image(9, 11)), dilated, long_k, image(12, 20, 4),
          image(8, 16, 8), image(1, 1), image(5, 5, 5), image(33, 33, 33), image(64, 64, 64),
          strided(image(70, 70, 70)), strided(image(8, 4, 2)), large}) {
      CAPTURE(g.in_c);
      CAPTURE(g.groups);
      for (int highest : {127, 255, 32767}) {
        const auto taps =
            static_cast<std::size_t>(g.out_c * g.kernel_h * g.kernel_w * g.group_in());
        const auto w = random_codes<std::int16_t>(taps, -highest, highest, 31);
        const auto bias =
            random_codes<std::int32_t>(static_cast<std::size_t>(g.out_c), -(1 << 28), 1 << 28, 32);
        std::vector<double> m;
        for (std::int64_t c = 0; c < g.out_c; ++c) m.push_back(0.01 / highest / double(c + 1));
        check_types(*table,
                    {.geometry = g, .weights = w.data(), .bias = bias.data(), .multiplier = m});
      }
    }
  }
}

TEST_CASE("wide kernels: packed memory serves another extent; what doesn't fit is refused") {
  for (const auto* table : tables()) {
    if (table == &reference_kernels()) continue;
    CAPTURE(table->isa);
    for (auto [c, o, groups] : {std::array<std::int64_t, 3>{9, 21, 1}, {40, 40, 40}, {6, 8, 2}})
      for (int highest : {127, 32767}) {
        auto g = image(c, o, groups);
        const auto w = random_codes<std::int16_t>(static_cast<std::size_t>(o * 9 * c / groups),
                                                  -highest, highest, 41);
        const double m = 0.002 / highest;
        wide_conv_args a{
            .geometry = g, .weights = w.data(), .multiplier = {&m, 1}, .zero_point = 9};
        const auto made = table->wide_conv(a);
        REQUIRE(made);
        REQUIRE(made.packed.data);
        auto b = a;
        b.geometry.batch = 1;
        b.geometry.in_w = b.geometry.out_w = 11;
        const auto x =
            random_codes<std::uint16_t>(static_cast<std::size_t>(7 * 11 * c), 0, 65535, 4);
        const auto n = static_cast<std::size_t>(4 * 11 * o);
        const auto want = result<std::uint16_t>(reference_kernels().wide_conv, b, x, n);
        b.weights = nullptr;
        b.multiplier = {};
        b.packed = made.packed;
        CHECK(result<std::uint16_t>(table->wide_conv, b, x, n) == want);
        // Another number of columns, and a cut that no packing writes.
        b.packed.bytes -= 64;
        CHECK_FALSE(table->wide_conv(b));
        std::vector<std::int64_t> broken(made.packed.bytes / 8);
        std::memcpy(broken.data(), made.packed.data, made.packed.bytes);
        for (std::array<std::int64_t, 3> form :
             {std::array<std::int64_t, 3>{3, 1, 0}, {1, 0, 0}, {1, 1000, 0}, {1, 1, 2}}) {
          std::copy(form.begin(), form.end(), broken.begin());
          b.packed = {reinterpret_cast<const std::byte*>(broken.data()), made.packed.bytes};
          CHECK_FALSE(table->wide_conv(b));
        }
      }
  }
}

TEST_CASE("16-bit codes of reals round ties to even and saturate, on every ISA; and back") {
  for (const auto* table : tables()) {
    CAPTURE(table->isa);
    for (float scale : {1.0f, 0.25f, 1e-4f, 3.3f, 0x1p-140f, 0x1p120f})
      for (std::int32_t z : {0, 1, 32768, 65535})
        for (std::int64_t size : {1, 3, 4, 15, 16, 17, 5000}) {
          std::vector<float> x;
          std::mt19937 random(static_cast<unsigned>(size));
          for (std::int64_t i = 0; i < size; ++i) {
            const auto half = static_cast<float>(static_cast<int>(random() % 140000) - 70000) / 2;
            x.push_back((i % 3 == 0 ? std::nextafter(half, 1e9f) : half) * scale);
          }
          for (float odd : {std::numeric_limits<float>::infinity(), -1e38f,
                            std::numeric_limits<float>::quiet_NaN(), -0.0f})
            x[random() % x.size()] = odd;
          const auto n = static_cast<std::size_t>(size);
          const quantize_args q{.size = size, .scale = scale, .zero_point = z};
          const auto codes = result<std::uint16_t>(reference_kernels().wide_quantize, q, x, n);
          CHECK(result<std::uint16_t>(table->wide_quantize, q, x, n) == codes);
          const dequantize_args d{.size = size, .scale = scale, .zero_point = z};
          CHECK(result<float>(table->wide_dequantize, d, codes, n) ==
                result<float>(reference_kernels().wide_dequantize, d, codes, n));
        }
  }
}
