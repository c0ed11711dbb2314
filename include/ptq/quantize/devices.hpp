#pragma once
// SPDX-License-Identifier: Apache-2.0
// Options → the codes that weights take, and an error with values where no kernel can run them.

#include <string>

#include <ptq/core/error.hpp>
#include <ptq/quantize/params.hpp>
#include <ptq/quantize/scheme.hpp>

namespace ptq::quantization {

/// The codes of weights that the options ask for.
///
/// throws  error for widths that no kernel runs exactly
inline weight_grid weight_grid_of(const quantize_options& options) {
  const auto& w = options.weights;
  if (w.bits < 2 || w.bits > 8)
    throw error("quantize: weights: bits: expected 2 to 8, got " + std::to_string(w.bits));
  const bool symmetric = w.mode != code_mode::asymmetric;
  // The kernels multiply codes less zero points, which must fit 8 bits.
  if (!symmetric && w.bits == 8)
    throw error("quantize: weights: asymmetric: expected 2 to 7 bits, got 8");
  return {.bits = w.bits,
          .symmetric = symmetric,
          .narrow = w.narrow_range,
          .per_channel = w.scales != granularity::per_tensor};
}

}  // namespace ptq::quantization
