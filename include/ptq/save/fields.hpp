#pragma once
// SPDX-License-Identifier: Apache-2.0
// The members of everything that a file of a program holds, in the order that they have in it: v(member, …). Writer and
// reader are both such a v, so they can't differ; a member that is added and not named here does not compile.

#include <ptq/core/dtype.hpp>
#include <ptq/kernels/args.hpp>
#include <ptq/lower/body.hpp>
#include <ptq/lower/plain.hpp>
#include <ptq/lower/program.hpp>
#include <ptq/lower/recurrence.hpp>
#include <ptq/save/argument_fields.hpp>

namespace ptq::saving {

// ---- plain kernels

template <class V>
void visit(V& v, lowering::gather_rows& x) {
  auto& [outer, count, extent, run, index] = x;
  v(outer, count, extent, run, index);
}
template <class V>
void visit(V& v, lowering::fill_elements& x) {
  auto& [count, element] = x;
  v(count, element);
}
template <class V>
void visit(V& v, lowering::cast_elements& x) {
  auto& [size, from, to] = x;
  v(size, from, to);
}
template <class V>
void visit(V& v, lowering::binary_elements& x) {
  auto& [type, kind, over] = x;
  v(type, kind, over);
}
template <class V>
void visit(V& v, lowering::axis_taps& x) {
  auto& [per, index, weight] = x;
  v(per, index, weight);
}
template <class V>
void visit(V& v, lowering::tap_walk& x) {
  auto& [extent, stride, taps, rows, columns, straight] = x;
  v(extent, stride, taps, rows, columns, straight);
}
template <class V>
void visit(V& v, lowering::map_elements& x) {
  auto& [w, bytes] = x;
  v(w, bytes);
}
template <class V>
void visit(V& v, lowering::interpolate_elements& x) {
  auto& [w, outside] = x;
  v(w, outside);
}

template <class V>
void visit(V& v, lowering::grid& x) {
  auto& [scale, zero_point, type, inner] = x;
  v(scale, zero_point, type, inner);
}
template <class V>
void visit(V& v, lowering::quantize_elements& x) {
  auto& [count, g] = x;
  v(count, g);
}
template <class V>
void visit(V& v, lowering::dequantize_elements& x) {
  auto& [count, from, g] = x;
  v(count, from, g);
}

template <class V>
void visit(V& v, lowering::gather_elements& x) {
  auto& [extent, stride, axis, along, index, bytes] = x;
  v(extent, stride, axis, along, index, bytes);
}
template <class V>
void visit(V& v, lowering::gather_tuples& x) {
  auto& [tuples, per_batch, batch_bytes, run, extent, stride, index] = x;
  v(tuples, per_batch, batch_bytes, run, extent, stride, index);
}
template <class V>
void visit(V& v, lowering::arg_elements& x) {
  auto& [type, outer, size, inner, max, select_last] = x;
  v(type, outer, size, inner, max, select_last);
}
template <class V>
void visit(V& v, lowering::top_elements& x) {
  auto& [type, outer, size, inner, k, largest, indices] = x;
  v(type, outer, size, inner, k, largest, indices);
}
template <class V>
void visit(V& v, lowering::running_sum& x) {
  auto& [type, outer, size, inner, exclusive, reverse] = x;
  v(type, outer, size, inner, exclusive, reverse);
}
template <class V>
void visit(V& v, lowering::triangle_elements& x) {
  auto& [total, rows, columns, shift, bytes, upper] = x;
  v(total, rows, columns, shift, bytes, upper);
}
template <class V>
void visit(V& v, lowering::range_elements& x) {
  auto& [type, count] = x;
  v(type, count);
}
template <class V>
void visit(V& v, lowering::unary_elements& x) {
  auto& [type, kind, size] = x;
  v(type, kind, size);
}
template <class V>
void visit(V& v, lowering::nan_elements& x) {
  auto& [size] = x;
  v(size);
}
template <class V>
void visit(V& v, lowering::select_elements& x) {
  auto& [first, second, bytes] = x;
  v(first, second, bytes);
}
template <class V>
void visit(V& v, lowering::reduce_elements& x) {
  auto& [type, kind, outer, size, inner] = x;
  v(type, kind, outer, size, inner);
}
template <class V>
void visit(V& v, lowering::float8_elements& x) {
  auto& [size, scale, type] = x;
  v(size, scale, type);
}
template <class V>
void visit(V& v, lowering::transposed_conv& x) {
  auto& [geometry, weights, bias, act] = x;
  v(geometry, weights, bias, act);
}
template <class V>
void visit(V& v, lowering::computed_conv& x) {
  auto& [geometry, act, bias] = x;
  v(geometry, act, bias);
}
template <class V>
void visit(V& v, lowering::local_response& x) {
  auto& [pixels, channels, size, alpha, beta, bias] = x;
  v(pixels, channels, size, alpha, beta, bias);
}

// ---- kernels that run others

template <class V>
void visit(V& v, op::cell_function& x) {
  auto& [what, alpha, beta] = x;
  v(what, alpha, beta);
}
template <class V>
void visit(V& v, op::recurrent& x) {
  auto& [what, way, hidden, clip, functions, linear_before_reset, input_forget, batch_first] = x;
  v(what, way, hidden, clip, functions, linear_before_reset, input_forget, batch_first);
}
template <class V>
void visit(V& v, lowering::recurrence_sources& x) {
  auto& [gates, initial_h, initial_c, rest, lengths, r, bias, peepholes] = x;
  v(gates, initial_h, initial_c, rest, lengths, r, bias, peepholes);
}
/// Its products come behind it (recurrence.hpp); cells and rows of gates follow from the rest.
template <class V>
void visit(V& v, lowering::recurrence& x) {
  auto& [what, steps, batch, hidden, input, at, cells, products, bias, peepholes, gate_rows, y_bytes, state_bytes] = x;
  v(what, steps, batch, hidden, input, at, bias, peepholes, y_bytes, state_bytes);
}
/// Its bodies come behind it (programs.hpp).
template <class V>
void visit(V& v, lowering::body_runner& x) {
  auto& [bodies, name, carried, loop, operand_offset, result_offset, carried_bytes, part_bytes, room] = x;
  v(name, carried, loop, operand_offset, result_offset, carried_bytes, part_bytes, room);
}

// ---- the program

template <class V>
void visit(V& v, code& x) {
  auto& [scale, zero_point, type] = x;
  v(scale, zero_point, type);
}
template <class V>
void visit(V& v, storage& x) {
  auto& [where, bytes, offset, port, constant, first, last] = x;
  v(where, port, constant);  // the rest follows from slots and steps
}
template <class V>
void visit(V& v, slot& x) {
  auto& [value, type, dims, memory, codes, storage, offset] = x;
  v(value, type, dims, memory, codes, storage, offset);
}
/// Its kernel comes behind its program (programs.hpp).
template <class V>
void visit(V& v, step& x) {
  auto& [node, what, kernel, src, dst, overwritable, integer, macs, note, recipe] = x;
  v(node, what, src, dst, overwritable, integer, macs, note);
}
template <class V>
void visit(V& v, tap_point& x) {
  auto& [step, slot] = x;
  v(step, slot);
}
template <class V>
void visit(V& v, program_port& x) {
  auto& [name, slot] = x;
  v(name, slot);
}
template <class V>
void visit(V& v, program& x) {
  auto& [isa, storages, slots, steps, taps, inputs, outputs, arena_bytes, scratch_bytes, notes] = x;
  v(isa, storages, slots, steps, taps, inputs, outputs, notes);  // memory is planned anew
}

}  // namespace ptq::saving
