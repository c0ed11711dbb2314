// SPDX-License-Identifier: Apache-2.0
// One program, many sessions: nothing in a program changes while it runs. Lasts two seconds, or PTQ_TEST_SECONDS; for a
// minute under the thread sanitizer (std::thread alone: no OpenMP, no oneDNN):
//
//   cmake --preset tsan -D PTQ_TEST_FILTER=execute_shared && cmake --build --preset tsan --target ptq_tests
//   PTQ_TEST_SECONDS=60 build/tsan/tests/ptq_tests --source-file='*execute_shared_test.cpp'
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <ptq/execute.hpp>
#include <ptq/fold.hpp>
#include <ptq/fuse.hpp>
#include <ptq/import.hpp>
#include <ptq/kernels/reference.hpp>
#include <ptq/lower.hpp>
#include <ptq/quantize.hpp>
#include <ptq/save.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#include <ptq/dispatch.hpp>
#endif

#include "support/samples.hpp"
#include "support/temp_folder.hpp"

namespace {

using namespace ptq;

const kernels::kernel_table& table() {
#ifdef PTQ_TEST_DISPATCH
  return dispatched_kernels();
#else
  return kernels::reference_kernels();
#endif
}

double seconds() {
  const char* wanted = std::getenv("PTQ_TEST_SECONDS");
  return wanted ? std::atof(wanted) : 2;
}

/// A program that all threads share, its inputs, and what one thread makes of them.
struct shared_program {
  program p;
  std::vector<tensor> x, want;

  explicit shared_program(program made) : p(std::move(made)) {
    for (unsigned i = 0; i < 4; ++i) {
      x.push_back(ptq_test::normal(p.input(0).dims, 100 + i));
      want.push_back(execute(p, std::vector{x.back()})[0]);
    }
  }
  bool right(session& s, std::size_t i) const {
    i %= x.size();
    const auto y = s.run(std::vector{x[i]})[0];
    return y.byte_count() == want[i].byte_count() && std::memcmp(y.data(), want[i].data(), y.byte_count()) == 0;
  }
};

program integer_program(const std::string& model) {
  const auto g = fuse(fold(import_model(std::filesystem::path(PTQ_TEST_MODELS) / (model + ".onnx"))));
  shape dims = g[g.inputs[0]].dims;
  for (auto& d : dims.dims) d = std::max<std::int64_t>(d, 1);
  lower_options o;
  o.keep_recipes = true;
  return lower(quantize(g, table(), ptq_test::images(4, dims)).network, table(), o);
}

}  // namespace

TEST_CASE("eight threads hammer shared programs from sessions of their own and all see one thread's results") {
  const ptq_test::temp_folder folder;
  std::vector<std::unique_ptr<shared_program>> shared;
  // Convolutions of every kind and depthwise ones; products, softmax, layer-norm. Each as lowered and as loaded.
  for (const char* model : {"fashion_mobilenet", "fashion_vit"}) {
    auto p = integer_program(model);
    REQUIRE(p.integer());
    save_program(p, table(), folder.path() / model);
    shared.push_back(std::make_unique<shared_program>(std::move(p)));
    shared.push_back(std::make_unique<shared_program>(load_program(folder.path() / model, table())));
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds());
  std::atomic<long> runs = 0, wrong = 0;
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      // Every second session has two threads of its own.
      const execute_options own{.threads = t % 2 ? 2 : 1, .workers = run_workers, .tap = {}};
      std::vector<std::unique_ptr<session>> sessions;
      for (const auto& s : shared) sessions.push_back(std::make_unique<session>(s->p, own));
      for (std::size_t i = t; i < t + shared.size() || std::chrono::steady_clock::now() < end; ++i) {
        const auto k = i % shared.size();
        wrong += !shared[k]->right(*sessions[k], i / shared.size());
        ++runs;
      }
    });
  for (auto& t : threads) t.join();
  MESSAGE(runs.load() << " runs");
  CHECK(runs >= 8 * static_cast<long>(shared.size()));
  CHECK(wrong == 0);
}
