#pragma once
// SPDX-License-Identifier: Apache-2.0
// What convolutions and matrix products with constant weights share: when they may run in integers, and the
// requantization multipliers.

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <ptq/lower/emit/absorbed.hpp>
#include <ptq/lower/emitter.hpp>

namespace ptq::lowering {

/// A convolution, or a matrix product written as one.
struct weighted_call {
  value_id input = none, weights = none, bias = none, output = none;
  clamp act;
  kernels::conv_geometry geometry;
  order memory;          // of input and output
  int channel_axis = 0;  // of the weights' qparams
};

template <class = void>
std::int64_t weighted_macs(const kernels::conv_geometry& g) {
  return g.batch * g.out_h * g.out_w * g.out_c * g.kernel_h * g.kernel_w * g.group_in();
}

/// The float kernel: the first of `fast` that takes the arguments in float programs, the exact one beside
/// integers.
template <class Args>
made prepare_float(const emitter& e, std::initializer_list<entry_field<Args>> fast, entry_field<Args> exact,
                   const Args& args) {
  if (!e.integers())
    for (const auto field : fast)
      if (auto m = e.prepare_fast(field, args)) return *std::move(m);
  return e.prepare(exact, args);
}

/// Codes of constant weights less their zero points: what the kernels multiply. s8 where all fit 8
/// bits, s16 otherwise; nothing where one needs more.
template <class = void>
std::optional<tensor> centred_weights(const emitter& e, value_id weights) {
  const auto& q = *e.at(weights).quant;
  const tensor& codes = *e.constant(weights);
  const bool centred = std::all_of(q.zero_point.begin(), q.zero_point.end(), [](auto z) { return z == 0; });
  if (centred && codes.type() == dtype::s8) return codes;
  // Codes in a row share a zero point.
  std::size_t run = q.per_channel() ? 1 : static_cast<std::size_t>(codes.size());
  for (int a = codes.dims().rank() - 1; a > q.axis && q.per_channel(); --a)
    run *= static_cast<std::size_t>(codes.dims()[a]);
  tensor wide(dtype::s16, codes.dims()), narrow(dtype::s8, codes.dims());
  auto to = wide.mutable_view<std::int16_t>();
  auto small = narrow.mutable_view<std::int8_t>();
  std::int32_t low = 0, high = 0;
  const auto fill = [&](auto from) {
    for (std::size_t first = 0, channel = 0; first < from.size(); first += run, ++channel) {
      const std::int32_t zero = q.zero_point[q.per_channel() ? channel % q.zero_point.size() : 0];
      for (std::size_t i = first; i < first + run; ++i) {
        const std::int32_t w = from[i] - zero;
        low = std::min(low, w);
        high = std::max(high, w);
        to[i] = static_cast<std::int16_t>(w);
        small[i] = static_cast<std::int8_t>(w);
      }
    }
  };
  if (codes.type() == dtype::s8)
    fill(codes.view<std::int8_t>());
  else if (codes.type() == dtype::s16)
    fill(codes.view<std::int16_t>());
  else
    return std::nullopt;
  if (low < lowest_code(dtype::s16) || high > highest_code(dtype::s16)) return std::nullopt;
  return low < -128 || high > 127 ? wide : narrow;
}

/// Why this call can't run in integers; empty if it can.
template <class = void>
std::string integer_refusal(const emitter& e, const weighted_call& call) {
  const auto& x = e.at(call.input);
  const auto& w = e.at(call.weights);
  if ((x.quant && is_float8(x.quant->type)) || (w.quant && is_float8(w.quant->type)))
    return simulated_note;
  if (!takes_codes(x.quant) && !takes_wide_codes(x.quant))
    return x.quant ? "its input's codes are not 8 or 16 bits per tensor" : "its input is not quantized";
  if (!w.constant) return "its weights are not constant";
  if (!w.quant) return "its weights are not quantized";
  if (w.constant->type() != dtype::s8 && w.constant->type() != dtype::s16)
    return std::string("its weights are ") + name_of(w.constant->type()) + ", not s8 or s16";
  if (w.quant->per_channel() && w.quant->axis != call.channel_axis)
    return "its weights' scales lie along axis " + std::to_string(w.quant->axis);
  if (!centred_weights(e, call.weights))
    return "its weights less their zero points need more than 16 bits";
  if (e.at(call.output).quant && !e.has_codes(call.output) && !e.has_wide_codes(call.output))
    return "its output's codes are not 8 or 16 bits per tensor";
  const auto channels = static_cast<std::size_t>(call.geometry.out_c);
  if (w.quant->scale.size() != 1 && w.quant->scale.size() != channels) return "its weights' scales don't match its channels";
  if (call.bias == none) return "";
  const auto& b = e.at(call.bias);
  if (!b.constant) return "its bias is not constant";
  if (!b.quant || b.constant->type() != dtype::s32) return "its bias is not quantized to 32 bits";
  if (b.constant->size() != call.geometry.out_c) return "its bias does not have one element per channel";
  const float sx = code_of(*x.quant).scale;
  for (std::size_t c = 0; c < channels; ++c) {
    const float want = sx * w.quant->scale[w.quant->scale.size() == 1 ? 0 : c];
    const float have = b.quant->scale[b.quant->scale.size() == 1 ? 0 : c];
    if (std::abs(have - want) > 1e-6f * want)
      return "its bias has scale " + std::to_string(have) + ", the product of input and weight scale is " + std::to_string(want);
  }
  for (auto z : b.quant->zero_point)
    if (z != 0) return "its bias has zero point " + std::to_string(z);
  return "";
}

/// Whether codes or weights of this call are more than 8 bits.
template <class = void>
bool runs_wide(const emitter& e, const weighted_call& call, const tensor& weights) {
  return !e.has_codes(call.input) || weights.type() != dtype::s8 ||
         (e.at(call.output).quant && !e.has_codes(call.output));
}

/// |bias| + Σ|w| · max|x − z| < 2^31 in every channel; weights are [out_c, taps].
template <class = void>
bool accumulator_fits(const tensor& weights, const tensor* bias, std::int64_t channels,
                      std::int32_t x_zero_point) {
  const auto w = weights.view<std::int8_t>();
  const auto taps = w.size() / static_cast<std::size_t>(channels);
  const std::int64_t reach = std::max(x_zero_point, 255 - x_zero_point);
  for (std::size_t c = 0; c < static_cast<std::size_t>(channels); ++c) {
    std::int64_t sum = 0;
    for (std::size_t i = 0; i < taps; ++i) sum += std::abs(static_cast<int>(w[c * taps + i]));
    const std::int64_t b = bias ? std::abs(static_cast<std::int64_t>(bias->view<std::int32_t>()[c])) : 0;
    if (b + sum * reach >= (std::int64_t{1} << 31)) return false;
  }
  return true;
}

/// Why the accumulator of this call is too narrow; empty if it is wide enough.
template <class = void>
std::string accumulator_refusal(const emitter& e, const weighted_call& call,
                                const tensor& weights) {
  if (runs_wide(e, call, weights)) return "";  // 2^53 is out of reach: 2^22 products of 16 bits
  const tensor* bias = call.bias == none ? nullptr : e.constant(call.bias);
  return accumulator_fits(weights, bias, call.geometry.out_c, e.codes_of(call.input).zero_point)
             ? ""
             : "its accumulator could exceed 32 bits";
}

/// The node with the reason why it runs in float, where the caller meant it to run in integers.
template <class = void>
node explained(const emitter& e, const node& n, const std::string& why, bool meant) {
  node copy = n;
  if (e.integers() && meant && copy.note.empty()) copy.note = why;
  return copy;
}

/// Emits the step of `call` with sums of 64 bits; weights [out_c, kernel_h, kernel_w, in_c / groups],
/// s8 or s16.
template <class = void>
void emit_wide(emitter& e, const node& n, const weighted_call& call, const tensor& weights) {
  const auto in = e.codes_of(call.input);
  const auto& wq = *e.at(call.weights).quant;
  const tensor* bias = call.bias == none ? nullptr : e.constant(call.bias);
  const bool to_codes = e.at(call.output).quant.has_value();
  const code out = to_codes ? e.codes_of(call.output) : code{};
  std::vector<std::int16_t> w;
  if (weights.type() == dtype::s8)
    w.assign(weights.view<std::int8_t>().begin(), weights.view<std::int8_t>().end());
  else
    w.assign(weights.view<std::int16_t>().begin(), weights.view<std::int16_t>().end());
  std::vector<double> multiplier;
  for (float s : wq.scale) {
    const double product = static_cast<double>(in.scale) * s;
    multiplier.push_back(to_codes ? product / out.scale : product);
  }
  kernels::wide_conv_args args{.geometry = call.geometry,
                               .weights = w.data(),
                               .bias = bias ? bias->view<std::int32_t>().data() : nullptr,
                               .x_type = in.type,
                               .x_zero_point = in.zero_point,
                               .multiplier = multiplier,
                               .y_type = to_codes ? out.type : dtype::f32,
                               .float_low = call.act.low,
                               .float_high = call.act.high,
                               .zero_point = out.zero_point};
  if (to_codes) std::tie(args.low, args.high) = code_bounds(call.act, out);
  const int src = e.codes(call.input, call.memory);
  const int dst = to_codes ? e.create_codes(call.output, call.memory)
                           : e.create_real(call.output, call.memory);
  e.emit(n, e.prepare(&kernels::kernel_table::wide_conv, args), {src}, dst, true).macs =
      weighted_macs(call.geometry);
  e.produced(call.output, dst);
}

/// Emits the integer step of `call`; weights [out_c, kernel_h, kernel_w, in_c / groups].
template <class = void>
void emit_integer(emitter& e, const node& n, const weighted_call& call, const tensor& weights,
                  absorbed_nodes& absorbed) {
  if (runs_wide(e, call, weights)) return emit_wide(e, n, call, weights);
  const auto in = e.codes_of(call.input);
  const auto& wq = *e.at(call.weights).quant;
  const auto channels = static_cast<std::size_t>(call.geometry.out_c);
  const tensor* bias = call.bias == none ? nullptr : e.constant(call.bias);

  const int src = e.codes(call.input, call.memory);
  kernels::qconv_args args{.geometry = call.geometry,
                           .weights = weights.view<std::int8_t>().data(),
                           .bias = bias ? bias->view<std::int32_t>().data() : nullptr,
                           .x_zero_point = in.zero_point,
                           .epilogue = {}};
  std::vector<float> multiplier(channels);
  const bool to_codes = e.has_codes(call.output);
  const code out = to_codes ? e.codes_of(call.output) : code{};
  for (std::size_t c = 0; c < channels; ++c) {
    const double product = static_cast<double>(in.scale) * wq.scale[wq.scale.size() == 1 ? 0 : c];
    multiplier[c] = static_cast<float>(to_codes ? product / out.scale : product);
  }
  auto& ep = args.epilogue;
  ep.multiplier = multiplier;
  std::vector<int> operands{src};
  std::int32_t next = -1;
  if (!to_codes) {
    const bool moderate = std::all_of(multiplier.begin(), multiplier.end(), [](float m) { return m < 0x1p64f; });
    const node* function = moderate && call.act == clamp{}
                               ? epilogue_function_of(e, call.output, absorbed, next, ep.function)
                               : nullptr;
    ep.to_float = !function;
    ep.float_low = call.act.low;
    ep.float_high = call.act.high;
    if (function) ep.zero_point = e.codes_of(function->outputs[0]).zero_point;
    const auto y = function ? function->outputs[0] : call.output;
    const int dst = function ? e.create_codes(y, call.memory) : e.create_real(y, call.memory);
    auto& s = e.emit(n, e.prepare(&kernels::kernel_table::qconv, args), operands, dst, true);
    s.macs = weighted_macs(call.geometry);
    if (function) {
      s.what += std::string("+") + op_name(function->what);
      absorbed.done.insert(next);
    }
    return e.produced(y, dst);
  }
  ep.zero_point = out.zero_point;
  std::tie(ep.low, ep.high) = code_bounds(call.act, out);

  int port = 0;
  const node* add = residual_add(e, call.output, absorbed, next, port);
  if (!add) {
    const int dst = e.create_codes(call.output, call.memory);
    e.emit(n, e.prepare(&kernels::kernel_table::qconv, args), operands, dst, true).macs =
        weighted_macs(call.geometry);
    return e.produced(call.output, dst);
  }
  const auto& what = std::get<op::binary>(add->what);
  const auto other = add->inputs[port == 0 ? 1 : 0];
  const code r = e.codes_of(other), y = e.codes_of(add->outputs[0]);
  ep.add = true;
  ep.residual_first = port == 1;
  ep.sum = port == 0 ? sum_of(what, out, r, y) : sum_of(what, r, out, y);
  operands.push_back(e.codes(other, call.memory));
  const int dst = e.create_codes(add->outputs[0], call.memory);
  auto& s = e.emit(n, e.prepare(&kernels::kernel_table::qconv, args), operands, dst, true);
  s.macs = weighted_macs(call.geometry);
  s.what += std::string("+") + op_name(add->what);
  absorbed.done.insert(next);
  e.produced(add->outputs[0], dst);
}

}  // namespace ptq::lowering
