#pragma once
// SPDX-License-Identifier: Apache-2.0
// What a report holds: plain facts, in the order in which they are told. Whatever was not measured
// is absent; text.hpp and json.hpp leave it out.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ptq/core/version.hpp>
#include <ptq/quantize/effort.hpp>

namespace ptq {

/// How far a value of the quantized program is from the float program's.
struct report_error {
  double sqnr_db = 0;  // infinite where both are equal
  double cosine = 1;
};

/// One step of the quantized program.
struct report_layer {
  std::string name;      // of the graph's node
  std::string what;      // operator, "+Add" where another is fused
  std::string value;     // that it makes
  std::string kernel;    // the algorithm that runs it
  bool integer = false;  // computes on codes
  std::int64_t macs = 0;
  std::string note = {};  // why it stays in float
  std::optional<report_error> error = {};
};

struct report_output {
  std::string name;
  report_error error;
};

/// Pairs of neighbouring weights of a layer, and how many of them would saturate the 16-bit pair add
/// of x86 without VNNI. The kernels of this library are exact for all; other runtimes may not be.
struct report_overflow {
  std::string layer;
  std::int64_t pairs = 0, saturating = 0;
};

/// In percent of n labelled samples.
struct report_accuracy {
  std::int64_t n = 0;
  double top1 = 0, top5 = 0;
};

/// Wall time of one inference.
struct report_latency {
  double min_ms = 0, median_ms = 0;
  int repeats = 0, threads = 1;
  std::string isa = {};
};

/// A figure of the float model, and of the quantized one.
template <class T>
struct before_after {
  T before, after;
};

struct report {
  std::string model = {};
  std::string library = version;
  std::vector<std::pair<std::string, std::string>> settings = {};
  std::string isa = {};
  std::int64_t samples = 0;                                    // that calibration read
  std::int64_t held_back = 0;  // of the calibration samples, so many judged the steps of recovery
  std::vector<recovery_step> recovery = {};
  std::optional<before_after<std::uint64_t>> bytes = {};       // of the files
  std::optional<before_after<report_accuracy>> accuracy = {};  // on the same samples
  std::optional<before_after<report_latency>> latency = {};
  std::int64_t compared = 0;  // samples that agreement and errors come from; 0: none
  double agreement = 0;       // percent with the same top class
  std::vector<report_output> outputs = {};
  std::vector<report_layer> layers = {};       // in the order of execution
  std::vector<report_overflow> overflow = {};  // of the layers with int8 weights
  std::vector<std::string> notes = {};         // on the program as a whole
  std::uint64_t activation_bytes = 0;          // at most at once, but for inputs and outputs
  std::uint64_t scratch_bytes = 0;             // for each thread besides

  std::int64_t macs() const {
    std::int64_t sum = 0;
    for (const auto& l : layers) sum += l.macs;
    return sum;
  }
  std::int64_t integer_macs() const {
    std::int64_t sum = 0;
    for (const auto& l : layers) sum += l.integer ? l.macs : 0;
    return sum;
  }
  /// Share of the multiply-accumulates that run on codes, in percent; 0 where there are none.
  double integer_share() const {
    return macs() == 0 ? 0.0
                       : 100.0 * static_cast<double>(integer_macs()) / static_cast<double>(macs());
  }
};

}  // namespace ptq
