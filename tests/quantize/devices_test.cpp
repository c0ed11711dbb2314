// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <ptq/quantize/devices.hpp>

namespace {

using namespace ptq;
using namespace ptq::quantization;

}  // namespace

TEST_CASE("the default scheme is 8 bits, symmetric, narrow weights per output channel") {
  const auto w = weight_grid_of({});
  CHECK(w.bits == 8);
  CHECK(w.symmetric);
  CHECK(w.narrow);
  CHECK(w.per_channel);
  const auto a = activation_grid_of({});
  CHECK(a.bits == 8);
  CHECK(a.symmetric);
  for (auto p : {preset::mixed, preset::accuracy})
    CHECK(!activation_grid_of({.preset = p}).symmetric);
}

TEST_CASE("an explicit mode of activations overrules the preset") {
  CHECK(activation_grid_of({.preset = preset::mixed, .activations = {.mode = code_mode::symmetric}})
            .symmetric);
  CHECK(!activation_grid_of({.activations = {.mode = code_mode::asymmetric}}).symmetric);
}

TEST_CASE("what a device has not is an error with its values") {
  const auto bits = [](target_device d, int n) {
    return weight_grid_of({.target = d, .weights = {.bits = n}}).bits;
  };
  for (int n = 2; n <= 8; ++n) CHECK(bits(target_device::cpu, n) == n);
  CHECK(bits(target_device::npu, 4) == 4);
  CHECK_THROWS_WITH_AS(
      bits(target_device::npu, 3),
      "quantize: weights on target 'npu': bits: expected one of 8, 16, 4, 2, got 3", error);
  CHECK_THROWS_WITH_AS(bits(target_device::gpu, 4),
                       "quantize: weights on target 'gpu': bits: expected one of 8, 16, got 4",
                       error);
  for (int n : {-1, 1, 9, 32}) CHECK_THROWS_AS(bits(target_device::any, n), error);
  CHECK_THROWS_WITH_AS(weight_grid_of({.weights = {.bits = 16, .mode = code_mode::asymmetric}}),
                       "quantize: weights: asymmetric: expected 2 to 8 bits, got 16", error);
  CHECK_THROWS_WITH_AS(activation_grid_of({.activations = {.bits = 4}}),
                       doctest::Contains("activations on target 'any': bits: expected one of 8"),
                       error);
  CHECK_THROWS_WITH_AS(activation_grid_of({.activations = {.scales = granularity::per_channel}}),
                       doctest::Contains("expected per_tensor, got per_channel"), error);
  CHECK_THROWS_WITH_AS(activation_grid_of({.preset = preset::mixed,
                                           .activations = {.sign = signedness::signed_codes}}),
                       doctest::Contains("expected symmetric codes"), error);
}

TEST_CASE("devices are found by name, npu by its older one too") {
  for (const auto& row : devices) CHECK(device_named(row.name) == row.device);
  CHECK(device_named("vpu") == target_device::npu);
  CHECK_THROWS_WITH_AS(device_named("tpu"), doctest::Contains("got 'tpu'"), error);
}

TEST_CASE("forced signedness: 127 steps up where no number is negative; negative ones cut") {
  const auto up = activation_params({0, 2.54f}, {.sign = signedness::signed_codes}, {}, "v");
  CHECK(up.zero_point[0] == 128);
  CHECK(up.scale[0] == doctest::Approx(2.54 / 127));
  const auto cut = activation_params({-3, 2.55f}, {.sign = signedness::unsigned_codes}, {}, "v");
  CHECK(cut.zero_point[0] == 0);
  CHECK(cut.scale[0] == doctest::Approx(2.55 / 255));
}

TEST_CASE(
    "gna has 16-bit symmetric activations; weights of 8 bits, of 16 per tensor for accuracy") {
  const quantize_options fast{.preset = preset::performance, .target = target_device::gna};
  CHECK(activation_grid_of(fast).bits == 16);
  CHECK(weight_grid_of(fast).bits == 8);
  CHECK(weight_grid_of(fast).per_channel);
  for (auto p : {preset::mixed, preset::accuracy}) {
    const quantize_options accurate{.preset = p, .target = target_device::gna};
    CHECK(activation_grid_of(accurate).symmetric);
    CHECK(weight_grid_of(accurate).bits == 16);
    CHECK(!weight_grid_of(accurate).per_channel);
  }
  CHECK_THROWS_WITH_AS(
      activation_grid_of(
          {.target = target_device::gna, .activations = {.mode = code_mode::asymmetric}}),
      "quantize: activations on target 'gna': mode: expected symmetric, got asymmetric", error);
  CHECK_THROWS_WITH_AS(
      weight_grid_of({.target = target_device::gna, .weights = {.mode = code_mode::asymmetric}}),
      "quantize: weights on target 'gna': mode: expected symmetric, got asymmetric", error);
}
