#pragma once
// SPDX-License-Identifier: Apache-2.0
// The errors that a caller, a file or a model can cause. Each text reads
//   stage: node 'name' (op): what: expected X, got Y
// with the values in it. Our own mistakes are asserts, never one of these.

#include <stdexcept>
#include <string>

namespace ptq {

/// Base of everything the library throws on purpose.
class error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A model file that can't be read: truncated, malformed, or not of the format it claims.
class import_error : public error {
 public:
  using error::error;
};

/// Shapes or element types that contradict each other.
class shape_error : public error {
 public:
  using error::error;
};

/// Well-formed, but not covered by this version: an operator, an attribute, a data type.
class unsupported : public error {
 public:
  using error::error;
};

/// Samples, labels or preprocessing that don't fit the model or each other.
class data_error : public error {
 public:
  using error::error;
};

/// Statistics that give no range: no samples, NaN, an infinite activation.
class calibration_error : public error {
 public:
  using error::error;
};

/// A file that can't be opened, written or renamed.
class io_error : public error {
 public:
  using error::error;
};

}  // namespace ptq
