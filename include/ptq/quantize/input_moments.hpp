#pragma once
// SPDX-License-Identifier: Apache-2.0
// How the numbers that one output of a layer is made from vary together: the covariance of the
// K numbers under its window (inputs of its group × taps), padding counted as 0. With it the error
// that a change of weights e makes, apart from its mean, which the bias takes up, is eᵀ·C·e.

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
  void add(const tensor& x) {
    const patch_reader reader(w_, x.dims());
    size_ = reader.size();
    if (sums_.empty()) {
      sums_.resize(static_cast<std::size_t>(w_.groups) * size_);
      products_.resize(static_cast<std::size_t>(w_.groups) * size_ * size_);
    }
    const auto all = reader.positions();
    std::vector<float> patch(size_);
    for (std::int64_t k = 0; k < std::min(all, wanted_); ++k) {
      const auto p = all <= wanted_ ? k : spread_position(count_, all);
      for (std::int64_t g = 0; g < w_.groups; ++g) {
        reader.read(x, p, g, patch);
        add_patch(patch, static_cast<std::size_t>(g));
      }
      ++count_;
    }
  }

  std::size_t size() const { return size_; }

  /// [size, size]
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

 private:
  void add_patch(std::span<const float> x, std::size_t group) {
    double* s = sums_.data() + group * size_;
    double* p = products_.data() + group * size_ * size_;
    for (std::size_t i = 0; i < size_; ++i) {
      const double a = static_cast<double>(x[i]);
      if (a == 0) continue;  // half of what follows a rectifier
      s[i] += a;
      double* row = p + i * size_;
      for (std::size_t j = i; j < size_; ++j) row[j] += a * static_cast<double>(x[j]);
    }
  }

  layer_window w_;
  std::int64_t wanted_, count_ = 0;
  std::size_t size_ = 0;
  std::vector<double> sums_, products_;  // products: the upper triangle
};

}  // namespace ptq::quantization
