#pragma once
// SPDX-License-Identifier: Apache-2.0
// Kinds of elementwise, pooling and reducing functions: the words that graphs and kernels share.

#include <cstdint>
#include <limits>

namespace ptq {

/// Bounds applied to a result; the only activation that is part of another node (a clamp costs nothing in integers).
/// Relu is {0, inf}, Relu6 {0, 6}.
struct clamp {
  float low = -std::numeric_limits<float>::infinity();
  float high = std::numeric_limits<float>::infinity();
  bool active() const {
    return low != -std::numeric_limits<float>::infinity() ||
           high != std::numeric_limits<float>::infinity();
  }
  bool operator==(const clamp&) const = default;
};

enum class unary_kind : std::uint8_t {
  relu, clip,          // clip: alpha = low, beta = high; import folds constant min/max inputs into it
  leaky_relu,          // alpha
  thresholded_relu,    // alpha
  sigmoid, hard_sigmoid,  // hard: max(0, min(1, alpha·x + beta))
  hard_swish, silu, mish, gelu, gelu_tanh, tanh,
  elu, selu, celu,     // alpha (selu: gamma in beta)
  softplus, softsign, erf, exp, log, sqrt, reciprocal, neg, abs, floor, ceil, round, sign,
  sin, cos, logical_not, is_nan
};

enum class binary_kind : std::uint8_t {
  add, sub, mul, div, pow, min, max, mod, fmod, prelu,
  equal, greater, greater_equal, less, less_equal,  // → bool
  logical_and, logical_or, logical_xor              // bool → bool
};

enum class pool_kind : std::uint8_t { max, average, lp };

enum class reduce_kind : std::uint8_t { mean, sum, max, min, prod, l1, l2, log_sum, log_sum_exp, sum_square };

}  // namespace ptq
