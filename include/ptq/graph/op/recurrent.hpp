#pragma once
// SPDX-License-Identifier: Apache-2.0
// Recurrent layers. One family for RNN, GRU and LSTM: the same operands, another cell.
//
// Source: ONNX operator specification, RNN-22, GRU-22, LSTM-22 (opsets 7 and 14 say the same).

#include <cstdint>
#include <string_view>
#include <vector>

namespace ptq::op {

/// A function of a cell. Defaults of alpha and beta are those of the operator of the same name.
struct cell_function {
  enum class kind : std::uint8_t {
    sigmoid, tanh, relu, affine, leaky_relu, thresholded_relu, scaled_tanh, hard_sigmoid, elu, softsign, softplus
  } what = kind::tanh;
  float alpha = 0.0f, beta = 0.0f;
  bool operator==(const cell_function&) const = default;
};

/// x [t n i], w [d g·h i], r [d g·h h], [b [d 2·g·h]], [lengths s32 [n]], [initial_h [d n h]], [initial_c [d n h]],
/// [peepholes [d 3·h]] → [y [t d n h]], [y_h [d n h]], [y_c [d n h]]; `batch_first` puts n before t and d.
/// g gates: 1 (rnn), 3 (gru: z r h), 4 (lstm: i o f c); d directions.
///
/// Where x, w, r and initial_h hold 8-bit codes, both products run on codes: the running hidden state is rounded to the
/// grid of initial_h before each product; what y and y_h show is the state before that rounding. With one step, or seen
/// by a runtime that knows no such state, this is exactly Q → DQ on the inputs.
struct recurrent {
  enum class cell : std::uint8_t { rnn, gru, lstm } what = cell::lstm;
  enum class direction : std::uint8_t { forward, reverse, both } way = direction::forward;
  std::int64_t hidden = 0;               // 0: that of r
  float clip = 0.0f;                     // bounds the input of every function; 0: none
  std::vector<cell_function> functions;  // per direction: rnn f; gru f g; lstm f g h
  bool linear_before_reset = false;      // gru
  bool input_forget = false;             // lstm: f = 1 - i
  bool batch_first = false;
  bool operator==(const recurrent&) const = default;

  std::int64_t directions() const { return way == direction::both ? 2 : 1; }
  std::int64_t gates() const { return what == cell::lstm ? 4 : what == cell::gru ? 3 : 1; }
  std::size_t functions_per_direction() const { return what == cell::lstm ? 3 : what == cell::gru ? 2 : 1; }
};

/// Operand positions of `recurrent`.
namespace recurrent_port {
inline constexpr std::size_t x = 0, w = 1, r = 2, bias = 3, lengths = 4, initial_h = 5, initial_c = 6, peepholes = 7;
}

}  // namespace ptq::op
