#pragma once
// SPDX-License-Identifier: Apache-2.0
// What layers cost: microseconds in float and in integers, measured once before the search and
// rounded, so that the search is a pure function of its inputs. A cost file keeps them, and makes
// another search repeat this one to the byte.

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include <nlohmann/json.hpp>

#include <ptq/core/error.hpp>

namespace ptq::control {

struct layer_cost {
  double real_us = 0, integer_us = 0;
};

struct cost_table {
  double real_us = 0;     // the whole float model, as it would ship
  double integer_us = 0;  // the whole integer model
  std::map<std::string, layer_cost> layers;  // by node
};

/// To the nearest power of 1.02: two measurements that differ by less than timers do are one.
inline double rounded_cost(double us) {
  if (!(us > 0)) return 0;
  const double step = std::log(1.02);
  return std::exp(std::round(std::log(us) / step) * step);
}

/// Microseconds given back by a node that goes to float; never negative: a layer that is faster in
/// float on this machine is no reason to hurry.
inline double given_back(const cost_table& costs, const std::string& node) {
  const auto it = costs.layers.find(node);
  return it == costs.layers.end() ? 0 : std::max(0.0, it->second.real_us - it->second.integer_us);
}

template <class Json = nlohmann::json>
std::string cost_text(const cost_table& costs) {
  Json j = {{"float_us", costs.real_us},
            {"int8_us", costs.integer_us},
            {"layers", Json::object()}};
  for (const auto& [name, c] : costs.layers) j["layers"][name] = {c.real_us, c.integer_us};
  return j.dump(1) + "\n";
}

/// throws  data_error naming what is missing or no number >= 0
template <class Json = nlohmann::json>
cost_table parse_costs(const std::string& text, const std::string& file) {
  const auto fail = [&](const std::string& what) {
    throw data_error("accuracy_control: costs '" + file + "': " + what);
  };
  const auto j = Json::parse(text, nullptr, false);
  if (!j.is_object()) fail("expected a JSON object, got none");
  const auto number = [&](const Json& at, const std::string& what) {
    if (!at.is_number() || at.template get<double>() < 0)
      fail(what + ": expected a number >= 0, got " + at.dump());
    return at.template get<double>();
  };
  const auto member = [&](const char* name) {
    if (!j.contains(name)) fail(std::string(name) + ": expected it, got none");
    return j[name];
  };
  cost_table costs{number(member("float_us"), "float_us"), number(member("int8_us"), "int8_us"), {}};
  const auto layers = member("layers");
  if (!layers.is_object()) fail("layers: expected an object, got " + layers.dump());
  for (const auto& [name, pair] : layers.items()) {
    if (!pair.is_array() || pair.size() != 2)
      fail("layer '" + name + "': expected [float, int8], got " + pair.dump());
    costs.layers[name] = {number(pair[0], name), number(pair[1], name)};
  }
  return costs;
}

template <class = void>
cost_table read_costs(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) throw io_error("accuracy_control: costs '" + file.string() + "': can't be read");
  return parse_costs(std::string(std::istreambuf_iterator<char>(in), {}), file.string());
}

}  // namespace ptq::control
