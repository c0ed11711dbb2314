// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <optional>
#include <random>
#include <span>

#include <ptq/export.hpp>
#include <ptq/import.hpp>
#include <ptq/quantize.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#endif

#include "residual.hpp"

namespace {

using namespace ptq;
using ptq_test::network;
using ptq_test::positive;

samples images() { return ptq_test::residual_images(); }
graph residual() { return ptq_test::pooled_residual(); }
double sqnr(const graph& real, const graph& quantized) {
  return ptq_test::sqnr(real, quantized, images());
}

graph imported(const std::string& bytes) { return import_onnx(std::as_bytes(std::span(bytes))); }

quantize_options with(quantize_mode mode) {
  return {.mode = mode, .activations = {.estimator = range_estimator::minmax}};
}

}  // namespace

TEST_CASE(
    "FP8 rounds weights and values, runs in float and says in the program that it is simulated") {
  const auto g = residual();
  const auto& table = kernels::reference_kernels();
  for (auto mode : {quantize_mode::fp8_e4m3, quantize_mode::fp8_e5m2}) {
    const bool e4m3 = mode == quantize_mode::fp8_e4m3;
    const auto made = quantize(g, table, images(), with(mode)).network;
    // A mantissa of m bits leaves a relative error of 2^-(m+1) at most: 24 and 18 dB worst.
    CHECK(sqnr(g, made) > (e4m3 ? 20 : 14));
    CHECK(sqnr(g, made) < 60);
    const auto p = lower(made, table);
    REQUIRE(p.notes.size() >= 1);
    CHECK(p.notes.back().find("simulated") == 0);
    int rounded = 0;
    for (const auto& s : p.steps) {
      CHECK(!s.integer);
      if (s.macs) CHECK(s.note == lowering::simulated_note);
      rounded += std::string(s.kernel.name) == "simulated FP8";
    }
    CHECK(rounded > 2);
    for (const auto& v : made.values)
      if (v.quant) CHECK(v.quant->type == (e4m3 ? dtype::f8e4m3 : dtype::f8e5m2));
  }
}

TEST_CASE("an FP8 export needs opset 19 and comes back as the same program") {
  for (auto mode : {quantize_mode::fp8_e4m3, quantize_mode::fp8_e5m2}) {
    const auto made =
        quantize(residual(), kernels::reference_kernels(), images(), with(mode)).network;
    CHECK(onnx::opset_for(made) == 19);
    const auto back = imported(export_onnx(made));
    runner a(made, kernels::reference_kernels()), b(back, kernels::reference_kernels());
    auto data = images();
    for (auto s = data.next(); s; s = data.next()) {
      const auto x = a.run(*s)[0], y = b.run(*s)[0];
      CHECK(std::memcmp(x.data(), y.data(), x.byte_count()) == 0);
    }
    CHECK(export_onnx(back) == export_onnx(imported(export_onnx(back))));
  }
}

TEST_CASE("the largest magnitude lands on half of the largest FP8 number, weights on all of it") {
  const auto q = quantization::activation_params({-3, 2}, {.type = dtype::f8e4m3}, {}, "v");
  CHECK(q.scale[0] == doctest::Approx(3.0 / 224));
  CHECK(q.type == dtype::f8e4m3);
  const std::vector<value_range> r{{-0.5f, 2}};
  const auto w = quantization::weight_params(r, {}, 1, {.type = dtype::f8e5m2});
  CHECK(w.scale[0] == 2.0f / 57344);
}

TEST_CASE("options that have no meaning in FP8 are errors with their values") {
  using quantization::float8_of;
  const auto mode = quantize_mode::fp8_e4m3;
  CHECK(float8_of({}) == std::nullopt);
  CHECK_THROWS_WITH_AS(float8_of({.mode = mode, .weights = {.bits = 4}}),
                       "quantize: fp8: weights: bits: expected 8, got 4", error);
  CHECK_THROWS_WITH_AS(float8_of({.mode = mode, .target = target_device::npu}),
                       "quantize: fp8: target device: expected any or cpu, got npu", error);
  CHECK_THROWS_AS(float8_of({.mode = mode, .preset = preset::mixed}), error);
  CHECK_THROWS_AS(float8_of({.mode = mode, .weights = {.fix = overflow_fix::all}}), error);
}
