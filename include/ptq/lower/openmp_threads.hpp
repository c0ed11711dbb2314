#pragma once
// SPDX-License-Identifier: Apache-2.0
// OpenMP's thread count for kernels that thread by themselves (`whole_op`: oneDNN). They plan for the
// count that they meet when they are prepared and start that many threads when they run, so lowering
// and execution set the same one; otherwise one thread of a session becomes one per core, waiting
// for each other.

#ifdef _OPENMP
#include <omp.h>
#endif

namespace ptq::lowering {

/// The calling thread's count while this lives; the one before comes back.
class openmp_threads {
 public:
#ifdef _OPENMP
  explicit openmp_threads(int threads) : before_(omp_get_max_threads()) {
    omp_set_num_threads(threads < 1 ? 1 : threads);
  }
  ~openmp_threads() { omp_set_num_threads(before_); }
#else
  explicit openmp_threads(int) {}
  ~openmp_threads() {}
#endif
  openmp_threads(const openmp_threads&) = delete;
  openmp_threads& operator=(const openmp_threads&) = delete;

 private:
#ifdef _OPENMP
  int before_;
#endif
};

}  // namespace ptq::lowering
