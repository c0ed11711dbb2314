#pragma once
// SPDX-License-Identifier: Apache-2.0
// How much is done to keep a network's accuracy, and what each step of it bought.

#include <cstdint>
#include <string>
#include <vector>

namespace ptq {

enum class effort : std::uint8_t {
  fast,      // what was chosen, as it was chosen
  balanced,  // also attention normalised behind its products, equalisation, SmoothQuant, other ranges and
             // presets, functions of a layer's sums before these are rounded, sequential bias correction,
             // the rounding of small convolutions' weights for what arrives there, on request a few layers
             // in float or with 16-bit inputs: each step is kept only where it lowers the error on
             // samples held back
  best       // also the rounding of all weights, for what arrives at the layers and what float makes of it
};

constexpr const char* name_of(effort e) {
  switch (e) {
    case effort::fast:
      return "fast";
    case effort::balanced:
      return "balanced";
    case effort::best:
      return "best";
  }
  return "?";
}

struct effort_options {
  effort level = effort::fast;
  /// What the user chose and no step may change.
  bool fixed_preset = false, fixed_estimator = false, fixed_correction = false;
  /// A convolution's result is rounded before the function behind it, always. Without, where the outputs' SQNR is below
  /// enough_db, LeakyRelu and HardSwish may read it as it is: runtimes that fuse Q/DQ with the convolution alone (ONNX
  /// Runtime) then run it in float, those that take the function along do not.
  bool fixed_placement = false;
  /// With `fast` too, presets and range estimators are tried on samples held back (NNCF's
  /// tune_hyperparams, which it has for accuracy control alone).
  bool tune = false;
  /// Where the outputs' SQNR is below enough_db, layers may stay in float, with this share of the
  /// multiply-accumulates at most. 0, the default, is none: a few depthwise layers in float make a
  /// small network slower (mobilenet_v1_0.25: 0.57 ms, 0.44 all in integers). Of the targets npu and gna
  /// all stay in integers.
  double float_macs = 0, enough_db = 25;
  /// There, too, the costliest inputs of layers may take 16-bit codes, their weights 8 bits still: with
  /// this share of the multiply-accumulates in 16-bit products at most. 0, the default, is none.
  double wide_macs = 0;
  std::int64_t cache_mb = 512;  // memory for samples and activations; a temporary file beyond
};

/// One thing that was tried.
struct recovery_step {
  std::string what;
  double before_db = 0, after_db = 0;  // SQNR of the outputs on the samples held back
  bool kept = false;
  std::vector<std::string> layers = {};  // that it changed, where they are few of many
  std::string note = {};  // why it could not be tried
};

struct recovery_report {
  std::int64_t held_back = 0, samples = 0;  // of the samples read, so many judged and calibrated
  std::vector<recovery_step> steps;
};

}  // namespace ptq
