#pragma once
// SPDX-License-Identifier: Apache-2.0
// A report as text for people: a table of figures before and after, one row per layer, and what
// stays in float with the reason.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include <ptq/report/contents.hpp>

namespace ptq {

namespace detail_report {

/// "12.35"; "equal" where an SQNR is infinite, "-" where there is no number.
inline std::string number(double x, int digits) {
  if (std::isinf(x)) return x > 0 ? "equal" : "-inf";
  if (std::isnan(x)) return "-";
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%.*f", digits, x);
  return buffer;
}

/// 1234567 → "1,234,567".
inline std::string grouped(std::uint64_t n) {
  std::string s = std::to_string(n);
  for (auto at = static_cast<std::int64_t>(s.size()) - 3; at > 0; at -= 3)
    s.insert(static_cast<std::size_t>(at), ",");
  return s;
}

/// Columns on screen: bytes that continue a UTF-8 character take none.
inline std::size_t width_of(std::string_view s) {
  return static_cast<std::size_t>(std::count_if(
      s.begin(), s.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

/// Rows of cells in columns; the first `left` columns are set flush left, the others right.
inline std::string columns(const std::vector<std::vector<std::string>>& rows, std::size_t left) {
  std::vector<std::size_t> width;
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i == width.size()) width.push_back(0);
      width[i] = std::max(width[i], width_of(row[i]));
    }
  std::string s;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string pad(width[i] - width_of(row[i]), ' ');
      line += (i ? "  " : "") + (i < left ? row[i] + pad : pad + row[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    s += line + "\n";
  }
  return s;
}

inline std::string figures(const report& r) {
  std::vector<std::vector<std::string>> rows = {{"", "float", "int8", ""}};
  if (r.bytes)
    rows.push_back({"bytes", grouped(r.bytes->before), grouped(r.bytes->after),
                    number(static_cast<double>(r.bytes->after) /
                               static_cast<double>(std::max<std::uint64_t>(r.bytes->before, 1)),
                           3)});
  const auto change = [](double from, double to) {
    return (to >= from ? "+" : "") + number(to - from, 2);
  };
  if (r.accuracy) {
    const auto& [a, b] = *r.accuracy;
    rows.push_back({"top-1 %", number(a.top1, 2), number(b.top1, 2), change(a.top1, b.top1)});
    rows.push_back({"top-5 %", number(a.top5, 2), number(b.top5, 2), change(a.top5, b.top5)});
  }
  if (r.latency) {
    const auto& [a, b] = *r.latency;
    const auto ratio = [](double x, double y) { return y > 0 ? number(x / y, 2) + "x" : ""; };
    rows.push_back({"ms, median", number(a.median_ms, 3), number(b.median_ms, 3),
                    ratio(a.median_ms, b.median_ms)});
    rows.push_back(
        {"ms, min", number(a.min_ms, 3), number(b.min_ms, 3), ratio(a.min_ms, b.min_ms)});
  }
  return rows.size() > 1 ? "\n" + columns(rows, 1) : "";
}

inline std::string recovery_table(const report& r) {
  if (r.recovery.empty()) return "";
  std::vector<std::vector<std::string>> rows = {{"step", "dB before", "dB after", ""}};
  for (const auto& step : r.recovery)
    rows.push_back({step.what, number(step.before_db, 2),
                    step.note.empty() ? number(step.after_db, 2) : "",
                    !step.note.empty() ? step.note : step.kept ? "kept" : "left"});
  std::string s = "\nsteps, by the SQNR of the outputs on " + std::to_string(r.held_back) +
                  " samples held back\n" + columns(rows, 1);
  for (const auto& step : r.recovery) {
    if (!step.kept || step.layers.empty()) continue;
    s += step.what + ":";
    for (const auto& l : step.layers) s += " " + l;
    s += "\n";
  }
  return s;
}

inline std::string layer_table(const report& r) {
  if (r.layers.empty()) return "";
  std::vector<std::vector<std::string>> rows = {
      {"layer", "operator", "type", "kernel", "MACs", "SQNR dB", "cosine"}};
  for (const auto& l : r.layers)
    rows.push_back({l.name, l.what, l.integer ? "int8" : "float", l.kernel,
                    l.macs ? grouped(static_cast<std::uint64_t>(l.macs)) : "",
                    l.error ? number(l.error->sqnr_db, 1) : "",
                    l.error ? number(l.error->cosine, 5) : ""});
  return "\n" + columns(rows, 4);
}

/// Where kernels without VNNI could saturate; "" where there are no integer weights.
inline std::string overflow_table(const report& r) {
  std::uint64_t pairs = 0, saturating = 0, layers = 0;
  std::vector<std::vector<std::string>> rows;
  for (const auto& o : r.overflow) {
    pairs += static_cast<std::uint64_t>(o.pairs);
    saturating += static_cast<std::uint64_t>(o.saturating);
    layers += o.saturating > 0;
    if (o.saturating > 0)
      rows.push_back({"  " + o.layer, grouped(static_cast<std::uint64_t>(o.saturating)), "of",
                      grouped(static_cast<std::uint64_t>(o.pairs))});
  }
  if (r.overflow.empty()) return "";
  std::string s =
      "\nweight pairs that could saturate other runtimes' 16-bit sums on x86 without "
      "VNNI: " +
      grouped(saturating) + " of " + grouped(pairs) + ", in " + grouped(layers) + " of " +
      grouped(r.overflow.size()) + " layers\n";
  return s + columns(rows, 1);
}

}  // namespace detail_report

/// The report for people; ends with a newline.
inline std::string text(const report& r) {
  using namespace detail_report;
  std::string s = r.model + " (ptq " + r.library;
  if (!r.isa.empty()) s += ", " + r.isa;
  if (r.samples > 0) s += ", calibrated on " + std::to_string(r.samples) + " samples";
  s += ")\n";
  for (std::size_t i = 0; i < r.settings.size(); ++i)
    s += (i ? ", " : "  ") + r.settings[i].first + " " + r.settings[i].second;
  if (!r.settings.empty()) s += "\n";
  s += figures(r);
  s += "\n";
  if (r.accuracy) s += "accuracy on " + std::to_string(r.accuracy->after.n) + " labelled samples\n";
  if (r.latency)
    s += "latency of one inference, " + std::to_string(r.latency->after.repeats) + " repeats, " +
         std::to_string(r.latency->after.threads) +
         (r.latency->after.threads == 1 ? " thread\n" : " threads\n");
  if (r.macs() > 0)
    s += "multiply-accumulates in integers: " + number(r.integer_share(), 2) + " % of " +
         grouped(static_cast<std::uint64_t>(r.macs())) + "\n";
  if (r.activation_bytes > 0)
    s += "activations: " + grouped(r.activation_bytes) + " bytes, and " + grouped(r.scratch_bytes) +
         " for each thread\n";
  if (r.compared > 0) {
    s += "same top class as float: " + number(r.agreement, 2) + " % of " +
         std::to_string(r.compared) + " samples\n";
    for (const auto& o : r.outputs)
      s += "output '" + o.name + "': SQNR " + number(o.error.sqnr_db, 2) + " dB, cosine " +
           number(o.error.cosine, 6) + "\n";
  }
  s += recovery_table(r);
  s += layer_table(r);
  std::string reasons;
  for (const auto& l : r.layers)
    if (!l.integer && !l.note.empty())
      reasons += "  " + l.name + " (" + l.what + "): " + l.note + "\n";
  if (!reasons.empty()) s += "\nstays in float:\n" + reasons;
  s += overflow_table(r);
  if (!r.notes.empty()) s += "\n";
  for (const auto& n : r.notes) s += "note: " + n + "\n";
  return s;
}

}  // namespace ptq
