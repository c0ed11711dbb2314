#pragma once
// SPDX-License-Identifier: Apache-2.0
// An array as files store it: bytes, element format, extents. npy, idx and records are three
// headers in front of the same thing. The library has fewer element types than files: f2 and f8
// become f32, u4 and u8 become s64.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>

#include <ptq/core/dtype.hpp>
#include <ptq/core/tensor.hpp>
#include <ptq/data/bytes.hpp>

namespace ptq::data {

/// kind as in NumPy: f real, i signed, u unsigned, b bool.
struct element_format {
  char kind = 'f';
  int bytes = 4;
  bool big_endian = false;
  bool operator==(const element_format&) const = default;
};

/// True for the formats that `type_of` maps to an element type.
inline bool is_known(element_format f) {
  const bool integer = f.bytes == 1 || f.bytes == 2 || f.bytes == 4 || f.bytes == 8;
  return (f.kind == 'f' && integer && f.bytes != 1) || (f.kind == 'b' && f.bytes == 1) ||
         ((f.kind == 'i' || f.kind == 'u') && integer);
}

inline dtype type_of(element_format f) {
  if (f.kind == 'f') return dtype::f32;
  if (f.kind == 'b') return dtype::boolean;
  if (f.bytes == 1) return f.kind == 'i' ? dtype::s8 : dtype::u8;
  if (f.bytes == 2) return f.kind == 'i' ? dtype::s16 : dtype::u16;
  return f.kind == 'i' && f.bytes == 4 ? dtype::s32 : dtype::s64;
}

inline element_format format_of(dtype t) {
  const char kind = t == dtype::f32                     ? 'f'
                    : t == dtype::boolean               ? 'b'
                    : t == dtype::u8 || t == dtype::u16 ? 'u'
                                                        : 'i';
  return {kind, static_cast<int>(size_of(t)), false};
}

/// "int8", "s8", "float32", "f32", … → format; throws data_error for other words.
inline element_format format_named(const std::string& word) {
  struct row {
    const char* word;
    element_format format;
  };
  constexpr row rows[] = {
      {"int8", {'i', 1}},    {"s8", {'i', 1}},   {"uint8", {'u', 1}},   {"u8", {'u', 1}},
      {"int16", {'i', 2}},   {"s16", {'i', 2}},  {"uint16", {'u', 2}},  {"u16", {'u', 2}},
      {"int32", {'i', 4}},   {"s32", {'i', 4}},  {"uint32", {'u', 4}},  {"int64", {'i', 8}},
      {"s64", {'i', 8}},     {"bool", {'b', 1}}, {"float16", {'f', 2}}, {"f16", {'f', 2}},
      {"float32", {'f', 4}}, {"f32", {'f', 4}},  {"float64", {'f', 8}}, {"f64", {'f', 8}}};
  for (const auto& r : rows)
    if (word == r.word) return r.format;
  throw data_error(
      "data: record dtype: expected int8, uint8, int16, uint16, int32, int64, "
      "float16, float32 or float64, got '" +
      word + "'");
}

/// IEEE binary16 → float, exactly.
inline float half_value(std::uint16_t h) {
  const int exponent = (h >> 10) & 31;
  const auto fraction = static_cast<float>(h & 0x3ff);
  float v = exponent == 31  ? ((h & 0x3ff) != 0 ? std::numeric_limits<float>::quiet_NaN()
                                                : std::numeric_limits<float>::infinity())
            : exponent == 0 ? std::ldexp(fraction, -24)
                            : std::ldexp(fraction + 1024.0f, exponent - 25);
  return (h & 0x8000) != 0 ? -v : v;
}

namespace detail_array {

template <class T>
T element(const std::byte* p, bool big_endian) {
  std::byte b[sizeof(T)];
  std::memcpy(b, p, sizeof(T));
  if (big_endian != (std::endian::native == std::endian::big)) std::reverse(b, b + sizeof(T));
  T v;
  std::memcpy(&v, b, sizeof(T));
  return v;
}

template <class From, class To, class F>
void convert(std::span<const std::byte> src, bool big_endian, tensor& dst, F&& f) {
  auto to = dst.mutable_view<To>();
  for (std::size_t i = 0; i < to.size(); ++i)
    to[i] = f(element<From>(src.data() + i * sizeof(From), big_endian));
}

}  // namespace detail_array

/// Stored elements → tensor.
///
/// src     dims.size() · format.bytes bytes, C order
/// throws  data_error if a u8 element passes 2^63 - 1
inline tensor decode(std::span<const std::byte> src, element_format format, shape dims,
                     const std::string& file) {
  namespace d = detail_array;
  tensor out(type_of(format), std::move(dims));
  const bool big = format.big_endian;
  auto same = [](auto v) { return v; };
  if (format.kind == 'f' && format.bytes == 2) {
    d::convert<std::uint16_t, float>(src, big, out, half_value);
  } else if (format.kind == 'f' && format.bytes == 8) {
    d::convert<double, float>(src, big, out, [](double v) { return static_cast<float>(v); });
  } else if (format.kind == 'b') {
    auto to = out.mutable_data();
    for (std::size_t i = 0; i < src.size(); ++i) to[i] = std::byte{src[i] != std::byte{0}};
  } else if (format.kind == 'u' && format.bytes == 4) {
    d::convert<std::uint32_t, std::int64_t>(src, big, out, [](auto v) { return std::int64_t{v}; });
  } else if (format.kind == 'u' && format.bytes == 8) {
    d::convert<std::uint64_t, std::int64_t>(src, big, out, [&](std::uint64_t v) {
      if (v > std::uint64_t{INT64_MAX}) fail(file, "uint64 element", "< 2^63", std::to_string(v));
      return static_cast<std::int64_t>(v);
    });
  } else if (big == (std::endian::native == std::endian::big) || format.bytes == 1) {
    if (!src.empty()) std::memcpy(out.mutable_data(), src.data(), src.size());
  } else if (format.bytes == 2) {  // bytes swap alike whatever they mean
    auto* to = out.mutable_data();
    for (std::size_t i = 0; i + 1 < src.size(); i += 2) to[i] = src[i + 1], to[i + 1] = src[i];
  } else if (format.kind == 'f') {
    d::convert<float, float>(src, big, out, same);
  } else if (format.bytes == 4) {
    d::convert<std::int32_t, std::int32_t>(src, big, out, same);
  } else {
    d::convert<std::int64_t, std::int64_t>(src, big, out, same);
  }
  return out;
}

/// Bytes that dims and format need, for a file of `available`; throws data_error if the product is
/// not that.
inline void require_size(const shape& dims, element_format format, std::uint64_t available,
                         const std::string& file) {
  auto need = static_cast<std::uint64_t>(format.bytes);
  bool none = false, past = false;
  for (auto d : dims.dims) {
    if (d < 0) fail(file, "extent", "none below 0", dims.text());
    if (d == 0)
      none = true;
    else if (need > (std::uint64_t{1} << 62) / static_cast<std::uint64_t>(d))
      past = true;
    else
      need *= static_cast<std::uint64_t>(d);
  }
  if (none) need = 0;
  if ((past && !none) || need != available)
    fail(file, "size",
         (past && !none ? "more than 2^62" : std::to_string(need)) + " bytes for " + dims.text() +
             " of " + std::to_string(format.bytes) + " bytes each",
         std::to_string(available));
}

/// An array in C order whose rows (indices of the first axis) are read one at a time.
struct stored_array {
  byte_run bytes;  // rows · row_stride() bytes
  element_format format;
  shape dims;              // rank >= 1 for rows
  std::uint64_t skip = 0;  // bytes in front of each row that don't belong to it (a label)

  std::int64_t rows() const { return dims.rank() == 0 ? 0 : dims[0]; }
  shape row_dims() const {
    return shape(std::vector<std::int64_t>(dims.dims.begin() + 1, dims.dims.end()));
  }
  std::uint64_t row_bytes() const {
    return static_cast<std::uint64_t>(row_dims().size()) * static_cast<std::uint64_t>(format.bytes);
  }
  std::uint64_t row_stride() const { return row_bytes() + skip; }

  /// Row i without its axis.
  tensor row(std::int64_t i) const {
    if (i < 0 || i >= rows())
      fail(bytes.name(), "row", "[0," + std::to_string(rows()) + ")", std::to_string(i));
    const auto raw = bytes.read(static_cast<std::uint64_t>(i) * row_stride() + skip, row_bytes());
    return decode(raw, format, row_dims(), bytes.name());
  }
  /// Byte 0 in front of row i.
  std::uint8_t label_byte(std::int64_t i) const {
    return std::to_integer<std::uint8_t>(
        bytes.read(static_cast<std::uint64_t>(i) * row_stride(), 1)[0]);
  }
  tensor whole() const { return decode(bytes.read(), format, dims, bytes.name()); }
};

/// Samples from the rows of an array: row i as [1, …] under a name.
struct row_source {
  stored_array array;
  std::string input;    // "" = by position
  bool batched = true;  // false: the row's own extents; preprocess adds the axis

  std::int64_t count() const { return array.rows(); }
  tensor value(std::int64_t i) const {
    tensor t = array.row(i);
    if (!batched) return t;
    shape dims = t.dims();
    dims.dims.insert(dims.dims.begin(), 1);
    return t.reshaped(std::move(dims));
  }
};

}  // namespace ptq::data
