// SPDX-License-Identifier: Apache-2.0
// Finds the headers of both folders and of every dependency through ptq::ptq alone.

#include <cstdio>
#include <span>

#include <nlohmann/json.hpp>

#include <ptq/core/version.hpp>
#include <ptq/native/isa.hpp>
#include <ptq/onnx/fields.hpp>

int main() {
  const nlohmann::json about = {{"version", ptq::version}, {"isa", ptq::native::best::name}};
  std::puts(about.dump().c_str());
  return about.at("version").get<std::string>().empty() ? 1 : 0;
}
