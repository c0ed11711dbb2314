// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include <ptq/kernels/reference.hpp>
#include <ptq/quantize.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#endif

#include "quantize/network.hpp"
#include "quantize/residual.hpp"
#include "support/samples.hpp"

namespace {

using namespace ptq;
using ptq_test::images;
using ptq_test::network;
using ptq_test::normal;
using ptq_test::positive;
using ptq_test::sqnr;

/// input 3×8×8 → conv → conv + skip → pool → 5 logits
graph residual() {
  network n;
  auto a = n.conv("a", n.input("x", {-1, 3, 8, 8}), 3, 8, positive, 3);
  auto b = n.conv("b", a, 8, 8, {}, 3);
  auto s = n.binary("sum", b, a, binary_kind::add, positive);
  n.output(n.linear("logits", n.flatten("flat", n.average("mean", s)), 8, 5));
  return n.done();
}

}  // namespace

TEST_CASE("statistics are those of the values themselves") {
  network n;
  auto a = n.conv("a", n.input("x", {1, 3, 6, 5}), 3, 20, positive, 3);
  n.output(n.unary("y", a, unary_kind::tanh));
  const auto g = n.done();
  const auto s = calibrate(g, kernels::reference_kernels(), images(4, {1, 3, 6, 5}),
                           {.values = {"x", "a"},
                            .channel_means = {{"a", 1}, {"x", -1}},
                            .observer = {.estimator = range_estimator::minmax}});
  CHECK(s.samples == 4);
  value_range x{0, 0}, y{0, 0};
  std::vector<double> channel(20), column(5);
  for (unsigned i = 1; i <= 4; ++i) {
    const auto in = normal({1, 3, 6, 5}, i);
    for (std::size_t k = 0; k < 90; ++k) {
      const float v = in.view<float>()[k];
      x = joined(x, {v, v});
      column[k % 5] += static_cast<double>(v) / (4 * 18);
    }
    network copy;
    graph inner = g;
    inner.outputs = {inner.find("a")};
    const auto out = runner(inner, kernels::reference_kernels()).run(sample(in))[0];
    for (std::size_t k = 0; k < 600; ++k) {
      const float v = out.view<float>()[k];
      y = joined(y, {v, v});
      channel[k / 30] += static_cast<double>(v) / (4 * 30);
    }
  }
  CHECK(s.at("x").range == x);
  CHECK(s.at("a").range == y);
  CHECK(s.at("a").dims == shape{1, 20, 6, 5});
  for (std::size_t c = 0; c < 20; ++c)
    CHECK(s.at("a").channel_means[c] == doctest::Approx(channel[c]).epsilon(1e-5));
  for (std::size_t c = 0; c < 5; ++c)
    CHECK(s.at("x").channel_means[c] == doctest::Approx(column[c]).epsilon(1e-5));
  CHECK_THROWS_AS(s.at("y"), calibration_error);
}

TEST_CASE("statistics do not depend on the order of the samples, and stop at the subset size") {
  const auto g = residual();
  for (auto e : {range_estimator::minmax, range_estimator::mean_minmax, range_estimator::percentile,
                 range_estimator::mse, range_estimator::entropy}) {
    quantize_options o;
    o.activations.estimator = e;
    o.subset_size = 6;
    const auto watch = observations(g, o);
    const auto s = calibrate(g, kernels::reference_kernels(), images(9, {1, 3, 8, 8}), watch);
    CHECK(s.samples == 6);
    const samples backwards = [](std::int64_t i) -> std::optional<sample> {
      if (i >= 6) return std::nullopt;
      return sample(normal({1, 3, 8, 8}, 6 - static_cast<unsigned>(i)));
    };
    const auto t = calibrate(g, kernels::reference_kernels(), backwards, watch);
    for (const auto& [name, v] : s.values) {
      CHECK(v.range == t.at(name).range);
      CHECK(v.channel_means == t.at(name).channel_means);
    }
  }
}

TEST_CASE("samples that give no range are errors") {
  const auto g = residual();
  const auto watch = observations(g, {});
  const auto& table = kernels::reference_kernels();
  CHECK_THROWS_WITH_AS(calibrate(g, table, images(0, {1, 3, 8, 8}), watch),
                       doctest::Contains("at least 1 sample"), calibration_error);
  CHECK_THROWS_AS(calibrate(g, table, images(2, {1, 4, 8, 8}), watch), error);
  const samples bad = [](std::int64_t i) -> std::optional<sample> {
    if (i >= 3) return std::nullopt;
    auto t = normal({1, 3, 8, 8}, 1);
    if (i == 2) t.mutable_view<float>()[5] = std::numeric_limits<float>::quiet_NaN();
    return sample(t);
  };
  CHECK_THROWS_WITH_AS(calibrate(g, table, bad, watch),
                       doctest::Contains("value 'x': expected finite numbers"), calibration_error);
  CHECK_THROWS_WITH_AS(calibrate(g, table, bad, watch), doctest::Contains("in sample 2"),
                       calibration_error);
  CHECK_THROWS_WITH_AS(calibrate(g, table, images(1, {1, 3, 8, 8}), {.values = {"nowhere"}}),
                       doctest::Contains("'nowhere'"), calibration_error);
}

TEST_CASE("a quantized network runs in integers within 8-bit distance of the float one") {
  const auto g = residual();
  for (auto preset : {preset::performance, preset::mixed})
    for (auto e : {range_estimator::minmax, range_estimator::mean_minmax,
                   range_estimator::percentile, range_estimator::mse}) {
      quantize_options o;
      o.preset = preset;
      o.activations.estimator = e;
      const auto q = quantize(g, kernels::reference_kernels(), images(20, {1, 3, 8, 8}), o);
      check(q.network);
      CHECK(sqnr(g, q.network, images(20, {1, 3, 8, 8})) > 25);
      const auto p = lower(q.network, kernels::reference_kernels());
      for (const auto& s : p.steps) {
        INFO(s.node << " " << s.what << " " << s.note);
        CHECK((s.integer || s.what == "QuantizeLinear"));
      }
      for (const auto& n : q.network.nodes) CHECK(n.note.empty());
      CHECK(!q.network[q.network.outputs[0]].quant);
    }
}

TEST_CASE("quantizing leaves the caller's graph as it was, and twice gives the same graph") {
  const auto g = residual();
  const auto before = print(g);
  const auto a = quantize(g, kernels::reference_kernels(), images(5, {1, 3, 8, 8})).network;
  const auto b = quantize(g, kernels::reference_kernels(), images(5, {1, 3, 8, 8})).network;
  CHECK(print(g) == before);
  CHECK(print(a) == print(b));
  for (std::size_t i = 0; i < a.values.size(); ++i) {
    CHECK(a.values[i].quant == b.values[i].quant);
    if (a.values[i].constant)
      CHECK(std::memcmp(a.values[i].constant->data(), b.values[i].constant->data(),
                        a.values[i].constant->byte_count()) == 0);
  }
}

TEST_CASE("bias correction moves the mean error of the outputs towards zero") {
  const auto g = residual();
  // Coarse weights show the effect: one large weight per channel takes most of the 255 codes.
  graph coarse = g;
  for (auto& v : coarse.values)
    if (v.constant && v.name.ends_with(".w")) {
      auto w = v.constant->mutable_view<float>();
      const auto channels = static_cast<std::size_t>(v.dims[0]);
      for (std::size_t c = 0; c < channels; ++c) w[c * (w.size() / channels)] = 60;
    }
  std::vector<double> error;
  for (auto correction : {bias_correction::none, bias_correction::fast}) {
    quantize_options o;
    o.correction = correction;
    o.activations.estimator = range_estimator::minmax;
    const auto q = quantize(coarse, kernels::reference_kernels(), images(30, {1, 3, 8, 8}), o);
    // The first layer alone: its output before anything follows.
    graph a = q.network, b = coarse;
    a.outputs = {a.find("b")};
    b.outputs = {b.find("b")};
    runner ra(pruned(a), kernels::reference_kernels()), rb(pruned(b), kernels::reference_kernels());
    std::vector<double> mean(8);
    auto data = images(30, {1, 3, 8, 8});
    for (auto s = data.next(); s; s = data.next()) {
      const auto ya = ra.run(*s)[0], yb = rb.run(*s)[0];
      for (std::size_t i = 0; i < 512; ++i)
        mean[i / 64] += static_cast<double>(ya.view<float>()[i] - yb.view<float>()[i]) / (30 * 64);
    }
    error.push_back(0);
    for (double m : mean) error.back() += std::fabs(m) / 8;
  }
  INFO("mean error without " << error[0] << ", with " << error[1]);
  CHECK(error[1] < 0.5 * error[0]);
}

TEST_CASE("a layer that can't run in integers goes back to float with its reason, alone") {
  network n;
  auto h = n.linear("h", n.input("x", {1, 4}), 4, 70000);
  auto y = n.linear("wide", n.unary("act", h, unary_kind::relu), 70000, 3);
  n.output(n.linear("last", y, 3, 2));
  auto g = n.done();
  for (auto& v : g[g.find("wide.w")].constant->mutable_view<float>()) v = 1;
  statistics s;
  for (const char* name : {"x", "h", "act", "wide"}) {
    value_statistics v;
    v.range = {0, 1};
    s.values[name] = v;
  }
  quantize_options o;
  o.correction = bias_correction::none;
  const auto q = quantize(g, s, o);
  check(q);
  int quantized = 0;
  for (const auto& node : q.nodes) {
    if (node.name == "wide")
      CHECK(node.note.find("accumulator could exceed int32") != std::string::npos);
    if (std::holds_alternative<op::matmul>(node.what))
      quantized += q[node.inputs[1]].quant.has_value();
  }
  CHECK(quantized == 2);
  CHECK(!q[q.find("act")].quant);
}
