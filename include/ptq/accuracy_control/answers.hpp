#pragma once
// SPDX-License-Identifier: Apache-2.0
// What a model answers to one sample, measured, and as numbers for the journal.

#include <cstddef>
#include <span>
#include <vector>

#include <ptq/accuracy_control/metrics.hpp>
#include <ptq/core/tensor.hpp>

namespace ptq::control {

/// A metric, and by how much its score may drop.
struct bound {
  control::metric metric = top_k(1);
  double max_drop = 0.01;
};

/// What one sample says of a model.
struct sample_result {
  struct part {
    counts scored;         // against the label
    double agreement = 0;  // with float's own answer
  };
  std::vector<part> metrics;
  double error = 0;  // Σ(y − ŷ)² / Σy² over the outputs; of probabilities, over their scores
};

/// Σ(y − ŷ)² / Σy² over all outputs of reals; of zeros, Σŷ².
inline double squared_error(std::span<const tensor> y, std::span<const tensor> q) {
  double signal = 0, noise = 0;
  for (std::size_t i = 0; i < y.size() && i < q.size(); ++i) {
    if (y[i].type() != dtype::f32 || y[i].dims() != q[i].dims()) continue;
    const auto a = y[i].view<float>(), b = q[i].view<float>();
    for (std::size_t k = 0; k < a.size(); ++k) {
      const double d = static_cast<double>(a[k]) - static_cast<double>(b[k]);
      signal += static_cast<double>(a[k]) * static_cast<double>(a[k]);
      noise += d * d;
    }
  }
  return signal > 0 ? noise / signal : noise;
}

/// For each metric how many counts, the counts, the agreement; then the error.
inline std::vector<double> flattened(std::span<const sample_result> all) {
  std::vector<double> flat;
  for (const auto& r : all) {
    for (const auto& m : r.metrics) {
      flat.push_back(static_cast<double>(m.scored.size()));
      flat.insert(flat.end(), m.scored.begin(), m.scored.end());
      flat.push_back(m.agreement);
    }
    flat.push_back(r.error);
  }
  return flat;
}

inline std::vector<sample_result> remembered(const std::vector<double>& flat, std::size_t samples,
                                             std::size_t metrics) {
  std::vector<sample_result> all(samples);
  std::size_t at = 0;
  for (auto& r : all) {
    r.metrics.resize(metrics);
    for (auto& m : r.metrics) {
      const auto count = static_cast<std::size_t>(flat.at(at++));
      for (std::size_t i = 0; i < count; ++i) m.scored.push_back(flat.at(at++));
      m.agreement = flat.at(at++);
    }
    r.error = flat.at(at++);
  }
  return all;
}

}  // namespace ptq::control
