#pragma once
// SPDX-License-Identifier: Apache-2.0
// Real models and data for the tests that need them: a folder with zoo.json, named by PTQ_DATA_DIR.

#include <cstdlib>
#include <filesystem>
#include <optional>

namespace ptq_test {

inline std::optional<std::filesystem::path> data_dir() {
  const char* dir = std::getenv("PTQ_DATA_DIR");
  if (dir == nullptr || *dir == '\0') return std::nullopt;
  return std::filesystem::path(dir);
}

}  // namespace ptq_test
