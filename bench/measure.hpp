#pragma once
// SPDX-License-Identifier: Apache-2.0
// One measurement: a prepared kernel on one thread, checked once before it is timed, shown as rates
// and as shares of the machine's peaks.

#include <benchmark/benchmark.h>

#ifdef _OPENMP
#include <omp.h>
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <ptq/core/tensor.hpp>
#include <ptq/kernels/table.hpp>

#include "peak.hpp"

namespace ptq_bench {

/// What one call does, and the most of it that the machine can do per second.
struct cost {
  double operations = 0, peak_operations = 0;
  double bytes = 0;  // read and written
};

/// Times what `call` does, over and over, on this thread's clock; shows rates and shares of the
/// peaks.
template <class Call>
void time_calls(benchmark::State& state, const cost& c, Call&& call) {
  const double begin = seconds_used();
  for (auto _ : state) {
    call();
    benchmark::ClobberMemory();
  }
  const double calls = static_cast<double>(state.iterations()) / (seconds_used() - begin);
  if (c.operations > 0) state.counters["GOP/s"] = c.operations * calls * 1e-9;
  if (c.operations > 0 && c.peak_operations > 0)
    state.counters["%peak"] = 100 * c.operations * calls / c.peak_operations;
  if (c.bytes > 0) {
    state.counters["GB/s"] = c.bytes * calls * 1e-9;
    state.counters["%copy"] = 100 * c.bytes * calls / machine().copy;
  }
}

/// Runs all work items of a kernel on this thread.
inline void run_once(const ptq::kernels::prepared& k, const ptq::kernels::operands& io) {
  const auto scratch = ptq::allocate_aligned(k.scratch);
  k.run(k.object.get(), io, scratch.get(), {0, k.units});
}

/// A kernel with its operands. `expected` is the reference's result; a float one may differ from it
/// by `tolerance` times its largest magnitude.
struct subject {
  ptq::kernels::prepared kernel;
  ptq::kernels::operands io;
  ptq::tensor* result = nullptr;
  const ptq::tensor* expected = nullptr;
  float tolerance = 0;
  cost work;
  bool once = false;  // too slow to repeat
};

inline bool matches(const subject& s) {
  if (s.tolerance == 0 || s.result->type() != ptq::dtype::f32)
    return std::memcmp(s.result->data(), s.expected->data(), s.expected->byte_count()) == 0;
  const auto y = s.result->view<float>(), wanted = s.expected->view<float>();
  float most = 0, largest = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    most = std::max(most, std::fabs(y[i] - wanted[i]));
    largest = std::max(largest, std::fabs(wanted[i]));
  }
  return most <= s.tolerance * largest;
}

/// Times a subject, unless its result is wrong.
inline void measure(benchmark::State& state, const subject& s) {
  if (!s.kernel) return state.SkipWithError("no such kernel in this table");
  run_once(s.kernel, s.io);
  if (s.expected && !matches(s)) return state.SkipWithError("differs from the reference");
  state.SetLabel(s.kernel.name);
  const auto scratch = ptq::allocate_aligned(s.kernel.scratch);
  time_calls(state, s.work, [&] {
    s.kernel.run(s.kernel.object.get(), s.io, scratch.get(), {0, s.kernel.units});
  });
}

/// Registers a measurement whose data are made when it runs, and freed after it.
inline void add(const std::string& name, std::function<void(benchmark::State&)> run,
                bool once = false) {
  auto* b = benchmark::RegisterBenchmark(name.c_str(), std::move(run));
  b->Unit(benchmark::kMicrosecond);
  if (once) b->Iterations(1);
}

inline ptq::tensor random_codes(const ptq::shape& dims, std::uint32_t seed) {
  ptq::tensor t(ptq::dtype::u8, dims);
  std::mt19937 random(seed);
  for (auto& x : t.mutable_view<std::uint8_t>()) x = static_cast<std::uint8_t>(random() & 255u);
  return t;
}

/// Spread as the weights of a trained layer are, whose largest becomes 127: products without vpdpbusd are slower the
/// more pairs of them exceed 16 bits.
inline ptq::tensor random_weights(const ptq::shape& dims, std::uint32_t seed) {
  ptq::tensor t(ptq::dtype::s8, dims);
  std::mt19937 random(seed);
  std::normal_distribution<double> spread;
  for (auto& x : t.mutable_view<std::int8_t>())
    x = static_cast<std::int8_t>(std::lround(std::clamp(40 * spread(random), -127.0, 127.0)));
  return t;
}
inline ptq::tensor random_reals(const ptq::shape& dims, std::uint32_t seed) {
  ptq::tensor t(ptq::dtype::f32, dims);
  std::mt19937 random(seed);
  for (auto& x : t.mutable_view<float>())
    x = static_cast<float>(static_cast<int>(random() % 2001u) - 1000) * 1e-3f;
  return t;
}

/// The main of every benchmark.
template <class Register>
int run_all(int argc, char** argv, Register&& register_all) {
#ifdef _OPENMP
  omp_set_num_threads(1);  // oneDNN's too
#endif
  benchmark::Initialize(&argc, argv);
  char text[160];
  const auto& m = machine();
  std::snprintf(text, sizeof text, "int8 %.1f GOP/s, in tiles %.1f, float %.1f GOP/s, copy %.1f GB/s, one core",
                m.int8 * 1e-9, m.int8_tiles * 1e-9, m.f32 * 1e-9, m.copy * 1e-9);
  benchmark::AddCustomContext("peak", text);
  register_all(argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}

}  // namespace ptq_bench
