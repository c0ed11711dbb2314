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
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <numeric>
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
#include <ptq/execute/step_times.hpp>
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
  const quantize_options& options() const { return options_.quantize; }

  /// The network with these groups in float.
  graph quantized(const group_set& restored) const {
    if (instead_ && instead_->first == restored) return instead_->second;
    auto o = options_.quantize;
    o.report = {};
    o.restored = quantization::scope_of(groups_, restored, "given back by accuracy control");
    o.restored.activations_only = options_.quantize.restored.activations_only;
    return ptq::quantize(g_, observed_, o);
  }

  /// From now on this is the network with these groups in float.
  void take_instead(group_set restored, graph network) {
    instead_.emplace(std::move(restored), std::move(network));
  }
  void take_own() { instead_.reset(); }

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
  /// returns inferences that this was worth, by the products that were computed
  double run_changed(const graph& base, const std::vector<graph>& candidates, const differ& cut,
                   std::span<const std::int64_t> subset,
                   const std::function<void(std::size_t, std::size_t, const answer&)>& use) const;

  struct timed_model {
    graph model;
    bool fast_float = false;
  };
  /// Of every step by node, see ptq::step_microseconds.
  std::vector<node_microseconds> step_microseconds(const std::vector<timed_model>& all, int repeats) const;

  /// Microseconds of a whole run, as `ptq benchmark` takes them: the median on one thread.
  double median_microseconds(const graph& model, int repeats) const;

  /// Other ranges and options for the same float network.
  void start_from(statistics observed, const quantize_options& o) {
    observed_ = std::move(observed);
    options_.quantize = o;
    groups_ = quantization::revertible_groups(quantization::place(g_, o));
  }

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

  static double macs_of(const program& p) {
    double sum = 0;
    for (const auto& s : p.steps) sum += static_cast<double>(s.macs);
    return sum;
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
  std::optional<std::pair<group_set, graph>> instead_;
  std::vector<std::string> scores_;  // for each output, what its softmax reads; empty: the output itself
  std::vector<std::optional<sample>> kept_;
  std::unique_ptr<std::mutex> reading_ = std::make_unique<std::mutex>();
};

// -------------------------------------------------------------------------------------------------

inline double trial::run_changed(
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
  const double products = macs_of(whole.current_program());
  std::vector<double> worth(parts.size());
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
      worth[at_part] += products > 0 ? macs_of(part.current_program()) / products : 1;
    }
  });
  return std::accumulate(worth.begin(), worth.end(), static_cast<double>(subset.size()));
}

inline double trial::median_microseconds(const graph& model, int repeats) const {
  using clock = std::chrono::steady_clock;
  runner run(model, *table_);  // as it ships
  const auto inputs = run.bind(at(0));
  std::vector<double> us;
  const auto once = [&] {
    const auto begin = clock::now();
    run.current_session().run(inputs);
    return std::chrono::duration<double, std::micro>(clock::now() - begin).count();
  };
  for (double spent = 0; spent < 5e4;) spent += once();  // clocks and caches settle
  for (int r = 0; r < repeats; ++r) us.push_back(once());
  std::sort(us.begin(), us.end());
  return us[us.size() / 2];
}

inline std::vector<node_microseconds> trial::step_microseconds(const std::vector<timed_model>& all,
                                                               int repeats) const {
  std::vector<std::unique_ptr<runner>> programs;
  for (const auto& m : all)
    programs.push_back(std::make_unique<runner>(
        m.model, *table_, runner_options{.threads = 1, .fast_float = m.fast_float}));
  return ptq::step_microseconds(programs, at(0), repeats);
}

}  // namespace ptq
