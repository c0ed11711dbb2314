#pragma once
// SPDX-License-Identifier: Apache-2.0
// Stage: float graph + samples → statistics of its values. One pass over the samples; each value is
// observed while it lies in the cache, and only its observer's fixed state is kept, so memory does
// not grow with the number of samples.

#include <algorithm>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ptq/calibrate/automatic.hpp>
#include <ptq/calibrate/channel_mean.hpp>
#include <ptq/calibrate/entropy.hpp>
#include <ptq/calibrate/mean_minmax.hpp>
#include <ptq/calibrate/minmax.hpp>
#include <ptq/calibrate/mse.hpp>
#include <ptq/calibrate/observer.hpp>
#include <ptq/calibrate/percentile.hpp>
#include <ptq/core/progress.hpp>
#include <ptq/core/value_range.hpp>
#include <ptq/data/samples.hpp>
#include <ptq/execute.hpp>

namespace ptq {

/// An observer that knows nothing yet.
struct observer_options {
  range_estimator estimator = range_estimator::mean_minmax;
  double percentile_tail = 1e-4;  // share of numbers clipped at each side
  bool symmetric = true;          // of the codes that `mse` minimises the error of
};
inline calibration::any_observer make_observer(const observer_options& o) {
  switch (o.estimator) {
    case range_estimator::minmax:
      return calibration::minmax{};
    case range_estimator::mean_minmax:
      return calibration::mean_minmax{};
    case range_estimator::percentile:
      return calibration::percentile(o.percentile_tail);
    case range_estimator::mse:
      return calibration::mse({.symmetric = o.symmetric});
    case range_estimator::entropy:
      return calibration::entropy{};
    case range_estimator::automatic:
      return calibration::automatic({.symmetric = o.symmetric});
  }
  return calibration::minmax{};
}

/// A value whose mean per index of `axis` is wanted; the axis may count from the end.
struct channel_request {
  std::string value;
  int axis = 1;
};

struct calibrate_options {
  std::vector<std::string> values = {};  // to observe; an absent name is an error
  std::vector<channel_request> channel_means = {};
  observer_options observer = {};
  std::int64_t subset_size = 300;  // samples read, at most
  int threads = 1;
  progress report = {};
};

struct value_statistics {
  value_range range;                  // set for the observed values
  shape dims;                         // of the last sample
  std::vector<double> channel_means;  // set where asked for
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
  explicit calibrator(const calibrate_options& options) {
    for (const auto& name : options.values)
      watched_[name].observer.emplace_back(make_observer(options.observer));
    for (const auto& request : options.channel_means) {
      auto& w = watched_[request.value];
      w.wants_means = true;
      w.axis = request.axis;
    }
  }

  /// throws  calibration_error naming the value if a number is NaN or infinite
  void see(const tapped& t) {
    const auto it = watched_.find(t.value);
    if (it == watched_.end() || t.type != dtype::f32) return;
    auto& w = it->second;
    const auto* x = static_cast<const float*>(t.data);
    w.seen = true;
    w.dims = t.dims;
    for (auto& o : w.observer) o.add({x, static_cast<std::size_t>(t.size())}, t.value);
    if (w.wants_means) add_means(w, t, x);
  }

  /// throws  calibration_error naming a value that was never seen
  statistics result(std::int64_t samples) const {
    statistics s;
    s.samples = samples;
    for (const auto& [name, w] : watched_) {
      if (!w.seen)
        throw calibration_error("calibrate: value '" + name +
                                "': expected it in the program, got none");
      value_statistics v;
      v.dims = w.dims;
      if (!w.observer.empty() && w.observer[0].samples() > 0) v.range = w.observer[0].range();
      v.channel_means = w.means.means();
      s.values.emplace(name, std::move(v));
    }
    return s;
  }

 private:
  struct watched {
    std::vector<calibration::any_observer> observer;  // none or one
    calibration::channel_mean means;
    shape dims;
    int axis = 1;
    bool wants_means = false, seen = false;
  };

  static void add_means(watched& w, const tapped& t, const float* x) {
    const int axis =
        normalized_axis(w.axis, t.dims.rank(), "calibrate: value '" + std::string(t.value) + "'");
    std::int64_t outer = 1, inner = 1;
    bool behind = false;
    for (int a : t.memory) {
      if (a == axis)
        behind = true;
      else
        (behind ? inner : outer) *= t.dims[a];
    }
    w.means.add(x, outer, t.dims[axis], inner);
  }

  std::map<std::string, watched, std::less<>> watched_;
};

/// Runs the float graph on the samples and observes.
///
/// g        float: qparams would round what is observed
/// data     read from its start; the first subset_size samples, or all where there are fewer
/// throws   calibration_error if there is no sample, a value is not in the graph, or a number is
/// NaN or infinite;
///          data_error if a sample does not fit the graph's inputs
/// exact    the same statistics for any order of the samples and any number of threads (kernels
/// permitting)
template <class = void>
statistics calibrate(const graph& g, const kernels::kernel_table& table, samples data,
                            const calibrate_options& options) {
  calibrator watch(options);
  runner run(g, table, {.threads = options.threads, .keep_values = true});
  const tap_function tap = [&](const tapped& t) { watch.see(t); };
  const std::int64_t known = data.count().value_or(0);
  const std::int64_t total = known > 0 ? std::min(known, options.subset_size) : 0;
  std::int64_t done = 0;
  data.rewind();
  while (done < options.subset_size) {
    const auto s = data.next();
    if (!s) break;
    try {
      run.run(*s, tap);
    } catch (const calibration_error& e) {
      throw calibration_error(std::string(e.what()) + ", in sample " + std::to_string(done));
    }
    ++done;
    if (options.report) options.report("calibrate", done, total);
  }
  if (done == 0) throw calibration_error("calibrate: expected at least 1 sample, got none");
  return watch.result(done);
}

}  // namespace ptq
