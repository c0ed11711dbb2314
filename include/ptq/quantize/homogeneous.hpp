#pragma once
// SPDX-License-Identifier: Apache-2.0
// What commutes with positive factors, channel by channel: f(s · x) = s · f(x). Scaled channels pass
// through it unchanged in kind.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <variant>

#include <ptq/graph/graph.hpp>

namespace ptq::quantization {

/// 0 where it is unknown.
inline int rank_of(const graph& g, value_id id) { return g[id].shaped ? g[id].dims.rank() : 0; }
inline std::int64_t extent_of(const graph& g, value_id id, int axis) {
  return axis < rank_of(g, id) ? g[id].dims[axis] : unknown;
}

/// Positive factors pass through: no bound from below but 0.
inline bool homogeneous(const clamp& a) {
  return (a.low == 0 || std::isinf(a.low)) && !(a.low > 0) && a.high > 0 &&
         (std::isinf(a.high) || a.low == 0);
}

/// A node with one input of interest and one output, whose channels lie on `axis` of the input.
class channel_rules {
 public:
  channel_rules(const graph& g, const node& n, int axis) : g_(g), n_(n), axis_(axis) {}

  bool operator()(const op::unary& f) const {
    return f.kind == unary_kind::relu || f.kind == unary_kind::leaky_relu;
  }
  bool operator()(const op::binary& b) const {
    return b.kind == binary_kind::prelu && homogeneous(b.act) && constant(1);
  }
  bool operator()(const op::pool& p) const { return axis_ == 1 && p.kind != pool_kind::lp; }
  bool operator()(const op::reduce& r) const {
    return (r.kind == reduce_kind::mean || r.kind == reduce_kind::max) && axis_ == 1 &&
           over_plane();
  }
  bool operator()(const op::pad& p) const {
    if (!keeps_channels() || input(3)) return false;  // axes of its own
    const auto* by = constant(1);
    if (!by || by->type() != dtype::s64 || by->size() <= axis_ ||
        by->view<std::int64_t>()[static_cast<std::size_t>(axis_)] != 0)
      return false;
    if (p.how != op::pad::mode::constant || !input(2)) return true;
    const auto* v = constant(2);
    return v && v->type() == dtype::f32 && v->size() == 1 && v->view<float>()[0] == 0.0f;
  }
  bool operator()(const op::resize& r) const {
    return r.at != op::resize::coordinates::tf_crop_and_resize && keeps_channels();
  }
  bool operator()(const op::slice&) const {
    if (!input(4)) return keeps_channels();
    const auto* steps = constant(4);  // backwards the channels would change places
    if (!steps || steps->type() != dtype::s64) return false;
    const auto of = steps->view<std::int64_t>();
    return std::all_of(of.begin(), of.end(), [](auto s) { return s > 0; }) && keeps_channels();
  }
  bool operator()(const op::identity&) const { return true; }
  bool operator()(const op::reshape&) const { return true; }
  bool operator()(const op::transpose&) const { return true; }
  template <class Op>
  bool operator()(const Op&) const {
    return false;
  }

 private:
  bool input(std::size_t port) const { return port < n_.inputs.size() && n_.inputs[port] != none; }
  const tensor* constant(std::size_t port) const {
    return input(port) ? g_.constant_of(n_.inputs[port]) : nullptr;
  }
  /// All channels are there before and behind.
  bool keeps_channels() const {
    const auto e = extent_of(g_, n_.inputs[0], axis_);
    return e > 0 && e == extent_of(g_, n_.outputs[0], axis_);
  }
  bool over_plane() const {
    const auto* axes = constant(1);
    if (!axes || axes->type() != dtype::s64 || axes->size() == 0) return false;
    const auto of = axes->view<std::int64_t>();
    return std::all_of(of.begin(), of.end(), [&](std::int64_t a) {
      return (a < 0 ? a + rank_of(g_, n_.inputs[0]) : a) > 1;
    });
  }

  const graph& g_;
  const node& n_;
  int axis_;
};

inline bool takes_scaled_channels(const graph& g, const node& n, int axis) {
  return n.outputs.size() == 1 && n.what.visit(channel_rules(g, n, axis));
}

}  // namespace ptq::quantization
