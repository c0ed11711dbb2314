// SPDX-License-Identifier: Apache-2.0
// One program, many sessions: nothing in a program changes while it runs. Meant for the thread
// sanitizer too (preset tsan); PTQ_TEST_SECONDS makes it last.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <vector>

#include <ptq/execute.hpp>
#include <ptq/kernels/reference.hpp>
#include <ptq/lower.hpp>
#include <ptq/quantize.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#include <ptq/dispatch.hpp>
#endif

#include "quantize/network.hpp"
#include "support/samples.hpp"

namespace {

using namespace ptq;
using ptq_test::network;

const kernels::kernel_table& table() {
#ifdef PTQ_TEST_DISPATCH
  return dispatched_kernels();
#else
  return kernels::reference_kernels();
#endif
}

/// Convolutions of both kinds, a residual, a gate, a mean and logits, quantized.
graph small_network() {
  network n;
  const auto a = n.conv("a", n.input("x", {1, 3, 16, 16}), 3, 16, ptq_test::positive, 3);
  const auto b = n.conv("b", a, 16, 16, {}, 3);
  const auto sum = n.binary("sum", b, a, binary_kind::add, ptq_test::positive);
  const auto gate = n.unary("gate", n.conv("g", sum, 16, 16), unary_kind::sigmoid);
  const auto gated = n.binary("gated", sum, gate, binary_kind::mul);
  n.output(n.linear("logits", n.flatten("flat", n.average("mean", gated)), 16, 10));
  const auto g = n.done();
  return quantize(g, table(), ptq_test::images(8, {1, 3, 16, 16})).network;
}

double seconds() {
  const char* wanted = std::getenv("PTQ_TEST_SECONDS");
  return wanted ? std::atof(wanted) : 0.5;
}

}  // namespace

TEST_CASE("eight threads hammer one program from sessions of their own and all see the same results") {
  const auto p = lower(small_network(), table(), {.input_shapes = {}, .fast_float = false});
  REQUIRE(p.integer());
  constexpr int inputs = 4;
  std::vector<tensor> x, want;
  for (unsigned i = 0; i < inputs; ++i) {
    x.push_back(ptq_test::normal({1, 3, 16, 16}, 100 + i));
    want.push_back(execute(p, std::vector{x.back()})[0]);
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds());
  std::atomic<long> runs = 0, wrong = 0;
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      // Every second session has two threads of its own.
      session s(p, {.threads = t % 2 ? 2 : 1, .workers = run_workers, .tap = {}});
      for (std::size_t i = t; i == t || std::chrono::steady_clock::now() < end; ++i) {
        const auto y = s.run(std::vector{x[i % inputs]})[0];
        const auto have = y.view<float>(), wish = want[i % inputs].view<float>();
        wrong += !std::equal(have.begin(), have.end(), wish.begin(), wish.end());
        ++runs;
      }
    });
  for (auto& t : threads) t.join();
  MESSAGE(runs.load() << " runs");
  CHECK(wrong == 0);
}
