#pragma once
// SPDX-License-Identifier: Apache-2.0
// Channels of a value may be scaled against each other without changing what the network computes:
// what the layers that make it are divided by, those that read it are multiplied with. Sums tie
// values together (all that is added has one scale a channel), concatenations make a value's channels
// a part of another's. This file finds what must be scaled at once; channel_scales.hpp scales it,
// equalize.hpp says by how much.
//
// Followed: what commutes with positive factors, channel by channel: ReLU, leaky ReLU, PReLU, pools,
// sums, concatenations, means over the plane, resizing, padding with zeros and cutting within it, moves
// that keep the channels on one axis; a product of two activations takes the factors of one of them.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <set>
#include <utility>
#include <variant>
#include <vector>

#include <ptq/graph/graph.hpp>
#include <ptq/quantize/channel_scales.hpp>
#include <ptq/quantize/homogeneous.hpp>
#include <ptq/quantize/products.hpp>

namespace ptq::quantization {

class channel_group_finder {
 public:
  explicit channel_group_finder(const graph& g) : g_(g), edges_(g) {}

  /// In the order of their first producers.
  std::vector<channel_group> find() {
    std::vector<channel_group> all;
    std::set<std::int32_t> done;
    for (std::size_t n = 0; n < g_.nodes.size(); ++n) {
      if (done.contains(static_cast<std::int32_t>(n))) continue;
      auto group = around(g_.nodes[n]);
      if (!group) continue;
      done.insert(group->producers.begin(), group->producers.end());
      all.push_back(std::move(*group));
    }
    return all;
  }

 private:
  /// Channels of a value: [first, first + channels) of an axis.
  struct place {
    value_id id;
    int axis;
    std::int64_t first;
    auto operator<=>(const place&) const = default;
  };

  static std::size_t u(std::int32_t i) { return static_cast<std::size_t>(i); }

  /// An f32 constant that this node alone reads.
  const tensor* own(const node& n, std::size_t port) const {
    const auto id = port < n.inputs.size() ? n.inputs[port] : none;
    const auto* t = g_.constant_of(id);
    const bool mine = t && t->type() == dtype::f32 && !g_[id].quant && edges_.single_consumer(id);
    return mine ? t : nullptr;
  }
  int rank(value_id id) const { return rank_of(g_, id); }
  std::int64_t extent(value_id id, int axis) const { return extent_of(g_, id, axis); }

  std::optional<channel_group> around(const node& n) {
    group_ = {};
    seen_.clear();
    open_.clear();
    const auto made = made_by(n);
    if (!made) return {};
    group_.channels = made->second;
    open_.push_back({n.outputs[0], made->first, 0});
    while (!open_.empty()) {
      const auto p = open_.back();
      open_.pop_back();
      if (!seen_.insert(p).second) continue;
      if (edges_.is_output[u(p.id)] || !source(p) || !followed(p)) return {};
    }
    if (group_.readers.empty()) return {};
    return std::move(group_);
  }

  /// Channel axis and channels of what a layer with weights makes, if they can be scaled.
  std::optional<std::pair<int, std::int64_t>> made_by(const node& n) const {
    const auto* w = own(n, 1);
    if (!w) return {};
    std::int64_t channels = 0;
    int axis = 1;
    if (const auto* c = std::get_if<op::conv>(&n.what)) {
      if (!homogeneous(c->act)) return {};
      channels = w->dims()[0];
    } else if (const auto* m = std::get_if<op::matmul>(&n.what)) {
      if (w->dims().rank() != 2 || !homogeneous(m->act)) return {};
      channels = w->dims()[m->trans_b ? 0 : 1];
      axis = rank(n.outputs[0]) - 1;
    } else if (std::holds_alternative<op::layer_norm>(n.what)) {
      if (w->dims().rank() != 1) return {};
      channels = w->size();
      axis = rank(n.outputs[0]) - 1;
    } else if (const auto* b = std::get_if<op::binary>(&n.what)) {
      const int at = factor_axis(w->dims());
      if (b->kind != binary_kind::mul || !homogeneous(b->act) || at < 0) return {};
      channels = w->size();
      axis = rank(n.outputs[0]) - w->dims().rank() + at;
      if (axis < 0 || extent(n.outputs[0], axis) != channels) return {};
    } else {
      return {};
    }
    if (axis < 0) return {};
    if (n.inputs.size() > 2 && n.inputs[2] != none) {
      const auto* b = own(n, 2);
      if (!b || b->size() != channels) return {};
    }
    return std::pair{axis, channels};
  }

  void add_member(const place& p, float bound) {
    group_.members.push_back({g_[p.id].name, p.axis, p.first, bound});
  }

  /// What makes the value; false if that can't be scaled.
  bool source(const place& p) {
    const auto index = edges_.producer[u(p.id)];
    if (index < 0) return false;
    const auto& n = g_.nodes[u(index)];
    if (const auto made = made_by(n)) {
      if (made->first != p.axis || made->second != group_.channels || p.first != 0) return false;
      group_.producers.push_back(index);
      const auto* c = std::get_if<op::conv>(&n.what);
      const auto* m = std::get_if<op::matmul>(&n.what);
      add_member(p, c ? c->act.high : m ? m->act.high : clamp{}.high);
      return true;
    }
    if (const auto* b = std::get_if<op::binary>(&n.what); b && b->kind != binary_kind::prelu) {
      if (!homogeneous(b->act)) return false;
      if (b->kind == binary_kind::mul) {
        const auto id = scaled_factor(n, p);
        if (id == none) return false;
        add_member(p, b->act.high);
        open_.push_back({id, p.axis, p.first});
        return true;
      }
      if (b->kind != binary_kind::add || !alike(n)) return false;
      add_member(p, b->act.high);
      for (auto id : n.inputs) open_.push_back({id, p.axis, p.first});
      return true;
    }
    if (const auto* c = std::get_if<op::concat>(&n.what)) return part_of(n, *c, p);
    if (!moves(n, p.axis)) return false;
    if (std::holds_alternative<op::unary>(n.what) || std::holds_alternative<op::binary>(n.what))
      add_member(p, clamp{}.high);
    const auto axis = axis_before(n, p.axis);
    if (!axis) return false;
    open_.push_back({n.inputs[0], *axis, p.first});
    return true;
  }

  /// What reads the value; false if that can't take scaled channels.
  bool followed(const place& p) {
    for (const auto& c : edges_.consumers[u(p.id)])
      if (!reader(g_.nodes[u(c.node)], c, p)) return false;
    return true;
  }

  bool reader(const node& n, const uses::use& c, const place& p) {
    if (const auto* conv = std::get_if<op::conv>(&n.what)) {
      const auto* w = own(n, 1);
      if (c.port != 0 || p.axis != 1 || !w) return false;
      const bool depthwise = conv->groups == w->dims()[0] && w->dims()[1] == 1;
      if (conv->groups != 1 && !depthwise) return false;
      group_.readers.push_back({c.node, p.first});
      return true;
    }
    if (const auto* m = std::get_if<op::matmul>(&n.what)) {
      const auto* w = own(n, 1);
      if (c.port != 0 || p.axis != rank(p.id) - 1 || m->trans_a || !w || w->dims().rank() != 2)
        return false;
      group_.readers.push_back({c.node, p.first});
      return true;
    }
    if (std::holds_alternative<op::recurrent>(n.what)) {
      if (c.port != 0 || p.axis != rank(p.id) - 1 || !own(n, 1)) return false;
      group_.readers.push_back({c.node, p.first});
      return true;
    }
    if (const auto* b = std::get_if<op::binary>(&n.what); b && b->kind != binary_kind::prelu) {
      if (!homogeneous(b->act)) return false;
      if (b->kind == binary_kind::mul ? scaled_factor(n, p) != p.id
                                      : b->kind != binary_kind::add || !alike(n))
        return false;
      open_.push_back({n.outputs[0], p.axis, p.first});
      return true;
    }
    if (const auto* cat = std::get_if<op::concat>(&n.what)) return joins(n, *cat, c.port, p);
    if (c.port != 0 || !moves(n, p.axis)) return false;
    const auto axis = axis_behind(n, p.axis);
    if (!axis) return false;
    open_.push_back({n.outputs[0], *axis, p.first});
    return true;
  }

  /// Of a product of two activations, the one that takes the group's factors: one that has them
  /// already, or what a layer makes for this product alone. None if there is no such, or both have them.
  value_id scaled_factor(const node& n, const place& p) const {
    const auto a = n.inputs[0], b = n.inputs[1];
    const auto has = [&](value_id id) { return seen_.contains({id, p.axis, p.first}); };
    if (a == b || g_[a].constant || g_[b].constant || (has(a) && has(b))) return none;
    const auto whole = [&](value_id id) {
      return g_[id].shaped && g_[id].dims == g_[n.outputs[0]].dims;
    };
    for (auto id : {a, b})
      if (has(id)) return whole(id) ? id : none;
    for (auto id : {b, a}) {
      const auto producer = edges_.producer[u(id)];
      if (whole(id) && producer >= 0 && edges_.single_consumer(id) && made_by(g_.nodes[u(producer)]))
        return id;
    }
    return none;
  }

  /// A sum of two values of one shape.
  bool alike(const node& n) const {
    const auto &a = g_[n.inputs[0]], &b = g_[n.inputs[1]];
    return a.shaped && b.shaped && !a.constant && !b.constant && a.dims == b.dims;
  }

  int axis_of(const node& n, const op::concat& c) const {
    return static_cast<int>(c.axis < 0 ? c.axis + rank(n.outputs[0]) : c.axis);
  }
  bool joins(const node& n, const op::concat& c, std::int32_t port, const place& p) {
    auto first = p.first;
    const int axis = axis_of(n, c);
    for (std::int32_t i = 0; axis == p.axis && i < port; ++i) {
      const auto e = extent(n.inputs[u(i)], axis);
      if (e < 0) return false;
      first += e;
    }
    if (axis != p.axis) return false;
    open_.push_back({n.outputs[0], p.axis, first});
    return true;
  }
  bool part_of(const node& n, const op::concat& c, const place& p) {
    if (axis_of(n, c) != p.axis) return false;
    std::int64_t first = 0;
    for (auto id : n.inputs) {
      const auto e = extent(id, p.axis);
      if (e < 0) return false;
      if (p.first >= first && p.first + group_.channels <= first + e) {
        open_.push_back({id, p.axis, p.first - first});
        return true;
      }
      first += e;
    }
    return false;
  }

  bool moves(const node& n, int axis) const { return takes_scaled_channels(g_, n, axis); }

  /// Where the channels lie on the other side of a move.
  std::optional<int> axis_behind(const node& n, int axis) const {
    return axis_across(n, axis, n.inputs[0], n.outputs[0]);
  }
  std::optional<int> axis_before(const node& n, int axis) const {
    return axis_across(n, axis, n.outputs[0], n.inputs[0]);
  }
  std::optional<int> axis_across(const node& n, int axis, value_id here, value_id there) const {
    if (rank(here) == 0 || rank(there) == 0) return {};
    if (const auto* t = std::get_if<op::transpose>(&n.what)) {
      const auto& p = t->perm;
      if (p.empty()) return rank(here) - 1 - axis;  // reversed
      if (here == n.outputs[0]) return static_cast<int>(p.at(static_cast<std::size_t>(axis)));
      const auto at = std::find(p.begin(), p.end(), axis);
      return at == p.end() ? std::nullopt : std::optional(static_cast<int>(at - p.begin()));
    }
    if (std::holds_alternative<op::reshape>(n.what)) return across_reshape(here, axis, there);
    return axis;
  }
  /// The axis that holds the same channels: the last of both, or one with nothing but ones behind it.
  std::optional<int> across_reshape(value_id a, int axis, value_id b) const {
    const auto inner = [&](value_id id, int from) {
      for (int i = from + 1; i < rank(id); ++i)
        if (g_[id].dims[i] != 1) return false;
      return true;
    };
    if (!inner(a, axis) || extent(a, axis) < 1) return {};
    for (int i = rank(b) - 1; i >= 0; --i)
      if (extent(b, i) != 1 || i == 0)
        return extent(b, i) == extent(a, axis) && inner(b, i) ? std::optional(i) : std::nullopt;
    return {};
  }

  const graph& g_;
  uses edges_;
  channel_group group_;
  std::set<place> seen_;
  std::vector<place> open_;
};

}  // namespace ptq::quantization
