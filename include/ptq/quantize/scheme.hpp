#pragma once
// SPDX-License-Identifier: Apache-2.0
// What the user of `quantize` chooses. Every member has the default that suits most models;
// presets, devices and rules follow NNCF's names.

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <ptq/core/progress.hpp>
#include <ptq/core/value_range.hpp>

namespace ptq {

enum class preset : std::uint8_t {
  performance,  // symmetric activations; [0, max] where no number is negative
  mixed         // asymmetric activations
};

/// Where the zero point may lie.
enum class code_mode : std::uint8_t {
  automatic,  // as preset and target device say
  symmetric,  // in the middle, or at an end where all numbers have one sign
  asymmetric  // anywhere
};

/// How many numbers share a scale.
enum class granularity : std::uint8_t {
  automatic,  // as the target device says
  per_channel,
  per_tensor
};

/// `any` and `cpu` are the same: 8-bit activations per tensor, 8-bit weights per output channel.
enum class target_device : std::uint8_t { any, cpu };

enum class bias_correction : std::uint8_t {
  none,
  fast  // per layer, from the mean of its input: no further inference
};

/// Every node on a way from an input to an output, these included; each by name or address.
struct ignored_subgraph {
  std::vector<std::string> inputs, outputs;
};

/// Nodes that stay in float. A rule that matches nothing is an error: it is a misspelt name more
/// often than not. A name that begins with '@' is an address (graph/address.hpp), which other names
/// in the file don't change.
struct ignored_scope {
  std::vector<std::string> names = {};  // of nodes, exact, or addresses
  std::vector<std::string> patterns =
      {};  // ECMAScript regular expressions, matched against the whole name
  std::vector<std::string> types = {};  // ONNX operator names, e.g. "Conv"
  std::vector<ignored_subgraph> subgraphs = {};
  bool validate = true;
};

/// What kind of network it is, where that changes placement.
enum class model_type : std::uint8_t {
  none,
  /// Sums, differences, means and products of two activations stay in float, and so does the product
  /// of attention with its values; inputs of the other product are symmetric (NNCF's ModelType).
  transformer
};

/// What was given back to float, by name in the fused graph. Where the neighbours' statistics are
/// known already, nothing is calibrated anew.
struct restored_scope {
  std::map<std::string, std::string> nodes = {};  // node → why it stays float, for reports
  std::set<std::string> values = {};  // that keep their real numbers, though a convolution made them
};

/// How the range of activations is estimated.
struct activation_options {
  range_estimator estimator = range_estimator::mean_minmax;
  double percentile_tail = 1e-4;  // share of the numbers clipped at each side, by `percentile`
};

/// Codes of the weights. Below 8 bits they are int8 codes that use fewer levels: the kernels and
/// the exported file are the same.
struct weight_options {
  int bits = 8;                               // 2 … 8
  code_mode mode = code_mode::automatic;      // symmetric
  ptq::granularity scales = granularity::automatic;  // per output channel
  /// Symmetric codes end at -(2^(bits-1) - 1), so that every code has its negative; without, at
  /// -2^(bits-1), and the scale is taken for whichever side needs it.
  bool narrow_range = true;
};

struct quantize_options {
  ptq::preset preset = ptq::preset::performance;
  target_device target = target_device::any;
  std::int64_t subset_size = 300;  // samples read for calibration, at most
  activation_options activations = {};
  weight_options weights = {};
  ptq::bias_correction correction = ptq::bias_correction::fast;
  /// The layers inside squeeze-and-excite gates stay in float, as NNCF leaves them. Off by default:
  /// each of their values has a grid of its own, and their weights can be a third of a small model.
  bool float_squeeze_excite = false;
  ignored_scope ignored = {};
  ptq::model_type model_type = ptq::model_type::none;
  /// The graph's outputs are rounded too. Off: logits and regressions keep full precision.
  bool quantize_outputs = false;
  restored_scope restored = {};
  int threads = 1;  // of the float inferences
  progress report = {};
};

}  // namespace ptq
