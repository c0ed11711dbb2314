#pragma once
// SPDX-License-Identifier: Apache-2.0
// --config FILE: what the file says where the command line says nothing.

#include <ptq/quantize/scheme.hpp>

#include "options.hpp"

namespace cli {

/// Model, data and order of the samples from the file, where the command line names none. Warnings
/// go to standard error.
quantize_arguments completed(quantize_arguments a);

/// Options of the command line where they were given, else those of the file.
ptq::quantize_options merged(const quantize_arguments& a, ptq::quantize_options flags);

}  // namespace cli
