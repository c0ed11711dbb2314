#pragma once
// SPDX-License-Identifier: Apache-2.0
// The kernel of a recurrent layer: steps through time, one direction per work item. The products x·Wᵀ of all steps are
// there already; h·Rᵀ of a step is one prepared product over the batch, on reals or on codes.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <ptq/core/tensor.hpp>
#include <ptq/lower/cell.hpp>
#include <ptq/lower/program.hpp>
#include <ptq/lower/recipe.hpp>

namespace ptq::lowering {

/// h·Rᵀ of some gates: [rows h] → [rows, columns].
struct hidden_piece {
  std::int64_t rows = 0, first_gate = 0, columns = 0;
};
/// All gates of a batch at once, or of a gru that resets first its two gates, then one row's state.
inline std::vector<hidden_piece> hidden_pieces(const op::recurrent& what, std::int64_t batch, std::int64_t hidden) {
  if (what.what == op::recurrent::cell::gru && !what.linear_before_reset)
    return {{batch, 0, 2 * hidden}, {1, 2, hidden}};
  return {{batch, 0, what.gates() * hidden}};
}

/// A piece's kernels: `k` reads [rows h] (reals, or codes) and writes f32.
struct hidden_product {
  kernels::prepared k;
  hidden_piece piece;
  std::optional<kernels::prepared> to_codes = {};        // [rows h] → u8, where k takes codes
  std::shared_ptr<const recipe> made_of = {}, codes_made_of = {};  // where the program is to be saved
};

/// Where the operands of a run lie; positions in the step's sources, -1 where absent.
struct recurrence_sources {
  int gates = 0;          // f32 [d][t·n][g·h], rows in x's order
  int initial_h = -1, initial_c = -1;
  int rest = -1;          // one block: what follows lies at these byte offsets
  std::int64_t lengths = -1, r = -1, bias = -1, peepholes = -1;
};

class recurrence {
 public:
  op::recurrent what;
  std::int64_t steps = 0, batch = 0, hidden = 0, input = 0;
  recurrence_sources at;
  std::vector<recurrent_cell> cells;                   // per direction
  std::vector<std::vector<hidden_product>> products;   // per direction: one, or two for a gru that resets first
  std::vector<float> bias;                             // constant [d][2·g·h]; empty: none, or computed
  std::vector<float> peepholes;                        // constant [d][3·h]
  row_kernels gate_rows;                               // over g·h numbers
  std::int64_t y_bytes = 0, state_bytes = 0;           // y, y_h, y_c lie one after the other

  std::int64_t gates() const { return what.gates() * hidden; }
  std::int64_t directions() const { return what.directions(); }

  std::size_t scratch_bytes() const {
    std::size_t inner = 0;
    for (const auto& d : products)
      for (const auto& p : d) inner = std::max({inner, p.k.scratch, p.to_codes ? p.to_codes->scratch : 0});
    return static_cast<std::size_t>(own_floats()) * sizeof(float) + aligned(batch * hidden) + inner;
  }

  void operator()(const kernels::operands& io, std::byte* scratch, work_range range) const {
    for (auto d = range.begin; d < range.end; ++d) direction(io, scratch, d);
  }

 private:
  static std::int64_t aligned_floats(std::int64_t n) { return (n + 15) / 16 * 16; }
  static std::size_t aligned(std::int64_t bytes) { return static_cast<std::size_t>((bytes + 63) / 64 * 64); }
  /// What `space` spreads.
  std::int64_t own_floats() const {
    return 4 * aligned_floats(batch * hidden) + aligned_floats(batch * gates()) + 3 * aligned_floats(gates());
  }

  struct space {
    float *h, *c, *late, *spare, *product, *sum, *bias, *late_bias;
    std::byte *codes, *inner;
  };
  space spread(std::byte* scratch) const {
    auto* p = reinterpret_cast<float*>(scratch);
    const auto take = [&](std::int64_t n) {
      auto* here = p;
      p += aligned_floats(n);
      return here;
    };
    space s{};
    const auto state = batch * hidden;
    s.h = take(state), s.c = take(state), s.late = take(state), s.spare = take(state);
    s.product = take(batch * gates());
    s.sum = take(gates()), s.bias = take(gates()), s.late_bias = take(gates());
    s.codes = reinterpret_cast<std::byte*>(p);
    s.inner = s.codes + aligned(batch * hidden);
    return s;
  }

  const std::byte* rest(const kernels::operands& io, std::int64_t offset) const {
    return static_cast<const std::byte*>(io.src[static_cast<std::size_t>(at.rest)]) + offset;
  }
  const float* source(const kernels::operands& io, int i) const {
    return i < 0 ? nullptr : static_cast<const float*>(io.src[static_cast<std::size_t>(i)]);
  }

  std::int64_t state_row(std::int64_t d, std::int64_t b) const {
    return (what.batch_first ? b * directions() + d : d * batch + b) * hidden;
  }
  std::int64_t y_row(std::int64_t t, std::int64_t d, std::int64_t b) const {
    return (what.batch_first ? (b * steps + t) * directions() + d : (t * directions() + d) * batch + b) * hidden;
  }

  /// The bias of the gates, and of a gru the part that belongs to h·R_h.
  void join_bias(const float* b, const space& s) const {
    const auto g = gates();
    std::fill(s.bias, s.bias + g, 0.0f);
    std::fill(s.late_bias, s.late_bias + hidden, 0.0f);
    if (!b) return;
    gate_rows.add(b, b + g, s.bias);
    if (what.what != op::recurrent::cell::gru) return;
    std::copy(b + 2 * hidden, b + 3 * hidden, s.bias + 2 * hidden);
    std::copy(b + g + 2 * hidden, b + g + 3 * hidden, s.late_bias);
  }

  /// product[:, columns] = h · Rᵀ
  void multiply(const hidden_product& p, const float* h, const float* r, const space& s, float* dst) const {
    const void* left = h;
    if (p.to_codes) {
      run_all(*p.to_codes, {.src = {h}, .dst = s.codes}, s.inner);
      left = s.codes;
    }
    run_all(p.k, {.src = {left, r ? r + p.piece.first_gate * hidden * hidden : nullptr}, .dst = dst}, s.inner);
  }

  void direction(const kernels::operands& io, std::byte* scratch, std::int64_t d) const {
    const space s = spread(scratch);
    const auto g = gates();
    const float* b = !bias.empty() ? bias.data() : at.bias < 0 ? nullptr : floats(io, at.bias);
    join_bias(b ? b + d * 2 * g : nullptr, s);
    const float* r = at.r < 0 ? nullptr : floats(io, at.r) + d * g * hidden;
    const float* p = !peepholes.empty() ? peepholes.data() : at.peepholes < 0 ? nullptr : floats(io, at.peepholes);
    if (p) p += d * 3 * hidden;
    const auto* lengths =
        at.lengths < 0 ? nullptr : reinterpret_cast<const std::int32_t*>(rest(io, at.lengths));
    load_state(source(io, at.initial_h), d, s.h);
    load_state(source(io, at.initial_c), d, s.c);
    const float* x = source(io, at.gates) + d * steps * batch * g;
    auto* y = static_cast<float*>(io.dst);
    const bool back = what.way == op::recurrent::direction::reverse || d == 1;
    for (std::int64_t step = 0; step < steps; ++step) {
      const auto& first = products[static_cast<std::size_t>(d)][0];
      multiply(first, s.h, r, s, s.product);
      for (std::int64_t row = 0; row < batch; ++row) {
        const auto length = lengths ? std::clamp<std::int64_t>(lengths[row], 0, steps) : steps;
        if (step >= length) {
          std::fill_n(y + y_row(step, d, row), hidden, 0.0f);
          continue;
        }
        const auto t = back ? length - 1 - step : step;
        one(x + (what.batch_first ? row * steps + t : t * batch + row) * g, r, p, d, row, s);
        std::copy_n(s.h + row * hidden, hidden, y + y_row(t, d, row));
      }
    }
    store_state(s.h, d, reinterpret_cast<float*>(static_cast<std::byte*>(io.dst) + y_bytes));
    store_state(s.c, d, reinterpret_cast<float*>(static_cast<std::byte*>(io.dst) + y_bytes + state_bytes));
  }

  const float* floats(const kernels::operands& io, std::int64_t offset) const {
    return reinterpret_cast<const float*>(rest(io, offset));
  }

  /// One row of the batch, one step.
  void one(const float* x, const float* r, const float* p, std::int64_t d, std::int64_t row, const space& s) const {
    const auto& cell = cells[static_cast<std::size_t>(d)];
    const auto& by = products[static_cast<std::size_t>(d)];
    const bool gru = what.what == op::recurrent::cell::gru;
    float* product = s.product + row * by[0].piece.columns;
    float* spare = s.spare + row * hidden;
    float* h = s.h + row * hidden;
    if (!gru) {
      gate_rows.add(x, product, product);
      gate_rows.add(product, s.bias, product);
      const cell_row at_row{product, nullptr, h, s.c + row * hidden, p, spare};
      return what.what == op::recurrent::cell::lstm ? cell.lstm(at_row) : cell.rnn(at_row);
    }
    // A row of gates of its own: the product keeps the part that belongs to h·R_h.
    float* sum = s.sum;
    gate_rows.add(x, s.bias, sum);
    cell.rows().add(sum, product, sum);
    cell.rows().add(sum + hidden, product + hidden, sum + hidden);
    float* late = s.late + row * hidden;
    const cell_row at_row{sum, late, h, nullptr, nullptr, spare};
    cell.gru_gates(at_row);
    if (what.linear_before_reset) {
      cell.rows().add(product + 2 * hidden, s.late_bias, late);
    } else {
      cell.rows().mul(sum + hidden, h, spare);
      multiply(by[1], spare, r, s, late);
      cell.rows().add(late, s.late_bias, late);
    }
    cell.gru_state(at_row, what.linear_before_reset);
  }

  void load_state(const float* from, std::int64_t d, float* to) const {
    for (std::int64_t b = 0; b < batch; ++b)
      if (from)
        std::copy_n(from + state_row(d, b), hidden, to + b * hidden);
      else
        std::fill_n(to + b * hidden, hidden, 0.0f);
  }
  void store_state(const float* from, std::int64_t d, float* to) const {
    for (std::int64_t b = 0; b < batch; ++b) std::copy_n(from + b * hidden, hidden, to + state_row(d, b));
  }
};

/// The step's kernel.
inline kernels::prepared recurrence_kernel(recurrence made) {
  kernels::prepared p;
  p.units = made.directions();
  p.scratch = made.scratch_bytes();
  p.object = std::make_shared<const recurrence>(std::move(made));
  p.run = [](const void* object, const kernels::operands& io, std::byte* scratch, work_range r) {
    (*static_cast<const recurrence*>(object))(io, scratch, r);
  };
  p.name = "recurrence";
  return p;
}

}  // namespace ptq::lowering
