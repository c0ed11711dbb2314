#pragma once
// SPDX-License-Identifier: Apache-2.0
// The state of one lowering: the forms that every graph value has taken so far (real or codes, in some memory order)
// and the steps emitted. The functions in emit/ ask it for operands in the form that a kernel wants; it inserts the
// conversion, once.

#include <cassert>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ptq/core/float8.hpp>
#include <ptq/core/numeric.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/graph/print.hpp>
#include <ptq/kernels/reference.hpp>
#include <ptq/lower/order.hpp>
#include <ptq/lower/packed_weights.hpp>
#include <ptq/lower/plain.hpp>
#include <ptq/lower/program.hpp>
#include <ptq/lower/recipe.hpp>

namespace ptq::lowering {

/// A kernel, and what it was made of where the program is to be saved.
struct made {
  kernels::prepared kernel;
  std::shared_ptr<const lowering::recipe> recipe;
  made(kernels::prepared k, std::shared_ptr<const lowering::recipe> r = {})
      : kernel(std::move(k)), recipe(std::move(r)) {}
};

inline std::string label(const node& n) { return "node '" + n.name + "' (" + op_name(n.what) + ")"; }

/// Activation codes inside a program are unsigned: an s8 code is the u8 code less 128.
inline code code_of(const qparams& q) {
  const bool wide = q.type == dtype::s16 || q.type == dtype::u16;
  return {q.scale[0], q.zero_point[0] - lowest_code(q.type), wide ? dtype::u16 : dtype::u8};
}
/// Codes of 16 bits, one scale for the tensor: convolutions and products with constants take them,
/// all else computes on their real numbers.
inline bool takes_wide_codes(const std::optional<qparams>& q) {
  return q && !q->per_channel() && (q->type == dtype::u16 || q->type == dtype::s16);
}
/// Codes that the kernels take: 8 bits, one scale for the tensor.
inline bool takes_codes(const std::optional<qparams>& q) {
  return q && !q->per_channel() && (q->type == dtype::u8 || q->type == dtype::s8);
}

inline constexpr const char* simulated_note =
    "simulated: rounded to FP8 numbers, computed in float";

class emitter {
 public:
  emitter(graph g, const kernels::kernel_table& table, bool integers)
      : g_(std::move(g)), table_(table), integers_(integers), forms_(g_.values.size()) {}

  /// Whether steps keep what their kernels were made of.
  bool keep_recipes = false;
  /// Weights of earlier lowerings, or null.
  packed_weights* packed = nullptr;

  /// Lowers the body of an If or Loop; set by lower, absent where a node is computed ahead of time.
  using body_lowering = program (*)(graph, const kernels::kernel_table&, bool integers);
  body_lowering lower_body = nullptr;

  graph& network() { return g_; }
  const graph& network() const { return g_; }
  program& result() { return out_; }
  const kernels::kernel_table& table() const { return table_; }
  /// The program holds integers, so its float steps use kernels that are equal to the bit everywhere.
  bool integers() const { return integers_; }

  // ---- kernels: the table's, or the reference where the table has none

  template <class Args>
  made prepare(entry_field<Args> field, const Args& args) const {
    if (auto m = prepare_fast(field, args)) return *std::move(m);
    return recorded(field, args, (kernels::reference_kernels().*field)(args));
  }
  /// The table's own kernel, if it has one for these arguments.
  template <class Args>
  std::optional<made> prepare_fast(entry_field<Args> field, const Args& args) const {
    if (!(table_.*field)) return std::nullopt;
    if constexpr (packs_weights<Args>)
      if (packed && shares_packed<Args>(field))
        if (auto p = packed->prepare<Args>(table_, field, args)) return recorded(field, args, std::move(p));
    if (auto p = (table_.*field)(args)) return recorded(field, args, std::move(p));
    return std::nullopt;
  }

  /// One of plain_kernels.
  template <class F>
  made plain(F f) const {
    auto k = plain_kernel(std::move(f));
    auto r = keep_recipes ? recipe_of<F>(k) : nullptr;
    return {std::move(k), std::move(r)};
  }

  // ---- values

  const value& at(value_id id) const { return g_[id]; }
  const shape& dims(value_id id) const { return g_[id].dims; }
  const tensor* constant(value_id id) const { return g_.constant_of(id); }
  bool has_codes(value_id id) const { return takes_codes(g_[id].quant); }
  bool has_wide_codes(value_id id) const { return takes_wide_codes(g_[id].quant); }
  code codes_of(value_id id) const { return code_of(*g_[id].quant); }

  /// The order of the form that a value was produced in; ONNX order for constants.
  order order_of(value_id id) const {
    const auto& f = forms_[static_cast<std::size_t>(id)];
    return f.empty() ? plain_order(dims(id).rank()) : slot_at(f.front()).memory;
  }

  /// The slot that holds `id` as real numbers (or as its own integer type) in memory order `o`.
  int real(value_id id, const order& o);
  int real(value_id id) { return real(id, any_real_order(id)); }
  int real_plain(value_id id) { return real(id, plain_order(dims(id).rank())); }
  /// The slot that holds its codes.
  int codes(value_id id, const order& o);

  /// Real numbers of a constant, dequantized if need be, in ONNX order.
  tensor real_constant(value_id id) const;

  /// A new slot for a result.
  int create(std::string name, dtype type, shape dims, order memory, std::optional<code> c = {});
  /// The same bytes under other extents or order.
  int view(int of, std::string name, shape dims, order memory);

  /// Registers `s` as the first form of `id`, and quantizes it if it holds reals and the value has codes.
  void produced(value_id id, int s);
  /// The real result of a node's output: a slot to fill, then pass to produced().
  int create_real(value_id id, order o) {
    return create(at(id).name, at(id).type, dims(id), std::move(o));
  }
  int create_codes(value_id id, order o) {
    return create(at(id).name, codes_of(id).type, dims(id), std::move(o), codes_of(id));
  }

  step& emit(const node& n, made k, std::vector<int> src, int dst, bool integer = false);

  slot& slot_at(int s) { return out_.slots[static_cast<std::size_t>(s)]; }
  const slot& slot_at(int s) const { return out_.slots[static_cast<std::size_t>(s)]; }
  storage& storage_of(int s) { return out_.storages[static_cast<std::size_t>(slot_at(s).storage)]; }
  operand_view operand(int s) const { return {slot_at(s).dims, slot_at(s).memory}; }

  int add_constant(std::string name, const tensor& t, const order& o, std::optional<code> c = {});
  int add_input(value_id id, int port);

  bool emitted(value_id id) const {
    return !forms_[static_cast<std::size_t>(id)].empty() || g_[id].constant.has_value();
  }
  const std::vector<int>& forms(value_id id) const { return forms_[static_cast<std::size_t>(id)]; }
  /// The node whose conversions are being emitted (for names).
  void begin(const node& n) { current_ = n.name; }
  /// Throws unsupported if an operand holds no reals: the kernel of this operator knows nothing else.
  void require_reals(const node& n) const {
    for (auto id : n.inputs)
      if (id != none && at(id).type != dtype::f32)
        throw unsupported("lower: " + label(n) + ": operand '" + at(id).name + "': expected f32, got " +
                          name_of(at(id).type));
  }

 private:
  template <class Args>
  made recorded(entry_field<Args> field, const Args& args, kernels::prepared p) const {
    auto r = keep_recipes ? recipe_of<Args>(field, args, p) : nullptr;
    return {std::move(p), std::move(r)};
  }
  int find(value_id id, bool as_codes, const order& o) const;
  order any_real_order(value_id id) const;
  int reordered(int s, const order& o);
  int remember(value_id id, int s) {
    forms_[static_cast<std::size_t>(id)].push_back(s);
    return s;
  }
  int rounded_to_grid(value_id id, int s);
  step& convert(const char* what, made k, int src, int dst);

  graph g_;
  const kernels::kernel_table& table_;
  bool integers_;
  program out_;
  std::vector<std::vector<int>> forms_;  // slots of every value, the first as produced
  std::string current_;
};

// ---------------------------------------------------------------------------------------------------------------------

inline int emitter::create(std::string name, dtype type, shape dims, order memory,
                           std::optional<code> c) {
  if (is_float8(type))
    throw unsupported("lower: value '" + name + "': FP8 outside of a Q/DQ pair");
  storage st;
  st.bytes = static_cast<std::size_t>(dims.size()) * size_of(type);
  out_.storages.push_back(std::move(st));
  slot s;
  s.value = std::move(name);
  s.type = type;
  s.dims = std::move(dims);
  s.memory = std::move(memory);
  s.codes = c;
  s.storage = static_cast<int>(out_.storages.size()) - 1;
  out_.slots.push_back(std::move(s));
  return static_cast<int>(out_.slots.size()) - 1;
}

inline int emitter::view(int of, std::string name, shape dims, order memory) {
  slot s = slot_at(of);
  s.value = std::move(name);
  s.dims = std::move(dims);
  s.memory = std::move(memory);
  out_.slots.push_back(std::move(s));
  return static_cast<int>(out_.slots.size()) - 1;
}

inline int emitter::add_constant(std::string name, const tensor& t, const order& o,
                                 std::optional<code> c) {
  tensor laid = t;
  if (!same_memory(t.dims(), o, plain_order(t.dims().rank()))) {
    laid = tensor(t.type(), t.dims());
    const auto args = copy_between(t.dims(), strides_in(t.dims(), plain_order(t.dims().rank())),
                                   strides_in(t.dims(), o), static_cast<int>(size_of(t.type())));
    const auto k = kernels::reference_kernels().copy(args);
    k.run(k.object.get(), {.src = {t.data()}, .dst = laid.mutable_data()}, nullptr, {0, k.units});
  }
  const int s = create(std::move(name), t.type(), t.dims(), o, c);
  storage_of(s).where = storage::place::constant;
  storage_of(s).constant = std::move(laid);
  return s;
}

inline int emitter::add_input(value_id id, int port) {
  const auto& v = at(id);
  const int s = create(v.name, v.type, v.dims, plain_order(v.dims.rank()));
  storage_of(s).where = storage::place::input;
  storage_of(s).port = port;
  return s;
}

inline step& emitter::emit(const node& n, made k, std::vector<int> src, int dst, bool integer) {
  step s;
  s.node = n.name;
  s.what = op_name(n.what);
  s.kernel = std::move(k.kernel);
  s.recipe = std::move(k.recipe);
  s.src = std::move(src);
  s.dst = dst;
  s.integer = integer;
  if (integers_ && !integer) s.note = n.note;
  if (integers_ && !integer && s.note.empty() && !n.outputs.empty() && n.outputs[0] != none &&
      has_wide_codes(n.outputs[0]))
    s.note = "no integer kernel for codes of 16 bits";
  out_.steps.push_back(std::move(s));
  return out_.steps.back();
}

inline step& emitter::convert(const char* what, made k, int src, int dst) {
  step s;
  s.node = current_;
  s.what = what;
  s.kernel = std::move(k.kernel);
  s.recipe = std::move(k.recipe);
  s.src = {src};
  s.dst = dst;
  s.integer = slot_at(src).codes.has_value() && slot_at(dst).codes.has_value();
  out_.steps.push_back(std::move(s));
  return out_.steps.back();
}

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

inline tensor emitter::real_constant(value_id id) const {
  const auto& v = at(id);
  if (!v.quant) return *v.constant;
  const auto& q = *v.quant;
  const auto& codes = *v.constant;
  tensor out(dtype::f32, codes.dims());
  auto y = out.mutable_view<float>();
  const auto strides = strides_of(codes.dims());
  const auto n = codes.dims();
  const auto fill = [&](auto x) {
    for (std::size_t i = 0; i < y.size(); ++i) {
      std::size_t c = 0;
      if (q.per_channel())
        c = (i / static_cast<std::size_t>(strides[static_cast<std::size_t>(q.axis)])) %
            static_cast<std::size_t>(n[q.axis]);
      y[i] = q.scale[c] * (static_cast<float>(x[i]) - static_cast<float>(q.zero_point[c]));
    }
  };
  switch (codes.type()) {
    case dtype::s8: fill(codes.view<std::int8_t>()); break;
    case dtype::u8: fill(codes.view<std::uint8_t>()); break;
    case dtype::s16: fill(codes.view<std::int16_t>()); break;
    case dtype::u16: fill(codes.view<std::uint16_t>()); break;
    case dtype::s32: fill(codes.view<std::int32_t>()); break;
    case dtype::f8e4m3:
    case dtype::f8e5m2: {
      std::vector<float> x(y.size());
      for (std::size_t i = 0; i < x.size(); ++i)
        x[i] = float8_value(std::to_integer<std::uint8_t>(codes.data()[i]), codes.type());
      fill(std::span<const float>(x));
      break;
    }
    default:
      throw shape_error("lower: constant '" + v.name + "': codes of type " + name_of(codes.type()));
  }
  return out;
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
  if (const auto* t = constant(id)) {
    tensor u = *t;
    if (t->type() == dtype::s16) {
      u = tensor(dtype::u16, t->dims());
      auto y = u.mutable_view<std::uint16_t>();
      const auto x = t->view<std::int16_t>();
      for (std::size_t i = 0; i < y.size(); ++i) y[i] = static_cast<std::uint16_t>(x[i] + 32768);
    }
    if (t->type() == dtype::s8) {
      u = tensor(dtype::u8, t->dims());
      auto y = u.mutable_view<std::uint8_t>();
      const auto x = t->view<std::int8_t>();
      for (std::size_t i = 0; i < y.size(); ++i) y[i] = static_cast<std::uint8_t>(x[i] + 128);
    }
    return remember(id, add_constant(at(id).name, u, o, codes_of(id)));
  }
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
  auto kernel = plain_kernel(
      "simulated FP8",
      [scale = v.quant->scale[0], type = v.quant->type](const kernels::operands& io, work_range r) {
        const auto* x = static_cast<const float*>(io.src[0]);
        auto* y = static_cast<float*>(io.dst);
        for (std::int64_t i = r.begin; i < r.end; ++i) y[i] = rounded_to_float8(x[i], scale, type);
      },
      v.dims.size());
  convert("QuantizeLinear", std::move(kernel), s, to).note = simulated_note;
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
