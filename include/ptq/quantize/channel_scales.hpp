#pragma once
// SPDX-License-Identifier: Apache-2.0
// Channels of a value may be scaled against each other without changing what the network computes,
// where a layer makes it and layers read it: what the one is divided by, the others are multiplied
// with. This file finds such places and scales them; equalize.hpp says by how much.
//
// Scales are powers of two, so that the float network stays equal to the bit.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <ptq/graph/graph.hpp>

namespace ptq::quantization {

/// A value whose channels can be scaled.
struct scalable {
  std::int32_t producer = 0;  // convolution, product with constant weights, or layer-norm
  std::string value;          // what it makes
  bool last = false;          // channels lie on the last axis; else on axis 1
  std::int64_t channels = 0;
  std::vector<std::int32_t> consumers;  // convolutions and products, read through what commutes
};

class scalable_finder {
 public:
  explicit scalable_finder(const graph& g) : g_(g), edges_(g) {}

  std::vector<scalable> find() const {
    std::vector<scalable> all;
    for (std::size_t n = 0; n < g_.nodes.size(); ++n)
      if (auto s = at(static_cast<std::int32_t>(n))) all.push_back(std::move(*s));
    return all;
  }

 private:
  static std::size_t u(std::int32_t i) { return static_cast<std::size_t>(i); }

  /// An f32 constant that this node alone reads.
  const tensor* own(const node& n, std::size_t port) const {
    const auto id = port < n.inputs.size() ? n.inputs[port] : none;
    const auto* t = g_.constant_of(id);
    return t && t->type() == dtype::f32 && !g_[id].quant && edges_.single_consumer(id) ? t
                                                                                       : nullptr;
  }
  bool absent(const node& n, std::size_t port) const {
    return port >= n.inputs.size() || n.inputs[port] == none;
  }
  /// Positive factors pass through: no bound but 0.
  static bool homogeneous(const clamp& a) {
    return (a.low == 0 || std::isinf(a.low)) && std::isinf(a.high) && !(a.low > 0);
  }

  std::optional<scalable> at(std::int32_t index) const {
    const auto& n = g_.nodes[u(index)];
    scalable s{.producer = index, .value = "", .last = true, .channels = 0, .consumers = {}};
    if (const auto* c = std::get_if<op::conv>(&n.what)) {
      const auto* w = own(n, 1);
      if (!w || !homogeneous(c->act)) return {};
      s.last = false;
      s.channels = w->dims()[0];
    } else if (const auto* m = std::get_if<op::matmul>(&n.what)) {
      const auto* w = own(n, 1);
      if (!w || w->dims().rank() != 2 || !homogeneous(m->act)) return {};
      s.channels = w->dims()[m->trans_b ? 0 : 1];
    } else if (std::holds_alternative<op::layer_norm>(n.what)) {
      const auto* w = own(n, 1);
      if (!w || w->dims().rank() != 1) return {};
      s.channels = w->size();
    } else {
      return {};
    }
    if (!absent(n, 2)) {
      const auto* b = own(n, 2);
      if (!b || b->size() != s.channels) return {};
    }
    s.value = g_[n.outputs[0]].name;
    if (!readers(n.outputs[0], s) || s.consumers.empty()) return {};
    return s;
  }

  bool readers(value_id id, scalable& s) const {
    if (edges_.is_output[u(id)]) return false;
    for (const auto& c : edges_.consumers[u(id)])
      if (!reader(g_.nodes[u(c.node)], c, id, s)) return false;
    return true;
  }

  bool reader(const node& n, const uses::use& c, value_id id, scalable& s) const {
    if (const auto* conv = std::get_if<op::conv>(&n.what)) {
      const auto* w = own(n, 1);
      if (c.port != 0 || s.last || !w) return false;
      const bool depthwise = conv->groups == s.channels && w->dims()[0] == s.channels;
      if (conv->groups != 1 && !depthwise) return false;
      s.consumers.push_back(c.node);
      return true;
    }
    if (const auto* m = std::get_if<op::matmul>(&n.what)) {
      const auto* w = own(n, 1);
      if (c.port != 0 || !s.last || m->trans_a || !w || w->dims().rank() != 2) return false;
      s.consumers.push_back(c.node);
      return true;
    }
    return commutes(n, id, s) && readers(n.outputs[0], s);
  }

  /// f(s · x) = s · f(x), channel by channel, and channels stay where they are.
  bool commutes(const node& n, value_id id, const scalable& s) const {
    if (const auto* f = std::get_if<op::unary>(&n.what))
      return f->kind == unary_kind::relu || f->kind == unary_kind::leaky_relu;
    if (std::holds_alternative<op::identity>(n.what)) return true;
    if (const auto* p = std::get_if<op::pool>(&n.what))
      return !s.last && p->kind != pool_kind::lp && n.outputs.size() == 1;
    if (std::holds_alternative<op::reshape>(n.what)) {
      const auto &a = g_[id], &b = g_[n.outputs[0]];
      return s.last && a.shaped && b.shaped && a.dims.rank() > 0 && b.dims.rank() > 0 &&
             a.dims[a.dims.rank() - 1] == s.channels && b.dims[b.dims.rank() - 1] == s.channels;
    }
    return false;
  }

  const graph& g_;
  uses edges_;
};

/// Where index i of a constant's axis lies: [outer, extent, inner].
template <class Scale>
void scale_axis(tensor& t, int axis, Scale by) {
  std::int64_t inner = 1;
  for (int i = axis + 1; i < t.dims().rank(); ++i) inner *= t.dims()[i];
  const auto extent = t.dims()[axis];
  const auto v = t.mutable_view<float>();
  for (std::size_t i = 0; i < v.size(); ++i)
    v[i] *= by(static_cast<std::size_t>(static_cast<std::int64_t>(i) / inner % extent));
}

/// Largest magnitude of the consumers' weights for every channel that they read; nothing for
/// depthwise ones, whose channels have scales of their own.
inline std::vector<float> consumer_magnitudes(const graph& g, const scalable& s) {
  std::vector<float> most(static_cast<std::size_t>(s.channels));
  for (auto c : s.consumers) {
    const auto& n = g.nodes[static_cast<std::size_t>(c)];
    const auto* conv = std::get_if<op::conv>(&n.what);
    if (conv && conv->groups != 1) continue;
    const auto& w = *g.constant_of(n.inputs[1]);
    const auto* m = std::get_if<op::matmul>(&n.what);
    const int axis = m ? (m->trans_b ? 1 : 0) : 1;
    std::int64_t inner = 1;
    for (int i = axis + 1; i < w.dims().rank(); ++i) inner *= w.dims()[i];
    const auto v = w.view<float>();
    for (std::size_t i = 0; i < v.size(); ++i) {
      auto& m_c = most[static_cast<std::size_t>(static_cast<std::int64_t>(i) / inner % s.channels)];
      m_c = std::max(m_c, std::fabs(v[i]));
    }
  }
  return most;
}

/// Divides the channels of the value by `by` and multiplies what its readers make of them.
///
/// by     [channels]  powers of two
/// exact  the network's float outputs stay equal to the bit, but for numbers beyond float's range
inline void divide_channels(graph& g, const scalable& s, std::span<const float> by) {
  const auto up = [&](std::size_t c) { return by[c]; };
  const auto down = [&](std::size_t c) { return 1.0f / by[c]; };
  const auto& p = g.nodes[static_cast<std::size_t>(s.producer)];
  const auto* m = std::get_if<op::matmul>(&p.what);
  scale_axis(*g[p.inputs[1]].constant, m && !m->trans_b ? 1 : 0, down);
  if (p.inputs.size() > 2 && p.inputs[2] != none) {
    auto& b = *g[p.inputs[2]].constant;
    scale_axis(b, b.dims().rank() - 1, down);
  }
  for (auto c : s.consumers) {
    const auto& n = g.nodes[static_cast<std::size_t>(c)];
    const auto* product = std::get_if<op::matmul>(&n.what);
    const auto* conv = std::get_if<op::conv>(&n.what);
    const int axis = product ? (product->trans_b ? 1 : 0) : conv->groups == 1 ? 1 : 0;
    scale_axis(*g[n.inputs[1]].constant, axis, up);
  }
}

}  // namespace ptq::quantization
