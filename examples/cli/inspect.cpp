// SPDX-License-Identifier: Apache-2.0
// ptq inspect: what a model holds, how it would run here, and which kernels there are.

#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <ptq/graph/address.hpp>
#include <ptq/graph/print.hpp>
#include <ptq/quantize/settings.hpp>

#include "measure.hpp"

namespace cli {

namespace {

std::string shape_text(const ptq::value& v) {
  if (!v.shaped) return "[...]";
  std::string s = "[";
  for (int i = 0; i < v.dims.rank(); ++i) {
    const auto n = static_cast<std::size_t>(i);
    const bool named = n < v.dim_names.size() && !v.dim_names[n].empty();
    s += (i ? "," : "") + (v.dims[i] >= 0 ? std::to_string(v.dims[i])
                           : named        ? v.dim_names[n]
                                          : "?");
  }
  return s + "]";
}

struct port_list {
  std::string text;
  nlohmann::json json = nlohmann::json::array();
};

port_list ports(const ptq::graph& g, const std::vector<ptq::value_id>& ids, const char* what) {
  port_list p;
  for (auto id : ids) {
    const auto& v = g[id];
    p.text += std::string(what) + " '" + v.name + "' " + ptq::name_of(v.type) + " " +
              shape_text(v) + "\n";
    nlohmann::json dims = nlohmann::json::array();
    for (auto d : v.dims.dims) dims.push_back(d);
    p.json.push_back({{"name", v.name}, {"type", ptq::name_of(v.type)}, {"shape", dims}});
  }
  return p;
}

void inspect_cpu(const inspect_arguments& a, nlohmann::json& j) {
  const auto& chosen = kernels();
  j["kernels"] = nlohmann::json::array();
  say(a, "kernels, best first:\n");
  for (const auto& b : built_tables()) {
    const bool is_chosen = std::string_view(b.table->isa) == chosen.isa;
    say(a, std::string("  ") + b.table->isa + (b.supported ? "" : "  (not on this CPU)") +
               (is_chosen ? "  <- chosen" : "") + "\n");
    j["kernels"].push_back(
        {{"isa", b.table->isa}, {"supported", b.supported}, {"chosen", is_chosen}});
  }
}

void list_addresses(const inspect_arguments& a, const ptq::graph& g, nlohmann::json& j) {
  const auto all = ptq::addresses(g);
  for (std::size_t i = 0; i < all.size(); ++i) {
    say(a, all[i] + "  " + g.nodes[i].name + "\n");
    j["addresses"].push_back({{"address", all[i]}, {"name", g.nodes[i].name}});
  }
}

void inspect_model(const inspect_arguments& a, nlohmann::json& j) {
  auto g = read_model(a.model);
  const auto in = ports(g, g.inputs, "input "), out = ports(g, g.outputs, "output");
  std::map<std::string, std::int64_t> operators;
  for (const auto& n : g.nodes) ++operators[ptq::op_name(n.what)];
  std::int64_t parameters = 0;
  for (const auto& v : g.values) parameters += v.constant ? v.constant->size() : 0;
  const bool quantized = is_quantized(g);
  std::string s = in.text + out.text + std::to_string(g.nodes.size()) + " operators:";
  for (const auto& [name, count] : operators) s += " " + name + " " + std::to_string(count);
  s += "\n" + std::to_string(parameters) + " parameters, " +
       (quantized ? "quantized" : "not quantized") + "\n";
  for (const auto& e : g.metadata)
    if (e.key.starts_with(ptq::metadata_prefix)) {
      s += "made with " + e.key + " = " + e.text + "\n";
      j["made_with"][e.key.substr(std::string(ptq::metadata_prefix).size())] = e.text;
    }
  say(a, s);
  j["inputs"] = in.json;
  j["outputs"] = out.json;
  j["operators"] = operators;
  j["parameters"] = parameters;
  j["quantized"] = quantized;
  try {
    g = simplified(std::move(g));
    if (a.addresses) list_addresses(a, g, j);
    auto r = steps_of(g, random_sample(g, a.dims, 0));
    r.model = a.model;
    ptq::add(r, g);
    say(a, ptq::text(r));
    j.update(ptq::json(r));
  } catch (const ptq::unsupported& e) {
    say(a, std::string("does not run: ") + e.what() + "\n");
    j["does_not_run"] = e.what();
  }
}

}  // namespace

void inspect(const inspect_arguments& a) {
  require_writable(a.json);
  nlohmann::json j = nlohmann::json::object();
  if (a.cpu) inspect_cpu(a, j);
  if (!a.model.empty()) inspect_model(a, j);
  write_result(a, j);
}

}  // namespace cli
