#pragma once
// SPDX-License-Identifier: Apache-2.0
// Samples of normally distributed noise, the same for the same number on every machine that shares
// its standard library.

#include <cstdint>
#include <optional>
#include <random>
#include <utility>

#include <ptq/data/samples.hpp>

namespace ptq_test {

/// count  samples; one input of these extents each
inline ptq::samples noise(std::int64_t count, ptq::shape dims, float mean = 0) {
  return [count, dims = std::move(dims), mean](std::int64_t i) -> std::optional<ptq::sample> {
    if (i >= count) return std::nullopt;
    ptq::tensor t(ptq::dtype::f32, dims);
    std::mt19937 random(static_cast<unsigned>(i) + 1);
    std::normal_distribution<float> d(mean, 1);
    for (auto& v : t.mutable_view<float>()) v = d(random);
    return ptq::sample(std::move(t));
  };
}

}  // namespace ptq_test
