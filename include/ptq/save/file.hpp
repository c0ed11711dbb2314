#pragma once
// SPDX-License-Identifier: Apache-2.0
// The file of a program: a header of 64 bytes, fields one behind the other (fields.hpp), then blobs, each from a
// multiple of 64 bytes on, so that kernels read them where the file is mapped. Little endian.
//
//   0   8  magic           24  8  XXH64 of all from byte 32 on
//   8   4  format          32  8  bytes of fields
//   12  4  0x01020304      40  24 zero
//   16  8  bytes of file   64     fields, then blobs
//
// The bytes are untrusted: every length and offset is compared with what is there before it is used.

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <ptq/core/error.hpp>
#include <ptq/core/hash.hpp>
#include <ptq/core/mapped_file.hpp>
#include <ptq/core/tensor.hpp>
#include <ptq/data/bytes.hpp>
#include <ptq/save/fields.hpp>

namespace ptq::saving {

inline constexpr std::array<char, 8> magic = {'p', 't', 'q', ' ', 'p', 'r', 'o', 'g'};
inline constexpr std::uint32_t format = 7, byte_order = 0x01020304;

struct file_header {
  std::array<char, 8> is = magic;
  std::uint32_t version = format, order = byte_order;
  std::uint64_t file_bytes = 0, hash = 0, field_bytes = 0;
  std::array<std::uint64_t, 3> zero{};
};
static_assert(sizeof(file_header) == tensor_alignment && std::endian::native == std::endian::little);
inline constexpr std::size_t hashed_from = 32;

constexpr std::size_t to_line(std::size_t bytes) {
  return (bytes + tensor_alignment - 1) / tensor_alignment * tensor_alignment;
}

/// Fields and blobs, collected; blobs are borrowed until the file is written.
class writer {
 public:
  template <class... T>
  void operator()(const T&... members) {
    (put(members), ...);
  }
  void blob(std::span<const std::byte> bytes) {
    (*this)(static_cast<std::uint64_t>(blob_bytes_), static_cast<std::uint64_t>(bytes.size()));
    blobs_.push_back(bytes);
    blob_bytes_ += to_line(bytes.size());
  }

  /// throws  io_error if it can't be written; an old file is then left as it was
  void write(const std::filesystem::path& path) const {
    static constexpr std::array<std::byte, tensor_alignment> zeros{};
    std::vector<std::span<const std::byte>> pieces(1);
    const auto add = [&](std::span<const std::byte> bytes) {
      pieces.push_back(bytes);
      pieces.push_back(std::span(zeros).first(to_line(bytes.size()) - bytes.size()));
    };
    add(std::as_bytes(std::span(fields_)));
    for (auto b : blobs_) add(b);
    file_header header;
    header.file_bytes = sizeof header;
    for (auto p : pieces) header.file_bytes += p.size();
    header.field_bytes = fields_.size();
    const auto head = std::as_bytes(std::span(&header, 1));
    pieces[0] = head.subspan(hashed_from);
    hasher hash;
    for (auto p : pieces) hash.add(p);
    header.hash = hash.value();
    pieces[0] = head;
    data::write_file(path, pieces);
  }

 private:
  template <class T>
  void put(const T& x) {
    if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T>)
      fields_.append(reinterpret_cast<const char*>(&x), sizeof x);
    else
      visit(*this, const_cast<T&>(x));  // only read: `put` takes no member that could be written
  }
  template <class T>
  void put(const T* const&) {}
  template <class T>
  void put(const std::span<T>&) {}
  void put(const kernels::packed_memory&) {}
  template <class T>
  void put_all(const T& items) {
    for (const auto& x : items) put(x);
  }
  void put(const std::string& s) {
    put(static_cast<std::uint64_t>(s.size()));
    fields_ += s;
  }
  template <class T>
  void put(const std::vector<T>& v) {
    put(static_cast<std::uint64_t>(v.size()));
    put_all(v);
  }
  template <class T, std::size_t N>
  void put(const std::array<T, N>& a) {
    put_all(a);
  }
  template <class T>
  void put(const std::optional<T>& o) {
    put(o.has_value());
    if (o) put(*o);
  }
  void put(const shape& s) { put(s.dims); }
  void put(const tensor& t) {
    put(!t.empty());
    if (t.empty()) return;
    (*this)(t.type(), t.dims());
    blob({t.data(), t.byte_count()});
  }

  std::string fields_;
  std::vector<std::span<const std::byte>> blobs_;
  std::size_t blob_bytes_ = 0;
};

/// A mapped file that begins as one of ours and is whole; reads its fields in turn.
class reader {
 public:
  /// throws  import_error if it is no such file, cut short or damaged; unsupported for another format
  reader(mapped_file file, std::string name) : file_(std::move(file)), name_(std::move(name)) {
    file_header header;
    if (file_.size < sizeof header)
      fail("bytes: expected at least " + std::to_string(sizeof header) + ", got " + std::to_string(file_.size));
    std::memcpy(&header, file_.bytes.get(), sizeof header);
    if (header.is != magic || header.order != byte_order) fail("expected a prepared program, got another kind of file");
    if (header.version != format)
      throw unsupported("load: '" + name_ + "': format: expected " + std::to_string(format) + ", got " +
                        std::to_string(header.version));
    if (header.file_bytes != file_.size)
      fail("bytes: expected " + std::to_string(header.file_bytes) + ", got " + std::to_string(file_.size));
    if (const auto hash = hash_of(file_.view().subspan(hashed_from)); hash != header.hash)
      fail("checksum: expected " + std::to_string(header.hash) + ", got " + std::to_string(hash));
    if (header.field_bytes > file_.size - sizeof header)
      fail("fields: expected at most " + std::to_string(file_.size - sizeof header) + " bytes, got " +
           std::to_string(header.field_bytes));
    at_ = sizeof header;
    end_ = at_ + static_cast<std::size_t>(header.field_bytes);
    blobs_ = std::min(to_line(end_), file_.size);
  }

  template <class... T>
  void operator()(T&... members) {
    (get(members), ...);
  }
  /// A blob; both its ends lie in the file, and it starts on a line.
  std::shared_ptr<const std::byte> blob(std::uint64_t& bytes) {
    std::uint64_t offset = 0;
    (*this)(offset, bytes);
    const std::uint64_t room = file_.size - blobs_;
    if (offset % tensor_alignment != 0 || offset > room || bytes > room - offset)
      fail("blob: expected within " + std::to_string(room) + " bytes, got " + std::to_string(bytes) + " at " +
           std::to_string(offset));
    return file_.part(blobs_ + static_cast<std::size_t>(offset));
  }
  bool done() const { return at_ == end_; }
  const std::string& name() const { return name_; }
  [[noreturn]] void fail(const std::string& what) const { throw import_error("load: '" + name_ + "': " + what); }

 private:
  void take(void* to, std::size_t bytes) {
    if (bytes > end_ - at_)
      fail("fields: expected " + std::to_string(bytes) + " more bytes, got " + std::to_string(end_ - at_));
    if (bytes > 0) std::memcpy(to, file_.bytes.get() + at_, bytes);
    at_ += bytes;
  }
  /// Of things that take a byte or more each.
  std::size_t count() {
    std::uint64_t n = 0;
    get(n);
    if (n > end_ - at_)
      fail("count: expected at most " + std::to_string(end_ - at_) + ", got " + std::to_string(n));
    return static_cast<std::size_t>(n);
  }
  template <class T>
  void get(T& x) {
    if constexpr (std::is_same_v<T, bool> || std::is_enum_v<T>) {
      std::uint8_t code = 0;
      static_assert(sizeof(T) == sizeof code);
      take(&code, sizeof code);
      std::uint8_t last = 1;
      if constexpr (std::is_enum_v<T>) last = static_cast<std::uint8_t>(last_of<T>);
      if (code > last) fail("code: expected at most " + std::to_string(last) + ", got " + std::to_string(code));
      x = static_cast<T>(code);
    } else if constexpr (std::is_arithmetic_v<T>) {
      take(&x, sizeof x);
    } else {
      visit(*this, x);
    }
  }
  template <class T>
  void get(const T*&) {}
  template <class T>
  void get(std::span<T>&) {}
  void get(kernels::packed_memory&) {}
  template <class T>
  void get_all(T& items) {
    for (auto& x : items) get(x);
  }
  void get(std::string& s) {
    s.resize(count());
    take(s.data(), s.size());
  }
  template <class T>
  void get(std::vector<T>& v) {
    const auto n = count();
    v.clear();
    for (std::size_t i = 0; i < n; ++i) get(v.emplace_back());  // memory only as the bytes come
  }
  template <class T, std::size_t N>
  void get(std::array<T, N>& a) {
    get_all(a);
  }
  template <class T>
  void get(std::optional<T>& o) {
    bool there = false;
    get(there);
    if (there) get(o.emplace());
  }
  void get(shape& s) { get(s.dims); }
  void get(tensor& t) {
    bool there = false;
    get(there);
    if (!there) return;
    dtype type{};
    shape dims;
    std::uint64_t bytes = 0;
    (*this)(type, dims);
    auto data = blob(bytes);
    if (static_cast<std::uint64_t>(dims.size()) > bytes || static_cast<std::uint64_t>(dims.size()) * size_of(type) != bytes)
      fail("constant: expected the bytes of " + dims.text() + " " + name_of(type) + ", got " + std::to_string(bytes));
    t = tensor(type, std::move(dims), std::move(data));
  }

  mapped_file file_;
  std::string name_;
  std::size_t at_ = 0, end_ = 0, blobs_ = 0;
};

}  // namespace ptq::saving
