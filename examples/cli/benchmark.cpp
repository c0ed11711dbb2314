// SPDX-License-Identifier: Apache-2.0
// ptq benchmark: latency of one inference, and where the time goes.

#include <cstdio>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <ptq/report/peak.hpp>

#include "measure.hpp"

namespace cli {

namespace {

double gops(const step_time& t) {
  return t.ms > 0 ? 2e-6 * static_cast<double>(t.step.macs) / t.ms : 0;
}

/// Percent of what the machine's multiply-adds of the step's precision reach; 0 where it has none.
double share_of_peak(const step_time& t, const ptq::machine_peaks& peaks) {
  const double peak = t.step.integer ? peaks.int8_of(kernels().isa) : peaks.f32;
  return peak > 0 ? 100e9 * gops(t) / peak : 0;
}

/// The float model's steps, to find what a step of the other takes there.
class float_times {
 public:
  float_times(const std::string& model, benchmark_arguments a) {
    if (model.empty()) return;
    a.model = model;
    steps_ = times_of(timed(a), a).steps;
  }

  struct found {
    double ms = 0;
    step_time largest;
  };
  /// Steps of the same node, and of the one whose result is the step's where that is fused into it.
  std::optional<found> of(const ptq::report_layer& s) const {
    found f;
    bool any = false;
    for (const auto& t : steps_)
      if (t.step.name == s.name || (s.what.find('+') != std::string::npos && t.step.value == s.value)) {
        if (t.ms >= f.largest.ms) f.largest = t;
        f.ms += t.ms;
        any = true;
      }
    return any ? std::optional(f) : std::nullopt;
  }

 private:
  std::vector<step_time> steps_;
};

/// All steps of a node, conversions included, where `t` is the longest of them that computes on codes; else 0.
double node_ms(const std::vector<step_time>& steps, const step_time& t) {
  if (!t.step.integer) return 0;
  double ms = 0;
  for (const auto& s : steps) {
    if (s.step.name != t.step.name) continue;
    if (s.step.integer && &s != &t && (s.ms > t.ms || (s.ms == t.ms && &s < &t))) return 0;
    ms += s.ms;
  }
  return ms;
}

/// What an INT8 step that float does faster is bound by.
std::string slower_text(double ms, const step_time& t, const float_times::found& in_float,
                        const ptq::machine_peaks& peaks) {
  char text[256];
  int n = std::snprintf(text, sizeof text, "%.4f ms with its conversions, float %.4f: ", ms, in_float.ms);
  const auto at = static_cast<std::size_t>(n);
  if (t.step.macs > 0 && t.ms >= in_float.ms)
    std::snprintf(text + at, sizeof text - at, "%.0f %% of the int8 peak, float %.0f %% of its own",
                  share_of_peak(t, peaks), share_of_peak(in_float.largest, peaks));
  else
    std::snprintf(text + at, sizeof text - at, "%s",
                  t.ms < in_float.ms ? "the conversions cost more than it saves" : "no products, so rounding adds work");
  return text;
}

std::string step_line(const step_time& t, double total, const ptq::machine_peaks& peaks, const std::string& remark) {
  const auto& s = t.step;
  char share[16] = "";
  if (s.macs > 0 && share_of_peak(t, peaks) > 0) std::snprintf(share, sizeof share, "%.1f %%", share_of_peak(t, peaks));
  char line[640];
  std::snprintf(line, sizeof line,
                "%9.4f ms %5.1f %% %8.1f GOP/s %7s  %-5s  %-20.80s %-28.80s %.120s%s%.160s\n", t.ms,
                total > 0 ? 100 * t.ms / total : 0, gops(t), share, s.integer ? "int8" : "float",
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

/// Prints every step, then those of INT8 that float does faster; the same for scripts.
void add_steps(const benchmark_arguments& a, const std::vector<step_time>& steps, nlohmann::json& j) {
  const float_times other(a.against, a);
  const auto peaks = ptq::measure_peaks(a.threads);
  double total = 0;
  for (const auto& t : steps) total += t.ms;
  char line[256];
  std::snprintf(line, sizeof line, "peak of %d thread%s: %.0f GOP/s in int8, %.0f in float\n", a.threads,
                a.threads == 1 ? "" : "s", 1e-9 * peaks.int8_of(kernels().isa), 1e-9 * peaks.f32);
  say(a, line);
  j["peak_gops"] = {{"int8", 1e-9 * peaks.int8_of(kernels().isa)}, {"f32", 1e-9 * peaks.f32}};
  j["steps"] = nlohmann::json::array();
  std::string slower;
  for (const auto& t : steps) {
    auto remark = t.step.note;
    nlohmann::json step = {{"name", t.step.name},
                           {"operator", t.step.what},
                           {"kernel", t.step.kernel},
                           {"precision", t.step.integer ? "int8" : "float"},
                           {"macs", t.step.macs},
                           {"ms", t.ms},
                           {"gops", gops(t)}};
    if (t.step.macs > 0) step["peak_percent"] = share_of_peak(t, peaks);
    if (!t.step.note.empty()) step["note"] = t.step.note;
    if (const auto in_float = other.of(t.step)) {
      step["float_ms"] = in_float->ms;
      if (const double ms = node_ms(steps, t); in_float->ms < ms) {
        remark = slower_text(ms, t, *in_float, peaks);
        step["slower_than_float"] = remark;
        slower += "  " + t.step.name + " (" + t.step.what + "): " + remark + "\n";
      }
    }
    say(a, step_line(t, total, peaks, remark));
    j["steps"].push_back(std::move(step));
  }
  if (!a.against.empty()) say(a, slower.empty() ? "no INT8 step is slower than float\n" : "INT8 steps slower than float:\n" + slower);
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
  const auto& p = program.program;
  std::snprintf(line, sizeof line, "activations %zu bytes, scratch %zu for each thread\n", p.arena_bytes, p.scratch_bytes);
  say(a, line);
  nlohmann::json j = {{"min_ms", l.min_ms},        {"median_ms", l.median_ms},
                      {"threads", l.threads},      {"isa", l.isa},
                      {"repeats", l.repeats},      {"ready_ms", program.ready_ms},
                      {"first_ms", times.first_ms},
                      {"activation_bytes", p.arena_bytes}, {"scratch_bytes", p.scratch_bytes}};
  if (a.per_layer) add_steps(a, times.steps, j);
  if (!a.trace.empty()) {
    common_arguments to = a;
    to.json = a.trace;
    write_result(to, trace_of(times.steps));
  }
  write_result(a, j);
}

}  // namespace cli
