#pragma once
// SPDX-License-Identifier: Apache-2.0
// The text of a graph's nodes alone, for golden strings: constants, inputs and outputs would drown them.

#include <cstddef>
#include <string>

#include <ptq/graph/print.hpp>

namespace ptq_test {

inline std::string printed_nodes(const ptq::graph& g) {
  std::string s;
  const auto text = ptq::print(g);
  for (std::size_t i = 0; i < text.size();) {
    const auto end = text.find('\n', i) + 1;
    const auto line = text.substr(i, end - i);
    if (line.rfind("const", 0) != 0 && line.rfind("input", 0) != 0 && line.rfind("output", 0) != 0)
      s += line;
    i = end;
  }
  return s;
}

}  // namespace ptq_test
