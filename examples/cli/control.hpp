#pragma once
// SPDX-License-Identifier: Apache-2.0
// Accuracy control for `ptq quantize`; defined in control.cpp.

#include <string>

#include <nlohmann/json.hpp>

#include <ptq/quantize.hpp>

#include "support.hpp"

namespace cli {

struct controlled_result {
  ptq::quantize_result made;
  bool met = false;
  std::string text;
  nlohmann::json json;
};
controlled_result controlled(const ptq::graph& network, const ptq::samples& calibration,
                             const ptq::quantize_options& options, const quantize_arguments& a);

/// Layers that this machine computes faster in float, measured.
struct kept_float {
  ptq::restored_scope scope;
  std::string note;  // for the model's metadata
  std::string text;
  nlohmann::json json;
};
kept_float faster_in_float(const ptq::graph& network, const ptq::samples& calibration,
                           const ptq::quantize_options& options);

}  // namespace cli
