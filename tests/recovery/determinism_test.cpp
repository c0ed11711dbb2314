// SPDX-License-Identifier: Apache-2.0
// The exported file depends on the model, the samples and the options alone: not on the run, the
// threads, the memory for activations, or whether the samples were seen in one go.
#include <doctest/doctest.h>

#include <filesystem>
#include <string>

#include <ptq/export.hpp>
#include <ptq/import.hpp>
#include <ptq/kernels/reference.hpp>
#include <ptq/quantize.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#include <ptq/dispatch.hpp>
#endif

#include "support/noise.hpp"

namespace {

using namespace ptq;

constexpr std::int64_t count = 16;

graph model(const std::string& name) {
  return fuse(fold(import_model(std::filesystem::path(PTQ_TEST_MODELS) / (name + ".onnx"))));
}

/// The first samples, or those from `skip` on.
samples images(std::int64_t n, std::int64_t skip = 0) {
  return [n, skip, all = ptq_test::noise(n + skip, {1, 1, 28, 28}, 0.3f)](std::int64_t i) {
    return i < n ? all.at(i + skip) : std::nullopt;
  };
}

const kernels::kernel_table& table() {
#ifdef PTQ_TEST_DISPATCH
  return dispatched_kernels();
#else
  return kernels::reference_kernels();
#endif
}

std::string exported(const graph& g, const quantize_options& o) {
  return export_onnx(quantize(g, table(), images(count), o).network, {});
}

}  // namespace

// What `best` adds is in layer_sweeps_test.cpp.
TEST_CASE("two runs, one and two threads, much memory and none give the same file") {
  const auto g = model("fashion_mobilenet");
  std::string other;
  for (auto level : {effort::fast, effort::balanced}) {
    INFO(name_of(level));
    quantize_options o;
    o.effort.level = level;
    const auto once = exported(g, o);
    CHECK(once != other);
    CHECK(exported(g, o) == once);
    o.threads = 2;
    o.effort.cache_mb = 0;
    CHECK(exported(g, o) == once);
    other = once;
  }
}

TEST_CASE("two halves of a calibration, merged, give the file of the whole") {
  const auto g = model("fashion_mobilenet");
  for (auto level : {effort::fast, effort::balanced}) {
    quantize_options o;
    o.effort.level = level;
    // What balanced keeps: other presets and estimators than the default's.
    const auto kept = quantize(g, table(), images(count), o).options;
    const auto from = [&](const statistics& s) { return export_onnx(quantize(g, s, kept), {}); };
    auto look = observations(g, kept);
    look.keep_all = true;
    const auto whole = collect(g, table(), images(count), look);
    const auto merged = calibration::merged(collect(g, table(), images(7), look),
                                            collect(g, table(), images(count - 7, 7), look));
    CHECK(from(resolve(merged, look.observer)) == from(resolve(whole, look.observer)));
    // One sample less is another file: the comparison is one of substance.
    const auto fewer = collect(g, table(), images(count - 1), look);
    CHECK(from(resolve(fewer, look.observer)) != from(resolve(whole, look.observer)));
  }
}
