#pragma once
// SPDX-License-Identifier: Apache-2.0
// The state of one lowering: the forms that every graph value has taken so far (real or codes, in some memory order)
// and the steps emitted. The functions in emit/ ask it for operands in the form that a kernel wants; it inserts the
// conversion, once.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ptq/core/float8.hpp>
#include <ptq/core/numeric.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/graph/print.hpp>
#include <ptq/kernels/reference.hpp>
#include <ptq/lower/constants.hpp>
#include <ptq/lower/in_place.hpp>
#include <ptq/lower/order.hpp>
#include <ptq/lower/packed_weights.hpp>
#include <ptq/lower/plain.hpp>
#include <ptq/lower/program.hpp>
#include <ptq/lower/recipe.hpp>

namespace ptq::lowering {

/// A kernel, what it was made of where the program is to be saved, and which sources its destination may lie on.
struct made {
  kernels::prepared kernel;
  std::shared_ptr<const lowering::recipe> recipe;
  std::uint8_t overwritable = 0;
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
  using body_lowering = program (*)(graph, const kernels::kernel_table&, bool keep_recipes);
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
    return {std::move(k), std::move(r), 0};
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
  tensor real_constant(value_id id) const { return real_numbers(at(id)); }

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
    return {std::move(p), std::move(r), lowering::overwritable(args)};
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
  tensor laid = laid_out(t, o);
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
  s.overwritable = k.overwritable;
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
  s.overwritable = k.overwritable;
  s.src = {src};
  s.dst = dst;
  s.integer = slot_at(src).codes.has_value() && slot_at(dst).codes.has_value();
  out_.steps.push_back(std::move(s));
  return out_.steps.back();
}

}  // namespace ptq::lowering

#include <ptq/lower/forms.hpp>  // definitions of the other half
