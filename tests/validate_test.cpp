// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include <ptq/kernels/reference.hpp>
#include <ptq/validate.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#endif

#include "quantize/network.hpp"
#include "support/temp_folder.hpp"

namespace {

using namespace ptq;
using ptq_test::network;

/// The input is the logits.
graph pass_through() {
  network n;
  n.output(n.unary("logits", n.input("x", {1, 6}), unary_kind::neg));
  return n.done();
}

samples rows(std::vector<std::vector<float>> data) {
  return [data](std::int64_t i) -> std::optional<sample> {
    if (i >= static_cast<std::int64_t>(data.size())) return std::nullopt;
    const auto& v = data[static_cast<std::size_t>(i)];
    return sample(tensor::from<float>({1, static_cast<std::int64_t>(v.size())}, std::span<const float>(v)));
  };
}

}  // namespace

TEST_CASE("SQNR and cosine follow their formulas and know the ends of their scale") {
  distortion d;
  d.add(3, 3.3);
  d.add(4, 4);
  CHECK(d.sqnr_db() == doctest::Approx(10 * std::log10(25 / 0.09)));
  CHECK(d.cosine() == doctest::Approx((9.9 + 16) / std::sqrt(25 * (3.3 * 3.3 + 16))));
  CHECK(d.largest == doctest::Approx(0.3));
  distortion same;
  same.add(1, 1);
  CHECK(std::isinf(same.sqnr_db()));
  CHECK(same.sqnr_db() > 0);
  distortion lost;
  lost.add(0, 1);
  CHECK(lost.sqnr_db() == -INFINITY);
}

TEST_CASE("top-1 and top-5 count ranks, and a tie goes to the first class") {
  runner r(pass_through(), kernels::reference_kernels());
  // Logits are the negated inputs: the smallest input is the top class.
  const auto data = rows({{0, 1, 2, 3, 4, 5}, {5, 4, 3, 2, 1, 0}, {1, 0, 0, 2, 2, 2}, {0, 1, 2, 3, 4, 5}});
  const std::vector<std::int64_t> labels{0, 0, 2, 5};
  const auto a = classify(r, data, labels);
  CHECK(a.n == 4);
  CHECK(a.top1 == doctest::Approx(25));  // the first alone: sample 2's tie is class 1's
  CHECK(a.top5 == doctest::Approx(50));  // and the tie's second
}

TEST_CASE("labels that don't match the samples are refused with both counts") {
  runner r(pass_through(), kernels::reference_kernels());
  const auto data = rows({{0, 1, 2, 3, 4, 5}, {0, 1, 2, 3, 4, 5}});
  const auto few = ptq_test::text_of<data_error>(
      [&] { classify(r, data, std::vector<std::int64_t>{1}); });
  CHECK(ptq_test::contains(few, "1 labels"));
  const auto many = ptq_test::text_of<data_error>(
      [&] { classify(r, data, std::vector<std::int64_t>{1, 2, 3}); });
  CHECK(ptq_test::contains(many, "expected 2, one per sample, got 3"));
  CHECK_THROWS_AS(classify(r, rows({}), std::vector<std::int64_t>{}), data_error);
}

TEST_CASE("compare pools squares over samples and finds values by name") {
  auto other = pass_through();
  for (auto& n : other.nodes) n.what = op::unary{.kind = unary_kind::abs};
  runner a(pass_through(), kernels::reference_kernels()), b(other, kernels::reference_kernels());
  const auto c = compare(a, b, rows({{-1, -2, -3, -4, -5, -6}, {1, 0, 0, 0, 0, 0}}));
  CHECK(c.n == 2);
  CHECK(c.agreement == doctest::Approx(50));
  // Σy² = 91 + 1, noise = (−1 − 1)² = 4 from the second sample.
  CHECK(c.output_sqnr_db() == doctest::Approx(10 * std::log10(92.0 / 4)));
  REQUIRE(c.layers.size() == 2);
  CHECK(c.layers[0].name == "x");
  CHECK(c.layers[1].name == "logits");
  CHECK(c.layers[1].what == "Abs");
}
