// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <span>

#include <ptq/export.hpp>
#include <ptq/import.hpp>
#include <ptq/quantize.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#endif

#include "network.hpp"

namespace {

using namespace ptq;
using ptq_test::network;
using ptq_test::positive;

tensor normal(shape dims, unsigned seed) {
  tensor t(dtype::f32, std::move(dims));
  std::mt19937 random(seed);
  std::normal_distribution<float> d(0.2f, 1);
  for (auto& v : t.mutable_view<float>()) v = d(random);
  return t;
}

samples images() {
  return [](std::int64_t i) -> std::optional<sample> {
    if (i >= 8) return std::nullopt;
    return sample(normal({1, 3, 8, 8}, static_cast<unsigned>(i) + 1));
  };
}

graph residual() {
  network n;
  auto a = n.conv("a", n.input("x", {-1, 3, 8, 8}), 3, 8, positive, 3);
  auto b = n.conv("b", a, 8, 8, {}, 3);
  auto s = n.binary("sum", b, a, binary_kind::add, positive);
  n.output(n.linear("logits", n.flatten("flat", n.average("mean", n.max_pool("pool", s))), 8, 5));
  return n.done();
}

double sqnr(const graph& real, const graph& quantized) {
  runner f(real, kernels::reference_kernels()), q(quantized, kernels::reference_kernels());
  double signal = 0, noise = 0;
  auto data = images();
  for (auto s = data.next(); s; s = data.next()) {
    const auto a = f.run(*s)[0], b = q.run(*s)[0];
    for (std::size_t i = 0; i < a.view<float>().size(); ++i) {
      const double y = static_cast<double>(a.view<float>()[i]);
      const double e = y - static_cast<double>(b.view<float>()[i]);
      signal += y * y;
      noise += e * e;
    }
  }
  return 10 * std::log10(signal / noise);
}

quantize_options with(int activations, int weights) {
  return {.activations = {.estimator = range_estimator::minmax, .bits = activations},
          .weights = {.bits = weights},
          .correction = bias_correction::none};
}

}  // namespace

TEST_CASE("16-bit codes: more exact by far, all convolutions and products in integers") {
  const auto g = residual();
  const auto& table = kernels::reference_kernels();
  const auto narrow = quantize(g, table, images(), with(8, 8)).network;
  const auto mixed = quantize(g, table, images(), with(16, 8)).network;
  const auto wide = quantize(g, table, images(), with(16, 16)).network;
  CHECK(sqnr(g, narrow) > 20);
  CHECK(sqnr(g, mixed) > sqnr(g, narrow));
  // 16 bits of a Gaussian leave about 80 dB; the sums of three layers a little less.
  CHECK(sqnr(g, wide) > 65);
  for (const auto& net : {mixed, wide}) {
    const auto p = lower(net, table);
    for (const auto& s : p.steps) {
      if (s.macs) CHECK(s.integer);
      if (s.what == "Add") CHECK(s.note == "no integer kernel for codes of 16 bits");
    }
  }
}

TEST_CASE("a 16-bit export needs opset 21 and comes back as the same program") {
  for (auto options : {with(16, 8), with(16, 16)}) {
    const auto made = quantize(residual(), kernels::reference_kernels(), images(), options).network;
    const auto bytes = export_onnx(made);
    const auto back = import_onnx(std::as_bytes(std::span(bytes)));
    for (const auto& v : made.values)
      if (v.quant && !v.constant) CHECK(v.quant->type == dtype::u16);
    runner a(made, kernels::reference_kernels()), b(back, kernels::reference_kernels());
    auto data = images();
    for (auto s = data.next(); s; s = data.next()) {
      const auto x = a.run(*s)[0], y = b.run(*s)[0];
      CHECK(std::memcmp(x.data(), y.data(), x.byte_count()) == 0);
    }
    const auto p = lower(back, kernels::reference_kernels());
    for (const auto& s : p.steps)
      if (s.macs) CHECK(s.integer);
  }
}

TEST_CASE("asymmetric 8-bit weights run in integers through the wide kernel") {
  auto options = with(8, 8);
  options.weights.mode = code_mode::asymmetric;
  const auto g = residual();
  const auto made = quantize(g, kernels::reference_kernels(), images(), options).network;
  CHECK(sqnr(g, made) > 20);
  const auto p = lower(made, kernels::reference_kernels());
  for (const auto& s : p.steps)
    if (s.macs) CHECK(s.integer);
}
