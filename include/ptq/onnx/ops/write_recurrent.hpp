#pragma once
// SPDX-License-Identifier: Apache-2.0
// Export of RNN, GRU and LSTM. Functions are written out, with alpha and beta for those that have such a parameter.

#include <string>
#include <utility>
#include <vector>

#include <ptq/onnx/exporter.hpp>
#include <ptq/onnx/ops/read_recurrent.hpp>

namespace ptq::onnx {

inline void write(exporter& e, const node& n, const op::recurrent& o) {
  static constexpr const char* names[] = {"RNN", "GRU", "LSTM"};
  static constexpr const char* ways[] = {"forward", "reverse", "bidirectional"};
  auto p = e.begin(n, names[static_cast<std::size_t>(o.what)]);
  e.set(p, "hidden_size", o.hidden > 0 ? o.hidden : e.g[n.inputs[op::recurrent_port::r]].dims[2]);
  if (o.way != op::recurrent::direction::forward) e.set(p, "direction", std::string_view(ways[static_cast<std::size_t>(o.way)]));
  if (o.clip > 0) e.set(p, "clip", o.clip);
  e.flag(p, "linear_before_reset", o.linear_before_reset, false);
  e.flag(p, "input_forget", o.input_forget, false);
  e.flag(p, "layout", o.batch_first, false);
  std::vector<std::string> functions;
  std::vector<float> alphas, betas;
  for (const auto& f : o.functions)
    for (const auto& row : cell_function_names) {
      if (row.what != f.what) continue;
      functions.emplace_back(row.name);
      if (row.has_alpha) alphas.push_back(f.alpha);
      if (row.has_beta) betas.push_back(f.beta);
    }
  e.set(p, "activations", functions);
  if (!alphas.empty()) e.set(p, "activation_alpha", alphas);
  if (!betas.empty()) e.set(p, "activation_beta", betas);
  e.end(n, std::move(p));
}

}  // namespace ptq::onnx
