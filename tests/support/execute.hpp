#pragma once
// SPDX-License-Identifier: Apache-2.0
// Runs a small graph on reproducible inputs, so that a pass can be checked against the graph it was
// given.

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include <ptq/execute.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/kernels/reference.hpp>
#include <ptq/lower.hpp>

namespace ptq_test {

/// First output of the graph on inputs from N(0, 1), free extents 1.
inline std::vector<float> outcome(const ptq::graph& g) {
  const auto p = ptq::lower(g, ptq::kernels::reference_kernels());
  std::mt19937 bits(11);
  std::normal_distribution<float> normal;
  std::vector<ptq::tensor> inputs;
  for (auto id : g.inputs) {
    auto dims = g[id].dims;
    for (auto& d : dims.dims) d = std::max<std::int64_t>(d, 1);
    ptq::tensor t(g[id].type, dims);
    if (t.type() == ptq::dtype::f32)
      for (auto& e : t.mutable_view<float>()) e = normal(bits);
    inputs.push_back(std::move(t));
  }
  ptq::session s(p);
  const auto out = s.run(inputs);
  const auto v = out[0].view<float>();
  return {v.begin(), v.end()};
}

/// Largest difference of two results, relative to the largest number of the first; 1 if they differ
/// in size.
inline double difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return 1.0;
  double most = 0.0, size = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) || std::isnan(b[i])) return 1.0;
    most = std::max(most, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
    size = std::max(size, std::abs(static_cast<double>(a[i])));
  }
  return size == 0.0 ? most : most / size;
}

}  // namespace ptq_test
