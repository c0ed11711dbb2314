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
#include <ptq/quantize/effort.hpp>

namespace ptq {

enum class preset : std::uint8_t {
  performance,  // symmetric activations; [0, max] where no number is negative
  mixed,        // asymmetric activations
  accuracy      // mixed, but where a device has a more exact scheme
};

/// The numbers that values and weights become.
enum class quantize_mode : std::uint8_t {
  integer,   // affine codes, computed in integers
  fp8_e4m3,  // 8-bit floats, at most 448 · scale; simulated: rounded, computed in float
  fp8_e5m2   // the same with a wider range of 57344 · scale and fewer bits
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

/// What the device takes: the table in quantize/devices.hpp. Nothing but that: the kernels of this
/// library run every scheme.
enum class target_device : std::uint8_t { any, cpu, gpu, npu, gna };

/// Whether symmetric codes of activations have a sign.
enum class signedness : std::uint8_t {
  automatic,      // where a number is negative
  signed_codes,   // always
  unsigned_codes  // never: negative numbers become 0
};

/// x86 without VNNI adds pairs of u8 · s8 products in int16, which two large weights saturate. Our
/// kernels are exact for all weights, so the default spends no bit on it; choose another where the
/// exported file is to run in other runtimes on such machines.
enum class overflow_fix : std::uint8_t {
  none,
  first_layer,  // 7-bit weights in the first convolution behind each input (NNCF's default)
  all,          // 7-bit weights
  automatic     // a larger scale for just those channels in which a pair could saturate
};

enum class bias_correction : std::uint8_t {
  none,
  fast,       // per layer, from the mean of its input: no further inference
  sequential  // layer after layer, from what the quantized layers before really give
};

constexpr const char* name_of(bias_correction c) {
  switch (c) {
    case bias_correction::none:
      return "none";
    case bias_correction::fast:
      return "fast";
    case bias_correction::sequential:
      return "sequential";
  }
  return "?";
}

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
  /// Only the activations are restored: the nodes' weights stay rounded, and small in the file. They
  /// compute in float all the same.
  bool activations_only = false;
};

/// Codes of the activations, and how their range is estimated.
struct activation_options {
  range_estimator estimator = range_estimator::mean_minmax;
  double percentile_tail = 1e-4;  // share of the numbers clipped at each side, by `percentile`
  double outlier_prob = 1e-4;     // the same of each sample, by `mean_quantile`
  range_side min = {};            // of `custom`
  range_side max = {.statistic = range_statistic::max};
  int bits = 0;                   // 8 or 16; 0: as the target device prefers, 8
  code_mode mode = code_mode::automatic;
  signedness sign = signedness::automatic;
  granularity scales = granularity::automatic;  // per tensor
};

/// Codes of the weights. Below 8 bits they are int8 codes that use fewer levels: the kernels and
/// the exported file are the same.
struct weight_options {
  int bits = 0;                           // 2 … 8, 16; 0: as the target device prefers, 8
  code_mode mode = code_mode::automatic;  // symmetric
  ptq::granularity scales = granularity::automatic;  // per output channel
  /// Symmetric codes end at -(2^(bits-1) - 1), so that every code has its negative; without, at
  /// -2^(bits-1), and the scale is taken for whichever side needs it.
  bool narrow_range = true;
  overflow_fix fix = overflow_fix::none;
};

struct quantize_options {
  quantize_mode mode = quantize_mode::integer;
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
  effort_options effort = {};
  restored_scope restored = {};
  /// Values of the float graph that take 16-bit codes, whatever activations.bits says, and all that
  /// share a scale with them.
  std::set<std::string> wide_values = {};
  /// Results of layers that keep their real numbers for the function that alone reads them; it then runs in float, or
  /// in the layer's store.
  std::set<std::string> real_sums = {};
  int threads = 1;  // of the float inferences
  progress report = {};
};

}  // namespace ptq
