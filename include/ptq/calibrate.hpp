#pragma once
// SPDX-License-Identifier: Apache-2.0
// Stage: float graph + samples → statistics of its values. One pass over the samples; each value is
// observed while it lies in the cache, and only a sketch of fixed size is kept, so memory does not
// grow with the number of samples.
//
// In parts: `collect` gathers evidence, `resolve` turns it into ranges. Evidence serves any
// estimator that it holds enough for, merges, and may be written to a file (calibrate/artefact.hpp)
// to be resolved under other options or gone on with later.

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ptq/calibrate/artefact.hpp>
#include <ptq/calibrate/channel_mean.hpp>
#include <ptq/calibrate/estimate.hpp>
#include <ptq/calibrate/evidence.hpp>
#include <ptq/calibrate/hash.hpp>
#include <ptq/calibrate/sketch.hpp>
#include <ptq/core/progress.hpp>
#include <ptq/core/value_range.hpp>
#include <ptq/data/samples.hpp>
#include <ptq/execute.hpp>
#include <ptq/graph/print.hpp>

namespace ptq {

/// A value and one of its axes, which may count from the end.
struct channel_request {
  std::string value;
  int axis = 1;
};

struct calibrate_options {
  std::vector<std::string> values = {};  // to observe; an absent name is an error
  std::vector<channel_request> channel_means = {};
  std::vector<channel_request> channel_ranges = {};  // a range for each index of the axis
  observer_options observer = {};
  bool keep_all = false;           // what every estimator needs, and a hash of the samples
  std::int64_t subset_size = 300;  // samples read, at most
  int threads = 1;
  progress report = {};
  /// Goes on behind the samples of this evidence, of the same graph and options.
  const calibration::evidence* start = nullptr;
  /// Called with all evidence so far, after every `checkpoint_every` samples (0: never).
  std::int64_t checkpoint_every = 0;
  std::function<void(const calibration::evidence&)> checkpoint = {};
};

struct value_statistics {
  value_range range;                        // set for the observed values
  shape dims;                               // the largest of all samples
  std::vector<double> channel_means;        // set where asked for
  std::vector<value_range> channel_ranges;  // set where asked for
};

/// What calibration learned, by value name.
struct statistics {
  std::map<std::string, value_statistics, std::less<>> values;
  std::int64_t samples = 0;

  /// throws  calibration_error if the value was not observed
  const value_statistics& at(std::string_view value) const {
    const auto it = values.find(value);
    if (it == values.end())
      throw calibration_error("calibrate: value '" + std::string(value) + "' was not observed");
    return it->second;
  }
};

/// Watches values while a program runs; what a tap feeds.
class calibrator {
 public:
  /// throws  calibration_error if an estimator's options make no range
  explicit calibrator(const calibrate_options& options, observation_passes passes = {})
      : passes_(passes), keep_all_(options.keep_all) {
    calibration::check(options.observer);
    const auto needs = options.keep_all ? calibration::needs_of_all(options.observer)
                                        : calibration::needs_of(options.observer);
    for (const auto& name : options.values) seen_.values[name].numbers.emplace(needs);
    for (const auto& request : options.channel_means) {
      auto& w = seen_.values[request.value];
      w.wants_means = true;
      w.mean_axis = request.axis;
    }
    for (const auto& request : options.channel_ranges) {
      auto& w = seen_.values[request.value];
      w.channel_axis = request.axis;
      w.channel_needs = calibration::needs_of(options.observer);
    }
    if (options.start) seen_ = calibration::merged(*options.start, std::exchange(seen_, {}));
  }

  /// throws  calibration_error naming the value if a number is NaN or infinite
  void see(const tapped& t) {
    const auto it = seen_.values.find(t.value);
    if (it == seen_.values.end() || t.type != dtype::f32) return;
    auto& w = it->second;
    note_extents(w, t);
    if (t.size() == 0) return;
    const std::span x(static_cast<const float*>(t.data), static_cast<std::size_t>(t.size()));
    const value_range r = w.wants_means ? with_means(w, t, x) : extremes(x, t.value);
    if (w.numbers) w.numbers->add(x, r, passes_);
    if (w.channel_axis) add_channels(w, t, x);
  }

  /// One sample is done: all of its values have been seen.
  void finish(const sample& s) {
    ++seen_.samples;
    if (keep_all_) seen_.data_hash += calibration::hash_of(s);
  }

  /// throws  calibration_error naming a value that was never seen
  const calibration::evidence& result() const {
    for (const auto& [name, w] : seen_.values)
      if (!w.seen)
        throw calibration_error("calibrate: value '" + name +
                                "': expected it in the program, got none");
    return seen_;
  }

 private:
  using watched = calibration::value_evidence;

  static std::string who(std::string_view value) {
    return "calibrate: value '" + std::string(value) + "'";
  }

  static void note_extents(watched& w, const tapped& t) {
    if (!w.seen) w.dims = t.dims;
    if (w.dims.rank() != t.dims.rank())
      throw calibration_error(who(t.value) + ": expected one rank in all samples, got " +
                              w.dims.text() + " and " + t.dims.text());
    for (int a = 0; a < t.dims.rank(); ++a) w.dims[a] = std::max(w.dims[a], t.dims[a]);
    w.seen = true;
  }

  [[noreturn]] static void not_finite(std::span<const float> x, std::string_view value) {
    std::size_t i = 0;
    while (i + 1 < x.size() && x[i] - x[i] == 0.0f) ++i;
    throw calibration_error(who(value) + ": expected finite numbers, got " + std::to_string(x[i]) +
                            " at element " + std::to_string(i) + " of " + std::to_string(x.size()));
  }
  value_range extremes(std::span<const float> x, std::string_view value) const {
    const auto o = passes_.observe({x.data(), 1, static_cast<std::int64_t>(x.size())}, nullptr);
    if (!o.finite) not_finite(x, value);
    return {o.min, o.max};
  }

  /// Extents in memory as [outer, channels, inner] around an axis.
  struct split {
    std::int64_t outer = 1, channels = 1, inner = 1;
  };
  static split split_at(const tapped& t, int axis_from_either_end) {
    const int axis = normalized_axis(axis_from_either_end, t.dims.rank(), who(t.value));
    split s{.channels = t.dims[axis]};
    bool behind = false;
    for (int a : t.memory) {
      if (a == axis)
        behind = true;
      else
        (behind ? s.inner : s.outer) *= t.dims[a];
    }
    return s;
  }

  /// Extremes and sums in one reading where channels come last in memory, as they do in images.
  value_range with_means(watched& w, const tapped& t, std::span<const float> x) {
    const split s = split_at(t, w.mean_axis);
    sums_.assign(static_cast<std::size_t>(s.channels), 0.0);
    observation o;
    if (s.inner == 1) {
      o = passes_.observe({x.data(), s.outer, s.channels}, sums_.data());
    } else {
      o = passes_.observe({x.data(), 1, t.size()}, nullptr);
      if (o.finite) calibration::add_plane_sums(x.data(), s.outer, sums_, s.inner);
    }
    if (!o.finite) not_finite(x, t.value);
    w.means.add(sums_, s.outer * s.inner);
    return {o.min, o.max};
  }

  void add_channels(watched& w, const tapped& t, std::span<const float> x) {
    const split s = split_at(t, *w.channel_axis);
    if (w.channels.empty())
      w.channels.assign(static_cast<std::size_t>(s.channels), calibration::sketch(w.channel_needs));
    if (w.channels.size() != static_cast<std::size_t>(s.channels))
      throw calibration_error(who(t.value) + ": expected " + std::to_string(w.channels.size()) +
                              " channels in all samples, got " + std::to_string(s.channels));
    for (std::size_t c = 0; c < w.channels.size(); ++c) {
      channel_.clear();
      for (std::int64_t o = 0; o < s.outer; ++o) {
        const float* from = x.data() + (o * s.channels + static_cast<std::int64_t>(c)) * s.inner;
        channel_.insert(channel_.end(), from, from + s.inner);
      }
      w.channels[c].add(channel_, extremes(channel_, t.value), passes_);
    }
  }

  calibration::evidence seen_;
  observation_passes passes_;
  bool keep_all_ = false;
  std::vector<double> sums_;    // of one value of one sample
  std::vector<float> channel_;  // numbers of one channel of one sample
};

/// Runs the float graph on the samples and gathers evidence.
///
/// g        float: qparams would round what is observed
/// data     the first subset_size samples, or all where there are fewer; behind those that
///          `options.start` has seen
/// throws   calibration_error if there is no sample, a value is not in the graph, or a number is
///          NaN or infinite; data_error if a sample does not fit the graph's inputs
/// exact    the same evidence for any order and split of the samples, any number of threads and
///          any ISA (float kernels permitting)
/// cost     one float inference a sample, and a reading of each observed value
template <class = void>
calibration::evidence collect(const graph& g, const kernels::kernel_table& table,
                              const samples& data, const calibrate_options& options) {
  calibrator watch(options, table.observing);
  runner run(g, table, {.threads = options.threads, .keep_values = true});
  const tap_function tap = [&](const tapped& t) { watch.see(t); };
  const std::int64_t known = data.count().value_or(0);
  const std::int64_t total = known > 0 ? std::min(known, options.subset_size) : 0;
  std::int64_t done = options.start ? options.start->samples : 0;
  while (done < options.subset_size) {
    const auto s = data.at(done);
    if (!s) break;
    try {
      run.run(*s, tap);
    } catch (const calibration_error& e) {
      throw calibration_error(std::string(e.what()) + ", in sample " + std::to_string(done));
    }
    watch.finish(*s);
    ++done;
    if (options.report) options.report("calibrate", done, total);
    if (options.checkpoint && options.checkpoint_every > 0 && done % options.checkpoint_every == 0)
      options.checkpoint(watch.result());
  }
  if (done == 0) throw calibration_error("calibrate: expected at least 1 sample, got none");
  return watch.result();
}

/// Evidence → statistics, by an estimator that it holds enough for.
///
/// throws   calibration_error naming the value if it does not, or options make no range
inline statistics resolve(const calibration::evidence& e, const observer_options& options) {
  calibration::check(options);
  statistics s;
  s.samples = e.samples;
  for (const auto& [name, w] : e.values) try {
      value_statistics v;
      v.dims = w.dims;
      if (w.numbers && w.numbers->samples() > 0)
        v.range = calibration::range_of(*w.numbers, options);
      v.channel_means = w.means.means();
      for (const auto& c : w.channels)
        v.channel_ranges.push_back(calibration::range_of(c, options));
      s.values.emplace(name, std::move(v));
    } catch (const calibration_error& bad) {
      throw calibration_error(std::string(bad.what()) + " (value '" + name + "')");
    }
  return s;
}

/// Of the graph that is calibrated, weights and all: evidence of another one is of no use.
inline std::uint64_t model_hash(const graph& g) {
  calibration::hasher h;
  h.add(print(g));
  for (const auto& v : g.values)
    if (v.constant) h.add(*v.constant);
  return h.value();
}

/// Of the first n samples: what evidence of them carries.
inline std::uint64_t data_hash(const samples& data, std::int64_t n) {
  std::uint64_t sum = 0;
  for (std::int64_t i = 0; i < n; ++i)
    if (const auto s = data.at(i)) sum += calibration::hash_of(*s);
  return sum;
}

/// Runs the float graph on the samples and observes: collect, then resolve.
template <class = void>
statistics calibrate(const graph& g, const kernels::kernel_table& table, samples data,
                     const calibrate_options& options) {
  return resolve(collect(g, table, data, options), options.observer);
}

}  // namespace ptq
