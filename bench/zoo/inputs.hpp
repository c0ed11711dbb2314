#pragma once
// SPDX-License-Identifier: Apache-2.0
// Calibration and evaluation inputs of the models that are no classifiers: what both lists are made
// of. Every sample has a name that says how to make it again; the two lists never share one.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <ptq/core/error.hpp>
#include <ptq/data/samples.hpp>
#include <ptq/graph/graph.hpp>

namespace zoo {

struct named_sample {
  std::string name;
  ptq::sample value;
};

struct inputs {
  std::vector<named_sample> calibration, evaluation;
};

/// Where the models and the data lie, and the float network that some inputs are states of.
struct context {
  std::filesystem::path root;  // holds models/ and data/
  const ptq::graph& network;

  std::filesystem::path data(const std::string& name) const { return root / "data" / name; }
};

/// The numbers of a seed, the same on every platform.
class draws {
 public:
  explicit draws(std::uint64_t seed) : random_(seed) {}
  std::int64_t below(std::int64_t n) {
    return static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(n));
  }
  double unit() { return static_cast<double>(random_() >> 11) * 0x1p-53; }

 private:
  std::mt19937_64 random_;
};

/// The values of a list that outlives it.
struct listed_samples {
  const std::vector<named_sample>* list;
  std::int64_t count() const { return static_cast<std::int64_t>(list->size()); }
  ptq::sample at(std::int64_t i) const { return (*list)[static_cast<std::size_t>(i)].value; }
};
inline ptq::samples samples_of(const std::vector<named_sample>& list) {
  return listed_samples{&list};
}

}  // namespace zoo
