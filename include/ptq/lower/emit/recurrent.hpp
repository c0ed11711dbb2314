#pragma once
// SPDX-License-Identifier: Apache-2.0
// RNN, GRU and LSTM: x·Wᵀ of all steps is one matrix product per direction; the steps through time are one kernel
// (lower/recurrence.hpp) around a prepared product h·Rᵀ. Products run on codes where x, W, R and initial_h have them.

#include <string>
#include <utility>
#include <vector>

#include <ptq/lower/emit/weighted.hpp>
#include <ptq/lower/emitter.hpp>
#include <ptq/lower/pack.hpp>
#include <ptq/lower/recurrence.hpp>

namespace ptq::lowering {

/// A recurrent node's operands and extents while it is lowered.
struct recurrent_call {
  const node& n;
  const op::recurrent& what;
  std::int64_t steps, batch, input, hidden;

  value_id operand(std::size_t port) const { return port < n.inputs.size() ? n.inputs[port] : none; }
  std::int64_t gates() const { return what.gates() * hidden; }
  std::int64_t rows() const { return steps * batch; }
};

template <class = void>
recurrent_call recurrent_call_of(const emitter& e, const node& n, const op::recurrent& what) {
  namespace port = op::recurrent_port;
  const shape& x = e.dims(n.inputs[port::x]);
  return {n, what, x[what.batch_first ? 1 : 0], x[what.batch_first ? 0 : 1], x[2], e.dims(n.inputs[port::r])[2]};
}

/// Codes of a constant [d, rows, columns] for one direction, s8 and symmetric, with one scale per row.
struct code_rows {
  tensor codes;
  std::vector<float> scale;
};
template <class = void>
code_rows rows_of(const emitter& e, value_id id, std::int64_t direction) {
  const tensor& all = *e.constant(id);
  const auto rows = all.dims()[1], columns = all.dims()[2];
  code_rows r{tensor(dtype::s8, {rows, columns}), {}};
  const auto from = all.view<std::int8_t>();
  auto to = r.codes.mutable_view<std::int8_t>();
  std::copy_n(from.begin() + direction * rows * columns, rows * columns, to.begin());
  const auto& q = *e.at(id).quant;
  for (std::int64_t i = 0; i < rows; ++i)
    r.scale.push_back(q.scale[q.per_channel() ? static_cast<std::size_t>(i) : 0]);
  return r;
}

/// Why the weights of one product can't be used as codes; empty if they can.
template <class = void>
std::string weight_refusal(const emitter& e, value_id w, const char* name, const code& with) {
  const auto& v = e.at(w);
  const std::string its = std::string("its ") + name;
  if (!v.constant) return its + " is not constant";
  if (!v.quant) return its + " is not quantized";
  if (v.constant->type() != dtype::s8) return its + " is " + name_of(v.constant->type()) + ", not s8";
  if (v.quant->per_channel() && v.quant->axis != 1)
    return its + " has scales along axis " + std::to_string(v.quant->axis);
  for (auto z : v.quant->zero_point)
    if (z != 0) return its + " has zero point " + std::to_string(z);
  const auto& d = v.constant->dims();
  for (std::int64_t i = 0; i < d[0]; ++i)
    if (d[1] > 0 && d[2] > 0 && !accumulator_fits(rows_of(e, w, i).codes, nullptr, d[1], with.zero_point))
      return its + ": the accumulator could exceed 32 bits";
  return "";
}

/// Why the products can't run on codes; empty if they can.
template <class = void>
std::string recurrent_refusal(const emitter& e, const recurrent_call& c) {
  namespace port = op::recurrent_port;
  if (!e.has_codes(c.operand(port::x))) return "its input is not quantized to 8 bits per tensor";
  const auto h = c.operand(port::initial_h);
  if (h == none || !e.has_codes(h)) return "its hidden state is not quantized to 8 bits per tensor";
  if (auto why = weight_refusal(e, c.operand(port::w), "W", e.codes_of(c.operand(port::x))); !why.empty()) return why;
  return weight_refusal(e, c.operand(port::r), "R", e.codes_of(h));
}

/// u8 [rows, k] · s8 [columns, k]ᵀ → f32, each column by its scale.
template <class = void>
made code_product(const emitter& e, const code& x, const code_rows& w, std::int64_t rows,
                  std::pair<std::int64_t, std::int64_t> columns) {
  const auto k = w.codes.dims()[1];
  kernels::qconv_args args{.geometry = {},
                           .weights = w.codes.view<std::int8_t>().data() + columns.first * k,
                           .bias = nullptr,
                           .x_zero_point = x.zero_point,
                           .epilogue = {}};
  args.geometry.in_w = args.geometry.out_w = rows;
  args.geometry.in_c = k;
  args.geometry.out_c = columns.second;
  std::vector<float> multiplier;
  for (std::int64_t i = 0; i < columns.second; ++i)
    multiplier.push_back(static_cast<float>(static_cast<double>(x.scale) *
                                            w.scale[static_cast<std::size_t>(columns.first + i)]));
  args.epilogue.multiplier = multiplier;
  args.epilogue.to_float = true;
  return e.prepare(&kernels::kernel_table::qconv, args);
}

/// f32 [d][t·n][g·h] = x · Wᵀ
template <class = void>
int emit_input_products(emitter& e, const recurrent_call& c, bool on_codes) {
  namespace port = op::recurrent_port;
  const auto x = c.operand(port::x), w = c.operand(port::w);
  const auto d = c.what.directions(), g = c.gates();
  const auto plain = plain_order(3);
  const block out = create_block(e, c.n.name + ".gates", {{c.n.name + ".gates", dtype::f32, {d, c.rows(), g}}});
  const auto macs = c.rows() * g * c.input;
  for (std::int64_t i = 0; i < d; ++i) {
    const int dst = e.view(out.parts[0], c.n.name + ".gates", {c.rows(), g}, plain_order(2));
    e.slot_at(dst).offset += i * c.rows() * g * static_cast<std::int64_t>(sizeof(float));
    if (on_codes) {
      const auto k = code_product(e, e.codes_of(x), rows_of(e, w, i), c.rows(), {0, g});
      e.emit(c.n, k, {e.codes(x, plain)}, dst, true).macs = macs;
      continue;
    }
    const std::vector<std::int64_t> a_offset{0}, b_offset{e.constant(w) ? 0 : i * g * c.input};
    const tensor weights = e.constant(w) ? e.real_constant(w) : tensor();
    kernels::matmul_args args{.m = c.rows(), .n = g, .k = c.input, .b_trans = true,
                              .a_offset = a_offset, .b_offset = b_offset};
    std::vector<int> src{e.real(x, plain)};
    if (e.constant(w)) args.b = weights.view<float>().data() + i * g * c.input;
    else src.push_back(e.real_plain(w));
    e.emit(c.n, prepare_float(e, {&kernels::kernel_table::fast_matmul}, &kernels::kernel_table::matmul, args), src, dst)
        .macs = macs;
  }
  return out.slot;
}

/// h · Rᵀ of one direction.
template <class = void>
std::vector<hidden_product> hidden_products(const emitter& e, const recurrent_call& c, std::int64_t direction,
                                            bool on_codes) {
  namespace port = op::recurrent_port;
  const auto r = c.operand(port::r);
  const auto h = c.hidden;
  const code_rows codes = on_codes ? rows_of(e, r, direction) : code_rows{};
  const tensor reals = !on_codes && e.constant(r) ? e.real_constant(r) : tensor();
  std::vector<hidden_product> all;
  for (const auto& p : hidden_pieces(c.what, c.batch, h)) {
    hidden_product product{.k = {}, .piece = p};
    made k;
    if (on_codes) {
      const auto grid = e.codes_of(c.operand(port::initial_h));
      k = code_product(e, grid, codes, p.rows, {p.first_gate * h, p.columns});
      auto to_codes = e.prepare(&kernels::kernel_table::quantize,
                                {.size = p.rows * h, .scale = grid.scale, .zero_point = grid.zero_point});
      product.to_codes = std::move(to_codes.kernel);
      product.codes_made_of = std::move(to_codes.recipe);
    } else {
      const std::vector<std::int64_t> start{0};
      kernels::matmul_args args{.m = p.rows, .n = p.columns, .k = h, .b_trans = true,
                                .a_offset = start, .b_offset = start};
      if (e.constant(r)) args.b = reals.view<float>().data() + (direction * c.gates() + p.first_gate * h) * h;
      k = e.prepare(&kernels::kernel_table::matmul, args);
    }
    product.k = std::move(k.kernel);
    product.made_of = std::move(k.recipe);
    all.push_back(std::move(product));
  }
  return all;
}

/// Constants go into the kernel; what is computed becomes a source of the step.
template <class = void>
std::vector<int> recurrent_sources(emitter& e, const recurrent_call& c, int gates, recurrence& k) {
  namespace port = op::recurrent_port;
  std::vector<int> src{gates};
  const auto state = [&](std::size_t p, int& position) {
    if (c.operand(p) == none) return;
    position = static_cast<int>(src.size());
    src.push_back(e.real_plain(c.operand(p)));
  };
  state(port::initial_h, k.at.initial_h);
  if (c.what.what == op::recurrent::cell::lstm) state(port::initial_c, k.at.initial_c);
  std::vector<int> rest;
  std::vector<std::int64_t*> offsets;
  const auto other = [&](std::size_t p, std::int64_t& offset, std::vector<float>* fixed) {
    const auto id = c.operand(p);
    if (id == none) return;
    if (fixed && e.constant(id)) {
      const tensor t = e.real_constant(id);
      fixed->assign(t.view<float>().begin(), t.view<float>().end());
      return;
    }
    rest.push_back(e.real_plain(id));
    offsets.push_back(&offset);
  };
  other(port::lengths, k.at.lengths, nullptr);
  if (!e.constant(c.operand(port::r))) other(port::r, k.at.r, nullptr);
  other(port::bias, k.at.bias, &k.bias);
  if (c.what.what == op::recurrent::cell::lstm) other(port::peepholes, k.at.peepholes, &k.peepholes);
  if (rest.empty()) return src;
  const block b = pack(e, c.n, rest);
  for (std::size_t i = 0; i < offsets.size(); ++i) *offsets[i] = b.offset[i];
  k.at.rest = static_cast<int>(src.size());
  src.push_back(b.slot);
  return src;
}

template <class = void>
void emit_recurrent(emitter& e, const node& n, const op::recurrent& what) {
  namespace port = op::recurrent_port;
  const auto c = recurrent_call_of(e, n, what);
  for (std::size_t p = 0; p < n.inputs.size(); ++p) {
    if (n.inputs[p] == none) continue;
    const auto want = p == port::lengths ? dtype::s32 : dtype::f32;
    if (e.at(n.inputs[p]).type != want)
      throw unsupported("lower: " + label(n) + ": operand '" + e.at(n.inputs[p]).name + "': expected " +
                        name_of(want) + ", got " + name_of(e.at(n.inputs[p]).type));
  }
  const auto why = recurrent_refusal(e, c);
  const bool on_codes = why.empty();
  const node named = explained(e, n, why, e.at(n.inputs[port::w]).quant || e.has_codes(n.inputs[port::x]));
  const recurrent_call call{named, what, c.steps, c.batch, c.input, c.hidden};

  recurrence k;
  k.what = what;
  k.steps = c.steps, k.batch = c.batch, k.hidden = c.hidden, k.input = c.input;
  k.gate_rows = row_kernels(e.table(), c.gates());
  for (std::int64_t d = 0; d < what.directions(); ++d) {
    k.cells.emplace_back(e.table(), what, c.hidden, static_cast<std::size_t>(d));
    k.products.push_back(hidden_products(e, call, d, on_codes));
  }
  const auto src = recurrent_sources(e, call, emit_input_products(e, call, on_codes), k);
  const auto d = what.directions(), h = c.hidden;
  const shape y = what.batch_first ? shape{c.batch, c.steps, d, h} : shape{c.steps, d, c.batch, h};
  const shape state = what.batch_first ? shape{c.batch, d, h} : shape{d, c.batch, h};
  std::vector<part> parts;
  for (std::size_t i = 0; i < 3; ++i) {
    const auto id = i < n.outputs.size() ? n.outputs[i] : none;
    parts.push_back({id == none ? n.name : e.at(id).name, dtype::f32, i == 0 ? y : state});
  }
  const block out = create_block(e, n.name + ".state", parts);
  k.y_bytes = out.offset[1];
  k.state_bytes = out.offset[2] - out.offset[1];
  auto kernel = recurrence_kernel(std::move(k));
  auto recipe = e.keep_recipes ? recipe_of_object(recurrence_entry, kernel) : nullptr;
  e.emit(named, {std::move(kernel), std::move(recipe)}, src, out.slot, on_codes).macs =
      c.rows() * c.gates() * c.hidden * d;
  for (std::size_t i = 0; i < n.outputs.size(); ++i)
    if (n.outputs[i] != none) e.produced(n.outputs[i], out.parts[i]);
}

}  // namespace ptq::lowering
