// SPDX-License-Identifier: Apache-2.0
// ptq evaluate: accuracy of a classifier.

#include <cstdio>
#include <string>

#include <nlohmann/json.hpp>

#include "measure.hpp"

namespace cli {

void evaluate(const evaluate_arguments& a) {
  require_writable(a.json);
  const auto model = load_model(a.model);
  const auto data = open_data(a.data, a.samples, model);
  const auto labels = open_classes(a.labels, a.samples, data);
  const auto r = accuracy_of(model, data, labels, a);
  char line[128];
  std::snprintf(line, sizeof line, "top-1 %.2f %%, top-5 %.2f %% of %lld samples\n", r.top1, r.top5,
                static_cast<long long>(r.n));
  say(a, line);
  write_result(a, {{"n", r.n}, {"top1", r.top1}, {"top5", r.top5}});
}

}  // namespace cli
