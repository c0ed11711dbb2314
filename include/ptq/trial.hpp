#pragma once
// SPDX-License-Identifier: Apache-2.0
// Stage: many quantizations of one float network, tried on the same samples. What all of them share
// is done once: decoding, the float answers, the statistics, and in `errors` the part of the network
// in front of a change, whose values are kept in bounded memory.
//
// Work is spread over samples or over candidates, each on one thread, and every result has its
// place: the figures do not depend on the number of threads.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ptq/core/parallel.hpp>
#include <ptq/core/progress.hpp>
#include <ptq/data/activation_cache.hpp>
#include <ptq/data/samples.hpp>
#include <ptq/execute.hpp>
#include <ptq/graph/extract.hpp>
#include <ptq/graph/scores.hpp>
#include <ptq/quantize.hpp>
#include <ptq/quantize/groups.hpp>

namespace ptq {

struct trial_options {
  quantize_options quantize = {};
  int threads = 1;
  std::size_t memory = std::size_t{1} << 30;  // bytes for samples, and as many for activations
  progress report = {};
};

class trial {
 public:
  using group_set = std::vector<int>;
  /// What a model answers to one sample.
  struct answer {
    std::vector<tensor> outputs;
    std::vector<tensor> judged;  // the same, but for probabilities the scores behind them
  };
  using differ = std::function<graph_cut(const graph& base, const graph& changed)>;

  /// throws  data_error if there are no samples
  trial(graph g, statistics observed, const kernels::kernel_table& table, samples data,
        trial_options options)
      : g_(std::move(g)),
        observed_(std::move(observed)),
        table_(&table),
        data_(std::move(data)),
        options_(std::move(options)) {
    groups_ = quantization::revertible_groups(quantization::place(g_, options_.quantize));
    const uses edges(g_);
    for (auto id : g_.outputs) {
      const auto scores = scores_of(g_, edges, id);
      const auto& name = g_[scores].name;
      const bool known = edges.is_output[static_cast<std::size_t>(scores)] ||
                         std::find(scores_.begin(), scores_.end(), name) != scores_.end();
      scores_.push_back(known ? "" : name);
    }
    load();
  }

  std::int64_t count() const { return static_cast<std::int64_t>(kept_.size()); }
  const std::vector<quantization::revertible_group>& groups() const { return groups_; }
  const graph& network() const { return g_; }

  /// The network with these groups in float.
  graph quantized(const group_set& restored) const {
    auto o = options_.quantize;
    o.report = {};
    o.restored = quantization::scope_of(groups_, restored, "given back by accuracy control");
    return ptq::quantize(g_, observed_, o);
  }

  sample at(std::int64_t i) const {
    const auto& kept = kept_[static_cast<std::size_t>(i)];
    if (kept) return *kept;
    const std::lock_guard<std::mutex> one(*reading_);
    return *data_.at(i);
  }

  /// Runs the network on samples begin … end-1 and hands over what comes out.
  ///
  /// use  called for every sample, from any thread, never twice for one
  void run(const graph& model, work_range range,
           const std::function<void(std::int64_t, const answer&)>& use) const {
    const auto shown = with_scores(model);
    std::vector<std::unique_ptr<runner>> own(workers());
    each(range.end - range.begin, [&](int w, std::int64_t k) {
      auto& r = own[static_cast<std::size_t>(w)];
      if (!r) r = std::make_unique<runner>(shown, *table_);
      const auto i = range.begin + k;
      use(i, answer_of(r->run(at(i))));
    });
  }

  /// Runs candidates on chosen samples; of each, only what lies behind the first change.
  ///
  /// base    whose values are computed once, as far as a candidate shares them
  /// cut     says where base and a candidate part
  /// use     called with candidate, position in `subset`, answer
  void run_changed(const graph& base, const std::vector<graph>& candidates, const differ& cut,
                   std::span<const std::int64_t> subset,
                   const std::function<void(std::size_t, std::size_t, const answer&)>& use) const;

  /// Σ(x − x̂)² / Σx² of every group's own values on the chosen samples, and of its readers' weights
  /// the same ratio, added up: what the group adds to the error, if nothing downstream amplified it.
  std::vector<double> local_errors(std::span<const std::int64_t> subset) const;

  /// Microseconds of every step by node and precision, the least of `repeats`.
  std::map<std::string, double> step_microseconds(const graph& model, bool fast_float,
                                                  int repeats) const;

 private:
  /// The model with the scores behind its probabilities as outputs too.
  graph with_scores(graph model) const {
    for (const auto& name : scores_) {
      if (name.empty()) continue;
      const auto id = model.find(name);
      if (id == none)
        throw error("accuracy_control: value '" + name + "': expected it in the model, got none");
      model.outputs.push_back(id);
    }
    return model;
  }
  answer answer_of(std::vector<tensor> all) const {
    answer a;
    std::size_t extra = scores_.size();
    for (std::size_t i = 0; i < scores_.size(); ++i)
      a.judged.push_back(all[scores_[i].empty() ? i : extra++]);
    all.resize(scores_.size());
    a.outputs = std::move(all);
    return a;
  }

  std::size_t workers() const { return static_cast<std::size_t>(std::max(1, options_.threads)); }

  void load() {
    const auto known = data_.count();
    std::size_t room = options_.memory;
    for (std::int64_t i = 0; !known || i < *known; ++i) {
      auto s = data_.at(i);
      if (!s) break;
      std::size_t bytes = 0;
      for (const auto& t : s->inputs) bytes += t.value.byte_count();
      kept_.emplace_back();
      if (bytes <= room) {
        room -= bytes;
        kept_.back() = std::move(s);
      }
      if (options_.report) options_.report("samples", i + 1, known.value_or(0));
    }
    if (kept_.empty()) throw data_error("accuracy_control: samples: expected at least 1, got none");
  }

  /// body(worker, item) for every item; the first exception comes out.
  template <class Body>
  void each(std::int64_t items, Body&& body) const {
    std::atomic<std::int64_t> next{0};
    std::exception_ptr failed;
    std::mutex failing;
    run_workers(static_cast<int>(workers()), [&](int w) {
      try {
        for (auto i = next++; i < items; i = next++) body(w, i);
      } catch (...) {
        const std::lock_guard<std::mutex> one(failing);
        if (!failed) failed = std::current_exception();
        next = items;
      }
    });
    if (failed) std::rethrow_exception(failed);
  }

  graph g_;
  statistics observed_;
  const kernels::kernel_table* table_;
  samples data_;
  trial_options options_;
  std::vector<quantization::revertible_group> groups_;
  std::vector<std::string> scores_;  // for each output, what its softmax reads; empty: the output itself
  std::vector<std::optional<sample>> kept_;
  std::unique_ptr<std::mutex> reading_ = std::make_unique<std::mutex>();
};

// -------------------------------------------------------------------------------------------------

inline void trial::run_changed(
    const graph& shared, const std::vector<graph>& candidates, const differ& cut,
    std::span<const std::int64_t> subset,
    const std::function<void(std::size_t, std::size_t, const answer&)>& use) const {
  const auto base = with_scores(shared);
  std::vector<graph> parts;
  std::set<std::string> wanted;
  for (const auto& candidate : candidates) {
    const auto c = with_scores(candidate);
    const auto where = cut(base, c);
    wanted.insert(where.from.begin(), where.from.end());
    parts.push_back(extracted(c, where));
  }
  activation_cache cache(options_.memory);
  runner whole(base, *table_, {.keep_values = true});
  for (std::size_t k = 0; k < subset.size(); ++k) {
    const auto s = at(subset[k]);
    const auto inputs = whole.bind(s);
    for (std::size_t i = 0; i < inputs.size(); ++i)
      cache.put(base[base.inputs[i]].name, static_cast<std::int64_t>(k), inputs[i]);
    whole.run(s, [&](const tapped& t) {
      const std::string name(t.value);
      if (!wanted.contains(name)) return;
      const auto id = base.find(name);
      const bool input = std::find(base.inputs.begin(), base.inputs.end(), id) != base.inputs.end();
      if (!input)
        cache.put(name, static_cast<std::int64_t>(k), t.real(),
                  base[id].quant ? &*base[id].quant : nullptr);
    });
  }
  std::mutex reading;
  each(static_cast<std::int64_t>(parts.size()), [&](int, std::int64_t c) {
    const auto at_part = static_cast<std::size_t>(c);
    runner part(parts[at_part], *table_);
    for (std::size_t k = 0; k < subset.size(); ++k) {
      sample s;
      {
        const std::lock_guard<std::mutex> one(reading);
        for (auto id : parts[at_part].inputs) {
          const auto& name = parts[at_part][id].name;
          s.inputs.push_back({name, cache.at(name, static_cast<std::int64_t>(k))});
        }
      }
      use(at_part, k, answer_of(part.run(s)));
    }
  });
}

inline std::vector<double> trial::local_errors(std::span<const std::int64_t> subset) const {
  const auto all = quantized({});
  struct sums {
    double signal = 0, noise = 0;
    double ratio() const { return signal > 0 ? noise / signal : 0; }
  };
  std::map<std::string, qparams> grids;
  for (const auto& group : groups_)
    for (const auto& name : group.values)
      for (const auto& form : {name, name + "_rounded"})
        if (const auto id = all.find(form); id != none && all[id].quant) grids[name] = *all[id].quant;
  std::map<std::string, sums> of;
  runner run(g_, *table_, {.threads = options_.threads, .keep_values = true});
  for (auto i : subset)
    run.run(at(i), [&](const tapped& t) {
      const auto it = grids.find(std::string(t.value));
      if (it == grids.end() || t.type != dtype::f32) return;
      const auto& q = it->second;
      auto& s = of[it->first];
      const auto* x = static_cast<const float*>(t.data);
      for (std::int64_t k = 0; k < t.size(); ++k) {
        const float y = dequantize_value(
            quantize_value(x[k], q.scale[0], q.zero_point[0], 0, 255), q.scale[0], q.zero_point[0]);
        s.signal += static_cast<double>(x[k]) * static_cast<double>(x[k]);
        s.noise += static_cast<double>(x[k] - y) * static_cast<double>(x[k] - y);
      }
    });
  const auto weight_error = [&](const std::string& name) {
    const auto find = [&](const graph& g) -> const node* {
      for (const auto& n : g.nodes)
        if (n.name == name) return &n;
      return nullptr;
    };
    const node *real = find(g_), *codes = find(all);
    sums s;
    if (!real || !codes || real->inputs.size() < 2 || codes->inputs[1] == none) return 0.0;
    const auto* w = g_.constant_of(real->inputs[1]);
    const auto& c = all[codes->inputs[1]];
    if (!w || !c.constant || !c.quant || w->type() != dtype::f32 || c.constant->type() != dtype::s8)
      return 0.0;
    const auto x = w->view<float>();
    const auto q = c.constant->view<std::int8_t>();
    std::int64_t inner = 1;
    for (int a = c.quant->axis + 1; a < w->dims().rank(); ++a) inner *= w->dims()[a];
    for (std::size_t i = 0; i < x.size(); ++i) {
      const auto channel = (i / static_cast<std::size_t>(inner)) % c.quant->scale.size();
      const double y = static_cast<double>(
          dequantize_value(q[i], c.quant->scale[channel], c.quant->zero_point[channel]));
      s.signal += static_cast<double>(x[i]) * static_cast<double>(x[i]);
      s.noise += (static_cast<double>(x[i]) - y) * (static_cast<double>(x[i]) - y);
    }
    return s.ratio();
  };
  std::vector<double> errors;
  for (const auto& group : groups_) {
    double sum = 0;
    for (const auto& v : group.values) sum = std::max(sum, of[v].ratio());
    for (const auto& n : group.nodes) sum += weight_error(n);
    errors.push_back(sum);
  }
  return errors;
}

inline std::map<std::string, double> trial::step_microseconds(const graph& model, bool fast_float,
                                                              int repeats) const {
  runner run(model, *table_, {.threads = 1, .fast_float = fast_float});
  const auto inputs = run.bind(at(0));
  const auto& steps = run.current_program().steps;
  std::vector<double> least;
  for (int r = 0; r < repeats; ++r) {
    const auto ns = run.current_session().step_times(inputs);
    if (least.empty()) least = ns;
    for (std::size_t i = 0; i < ns.size(); ++i) least[i] = std::min(least[i], ns[i]);
  }
  std::map<std::string, double> us;
  for (std::size_t i = 0; i < least.size(); ++i) us[steps[i].node] += least[i] * 1e-3;
  return us;
}

}  // namespace ptq
