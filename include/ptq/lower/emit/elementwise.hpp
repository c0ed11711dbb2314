#pragma once
// SPDX-License-Identifier: Apache-2.0
// Elementwise operators. On codes, a function of one value is a look-up of 256 entries and a sum or product of two has
// a kernel; reals take float kernels; integers and booleans (shape arithmetic, tokens) take plain loops.

#include <string>

#include <ptq/core/elementary.hpp>
#include <ptq/lower/emit/weighted.hpp>
#include <ptq/lower/emitter.hpp>

namespace ptq::lowering {

/// 256 entries: code of x → code of f(x).
template <class F>
std::array<std::uint8_t, 256> table_of(const code& x, const code& y, F&& f) {
  std::array<std::uint8_t, 256> t{};
  for (int q = 0; q < 256; ++q)
    t[static_cast<std::size_t>(q)] = static_cast<std::uint8_t>(quantize_value(
        f(dequantize_value(q, x.scale, x.zero_point)), y.scale, y.zero_point, 0, 255));
  return t;
}

template <class = void>
made lookup(const emitter& e, std::int64_t size, const std::array<std::uint8_t, 256>& table) {
  kernels::lookup_args args;
  args.columns = size;
  args.table = table;
  return e.prepare(&kernels::kernel_table::lookup, args);
}

template <class = void>
void emit_unary(emitter& e, const node& n, const op::unary& u) {
  const auto x = n.inputs[0], y = n.outputs[0];
  const auto o = e.order_of(x);
  if (e.has_codes(x) && e.has_codes(y)) {
    const int src = e.codes(x, o);
    const int dst = e.create_codes(y, o);
    const auto table = table_of(e.codes_of(x), e.codes_of(y), [&](float v) {
      return unary_value(u.kind, u.alpha, u.beta, v);
    });
    e.emit(n, lookup(e, e.dims(x).size(), table), {src}, dst, true);
    return e.produced(y, dst);
  }
  const int src = e.real(x);
  const auto memory = e.slot_at(src).memory;
  const int dst = e.create_real(y, memory);
  const auto size = e.dims(x).size();
  if (u.kind == unary_kind::is_nan) {
    e.emit(n, e.plain(nan_elements{size}), {src}, dst);
  } else if (e.at(x).type == dtype::f32) {
    e.emit(n,
           e.prepare(&kernels::kernel_table::unary,
                     {.kind = u.kind, .alpha = u.alpha, .beta = u.beta, .size = size}),
           {src}, dst);
  } else {
    e.emit(n, e.plain(unary_elements{e.at(x).type, u.kind, size}), {src}, dst);
  }
  e.produced(y, dst);
}

/// The memory order of an elementwise result: that of the first operand that has its extents.
template <class = void>
order result_order(const emitter& e, value_id y, std::initializer_list<value_id> inputs) {
  for (auto id : inputs)
    if (!e.constant(id) && e.dims(id) == e.dims(y)) return e.order_of(id);
  for (auto id : inputs)
    if (!e.constant(id) && e.dims(id).rank() == e.dims(y).rank()) return e.order_of(id);
  return plain_order(e.dims(y).rank());
}

/// An operand that repeats nothing takes the result's order; others are read through strides.
template <class = void>
order operand_order(const emitter& e, value_id id, value_id y, const order& o) {
  return e.dims(id) == e.dims(y) ? o : e.constant(id) ? plain_order(e.dims(id).rank()) : e.order_of(id);
}

template <class = void>
bool emit_integer_binary(emitter& e, const node& n, const op::binary& b) {
  const auto a = n.inputs[0], c = n.inputs[1], y = n.outputs[0];
  if (b.kind != binary_kind::add && b.kind != binary_kind::sub && b.kind != binary_kind::mul) return false;
  if (!e.has_codes(a) || !e.has_codes(c) || !e.has_codes(y)) return false;
  const auto o = result_order(e, y, {a, c});
  const int sa = e.codes(a, operand_order(e, a, y, o)), sb = e.codes(c, operand_order(e, c, y, o));
  const int dst = e.create_codes(y, o);
  const code qa = e.codes_of(a), qb = e.codes_of(c), qy = e.codes_of(y);
  kernels::qbinary_args args{.over = broadcast_over(e.dims(y), o, e.operand(sa), e.operand(sb)),
                             .a_zero_point = qa.zero_point,
                             .b_zero_point = qb.zero_point,
                             .zero_point = qy.zero_point};
  std::tie(args.low, args.high) = code_bounds(b.act, qy);
  if (b.kind == binary_kind::mul) {
    args.what = kernels::qbinary_args::kind::mul;
    args.multiplier = static_cast<float>(static_cast<double>(qa.scale) * qb.scale / qy.scale);
  } else {
    args.sum = sum_of(b, qa, qb, qy);
  }
  e.emit(n, e.prepare(&kernels::kernel_table::qbinary, args), {sa, sb}, dst, true);
  e.produced(y, dst);
  return true;
}

template <class = void>
void emit_binary(emitter& e, const node& n, const op::binary& b) {
  if (emit_integer_binary(e, n, b)) return;
  const auto a = n.inputs[0], c = n.inputs[1], y = n.outputs[0];
  const auto o = result_order(e, y, {a, c});
  const int sa = e.real(a, operand_order(e, a, y, o)), sb = e.real(c, operand_order(e, c, y, o));
  const int dst = e.create_real(y, o);
  const auto over = broadcast_over(e.dims(y), o, e.operand(sa), e.operand(sb));
  const auto t = e.at(a).type;
  const bool float_kernel = t == dtype::f32 && !yields_bool(b.kind) && b.kind != binary_kind::mod &&
                            b.kind != binary_kind::fmod && e.at(c).type == dtype::f32;
  if (float_kernel) {
    e.emit(n, e.prepare(&kernels::kernel_table::binary, {.kind = b.kind, .over = over, .act = b.act}),
           {sa, sb}, dst);
  } else if (e.at(c).type != t) {
    throw unsupported("lower: node '" + n.name + "' (" + op_name(n.what) + "): operands of types " +
                      name_of(t) + " and " + name_of(e.at(c).type));
  } else {
    e.emit(n, e.plain(binary_elements{t, b.kind, over}), {sa, sb}, dst);
  }
  e.produced(y, dst);
}

template <class = void>
void emit_where(emitter& e, const node& n) {
  const auto y = n.outputs[0];
  const shape out = e.dims(y);
  const auto o = plain_order(out.rank());
  const int c = e.real_plain(n.inputs[0]), a = e.real_plain(n.inputs[1]), b = e.real_plain(n.inputs[2]);
  const int dst = e.create_real(y, o);
  const auto with_condition = [&](int operand) { return broadcast_over(out, o, e.operand(c), e.operand(operand)); };
  const auto bytes = static_cast<std::int64_t>(size_of(e.at(y).type));
  e.emit(n, e.plain(select_elements{with_condition(a), with_condition(b), bytes}), {c, a, b}, dst);
  e.produced(y, dst);
}

template <class = void>
void emit_cast(emitter& e, const node& n, const op::cast& c) {
  const auto x = n.inputs[0], y = n.outputs[0];
  const int src = e.real(x);
  const int dst = e.create(e.at(y).name, c.to, e.dims(y), e.slot_at(src).memory);
  e.emit(n, e.plain(cast_elements{e.dims(x).size(), e.at(x).type, c.to}), {src}, dst);
  e.produced(y, dst);
}

}  // namespace ptq::lowering
