// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <random>
#include <vector>

#include <ptq/calibrate.hpp>
#include <ptq/kernels/reference.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#endif

#include "quantize/network.hpp"

namespace {

using namespace ptq;
using ptq_test::network;

graph small() {
  network n;
  auto a = n.conv("a", n.input("x", {1, 3, 6, 5}), 3, 20, ptq_test::positive, 3);
  n.output(n.unary("y", a, unary_kind::tanh));
  return n.done();
}

/// n of the images first, first + 1, …
samples images(std::int64_t n, int first = 0) {
  return [=](std::int64_t i) -> std::optional<sample> {
    if (i >= n) return std::nullopt;
    tensor t(dtype::f32, {1, 3, 6, 5});
    std::mt19937 random(static_cast<unsigned>(first + i + 1));
    std::normal_distribution<float> d;
    for (auto& v : t.mutable_view<float>()) v = d(random);
    return sample(t);
  };
}

calibrate_options watched() {
  return {.values = {"x", "a"},
          .channel_means = {{"a", 1}, {"x", -1}},
          .channel_ranges = {{"a", 1}},
          .keep_all = true};
}

std::vector<std::uint8_t> bytes_of(const calibration::evidence& e) {
  return calibration::to_bytes({.seen = e, .settings = {}});
}

}  // namespace

TEST_CASE(
    "a calibration that was stopped goes on to the same bits, and halves add up to the whole") {
  const auto g = small();
  const auto& table = kernels::reference_kernels();
  auto watch = watched();
  const auto whole = collect(g, table, images(9), watch);
  std::vector<calibration::evidence> kept;
  watch.checkpoint_every = 2;
  watch.checkpoint = [&](const calibration::evidence& e) { kept.push_back(e); };
  CHECK(bytes_of(collect(g, table, images(9), watch)) == bytes_of(whole));
  REQUIRE(kept.size() == 4);
  CHECK(kept[1].samples == 4);
  auto go_on = watched();
  go_on.start = &kept[1];
  CHECK(bytes_of(collect(g, table, images(9), go_on)) == bytes_of(whole));
  const auto halves = calibration::merged(collect(g, table, images(5, 4), watched()),
                                          collect(g, table, images(4), watched()));
  CHECK(bytes_of(halves) == bytes_of(whole));
  CHECK(whole.data_hash == data_hash(images(9), 9));
  CHECK(whole.data_hash != data_hash(images(9, 1), 9));
}

TEST_CASE("one collection serves every estimator") {
  const auto g = small();
  const auto& table = kernels::reference_kernels();
  const auto all = collect(g, table, images(6), watched());
  for (const auto& [estimator, name] : range_estimators) {
    auto one = watched();
    one.keep_all = false;
    one.observer.estimator = estimator;
    one.channel_ranges.clear();
    const auto direct = calibrate(g, table, images(6), one);
    auto from_all = all;
    from_all.values.at("a").channels.clear();
    const auto s = resolve(from_all, one.observer);
    CHECK(s.at("a").range == direct.at("a").range);
    CHECK(s.at("x").range == direct.at("x").range);
    CHECK(s.at("x").channel_means == direct.at("x").channel_means);
  }
}

TEST_CASE("ranges of channels are those of each channel alone") {
  const auto g = small();
  const auto& table = kernels::reference_kernels();
  auto watch = watched();
  watch.observer.estimator = range_estimator::minmax;
  const auto s = calibrate(g, table, images(3), watch);
  REQUIRE(s.at("a").channel_ranges.size() == 20);
  value_range all = s.at("a").channel_ranges[0];
  for (const auto& r : s.at("a").channel_ranges) all = joined(all, r);
  CHECK(all == s.at("a").range);
  CHECK(s.at("a").channel_ranges[3].max < s.at("a").range.max + 1e-6f);
}

TEST_CASE("the hash of a model is that of its structure and its weights") {
  auto g = small();
  const auto hash = model_hash(g);
  CHECK(hash == model_hash(small()));
  for (auto& v : g.values)
    if (v.constant && v.type == dtype::f32) {
      v.constant->mutable_view<float>()[0] += 1;
      break;
    }
  CHECK(model_hash(g) != hash);
}
