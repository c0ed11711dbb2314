// SPDX-License-Identifier: Apache-2.0
// ptq benchmark: latency of one inference, and where the time goes.

#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "measure.hpp"

namespace cli {

namespace {

double gops(const step_time& t) {
  return t.ms > 0 ? 2e-6 * static_cast<double>(t.step.macs) / t.ms : 0;
}

/// Milliseconds of each node of another model: those of its steps.
std::map<std::string, double> node_times(const std::string& model, benchmark_arguments a) {
  std::map<std::string, double> times;
  if (model.empty()) return times;
  a.model = model;
  for (const auto& t : times_of(timed(a), a).steps) times[t.step.name] += t.ms;
  return times;
}

/// What a reader should know of a step: why it is float, or that it had better be.
std::string remark(const step_time& t, const std::map<std::string, double>& other) {
  const auto found = other.find(t.step.name);
  if (!t.step.integer || found == other.end() || found->second >= t.ms) return t.step.note;
  char text[64];
  std::snprintf(text, sizeof text, "float takes %.4f ms", found->second);
  return text;
}

std::string step_line(const step_time& t, double total, const std::string& remark) {
  const auto& s = t.step;
  char line[640];
  std::snprintf(line, sizeof line,
                "%9.4f ms %5.1f %% %8.1f GOP/s  %-5s  %-20.80s %-28.80s %.120s%s%.160s\n", t.ms,
                total > 0 ? 100 * t.ms / total : 0, gops(t), s.integer ? "int8" : "float",
                s.what.c_str(), s.kernel.c_str(), s.name.c_str(), remark.empty() ? "" : "  # ",
                remark.c_str());
  return line;
}

/// The steps one after the other, each as long as its fastest run, in the Trace Event Format.
nlohmann::json trace_of(const std::vector<step_time>& steps) {
  nlohmann::json events = nlohmann::json::array();
  double at = 0;
  for (const auto& t : steps) {
    const auto& s = t.step;
    events.push_back(
        {{"name", s.name},
         {"cat", s.integer ? "int8" : "float"},
         {"ph", "X"},
         {"ts", at},
         {"dur", 1e3 * t.ms},
         {"pid", 1},
         {"tid", 1},
         {"args",
          {{"operator", s.what}, {"kernel", s.kernel}, {"gops", gops(t)}, {"note", s.note}}}});
    at += 1e3 * t.ms;
  }
  return {{"displayTimeUnit", "ms"}, {"traceEvents", std::move(events)}};
}

}  // namespace

void benchmark(const benchmark_arguments& given) {
  benchmark_arguments a = given;
  require_writable(a.json);
  require_writable(a.trace);
  a.per_layer |= !a.trace.empty() || !a.against.empty();
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
  nlohmann::json j = {{"min_ms", l.min_ms},        {"median_ms", l.median_ms},
                      {"threads", l.threads},      {"isa", l.isa},
                      {"repeats", l.repeats},      {"ready_ms", program.ready_ms},
                      {"first_ms", times.first_ms}};
  if (a.per_layer) {
    const auto other = node_times(a.against, a);
    double total = 0;
    for (const auto& t : times.steps) total += t.ms;
    j["steps"] = nlohmann::json::array();
    for (const auto& t : times.steps) {
      say(a, step_line(t, total, remark(t, other)));
      nlohmann::json step = {
          {"name", t.step.name},     {"operator", t.step.what},
          {"kernel", t.step.kernel}, {"precision", t.step.integer ? "int8" : "float"},
          {"macs", t.step.macs},     {"ms", t.ms}};
      if (!t.step.note.empty()) step["note"] = t.step.note;
      if (const auto found = other.find(t.step.name); found != other.end())
        step["float_ms"] = found->second;
      j["steps"].push_back(std::move(step));
    }
  }
  if (!a.trace.empty()) {
    common_arguments to = a;
    to.json = a.trace;
    write_result(to, trace_of(times.steps));
  }
  write_result(a, j);
}

}  // namespace cli
