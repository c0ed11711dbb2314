#pragma once
// SPDX-License-Identifier: Apache-2.0
// The judge of every step: calibration samples that nothing was calibrated on, and what the float
// network answers to them.
//
//   error = mean over the outputs of Σ(y − ŷ)² / Σy², sums pooled over the samples
//
// Outputs are looked at before a final softmax: it hides how far the scores are from each other.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <ptq/data/activation_cache.hpp>
#include <ptq/data/samples.hpp>
#include <ptq/execute.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/graph/scores.hpp>
#include <ptq/kernels/table.hpp>

namespace ptq::recovering {

/// Every eighth sample is held back, every third where that would leave fewer than 32 of 96 or more;
/// of fewer than eight the last; a single one serves both.
struct split_samples {
  samples used, held;
};

inline samples chosen(const samples& from, std::vector<std::int64_t> which) {
  return detail_samples::reordered(from, std::move(which));
}

inline split_samples split(const samples& all) {
  const auto n = all.count().value_or(0);
  // A dozen images do not tell a better step from a worse one; 32 mostly do.
  const std::int64_t every = n >= 96 && n < 256 ? 3 : 8;
  std::vector<std::int64_t> used, held;
  for (std::int64_t i = 0; i < n; ++i) (i % every == every - 1 ? held : used).push_back(i);
  if (held.empty() && n > 0) {
    held.push_back(n - 1);
    if (n > 1) used.pop_back();
  }
  return {chosen(all, std::move(used)), chosen(all, std::move(held))};
}

class held_back {
 public:
  held_back(const graph& real, const kernels::kernel_table& table, samples held, int threads,
            std::size_t memory)
      : held_(std::move(held)), table_(&table), threads_(threads), wanted_(memory) {
    const uses edges(real);
    for (auto id : real.outputs) {
      if (real[id].type != dtype::f32 || real[id].constant) continue;
      names_.push_back(real[scores_of(real, edges, id)].name);
    }
    runner run(judged(real), table, {.threads = threads});
    for (std::int64_t i = 0; i < count(); ++i) {
      const auto out = run.run(*held_.at(i));
      for (std::size_t k = 0; k < out.size(); ++k) wanted_.put(names_[k], i, out[k]);
    }
  }

  std::int64_t count() const { return held_.count().value_or(0); }

  /// Of a network whose values bear the float network's names; 0 where there is nothing to compare.
  ///
  /// most  samples that are looked at
  double error(const graph& g,
               std::int64_t most = std::numeric_limits<std::int64_t>::max()) const {
    const auto all = errors(g, {}, most);
    return all.empty() ? 0 : all.back();
  }

  /// The error over the first sample, the first two, …: the last is that of all that were looked at.
  ///
  /// rival   of the network to improve on: where a third of the samples rules this one out, they are all that is
  ///         looked at. Empty: none
  std::vector<double> errors(const graph& g, const std::vector<double>& rival = {},
                             std::int64_t most = std::numeric_limits<std::int64_t>::max()) const {
    const auto n = std::min(most, count());
    std::vector<double> all;
    if (names_.empty()) return std::vector<double>(static_cast<std::size_t>(n));
    // The steps that stay float are those of the program that ships.
    runner run(judged(g), *table_, {.threads = threads_, .fast_float = false});
    std::vector<double> signal(names_.size()), noise(names_.size());
    for (std::int64_t i = 0; i < n; ++i) {
      const auto out = run.run(*held_.at(i));
      for (std::size_t k = 0; k < out.size(); ++k) {
        const auto y = wanted_.at(names_[k], i);
        const auto a = y.view<float>(), b = out[k].view<float>();
        if (a.size() != b.size())
          throw shape_error("quantize: output '" + names_[k] + "': expected " + y.dims().text() +
                            ", got " + out[k].dims().text());
        for (std::size_t j = 0; j < a.size(); ++j) {
          const double real = static_cast<double>(a[j]), d = real - static_cast<double>(b[j]);
          signal[k] += real * real;
          noise[k] += d * d;
        }
      }
      all.push_back(mean_error(signal, noise));
      if (i + 1 == look_at(n) && all.size() <= rival.size() && all.back() > hopeless * rival[all.size() - 1])
        break;
    }
    return all;
  }

 private:
  /// A step has to lower the error by some percent. Of 158 trials on 22 networks this ruled out 42, of which one would
  /// have been kept for 0.2 dB (yunet, where a picture or two make the error).
  static constexpr double hopeless = 1.25;
  static std::int64_t look_at(std::int64_t n) { return std::max<std::int64_t>(8, n / 3); }

  static double mean_error(const std::vector<double>& signal, const std::vector<double>& noise) {
    double sum = 0;
    for (std::size_t k = 0; k < noise.size(); ++k)
      sum += noise[k] == 0 ? 0 : noise[k] / std::max(signal[k], 1e-300);
    return sum / static_cast<double>(noise.size());
  }
  graph judged(graph g) const {
    g.outputs.clear();
    for (const auto& name : names_) {
      const auto id = g.find(name);
      if (id == none)
        throw error_in("value '" + name + "': expected it in the quantized network, got none");
      g.outputs.push_back(id);
    }
    return pruned(std::move(g));
  }
  static ptq::error error_in(const std::string& what) { return ptq::error("quantize: " + what); }

  samples held_;
  const kernels::kernel_table* table_;
  int threads_;
  std::vector<std::string> names_;
  activation_cache wanted_;
};

}  // namespace ptq::recovering
