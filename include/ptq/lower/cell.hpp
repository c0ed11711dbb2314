#pragma once
// SPDX-License-Identifier: Apache-2.0
// The cells of recurrent layers: what happens to one row of gates. All arithmetic is that of the table's float kernels,
// so a cell has the same bits on every ISA. Part of lowering (emit/recurrent.hpp).
//
// Source of the formulas: ONNX operator specification, RNN-22, GRU-22, LSTM-22.

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <ptq/graph/op/recurrent.hpp>
#include <ptq/kernels/reference.hpp>
#include <ptq/kernels/table.hpp>

namespace ptq::lowering {

inline void run_all(const kernels::prepared& k, kernels::operands io, std::byte* scratch) {
  k.run(k.object.get(), io, scratch, {0, k.units});
}

/// Elementwise kernels over rows of `size` numbers; the destination may be an operand.
class row_kernels {
 public:
  row_kernels() = default;
  row_kernels(const kernels::kernel_table& table, std::int64_t size) : table_(&table), size_(size) {
    add_ = between(binary_kind::add, 1, 1);
    mul_ = between(binary_kind::mul, 1, 1);
    minus_from_ = between(binary_kind::sub, 0, 1);
  }

  void add(const float* a, const float* b, float* y) const { run(add_, a, b, y); }
  void mul(const float* a, const float* b, float* y) const { run(mul_, a, b, y); }
  /// y = 1 - a
  void complement(const float* a, float* y) const {
    constexpr float one = 1.0f;
    run(minus_from_, &one, a, y);
  }

  kernels::prepared unary(unary_kind kind, float alpha = 0, float beta = 0) const {
    return prepared(&kernels::kernel_table::unary, kernels::unary_args{kind, alpha, beta, size_});
  }
  /// a ∘ b; a stride of 0 repeats the one number of an operand.
  kernels::prepared between(binary_kind kind, std::int64_t a_stride, std::int64_t b_stride) const {
    kernels::binary_args args{.kind = kind, .over = {}, .act = {}};
    args.over.extent[0] = size_;
    args.over.a_stride[0] = a_stride;
    args.over.b_stride[0] = b_stride;
    return prepared(&kernels::kernel_table::binary, args);
  }
  static void run(const kernels::prepared& k, const float* a, const float* b, float* y) {
    run_all(k, {.src = {a, b}, .dst = y}, nullptr);
  }

 private:
  template <class Args>
  kernels::prepared prepared(kernels::entry<Args> kernels::kernel_table::*field, const Args& args) const {
    if (table_->*field)
      if (auto p = (table_->*field)(args)) return p;
    return (kernels::reference_kernels().*field)(args);
  }

  const kernels::kernel_table* table_ = nullptr;
  std::int64_t size_ = 0;
  kernels::prepared add_, mul_, minus_from_;
};

/// A function of a cell over a row: bounds first, then one to three kernels.
class row_function {
 public:
  row_function(const row_kernels& rows, const op::cell_function& f, float clip) {
    if (clip > 0) unary(rows, unary_kind::clip, -clip, clip);
    using kind = op::cell_function::kind;
    switch (f.what) {
      case kind::sigmoid: unary(rows, unary_kind::sigmoid); break;
      case kind::tanh: unary(rows, unary_kind::tanh); break;
      case kind::relu: unary(rows, unary_kind::relu); break;
      case kind::leaky_relu: unary(rows, unary_kind::leaky_relu, f.alpha); break;
      case kind::thresholded_relu: unary(rows, unary_kind::thresholded_relu, f.alpha); break;
      case kind::hard_sigmoid: unary(rows, unary_kind::hard_sigmoid, f.alpha, f.beta); break;
      case kind::elu: unary(rows, unary_kind::elu, f.alpha); break;
      case kind::softsign: unary(rows, unary_kind::softsign); break;
      case kind::softplus: unary(rows, unary_kind::softplus); break;
      case kind::affine:
        constant(rows, binary_kind::mul, f.alpha);
        constant(rows, binary_kind::add, f.beta);
        break;
      case kind::scaled_tanh:
        constant(rows, binary_kind::mul, f.beta);
        unary(rows, unary_kind::tanh);
        constant(rows, binary_kind::mul, f.alpha);
        break;
    }
  }

  void operator()(const float* x, float* y) const {
    for (const auto& p : parts_) {
      run_all(p.kernel, {.src = {x, &p.constant}, .dst = y}, nullptr);
      x = y;
    }
  }

 private:
  struct part {
    kernels::prepared kernel;
    float constant;
  };
  void unary(const row_kernels& rows, unary_kind kind, float alpha = 0, float beta = 0) {
    parts_.push_back({rows.unary(kind, alpha, beta), 0.0f});
  }
  void constant(const row_kernels& rows, binary_kind kind, float v) {
    parts_.push_back({rows.between(kind, 1, 0), v});
  }
  std::vector<part> parts_;
};

/// One row of a batch at one step.
struct cell_row {
  float* gates;            // [g·h] x·Wᵀ + h·Rᵀ + bias, overwritten; of a gru without its last third
  const float* late;       // [h] gru: h·R_hᵀ + Rb_h, the part that the reset gate scales or has scaled already
  float* hidden;           // [h] in: before the step, out: after it
  float* cell;             // [h] lstm: the same for its cell
  const float* peepholes;  // [3·h] i o f, or null
  float* spare;            // [h]
};

/// A cell for one direction.
class recurrent_cell {
 public:
  recurrent_cell(const kernels::kernel_table& table, const op::recurrent& o, std::int64_t hidden,
                 std::size_t direction)
      : input_forget_(o.input_forget), h_(hidden), rows_(table, hidden) {
    const auto per = o.functions_per_direction();
    for (std::size_t i = 0; i < per; ++i)
      functions_.emplace_back(rows_, o.functions[direction * per + i], o.clip);
  }

  const row_kernels& rows() const { return rows_; }

  void rnn(const cell_row& r) const { functions_[0](r.gates, r.hidden); }

  /// z and r from the gates; `hidden` stays. Then r.gates = [z, r, …].
  void gru_gates(const cell_row& r) const {
    functions_[0](r.gates, r.gates);
    functions_[0](r.gates + h_, r.gates + h_);
  }
  /// The rest: gates = [z, r, x·W_hᵀ + Wb_h]; `reset` says that `late` is still to be scaled by r.
  void gru_state(const cell_row& r, bool reset) const {
    const float* z = r.gates;
    float* candidate = r.gates + 2 * h_;
    const float* late = r.late;
    if (reset) {
      rows_.mul(r.gates + h_, r.late, r.spare);
      late = r.spare;
    }
    rows_.add(candidate, late, candidate);
    functions_[1](candidate, candidate);
    rows_.mul(z, r.hidden, r.hidden);
    rows_.complement(z, r.spare);
    rows_.mul(r.spare, candidate, candidate);
    rows_.add(candidate, r.hidden, r.hidden);
  }

  void lstm(const cell_row& r) const {
    float* i = r.gates;
    float* o = r.gates + h_;
    float* f = r.gates + 2 * h_;
    float* c = r.gates + 3 * h_;
    look(r, i, 0);
    functions_[0](i, i);
    if (input_forget_) {
      rows_.complement(i, f);
    } else {
      look(r, f, 2);
      functions_[0](f, f);
    }
    functions_[1](c, c);
    rows_.mul(f, r.cell, f);
    rows_.mul(i, c, c);
    rows_.add(f, c, r.cell);
    look(r, o, 1);
    functions_[0](o, o);
    functions_[2](r.cell, r.spare);
    rows_.mul(o, r.spare, r.hidden);
  }

 private:
  /// gate += P_k ⊙ cell
  void look(const cell_row& r, float* gate, std::int64_t k) const {
    if (!r.peepholes) return;
    rows_.mul(r.peepholes + k * h_, r.cell, r.spare);
    rows_.add(gate, r.spare, gate);
  }

  bool input_forget_;
  std::int64_t h_;
  row_kernels rows_;
  std::vector<row_function> functions_;
};

}  // namespace ptq::lowering
