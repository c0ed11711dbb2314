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
#include <ptq/quantize/window_mean.hpp>

namespace ptq::quantization {

class input_moments {
 public:
  /// positions  looked at in each sample, evenly spread; all where there are fewer
  input_moments(layer_window w, std::int64_t positions) : w_(w), wanted_(positions) {}

  /// x  f32 in ONNX order
  void add(const tensor& x) {
    const auto& d = x.dims();
    const int rank = d.rank();
    const auto channels = w_.rows ? d[rank - 1] : d[1];
    each_ = channels / w_.groups;
    size_ = static_cast<std::size_t>(each_ * w_.taps());
    if (sums_.empty()) {
      sums_.resize(static_cast<std::size_t>(w_.groups) * size_);
      products_.resize(static_cast<std::size_t>(w_.groups) * size_ * size_);
    }
    const float* v = x.view<float>().data();
    const std::int64_t height = w_.rows || rank < 4 ? 1 : d[2];
    const std::int64_t width = w_.rows ? 1 : d[rank - 1];
    const auto rows = w_.rows ? d.size() / std::max<std::int64_t>(channels, 1) : 0;
    const auto per_image = w_.y.out(height) * w_.x.out(width);
    const auto all = w_.rows ? rows : d[0] * per_image;
    const auto step = std::max<std::int64_t>(1, all / std::max<std::int64_t>(wanted_, 1));
    std::vector<float> patch(size_);
    for (std::int64_t p = 0; p < all; p += step) {
      for (std::int64_t g = 0; g < w_.groups; ++g) {
        if (w_.rows)
          add_patch(std::span(v + p * channels, size_), 0);
        else {
          const auto at = p % per_image;
          gather(v + ((p / per_image) * channels + g * each_) * height * width, height, width,
                 {at / w_.x.out(width), at % w_.x.out(width)}, patch);
          add_patch(patch, static_cast<std::size_t>(g));
        }
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
  struct place {
    std::int64_t y, x;
  };

  void gather(const float* image, std::int64_t height, std::int64_t width, place o,
              std::vector<float>& patch) const {
    std::size_t k = 0;
    for (std::int64_t c = 0; c < each_; ++c, image += height * width)
      for (std::int64_t ky = 0; ky < w_.y.kernel; ++ky)
        for (std::int64_t kx = 0; kx < w_.x.kernel; ++kx) {
          const auto y = o.y * w_.y.stride - w_.y.begin + ky * w_.y.dilation;
          const auto x = o.x * w_.x.stride - w_.x.begin + kx * w_.x.dilation;
          const bool inside = y >= 0 && y < height && x >= 0 && x < width;
          patch[k++] = inside ? image[y * width + x] : 0.0f;
        }
  }

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
  std::int64_t wanted_, each_ = 1, count_ = 0;
  std::size_t size_ = 0;
  std::vector<double> sums_, products_;  // products: the upper triangle
};

}  // namespace ptq::quantization
