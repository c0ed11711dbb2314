#pragma once
// SPDX-License-Identifier: Apache-2.0
// What the commands share: models and kernels, samples, inputs of free extents, and where results
// go.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <ptq/core/progress.hpp>
#include <ptq/data/samples.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/kernels/table.hpp>

#include "options.hpp"

namespace cli {

// --- engine.cpp ---

/// The tables of this build: dispatched at run time, or those of the compiler's flags.
const ptq::kernels::kernel_table& kernels();

/// A table that was built in, and whether this CPU runs it.
struct built_table {
  const ptq::kernels::kernel_table* table;
  bool supported;
};
std::vector<built_table> built_tables();

/// As it is in the file.
ptq::graph read_model(const std::string& path);
/// Folded and fused.
ptq::graph simplified(ptq::graph g);
/// Both: the form that every command works on.
ptq::graph load_model(const std::string& path);

bool is_quantized(const ptq::graph& g);

/// Extents of every input: free dimensions from NAME=V, else 1.
///
/// throws  ptq::data_error if a name is of no free dimension, or V is no positive number
std::vector<std::pair<std::string, ptq::shape>> bound_inputs(const ptq::graph& g,
                                                             const std::vector<std::string>& dims);

/// Reals in [-1, 1), bytes in all their range, other integers 0 or 1, so that they are valid as indices
/// and masks.
void fill(ptq::tensor& t, std::mt19937_64& random);

/// One tensor per input, filled so.
ptq::sample random_sample(const ptq::graph& model, const std::vector<std::string>& dims,
                          std::uint64_t seed);

// --- samples.cpp ---

/// The samples that the paths name, preprocessed for the model.
ptq::samples open_data(const std::vector<std::string>& paths, const sample_arguments& a,
                       const ptq::graph& model);
/// Samples out of a seed: pictures where the model's one input holds one, preprocessed as the options
/// say, else numbers.
ptq::samples synthetic_data(const sample_arguments& a, const ptq::graph& model);
std::vector<std::int64_t> open_classes(const std::string& path, const sample_arguments& a,
                                       const ptq::samples& from);

// --- output.cpp ---

/// A bar on standard error while it is a terminal, nothing otherwise.
ptq::progress progress_bar(const common_arguments& a);

/// Text for people: standard output, or standard error where JSON takes that.
void say(const common_arguments& a, std::string_view text);

/// Writes the JSON that was asked for, if it was.
void write_result(const common_arguments& a, const nlohmann::json& result);

/// Throws ptq::io_error now rather than after the work, if a file can't be created there.
void require_writable(const std::string& path);

}  // namespace cli
