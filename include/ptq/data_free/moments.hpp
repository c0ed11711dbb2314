#pragma once
// SPDX-License-Identifier: Apache-2.0
// What batch-norms tell about activations: training left the mean and the deviation of every channel
// in them, so no sample is needed to know where numbers lie. Reads the graph as it was imported,
// before fold has moved the batch-norms into weights; values keep their names on the way.
//
//   batch-norm           mean = bias, deviation = |scale|
//   relu, clip           moments of a clipped normal
//   convolution, product mean = sum w·mean + b, variance = sum w²·variance: channels independent
//   sum                  means and variances add up
//   mean over the plane  deviation · 0.8: neighbours are alike
//   range                mean ± 5 deviations, within the clips on the way
//
// Source: POT's DataFreeQuantization.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <numbers>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include <ptq/core/value_range.hpp>
#include <ptq/graph/graph.hpp>

namespace ptq {

/// Of the channels (axis 1) of a value, and bounds that no number passes.
struct channel_moments {
  std::vector<double> mean, deviation;
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();

  /// The joined range of all channels, mean ± 5 deviations.
  value_range range() const {
    constexpr double deviations = 5;
    double a = std::numeric_limits<double>::infinity(), b = -a;
    for (std::size_t c = 0; c < mean.size(); ++c) {
      a = std::min(a, std::clamp(mean[c] - deviations * deviation[c], low, high));
      b = std::max(b, std::clamp(mean[c] + deviations * deviation[c], low, high));
    }
    return {static_cast<float>(a), static_cast<float>(b)};
  }
};

/// Moments of min(max(x, low), high), x normal.
///
/// deviation  >= 0; either bound may be infinite
inline std::pair<double, double> clipped_normal(double mean, double deviation, double low,
                                                double high) {
  if (deviation == 0) return {std::clamp(mean, low, high), 0.0};
  struct side {
    double below, density, slope;  // mass below the bound, density there, z · density
  };
  const auto at = [&](double bound) -> side {
    if (std::isinf(bound)) return {bound > 0 ? 1.0 : 0.0, 0, 0};
    const double z = (bound - mean) / deviation;
    const double density = std::exp(-z * z / 2) / std::sqrt(2 * std::numbers::pi);
    return {0.5 * std::erfc(-z / std::numbers::sqrt2), density, z * density};
  };
  const auto a = at(low), b = at(high);
  const double inside = b.below - a.below;
  const double at_low = a.below > 0 ? low : 0, at_high = b.below < 1 ? high : 0;
  const double first = at_low * a.below + at_high * (1 - b.below) + mean * inside +
                       deviation * (a.density - b.density);
  const double second = at_low * at_low * a.below + at_high * at_high * (1 - b.below) +
                        (mean * mean + deviation * deviation) * inside +
                        2 * mean * deviation * (a.density - b.density) +
                        deviation * deviation * (a.slope - b.slope);
  return {first, std::sqrt(std::max(second - first * first, 0.0))};
}

/// Moments of every value that batch-norms tell of, by name.
///
/// g  imported, with types and extents where known; not folded yet
inline std::map<std::string, channel_moments> batch_norm_moments(const graph& g);

// -------------------------------------------------------------------------------------------------

class moment_rules {
 public:
  explicit moment_rules(const graph& g) : g_(g), of_(g.values.size()) {}

  std::map<std::string, channel_moments> all() {
    std::map<std::string, channel_moments> named;
    for (const auto& n : g_.nodes) {
      if (n.outputs.size() != 1 || n.outputs[0] == none) continue;
      auto m = n.what.visit([&](const auto& o) { return after(n, o); });
      if (m && m->mean.empty()) m.reset();
      if (m) named.emplace(g_[n.outputs[0]].name, *m);
      of_[static_cast<std::size_t>(n.outputs[0])] = std::move(m);
    }
    return named;
  }

 private:
  using moments = std::optional<channel_moments>;

  moments of(const node& n, std::size_t port) const {
    return port < n.inputs.size() && n.inputs[port] != none
               ? of_[static_cast<std::size_t>(n.inputs[port])]
               : moments();
  }
  const tensor* reals(const node& n, std::size_t port) const {
    const auto* t = port < n.inputs.size() ? g_.constant_of(n.inputs[port]) : nullptr;
    return t && t->type() == dtype::f32 ? t : nullptr;
  }
  static moments clipped(moments m, double low, double high) {
    if (!m) return m;
    for (std::size_t c = 0; c < m->mean.size(); ++c)
      std::tie(m->mean[c], m->deviation[c]) =
          clipped_normal(m->mean[c], m->deviation[c], low, high);
    m->low = std::max(m->low, low);
    m->high = std::min(m->high, high);
    return m;
  }
  static double bound(float v) { return static_cast<double>(v); }

  moments after(const node& n, const op::batch_norm&) const {
    const auto *scale = reals(n, 1), *bias = reals(n, 2);
    if (!scale || !bias || scale->size() != bias->size()) return {};
    channel_moments m;
    for (float v : bias->view<float>()) m.mean.push_back(static_cast<double>(v));
    for (float v : scale->view<float>()) m.deviation.push_back(std::abs(static_cast<double>(v)));
    return m;
  }
  moments after(const node& n, const op::unary& o) const {
    constexpr double infinite = std::numeric_limits<double>::infinity();
    if (o.kind == unary_kind::relu) return clipped(of(n, 0), 0, infinite);
    if (o.kind == unary_kind::clip) return clipped(of(n, 0), bound(o.alpha), bound(o.beta));
    return {};
  }
  moments after(const node& n, const op::binary& o) const {
    auto a = of(n, 0);
    const auto b = of(n, 1);
    if (o.kind != binary_kind::add || !a || !b || a->mean.size() != b->mean.size()) return {};
    for (std::size_t c = 0; c < a->mean.size(); ++c) {
      a->mean[c] += b->mean[c];
      a->deviation[c] = std::hypot(a->deviation[c], b->deviation[c]);
    }
    a->low += b->low;
    a->high += b->high;
    return o.act.active() ? clipped(a, bound(o.act.low), bound(o.act.high)) : a;
  }
  moments after(const node& n, const op::pool& o) const {
    auto m = of(n, 0);
    if (o.kind == pool_kind::average) return averaged(m);
    return o.kind == pool_kind::max ? m : moments();
  }
  moments after(const node& n, const op::reduce& o) const {
    const auto* axes = n.inputs.size() > 1 ? g_.constant_of(n.inputs[1]) : nullptr;
    if (o.kind != reduce_kind::mean || !axes || axes->type() != dtype::s64) return {};
    for (auto a : axes->view<std::int64_t>())
      if (a == 0 || a == 1 || a < -2) return {};
    return averaged(of(n, 0));
  }
  static moments averaged(moments m) {
    constexpr double kept = 0.8;  // POT
    if (m)
      for (auto& d : m->deviation) d *= kept;
    return m;
  }
  moments after(const node& n, const op::concat& o) const {
    if (o.axis != 1) return {};
    auto all = of(n, 0);
    for (std::size_t i = 1; all && i < n.inputs.size(); ++i) {
      const auto m = of(n, i);
      if (!m) return {};
      all->mean.insert(all->mean.end(), m->mean.begin(), m->mean.end());
      all->deviation.insert(all->deviation.end(), m->deviation.begin(), m->deviation.end());
      all->low = std::min(all->low, m->low);
      all->high = std::max(all->high, m->high);
    }
    return all;
  }
  /// Channels stay channels where nothing but planes of one pixel is taken away or put on.
  moments after(const node& n, const op::reshape&) const {
    const auto& v = g_[n.inputs[0]];
    if (!v.shaped || v.dims.rank() < 2) return {};
    for (int i = 2; i < v.dims.rank(); ++i)
      if (v.dims[i] != 1) return {};
    return of(n, 0);
  }
  moments after(const node& n, const op::pad&) const {
    auto m = of(n, 0);
    if (m) {
      m->low = std::min(m->low, 0.0);
      m->high = std::max(m->high, 0.0);
    }
    return m;
  }
  moments after(const node& n, const op::identity&) const { return of(n, 0); }
  moments after(const node& n, const op::conv& o) const {
    const auto* w = reals(n, 1);
    if (!w || o.groups < 1) return {};
    const auto outputs = w->dims()[0], per_output = w->size() / std::max<std::int64_t>(outputs, 1);
    const auto inputs = w->dims()[1], taps = per_output / std::max<std::int64_t>(inputs, 1);
    auto m = weighted(n, outputs, per_output, [=](std::int64_t out, std::int64_t i) {
      return std::pair(out * per_output + i, out / (outputs / o.groups) * inputs + i / taps);
    });
    return m && o.act.active() ? clipped(m, bound(o.act.low), bound(o.act.high)) : m;
  }
  moments after(const node& n, const op::matmul& o) const {
    const auto* w = reals(n, 1);
    if (!w || w->dims().rank() != 2 || o.trans_a) return {};
    const auto inputs = w->dims()[o.trans_b ? 1 : 0], outputs = w->dims()[o.trans_b ? 0 : 1];
    auto m = weighted(n, outputs, inputs, [=](std::int64_t out, std::int64_t i) {
      return std::pair(o.trans_b ? out * inputs + i : i * outputs + out, i);
    });
    return m && o.act.active() ? clipped(m, bound(o.act.low), bound(o.act.high)) : m;
  }
  /// at(output, i) → index of weight i of an output, and the channel that it multiplies.
  template <class At>
  moments weighted(const node& n, std::int64_t outputs, std::int64_t per_output, At at) const {
    const auto x = of(n, 0);
    if (!x) return {};
    const auto w = reals(n, 1)->view<float>();
    const auto* bias = reals(n, 2);
    channel_moments m;
    for (std::int64_t out = 0; out < outputs; ++out) {
      double mean = 0, variance = 0;
      for (std::int64_t i = 0; i < per_output; ++i) {
        const auto [weight, channel] = at(out, i);
        const auto c = static_cast<std::size_t>(channel);
        if (c >= x->mean.size()) return {};
        const auto v = static_cast<double>(w[static_cast<std::size_t>(weight)]);
        mean += v * x->mean[c];
        variance += v * v * x->deviation[c] * x->deviation[c];
      }
      if (bias && bias->size() == outputs)
        mean += static_cast<double>(bias->view<float>()[static_cast<std::size_t>(out)]);
      m.mean.push_back(mean);
      m.deviation.push_back(std::sqrt(variance));
    }
    return m;
  }
  template <class Op>
  moments after(const node&, const Op&) const {
    return {};
  }

  const graph& g_;
  std::vector<moments> of_;
};

inline std::map<std::string, channel_moments> batch_norm_moments(const graph& g) {
  return moment_rules(g).all();
}

}  // namespace ptq
