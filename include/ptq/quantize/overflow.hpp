#pragma once
// SPDX-License-Identifier: Apache-2.0
// Weights that a u8 · s8 pair add could saturate. x86 without VNNI (pmaddubsw) adds the products of
// two neighbouring terms in int16: 255 · w0 + 255 · w1 fits where the positive parts of w0 and w1,
// and the negative ones, sum to at most 128. Our kernels widen first and are exact for any weights;
// runtimes that load the exported file may not be.
//
// Terms pair in the order in which such kernels walk them: input channels innermost, then taps.
// Depthwise layers have no pairs: their kernels multiply in 16 or 32 bits everywhere.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <ptq/graph/graph.hpp>

namespace ptq::quantization {

/// The weights of a layer, [channels, taps] whatever their order in the constant.
struct weight_view {
  int axis = 0;  // of the output channels in the constant
  std::size_t channels = 1, taps = 1;
  std::size_t channel_stride = 1, tap_stride = 1;
  std::size_t inputs = 1;  // taps are [inputs, places of the kernel]
  bool pairs = true;       // neighbouring terms are added in 16 bits by kernels without VNNI
  std::size_t at(std::size_t c, std::size_t t) const { return c * channel_stride + t * tap_stride; }
  /// Tap number of the k-th term, input channels innermost.
  std::size_t term(std::size_t k) const {
    return inputs == 0 ? k : k % inputs * (taps / inputs) + k / inputs;
  }
};

inline weight_view view_of(const node& n, const shape& w) {
  const auto* m = std::get_if<op::matmul>(&n.what);
  const auto extent = [&](int i) { return static_cast<std::size_t>(w[i]); };
  if (m && !m->trans_b) return {1, extent(1), extent(0), 1, extent(1), extent(0)};
  if (std::holds_alternative<op::recurrent>(n.what))  // [directions, rows, taps]
    return {1, extent(0) * extent(1), extent(2), extent(2), 1, extent(2)};
  const std::size_t channels = extent(0);
  const std::size_t taps = channels ? static_cast<std::size_t>(w.size()) / channels : 0;
  const auto* c = std::get_if<op::conv>(&n.what);
  const bool depthwise = c && c->groups > 1 && w[1] == 1;
  return {0, channels, taps, taps, 1, extent(1), !depthwise};
}

struct pair_census {
  std::int64_t pairs = 0, saturating = 0;
};

/// Largest sum of same-signed parts within a pair of channel `c`; w(i) is the i-th number.
template <class Weight>
double largest_pair(const weight_view& v, std::size_t c, Weight&& w,
                    pair_census* census = nullptr) {
  double largest = 0;
  if (!v.pairs) return 0;
  for (std::size_t k = 0; k + 1 < v.taps; k += 2) {
    const double a = w(v.at(c, v.term(k))), b = w(v.at(c, v.term(k + 1)));
    const double sum =
        std::max(std::max(a, 0.0) + std::max(b, 0.0), std::max(-a, 0.0) + std::max(-b, 0.0));
    largest = std::max(largest, sum);
    if (census) {
      ++census->pairs;
      census->saturating += sum > 128;
    }
  }
  return largest;
}

/// Pairs of one layer's codes, and how many of them can saturate.
inline pair_census census_of(const weight_view& v, const tensor& codes) {
  const auto q = codes.view<std::int8_t>();
  pair_census census;
  for (std::size_t c = 0; c < v.channels; ++c)
    largest_pair(
        v, c, [&](std::size_t i) { return static_cast<double>(q[i]); }, &census);
  return census;
}

struct layer_census {
  std::string layer;
  pair_census census;
};

/// The census of every layer of a quantized graph whose weights are int8 codes.
inline std::vector<layer_census> overflow_census(const graph& g) {
  std::vector<layer_census> all;
  for (const auto& n : g.nodes) {
    const bool weighted =
        std::holds_alternative<op::conv>(n.what) || std::holds_alternative<op::matmul>(n.what);
    if (!weighted || n.inputs.size() < 2 || !g[n.inputs[0]].quant) continue;
    const auto& w = g[n.inputs[1]];
    if (!w.constant || !w.quant || w.constant->type() != dtype::s8) continue;
    const bool conv = std::holds_alternative<op::conv>(n.what);
    if (conv ? w.constant->dims().rank() < 3 : w.constant->dims().rank() != 2) continue;
    all.push_back({n.name, census_of(view_of(n, w.constant->dims()), *w.constant)});
  }
  return all;
}

/// By node: the first convolution on every way from an input of the graph.
inline std::vector<bool> first_layers(const graph& g) {
  std::vector<bool> reached(g.values.size()), first(g.nodes.size());
  for (auto id : g.inputs) reached[static_cast<std::size_t>(id)] = true;
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    bool reads = false;
    for (auto id : g.nodes[i].inputs)
      reads = reads || (id != none && reached[static_cast<std::size_t>(id)]);
    if (!reads) continue;
    first[i] = std::holds_alternative<op::conv>(g.nodes[i].what);
    if (first[i]) continue;
    for (auto id : g.nodes[i].outputs)
      if (id != none) reached[static_cast<std::size_t>(id)] = true;
  }
  return first;
}

}  // namespace ptq::quantization
