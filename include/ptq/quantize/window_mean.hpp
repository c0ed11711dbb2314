#pragma once
// SPDX-License-Identifier: Apache-2.0
// What a layer sees on average: for every input channel and every tap of its window, the mean over
// all output positions of the number under the tap, padding counted as 0. A layer is linear, so the
// mean of each of its outputs before the activation follows without running it:
//
//   mean(y)[o] = bias[o] + Σ w[o, i, tap] · mean[i, tap]

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <ptq/core/error.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/graph/infer/window.hpp>
#include <ptq/graph/print.hpp>

namespace ptq::quantization {

/// How one layer reads its input: the window of a convolution of one or two spatial axes, or the
/// rows of a matrix product.
struct layer_window {
  struct axis {
    std::int64_t kernel = 1, stride = 1, dilation = 1, begin = 0, end = 0;
    std::int64_t out(std::int64_t in) const {
      const auto room = in + begin + end - (dilation * (kernel - 1) + 1);
      return room < 0 ? 0 : room / stride + 1;
    }
  };
  bool rows = false;  // channels lie on the last axis, everything else is a position
  axis y, x;          // a one-dimensional window has y = {}
  std::int64_t groups = 1;
  std::int64_t taps() const { return y.kernel * x.kernel; }
};

/// n       a convolution or product
/// weights extents of its weights
/// input   extents of its input, known
inline layer_window window_of(const node& n, const shape& weights, const shape& input) {
  layer_window w;
  const auto* conv = std::get_if<op::conv>(&n.what);
  if (!conv) {
    w.rows = true;
    return w;
  }
  const auto spatial = [](const shape& s) {
    return shape(std::vector<std::int64_t>(s.dims.begin() + 2, s.dims.end()));
  };
  const auto kernel = spatial(weights), extents = spatial(input);
  const auto win = resolved(conv->win, extents, kernel);
  const auto rank = kernel.dims.size();
  const auto axis = [&](std::size_t d) {
    return layer_window::axis{kernel.dims[d], win.strides[d], win.dilations[d], win.pads[d],
                              win.pads[rank + d]};
  };
  w.groups = conv->groups;
  w.x = axis(rank - 1);
  if (rank == 2) w.y = axis(0);
  return w;
}

/// Means over samples; the sums of a sample are added in a fixed order.
class window_mean {
 public:
  explicit window_mean(layer_window w) : w_(w) {}

  /// x        one sample: [n, c, …] or, for rows, […, c]
  /// strides  of every axis in memory, in elements
  void add(const float* x, const shape& d, const std::vector<std::int64_t>& strides) {
    const int rank = d.rank(), axis = w_.rows ? rank - 1 : 1;
    const auto channels = d[axis];
    if (sums_.empty()) sums_.resize(static_cast<std::size_t>(channels * w_.taps()));
    if (w_.rows) return add_rows(x, d, strides);
    const image im{rank > 3 ? d[2] : 1, d[rank - 1], channels, rank > 3 ? strides[2] : 0,
                   strides[static_cast<std::size_t>(rank - 1)]};
    for (std::int64_t n = 0; n < d[0]; ++n) {
      if (im.step == channels && strides[1] == 1)
        add_pixels(x + n * strides[0], im);
      else
        for (std::int64_t c = 0; c < channels; ++c)
          add_plane(x + n * strides[0] + c * strides[1], im, sums_.data() + c * w_.taps());
    }
    count_ += d[0] * w_.y.out(im.height) * w_.x.out(im.width);
  }
  void add(const tensor& x) { add(x.view<float>().data(), x.dims(), strides_of(x.dims())); }

  /// [channels, taps]; empty before the first sample
  std::vector<double> means() const {
    auto m = sums_;
    for (auto& v : m) v /= static_cast<double>(std::max<std::int64_t>(count_, 1));
    return m;
  }

 private:
  struct image {
    std::int64_t height, width, channels;
    std::int64_t line, step;  // from a row to the next, from a column to the next
  };

  /// x[0] + x[step] + … (n terms): eight partial sums, so that the additions overlap.
  static double strided_sum(const float* x, std::int64_t n, std::int64_t step) {
    std::array<double, 8> part{};
    std::int64_t i = 0;
    if (step == 1)
      for (; i + 8 <= n; i += 8, x += 8)
        for (std::size_t k = 0; k < 8; ++k) part[k] += static_cast<double>(x[k]);
    else
      for (; i + 8 <= n; i += 8, x += 8 * step)
        for (std::size_t k = 0; k < 8; ++k)
          part[k] += static_cast<double>(x[static_cast<std::int64_t>(k) * step]);
    for (std::size_t k = 0; i < n; ++i, ++k, x += step) part[k] += static_cast<double>(*x);
    return ((part[0] + part[1]) + (part[2] + part[3])) +
           ((part[4] + part[5]) + (part[6] + part[7]));
  }

  /// First and one past the last of the output positions at which a tap lies inside.
  static std::pair<std::int64_t, std::int64_t> inside(const layer_window::axis& a, std::int64_t tap,
                                                      std::int64_t in) {
    const auto shift = tap * a.dilation - a.begin;
    const auto first = shift >= 0 ? 0 : (-shift + a.stride - 1) / a.stride;
    const auto room = in - 1 - shift;
    const auto last = room < 0 ? 0 : std::min(a.out(in), room / a.stride + 1);
    return {first, std::max(first, last)};
  }

  /// Calls use(ky, row) for every output row and tap whose row lies inside.
  template <class Use>
  void rows_used(std::int64_t height, Use use) const {
    for (std::int64_t ky = 0; ky < w_.y.kernel; ++ky) {
      const auto [top, bottom] = inside(w_.y, ky, height);
      for (auto o = top; o < bottom; ++o)
        use(ky, o * w_.y.stride + ky * w_.y.dilation - w_.y.begin);
    }
  }

  /// Whatever the order in memory is: every position of the axes before the last.
  void add_rows(const float* x, const shape& d, const std::vector<std::int64_t>& strides) {
    const auto channels = d.dims.back(), step = strides.back();
    const auto rows = channels > 0 ? d.size() / channels : 0;
    std::vector<std::int64_t> at(d.dims.size(), 0);
    std::int64_t offset = 0;
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = 0; c < channels; ++c)
        sums_[static_cast<std::size_t>(c)] += static_cast<double>(x[offset + c * step]);
      for (std::size_t axis = d.dims.size() - 1; axis-- > 0;) {
        offset += strides[axis];
        if (++at[axis] < d.dims[axis]) break;
        offset -= strides[axis] * d.dims[axis];
        at[axis] = 0;
      }
    }
    count_ += rows;
  }

  /// One channel.
  void add_plane(const float* x, const image& im, double* to) {
    const bool every = w_.taps() == 1 && w_.x.out(im.width) == im.width && w_.y.out(im.height) == im.height;
    if (every && w_.x.begin == 0 && w_.y.begin == 0 && im.line == im.width * im.step) {
      *to += strided_sum(x, im.height * im.width, im.step);
      return;
    }
    rows_.resize(static_cast<std::size_t>(im.height));
    for (std::int64_t kx = 0; kx < w_.x.kernel; ++kx) {
      const auto [left, right] = inside(w_.x, kx, im.width);
      if (left == right) continue;
      const auto first = left * w_.x.stride + kx * w_.x.dilation - w_.x.begin;
      for (std::int64_t r = 0; r < im.height; ++r)
        rows_[static_cast<std::size_t>(r)] =
            strided_sum(x + r * im.line + first * im.step, right - left, w_.x.stride * im.step);
      rows_used(im.height, [&](std::int64_t ky, std::int64_t r) {
        to[ky * w_.x.kernel + kx] += rows_[static_cast<std::size_t>(r)];
      });
    }
  }

  /// All channels of an image whose channels lie side by side.
  void add_pixels(const float* x, const image& im) {
    const auto channels = static_cast<std::size_t>(im.channels);
    rows_.resize(static_cast<std::size_t>(im.height) * channels);
    for (std::int64_t kx = 0; kx < w_.x.kernel; ++kx) {
      const auto [left, right] = inside(w_.x, kx, im.width);
      std::fill(rows_.begin(), rows_.end(), 0.0);
      for (std::int64_t r = 0; r < im.height; ++r) {
        double* row = rows_.data() + static_cast<std::size_t>(r) * channels;
        for (auto o = left; o < right; ++o) {
          const float* p =
              x + r * im.line + (o * w_.x.stride + kx * w_.x.dilation - w_.x.begin) * im.step;
          for (std::size_t c = 0; c < channels; ++c) row[c] += static_cast<double>(p[c]);
        }
      }
      const auto taps = static_cast<std::size_t>(w_.taps());
      rows_used(im.height, [&](std::int64_t ky, std::int64_t r) {
        const double* row = rows_.data() + static_cast<std::size_t>(r) * channels;
        double* to = sums_.data() + ky * w_.x.kernel + kx;
        for (std::size_t c = 0; c < channels; ++c) to[c * taps] += row[c];
      });
    }
  }

  layer_window w_;
  std::vector<double> sums_;
  std::vector<double> rows_;
  std::int64_t count_ = 0;
};

}  // namespace ptq::quantization
