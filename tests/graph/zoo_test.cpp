// SPDX-License-Identifier: Apache-2.0
// Trained networks, where PTQ_DATA_DIR names a folder that has them: what inference and the passes make of real files.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include <ptq/fuse.hpp>
#include <ptq/graph/infer.hpp>
#include <ptq/import.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#endif

#include "../support/data_dir.hpp"

using namespace ptq;

namespace {

std::vector<std::filesystem::path> models() {
  std::vector<std::filesystem::path> found;
  const auto dir = ptq_test::data_dir();
  if (!dir || !std::filesystem::exists(*dir / "models")) {
    MESSAGE("PTQ_DATA_DIR names no folder with models: skipped");
    return found;
  }
  for (const auto& e : std::filesystem::recursive_directory_iterator(*dir / "models"))
    if (e.path().extension() == ".onnx") found.push_back(e.path());
  return found;
}

/// Free first axes (the batch) are 1, others are 64: wide enough for every window in the zoo. What
/// bears the name of an axis before it has its extent.
std::vector<binding> extents(const graph& g) {
  std::vector<binding> all;
  std::map<std::string, std::int64_t> named;
  for (auto id : g.inputs) {
    auto dims = g[id].dims;
    for (int i = 0; i < dims.rank(); ++i) {
      if (dims[i] >= 0) continue;
      dims[i] = i == 0 ? 1 : 64;
      const auto axis = static_cast<std::size_t>(i);
      const auto& names = g[id].dim_names;
      if (axis < names.size() && !names[axis].empty())
        dims[i] = named.emplace(names[axis], dims[i]).first->second;
    }
    all.push_back({g[id].name, dims});
  }
  return all;
}

bool fully_shaped(const graph& g) {
  for (const auto& n : g.nodes)
    for (auto id : n.outputs)
      if (id != none && (!g[id].shaped || !g[id].dims.known())) return false;
  return true;
}

std::vector<std::string> signature(const graph& g) {
  std::vector<std::string> s;
  for (auto id : g.inputs) s.push_back(g[id].name);
  for (auto id : g.outputs) s.push_back(g[id].name + " " + name_of(g[id].type) + g[id].dims.text());
  return s;
}

}  // namespace

TEST_CASE("every value of a trained network has extents once its inputs are bound") {
  for (const auto& path : models()) {
    CAPTURE(path.string());
    try {
      const auto g = import_model(path);
      // What a branch yields at run time has no extents before.
      const bool branches = std::any_of(g.nodes.begin(), g.nodes.end(), [](const node& n) {
        return std::holds_alternative<op::control>(n.what);
      });
      const auto bound = bind_inputs(g, extents(g));
      if (!branches) CHECK(fully_shaped(bound));
    } catch (const unsupported& e) {
      MESSAGE(path.filename().string() << ": " << std::string(e.what()));
    }
  }
}

TEST_CASE("passes keep inputs and outputs of a trained network, and leave no batch-norm") {
  for (const auto& path : models()) {
    CAPTURE(path.string());
    try {
      const auto g = infer(import_model(path));
      const auto f = fuse(fold(g));
      check(f);
      CHECK(signature(f) == signature(g));
      // Layers of foreign files whose weights take 9 bits become two of 8.
      const bool quantized = std::any_of(g.values.begin(), g.values.end(),
                                         [](const value& v) { return v.quant.has_value(); });
      if (!quantized) CHECK(f.nodes.size() <= g.nodes.size());
      for (const auto& n : f.nodes) CHECK_FALSE(std::holds_alternative<op::batch_norm>(n.what));
    } catch (const unsupported& e) {
      MESSAGE(path.filename().string() << ": " << std::string(e.what()));
    }
  }
}
