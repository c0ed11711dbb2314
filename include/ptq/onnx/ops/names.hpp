#pragma once
// SPDX-License-Identifier: Apache-2.0
// ONNX's names of the elementwise and reducing operators, in both directions: read by import and
// export.

#include <string_view>

#include <ptq/core/kinds.hpp>

namespace ptq::onnx {

/// An elementwise function of one input; `alpha` and `beta` name the attributes that hold unary's
/// alpha and beta.
struct unary_name {
  std::string_view op_type;
  unary_kind kind;
  std::string_view alpha = {};
  float alpha_default = 0.0f;
  std::string_view beta = {};
  float beta_default = 0.0f;
  int since = 13;  // lowest opset that export may write it to, at least 13
};

inline constexpr unary_name unary_names[] = {
    {"Relu", unary_kind::relu},
    {"LeakyRelu", unary_kind::leaky_relu, "alpha", 0.01f},
    {"ThresholdedRelu", unary_kind::thresholded_relu, "alpha", 1.0f},
    {"Sigmoid", unary_kind::sigmoid},
    {"HardSigmoid", unary_kind::hard_sigmoid, "alpha", 0.2f, "beta", 0.5f},
    {"HardSwish", unary_kind::hard_swish, {}, 0.0f, {}, 0.0f, 14},
    {"Mish", unary_kind::mish, {}, 0.0f, {}, 0.0f, 18},
    {"Tanh", unary_kind::tanh},
    {"Elu", unary_kind::elu, "alpha", 1.0f},
    // The defaults of Selu are those of its paper, as ONNX's schema spells them.
    {"Selu", unary_kind::selu, "alpha", 1.67326319217681884765625f, "gamma",
     1.05070102214813232421875f},
    {"Celu", unary_kind::celu, "alpha", 1.0f},
    {"Softplus", unary_kind::softplus},
    {"Softsign", unary_kind::softsign},
    {"Erf", unary_kind::erf},
    {"Exp", unary_kind::exp},
    {"Log", unary_kind::log},
    {"Sqrt", unary_kind::sqrt},
    {"Reciprocal", unary_kind::reciprocal},
    {"Neg", unary_kind::neg},
    {"Abs", unary_kind::abs},
    {"Floor", unary_kind::floor},
    {"Ceil", unary_kind::ceil},
    {"Round", unary_kind::round},
    {"Sign", unary_kind::sign},
    {"Sin", unary_kind::sin},
    {"Cos", unary_kind::cos},
    {"Not", unary_kind::logical_not},
    {"IsNaN", unary_kind::is_nan},
};

struct binary_name {
  std::string_view op_type;
  binary_kind kind;
  bool predicate = false;  // the result is bool
};

/// Two inputs exactly; Min, Max, Sum and Mean take any number and are read elsewhere, as is Mod.
inline constexpr binary_name binary_names[] = {
    {"Add", binary_kind::add},
    {"Sub", binary_kind::sub},
    {"Mul", binary_kind::mul},
    {"Div", binary_kind::div},
    {"Pow", binary_kind::pow},
    {"PRelu", binary_kind::prelu},
    {"Equal", binary_kind::equal, true},
    {"Greater", binary_kind::greater, true},
    {"GreaterOrEqual", binary_kind::greater_equal, true},
    {"Less", binary_kind::less, true},
    {"LessOrEqual", binary_kind::less_equal, true},
    {"And", binary_kind::logical_and, true},
    {"Or", binary_kind::logical_or, true},
    {"Xor", binary_kind::logical_xor, true},
};

struct reduce_name {
  std::string_view op_type;
  reduce_kind kind;
};

inline constexpr reduce_name reduce_names[] = {
    {"ReduceMean", reduce_kind::mean},
    {"ReduceSum", reduce_kind::sum},
    {"ReduceMax", reduce_kind::max},
    {"ReduceMin", reduce_kind::min},
    {"ReduceProd", reduce_kind::prod},
    {"ReduceL1", reduce_kind::l1},
    {"ReduceL2", reduce_kind::l2},
    {"ReduceLogSum", reduce_kind::log_sum},
    {"ReduceLogSumExp", reduce_kind::log_sum_exp},
    {"ReduceSumSquare", reduce_kind::sum_square},
};

}  // namespace ptq::onnx
