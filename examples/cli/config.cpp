// SPDX-License-Identifier: Apache-2.0
// --config FILE, beside the options of the command line.

#include "config.hpp"

#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

#include <ptq/configure.hpp>

namespace cli {

namespace {

ptq::configuration read(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  if (!in) throw ptq::io_error("'" + file + "' can't be read");
  return ptq::read_configuration(text);
}

}  // namespace

quantize_arguments completed(quantize_arguments a) {
  if (!a.config.empty()) {
    const auto c = read(a.config);
    if (!a.quiet)
      for (const auto& w : c.warnings) std::fprintf(stderr, "ptq: warning: %s\n", w.c_str());
    if (a.model.empty()) a.model = c.model;
    a.data_free = a.data_free || (a.data.empty() && c.data_free);
    if (a.data.empty() && !a.data_free && !c.data_source.empty()) a.data = {c.data_source};
    if (!a.given.contains("--shuffle")) a.samples.shuffle = c.shuffle;
    if (!a.given.contains("--seed")) a.samples.seed = c.seed;
    if (!a.given.contains("--subset-size")) a.samples.subset_size = c.options.subset_size;
    if (!a.given.contains("--threads")) a.threads = c.options.threads;
  }
  if (a.model.empty())
    throw ptq::data_error("MODEL: expected one on the command line or in --config");
  if (a.data.empty() && !a.data_free)
    throw ptq::data_error("--data: expected it, or engine.data_source in --config");
  return a;
}

ptq::quantize_options merged(const quantize_arguments& a, ptq::quantize_options flags) {
  if (a.config.empty()) return flags;
  const auto said = read(a.config);
  const auto& file = said.options;
  const auto keep = [&](const char* flag, auto& to, const auto& from) {
    if (!a.given.contains(flag)) to = from;
  };
  // A transformer named on the command line brings its preset along.
  if (!a.given.contains("--model-type")) keep("--preset", flags.preset, file.preset);
  // A preset named there counts more than the file's kind of codes.
  if (!a.given.contains("--preset"))
    keep("--activation-mode", flags.activations.mode, file.activations.mode);
  keep("--activation-signedness", flags.activations.sign, file.activations.sign);
  keep("--mode", flags.mode, file.mode);
  if (said.names_effort) keep("--effort", flags.effort.level, file.effort.level);
  keep("--tune-hyperparams", flags.effort.tune, file.effort.tune);
  keep("--max-float-macs", flags.effort.float_macs, file.effort.float_macs);
  keep("--max-wide-macs", flags.effort.wide_macs, file.effort.wide_macs);
  keep("--cache-mb", flags.effort.cache_mb, file.effort.cache_mb);
  flags.effort.enough_db = file.effort.enough_db;
  keep("--target-device", flags.target, file.target);
  const bool ranged = a.given.contains("--range-estimator") || a.given.contains("--range-min") ||
                      a.given.contains("--range-max");
  if (!ranged) {
    flags.activations.estimator = file.activations.estimator;
    flags.activations.min = file.activations.min;
    flags.activations.max = file.activations.max;
    keep("--percentile-tail", flags.activations.percentile_tail, file.activations.percentile_tail);
    keep("--outlier-prob", flags.activations.outlier_prob, file.activations.outlier_prob);
  }
  keep("--bias-correction", flags.correction, file.correction);
  keep("--weight-bits", flags.weights.bits, file.weights.bits);
  keep("--weight-mode", flags.weights.mode, file.weights.mode);
  keep("--weight-granularity", flags.weights.scales, file.weights.scales);
  keep("--weight-full-range", flags.weights.narrow_range, file.weights.narrow_range);
  keep("--activation-bits", flags.activations.bits, file.activations.bits);
  keep("--overflow-fix", flags.weights.fix, file.weights.fix);
  keep("--model-type", flags.model_type, file.model_type);
  keep("--round-before-functions", flags.effort.fixed_placement, file.effort.fixed_placement);
  keep("--quantize-outputs", flags.quantize_outputs, file.quantize_outputs);
  keep("--ignore", flags.ignored.names, file.ignored.names);
  keep("--ignore-pattern", flags.ignored.patterns, file.ignored.patterns);
  keep("--ignore-type", flags.ignored.types, file.ignored.types);
  keep("--ignore-subgraph", flags.ignored.subgraphs, file.ignored.subgraphs);
  flags.ignored.validate = file.ignored.validate;
  flags.float_squeeze_excite = file.float_squeeze_excite;
  return flags;
}

}  // namespace cli
