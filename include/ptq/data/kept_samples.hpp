#pragma once
// SPDX-License-Identifier: Apache-2.0
// Samples that are read more than once: each is made (decoded, preprocessed) a single time and kept,
// in memory up to a bound, in a temporary file beyond.

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ptq/data/activation_cache.hpp>
#include <ptq/data/samples.hpp>

namespace ptq {

/// The first `limit` samples, read now.
///
/// returns  of known count; names and labels of the source stay
/// throws   whatever the source throws; io_error if the temporary file can't be written
inline samples kept_samples(samples from, std::int64_t limit, std::size_t memory) {
  struct store {
    activation_cache cache;
    std::vector<std::vector<std::string>> names;  // of the inputs of each sample
  };
  auto held = std::make_shared<store>(store{activation_cache(memory), {}});
  from.rewind();
  for (std::int64_t i = 0; i < limit; ++i) {
    const auto s = from.next();
    if (!s) break;
    auto& names = held->names.emplace_back();
    for (const auto& t : s->inputs) {
      held->cache.put(std::to_string(names.size()), i, t.value);
      names.push_back(t.name);
    }
  }
  sample_access a = from.access();
  a.count = static_cast<std::int64_t>(held->names.size());
  a.at = [held](std::int64_t i) {
    sample s;
    for (const auto& name : held->names[static_cast<std::size_t>(i)])
      s.inputs.push_back({name, held->cache.at(std::to_string(s.inputs.size()), i)});
    return std::optional<sample>(std::move(s));
  };
  return samples(std::move(a));
}

}  // namespace ptq
