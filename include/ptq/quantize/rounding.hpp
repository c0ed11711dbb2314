#pragma once
// SPDX-License-Identifier: Apache-2.0
// Which way each weight is rounded: up or down, as the layer's own inputs ask for, not to the
// nearest. For every output channel the error
//
//   (ŵ − w)ᵀ · C · (ŵ − w) − 2 · (ŵ − w)ᵀ · p,   C the covariance of what the layer reads
//
// is lowered by coordinate descent over the codes, each one of the two neighbours of w / scale; the
// scale follows by least squares, ŵᵀ(Cw + p) / (ŵᵀCŵ). Without p it is AdaRound's objective (Nagel et
// al. 2020, eq. 13), without its relaxation by rectified sigmoids: deterministic, and done when no
// single code can improve. With p = D · w (input_moments.hpp) it is, but for a constant, the mean of
// (ŵ·x̂ − w·x)²: the output is drawn to that of the float network (asymmetric reconstruction, Nagel et
// al. 2020, eq. 25), and so makes up for what the layers before lost.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <ptq/core/numeric.hpp>

namespace ptq::quantization {

/// One output channel.
class channel_rounder {
 public:
  /// w     [K]  real
  /// c     [K, K]  symmetric, no negative eigenvalue
  /// limit codes lie in −limit … limit
  /// pull  [K], p above; empty: zeros
  channel_rounder(std::span<const float> w, std::span<const double> c, int limit,
                  std::vector<double> pull = {})
      : w_(w), c_(c), limit_(limit), pull_(std::move(pull)), slope_(w.size()) {
    pull_.resize(w.size());
  }

  struct result {
    std::vector<int> codes;
    float scale;
    double error;  // (ŵ − w)ᵀ C (ŵ − w) − 2 (ŵ − w)ᵀ p
  };

  /// scale  at which all of w lies within the codes. With few codes a smaller one, which clips the
  /// largest weights, is often better: some are tried.
  result best(float scale) {
    result r = from(scale);
    constexpr int few = 63;  // of 8 bits, a smaller scale gains nothing that the refit does not
    if (limit_ > few) return r;
    for (float share : {0.9f, 0.8f, 0.7f, 0.6f}) {
      auto other = from(share * scale);
      if (other.error < r.error) r = std::move(other);
    }
    return r;
  }

  result from(float scale) {
    result best = nearest(scale);
    result now = best;
    // Codes and scale in turn: two rounds settle all but a percent of what is to be had.
    constexpr int rounds = 3;
    for (int i = 0; i < rounds; ++i) {
      descend(now);
      refit(now);
      now.error = error_of(now);
      if (!(now.error < best.error)) break;
      best = now;
    }
    return best;
  }

  result nearest(float scale) const {
    result r{std::vector<int>(w_.size()), scale, 0};
    for (std::size_t i = 0; i < w_.size(); ++i)
      r.codes[i] = quantize_value(w_[i], scale, 0, -limit_, limit_);
    r.error = error_of(r);
    return r;
  }

 private:
  std::size_t size() const { return w_.size(); }
  double lost(const result& r, std::size_t i) const {
    return static_cast<double>(r.scale) * r.codes[i] - static_cast<double>(w_[i]);
  }

  double error_of(const result& r) const {
    double sum = 0;
    for (std::size_t i = 0; i < size(); ++i) {
      const double e = lost(r, i);
      if (e == 0) continue;
      const double* row = c_.data() + i * size();
      double line = 0;
      for (std::size_t j = 0; j < size(); ++j) line += row[j] * lost(r, j);
      sum += e * (line - 2 * pull_[i]);
    }
    return sum;
  }

  void descend(result& r) {
    const double step = static_cast<double>(r.scale);
    for (std::size_t i = 0; i < size(); ++i) slope_[i] = -pull_[i];
    for (std::size_t i = 0; i < size(); ++i) move(i, lost(r, i));
    // A sweep that changes nothing ends it; real layers rest after five to ten.
    constexpr int most_sweeps = 20;
    for (int sweep = 0; sweep < most_sweeps; ++sweep) {
      bool changed = false;
      for (std::size_t i = 0; i < size(); ++i) {
        const double curve = c_[i * size() + i];
        if (!(curve > 0)) continue;
        const int by = slope_[i] > 0 ? -1 : 1;
        const int code = r.codes[i] + by;
        const double delta = by * step;
        if (2 * delta * slope_[i] + delta * delta * curve >= -1e-12 * delta * delta * curve)
          continue;
        if (std::abs(code) > limit_ || std::abs(step * code - static_cast<double>(w_[i])) > step)
          continue;
        r.codes[i] = code;
        move(i, delta);
        changed = true;
      }
      if (!changed) break;
    }
  }

  /// slope_ = C · (ŵ − w) − p
  void move(std::size_t i, double by) {
    const double* row = c_.data() + i * size();
    for (std::size_t j = 0; j < size(); ++j) slope_[j] += by * row[j];
  }

  void refit(result& r) const {
    double with = 0, own = 0;
    for (std::size_t i = 0; i < size(); ++i) {
      if (r.codes[i] == 0) continue;
      const double* row = c_.data() + i * size();
      double a = 0, b = 0;
      for (std::size_t j = 0; j < size(); ++j) {
        a += row[j] * static_cast<double>(w_[j]);
        b += row[j] * r.codes[j];
      }
      with += r.codes[i] * (a + pull_[i]);
      own += r.codes[i] * b;
    }
    // A fit that runs away from the weights is one of too few samples.
    if (own > 0 && with > 0)
      r.scale = std::clamp(static_cast<float>(with / own), 0.5f * r.scale, 1.25f * r.scale);
  }

  std::span<const float> w_;
  std::span<const double> c_;
  int limit_;
  std::vector<double> pull_, slope_;
};

/// C with a share of its mean diagonal added, so that directions that no sample showed still count.
/// The share is GPTQ's (Frantar et al. 2022).
inline void damp(std::span<double> c, std::size_t size) {
  constexpr double share = 0.01;
  double mean = 0;
  for (std::size_t i = 0; i < size; ++i) mean += c[i * size + i] / static_cast<double>(size);
  for (std::size_t i = 0; i < size; ++i) c[i * size + i] += share * mean;
}

}  // namespace ptq::quantization
