#pragma once
// SPDX-License-Identifier: Apache-2.0
// Which steps are kept: those that lower the error on samples held back by enough. Notes all that were
// tried.

#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <ptq/quantize/effort.hpp>

namespace ptq::recovering {

/// Share of the error that a step must take away: less than 2 % a few dozen samples do not tell. Layers
/// in float cost time and must be worth more; activations in float, whole passes over memory, most
/// (fashion_mobilenet took 1.6 times as long).
inline constexpr double least_gain = 0.02, least_float_gain = 0.1, least_product_gain = 0.5;

class decisions {
 public:
  /// Where steps start from.
  ///
  /// errors  over the first sample held back, the first two, … (held_back::errors)
  void start(std::vector<double> errors) { errors_ = std::move(errors); }

  /// Whether a step is kept.
  ///
  /// errors  with it; fewer, where the first samples ruled it out
  /// gain    least share of the error that must go
  bool keep(std::string what, std::vector<double> errors, double gain = least_gain,
            bool forced = false) {
    const double before = error(errors.size()), after = errors.empty() ? 0 : errors.back();
    const bool whole = errors.size() == errors_.size();
    const bool kept = forced || (whole && after < (1 - gain) * before);
    report.steps.push_back(
        {.what = std::move(what), .before_db = db(before), .after_db = db(after), .kept = kept});
    if (kept) errors_ = std::move(errors);
    return kept;
  }

  void skip(std::string what, std::string why) {
    report.steps.push_back(
        {.what = std::move(what), .before_db = error_db(), .after_db = error_db(), .note = std::move(why)});
  }

  /// Of what is kept so far.
  const std::vector<double>& errors() const { return errors_; }
  double error_db() const { return db(error(errors_.size())); }

  recovery_report report;

 private:
  static double db(double error) { return error > 0 ? -10 * std::log10(error) : INFINITY; }
  double error(std::size_t samples) const { return samples == 0 ? 0 : errors_[samples - 1]; }

  std::vector<double> errors_;
};

}  // namespace ptq::recovering
