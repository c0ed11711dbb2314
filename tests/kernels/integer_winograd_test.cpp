// SPDX-License-Identifier: Apache-2.0
// Winograd's convolution in integers against the definition, to the last bit: tiles that end outside, channels that
// fill no register, several blocks and panels, and sums at the edge of what its shift can tell apart.
#include "qconv_problem.hpp"

using namespace qconv_test;

namespace {

/// Whether a table takes this way for the geometry, with weights of `value`.
bool takes(const kernel_table& table, const conv_geometry& g, std::int8_t value) {
  const std::vector<std::int8_t> weights(static_cast<std::size_t>(9 * g.in_c * g.out_c), value);
  const float multiplier[1] = {0.001f};
  const prepared p = table.qconv({.geometry = g, .weights = weights.data(), .epilogue = {.multiplier = multiplier}});
  return std::string(p.name) == "exact Winograd 4x4";
}

bool some_take_it() {
  for (const auto* table : available_kernels())
    if (takes(*table, square(16, 64, 64, 3), 1)) return true;
  MESSAGE("no ISA here multiplies 3x3 filters this way: skipped");
  return false;
}

TEST_CASE("exact Winograd: parts of tiles on every side, and any padding") {
  if (!some_take_it()) return;
  for (const std::int64_t h : {5, 8, 11, 14})
    for (const std::int64_t w : {6, 9, 16, 19})
      for (const std::int64_t pad : {0, 1, 2}) {
        conv_geometry g = square(h, 32, 32, 3);
        g.in_w = w;
        g.pad_top = pad;
        g.pad_left = (pad + 1) % 3;
        g.batch = 1 + h % 2;
        check({.g = geometry(g), .out = static_cast<output>(w % 4)});
      }
}

TEST_CASE("exact Winograd: any number of channels") {
  if (!some_take_it()) return;
  for (const std::int64_t in : {8, 15, 16, 17, 31, 33, 47, 64, 97})
    for (const std::int64_t out : {8, 16, 23, 33, 48, 65, 100, 129}) {
      conv_geometry g = square(9, in, out, 3);
      if (in % 2 == 0) g.src_stride = in + 3;
      if (out % 2 == 0) g.dst_stride = out + 5;
      check({.g = g, .out = static_cast<output>((in + out) % 4), .one_multiplier = out % 3 == 0});
    }
}

TEST_CASE("exact Winograd: several blocks of tiles and units of panels") {
  if (!some_take_it()) return;
  check({.g = square(57, 64, 150, 3), .out = output::added});
  check({.g = square(30, 130, 64, 3)});
}

TEST_CASE("exact Winograd: the largest codes and weights") {
  if (!some_take_it()) return;
  for (const std::int64_t in : {16, 64, 112})
    for (const int zero_point : {0, 255}) check({.g = square(8, in, 33, 3), .extreme = true, .zero_point = zero_point});
}

/// Sums must stay below 2^25: 9 · 115 weights of 127 at codes of 255 do, 9 · 116 do not.
TEST_CASE("exact Winograd: sums at the edge of what it can tell apart") {
  if (!some_take_it()) return;
  for (const std::int8_t weight : {std::int8_t{127}, std::int8_t{-127}})
    for (const std::int64_t in : {114, 115, 116, 117}) {
      const conv_geometry g = square(8, in, 64, 3);
      const std::vector<std::int8_t> weights(static_cast<std::size_t>(9 * in * g.out_c), weight);
      const std::vector<std::uint8_t> x(static_cast<std::size_t>(g.in_h * g.in_w * in), 255);
      const float multiplier[1] = {1};
      qconv_args a{.geometry = g, .weights = weights.data(), .epilogue = {.multiplier = multiplier, .to_float = true}};
      operands io;
      io.src[0] = x.data();
      const auto outputs = static_cast<std::size_t>(g.out_h * g.out_w * g.out_c);
      std::vector<float> expected(outputs);
      io.dst = expected.data();
      run_split(reference::qconv(a), io, 1);
      for (const auto* table : available_kernels()) {
        if (!takes(*table, square(8, 64, 64, 3), 1)) continue;
        INFO(table->isa << " " << in << " channels of " << int{weight});
        CHECK(takes(*table, g, weight) == (in <= 115));
        std::vector<float> y(outputs);
        io.dst = y.data();
        run_split(table->qconv(a), io, 1);
        CHECK(y == expected);
      }
    }
}

TEST_CASE("exact Winograd: packed memory serves images of any size, and none of another form is taken") {
  if (!some_take_it()) return;
  for (const auto* table : available_kernels()) {
    const conv_geometry g = square(16, 32, 32, 3);
    if (!takes(*table, g, 1)) continue;
    std::vector<std::int8_t> weights(9 * 32 * 32);
    for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<std::int8_t>(i * 37 % 251 - 125);
    const float multiplier[1] = {0.0003f};
    qconv_args a{.geometry = g, .weights = weights.data(), .x_zero_point = 7, .epilogue = {.multiplier = multiplier}};
    const prepared first = table->qconv(a);
    for (const std::int64_t side : {1, 3, 30}) {
      qconv_args again = a;
      again.geometry = square(side, 32, 32, 3);
      const prepared alone = reference::qconv(again);
      again.packed = first.packed;
      again.weights = nullptr;
      const prepared shared = table->qconv(again);
      REQUIRE(shared);
      CHECK(std::string(shared.name) == "exact Winograd 4x4");
      std::vector<std::uint8_t> x(static_cast<std::size_t>(side * side * 32)), y(x.size()), expected(x.size());
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<std::uint8_t>(i * 91 % 256);
      operands io;
      io.src[0] = x.data();
      io.dst = expected.data();
      run_split(alone, io, 1);
      io.dst = y.data();
      run_split(shared, io, 2);
      CHECK(y == expected);
    }
    qconv_args empty = a;
    empty.geometry.batch = 0;
    empty.packed = first.packed;
    empty.weights = nullptr;
    CHECK(table->qconv(empty).units == 0);
    qconv_args cut = a;
    cut.packed = {first.packed.data, first.packed.bytes - 64};
    cut.weights = nullptr;
    CHECK_FALSE(table->qconv(cut));
  }
}

}  // namespace
