// SPDX-License-Identifier: Apache-2.0
#include "exact.hpp"

#include <array>

using namespace ptq;
using namespace ptq::kernels;
using namespace ptq_test;

TEST_CASE("quantizing equals the reference at ties, at their neighbours and out of range") {
  for (const float scale : {1.0f, 0.25f, 0.1f, 0.0037f, 3.0f, 1e-38f, 1e-44f, 1e38f, 7e-30f}) {
    for (const std::int32_t zero_point : {0, 3, 128, 255}) {
      std::vector<float> x = reals(300, 5, scale * 150.0f, true);
      for (int q = -300; q <= 300; ++q) {
        const float tie = (static_cast<float>(q) + 0.5f) * scale;
        for (const float v : {tie, std::nextafter(tie, 1e38f), std::nextafter(tie, -1e38f)})
          x.push_back(v);
      }
      const auto n = static_cast<std::int64_t>(x.size());
      equals_reference<std::uint8_t>(&kernel_table::quantize,
                                     {.size = n, .scale = scale, .zero_point = zero_point},
                                     {x.data()}, n, "scale " + std::to_string(scale));
    }
  }
}

TEST_CASE("quantizing gives saturated codes and 0 for NaN") {
  constexpr float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> x = {std::nanf(""), inf, -inf, 0.0f, -0.0f, 1.25f, 0.75f, 3e38f, -3e38f};
  const std::vector<std::uint8_t> want = {0, 255, 0, 10, 10, 12, 12, 255, 0};  // ties to even
  const quantize_args args{.size = 9, .scale = 0.5f, .zero_point = 10};
  auto got = run_parts<std::uint8_t>(reference_kernels().quantize(args), {x.data()}, 9, 1);
  got.resize(9);
  CHECK(got == want);
  equals_reference<std::uint8_t>(&kernel_table::quantize, args, {x.data()}, 9, "special values");
}

TEST_CASE("quantizing and dequantizing equal the reference at every size") {
  for (const auto n : awkward_sizes()) {
    const auto x = reals(n, 7, 20.0f);
    const auto q = codes(n, 8);
    equals_reference<std::uint8_t>(&kernel_table::quantize,
                                   {.size = n, .scale = 0.1f, .zero_point = 100}, {x.data()}, n,
                                   "size " + std::to_string(n));
    equals_reference<float>(&kernel_table::dequantize,
                            {.size = n, .scale = 0.37f, .zero_point = 131}, {q.data()}, n,
                            "size " + std::to_string(n));
  }
}

TEST_CASE("a look-up equals the reference for every code, size and row stride") {
  lookup_args args;
  std::mt19937 random(3);
  for (auto& t : args.table) t = static_cast<std::uint8_t>(random());
  std::vector<std::uint8_t> every(256);
  for (std::size_t i = 0; i < 256; ++i) every[i] = static_cast<std::uint8_t>(i);
  args.columns = 256;
  equals_reference<std::uint8_t>(&kernel_table::lookup, args, {every.data()}, 256, "every code");
  for (const auto n : awkward_sizes()) {
    const std::int64_t rows = n < 200 ? 5 : 2;
    const auto x = codes(rows * (n + 3), 9);
    args.rows = rows;
    args.columns = n;
    args.src_stride = args.dst_stride = 0;
    equals_reference<std::uint8_t>(&kernel_table::lookup, args, {x.data()}, rows * n, "dense");
    args.src_stride = n + 3;
    args.dst_stride = n + 1;
    equals_reference<std::uint8_t>(&kernel_table::lookup, args, {x.data()}, rows * (n + 1),
                                   "columns " + std::to_string(n));
  }
}

namespace {

struct form {
  const char* name;
  broadcast over;
  std::int64_t a_size, b_size;
};

broadcast shaped(std::initializer_list<std::array<std::int64_t, 3>> dims) {
  broadcast b;
  b.rank = static_cast<int>(dims.size());
  std::size_t i = 0;
  for (const auto& d : dims) {
    b.extent[i] = d[0];
    b.a_stride[i] = d[1];
    b.b_stride[i++] = d[2];
  }
  return b;
}

/// The broadcasts that networks use, with n along the innermost dimension.
std::vector<form> forms(std::int64_t n) {
  return {{"same shape", shaped({{n, 1, 1}}), n, n},
          {"scalar b", shaped({{n, 1, 0}}), n, 1},
          {"scalar a", shaped({{n, 0, 1}}), 1, n},
          {"b per channel", shaped({{7, n, 0}, {n, 1, 1}}), 7 * n, n},
          {"b per row", shaped({{7, n, 1}, {n, 1, 0}}), 7 * n, 7},
          {"merging dimensions", shaped({{2, 3 * n, 3 * n}, {3, n, n}, {n, 1, 1}}), 6 * n, 6 * n},
          {"n 1 c · 1 w 1", shaped({{2, n, 0}, {3, 0, 1}, {n, 1, 0}}), 2 * n, 3},
          {"n h 1 c", shaped({{2, 3 * n, n}, {3, n, 0}, {n, 1, 1}}), 6 * n, 2 * n},
          {"strided", shaped({{n, 2, 3}}), 2 * n, 3 * n}};
}

}  // namespace

TEST_CASE("float binary functions equal the reference in every broadcast form") {
  using enum binary_kind;
  for (const auto n : awkward_sizes())
    for (const auto& f : forms(n)) {
      const auto a = reals(f.a_size, 11, 3.0f, true), b = reals(f.b_size, 12, 3.0f, true);
      for (const auto kind : {add, mul}) {
        equals_reference<float>(&kernel_table::binary, {.kind = kind, .over = f.over},
                                {a.data(), b.data()}, f.over.size(),
                                std::string(f.name) + " n " + std::to_string(n));
      }
    }
}

TEST_CASE("every float binary kind equals the reference, clamped and not") {
  for (int k = 0; k <= static_cast<int>(binary_kind::logical_xor); ++k) {
    const auto kind = static_cast<binary_kind>(k);
    const auto a = reals(2003, 13, 3.0f, true), b = reals(2003, 14, 3.0f, true);
    for (const clamp act : {clamp{}, clamp{0.0f, 6.0f}})
      equals_reference<float>(&kernel_table::binary,
                              {.kind = kind, .over = shaped({{2003, 1, 1}}), .act = act},
                              {a.data(), b.data()}, 2003, "kind " + std::to_string(k));
  }
}

TEST_CASE("every unary kind equals the reference at every size and at special values") {
  for (int k = 0; k <= static_cast<int>(unary_kind::is_nan); ++k) {
    const auto kind = static_cast<unary_kind>(k);
    for (const auto n : {1, 3, 4, 8, 15, 16, 17, 33, 4097}) {
      const auto x = reals(n, 15, n % 2 ? 4.0f : 90.0f, true);
      equals_reference<float>(&kernel_table::unary,
                              {.kind = kind, .alpha = 0.3f, .beta = 0.9f, .size = n}, {x.data()}, n,
                              "kind " + std::to_string(k) + " n " + std::to_string(n));
    }
  }
}

TEST_CASE("sums and products of codes equal the reference in every broadcast form") {
  for (const auto n : awkward_sizes())
    for (const auto& f : forms(n)) {
      const auto a = codes(f.a_size, 16), b = codes(f.b_size, 17);
      for (const auto what : {qbinary_args::kind::add, qbinary_args::kind::mul}) {
        const qbinary_args args{.what = what,
                                .over = f.over,
                                .a_zero_point = 3,
                                .b_zero_point = 200,
                                .zero_point = 77,
                                .low = 77,
                                .high = 250,
                                .multiplier = 0.0117f,
                                .sum = add_rule_of(0.731f, 3, -0.5f, 200, 1, 77)};
        equals_reference<std::uint8_t>(&kernel_table::qbinary, args, {a.data(), b.data()},
                                       f.over.size(),
                                       std::string(f.name) + " n " + std::to_string(n));
      }
    }
}

TEST_CASE("the sum of every pair of codes equals the reference") {
  std::vector<std::uint8_t> every(256);
  for (std::size_t i = 0; i < 256; ++i) every[i] = static_cast<std::uint8_t>(i);
  for (const float mb : {0.5f, 0.25f, 1.0f, 0.77f}) {  // the first ones tie often
    qbinary_args args;
    args.over = shaped({{256, 1, 0}, {256, 0, 1}});
    args.sum = add_rule_of(0.5f, 128, mb, 128, 1, 128);
    equals_reference<std::uint8_t>(&kernel_table::qbinary, args, {every.data(), every.data()},
                                   65536, "multiplier " + std::to_string(mb));
  }
}
