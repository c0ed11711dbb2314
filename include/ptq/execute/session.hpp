#pragma once
// SPDX-License-Identifier: Apache-2.0
// Running a program: inputs → outputs. A session owns the memory of one run at a time; any number of sessions share a
// program. Threads are an option of the session, and change no bit of the result.

#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ptq/core/parallel.hpp>
#include <ptq/core/tensor.hpp>
#include <ptq/lower/openmp_threads.hpp>
#include <ptq/lower/program.hpp>
#include <ptq/lower/run_step.hpp>

namespace ptq {

/// Called with every value that the program makes visible, as soon as it is there.
using tap_function = std::function<void(const tapped&)>;

struct execute_options {
  int threads = 1;
  parallel_for workers = run_workers;   // a host's own pool, if it has one
  tap_function tap = {};
};

/// Memory and threads for running a program again and again.
class session {
 public:
  /// The program must live as long as the session.
  explicit session(const program& p, execute_options options = {})
      : program_(&p),
        options_(std::move(options)),
        arena_(allocate_aligned(p.arena_bytes)),
        scratch_stride_((p.scratch_bytes + tensor_alignment - 1) / tensor_alignment * tensor_alignment),
        scratch_(allocate_aligned(scratch_stride_ *
                                  static_cast<std::size_t>(std::max(1, options_.threads)))) {
    if (options_.threads < 1)
      throw error("execute: threads: expected at least 1, got " + std::to_string(options_.threads));
  }

  /// Runs once.
  ///
  /// inputs   one tensor per program input, in order, of its type and extents
  /// returns  one tensor per output, in ONNX order
  /// throws   shape_error naming the input that does not fit
  std::vector<tensor> run(std::span<const tensor> inputs) {
    return run_steps(inputs, [this](const step& s, const kernels::operands& io) { run_step(s, io); });
  }

  /// Runs once and measures: nanoseconds of every step.
  std::vector<double> step_times(std::span<const tensor> inputs) {
    using clock = std::chrono::steady_clock;
    std::vector<double> times;
    run_steps(inputs, [&](const step& s, const kernels::operands& io) {
      const auto begin = clock::now();
      run_step(s, io);
      times.push_back(std::chrono::duration<double, std::nano>(clock::now() - begin).count());
    });
    return times;
  }

 private:
  void check_inputs(std::span<const tensor> inputs) const {
    const auto& p = *program_;
    if (inputs.size() != p.inputs.size())
      throw shape_error("execute: inputs: expected " + std::to_string(p.inputs.size()) + ", got " +
                        std::to_string(inputs.size()));
    for (std::size_t i = 0; i < inputs.size(); ++i)
      if (inputs[i].type() != p.input(i).type || inputs[i].dims() != p.input(i).dims)
        throw shape_error("execute: input '" + p.inputs[i].name + "': expected " +
                          name_of(p.input(i).type) + " " + p.input(i).dims.text() + ", got " +
                          name_of(inputs[i].type()) + " " + inputs[i].dims().text());
  }

  template <class RunStep>
  std::vector<tensor> run_steps(std::span<const tensor> inputs, RunStep&& each) {
    const auto& p = *program_;
    check_inputs(inputs);
    std::vector<tensor> outputs;
    lowering::memory at{.arena = arena_.get(), .inputs = {}, .outputs = {}};
    for (const auto& t : inputs) at.inputs.push_back(t.data());
    for (std::size_t i = 0; i < p.outputs.size(); ++i) {
      outputs.emplace_back(p.output(i).type, p.output(i).dims);
      at.outputs.push_back(outputs.back().mutable_data());
    }
    auto tap = show(at, 0, -1);
    for (std::size_t i = 0; i < p.steps.size(); ++i) {
      each(p.steps[i], at.operands(p, p.steps[i]));
      tap = show(at, tap, static_cast<int>(i));
    }
    return outputs;
  }

  void run_step(const step& s, const kernels::operands& io) {
    const auto& k = s.kernel;
    const auto workers = static_cast<int>(std::min<std::int64_t>(options_.threads, k.units));
    if (k.whole_op) {
      const lowering::openmp_threads counted(options_.threads);
      k.run(k.object.get(), io, scratch_.get(), {0, k.units});
    } else if (workers <= 1) {
      k.run(k.object.get(), io, scratch_.get(), {0, k.units});
    } else {
      options_.workers(workers, [&](int w) {
        k.run(k.object.get(), io, scratch_.get() + scratch_stride_ * static_cast<std::size_t>(w),
              share_of(k.units, w, workers));
      });
    }
  }

  /// Calls the tap for everything that step `step` completed; returns the next tap point.
  std::size_t show(const lowering::memory& at, std::size_t tap, int step) const {
    const auto& p = *program_;
    while (tap < p.taps.size() && p.taps[tap].step <= step) {
      const int slot = p.taps[tap++].slot;
      if (!options_.tap) continue;
      const auto& s = p.slots[static_cast<std::size_t>(slot)];
      options_.tap({s.value, s.type, at.at(p, slot), s.dims, s.memory, s.codes});
    }
    return tap;
  }

  const program* program_;
  execute_options options_;
  std::shared_ptr<std::byte> arena_;
  std::size_t scratch_stride_;
  std::shared_ptr<std::byte> scratch_;
};

/// Runs a program once.
inline std::vector<tensor> execute(const program& p, std::span<const tensor> inputs,
                                   execute_options options = {}) {
  return session(p, std::move(options)).run(inputs);
}

}  // namespace ptq
