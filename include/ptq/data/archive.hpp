#pragma once
// SPDX-License-Identifier: Apache-2.0
// Files within files: gzip, and zip as NumPy's .npz uses it (stored or deflated, no zip64, no
// encryption). A stored member is read sample by sample from the archive; a deflated one is
// decompressed into memory when it is opened. Sources: RFC 1952; PKWARE APPNOTE 6.3.

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <ptq/data/bytes.hpp>
#include <ptq/data/inflate.hpp>
#include <ptq/data/npy.hpp>
#include <ptq/data/samples.hpp>

namespace ptq::data {

/// DEFLATE can't expand by more (RFC 1951: 258 bytes from 2 bits), so a larger claim is a lie.
inline constexpr std::uint64_t largest_expansion = 1032;

inline bool is_gzip(const byte_run& run) {
  if (run.size() < 18) return false;  // header and trailer alone
  const auto m = run.read(0, 2);
  return m[0] == std::byte{0x1f} && m[1] == std::byte{0x8b};
}

namespace detail_archive {

/// Offset of the deflate stream in a gzip member, past the optional fields.
inline std::size_t gzip_header(std::span<const std::byte> b, const std::string& file) {
  if (b.size() < 18 || b[0] != std::byte{0x1f} || b[1] != std::byte{0x8b} || b[2] != std::byte{8})
    fail(file, "gzip member", "1f 8b 08 and 18 bytes or more", std::to_string(b.size()) + " bytes");
  const unsigned flags = std::to_integer<unsigned>(b[3]);
  std::size_t at = 10;
  if ((flags & 4u) != 0) at += 2u + little16(b.data() + at);
  for (unsigned text : {8u, 16u}) {  // name, comment: zero-terminated
    if ((flags & text) == 0) continue;
    while (at < b.size() && b[at] != std::byte{0}) ++at;
    ++at;
  }
  if ((flags & 2u) != 0) at += 2;
  if (at + 8 > b.size())
    fail(file, "gzip header", "an end before " + std::to_string(b.size()), std::to_string(at));
  return at;
}

}  // namespace detail_archive

/// A gzip file, all members one after another.
///
/// throws  data_error naming the file if it is truncated, damaged, or its CRC-32 or size is another
inline byte_vector gunzip(std::span<const std::byte> src, const std::string& file) {
  byte_vector out;
  while (!src.empty()) {
    const std::size_t start = detail_archive::gzip_header(src, file);
    std::size_t used = 0;
    const auto body = src.subspan(start, src.size() - start - 8);
    auto piece = inflate(body, body.size() * largest_expansion, used, file);
    const std::byte* trailer = body.data() + used;
    if (const auto c = crc32(piece); c != little32(trailer))
      fail(file, "gzip CRC-32", hex(little32(trailer)), hex(c));
    if (static_cast<std::uint32_t>(piece.size()) != little32(trailer + 4))
      fail(file, "gzip size", std::to_string(little32(trailer + 4)), std::to_string(piece.size()));
    if (out.empty())
      out = std::move(piece);
    else
      out.insert(out.end(), piece.begin(), piece.end());
    src = src.subspan(start + used + 8);
  }
  return out;
}

/// The file itself, or what it holds if it is gzip.
inline byte_run open_maybe_gzip(const std::filesystem::path& path) {
  byte_run run(path);
  return is_gzip(run) ? byte_run(gunzip(run.read(), run.name()), run.name()) : run;
}

/// A file in a zip archive.
struct zip_member {
  std::string name;
  std::uint16_t method = 0;  // 0 stored, 8 deflated
  std::uint32_t crc = 0;
  std::uint64_t packed = 0, size = 0, header = 0;  // bytes; offset of the local header
};

/// The central directory of a zip archive.
///
/// throws  data_error if there is none, it is damaged, encrypted or zip64
inline std::vector<zip_member> zip_members(const byte_run& run) {
  const auto& file = run.name();
  constexpr std::uint64_t end_size = 22, longest_comment = 65535;
  const std::uint64_t tail_size = std::min(run.size(), end_size + longest_comment);
  const auto tail = run.read(run.size() - tail_size, tail_size);
  std::size_t at = tail.size() + 1;
  for (std::size_t i = tail.size() >= end_size ? tail.size() - end_size + 1 : 0; i-- > 0;)
    if (little32(tail.data() + i) == 0x06054b50u) {
      at = i;
      break;
    }
  if (at > tail.size()) fail(file, "zip: no end of central directory: not a zip, or truncated");
  const std::byte* end = tail.data() + at;
  const std::uint32_t total = little16(end + 10), size = little32(end + 12),
                      offset = little32(end + 16);
  if (total == 0xffffu || offset == 0xffffffffu) fail(file, "zip64 is not supported");
  const auto dir = run.read(offset, size);
  std::vector<zip_member> members;
  std::size_t p = 0;
  for (std::uint32_t i = 0; i < total; ++i) {
    constexpr std::size_t fixed = 46;
    if (p + fixed > dir.size() || little32(dir.data() + p) != 0x02014b50u)
      fail(file, "zip directory", std::to_string(total) + " members", std::to_string(i));
    const std::byte* e = dir.data() + p;
    const std::size_t name = little16(e + 28), extra = little16(e + 30), comment = little16(e + 32);
    if (p + fixed + name > dir.size()) fail(file, "zip directory: truncated name");
    zip_member m{std::string(reinterpret_cast<const char*>(e + fixed), name),
                 little16(e + 10),
                 little32(e + 16),
                 little32(e + 20),
                 little32(e + 24),
                 little32(e + 42)};
    if ((little16(e + 8) & 1u) != 0) fail(file, "zip member '" + m.name + "': encrypted");
    if (m.packed == 0xffffffffu || m.size == 0xffffffffu || m.header == 0xffffffffu)
      fail(file, "zip member '" + m.name + "': zip64 is not supported");
    members.push_back(std::move(m));
    p += fixed + name + extra + comment;
  }
  return members;
}

/// The bytes of a member, CRC-32 checked where it is decompressed or `verify` is set.
inline byte_run zip_open(const byte_run& run, const zip_member& m, bool verify) {
  const std::string file = run.name() + ":" + m.name;
  constexpr std::uint64_t fixed = 30;
  const auto local = run.named(file).read(m.header, fixed);
  if (little32(local.data()) != 0x04034b50u)
    fail(file, "zip: no local header at " + std::to_string(m.header));
  const std::uint64_t start =
      m.header + fixed + little16(local.data() + 26) + little16(local.data() + 28);
  byte_run body = run.named(file).part(start, m.packed);
  if (m.method == 0) {
    if (m.size != m.packed)
      fail(file, "zip stored size", std::to_string(m.size), std::to_string(m.packed));
    if (!verify) return body;
    body = byte_run(body.read(), file);
  } else if (m.method == 8) {
    if (m.size > m.packed * largest_expansion)
      fail(file, "zip size", "at most 1032 times " + std::to_string(m.packed),
           std::to_string(m.size));
    std::size_t used = 0;
    auto out = inflate(body.read(), static_cast<std::size_t>(m.size), used, file);
    if (out.size() != m.size)
      fail(file, "zip size", std::to_string(m.size), std::to_string(out.size()));
    body = byte_run(std::move(out), file);
  } else {
    fail(file, "zip method", "0 (stored) or 8 (deflated)", std::to_string(m.method));
  }
  if (const auto c = crc32(body.read()); c != m.crc) fail(file, "zip CRC-32", hex(m.crc), hex(c));
  return body;
}

/// The arrays of a .npz by name (without .npy), in the archive's order.
inline std::vector<std::pair<std::string, stored_array>> npz_arrays(const byte_run& run,
                                                                    bool verify) {
  std::vector<std::pair<std::string, stored_array>> arrays;
  for (const auto& m : zip_members(run)) {
    if (!m.name.ends_with(".npy")) continue;
    arrays.emplace_back(m.name.substr(0, m.name.size() - 4), npy_array(zip_open(run, m, verify)));
  }
  if (arrays.empty()) fail(run.name(), "npz", "at least one .npy member", "none");
  return arrays;
}

}  // namespace ptq::data

namespace ptq {

/// Every array of a .npz, whole.
inline std::vector<named_tensor> read_npz(const std::filesystem::path& file) {
  std::vector<named_tensor> all;
  for (auto& [name, array] : data::npz_arrays(data::byte_run(file), true))
    all.push_back({name, array.whole()});
  return all;
}

/// Samples along the first axis of every array of a .npz; arrays are named inputs and have equally
/// many rows.
class npz_samples {
 public:
  explicit npz_samples(const std::filesystem::path& file) {
    for (auto& [name, array] : data::npz_arrays(data::byte_run(file), false)) {
      if (array.dims.rank() == 0) data::fail(array.bytes.name(), "rank", "at least 1", "0");
      if (!rows_.empty() && array.rows() != count())
        data::fail(array.bytes.name(), "first axis",
                   std::to_string(count()) + " as in '" + rows_[0].input + "'",
                   std::to_string(array.rows()));
      rows_.push_back({std::move(array), name});
    }
  }
  std::int64_t count() const { return rows_[0].count(); }
  sample at(std::int64_t i) const {
    sample s;
    for (const auto& r : rows_) s.inputs.push_back({r.input, r.value(i)});
    return s;
  }

 private:
  std::vector<data::row_source> rows_;
};

/// A folder of .npz in the order of their names: one sample each, tensors as they are stored.
class npz_folder {
 public:
  explicit npz_folder(std::filesystem::path folder) : folder_(std::move(folder)) {
    for (const auto& e : std::filesystem::directory_iterator(folder_))
      if (e.is_regular_file() && e.path().extension() == ".npz")
        files_.push_back(e.path().filename().string());
    std::sort(files_.begin(), files_.end());
  }
  std::int64_t count() const { return static_cast<std::int64_t>(files_.size()); }
  std::string name(std::int64_t i) const { return files_.at(static_cast<std::size_t>(i)); }
  sample at(std::int64_t i) const { return sample(read_npz(folder_ / name(i))); }

 private:
  std::filesystem::path folder_;
  std::vector<std::string> files_;
};

}  // namespace ptq
