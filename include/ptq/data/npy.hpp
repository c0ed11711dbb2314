#pragma once
// SPDX-License-Identifier: Apache-2.0
// NumPy's .npy, versions 1 to 3: read as a tensor, or as samples along the first axis, one at a
// time; written whole or not at all. Headers are untrusted: extents, type and file size must agree
// exactly. Source: numpy/lib/format.py.

#include <cctype>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include <ptq/core/tensor.hpp>
#include <ptq/data/array.hpp>
#include <ptq/data/bytes.hpp>
#include <ptq/data/samples.hpp>

namespace ptq {

namespace detail_npy {

inline constexpr std::string_view magic = "\x93NUMPY";

/// The header's text: a Python dict with the keys descr, fortran_order and shape.
class header_text {
 public:
  header_text(std::string text, const std::string& file) : text_(std::move(text)), file_(file) {}

  data::element_format format() const {
    const std::string d = quoted("descr");
    data::element_format f;
    const bool ordered = !d.empty() && std::string_view("<>=|").find(d[0]) != std::string::npos;
    const std::string rest = ordered ? d.substr(1) : d;
    f.big_endian = ordered && d[0] == '>';
    f.kind = rest.empty() ? '?' : rest[0] == '?' ? 'b' : rest[0];
    f.bytes = rest == "?" ? 1 : rest.size() == 2 ? rest[1] - '0' : 0;
    if (!data::is_known(f))
      data::fail(file_, "descr", "f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 or b1", "'" + d + "'");
    return f;
  }
  bool fortran() const {
    const std::string v = text_.substr(after("fortran_order"));
    if (v.starts_with("True")) return true;
    if (v.starts_with("False")) return false;
    data::fail(file_, "fortran_order", "True or False", v.substr(0, 8));
  }
  shape dims() const {
    std::size_t i = after("shape");
    if (i >= text_.size() || text_[i] != '(')
      data::fail(file_, "shape", "a tuple", text_.substr(i, 16));
    shape s;
    for (++i; i < text_.size() && text_[i] != ')';) {
      if (std::isdigit(static_cast<unsigned char>(text_[i])) == 0) {
        if (std::string_view(" ,L").find(text_[i]) == std::string::npos)
          data::fail(file_, "shape", "digits", text_.substr(i, 16));
        ++i;
        continue;
      }
      std::int64_t n = 0;
      for (; i < text_.size() && std::isdigit(static_cast<unsigned char>(text_[i])) != 0; ++i) {
        if (n > (std::int64_t{1} << 58)) data::fail(file_, "shape", "extents below 2^58", "more");
        n = n * 10 + (text_[i] - '0');
      }
      s.dims.push_back(n);
      if (s.rank() > 32) data::fail(file_, "shape", "at most 32 axes", "more");  // NPY_MAXDIMS
    }
    return s;
  }

 private:
  std::size_t after(const std::string& key) const {
    std::size_t i = text_.find("'" + key + "'");
    if (i != std::string::npos) i = text_.find(':', i);
    if (i != std::string::npos) i = text_.find_first_not_of(' ', i + 1);
    if (i == std::string::npos) data::fail(file_, "header", "the key '" + key + "'", text_);
    return i;
  }
  std::string quoted(const std::string& key) const {
    const std::size_t i = after(key);
    const std::size_t end = text_.find('\'', i + 1);
    if (text_[i] != '\'' || end == std::string::npos)
      data::fail(file_, key, "a simple type", text_.substr(i, 24));
    return text_.substr(i + 1, end - i - 1);
  }
  std::string text_;
  const std::string& file_;
};

/// Fortran order → C order, of `bytes`-wide elements.
inline data::byte_vector transposed(const data::byte_vector& src, const shape& dims,
                                    std::size_t bytes) {
  data::byte_vector dst(src.size());
  std::vector<std::int64_t> at(dims.dims.size(), 0);
  const auto strides = strides_of(dims);
  for (std::size_t i = 0; i < src.size(); i += bytes) {
    std::int64_t to = 0;
    for (std::size_t a = 0; a < at.size(); ++a) to += at[a] * strides[a];
    std::memcpy(dst.data() + static_cast<std::size_t>(to) * bytes, src.data() + i, bytes);
    for (std::size_t a = 0; a < at.size(); ++a) {  // the first index runs fastest
      if (++at[a] < dims.dims[a]) break;
      at[a] = 0;
    }
  }
  return dst;
}

}  // namespace detail_npy

namespace data {

/// The array behind a .npy header. Fortran order is brought into memory and reordered here, once.
///
/// throws  data_error naming the file if it is no .npy, of a type that is not known, or of another
/// size than it says
inline stored_array npy_array(const byte_run& run) {
  const auto& file = run.name();
  const auto lead = run.read(0, std::min<std::uint64_t>(run.size(), 12));
  const bool ours = lead.size() >= 10 && std::memcmp(lead.data(), detail_npy::magic.data(),
                                                     detail_npy::magic.size()) == 0;
  if (!ours)
    fail(file, "magic", "\\x93NUMPY", std::to_string(run.size()) + " bytes of another kind");
  const int major = std::to_integer<int>(lead[6]);
  if (major < 1 || major > 3) fail(file, "version", "1 to 3", std::to_string(major));
  const std::uint64_t start = major == 1 ? 10 : 12;
  if (lead.size() < start) fail(file, "truncated", "12 bytes", std::to_string(run.size()));
  const std::uint64_t length = major == 1 ? little16(lead.data() + 8) : little32(lead.data() + 8);
  const auto raw = run.read(start, length);
  const std::string text(reinterpret_cast<const char*>(raw.data()), raw.size());
  const detail_npy::header_text header(text, file);
  stored_array a;
  a.format = header.format();
  a.dims = header.dims();
  a.bytes = run.part(start + length, run.size() - start - length);
  require_size(a.dims, a.format, a.bytes.size(), file);
  if (header.fortran() && a.dims.rank() > 1)
    a.bytes = byte_run(
        detail_npy::transposed(a.bytes.read(), a.dims, static_cast<std::size_t>(a.format.bytes)),
        file);
  return a;
}

}  // namespace data

/// A whole .npy; f2 and f8 become f32, u4 and u8 become s64.
///
/// throws  io_error if there is no such file, data_error if it can't be read as .npy
inline tensor read_npy(const std::filesystem::path& file) {
  return data::npy_array(data::byte_run(file)).whole();
}

/// Writes a tensor as .npy 1.0, C order, beside the target and renamed.
///
/// throws  io_error
inline void write_npy(const std::filesystem::path& file, const tensor& t) {
  const auto f = data::format_of(t.type());
  std::string dict = "{'descr': '";
  dict += f.bytes == 1 ? '|' : '<';
  dict += f.kind;
  dict += std::to_string(f.bytes) + "', 'fortran_order': False, 'shape': (";
  for (auto d : t.dims().dims) dict += std::to_string(d) + ",";
  dict += "), }";
  constexpr std::size_t alignment = 64;  // of the elements, so that they can be mapped
  while ((10 + dict.size() + 1) % alignment != 0) dict += ' ';
  dict += '\n';
  std::string head(detail_npy::magic);
  head +=
      {'\x01', '\x00', static_cast<char>(dict.size() & 255), static_cast<char>(dict.size() >> 8)};
  head += dict;
  data::byte_vector swapped;
  std::span<const std::byte> body(t.data(), t.byte_count());
  if constexpr (std::endian::native == std::endian::big) {
    swapped.assign(body.begin(), body.end());
    const auto n = static_cast<std::ptrdiff_t>(f.bytes);
    for (auto p = swapped.begin(); p != swapped.end(); p += n) std::reverse(p, p + n);
    body = swapped;
  }
  data::write_file(file, {std::as_bytes(std::span<const char>(head)), body});
}

/// Samples along the first axis of a .npy: [n, …] gives n samples of [1, …].
class npy_samples {
 public:
  explicit npy_samples(const std::filesystem::path& file, std::string input = "")
      : npy_samples(data::npy_array(data::byte_run(file)), std::move(input)) {}
  npy_samples(data::stored_array array, std::string input)
      : source_{std::move(array), std::move(input)} {
    if (source_.array.dims.rank() == 0)
      data::fail(source_.array.bytes.name(), "rank", "at least 1 (first axis = sample)", "0");
  }
  std::int64_t count() const { return source_.count(); }
  sample at(std::int64_t i) const { return sample({{source_.input, source_.value(i)}}); }

 private:
  data::row_source source_;
};

}  // namespace ptq
