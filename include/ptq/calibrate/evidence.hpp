#pragma once
// SPDX-License-Identifier: Apache-2.0
// Everything that a calibration remembers, value by value: ranges under any estimator follow from
// it, and several merge into one, so that a calibration can be split, stopped, saved and gone on
// with.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ptq/calibrate/channel_mean.hpp>
#include <ptq/calibrate/sketch.hpp>
#include <ptq/core/error.hpp>
#include <ptq/core/shape.hpp>

namespace ptq::calibration {

/// Of one value.
struct value_evidence {
  std::optional<sketch> numbers;  // of all numbers, where a range is wanted
  bool wants_means = false;
  int mean_axis = 1;  // may count from the end
  channel_mean means;
  std::optional<int> channel_axis;  // where a range of each index of this axis is wanted
  sketch_needs channel_needs;
  std::vector<sketch> channels;
  shape dims;  // of the largest sample
  bool seen = false;
};

/// Of a network.
struct evidence {
  std::map<std::string, value_evidence, std::less<>> values;
  std::int64_t samples = 0;
  std::uint64_t data_hash = 0;  // sum of the samples' own hashes: of the set, in any order
};

inline void merge(value_evidence& to, const value_evidence& from, const std::string& name) {
  const auto refuse = [&](const char* what) {
    throw calibration_error("calibrate: merge: value '" + name + "': expected the same " + what +
                            " in both");
  };
  if (to.numbers.has_value() != from.numbers.has_value() || to.wants_means != from.wants_means ||
      to.channel_axis != from.channel_axis)
    refuse("contents");
  if (to.wants_means && to.mean_axis != from.mean_axis) refuse("axis of channel means");
  if (from.seen && !to.seen) {
    to = from;
    return;
  }
  if (!from.seen) return;
  if (to.dims.rank() != from.dims.rank()) refuse("rank");
  if (to.channels.size() != from.channels.size()) refuse("number of channels");
  if (to.numbers) to.numbers->merge(*from.numbers);
  to.means.merge(from.means);
  for (std::size_t c = 0; c < to.channels.size(); ++c) to.channels[c].merge(from.channels[c]);
  for (int a = 0; a < to.dims.rank(); ++a)
    to.dims.dims[static_cast<std::size_t>(a)] = std::max(to.dims[a], from.dims[a]);
}

/// Of both sets of samples.
///
/// throws  calibration_error naming the value whose contents differ
/// exact   the same bits as one calibration over all samples, in any order
inline evidence merged(evidence a, const evidence& b) {
  for (const auto& [name, v] : a.values)
    if (!b.values.contains(name))
      throw calibration_error("calibrate: merge: value '" + name + "': expected it in both");
  for (const auto& [name, v] : b.values) {
    const auto it = a.values.find(name);
    if (it == a.values.end())
      throw calibration_error("calibrate: merge: value '" + name + "': expected it in both");
    merge(it->second, v, name);
  }
  a.samples += b.samples;
  a.data_hash += b.data_hash;
  return a;
}

}  // namespace ptq::calibration
