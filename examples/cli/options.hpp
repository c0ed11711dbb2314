#pragma once
// SPDX-License-Identifier: Apache-2.0
// What each subcommand was asked to do: plain strings and numbers, filled by arguments.cpp, read by
// the commands. Neither side includes the other's heavy headers.

#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <vector>

namespace cli {

/// How raw samples become inputs: the same options for every subcommand that reads samples.
struct sample_arguments {
  std::int64_t resize = 0, crop = 0;
  std::string channels = "rgb", layout = "nchw";
  float scale = 1;
  std::vector<float> mean = {}, std = {};
  std::int64_t label_offset = 0;
  std::string record_dtype = {};
  std::vector<std::int64_t> record_shape = {};
  std::int64_t record_label_bytes = 0;
  std::int64_t subset_size = 0;  // 0: all
  bool shuffle = false;
  std::uint64_t seed = 0;
};

struct common_arguments {
  int threads = 1;
  std::string json;    // file, "-" for standard output, "" for none
  bool quiet = false;  // no progress
};

struct quantize_arguments : common_arguments {
  std::string model, out;
  std::vector<std::string> data, validation;
  std::string labels;
  sample_arguments samples{.subset_size = 300};
  std::string mode = "int8";
  std::string preset, target = "any";
  // Empty where the user left the choice to the effort.
  std::string estimator, correction, effort = "balanced";
  bool tune = false;
  std::int64_t cache_mb = 512;
  int weight_bits = 0, activation_bits = 0;  // 0: the device's
  std::string overflow_fix = "none", activation_mode = "automatic", signedness = "automatic";
  std::string weight_mode = "symmetric", weight_scales = "per_channel";
  bool weight_full_range = false;
  std::vector<std::string> range_min, range_max;  // statistic and aggregator, or none
  double percentile_tail = 1e-4, outlier_prob = 1e-4;
  double clipping_value = std::numeric_limits<double>::infinity();
  std::string calibration, save_calibration;
  std::int64_t checkpoint_every = 50;
  std::vector<std::string> ignored_names, ignored_patterns, ignored_types;
  std::vector<std::string> ignored_subgraphs;  // A,B=>C,D
  std::string model_type;
  bool quantize_outputs = false, data_free = false, round_before_functions = false;
  std::string config;           // a file of options; what the command line gives counts more
  std::set<std::string> given;  // options of the command line
  std::int64_t report_samples = 32;
  int latency_repeats = 20;
  bool brief = false;
  // Accuracy control; a bound or a limit of time turns it on.
  std::vector<double> max_drops;  // one for all metrics, or one each
  std::vector<std::string> metrics{"top1"};
  std::string drop_type = "absolute", restore = "activations_and_weights";
  bool no_tune = false;
  std::string front;     // folder
  int front_points = 8;
  std::int64_t ranking_subset_size = 32;
  int max_iterations = 12;
  double max_latency = 0, min_speedup = 0, max_float_macs = 100, max_wide_macs = 0;
  bool annotation_free = false;
  std::string costs, journal;
  bool by_class() const {  // every metric's label is one class
    for (const auto& m : metrics)
      if (m != "top1" && m != "top5") return false;
    return true;
  }
  bool controlled() const { return !max_drops.empty() || max_latency > 0 || min_speedup > 0; }
};

struct evaluate_arguments : common_arguments {
  std::string model, labels;
  std::vector<std::string> data;
  sample_arguments samples;
};

struct compare_arguments : common_arguments {
  std::string reference, other;
  bool attribute = false;
  std::vector<std::string> data;
  sample_arguments samples;
};

struct run_arguments : common_arguments {
  std::string model;
  std::vector<std::string> inputs, outputs;
};

struct benchmark_arguments : common_arguments {
  std::string model;
  std::vector<std::string> dims;  // NAME=V
  int repeats = 20, warm_up = 3;
  std::uint64_t seed = 0;
  bool per_layer = false;
  std::string against;  // the float model, whose steps are timed beside
  std::string trace;    // Chrome trace to write
};

struct prepare_arguments : common_arguments {
  std::string model, out;
  std::vector<std::string> dims;
};

struct inspect_arguments : common_arguments {
  std::string model;
  std::vector<std::string> dims;
  bool cpu = false, addresses = false;
};

struct calibration_arguments : common_arguments {
  std::vector<std::string> files;
  std::string out;                        // of merge
  std::string estimator = "mean_minmax";  // whose ranges diff compares
};

// Each throws ptq::error where the model, the data or a file is at fault.
/// The exit code: 3 where accuracy control could not meet its bound.
int quantize(const quantize_arguments& a);
void evaluate(const evaluate_arguments& a);
void compare(const compare_arguments& a);
void run(const run_arguments& a);
void benchmark(const benchmark_arguments& a);
void prepare(const prepare_arguments& a);
void inspect(const inspect_arguments& a);
void calibration_merge(const calibration_arguments& a);
void calibration_diff(const calibration_arguments& a);
void calibration_show(const calibration_arguments& a);

}  // namespace cli
