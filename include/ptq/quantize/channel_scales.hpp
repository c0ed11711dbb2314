#pragma once
// SPDX-License-Identifier: Apache-2.0
// Scales the channels of a group (channel_groups.hpp) against each other: what its producers are divided
// by, its readers are multiplied with. Scales are powers of two, so that the float network stays equal
// to the bit.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include <ptq/graph/graph.hpp>
#include <ptq/quantize/products.hpp>

namespace ptq::quantization {

/// Values whose channels can only be scaled together.
struct channel_group {
  /// A value that something computes; its channels [first, first + channels) are the group's.
  struct member {
    std::string value;
    int axis = 1;
    std::int64_t first = 0;
    float bound = std::numeric_limits<float>::infinity();  // of its activation: ReLU6's 6
  };
  struct reader {
    std::int32_t node = 0;
    std::int64_t first = 0;
  };
  std::vector<std::int32_t> producers;  // convolutions, products with constant weights or factors, layer-norms
  std::vector<member> members;          // in the order of the search; the first is a producer's
  std::vector<reader> readers;          // convolutions, products, recurrent layers
  std::int64_t channels = 0;

  bool bounded() const {
    return std::any_of(members.begin(), members.end(),
                       [](const member& m) { return std::isfinite(m.bound); });
  }
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

/// Axis of a reader's weights along which its input channels lie.
inline int input_axis(const node& n) {
  const auto* m = std::get_if<op::matmul>(&n.what);
  const auto* c = std::get_if<op::conv>(&n.what);
  if (m) return m->trans_b ? 1 : 0;
  return !c ? 2 : c->groups == 1 ? 1 : 0;  // of a recurrent layer: [directions, rows, inputs]
}

/// Largest magnitude of the readers' weights for every channel that they read; nothing for depthwise
/// ones, whose channels have scales of their own.
inline std::vector<float> reader_magnitudes(const graph& g, const channel_group& s) {
  std::vector<float> most(static_cast<std::size_t>(s.channels));
  for (const auto& r : s.readers) {
    const auto& n = g.nodes[static_cast<std::size_t>(r.node)];
    const auto* conv = std::get_if<op::conv>(&n.what);
    if (conv && conv->groups != 1) continue;
    const auto& w = *g.constant_of(n.inputs[1]);
    const int axis = input_axis(n);
    std::int64_t inner = 1;
    for (int i = axis + 1; i < w.dims().rank(); ++i) inner *= w.dims()[i];
    const auto v = w.view<float>();
    for (std::size_t i = 0; i < v.size(); ++i) {
      const auto c = static_cast<std::int64_t>(i) / inner % w.dims()[axis] - r.first;
      if (c < 0 || c >= s.channels) continue;
      auto& m = most[static_cast<std::size_t>(c)];
      m = std::max(m, std::fabs(v[i]));
    }
  }
  return most;
}

/// Divides the channels of the group by `by` and multiplies what its readers make of them.
///
/// by     [channels]  powers of two
/// exact  the network's float outputs stay equal to the bit, but for numbers beyond float's range,
///        and beyond the bounds of a bounded group
inline void divide_channels(graph& g, const channel_group& s, std::span<const float> by) {
  for (auto index : s.producers) {
    const auto& p = g.nodes[static_cast<std::size_t>(index)];
    const auto* m = std::get_if<op::matmul>(&p.what);
    const auto down = [&](std::size_t c) { return 1.0f / by[c]; };
    auto& w = *g[p.inputs[1]].constant;
    const bool factors = std::holds_alternative<op::binary>(p.what);
    scale_axis(w, factors ? factor_axis(w.dims()) : m && !m->trans_b ? 1 : 0, down);
    if (p.inputs.size() > 2 && p.inputs[2] != none) {
      auto& b = *g[p.inputs[2]].constant;
      scale_axis(b, b.dims().rank() - 1, down);
    }
  }
  for (const auto& r : s.readers) {
    const auto& n = g.nodes[static_cast<std::size_t>(r.node)];
    const auto up = [&](std::size_t c) {
      const auto k = static_cast<std::int64_t>(c) - r.first;
      return k < 0 || k >= s.channels ? 1.0f : by[static_cast<std::size_t>(k)];
    };
    scale_axis(*g[n.inputs[1]].constant, input_axis(n), up);
  }
}

}  // namespace ptq::quantization
