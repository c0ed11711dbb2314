#pragma once
// SPDX-License-Identifier: Apache-2.0
// Classes of samples: from CSV, arrays, or the samples themselves. A row is matched by file name
// where samples are files and by order otherwise, always through the samples that are given, so
// that a shuffled subset gets the right classes.

#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <ptq/core/tensor.hpp>
#include <ptq/data/bytes.hpp>
#include <ptq/data/samples.hpp>

namespace ptq {

/// Classes as a label file lists them; `file` is empty where it gives only classes.
struct label_row {
  std::string file;
  std::int64_t label = 0;
};
using label_table = std::vector<label_row>;

namespace detail_labels {

inline std::string_view trimmed(std::string_view s) {
  auto outer = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0 || c == '"'; };
  while (!s.empty() && outer(s.front())) s.remove_prefix(1);
  while (!s.empty() && outer(s.back())) s.remove_suffix(1);
  return s;
}

inline std::optional<std::int64_t> integer(std::string_view s) {
  std::int64_t v = 0;
  const auto [end, code] = std::from_chars(s.data(), s.data() + s.size(), v);
  if (code != std::errc() || end != s.data() + s.size() || s.empty()) return std::nullopt;
  return v;
}

inline std::string file_name(const std::string& path) {
  return std::filesystem::path(path).filename().string();
}

}  // namespace detail_labels

/// CSV with a class last in each line, `file,class` or `class`; a first line without a number is a
/// heading.
///
/// throws  data_error naming the file and line where a class is no integer >= 0
inline label_table parse_label_csv(std::string_view text, const std::string& file) {
  namespace d = detail_labels;
  label_table rows;
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);  // byte order mark
  for (std::int64_t line = 1; !text.empty(); ++line) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view whole = d::trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (whole.empty()) continue;
    const std::size_t comma = whole.rfind(',');
    const bool named = comma != std::string_view::npos;
    const auto word = d::trimmed(named ? whole.substr(comma + 1) : whole);
    const auto label = d::integer(word);
    if (!label && line == 1) continue;
    if (!label || *label < 0)
      data::fail(file, "line " + std::to_string(line), "file,class with class >= 0",
                 "'" + std::string(whole) + "'");
    rows.push_back({named ? std::string(d::trimmed(whole.substr(0, comma))) : "", *label});
  }
  if (rows.empty()) data::fail(file, "labels", "at least one", "none");
  return rows;
}

inline label_table read_label_csv(const std::filesystem::path& file) {
  const data::byte_run run(file);
  const auto raw = run.read();
  return parse_label_csv({reinterpret_cast<const char*>(raw.data()), raw.size()}, run.name());
}

/// One class per element of [n] or [n,1], of any type, integral and >= 0.
inline label_table labels_of_tensor(const tensor& t, const std::string& file) {
  const bool flat = t.dims().rank() == 1 || (t.dims().rank() == 2 && t.dims()[1] == 1);
  if (!flat) data::fail(file, "labels", "an array [n] or [n,1]", t.dims().text());
  label_table rows;
  auto add = [&]<class T>(T) {
    for (T v : t.view<T>()) {
      const auto label = static_cast<double>(v);
      if (!(label >= 0 && label < 2147483648.0 && label == std::floor(label)))
        data::fail(file, "label " + std::to_string(rows.size()), "an integer in [0, 2^31)",
                   std::to_string(v));
      rows.push_back({"", static_cast<std::int64_t>(label)});
    }
  };
  switch (t.type()) {
    case dtype::f32:
      add(float{});
      break;
    case dtype::s64:
      add(std::int64_t{});
      break;
    case dtype::s32:
      add(std::int32_t{});
      break;
    case dtype::s16:
      add(std::int16_t{});
      break;
    case dtype::u16:
      add(std::uint16_t{});
      break;
    case dtype::s8:
      add(std::int8_t{});
      break;
    case dtype::u8:
      add(std::uint8_t{});
      break;
    case dtype::boolean:
    case dtype::f8e4m3:
    case dtype::f8e5m2:
      data::fail(file, "labels", "numbers", name_of(t.type()));
  }
  return rows;
}

/// The class of each sample, by file name where both sides have names (the relative path, else the
/// last part of it), by order otherwise.
///
/// returns one class per sample; where the number of samples is unknown, all classes in order
/// throws  data_error where a sample's file is missing, two rows of a file differ, or by order the
/// counts differ
inline std::vector<std::int64_t> match_labels(const label_table& table, const samples& from,
                                              const std::string& file) {
  std::vector<std::int64_t> labels;
  const std::int64_t n = from.count().value_or(-1);
  const bool named = n > 0 && !from.name(0).empty() && !table.empty() && !table[0].file.empty();
  if (!named) {
    const auto rows = static_cast<std::int64_t>(table.size());
    if (from.origin_count() >= 0 && from.origin_count() != rows)
      data::fail(file, "labels", std::to_string(from.origin_count()) + " (one per sample)",
                 std::to_string(rows));
    for (std::int64_t i = 0; i < (n < 0 ? rows : n); ++i)
      labels.push_back(table[static_cast<std::size_t>(from.origin(i))].label);
    return labels;
  }
  std::map<std::string, std::int64_t> by_path;
  std::map<std::string, std::int64_t> by_name;
  for (const auto& row : table) {
    const auto [at, added] = by_path.emplace(row.file, row.label);
    if (!added && at->second != row.label)
      data::fail(file, "file '" + row.file + "'", "one class",
                 std::to_string(at->second) + " and " + std::to_string(row.label));
    by_name.emplace(detail_labels::file_name(row.file), row.label);
  }
  for (std::int64_t i = 0; i < n; ++i) {
    const std::string name = from.name(i);
    auto at = by_path.find(name);
    if (at == by_path.end()) {
      at = by_name.find(detail_labels::file_name(name));
      if (at == by_name.end())
        data::fail(file, "labels", "a row for '" + name + "'",
                   "none among " + std::to_string(table.size()) + " rows");
    }
    labels.push_back(at->second);
  }
  return labels;
}

/// The classes that samples bring themselves (label bytes, class folders).
///
/// throws  data_error naming the sample that has none
inline std::vector<std::int64_t> stored_labels(const samples& from) {
  if (!from.count())
    throw data_error("data: labels: expected samples of known count, got a sequence");
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < *from.count(); ++i) {
    const auto label = from.label(i);
    if (!label)
      throw data_error("data: labels: sample " + std::to_string(i) + " '" + from.name(i) +
                       "': expected a class folder or a label byte, got neither");
    labels.push_back(*label);
  }
  return labels;
}

}  // namespace ptq
