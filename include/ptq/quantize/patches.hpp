#pragma once
// SPDX-License-Identifier: Apache-2.0
// The numbers under a layer's window at one output position, padding counted as 0: what the products
// of that position multiply the weights with. And which positions to look at where not all are.

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include <ptq/core/tensor.hpp>
#include <ptq/quantize/window_mean.hpp>

namespace ptq::quantization {

class patch_reader {
 public:
  /// input  extents of one sample: [n, c, …] or, for rows, […, c]
  patch_reader(layer_window w, const shape& input) : w_(w) {
    const int rank = input.rank();
    channels_ = w_.rows ? input[rank - 1] : input[1];
    each_ = channels_ / w_.groups;
    height_ = w_.rows || rank < 4 ? 1 : input[2];
    width_ = w_.rows ? 1 : input[rank - 1];
    per_image_ = w_.rows ? 1 : w_.y.out(height_) * w_.x.out(width_);
    const auto images = w_.rows ? input.size() / std::max<std::int64_t>(channels_, 1) : input[0];
    positions_ = images * per_image_;
  }

  std::int64_t positions() const { return positions_; }
  /// Numbers of one group's patch: [inputs of the group, taps].
  std::size_t size() const { return static_cast<std::size_t>(each_ * w_.taps()); }

  /// x  f32 in ONNX order
  void read(const tensor& x, std::int64_t position, std::int64_t group,
            std::span<float> patch) const {
    const float* v = x.view<float>().data();
    if (w_.rows) {
      std::copy_n(v + position * channels_, patch.size(), patch.begin());
      return;
    }
    const auto at = position % per_image_, columns = w_.x.out(width_);
    const auto top = at / columns * w_.y.stride - w_.y.begin;
    const auto left = at % columns * w_.x.stride - w_.x.begin;
    const float* plane =
        v + (position / per_image_ * channels_ + group * each_) * height_ * width_;
    std::size_t k = 0;
    for (std::int64_t c = 0; c < each_; ++c, plane += height_ * width_)
      for (std::int64_t ky = 0; ky < w_.y.kernel; ++ky)
        for (std::int64_t kx = 0; kx < w_.x.kernel; ++kx) {
          const auto y = top + ky * w_.y.dilation, col = left + kx * w_.x.dilation;
          const bool inside = y >= 0 && y < height_ && col >= 0 && col < width_;
          patch[k++] = inside ? plane[y * width_ + col] : 0.0f;
        }
  }

 private:
  layer_window w_;
  std::int64_t channels_ = 1, each_ = 1, height_ = 1, width_ = 1, per_image_ = 1, positions_ = 0;
};

/// The k-th of a sequence that covers 0 … all − 1 evenly however many are taken, and whose members
/// fall on no few columns of an image, as equal steps may: k turns by the golden ratio.
inline std::int64_t spread_position(std::int64_t k, std::int64_t all) {
  // 2^64 / golden ratio, Knuth, TAOCP 3, 6.4
  const auto turn = static_cast<std::uint64_t>(k + 1) * 0x9E3779B97F4A7C15u;
  return static_cast<std::int64_t>((turn >> 32) * static_cast<std::uint64_t>(all) >> 32);
}

}  // namespace ptq::quantization
