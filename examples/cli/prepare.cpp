// SPDX-License-Identifier: Apache-2.0
// ptq prepare: a model as a program that starts at once.

#include <cstdint>
#include <filesystem>
#include <string>

#include <nlohmann/json.hpp>

#include "measure.hpp"

namespace cli {

void prepare(const prepare_arguments& a) {
  require_writable(a.json);
  require_writable(a.out);
  prepare_file(a);
  const auto bytes = static_cast<std::uint64_t>(std::filesystem::file_size(a.out));
  const std::string isa = kernels().isa;
  say(a, a.out + ": " + std::to_string(bytes) + " bytes, for " + isa + "\n");
  write_result(a, {{"file", a.out}, {"bytes", bytes}, {"isa", isa}});
}

}  // namespace cli
