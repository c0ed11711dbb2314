// SPDX-License-Identifier: Apache-2.0
// What calibration adds to an inference: each observer over a feature map, beside the speed of a
// copy.

#include <string>

#include <ptq/calibrate.hpp>

#include "measure.hpp"

namespace {

using namespace ptq;

constexpr std::int64_t elements = 56 * 56 * 256;  // of ResNet-50's second stage

void observe(benchmark::State& state, range_estimator estimator) {
  const tensor x = ptq_bench::random_reals({elements}, 1);
  auto observer = make_observer({.estimator = estimator});
  observer.add(x.view<float>(), "x");
  // The values are a grid of steps of 1e-3 from -1 to 1: every estimator's range lies inside.
  const auto r = observer.range();
  if (!(r.min >= -1.0f && r.max <= 1.0f && r.min < -0.5f && r.max > 0.5f))
    return state.SkipWithError("range outside of what was observed");
  ptq_bench::time_calls(state, {.bytes = static_cast<double>(x.byte_count())},
                        [&] { observer.add(x.view<float>(), "x"); });
}

void channel_means(benchmark::State& state) {
  const tensor x = ptq_bench::random_reals({elements}, 1);
  calibration::channel_mean mean;
  ptq_bench::time_calls(state, {.bytes = static_cast<double>(x.byte_count())},
                        [&] { mean.add(x.view<float>().data(), 56 * 56, 256, 1); });
}

}  // namespace

int main(int argc, char** argv) {
  return ptq_bench::run_all(argc, argv, [](int, char**) {
    for (const auto& [name, estimator] :
         {std::pair("minmax", range_estimator::minmax),
          std::pair("mean_minmax", range_estimator::mean_minmax),
          std::pair("percentile", range_estimator::percentile),
          std::pair("mse", range_estimator::mse), std::pair("entropy", range_estimator::entropy)})
      ptq_bench::add(name, [=](benchmark::State& state) { observe(state, estimator); });
    ptq_bench::add("channel_mean", channel_means);
  });
}
