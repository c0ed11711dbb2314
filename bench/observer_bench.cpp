// SPDX-License-Identifier: Apache-2.0
// What calibration adds to an inference: each observer over a feature map, beside the speed of a
// copy.

#include <string>
#include <vector>

#include <ptq/calibrate.hpp>
#include <ptq/dispatch.hpp>

#include "measure.hpp"

namespace {

using namespace ptq;

constexpr std::int64_t elements = 56 * 56 * 256;  // of ResNet-50's second stage

void observe(benchmark::State& state, range_estimator estimator) {
  const tensor x = ptq_bench::random_reals({elements}, 1);
  const auto& table = dispatched_kernels();
  const observer_options options{.estimator = estimator};
  calibration::sketch sketch(calibration::needs_of(options));
  const auto add = [&] {
    const auto o = table.observing.observe({x.view<float>().data(), 1, elements}, nullptr);
    sketch.add(x.view<float>(), {o.min, o.max}, table.observing);
  };
  add();
  // The values are a grid of steps of 1e-3 from -1 to 1: every estimator's range lies inside.
  const auto r = calibration::range_of(sketch, options);
  if (!(r.min >= -1.0f && r.max <= 1.0f && r.min < -0.5f && r.max > 0.5f))
    return state.SkipWithError("range outside of what was observed");
  ptq_bench::time_calls(state, {.bytes = static_cast<double>(x.byte_count())}, add);
}

void channel_means(benchmark::State& state) {
  const tensor x = ptq_bench::random_reals({elements}, 1);
  const auto& table = dispatched_kernels();
  std::vector<double> sums(256);
  ptq_bench::time_calls(state, {.bytes = static_cast<double>(x.byte_count())}, [&] {
    table.observing.observe({x.view<float>().data(), 56 * 56, 256}, sums.data());
  });
}

}  // namespace

int main(int argc, char** argv) {
  return ptq_bench::run_all(argc, argv, [](int, char**) {
    for (const auto& [estimator, name] : range_estimators)
      ptq_bench::add(
          name, [estimator = estimator](benchmark::State& state) { observe(state, estimator); });
    ptq_bench::add("channel_mean", channel_means);
  });
}
