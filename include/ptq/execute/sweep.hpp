#pragma once
// SPDX-License-Identifier: Apache-2.0
// Goes through a network part by part, all samples at a time: what one part yields is kept for the
// next, so that work on one layer needs nothing before it to run again. Extents must be the same in
// every sample.

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <ptq/data/activation_cache.hpp>
#include <ptq/data/samples.hpp>
#include <ptq/execute/runner.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/lower.hpp>

namespace ptq {

/// The graph for the extents of one sample: every extent is known, and what depends on extents alone
/// is constant.
///
/// throws  data_error as runner::run, shape_error and unsupported as lower
template <class = void>
graph at_extents_of(graph g, const kernels::kernel_table& table, const sample& s) {
  lower_options extents;
  runner binder(g, table);
  const auto inputs = binder.bind(s);
  for (std::size_t i = 0; i < inputs.size(); ++i)
    extents.input_shapes.push_back({g[g.inputs[i]].name, inputs[i].dims()});
  lowering::bind_inputs(g, extents);
  lowering::resolve_shapes(g);
  return pruned(std::move(g));
}

class sweep {
 public:
  /// whole   whose inputs the samples hold, as at_extents_of gives it
  /// data    must live as long as the sweep, as must table and cache
  sweep(const graph& whole, samples data, std::int64_t count, const kernels::kernel_table& table,
        activation_cache& cache)
      : data_(std::move(data)), count_(count), table_(&table), cache_(&cache) {
    for (auto id : whole.inputs) inputs_.push_back(whole[id].name);
  }

  int threads = 1;
  std::int64_t count() const { return count_; }

  /// The value for one sample: an input of the whole, or what a part that was kept yielded.
  tensor at(const std::string& value, std::int64_t index) const {
    if (cache_->has(value, index)) return cache_->at(value, index);
    const auto s = data_.at(index);
    for (std::size_t i = 0; s && i < inputs_.size(); ++i) {
      if (inputs_[i] != value) continue;
      for (const auto& given : s->inputs)
        if (given.name == value) return given.value;
      if (i < s->inputs.size()) return s->inputs[i].value;
    }
    return cache_->at(value, index);  // throws, naming it
  }

  /// Runs a part on every sample and keeps its outputs.
  void keep(const graph& part) {
    // Float steps between integers must be those of the whole program: no fast_float.
    runner run(part, *table_, {.threads = threads, .fast_float = false});
    for (std::int64_t i = 0; i < count_; ++i) {
      sample s;
      for (auto id : part.inputs) s.inputs.push_back({part[id].name, at(part[id].name, i)});
      const auto outputs = run.run(s);
      for (std::size_t k = 0; k < outputs.size(); ++k) {
        const auto& v = part[part.outputs[k]];
        cache_->put(v.name, i, outputs[k], v.quant ? &*v.quant : nullptr);
      }
    }
  }

  void drop(const std::string& value) { cache_->drop(value); }

 private:
  samples data_;
  std::int64_t count_;
  const kernels::kernel_table* table_;
  activation_cache* cache_;
  std::vector<std::string> inputs_;
};

}  // namespace ptq
