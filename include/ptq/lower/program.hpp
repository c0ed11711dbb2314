#pragma once
// SPDX-License-Identifier: Apache-2.0
// What lowering makes and the executor runs: steps over slots, every extent known, every weight packed, every buffer
// placed. A program is immutable; any number of sessions may run it at once.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <ptq/core/dtype.hpp>
#include <ptq/core/shape.hpp>
#include <ptq/core/tensor.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/lower/order.hpp>

namespace ptq {

namespace lowering {
struct recipe;
}

/// real = scale · (code − zero_point), codes u8 or u16 and per tensor: what activations take in a program.
struct code {
  float scale = 1;
  std::int32_t zero_point = 0;
  dtype type = dtype::u8;
  bool operator==(const code&) const = default;
};

/// Memory: where it lies and when it is in use.
struct storage {
  enum class place : std::uint8_t { arena, constant, input, output } where = place::arena;
  std::size_t bytes = 0;
  std::size_t offset = 0;   // in the arena
  int port = -1;            // which input or output
  tensor constant;
  int first = 0, last = 0;  // steps between which it holds data
};

/// A tensor of the program: a view of a storage.
struct slot {
  std::string value;        // the graph value that it holds
  dtype type = dtype::f32;
  shape dims;               // logical, as in the graph
  lowering::order memory;   // how they lie in memory
  std::optional<code> codes;  // set where the bytes are codes of real numbers
  int storage = 0;
  std::int64_t offset = 0;    // bytes into it
};

/// One kernel call.
struct step {
  std::string node;         // the graph node that it comes from
  std::string what;         // the operator's ONNX name, "+Add" where another node is fused
  kernels::prepared kernel;
  std::vector<int> src;     // slots
  int dst = 0;
  std::uint8_t overwritable = 0;  // bit i: dst may lie on source i (lower/in_place.hpp)
  bool integer = false;     // computes on codes
  std::int64_t macs = 0;    // multiply-accumulates of convolutions and matrix products
  std::string note;         // why it runs in float, in a program that holds integers
  std::shared_ptr<const lowering::recipe> recipe;  // what the kernel was made of, where lowering keeps it
};

/// After which step (−1: before the first) a graph value can be seen.
struct tap_point {
  int step = -1;
  int slot = 0;
};

struct program_port {
  std::string name;
  int slot = 0;
};

struct program {
  std::string isa;
  std::vector<storage> storages;
  std::vector<slot> slots;
  std::vector<step> steps;
  std::vector<tap_point> taps;              // in step order
  std::vector<program_port> inputs, outputs;
  std::size_t arena_bytes = 0;              // activations
  std::size_t scratch_bytes = 0;            // per thread
  std::vector<std::string> notes;           // facts for the report: a slower ISA than the CPU has, …

  const slot& input(std::size_t i) const { return slots[static_cast<std::size_t>(inputs[i].slot)]; }
  const slot& output(std::size_t i) const { return slots[static_cast<std::size_t>(outputs[i].slot)]; }
  bool integer() const {
    for (const auto& s : steps)
      if (s.integer) return true;
    return false;
  }
};

/// A value while the program runs: valid during the call only.
struct tapped {
  std::string_view value;
  dtype type;
  const void* data;
  const shape& dims;                 // logical extents
  const lowering::order& memory;     // axes in memory order
  const std::optional<code>& codes;

  std::int64_t size() const { return dims.size(); }
  /// The real numbers, in ONNX order. Throws shape_error for integer tensors that are no codes.
  tensor real() const;
};

inline tensor tapped::real() const {
  const auto strides = lowering::strides_in(dims, memory);
  tensor out(dtype::f32, dims);
  auto y = out.mutable_view<float>();
  if (type != dtype::f32 && !codes)
    throw shape_error("tap: value '" + std::string(value) + "' holds " + name_of(type) + ", no reals");
  std::vector<std::int64_t> index(dims.dims.size(), 0);
  std::int64_t at = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    if (type == dtype::f32) {
      y[i] = static_cast<const float*>(data)[at];
    } else {
      const std::int32_t q = type == dtype::u16 ? static_cast<const std::uint16_t*>(data)[at]
                                                : static_cast<const std::uint8_t*>(data)[at];
      y[i] = codes->scale * static_cast<float>(q - codes->zero_point);
    }
    for (std::size_t d = index.size(); d-- > 0;) {
      at += strides[d];
      if (++index[d] < dims.dims[d]) break;
      at -= strides[d] * dims.dims[d];
      index[d] = 0;
    }
  }
  return out;
}

}  // namespace ptq
