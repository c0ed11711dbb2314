#pragma once
// SPDX-License-Identifier: Apache-2.0
// The emitter's other half: a value in the form that a kernel asks for. What is there already is
// handed out; else it is made from what is, by one conversion, and remembered.

#include <cassert>
#include <cstdint>
#include <string>
#include <utility>

#include <ptq/core/float8.hpp>
#include <ptq/core/numeric.hpp>
#include <ptq/lower/constants.hpp>
#include <ptq/lower/emitter.hpp>

namespace ptq::lowering {

inline int emitter::find(value_id id, bool as_codes, const order& o) const {
  for (int s : forms_[static_cast<std::size_t>(id)])
    if (slot_at(s).codes.has_value() == as_codes && same_memory(dims(id), slot_at(s).memory, o))
      return s;
  return -1;
}

inline order emitter::any_real_order(value_id id) const {
  for (int s : forms_[static_cast<std::size_t>(id)])
    if (!slot_at(s).codes) return slot_at(s).memory;
  return order_of(id);
}

inline int emitter::reordered(int s, const order& o) {
  const slot from = slot_at(s);
  const int to = create(from.value, from.type, from.dims, o, from.codes);
  const auto args = copy_between(from.dims, strides_in(from.dims, from.memory),
                                 strides_in(from.dims, o), static_cast<int>(size_of(from.type)));
  convert("Transpose", prepare(&kernels::kernel_table::copy, args), s, to);
  return to;
}

inline int emitter::real(value_id id, const order& o) {
  if (const int s = find(id, false, o); s >= 0) return s;
  if (constant(id)) return remember(id, add_constant(at(id).name, real_constant(id), o));
  for (int s : forms_[static_cast<std::size_t>(id)])
    if (!slot_at(s).codes) return remember(id, reordered(s, o));
  assert((has_codes(id) || has_wide_codes(id)) && "a value is read before it is produced");
  const int from = codes(id, o);
  const int to = create(at(id).name, dtype::f32, dims(id), slot_at(from).memory);
  convert("DequantizeLinear",
          prepare(has_codes(id) ? &kernels::kernel_table::dequantize
                                : &kernels::kernel_table::wide_dequantize,
                  {.size = dims(id).size(),
                   .scale = codes_of(id).scale,
                   .zero_point = codes_of(id).zero_point}),
          from, to);
  return remember(id, to);
}

inline int emitter::codes(value_id id, const order& o) {
  if (const int s = find(id, true, o); s >= 0) return s;
  if (const auto* t = constant(id))
    return remember(id, add_constant(at(id).name, unsigned_codes(*t), o, codes_of(id)));
  for (int s : forms_[static_cast<std::size_t>(id)])
    if (slot_at(s).codes) return remember(id, reordered(s, o));
  assert(false && "codes of a value that has none");
  return -1;
}

/// A Q and DQ of FP8: the numbers stay floats, of those that FP8 has.
inline int emitter::rounded_to_grid(value_id id, int s) {
  const auto& v = g_[id];
  if (v.quant->per_channel())
    throw unsupported("lower: value '" + v.name + "': activations in FP8 per channel have no kernel");
  const int to = create(v.name, dtype::f32, v.dims, slot_at(s).memory);
  convert("QuantizeLinear", plain(float8_elements{v.dims.size(), v.quant->scale[0], v.quant->type}), s, to).note =
      simulated_note;
  return to;
}

inline void emitter::produced(value_id id, int s) {
  auto& v = g_[id];
  if (v.quant && is_float8(v.quant->type) && v.type == dtype::f32 && !v.constant) {
    s = rounded_to_grid(id, s);
  } else if (!slot_at(s).codes && v.quant && v.type == dtype::f32) {
    const bool wide = takes_wide_codes(v.quant);
    if (!takes_codes(v.quant) && !wide)
      throw unsupported("lower: value '" + v.name + "': activations with codes of type " +
                        name_of(v.quant->type) + (v.quant->per_channel() ? ", per channel" : "") +
                        " have no kernel");
    const int q = create(v.name, codes_of(id).type, v.dims, slot_at(s).memory, codes_of(id));
    convert("QuantizeLinear",
            prepare(wide ? &kernels::kernel_table::wide_quantize : &kernels::kernel_table::quantize,
                    {.size = v.dims.size(),
                     .scale = codes_of(id).scale,
                     .zero_point = codes_of(id).zero_point}),
            s, q);
    s = q;
  }
  remember(id, s);
  out_.taps.push_back({static_cast<int>(out_.steps.size()) - 1, s});
}

}  // namespace ptq::lowering
