#pragma once
// SPDX-License-Identifier: Apache-2.0
// Convolutions: in integers where input, weights and bias are codes that the kernels take, in float otherwise with the
// reason. A residual add behind an integer convolution becomes part of its epilogue.

#include <optional>
#include <string>
#include <vector>

#include <ptq/graph/infer.hpp>
#include <ptq/lower/emit/weighted.hpp>
#include <ptq/lower/emitter.hpp>

namespace ptq::lowering {

/// Weights [o, i, k…] → [o, k…, i], whatever the element type.
template <class = void>
tensor channels_last_weights(const tensor& w) {
  const int rank = w.dims().rank();
  order o{0};
  for (int i = 2; i < rank; ++i) o.push_back(i);
  o.push_back(1);
  tensor out(w.type(), physical(w.dims(), o));
  const auto args =
      copy_between(w.dims(), strides_in(w.dims(), plain_order(rank)), strides_in(w.dims(), o),
                   static_cast<int>(size_of(w.type())));
  const auto k = kernels::reference_kernels().copy(args);
  k.run(k.object.get(), {.src = {w.data()}, .dst = out.mutable_data()}, nullptr, {0, k.units});
  return out;
}

/// The window of a convolution, transposed convolution or pooling with every default and auto_pad worked out.
template <class = void>
op::window resolved_window(const graph& g, const node& n) {
  const auto spatial = [](const shape& s) {
    return shape(std::vector<std::int64_t>(s.dims.begin() + 2, s.dims.end()));
  };
  const shape input = spatial(g[n.inputs[0]].dims);
  if (const auto* c = std::get_if<op::conv>(&n.what))
    return resolved(c->win, input, spatial(g[n.inputs[1]].dims));
  if (const auto* t = std::get_if<op::conv_transpose>(&n.what))
    return resolved(*t, input, spatial(g[n.inputs[1]].dims)).win;
  const auto& win = std::get<op::pool>(n.what).win;
  return resolved(win, input, shape(win.kernel));
}

/// Geometry over n h w c of a 1- or 2-D window.
template <class = void>
kernels::conv_geometry geometry_of(const std::string& who, const shape& x, const shape& y,
                                   const op::window& win) {
  const int spatial = x.rank() - 2;
  if (spatial != 1 && spatial != 2)
    throw unsupported("lower: " + who + ": " + std::to_string(spatial) +
                      " spatial dimensions, expected 1 or 2");
  const auto at = [&](const op::ints& v, int i) { return v[static_cast<std::size_t>(i)]; };
  kernels::conv_geometry g;
  g.batch = x[0];
  g.in_c = x[1];
  g.out_c = y[1];
  const int w = spatial - 1;
  g.in_w = x[2 + w];
  g.out_w = y[2 + w];
  g.kernel_w = at(win.kernel, w);
  g.stride_w = at(win.strides, w);
  g.dilation_w = at(win.dilations, w);
  g.pad_left = at(win.pads, w);
  if (spatial == 2) {
    g.in_h = x[2];
    g.out_h = y[2];
    g.kernel_h = at(win.kernel, 0);
    g.stride_h = at(win.strides, 0);
    g.dilation_h = at(win.dilations, 0);
    g.pad_top = at(win.pads, 0);
  }
  return g;
}

template <class = void>
void emit_float_conv(emitter& e, const node& n, kernels::conv_geometry geo, const clamp& act) {
  const auto x = n.inputs[0], y = n.outputs[0];
  const int rank = e.dims(x).rank();
  const int src = e.real(x, channels_last(rank));
  const int dst = e.create_real(y, channels_last(rank));
  const auto bias_id = n.inputs.size() > 2 ? n.inputs[2] : none;
  const bool fixed = e.constant(n.inputs[1]) && (bias_id == none || e.constant(bias_id));
  const auto macs = weighted_macs(geo);
  if (fixed) {
    const tensor w = channels_last_weights(e.real_constant(n.inputs[1]));
    const tensor b = bias_id == none ? tensor() : e.real_constant(bias_id);
    const kernels::conv_args args{.geometry = geo,
                                  .weights = w.view<float>().data(),
                                  .bias = b.empty() ? nullptr : b.view<float>().data(),
                                  .act = act};
    const auto fast = {&kernels::kernel_table::winograd_conv, &kernels::kernel_table::fast_conv};
    e.emit(n, prepare_float(e, fast, &kernels::kernel_table::conv, args), {src}, dst).macs = macs;
  } else {
    // Weights that another node computes: packed anew in each run. Rare, so kept simple.
    const int weights = e.real_plain(n.inputs[1]);
    std::vector<int> operands{src, weights};
    if (bias_id != none) operands.push_back(e.real_plain(bias_id));
    e.emit(n, e.plain(computed_conv{geo, act, bias_id != none}), operands, dst)
        .macs = macs;
  }
  e.produced(y, dst);
}

template <class = void>
void emit_conv(emitter& e, const node& n, const op::conv& c, absorbed_nodes& absorbed) {
  e.require_reals(n);
  const auto x = n.inputs[0], y = n.outputs[0];
  const auto win = resolved_window(e.network(), n);
  auto geo = geometry_of(label(n), e.dims(x), e.dims(y), win);
  geo.groups = c.groups;
  const int rank = e.dims(x).rank();
  weighted_call call{.input = x,
                     .weights = n.inputs[1],
                     .bias = n.inputs.size() > 2 ? n.inputs[2] : none,
                     .output = y,
                     .act = c.act,
                     .geometry = geo,
                     .memory = channels_last(rank),
                     .channel_axis = 0};
  std::string why = integer_refusal(e, call);
  if (why.empty()) {
    const tensor weights = channels_last_weights(*centred_weights(e, n.inputs[1]));
    why = accumulator_refusal(e, call, weights);
    if (why.empty()) return emit_integer(e, n, call, weights, absorbed);
  }
  const bool meant = e.at(n.inputs[1]).quant || e.has_codes(x);
  emit_float_conv(e, explained(e, n, why, meant), geo, c.act);
}

template <class = void>
void emit_conv_transpose(emitter& e, const node& n, const op::conv_transpose& c) {
  e.require_reals(n);
  const auto x = n.inputs[0], y = n.outputs[0];
  const auto win = resolved_window(e.network(), n);
  auto geo = geometry_of(label(n), e.dims(x), e.dims(y), win);
  geo.groups = c.groups;
  const int rank = e.dims(x).rank();
  if (!e.constant(n.inputs[1]))
    throw unsupported("lower: " + label(n) + ": weights: expected a constant, got '" +
                      e.at(n.inputs[1]).name + "'");
  // [c, o/groups, k…] → [c, k…, o/groups]
  const tensor w = channels_last_weights(e.real_constant(n.inputs[1]));
  const auto bias_id = n.inputs.size() > 2 ? n.inputs[2] : none;
  const tensor b = bias_id == none ? tensor(dtype::f32, {geo.out_c}) : e.real_constant(bias_id);
  const int src = e.real(x, channels_last(rank));
  const int dst = e.create_real(y, channels_last(rank));
  e.emit(n, e.plain(transposed_conv{geo, w, b, c.act}), {src}, dst).macs =
      geo.batch * geo.in_h * geo.in_w * geo.in_c * geo.kernel_h * geo.kernel_w * geo.group_out();
  e.produced(y, dst);
}

}  // namespace ptq::lowering
