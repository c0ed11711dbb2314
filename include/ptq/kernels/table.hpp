#pragma once
// SPDX-License-Identifier: Apache-2.0
// The table of kernels: the only thing that lowering and the executor know of an ISA. An entry takes arguments and
// returns an immutable prepared object with the function that runs it. An empty entry means: use the reference.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include <ptq/core/observation.hpp>
#include <ptq/core/parallel.hpp>
#include <ptq/kernels/args.hpp>

namespace ptq::kernels {

/// Pointers of one call, in the order that the arguments' comment states. Aligned to their element only. `dst` may be
/// one of the sources for lookup, qbinary, unary, binary, softmax and layer_norm, where it lies as the source does:
/// what they write over they have read.
struct operands {
  std::array<const void*, 4> src{};
  void* dst = nullptr;
};

/// A kernel ready to run.
struct prepared {
  /// Packed weights and constants; may be shared between programs and threads.
  std::shared_ptr<const void> object;
  /// Does the work items of `range` ⊂ [0, units): single-threaded, never allocates, never throws. Results do not
  /// depend on how the items are split.
  void (*run)(const void* object, const operands&, std::byte* scratch, work_range range) = nullptr;
  std::int64_t units = 1;
  std::size_t scratch = 0;   // bytes per thread, aligned to 64
  bool whole_op = false;     // threads by itself (oneDNN): called once, outside parallel regions, with all units
  const char* name = "";     // algorithm, for reports: "gemm 6x64 dpbusd"
  /// The part of what the object reads that depends on weights; may be passed back in the arguments.
  packed_memory packed = {};
  explicit operator bool() const { return run != nullptr; }
};

template <class Args> using entry = prepared (*)(const Args&);

/// Kernels of one ISA. Fields may be null.
struct kernel_table {
  const char* isa = "reference";
  entry<qconv_args> qconv = nullptr;
  entry<qmatmul_args> qmatmul = nullptr;
  entry<quantize_args> quantize = nullptr;
  entry<dequantize_args> dequantize = nullptr;
  entry<lookup_args> lookup = nullptr;
  entry<qbinary_args> qbinary = nullptr;
  entry<qpool_args> qpool = nullptr;

  entry<conv_args> conv = nullptr;             // exact_float
  entry<matmul_args> matmul = nullptr;         // exact_float
  entry<unary_args> unary = nullptr;           // exact_float
  entry<binary_args> binary = nullptr;         // exact_float
  entry<pool_args> pool = nullptr;             // exact_float
  entry<softmax_args> softmax = nullptr;       // exact_float
  entry<layer_norm_args> layer_norm = nullptr; // exact_float
  entry<reduce_args> reduce = nullptr;         // exact_float
  entry<copy_args> copy = nullptr;

  entry<wide_conv_args> wide_conv = nullptr;
  entry<quantize_args> wide_quantize = nullptr;      // codes are u16
  entry<dequantize_args> wide_dequantize = nullptr;  // codes are u16

  /// Faster kernels for programs that hold no integers (baseline, calibration): not bit-equal across ISAs. Null: use
  /// the ones above.
  entry<conv_args> fast_conv = nullptr;
  entry<matmul_args> fast_matmul = nullptr;
  entry<conv_args> winograd_conv = nullptr;  // before fast_conv, where it takes the arguments

  /// Calibration's passes over values: nothing to prepare, exact on every ISA.
  observation_passes observing = {};
};

/// The scalar specification: every entry set (fast_* apart).
template <class = void>
const kernel_table& reference_kernels();

}  // namespace ptq::kernels
