// SPDX-License-Identifier: Apache-2.0
// Quantizing with a file of calibration evidence.
#pragma once

#include <ptq/quantize.hpp>

#include "options.hpp"

namespace cli {

/// Takes the evidence from a.calibration, or gathers it into a.save_calibration, going on with what
/// is there.
ptq::quantize_result quantized_with_file(const ptq::graph& network, const ptq::samples& data,
                                         const ptq::quantize_options& options,
                                         const quantize_arguments& a);

}  // namespace cli
