#pragma once
// SPDX-License-Identifier: Apache-2.0
// Evidence as a file: CBOR with a format number, hashes of the model and of the samples, and the
// settings it was gathered with. A file is written beside its target and renamed into place, so
// that a kill leaves the last checkpoint whole. Whatever a file holds, reading it gives evidence
// that obeys every invariant, or one error.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <ptq/calibrate/artefact_read.hpp>
#include <ptq/calibrate/artefact_write.hpp>
#include <ptq/calibrate/estimate.hpp>
#include <ptq/calibrate/evidence.hpp>
#include <ptq/core/error.hpp>

namespace ptq::calibration {

/// Of two files, or more one after the other.
///
/// throws  calibration_error if they are of two models, hold different things, or were gathered
///         with different settings
/// exact   the file that one calibration over all samples would have written, in any order
inline artefact merged(artefact a, const artefact& b) {
  if (a.model_hash != b.model_hash)
    throw calibration_error("calibration: merge: expected files of one model, got hashes " +
                            hex(a.model_hash) + " and " + hex(b.model_hash));
  if (a.settings != b.settings)
    throw calibration_error("calibration: merge: expected the same settings, got " + a.settings +
                            " and " + b.settings);
  a.seen = merged(std::move(a.seen), b.seen);
  return a;
}

/// How far two calibrations are apart on one value.
struct range_difference {
  std::string value;
  value_range a, b;
  double moved = 0;  // larger move of a bound, as a share of a's range
};

/// Values of both whose ranges differ under an estimator, the farthest first; then, with void
/// ranges and moved = 1, those that only one has.
inline std::vector<range_difference> difference(const evidence& a, const evidence& b,
                                                const observer_options& o) {
  std::vector<range_difference> all;
  for (const auto& [name, v] : a.values) {
    const auto it = b.values.find(name);
    if (it == b.values.end()) {
      all.push_back({name, {}, {}, 1});
    } else if (v.numbers && it->second.numbers && v.numbers->samples() > 0 &&
               it->second.numbers->samples() > 0) {
      const value_range r = range_of(*v.numbers, o), s = range_of(*it->second.numbers, o);
      const double width = std::max(static_cast<double>(r.max) - static_cast<double>(r.min), 1e-30);
      const double moved =
          std::max(std::fabs(static_cast<double>(r.min) - static_cast<double>(s.min)),
                   std::fabs(static_cast<double>(r.max) - static_cast<double>(s.max)));
      if (moved > 0) all.push_back({name, r, s, moved / width});
    }
  }
  for (const auto& [name, v] : b.values)
    if (!a.values.contains(name)) all.push_back({name, {}, {}, 1});
  std::stable_sort(all.begin(), all.end(),
                   [](const auto& x, const auto& y) { return x.moved > y.moved; });
  return all;
}

/// What more samples could do to a value's range.
struct range_stability {
  std::string value;
  value_range range;
  /// Standard error of the mean of the samples' bounds, as a share of the range: the larger side.
  double mean_error = 0;
  /// Chance that one more sample exceeds all n before it, were they alike: 1 / (n + 1) a side.
  double exceeding = 0;
};

/// Values whose mean bounds are least certain first. A value whose error is below half a step of
/// 8-bit codes (1/510) would not be moved by more samples of the same kind.
inline std::vector<range_stability> stability(const evidence& e) {
  std::vector<range_stability> all;
  for (const auto& [name, v] : e.values) {
    if (!v.numbers || v.numbers->samples() == 0) continue;
    const auto& n = *v.numbers;
    const auto count = static_cast<double>(n.samples());
    const value_range r{static_cast<float>(n.mins().mean()), static_cast<float>(n.maxs().mean())};
    const double width = std::max(static_cast<double>(r.max) - static_cast<double>(r.min), 1e-30);
    const auto error = [&](const scalar_set& s) {
      const auto v_of = s.ordered();
      const double mean = mean_of(v_of);
      double sum = 0;
      for (float x : v_of) sum += (static_cast<double>(x) - mean) * (static_cast<double>(x) - mean);
      const auto seen = static_cast<double>(v_of.size());
      // One sample says nothing about others: as uncertain as the range is wide.
      return seen > 1 ? std::sqrt(sum / (seen - 1) / count) / width : 1.0;
    };
    all.push_back({name, r, std::max(error(n.mins()), error(n.maxs())), 1 / (count + 1)});
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const auto& a, const auto& b) { return a.mean_error > b.mean_error; });
  return all;
}

/// throws  io_error naming the file; the old one, if any, is then whole
template <class = void>
void save(const artefact& a, const std::filesystem::path& path) {
  write_file(path, to_bytes(a));
}

/// throws  io_error if it can't be read, calibration_error naming the file and the place if it is
///         no artefact, is damaged, or is of a later format
template <class = void>
artefact load(const std::filesystem::path& path) {
  const auto bytes = read_file(path);
  try {
    return from_bytes(bytes);
  } catch (const calibration_error& e) {
    throw calibration_error("'" + path.string() + "': " + e.what());
  }
}

}  // namespace ptq::calibration
