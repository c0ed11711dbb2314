// SPDX-License-Identifier: Apache-2.0
#include "exact.hpp"

using namespace ptq;
using namespace ptq::kernels;
using namespace ptq_test;

namespace {
constexpr std::int64_t row_sizes[] = {1, 2, 7, 15, 16, 17, 31, 32, 33, 49, 197, 1000, 5003};
constexpr std::int64_t inners[] = {1, 2, 3, 15, 16, 17, 49, 65};
}  // namespace

TEST_CASE("every reduction equals the reference along rows and along columns") {
  for (int k = 0; k <= static_cast<int>(reduce_kind::sum_square); ++k)
    for (const auto size : row_sizes)
      for (const auto inner : inners) {
        if (size > 200 && inner > 17) continue;
        const std::int64_t outer = size > 200 ? 2 : 5;
        const auto x = reals(outer * size * inner, 31, 1.5f, size == 33);
        const reduce_args args{static_cast<reduce_kind>(k), outer, size, inner};
        equals_reference<float>(&kernel_table::reduce, args, {x.data()}, outer * inner,
                                "kind " + std::to_string(k) + " size " + std::to_string(size) +
                                    " inner " + std::to_string(inner));
      }
}

TEST_CASE("softmax and its logarithm equal the reference along rows and along columns") {
  for (const bool log : {false, true})
    for (const auto size : row_sizes)
      for (const auto inner : inners) {
        if (size > 200 && inner > 17) continue;
        const std::int64_t outer = 3;
        const auto x = reals(outer * size * inner, 32, 30.0f, size == 33 || size == 17);
        equals_reference<float>(&kernel_table::softmax, {outer, size, inner, log}, {x.data()},
                                outer * size * inner, "size " + std::to_string(size));
      }
}

TEST_CASE("exponentials that are not normalized equal the reference, the largest of a row is one") {
  for (const auto size : row_sizes)
    for (const std::int64_t inner : {1, 5, 17}) {
      const auto x = reals(3 * size * inner, 34, 30.0f);
      const softmax_args args{.outer = 3, .size = size, .inner = inner, .normalized = false};
      equals_reference<float>(&kernel_table::softmax, args, {x.data()}, 3 * size * inner,
                              "size " + std::to_string(size));
      const auto p = reference_kernels().softmax(args);
      const auto y = run_parts<float>(p, {x.data()}, 3 * size * inner, 1);
      float largest = 0;
      for (std::int64_t i = 0; i < size; ++i)
        largest = std::max(largest, y[static_cast<std::size_t>(i * inner)]);
      CHECK(largest == 1.0f);
    }
}

TEST_CASE("softmax works in place") {
  for (const std::int64_t inner : {1, 5}) {
    const auto x = reals(2 * 37 * inner, 33);
    const auto prepared = [&](const kernel_table& t) {
      return t.softmax({.outer = 2, .size = 37, .inner = inner});
    };
    const auto want =
        run_parts<float>(prepared(reference_kernels()), {x.data()}, 2 * 37 * inner, 1);
    for (const auto* table : available_kernels()) {
      if (!table->softmax) continue;
      auto y = x;
      const auto p = prepared(*table);
      operands io;
      io.src[0] = io.dst = y.data();
      p.run(p.object.get(), io, nullptr, {0, p.units});
      CHECK(std::equal(y.begin(), y.end(), want.begin()));
    }
  }
}

TEST_CASE("softmax sums to one and orders as its input") {
  const std::vector<float> x = {1.0f, 2.0f, 3.0f, 1000.0f, 1001.0f};
  const auto y = run_parts<float>(reference_kernels().softmax({.size = 5}), {x.data()}, 5, 1);
  CHECK(y[0] == 0.0f);
  CHECK(y[3] == doctest::Approx(0.26894142));
  CHECK(y[4] == doctest::Approx(0.73105858));
}

TEST_CASE("layer normalisation equals the reference with constant, given and absent scale") {
  for (const auto size : row_sizes)
    for (const bool rms : {false, true})
      for (int form = 0; form < 5; ++form) {
        const std::int64_t rows = 5;
        const auto x = reals(rows * size, 34, 3.0f, size == 31);
        const auto scale = reals(size, 35), bias = reals(size, 36);
        layer_norm_args args{.rows = rows, .size = size, .rms = rms};
        std::vector<const void*> src = {x.data(), nullptr, nullptr};
        if (form == 0 || form == 1) args.scale = scale.data();
        if (form == 0 || form == 2) args.bias = bias.data();
        if (form == 3) src = {x.data(), scale.data(), bias.data()};
        equals_reference<float>(&kernel_table::layer_norm, args, src, rows * size,
                                "size " + std::to_string(size) + " form " + std::to_string(form));
      }
}

TEST_CASE("a reduction is close to the exact value, and a maximum keeps NaN") {
  const auto x = reals(1000, 37);
  double sum = 0, squares = 0, exps = 0;
  for (const float v : x) {
    sum += v;
    squares += static_cast<double>(v) * v;
    exps += std::exp(static_cast<double>(v));
  }
  const auto reduced = [&](reduce_kind kind, const std::vector<float>& v) {
    const reduce_args args{kind, 1, static_cast<std::int64_t>(v.size()), 1};
    return static_cast<double>(
        run_parts<float>(reference_kernels().reduce(args), {v.data()}, 1, 1)[0]);
  };
  CHECK(reduced(reduce_kind::mean, x) == doctest::Approx(sum / 1000).epsilon(1e-4));
  CHECK(reduced(reduce_kind::l2, x) == doctest::Approx(std::sqrt(squares)).epsilon(1e-5));
  CHECK(reduced(reduce_kind::log_sum_exp, x) == doctest::Approx(std::log(exps)).epsilon(1e-5));
  std::vector<float> y = x;
  y[500] = std::nanf("");
  CHECK(std::isnan(reduced(reduce_kind::max, y)));
  CHECK(std::isnan(reduced(reduce_kind::min, y)));
}
