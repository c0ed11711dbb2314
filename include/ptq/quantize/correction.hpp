#pragma once
// SPDX-License-Identifier: Apache-2.0
// Fast bias correction: rounding the weights moves the mean of every output channel by
//
//   shift[o] = Σ (w − ŵ)[o, i, tap] · mean(x)[i] · inside[tap]
//
// and adding that to the bias moves it back. inside[tap] is the share of output positions at which
// the tap lies in the image: what NNCF gets by running the layer on an image that is constant per
// channel. Being linear, the shift is exact, so there is no threshold, and a bias of zero is
// corrected like any other.

#include <cstdint>
#include <span>
#include <vector>

#include <ptq/core/shape.hpp>
#include <ptq/graph/op.hpp>

namespace ptq::quantization {

/// Where the taps of one spatial axis lie.
struct axis_window {
  std::int64_t in = 1, out = 1, kernel = 1, stride = 1, dilation = 1, begin = 0;
};

/// [kernel] share of the output positions at which each tap reads the image, not the padding; 0 if
/// there are none.
inline std::vector<double> inside_share(const axis_window& a) {
  std::vector<double> share(static_cast<std::size_t>(a.kernel));
  for (std::int64_t k = 0; k < a.kernel; ++k) {
    std::int64_t inside = 0;
    for (std::int64_t o = 0; o < a.out; ++o) {
      const std::int64_t at = o * a.stride - a.begin + k * a.dilation;
      inside += at >= 0 && at < a.in;
    }
    if (a.out > 0)
      share[static_cast<std::size_t>(k)] = static_cast<double>(inside) / static_cast<double>(a.out);
  }
  return share;
}

/// The same for all taps of a window, row-major over its spatial axes.
///
/// win    resolved: explicit pads
/// input  spatial extents
inline std::vector<double> inside_shares(const op::window& win, const shape& kernel,
                                         const shape& input) {
  std::vector<double> all{1.0};
  const auto spatial = static_cast<std::size_t>(input.rank());
  for (std::size_t d = 0; d < spatial; ++d) {
    axis_window a{.in = input.dims[d], .kernel = kernel.dims[d]};
    a.stride = d < win.strides.size() ? win.strides[d] : 1;
    a.dilation = d < win.dilations.size() ? win.dilations[d] : 1;
    const std::int64_t end = spatial + d < win.pads.size() ? win.pads[spatial + d] : 0;
    a.begin = d < win.pads.size() ? win.pads[d] : 0;
    const std::int64_t room = a.in + a.begin + end - (a.dilation * (a.kernel - 1) + 1);
    a.out = room < 0 ? 0 : room / a.stride + 1;
    std::vector<double> next;
    for (double s : all)
      for (double t : inside_share(a)) next.push_back(s * t);
    all = std::move(next);
  }
  return all;
}

/// Change of the mean of every output channel, to be added to the bias.
///
/// lost    [channels, inputs, taps]  w − ŵ
/// mean    [channels / groups' worth of inputs · groups]  mean of every input channel
/// inside  [taps]
/// returns [channels]
inline std::vector<double> mean_shift(std::span<const float> lost, std::span<const double> mean,
                                      std::span<const double> inside, std::size_t channels,
                                      std::size_t groups) {
  const std::size_t taps = inside.size(), inputs = mean.size() / groups;
  std::vector<double> shift(channels);
  for (std::size_t o = 0; o < channels; ++o) {
    const std::size_t first = o / (channels / groups) * inputs;
    for (std::size_t i = 0; i < inputs; ++i) {
      double sum = 0;
      for (std::size_t t = 0; t < taps; ++t)
        sum += static_cast<double>(lost[(o * inputs + i) * taps + t]) * inside[t];
      shift[o] += sum * mean[first + i];
    }
  }
  return shift;
}

}  // namespace ptq::quantization
