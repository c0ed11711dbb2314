#pragma once
// SPDX-License-Identifier: Apache-2.0
// Extents of recurrent layers; every operand is checked against the others here, so that lowering need not.

#include <cstdint>
#include <string>
#include <vector>

#include <ptq/graph/infer/operands.hpp>

namespace ptq::inference {

/// Checks operand i, if present and of known rank, against `want`; unknown extents pass.
inline void check_extents(const operands& in, std::size_t i, const char* what, const shape& want) {
  if (!in.has(i) || !in.shaped(i)) return;
  const shape& got = in.dims(i);
  bool fits = got.rank() == want.rank();
  for (int a = 0; fits && a < got.rank(); ++a) fits = got[a] < 0 || want[a] < 0 || got[a] == want[a];
  if (!fits) in.fail(what, want.text(), got.text());
}

inline std::vector<inferred> infer(const op::recurrent& o, const operands& in) {
  namespace port = op::recurrent_port;
  const auto d = o.directions(), g = o.gates();
  if (o.functions.size() != static_cast<std::size_t>(d) * o.functions_per_direction())
    in.fail("activations", std::to_string(static_cast<std::size_t>(d) * o.functions_per_direction()),
            std::to_string(o.functions.size()));
  std::int64_t t = unknown, n = unknown, h = o.hidden > 0 ? o.hidden : unknown, i = unknown;
  in.at(port::x), in.at(port::w), in.at(port::r);
  if (in.shaped(port::r)) {
    in.rank_is(port::r, 3);
    h = in.same_extent(h, in.dims(port::r)[2], "hidden_size");
  }
  if (in.shaped(port::x)) {
    in.rank_is(port::x, 3);
    const shape& x = in.dims(port::x);
    t = x[o.batch_first ? 1 : 0];
    n = x[o.batch_first ? 0 : 1];
    i = x[2];
  }
  const auto times = [](std::int64_t k, std::int64_t e) { return e < 0 ? unknown : k * e; };
  in.extent(h, "hidden_size");
  check_extents(in, port::w, "W", {d, times(g, h), i});
  check_extents(in, port::r, "R", {d, times(g, h), h});
  check_extents(in, port::bias, "B", {d, times(2 * g, h)});
  check_extents(in, port::lengths, "sequence_lens", {n});
  const shape state = o.batch_first ? shape{n, d, h} : shape{d, n, h};
  check_extents(in, port::initial_h, "initial_h", state);
  check_extents(in, port::initial_c, "initial_c", state);
  check_extents(in, port::peepholes, "P", {d, times(3, h)});
  const shape y = o.batch_first ? shape{n, t, d, h} : shape{t, d, n, h};
  return {shaped_as(dtype::f32, y), shaped_as(dtype::f32, state), shaped_as(dtype::f32, state)};
}

}  // namespace ptq::inference
