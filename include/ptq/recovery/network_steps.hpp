#pragma once
// SPDX-License-Identifier: Apache-2.0
// Steps of recovery that change the float network: attention normalised behind its products, channels
// equalised. Each is kept only where it lowers the error.

#include <array>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ptq/data/samples.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/quantize/equalize.hpp>
#include <ptq/quantize/late_normalization.hpp>
#include <ptq/quantize/scheme.hpp>
#include <ptq/recovery/decisions.hpp>
#include <ptq/recovery/spreads.hpp>

namespace ptq::recovering {

/// Not on devices that take integers alone.
inline bool may_use_float(const quantize_options& o) {
  return o.target != target_device::npu && o.target != target_device::gna;
}

/// Errors of a float network once it is quantized (held_back::errors).
///
/// rival  of what it is tried against
using network_trial = std::function<std::vector<double>(const graph&, const std::vector<double>& rival)>;

class network_steps {
 public:
  /// few  that spreads are taken from
  network_steps(graph network, const quantize_options& options, const kernels::kernel_table& table, samples few,
                decisions& steps, network_trial tried)
      : network_(std::move(network)),
        options_(options),
        table_(table),
        few_(std::move(few)),
        steps_(steps),
        tried_(std::move(tried)) {}

  graph run() {
    normalize_late();
    reshape_channels();
    return std::move(network_);
  }

 private:
  /// Steps start from the network as it is.
  void start() {
    if (steps_.errors().empty()) steps_.start(tried_(network_, {}));
  }

  void normalize_late() {
    if (options_.model_type == model_type::transformer) return;  // these products stay in float
    auto late = quantization::normalize_late(network_);
    if (late.changed == 0) return;
    start();
    const auto what = "attention normalised behind " + std::to_string(late.changed) + " products";
    // Runtimes that have softmax as one operator run this slower.
    if (steps_.keep(what, tried_(late.network, steps_.errors()), least_float_gain)) network_ = std::move(late.network);
  }

  /// seen  of all groups' values: a step that is kept scales none of another group's
  void equalise(const std::string& name, quantization::equalisation what, std::span<const double> alphas,
                const quantization::channel_spreads& seen) {
    const bool product = what == quantization::equalisation::product;
    const auto base = product ? quantization::with_products(network_) : network_;
    const auto groups = quantization::equalisable(base, what);
    if (groups.empty()) return;
    auto [g, changed] = quantization::equalised(base, what, seen, alphas);
    if (changed == 0) return;
    g = quantization::without_ones(std::move(g));
    const auto share = ", " + std::to_string(changed) + " of " + std::to_string(groups.size()) + " groups";
    const double gain = product ? least_product_gain : least_gain;
    if (steps_.keep(name + share, tried_(g, steps_.errors()), gain)) network_ = std::move(g);
  }

  void reshape_channels() {
    using enum quantization::equalisation;
    const auto base = quantization::with_products(network_);
    const auto groups = quantization::channel_group_finder(base).find();
    if (groups.empty()) return;
    const auto seen = spreads_of(base, groups, few_, table_, options_.threads);
    start();
    // From a quarter of the spread to all of it; SmoothQuant's half for outliers, NNCF's 0.95.
    constexpr std::array alphas{0.25, 0.5, 0.75, 1.0};
    constexpr std::array smooth_alphas{0.5, 0.65, 0.8, 0.95};
    // Outliers of a few positions, as behind GELU, make larger α look better than they are.
    constexpr std::array product_alphas{0.5};
    equalise("cross-layer equalisation", cross_layer, alphas, seen);
    equalise("equalisation below bounds", bounded, alphas, seen);
    if (may_use_float(options_)) equalise("SmoothQuant by products", product, product_alphas, seen);
    equalise("SmoothQuant", smooth, smooth_alphas, seen);
  }

  graph network_;
  const quantize_options& options_;
  const kernels::kernel_table& table_;
  samples few_;
  decisions& steps_;
  network_trial tried_;
};

}  // namespace ptq::recovering
