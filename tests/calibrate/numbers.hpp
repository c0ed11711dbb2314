#pragma once
// SPDX-License-Identifier: Apache-2.0
// Numbers from known distributions, and sketches that have seen them.

#include <random>
#include <span>
#include <utility>
#include <vector>

#include <ptq/calibrate/estimate.hpp>

namespace ptq_test {

inline std::vector<float> normal(std::size_t n, unsigned seed, double deviation = 1) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> d(0, deviation);
  std::vector<float> x(n);
  for (auto& v : x) v = static_cast<float>(d(random));
  return x;
}

inline std::vector<float> uniform(std::size_t n, unsigned seed, double low, double high) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> d(low, high);
  std::vector<float> x(n);
  for (auto& v : x) v = static_cast<float>(d(random));
  return x;
}

inline ptq::value_range extremes_of(std::span<const float> x) {
  const auto o = ptq::observe_scalar({x.data(), 1, static_cast<std::int64_t>(x.size())}, nullptr);
  return {o.min, o.max};
}

using samples_of_numbers = std::vector<std::vector<float>>;

/// What has seen the samples: a histogram, a sketch.
template <class O>
O seen(O o, const samples_of_numbers& samples) {
  for (const auto& s : samples) o.add(s, extremes_of(s));
  return o;
}

inline ptq::calibration::sketch sketch_for(const ptq::observer_options& o,
                                           const samples_of_numbers& samples) {
  return seen(ptq::calibration::sketch(ptq::calibration::needs_of(o)), samples);
}

inline ptq::value_range range_after(const ptq::observer_options& o,
                                    const samples_of_numbers& samples) {
  return ptq::calibration::range_of(sketch_for(o, samples), o);
}

}  // namespace ptq_test
