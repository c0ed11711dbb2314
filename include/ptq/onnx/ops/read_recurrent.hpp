#pragma once
// SPDX-License-Identifier: Apache-2.0
// Import of RNN, GRU and LSTM. Functions of a cell get their defaults here; alpha and beta are handed out in order to
// the functions that have such a parameter, as other runtimes do (the specification leaves it open).

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ptq/onnx/importer.hpp>

namespace ptq::onnx {

/// ONNX's name of a cell's function and which parameters it has.
struct cell_function_name {
  std::string_view name;
  op::cell_function::kind what;
  bool has_alpha = false, has_beta = false;
  float alpha = 0.0f, beta = 0.0f;
};
inline constexpr cell_function_name cell_function_names[] = {
    {"Sigmoid", op::cell_function::kind::sigmoid},
    {"Tanh", op::cell_function::kind::tanh},
    {"Relu", op::cell_function::kind::relu},
    {"Affine", op::cell_function::kind::affine, true, true, 1.0f, 0.0f},
    {"LeakyRelu", op::cell_function::kind::leaky_relu, true, false, 0.01f},
    {"ThresholdedRelu", op::cell_function::kind::thresholded_relu, true, false, 1.0f},
    {"ScaledTanh", op::cell_function::kind::scaled_tanh, true, true, 1.0f, 1.0f},
    {"HardSigmoid", op::cell_function::kind::hard_sigmoid, true, true, 0.2f, 0.5f},
    {"Elu", op::cell_function::kind::elu, true, false, 1.0f},
    {"Softsign", op::cell_function::kind::softsign},
    {"Softplus", op::cell_function::kind::softplus},
};

/// Names of functions are matched without regard to case, as the specification asks.
inline const cell_function_name* cell_function_of(std::string_view name) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  for (const auto& row : cell_function_names) {
    bool same = row.name.size() == name.size();
    for (std::size_t i = 0; same && i < name.size(); ++i) same = lower(name[i]) == lower(row.name[i]);
    if (same) return &row;
  }
  return nullptr;
}

inline std::vector<op::cell_function> read_cell_functions(importer& in, const op::recurrent& o) {
  static constexpr std::string_view usual[] = {"Sigmoid", "Tanh", "Tanh"};
  const auto per = o.functions_per_direction();
  const auto count = per * static_cast<std::size_t>(o.directions());
  std::vector<std::string> names = in.texts("activations");
  if (names.empty())
    for (std::size_t i = 0; i < count; ++i)
      names.emplace_back(o.what == op::recurrent::cell::rnn ? "Tanh" : usual[i % per]);
  if (names.size() != count)
    in.fail("activations: expected " + std::to_string(count) + ", got " + std::to_string(names.size()));
  const auto alphas = in.reals("activation_alpha"), betas = in.reals("activation_beta");
  std::size_t a = 0, b = 0;
  std::vector<op::cell_function> functions;
  for (const auto& name : names) {
    const auto* row = cell_function_of(name);
    if (!row) in.not_supported("activation '" + name + "'");
    op::cell_function f{row->what, row->alpha, row->beta};
    if (row->has_alpha && a < alphas.size()) f.alpha = alphas[a++];
    if (row->has_beta && b < betas.size()) f.beta = betas[b++];
    functions.push_back(f);
  }
  return functions;
}

inline void read_recurrent(importer& in, op::recurrent::cell what) {
  using direction = op::recurrent::direction;
  static constexpr std::pair<std::string_view, direction> ways[] = {
      {"forward", direction::forward}, {"reverse", direction::reverse}, {"bidirectional", direction::both}};
  op::recurrent o;
  o.what = what;
  o.way = in.word("direction", direction::forward, ways);
  o.hidden = in.integer("hidden_size", 0);
  if (o.hidden < 0) in.fail("hidden_size: expected at least 1, got " + std::to_string(o.hidden));
  o.clip = in.real("clip", 0.0f);
  if (!(o.clip >= 0.0f)) in.fail("clip: expected at least 0, got " + std::to_string(o.clip));
  o.linear_before_reset = what == op::recurrent::cell::gru && in.flag("linear_before_reset", false);
  o.input_forget = what == op::recurrent::cell::lstm && in.flag("input_forget", false);
  o.batch_first = in.flag("layout", false);
  o.functions = read_cell_functions(in, o);
  const bool lstm = what == op::recurrent::cell::lstm;
  const auto ids = in.inputs(3, lstm ? 8 : 6);
  std::vector<value_id> out;
  for (std::size_t i = 0; i < (lstm ? 3u : 2u); ++i)
    out.push_back(i < in.source().outputs.size() && !in.source().outputs[i].empty() ? in.output(i, dtype::f32) : none);
  while (!out.empty() && out.back() == none) out.pop_back();
  if (out.empty()) return;  // nothing of it is asked for
  in.emit(std::move(o), ids, std::move(out));
}

inline constexpr read_row recurrent_rows[] = {
    {"RNN", [](importer& in) { read_recurrent(in, op::recurrent::cell::rnn); }},
    {"GRU", [](importer& in) { read_recurrent(in, op::recurrent::cell::gru); }},
    {"LSTM", [](importer& in) { read_recurrent(in, op::recurrent::cell::lstm); }},
};

}  // namespace ptq::onnx
