#pragma once
// SPDX-License-Identifier: Apache-2.0
// Operators that run graphs: If and Loop (a Scan comes in as a Loop). A body is a graph of its own; what it reads of the
// graph around it are explicit inputs of node and body, so that a pass sees every edge without looking into bodies.
// Constants of the outer graph are constants of the body.

#include <cstdint>
#include <memory>
#include <vector>

namespace ptq {
struct graph;
}

namespace ptq::op {

/// branch: condition bool, captured… → y…; bodies: then, else: captured… → y…
/// loop:   [trip count s64], [condition bool], carried…, captured… → carried…, stacked…
///         body: iteration s64, condition bool, carried…, captured… → condition bool, carried…, stacked parts…
///         Runs while the condition holds, at most `trip count` times; a stacked result gains an axis in front.
struct control {
  enum class kind : std::uint8_t { branch, loop } what = kind::branch;
  std::int64_t carried = 0;                          // loop
  std::vector<std::shared_ptr<const graph>> bodies;  // never null
  bool operator==(const control&) const = default;   // the same bodies, not equal ones
};

/// Bodies inside bodies: deeper ones are refused by import and check.
inline constexpr int deepest_body = 8;

/// Operands of a control node before those that its bodies capture.
inline std::size_t own_operands(const control& c) {
  return c.what == control::kind::branch ? 1 : 2 + static_cast<std::size_t>(c.carried);
}
/// The body's inputs before the captured ones.
inline std::size_t own_inputs(const control& c) {
  return c.what == control::kind::branch ? 0 : 2 + static_cast<std::size_t>(c.carried);
}

}  // namespace ptq::op
