#pragma once
// SPDX-License-Identifier: Apache-2.0
// A network that one value's codes spoil.

#include <cstddef>

#include <ptq/graph/graph.hpp>

#include "../quantize/network.hpp"

namespace ptq_test {

/// x → a → differ → wide → y. The eight channels of a are nearly the same number, and `differ`, which
/// has few products, reads nothing but what they differ by: half a step of a's codes is as much.
inline graph cancelling() {
  network n;
  auto a = n.conv("a", n.input("x", {1, 3, 12, 12}), 3, 8);
  auto d = n.conv("differ", a, 8, 2);
  auto w = n.conv("wide", d, 2, 32, positive, 3);
  n.output(n.conv("y", w, 32, 16, {}, 3));
  auto g = n.done();
  auto rows = g[g.find("a.w")].constant->mutable_view<float>();
  for (std::size_t i = 3; i < rows.size(); ++i) rows[i] = rows[i % 3] + 0.01f * rows[i];
  auto columns = g[g.find("differ.w")].constant->mutable_view<float>();
  for (std::size_t i = 0; i < columns.size(); ++i) columns[i] = i % 2 == 0 ? 1.0f : -1.0f;
  for (const char* b : {"a.b", "differ.b", "wide.b", "y.b"})
    for (auto& v : g[g.find(b)].constant->mutable_view<float>()) v = 0;
  return g;
}

}  // namespace ptq_test
