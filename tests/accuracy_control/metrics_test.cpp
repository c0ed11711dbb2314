// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <vector>

#include <ptq/accuracy_control/detection.hpp>
#include <ptq/accuracy_control/metrics.hpp>

using namespace ptq;
using namespace ptq::control;

namespace {

tensor reals(shape dims, std::initializer_list<float> v) { return tensor::from<float>(std::move(dims), v); }
tensor classes(std::initializer_list<std::int64_t> v) {
  return tensor::from<std::int64_t>({static_cast<std::int64_t>(v.size())}, v);
}
double score(const metric& m, const std::vector<std::pair<tensor, tensor>>& all) {
  std::vector<counts> c;
  for (const auto& [out, label] : all) c.push_back(m.observe(std::vector<tensor>{out}, label));
  return m.score(c);
}

}  // namespace

TEST_CASE("top-k counts ranks; ties go to the first class") {
  const auto x = reals({1, 4}, {1, 3, 3, 2});
  CHECK(score(top_k(1), {{x, classes({1})}}) == 1);
  CHECK(score(top_k(1), {{x, classes({2})}}) == 0);
  CHECK(score(top_k(3), {{x, classes({3})}, {x, classes({0})}}) == doctest::Approx(0.5));
  CHECK(score(top_k(1), {{x, classes({9})}}) == 0);
  CHECK(top_k(1).own_label(std::vector<tensor>{x}).view<std::int64_t>()[0] == 1);
  CHECK_THROWS_AS(top_k(1).observe(std::vector<tensor>{classes({1})}, classes({0})), data_error);
}

TEST_CASE("tokens with a negative label are left out") {
  const auto x = reals({1, 3, 2}, {1, 0, 0, 1, 1, 0});  // 0 1 0
  CHECK(score(token_accuracy(), {{x, classes({0, 0, -1})}}) == doctest::Approx(0.5));
}

TEST_CASE("F1 and mean IoU follow their formulas, pooled over samples") {
  const auto x = reals({1, 2, 1, 4}, {1, 1, 0, 0, 0, 0, 1, 1});  // a plane: 0 0 1 1
  // Labels 0 1 1 1: class 0 tp 1 fp 1 fn 0, class 1 tp 2 fp 0 fn 1.
  const auto y = classes({0, 1, 1, 1});
  CHECK(score(f1(), {{x, y}}) == doctest::Approx((2.0 / 3 + 4.0 / 5) / 2));
  CHECK(score(mean_iou(), {{x, y}}) == doctest::Approx((1.0 / 2 + 2.0 / 3) / 2));
  // Twice the counts, the same ratios; not the mean of samples.
  CHECK(score(mean_iou(), {{x, y}, {x, classes({0, 0, 1, 1})}}) ==
        doctest::Approx((3.0 / 4 + 4.0 / 5) / 2));
}

TEST_CASE("word error rate is edits over words") {
  const auto x = reals({1, 3, 3}, {1, 0, 0, 0, 1, 0, 0, 0, 1});  // 0 1 2
  CHECK(score(word_accuracy(), {{x, classes({0, 2})}}) == doctest::Approx(0.5));      // one insertion
  CHECK(score(word_accuracy(), {{x, classes({0, 1, 2})}}) == 1);
  CHECK(score(word_accuracy(), {{x, classes({2, 0, 1, 2})}}) == doctest::Approx(0.75));
  CHECK(score(word_accuracy(2), {{x, classes({0, 1})}}) == 1);                        // 2 is blank
}

TEST_CASE("mean average precision of perfect, shifted and doubled boxes") {
  const auto truth = reals({1, 5}, {0, 0, 0, 10, 10});
  CHECK(score(mean_average_precision(), {{reals({1, 1, 6}, {0, 0, 10, 10, 0.9f, 0}), truth}}) ==
        doctest::Approx(1));
  // An overlap of 0.8 passes at 0.5 … 0.8: seven of ten.
  CHECK(score(mean_average_precision(), {{reals({1, 1, 6}, {0, 0, 10, 8.01f, 0.9f, 0}), truth}}) ==
        doctest::Approx(0.7));
  CHECK(score(mean_average_precision(), {{reals({1, 1, 6}, {0, 0, 10, 10, 0.9f, 1}), truth}}) == 0);
  // A better scored false box in front halves the precision at every recall.
  CHECK(score(mean_average_precision(),
              {{reals({2, 6}, {50, 50, 60, 60, 0.95f, 0, 0, 0, 10, 10, 0.9f, 0}), truth}}) ==
        doctest::Approx(0.5));
  // A second box on the same truth is false, but ranks behind.
  CHECK(score(mean_average_precision(),
              {{reals({2, 6}, {0, 0, 10, 10, 0.95f, 0, 0, 0, 10, 10, 0.9f, 0}), truth}}) ==
        doctest::Approx(1));
}
