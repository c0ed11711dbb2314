// SPDX-License-Identifier: Apache-2.0
// Where results go: text, JSON, and a bar for those who watch.

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <memory>
#include <span>
#include <system_error>

#include <nlohmann/json.hpp>

#include <ptq/core/error.hpp>

#include "support.hpp"

namespace cli {

ptq::progress progress_bar(const common_arguments& a) {
  if (a.quiet || isatty(STDERR_FILENO) == 0) return {};
  using clock = std::chrono::steady_clock;
  const auto last = std::make_shared<clock::time_point>();
  return [last](std::string_view stage, std::int64_t done, std::int64_t total) {
    const auto now = clock::now();
    const bool end = total > 0 && done >= total;
    if (!end && now - *last < std::chrono::milliseconds(100)) return;
    *last = now;
    constexpr int width = 30;
    const int name = static_cast<int>(stage.size());
    if (total > 0) {
      const int full = static_cast<int>(std::min(done, total) * width / total);
      std::fprintf(stderr, "\r%-12.*s [%.*s%*s] %lld/%lld", name, stage.data(), full,
                   "##############################", width - full, "", static_cast<long long>(done),
                   static_cast<long long>(total));
    } else {
      std::fprintf(stderr, "\r%-12.*s %lld", name, stage.data(), static_cast<long long>(done));
    }
    if (end) std::fputs("\r\033[K", stderr);  // the line is taken back
    std::fflush(stderr);
  };
}

void say(const common_arguments& a, std::string_view text) {
  std::FILE* to = a.json == "-" ? stderr : stdout;
  if (std::fwrite(text.data(), 1, text.size(), to) != text.size())
    throw ptq::io_error("standard output can't be written");
}

void write_result(const common_arguments& a, const nlohmann::json& result) {
  if (a.json.empty()) return;
  // A model's names may be any bytes.
  const auto text = result.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  if (a.json == "-") {
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size())
      throw ptq::io_error("standard output can't be written");
    return;
  }
  const std::filesystem::path path(a.json);
  std::error_code bad;
  const auto kind = std::filesystem::status(path, bad).type();
  if (kind != std::filesystem::file_type::regular &&
      kind != std::filesystem::file_type::not_found) {
    std::ofstream out(path);  // a pipe, or /dev/null: nothing to put in its place
    out << text;
    out.close();
    if (!out) throw ptq::io_error("'" + path.string() + "': can't be written");
    return;
  }
  auto beside = path;
  beside += ".partial";
  {
    std::ofstream out(beside, std::ios::binary | std::ios::trunc);
    out << text;
    out.close();
    if (!out) {
      std::filesystem::remove(beside, bad);
      throw ptq::io_error("'" + path.string() + "': can't be written");
    }
  }
  std::filesystem::rename(beside, path, bad);
  if (!bad) return;
  const auto why = bad.message();
  std::filesystem::remove(beside, bad);
  throw ptq::io_error("'" + path.string() + "': can't be written: " + why);
}

void require_writable(const std::string& path) {
  if (path.empty() || path == "-") return;
  namespace fs = std::filesystem;
  std::error_code bad;
  if (fs::is_directory(path, bad))
    throw ptq::io_error("'" + path + "': expected a file to write, got a folder");
  if (fs::exists(path, bad) && !fs::is_regular_file(path, bad)) return;
  const fs::path beside = path + ".partial";
  const bool was = fs::exists(beside, bad);
  std::ofstream probe(beside, std::ios::binary | std::ios::app);
  const bool fine = static_cast<bool>(probe);
  probe.close();
  if (fine && !was) fs::remove(beside, bad);
  if (!fine) throw ptq::io_error("'" + path + "': can't be written");
}

}  // namespace cli
