// SPDX-License-Identifier: Apache-2.0
// ptq benchmark: latency of one inference, and where the time goes.

#include <cstdio>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "measure.hpp"

namespace cli {

namespace {

std::string step_line(const step_time& t, double total) {
  const auto& s = t.step;
  char line[512];
  const double gops = t.ms > 0 ? 2e-6 * static_cast<double>(s.macs) / t.ms : 0;
  std::snprintf(line, sizeof line,
                "%9.4f ms %5.1f %% %8.1f GOP/s  %-5s  %-20.80s %-28.80s %.120s\n", t.ms,
                total > 0 ? 100 * t.ms / total : 0, gops, s.integer ? "int8" : "float",
                s.what.c_str(), s.kernel.c_str(), s.name.c_str());
  return line;
}

}  // namespace

void benchmark(const benchmark_arguments& a) {
  require_writable(a.json);
  const auto program = timed(a);
  const auto times = times_of(program, a);
  const auto& l = times.later;
  char line[256];
  std::snprintf(line, sizeof line, "ready after %.4f ms, first run %.4f ms\n", program.ready_ms,
                times.first_ms);
  say(a, line);
  std::snprintf(line, sizeof line, "min %.4f ms, median %.4f ms (%d repeats, %d thread%s, %s)\n",
                l.min_ms, l.median_ms, l.repeats, l.threads, l.threads == 1 ? "" : "s",
                l.isa.c_str());
  say(a, line);
  nlohmann::json j = {{"min_ms", l.min_ms},
                      {"median_ms", l.median_ms},
                      {"threads", l.threads},
                      {"isa", l.isa},
                      {"repeats", l.repeats},
                      {"ready_ms", program.ready_ms},
                      {"first_ms", times.first_ms}};
  if (a.per_layer) {
    double total = 0;
    for (const auto& t : times.steps) total += t.ms;
    j["steps"] = nlohmann::json::array();
    for (const auto& t : times.steps) {
      say(a, step_line(t, total));
      j["steps"].push_back({{"name", t.step.name},
                            {"operator", t.step.what},
                            {"kernel", t.step.kernel},
                            {"precision", t.step.integer ? "int8" : "float"},
                            {"macs", t.step.macs},
                            {"ms", t.ms}});
    }
  }
  write_result(a, j);
}

}  // namespace cli
