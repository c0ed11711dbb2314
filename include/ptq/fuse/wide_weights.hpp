#pragma once
// SPDX-License-Identifier: Apache-2.0
// Weights of foreign quantized models: codes of 8 bits with a zero point of their own, so that code
// less zero point may need 9 bits. The kernels multiply signed bytes; what they can't hold is put
// beside them:
//
//   w = a + b,  a = clamp(w, -128, 127)      x · w = [x x] · [a b]
//
// Exact, and in integers: the sums are the same, over twice as many taps. Weights that fit become
// signed codes with zero point 0, at no cost.

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <ptq/graph/graph.hpp>

namespace ptq::fusing {

/// Codes less zero points of a quantized constant; nothing where it is none of 8 bits.
inline std::optional<std::vector<std::int32_t>> centred_codes(const value& v) {
  if (!v.constant || !v.quant || v.constant->empty()) return std::nullopt;
  const auto& t = *v.constant;
  const auto& q = *v.quant;
  if (t.type() != dtype::u8 && t.type() != dtype::s8) return std::nullopt;
  std::vector<std::int32_t> codes(static_cast<std::size_t>(t.size()));
  const auto copy = [&](auto from) { std::copy(from.begin(), from.end(), codes.begin()); };
  if (t.type() == dtype::u8)
    copy(t.view<std::uint8_t>());
  else
    copy(t.view<std::int8_t>());
  if (q.zero_point.empty()) return codes;
  std::size_t inner = 1;
  if (q.per_channel()) {
    if (q.axis < 0 || q.axis >= t.dims().rank()) return std::nullopt;
    for (int a = static_cast<int>(q.axis) + 1; a < t.dims().rank(); ++a)
      inner *= static_cast<std::size_t>(t.dims()[a]);
  }
  const auto channels = q.zero_point.size();
  if (channels == 1) inner = codes.size();
  for (std::size_t first = 0, channel = 0; first < codes.size(); first += inner, ++channel) {
    const std::int32_t zero = q.zero_point[channel % channels];
    for (std::size_t i = first; i < first + inner; ++i) codes[i] -= zero;
  }
  return codes;
}

class weight_splitter {
 public:
  explicit weight_splitter(graph& g) : g_(g) {}

  /// True if something changed.
  bool run() {
    std::vector<node> nodes;
    bool changed = false;
    for (auto& n : g_.nodes) {
      if (auto before = split(n)) {
        changed = true;
        if (before->outputs.size() == 1) nodes.push_back(std::move(*before));
      }
      nodes.push_back(std::move(n));
    }
    g_.nodes = std::move(nodes);
    return changed;
  }

 private:
  static constexpr std::int32_t least = -128, most = 127;

  /// Signed bytes around 0, as they should be.
  static bool is_settled(const value& w) {
    return w.constant && w.quant && w.constant->type() == dtype::s8 &&
           std::all_of(w.quant->zero_point.begin(), w.quant->zero_point.end(), [](auto z) { return z == 0; });
  }

  /// Rewrites n; the node to put before it, one without outputs where there is none to put.
  std::optional<node> split(node& n) {
    const auto* c = std::get_if<op::conv>(&n.what);
    const auto* m = std::get_if<op::matmul>(&n.what);
    if ((!c && !m) || n.inputs.size() < 2 || n.inputs[0] == none || n.inputs[1] == none) return {};
    const value w = g_[n.inputs[1]];  // a copy: values are added below
    if (is_settled(w)) return {};
    const auto codes = centred_codes(w);
    if (!codes || !g_[n.inputs[0]].quant || !g_[n.inputs[0]].shaped) return {};
    const auto [low, high] = std::minmax_element(codes->begin(), codes->end());
    const bool fits = *low >= least && *high <= most;
    const bool settled = w.constant->type() == dtype::s8;
    if (fits && settled) return {};
    if (fits) {
      n.inputs[1] = constant(n.inputs[1], w.constant->dims(), *codes);
      return node{};
    }
    if (*high > 2 * most || *low < 2 * least) return {};
    const shape d = w.constant->dims();
    if (m && (m->trans_a || d.rank() != 2)) return {};
    const int axis = c || m->trans_b ? 1 : 0;  // of the taps, in the weights
    const std::int64_t groups = c ? c->groups : 1;
    if (d[axis] < 1 || groups < 1) return {};
    n.inputs[1] = doubled(n.inputs[1], axis, *codes);
    node twice = repeated(n, c ? 1 : g_[n.inputs[0]].dims.rank() - 1, groups, d[axis]);
    n.inputs[0] = twice.outputs[0];
    return twice;
  }

  value_id constant(value_id from, const shape& dims, const std::vector<std::int32_t>& codes) {
    const auto [at, fresh] = made_.try_emplace(from, none);
    if (!fresh) return at->second;
    tensor t(dtype::s8, dims);
    std::transform(codes.begin(), codes.end(), t.mutable_view<std::int8_t>().begin(),
                   [](std::int32_t v) { return static_cast<std::int8_t>(v); });
    value v = g_[from];
    v.name += "_signed";
    v.dims = dims;
    v.constant = std::move(t);
    v.quant->type = dtype::s8;
    std::fill(v.quant->zero_point.begin(), v.quant->zero_point.end(), 0);
    return at->second = g_.add(std::move(v));
  }

  /// [a b] along the axis.
  value_id doubled(value_id from, int axis, const std::vector<std::int32_t>& codes) {
    shape dims = g_[from].constant->dims();
    std::size_t outer = 1, inner = 1;
    for (int i = 0; i < dims.rank(); ++i) {
      if (i < axis) outer *= static_cast<std::size_t>(dims[i]);
      if (i >= axis) inner *= static_cast<std::size_t>(dims[i]);
    }
    std::vector<std::int32_t> both;
    both.reserve(2 * codes.size());
    for (std::size_t o = 0; o < outer; ++o) {
      for (std::size_t i = 0; i < inner; ++i)
        both.push_back(std::clamp(codes[o * inner + i], least, most));
      for (std::size_t i = 0; i < inner; ++i)
        both.push_back(codes[o * inner + i] - std::clamp(codes[o * inner + i], least, most));
    }
    dims.dims[static_cast<std::size_t>(axis)] *= 2;
    return constant(from, dims, both);
  }

  /// Every group's channels of n's input, twice in a row.
  node repeated(const node& n, int axis, std::int64_t groups, std::int64_t channels) {
    std::vector<std::int64_t> order;
    for (std::int64_t group = 0; group < groups; ++group)
      for (int twice = 0; twice < 2; ++twice)
        for (std::int64_t c = 0; c < channels; ++c) order.push_back(group * channels + c);
    const auto indices =
        g_.add_constant(n.name + "_twice_order",
                        tensor::from<std::int64_t>({static_cast<std::int64_t>(order.size())},
                                                   std::span<const std::int64_t>(order)));
    value v = g_[n.inputs[0]];
    v.name = n.name + "_twice";
    v.constant.reset();
    v.dim_names.clear();
    v.dims.dims[static_cast<std::size_t>(axis)] = static_cast<std::int64_t>(order.size());
    const auto to = g_.add(std::move(v));
    return {g_[to].name,
            op::gather{.what = op::gather::kind::axis, .axis = axis},
            {n.inputs[0], indices},
            {to},
            ""};
  }

  graph& g_;
  std::map<value_id, value_id> made_;  // weights may be shared
};

inline bool wide_weights(graph& g) { return weight_splitter(g).run(); }

}  // namespace ptq::fusing
