#pragma once
// SPDX-License-Identifier: Apache-2.0
// How real numbers map to codes: real = scale · (code − zero_point), for the whole tensor or per index of one axis.

#include <cstdint>
#include <vector>

#include <ptq/core/dtype.hpp>

namespace ptq {

/// Parameters of an affine code. scale and zero_point have one element, or one per index of `axis`.
struct qparams {
  dtype type = dtype::u8;                // u8 … s16 or FP8 for values and weights, s32 for biases
  std::vector<float> scale = {1.0f};     // real units per step, > 0, finite
  std::vector<std::int32_t> zero_point = {0};
  int axis = -1;                         // -1: one scale for the tensor

  bool per_channel() const { return axis >= 0; }
  bool operator==(const qparams&) const = default;
};

}  // namespace ptq
