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

#include <ptq/core/numeric.hpp>
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
    for (auto id : whole.inputs) inputs_.push_back(whole[id]);
  }

  int threads = 1;
  std::int64_t count() const { return count_; }

  /// The value for one sample: an input of the whole, or what a part that was kept yielded.
  tensor at(const std::string& value, std::int64_t index) const {
    if (cache_->has(value, index)) return cache_->at(value, index);
    const auto s = data_.at(index);
    for (std::size_t i = 0; s && i < inputs_.size(); ++i) {
      if (inputs_[i].name != value) continue;
      for (const auto& given : s->inputs)
        if (given.name == value) return entered(inputs_[i], given.value);
      if (i < s->inputs.size()) return entered(inputs_[i], s->inputs[i].value);
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
  /// As the network sees it: of the input's type and extents, and on its grid.
  static tensor entered(const value& v, const tensor& given) {
    tensor t = detail_runner::as_type(v.name, v.type, given);
    if (t.dims() != v.dims && t.size() == v.dims.size()) t = t.reshaped(v.dims);
    if (!v.quant || v.quant->per_channel() || size_of(v.quant->type) != 1) return t;
    const std::int32_t low = v.quant->type == dtype::s8 ? -128 : 0;
    const auto [scale, zero] = std::pair(v.quant->scale[0], v.quant->zero_point[0]);
    for (auto& x : t.mutable_view<float>())
      x = dequantize_value(quantize_value(x, scale, zero, low, low + 255), scale, zero);
    return t;
  }

  samples data_;
  std::int64_t count_;
  const kernels::kernel_table* table_;
  activation_cache* cache_;
  std::vector<value> inputs_;  // of the whole
};

}  // namespace ptq
