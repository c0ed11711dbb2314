#pragma once
// SPDX-License-Identifier: Apache-2.0
// Bytes of files, for the readers of this folder. Files are untrusted: every length is checked
// against the file before memory is asked for. Sources reopen their file for each sample: no shared
// position, so threads may read at once.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <ptq/core/error.hpp>

namespace ptq::data {

using byte_vector = std::vector<std::byte>;

[[noreturn]] inline void fail(const std::string& file, const std::string& what) {
  throw data_error("data: '" + file + "': " + what);
}

[[noreturn]] inline void fail(const std::string& file, const std::string& what,
                              const std::string& expected, const std::string& got) {
  fail(file, what + ": expected " + expected + ", got " + got);
}

inline std::string hex(std::uint32_t v) {
  std::string s = "0x";
  for (int shift = 28; shift >= 0; shift -= 4) s += "0123456789abcdef"[(v >> shift) & 15u];
  return s;
}

inline std::uint16_t little16(const std::byte* p) {
  return static_cast<std::uint16_t>(std::to_integer<unsigned>(p[0]) |
                                    std::to_integer<unsigned>(p[1]) << 8);
}
inline std::uint32_t little32(const std::byte* p) {
  return little16(p) | static_cast<std::uint32_t>(little16(p + 2)) << 16;
}
inline std::uint32_t big32(const std::byte* p) {
  return std::to_integer<std::uint32_t>(p[0]) << 24 | std::to_integer<std::uint32_t>(p[1]) << 16 |
         std::to_integer<std::uint32_t>(p[2]) << 8 | std::to_integer<std::uint32_t>(p[3]);
}

/// Size of a regular file; throws io_error if there is none.
inline std::uint64_t size_of_file(const std::filesystem::path& path) {
  std::error_code code;
  if (!std::filesystem::is_regular_file(path, code))
    throw io_error("data: '" + path.string() + "': expected a file, found " +
                   (std::filesystem::exists(path, code) ? "something else" : "nothing"));
  const auto n = std::filesystem::file_size(path, code);
  if (code) throw io_error("data: '" + path.string() + "': " + code.message());
  return n;
}

/// A run of bytes: a stretch of a file, read when asked for, or memory (what a compressed file
/// holds).
class byte_run {
 public:
  byte_run() = default;
  explicit byte_run(std::filesystem::path file)
      : name_(file.string()), file_(std::move(file)), size_(size_of_file(file_)) {}
  byte_run(byte_vector memory, std::string name)
      : name_(std::move(name)),
        size_(memory.size()),
        memory_(std::make_shared<const byte_vector>(std::move(memory))) {}

  std::uint64_t size() const { return size_; }
  const std::string& name() const { return name_; }  // for error texts

  /// Part of this run; throws data_error if it reaches past the end.
  byte_run part(std::uint64_t offset, std::uint64_t count) const {
    require(offset, count);
    byte_run r = *this;
    r.offset_ += offset;
    r.size_ = count;
    return r;
  }
  byte_run named(std::string name) const {
    byte_run r = *this;
    r.name_ = std::move(name);
    return r;
  }

  void read(std::uint64_t offset, std::span<std::byte> dst) const {
    require(offset, dst.size());
    if (dst.empty()) return;
    if (memory_) {
      std::memcpy(dst.data(), memory_->data() + offset_ + offset, dst.size());
      return;
    }
    std::ifstream in(file_, std::ios::binary);
    if (!in) throw io_error("data: '" + name_ + "': can't be opened");
    in.seekg(static_cast<std::streamoff>(offset_ + offset));
    in.read(reinterpret_cast<char*>(dst.data()), static_cast<std::streamsize>(dst.size()));
    if (in.gcount() != static_cast<std::streamsize>(dst.size()))
      fail(name_, "read at " + std::to_string(offset_ + offset),
           std::to_string(dst.size()) + " bytes", std::to_string(in.gcount()));
  }
  byte_vector read(std::uint64_t offset, std::uint64_t count) const {
    require(offset, count);
    byte_vector v(static_cast<std::size_t>(count));
    read(offset, std::span<std::byte>(v));
    return v;
  }
  byte_vector read() const { return read(0, size_); }

 private:
  void require(std::uint64_t offset, std::uint64_t count) const {
    if (offset > size_ || count > size_ - offset)
      fail(name_, "truncated",
           "at least " + std::to_string(offset) + " + " + std::to_string(count) + " bytes",
           std::to_string(size_));
  }

  std::string name_;
  std::filesystem::path file_;
  std::uint64_t offset_ = 0;
  std::uint64_t size_ = 0;
  std::shared_ptr<const byte_vector> memory_;
};

/// Writes a file whole or not at all: beside the target first, then renamed. Throws io_error.
inline void write_file(const std::filesystem::path& path,
                       std::span<const std::span<const std::byte>> pieces) {
  std::filesystem::path beside = path;
  beside += ".part" + std::to_string(std::random_device{}());
  std::error_code code;
  {
    std::ofstream out(beside, std::ios::binary | std::ios::trunc);
    for (auto p : pieces)
      out.write(reinterpret_cast<const char*>(p.data()), static_cast<std::streamsize>(p.size()));
    out.close();
    if (!out) {
      std::filesystem::remove(beside, code);
      throw io_error("data: '" + path.string() + "': can't be written");
    }
  }
  std::filesystem::rename(beside, path, code);
  if (!code) return;
  const std::string why = code.message();
  std::filesystem::remove(beside, code);
  throw io_error("data: '" + path.string() + "': can't be written: " + why);
}
inline void write_file(const std::filesystem::path& path,
                       std::initializer_list<std::span<const std::byte>> pieces) {
  write_file(path, std::span(pieces.begin(), pieces.size()));
}

}  // namespace ptq::data
