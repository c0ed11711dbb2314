#pragma once
// SPDX-License-Identifier: Apache-2.0
// What a search has measured, kept in a file as it is measured, so that one that was interrupted
// goes on where it was. The search is a pure function of what it measures: with the same answers it
// takes the same way, and ends with the same bytes.
//
// One record per line, `key TAB number …`, numbers as hexadecimal floats, which lose nothing. A line
// without its end was cut off and is dropped.

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <ptq/core/error.hpp>

namespace ptq::control {

class journal {
 public:
  journal() = default;

  /// Opens the file, or begins it.
  ///
  /// identity  of the search; a file of another search is refused
  /// throws    data_error if the file is of another search, io_error if it can't be read or written
  journal(std::filesystem::path file, const std::string& identity) : file_(std::move(file)) {
    const std::string heading = "ptq accuracy control " + identity;
    std::string text;
    if (std::filesystem::exists(file_)) {
      std::ifstream in(file_, std::ios::binary);
      text.assign(std::istreambuf_iterator<char>(in), {});
      if (in.bad()) fail("can't be read");
    }
    text.resize(text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n') + 1);
    if (text.empty()) {
      std::ofstream(file_, std::ios::binary | std::ios::trunc) << heading << "\n";
    } else {
      if (text.compare(0, heading.size() + 1, heading + "\n") != 0)
        throw data_error("accuracy_control: journal '" + file_.string() + "': expected '" +
                         heading + "', got '" + text.substr(0, text.find('\n')) +
                         "': it is of another search");
      read(text, heading.size() + 1);
      std::error_code bad;
      std::filesystem::resize_file(file_, text.size(), bad);
      if (bad) fail("can't be written: " + bad.message());
    }
    out_.open(file_, std::ios::binary | std::ios::app);
    if (!out_) fail("can't be written");
  }

  const std::vector<double>* find(const std::string& key) const {
    const auto it = known_.find(key);
    return it == known_.end() ? nullptr : &it->second;
  }

  /// Keeps the numbers, in the file too if there is one.
  void add(const std::string& key, std::vector<double> numbers) {
    if (out_.is_open()) {
      std::string line = key;
      char text[40];
      for (double x : numbers) {
        std::snprintf(text, sizeof text, "\t%a", x);
        line += text;
      }
      out_ << line << "\n" << std::flush;
      if (!out_) fail("can't be written");
    }
    known_.insert_or_assign(key, std::move(numbers));
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw io_error("accuracy_control: journal '" + file_.string() + "': " + what);
  }
  void read(const std::string& text, std::size_t at) {
    while (at < text.size()) {
      const auto end = text.find('\n', at);
      const std::string line = text.substr(at, end - at);
      at = end + 1;
      auto tab = line.find('\t');
      auto& numbers = known_[line.substr(0, tab)];
      numbers.clear();
      while (tab != std::string::npos) {
        numbers.push_back(std::strtod(line.c_str() + tab + 1, nullptr));
        tab = line.find('\t', tab + 1);
      }
    }
  }

  std::filesystem::path file_;
  std::ofstream out_;
  std::map<std::string, std::vector<double>> known_;
};

}  // namespace ptq::control
