#pragma once
// SPDX-License-Identifier: Apache-2.0
// Pooling, reductions, softmax and normalisation.

#include <string>
#include <vector>

#include <ptq/lower/emit/conv.hpp>
#include <ptq/lower/emit/elementwise.hpp>
#include <ptq/lower/emit/move.hpp>
#include <ptq/lower/emitter.hpp>

namespace ptq::lowering {

template <class = void>
void emit_pool(emitter& e, const node& n, const op::pool& p) {
  const auto x = n.inputs[0], y = n.outputs[0];
  if (n.outputs.size() > 1 && n.outputs[1] != none)
    throw unsupported("lower: " + label(n) + ": the indices output of a max pool");
  const int rank = e.dims(x).rank();
  op::window win = p.win;
  if (p.global) {
    const auto spatial = static_cast<std::size_t>(rank - 2);
    win.kernel.assign(e.dims(x).dims.begin() + 2, e.dims(x).dims.end());
    win.strides.assign(spatial, 1);
    win.dilations.assign(spatial, 1);
    win.pads.assign(spatial * 2, 0);
  } else {
    win = resolved_window(e.network(), n);
  }
  const auto geo = geometry_of(label(n), e.dims(x), e.dims(y), win);
  const auto pad_bottom = rank == 4 ? win.pads[2] : 0, pad_right = win.pads.back();
  const auto o = channels_last(rank);
  const bool average = p.kind == pool_kind::average;
  if (e.has_codes(x) && e.has_codes(y) && p.kind != pool_kind::lp &&
      (average || e.codes_of(x) == e.codes_of(y))) {
    const code cx = e.codes_of(x), cy = e.codes_of(y);
    const int src = e.codes(x, o), dst = e.create_codes(y, o);
    const kernels::qpool_args args{.average = average,
                                   .geometry = geo,
                                   .count_include_pad = p.count_include_pad,
                                   .pad_bottom = pad_bottom,
                                   .pad_right = pad_right,
                                   .x_zero_point = cx.zero_point,
                                   .zero_point = cy.zero_point,
                                   .multiplier = static_cast<double>(cx.scale) / cy.scale};
    e.emit(n, e.prepare(&kernels::kernel_table::qpool, args), {src}, dst, true);
    return e.produced(y, dst);
  }
  const int src = e.real(x, o), dst = e.create_real(y, o);
  if (e.at(x).type == dtype::u8 && p.kind == pool_kind::max) {
    kernels::qpool_args args;
    args.geometry = geo;
    args.pad_bottom = pad_bottom;
    args.pad_right = pad_right;
    e.emit(n, e.prepare(&kernels::kernel_table::qpool, args), {src}, dst);
    return e.produced(y, dst);
  }
  e.require_reals(n);
  const kernels::pool_args args{.kind = p.kind,
                                .geometry = geo,
                                .count_include_pad = p.count_include_pad,
                                .pad_bottom = pad_bottom,
                                .pad_right = pad_right,
                                .p = p.p};
  e.emit(n, e.prepare(&kernels::kernel_table::pool, args), {src}, dst);
  e.produced(y, dst);
}

/// Axes of a reduction, ascending.
template <class = void>
std::vector<int> reduced_axes(const emitter& e, const node& n, const op::reduce& r) {
  const int rank = e.dims(n.inputs[0]).rank();
  std::vector<int> axes;
  const auto id = n.inputs.size() > 1 ? n.inputs[1] : none;
  if (const auto* t = e.constant(id)) {
    for (auto a : t->view<std::int64_t>()) axes.push_back(normalized_axis(a, rank, "lower: " + label(n)));
  } else if (id != none) {
    throw unsupported("lower: " + label(n) + ": axes that are computed from data");
  }
  if (axes.empty() && !r.noop_with_empty_axes)
    for (int i = 0; i < rank; ++i) axes.push_back(i);
  std::sort(axes.begin(), axes.end());
  axes.erase(std::unique(axes.begin(), axes.end()), axes.end());
  return axes;
}

/// A reduction as [outer, size, inner] over some memory order whose kept axes ascend.
struct reduction {
  order memory;
  std::int64_t outer = 1, size = 1, inner = 1;
};
template <class = void>
reduction plan_reduction(const shape& dims, const order& preferred, const std::vector<int>& axes) {
  const auto reduced = [&](int a) { return std::find(axes.begin(), axes.end(), a) != axes.end(); };
  const auto fits = [&](const order& o) {
    int last = -1, changes = 0;
    bool previous = false;
    for (int a : o) {
      if (dims[a] == 1) continue;
      if (reduced(a) != previous) {
        previous = reduced(a);
        ++changes;
      }
      if (!reduced(a)) {
        if (a < last) return false;
        last = a;
      }
    }
    return changes <= 2;
  };
  reduction r;
  r.memory = preferred;
  if (!fits(preferred)) {
    r.memory = plain_order(dims.rank());
    if (!fits(r.memory))
      std::stable_partition(r.memory.begin(), r.memory.end(), [&](int a) { return !reduced(a); });
  }
  bool seen = false;
  for (int a : r.memory) {
    if (reduced(a)) {
      r.size *= dims[a];
      if (dims[a] != 1) seen = true;
    } else {
      (seen ? r.inner : r.outer) *= dims[a];
    }
  }
  return r;
}

template <class = void>
void emit_reduce(emitter& e, const node& n, const op::reduce& r) {
  const auto x = n.inputs[0], y = n.outputs[0];
  const auto axes = reduced_axes(e, n, r);
  const auto plan = plan_reduction(e.dims(x), e.order_of(x), axes);
  const auto out = plain_order(e.dims(y).rank());
  if (r.kind == reduce_kind::mean && e.has_codes(x) && e.has_codes(y) && plan.size > 0 &&
      plan.size < (1 << 22)) {
    kernels::conv_geometry geo;
    geo.batch = plan.outer;
    geo.in_w = geo.kernel_w = plan.size;
    geo.in_c = geo.out_c = plan.inner;
    const code cx = e.codes_of(x), cy = e.codes_of(y);
    const int src = e.codes(x, plan.memory), dst = e.create_codes(y, out);
    e.emit(n,
           e.prepare(&kernels::kernel_table::qpool,
                     {.average = true,
                      .geometry = geo,
                      .x_zero_point = cx.zero_point,
                      .zero_point = cy.zero_point,
                      .multiplier = static_cast<double>(cx.scale) / cy.scale}),
           {src}, dst, true);
    return e.produced(y, dst);
  }
  const int src = e.real(x, plan.memory), dst = e.create_real(y, out);
  if (e.at(x).type == dtype::f32)
    e.emit(n,
           e.prepare(&kernels::kernel_table::reduce,
                     {.kind = r.kind, .outer = plan.outer, .size = plan.size, .inner = plan.inner}),
           {src}, dst);
  else
    e.emit(n, e.plain(reduce_elements{e.at(x).type, r.kind, plan.outer, plan.size, plan.inner}), {src}, dst);
  e.produced(y, dst);
}

template <class = void>
void emit_softmax(emitter& e, const node& n, const op::softmax& s) {
  e.require_reals(n);
  const auto x = n.inputs[0], y = n.outputs[0];
  const int rank = e.dims(x).rank();
  const int axis = rank == 0 ? 0 : normalized_axis(s.axis, rank, "lower: " + label(n));
  const auto o = s.flattened ? plain_order(rank) : e.order_of(x);
  const int src = e.real(x, o), dst = e.create_real(y, o);
  kernels::softmax_args args{.log = s.log, .normalized = s.normalized};
  bool seen = false;
  for (int a : o) {
    const auto d = e.dims(x)[a];
    if (s.flattened ? a >= axis : a == axis) {
      args.size *= d;
      seen = true;
    } else {
      (seen ? args.inner : args.outer) *= d;
    }
  }
  e.emit(n, e.prepare(&kernels::kernel_table::softmax, args), {src}, dst);
  e.produced(y, dst);
}

/// y = x ∘ operand, into a slot of the same extents and order as x.
template <class = void>
int emit_affine(emitter& e, const node& n, binary_kind kind, int x, int operand,
                const shape& operand_dims) {
  const slot s = e.slot_at(x);
  const int dst = e.create(s.value, dtype::f32, s.dims, s.memory);
  const operand_view b{operand_dims, plain_order(operand_dims.rank())};
  const auto over = broadcast_over(s.dims, s.memory, e.operand(x), b);
  e.emit(n, e.prepare(&kernels::kernel_table::binary, {.kind = kind, .over = over, .act = {}}), {x, operand}, dst);
  return dst;
}

template <class = void>
void emit_layer_norm(emitter& e, const node& n, const op::layer_norm& l) {
  e.require_reals(n);
  const auto x = n.inputs[0], y = n.outputs[0];
  const int rank = e.dims(x).rank();
  const int axis = normalized_axis(l.axis, rank, "lower: " + label(n));
  kernels::layer_norm_args args{.epsilon = l.epsilon, .rms = l.rms};
  for (int i = 0; i < rank; ++i) (i < axis ? args.rows : args.size) *= e.dims(x)[i];
  const auto scale = n.inputs.size() > 1 ? n.inputs[1] : none;
  const auto bias = n.inputs.size() > 2 ? n.inputs[2] : none;
  const auto fits = [&](value_id id) {
    return id == none || (e.constant(id) && e.constant(id)->size() == args.size);
  };
  tensor s, b;
  const bool inside = fits(scale) && fits(bias);
  if (inside) {
    if (scale != none) s = e.real_constant(scale);
    if (bias != none) b = e.real_constant(bias);
    if (scale != none) args.scale = s.view<float>().data();
    if (bias != none) args.bias = b.view<float>().data();
  }
  const int src = e.real_plain(x);
  int dst = e.create_real(y, plain_order(rank));
  e.emit(n, e.prepare(&kernels::kernel_table::layer_norm, args), {src}, dst);
  if (!inside && scale != none)
    dst = emit_affine(e, n, binary_kind::mul, dst, e.real_plain(scale), e.dims(scale));
  if (!inside && bias != none)
    dst = emit_affine(e, n, binary_kind::add, dst, e.real_plain(bias), e.dims(bias));
  e.produced(y, dst);
}

/// [c] seen as [c, 1, …] so that it broadcasts over n c d….
template <class = void>
shape channel_shape(const shape& x) {
  shape s(std::vector<std::int64_t>(static_cast<std::size_t>(x.rank() - 1), 1));
  s[0] = x[1];
  return s;
}

template <class = void>
void emit_group_norm(emitter& e, const node& n, const op::group_norm& g) {
  e.require_reals(n);
  const auto x = n.inputs[0], y = n.outputs[0];
  const int rank = e.dims(x).rank();
  const auto groups = g.groups == 0 ? e.dims(x)[1] : g.groups;
  kernels::layer_norm_args args{.epsilon = g.epsilon};
  args.rows = e.dims(x)[0] * groups;
  args.size = args.rows ? e.dims(x).size() / args.rows : 0;
  const int src = e.real_plain(x);
  int dst = e.create_real(y, plain_order(rank));
  e.emit(n, e.prepare(&kernels::kernel_table::layer_norm, args), {src}, dst);
  dst = emit_affine(e, n, binary_kind::mul, dst, e.real_plain(n.inputs[1]), channel_shape(e.dims(x)));
  dst = emit_affine(e, n, binary_kind::add, dst, e.real_plain(n.inputs[2]), channel_shape(e.dims(x)));
  e.produced(y, dst);
}

/// y = x · a + b per channel, with a = scale / √(variance + ε) and b = bias − mean · a.
template <class = void>
void emit_batch_norm(emitter& e, const node& n, const op::batch_norm& b) {
  e.require_reals(n);
  const auto x = n.inputs[0], y = n.outputs[0];
  for (std::size_t i = 1; i < 5; ++i)
    if (!e.constant(n.inputs[i]))
      throw unsupported("lower: " + label(n) + ": '" + e.at(n.inputs[i]).name + "' is not constant");
  const auto c = e.dims(x)[1];
  tensor factor(dtype::f32, {c}), shift(dtype::f32, {c});
  const tensor scale = e.real_constant(n.inputs[1]), bias = e.real_constant(n.inputs[2]),
               mean = e.real_constant(n.inputs[3]), variance = e.real_constant(n.inputs[4]);
  auto f = factor.mutable_view<float>();
  auto s = shift.mutable_view<float>();
  for (std::size_t i = 0; i < f.size(); ++i) {
    const double a = scale.view<float>()[i] /
                     std::sqrt(static_cast<double>(variance.view<float>()[i]) + b.epsilon);
    f[i] = static_cast<float>(a);
    s[i] = static_cast<float>(bias.view<float>()[i] - mean.view<float>()[i] * a);
  }
  const auto plain = plain_order(1);
  int dst = emit_affine(e, n, binary_kind::mul, e.real(x), e.add_constant(n.name, factor, plain),
                        channel_shape(e.dims(x)));
  dst = emit_affine(e, n, binary_kind::add, dst, e.add_constant(n.name, shift, plain),
                    channel_shape(e.dims(x)));
  e.produced(y, dst);
}

template <class = void>
void emit_local_response_norm(emitter& e, const node& n, const op::local_response_norm& l) {
  e.require_reals(n);
  const auto x = n.inputs[0], y = n.outputs[0];
  const auto o = channels_last(e.dims(x).rank());
  const int src = e.real(x, o), dst = e.create_real(y, o);
  const auto c = e.dims(x)[1];
  const auto pixels = c ? e.dims(x).size() / c : 0;
  e.emit(n, e.plain(local_response{pixels, c, l.size, l.alpha, l.beta, l.bias}), {src}, dst);
  e.produced(y, dst);
}

}  // namespace ptq::lowering
