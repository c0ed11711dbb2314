#pragma once
// SPDX-License-Identifier: Apache-2.0
// Reproducible samples: numbers from N(0.2, 1), so that ranges are two-sided and means are not 0.

#include <cstdint>
#include <optional>
#include <random>
#include <utility>

#include <ptq/core/tensor.hpp>
#include <ptq/data/samples.hpp>

namespace ptq_test {

inline ptq::tensor normal(ptq::shape dims, unsigned seed) {
  ptq::tensor t(ptq::dtype::f32, std::move(dims));
  std::mt19937 random(seed);
  std::normal_distribution<float> d(0.2f, 1);
  for (auto& v : t.mutable_view<float>()) v = d(random);
  return t;
}

/// n samples of one input; sample i has seed i + 1.
inline ptq::samples images(std::int64_t n, ptq::shape dims) {
  return [n, dims](std::int64_t i) -> std::optional<ptq::sample> {
    if (i >= n) return std::nullopt;
    return ptq::sample(normal(dims, static_cast<unsigned>(i) + 1));
  };
}

}  // namespace ptq_test
