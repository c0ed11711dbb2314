#pragma once
// SPDX-License-Identifier: Apache-2.0
// How the numbers that one output of a layer is made from vary together: the covariance C of the
// K numbers x̂ under its window (inputs of its group × taps), padding counted as 0. With it the error
// that a change of weights e makes, apart from its mean, which the bias takes up, is eᵀ·C·e. Where what
// arrives in the float network, x, is known too, D, the covariance of x̂ with x − x̂, says how far the
// weights can make up for what the layers before lost.

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <ptq/core/tensor.hpp>
#include <ptq/quantize/patches.hpp>
#include <ptq/quantize/window_mean.hpp>

namespace ptq::quantization {

class input_moments {
 public:
  /// positions  looked at in each sample, evenly spread; all where there are fewer
  input_moments(layer_window w, std::int64_t positions) : w_(w), wanted_(positions) {}

  /// x  f32 in ONNX order
  void add(const tensor& x) { add(x, nullptr); }

  /// real  what the float network has in place of x, of the same extents
  void add(const tensor& x, const tensor& real) { add(x, &real); }

  std::size_t size() const { return size_; }

  /// C of a group, [size, size].
  std::vector<double> covariance(std::size_t group) const {
    std::vector<double> c(size_ * size_);
    const double n = static_cast<double>(std::max<std::int64_t>(count_, 1));
    const double* s = sums_.data() + group * size_;
    const double* p = products_.data() + group * size_ * size_;
    for (std::size_t i = 0; i < size_; ++i)
      for (std::size_t j = i; j < size_; ++j)
        c[i * size_ + j] = c[j * size_ + i] = p[i * size_ + j] / n - s[i] / n * (s[j] / n);
    return c;
  }

  /// D of a group, [size, size]: a row for each number of x̂; empty without real inputs.
  std::vector<double> lost(std::size_t group) const {
    if (lost_products_.empty()) return {};
    std::vector<double> d(size_ * size_);
    const double n = static_cast<double>(std::max<std::int64_t>(count_, 1));
    const double* s = sums_.data() + group * size_;
    const double* l = lost_sums_.data() + group * size_;
    const double* p = lost_products_.data() + group * size_ * size_;
    for (std::size_t i = 0; i < size_; ++i)
      for (std::size_t j = 0; j < size_; ++j)
        d[i * size_ + j] = p[i * size_ + j] / n - s[i] / n * (l[j] / n);
    return d;
  }

 private:
  void add(const tensor& x, const tensor* real) {
    const patch_reader reader(w_, x.dims());
    size_ = reader.size();
    const auto groups = static_cast<std::size_t>(w_.groups);
    sums_.resize(groups * size_);
    products_.resize(groups * size_ * size_);
    if (real) {
      lost_sums_.resize(groups * size_);
      lost_products_.resize(groups * size_ * size_);
    }
    const auto all = reader.positions();
    std::vector<float> patch(size_), error(real ? size_ : 0);
    for (std::int64_t k = 0; k < std::min(all, wanted_); ++k) {
      const auto p = all <= wanted_ ? k : spread_position(count_, all);
      for (std::int64_t g = 0; g < w_.groups; ++g) {
        reader.read(x, p, g, patch);
        if (real) {
          reader.read(*real, p, g, error);
          for (std::size_t i = 0; i < size_; ++i) error[i] -= patch[i];
        }
        add_patch(patch, error, static_cast<std::size_t>(g));
      }
      ++count_;
    }
  }

  /// to[j] += a · x[j] for j in [from, n): blocks of a known length become vectors.
  static void add_scaled(double* to, double a, const float* x, std::size_t from, std::size_t n) {
    constexpr std::size_t block = 8;
    std::size_t j = from;
    for (; j + block <= n; j += block)
      for (std::size_t k = 0; k < block; ++k) to[j + k] += a * static_cast<double>(x[j + k]);
    for (; j < n; ++j) to[j] += a * static_cast<double>(x[j]);
  }

  void add_patch(std::span<const float> x, std::span<const float> error, std::size_t group) {
    double* s = sums_.data() + group * size_;
    double* p = products_.data() + group * size_ * size_;
    for (std::size_t i = 0; i < size_; ++i) {
      const double a = static_cast<double>(x[i]);
      if (a == 0) continue;  // half of what follows a rectifier
      s[i] += a;
      add_scaled(p + i * size_, a, x.data(), i, size_);
    }
    if (error.empty()) return;
    double* l = lost_sums_.data() + group * size_;
    double* d = lost_products_.data() + group * size_ * size_;
    for (std::size_t i = 0; i < size_; ++i) {
      l[i] += static_cast<double>(error[i]);
      if (x[i] != 0) add_scaled(d + i * size_, static_cast<double>(x[i]), error.data(), 0, size_);
    }
  }

  layer_window w_;
  std::int64_t wanted_, count_ = 0;
  std::size_t size_ = 0;
  std::vector<double> sums_, products_;            // products: the upper triangle
  std::vector<double> lost_sums_, lost_products_;  // of x − x̂, and of x̂ with it
};

}  // namespace ptq::quantization
