#pragma once
// SPDX-License-Identifier: Apache-2.0
// Threads, as the executor sees them: one function that runs a body for every worker. The built-in one uses OpenMP or
// std::thread; a host that has its own pool passes that in.

#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace ptq {

/// Runs body(worker) for worker = 0 … workers-1, in any order or at once, and returns when all are done. The body
/// never throws.
using parallel_for = std::function<void(int workers, const std::function<void(int)>& body)>;

/// Half-open range of work items.
struct work_range {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

/// Worker `worker`'s contiguous share of `units` items: a static split, so that it depends on nothing but its arguments.
inline work_range share_of(std::int64_t units, int worker, int workers) {
  return {units * worker / workers, units * (worker + 1) / workers};
}

/// The built-in parallel_for: OpenMP when compiled with it, std::thread otherwise.
inline void run_workers(int workers, const std::function<void(int)>& body) {
  if (workers <= 1) {
    body(0);
    return;
  }
#ifdef _OPENMP
#pragma omp parallel num_threads(workers)
  for (int w = omp_get_thread_num(); w < workers; w += omp_get_num_threads()) body(w);
#else
  std::vector<std::thread> others;
  others.reserve(static_cast<std::size_t>(workers) - 1);
  for (int w = 1; w < workers; ++w) others.emplace_back([&body, w] { body(w); });
  body(0);
  for (auto& t : others) t.join();
#endif
}

}  // namespace ptq
