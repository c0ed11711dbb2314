#pragma once
// SPDX-License-Identifier: Apache-2.0
// Which source elements, with which weights, make an output element along one axis: the common form of padding by
// reflection and of every kind of resize. Source: ONNX operator specification, Resize-19.

#include <cmath>
#include <cstring>
#include <vector>

#include <ptq/core/numeric.hpp>
#include <ptq/graph/op.hpp>
#include <ptq/lower/emitter.hpp>
#include <ptq/lower/plain/taps.hpp>

namespace ptq::lowering {

template <class = void>
axis_taps pad_taps(op::pad::mode how, std::int64_t in, std::int64_t out, std::int64_t begin) {
  axis_taps t;
  for (std::int64_t i = 0; i < out; ++i) {
    auto at = i - begin;
    if (how == op::pad::mode::edge) {
      at = std::clamp<std::int64_t>(at, 0, in - 1);
    } else if (how == op::pad::mode::wrap) {
      at = ((at % in) + in) % in;
    } else if (in == 1) {
      at = 0;
    } else {
      const auto period = 2 * (in - 1);
      at = ((at % period) + period) % period;
      if (at >= in) at = period - at;
    }
    t.index.push_back(at);
    t.weight.push_back(1.0f);
  }
  return t;
}

/// Where output coordinate i lies on the input axis.
template <class = void>
double source_coordinate(const op::resize& r, double i, double in, double out, double scale,
                         double start, double end) {
  switch (r.at) {
    case op::resize::coordinates::half_pixel: return (i + 0.5) / scale - 0.5;
    case op::resize::coordinates::half_pixel_symmetric: {
      const double adjustment = out / (scale * in);
      return in / 2 * (1 - adjustment) + (i + 0.5) / scale - 0.5;
    }
    case op::resize::coordinates::pytorch_half_pixel: return out > 1 ? (i + 0.5) / scale - 0.5 : 0.0;
    case op::resize::coordinates::align_corners: return out > 1 ? i * (in - 1) / (out - 1) : 0.0;
    case op::resize::coordinates::asymmetric: return i / scale;
    default:
      return out > 1 ? start * (in - 1) + i * (end - start) * (in - 1) / (out - 1)
                     : 0.5 * (start + end) * (in - 1);
  }
}

template <class = void>
double nearest_coordinate(op::resize::rounding how, double x) {
  switch (how) {
    case op::resize::rounding::round_prefer_floor: return std::ceil(x - 0.5);
    case op::resize::rounding::round_prefer_ceil: return std::floor(x + 0.5);
    case op::resize::rounding::floor: return std::floor(x);
    default: return std::ceil(x);
  }
}

template <class = void>
double interpolation_weight(const op::resize& r, double distance) {
  const double d = std::abs(distance);
  if (r.how == op::resize::mode::linear) return d < 1 ? 1 - d : 0;
  const double a = static_cast<double>(r.cubic_a);
  if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  if (d < 2) return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
  return 0;
}

template <class = void>
axis_taps resize_taps(const op::resize& r, int axis, const shape& in_dims, const shape& out_dims,
                      const tensor* scales, const tensor* roi) {
  const auto in = in_dims[axis], out = out_dims[axis];
  // Position of this axis among those that scales and roi list.
  int place = axis, listed = in_dims.rank();
  if (!r.axes.empty()) {
    place = -1;
    listed = static_cast<int>(r.axes.size());
    for (std::size_t i = 0; i < r.axes.size(); ++i)
      if ((r.axes[i] < 0 ? r.axes[i] + in_dims.rank() : r.axes[i]) == axis) place = static_cast<int>(i);
  }
  double scale = in ? static_cast<double>(out) / static_cast<double>(in) : 1.0, start = 0, end = 1;
  if (place >= 0 && scales && scales->size() == listed)
    scale = static_cast<double>(scales->view<float>()[static_cast<std::size_t>(place)]);
  if (place >= 0 && roi && roi->type() == dtype::f32 && roi->size() == 2 * listed) {
    start = static_cast<double>(roi->view<float>()[static_cast<std::size_t>(place)]);
    end = static_cast<double>(roi->view<float>()[static_cast<std::size_t>(place + listed)]);
  }
  axis_taps t;
  const bool whole = place < 0 || (in == out && scale == 1.0 && r.at != op::resize::coordinates::tf_crop_and_resize);
  const bool nearest = r.how == op::resize::mode::nearest || whole;
  // The window of an interpolation, wider where it also smooths.
  const double shrink = r.antialias ? std::min(scale, 1.0) : 1.0;
  const double reach = r.how == op::resize::mode::linear ? 1.0 : 2.0;
  const auto first = static_cast<std::int64_t>(std::floor(-reach / shrink)) + 1, last = 1 - first;
  t.per = nearest ? 1 : static_cast<std::size_t>(last - first + 1);
  for (std::int64_t i = 0; i < out; ++i) {
    const double x = whole ? static_cast<double>(i)
                           : source_coordinate(r, static_cast<double>(i), static_cast<double>(in),
                                               static_cast<double>(out), scale, start, end);
    const bool outside = r.at == op::resize::coordinates::tf_crop_and_resize &&
                         (x < 0 || x > static_cast<double>(in - 1));
    if (nearest) {
      const auto at = static_cast<std::int64_t>(whole ? x : nearest_coordinate(r.near, x));
      t.index.push_back(outside ? -1 : std::clamp<std::int64_t>(at, 0, in - 1));
      t.weight.push_back(1.0f);
      continue;
    }
    const auto base = static_cast<std::int64_t>(std::floor(x));
    std::vector<double> w;
    double sum = 0;
    for (auto k = first; k <= last; ++k) {
      const auto at = base + k;
      double v = interpolation_weight(r, (static_cast<double>(at) - x) * shrink);
      if (r.exclude_outside && (at < 0 || at >= in)) v = 0;
      w.push_back(v);
      sum += v;
    }
    const bool normalise = r.exclude_outside || r.antialias;
    for (auto k = first; k <= last; ++k) {
      const double v = w[static_cast<std::size_t>(k - first)];
      t.index.push_back(outside ? -1 : std::clamp<std::int64_t>(base + k, 0, in - 1));
      t.weight.push_back(static_cast<float>(normalise && sum != 0 ? v / sum : v));
    }
  }
  return t;
}

template <class = void>
tap_walk walk_of(const shape& in, const shape& out, const order& o, std::vector<axis_taps> taps) {
  tap_walk w;
  const auto strides = strides_in(in, o);
  for (int a : o) {
    w.extent.push_back(out[a]);
    w.stride.push_back(strides[static_cast<std::size_t>(a)]);
    w.taps.push_back(std::move(taps[static_cast<std::size_t>(a)]));
  }
  w.columns = w.extent.back();
  for (std::size_t i = 0; i + 1 < w.extent.size(); ++i) w.rows *= w.extent[i];
  w.straight = w.taps.back().identity(in[o.back()]);
  return w;
}

}  // namespace ptq::lowering
