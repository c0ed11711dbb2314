// SPDX-License-Identifier: Apache-2.0
// ptq run: tensors in, tensors out.

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ptq/data/npy.hpp>

#include "measure.hpp"

namespace cli {

namespace {

/// "NAME=x.npy" → name and path, where NAME is one of `names`; no name where there is none.
std::pair<std::string, std::string> split(const std::string& text,
                                          const std::vector<std::string>& names, const char* what) {
  const auto at = text.find('=');
  if (at == std::string::npos) return {"", text};
  // Names and folders may hold '=' themselves.
  for (const auto& n : names)
    if (text.starts_with(n + "=")) return {n, text.substr(n.size() + 1)};
  if (text.find('/') < at) return {"", text};
  std::string known;
  for (const auto& n : names) known += " '" + n + "'";
  throw ptq::data_error("run: '" + text.substr(0, at) + "' is no " + what + " of the model (" +
                        what + "s:" + known + ")");
}

using names_list = std::vector<std::string>;

/// A model or a prepared program, and the names of its ports.
struct runnable {
  std::optional<ptq::graph> model;
  std::optional<ptq::program> program;
  names_list inputs, outputs;

  explicit runnable(const run_arguments& a) {
    if (is_prepared(a.model)) {
      program = prepared(a.model, a);
      for (const auto& p : program->inputs) inputs.push_back(p.name);
      for (const auto& p : program->outputs) outputs.push_back(p.name);
      return;
    }
    model = load_model(a.model);
    for (auto id : model->inputs) inputs.push_back((*model)[id].name);
    for (auto id : model->outputs) outputs.push_back((*model)[id].name);
  }
};

ptq::sample inputs_of(const names_list& names, const std::vector<std::string>& paths) {
  if (paths.size() > names.size())
    throw ptq::data_error("run: inputs: expected at most " + std::to_string(names.size()) +
                          ", got " + std::to_string(paths.size()));
  ptq::sample s;
  for (const auto& text : paths) {
    const auto [name, path] = split(text, names, "input");
    s.inputs.push_back({name, ptq::read_npy(path)});
  }
  return s;
}

/// Which output each path takes.
std::vector<std::pair<std::size_t, std::string>> ports_of(const names_list& names,
                                                          const std::vector<std::string>& paths) {
  std::vector<std::pair<std::size_t, std::string>> to;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    const auto [name, path] = split(paths[i], names, "output");
    std::size_t port = i;
    for (std::size_t n = 0; n < names.size(); ++n)
      if (!name.empty() && names[n] == name) port = n;
    if (port >= names.size())
      throw ptq::data_error("run: outputs: expected at most " + std::to_string(names.size()) +
                            ", got " + std::to_string(paths.size()));
    require_writable(path);
    to.emplace_back(port, path);
  }
  return to;
}

}  // namespace

void run(const run_arguments& a) {
  require_writable(a.json);
  const runnable what(a);
  const auto to = ports_of(what.outputs, a.outputs);
  const auto input = inputs_of(what.inputs, a.inputs);
  const auto outputs = what.program ? outputs_of(*what.program, input, a) : outputs_of(*what.model, input, a);
  nlohmann::json written = nlohmann::json::array();
  for (const auto& [port, path] : to) {
    const auto& t = outputs[port];
    const auto& name = what.outputs[port];
    ptq::write_npy(path, t);
    say(a,
        "'" + name + "' " + ptq::name_of(t.type()) + " " + t.dims().text() + " -> " + path + "\n");
    written.push_back({{"name", name},
                       {"type", ptq::name_of(t.type())},
                       {"shape", t.dims().dims},
                       {"file", path}});
  }
  write_result(a, {{"outputs", written}});
}

}  // namespace cli
