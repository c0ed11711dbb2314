#pragma once
// SPDX-License-Identifier: Apache-2.0
// TensorProto → tensor: raw, typed or external data; half, brain and double floats become f32,
// unsigned 32 and 64-bit integers s64. Extents are compared with the bytes that are there before
// anything is allocated. What is stored as it is used, at an address for its type, is not copied where
// the file is mapped: the tensor views it and keeps it mapped.
//
// External data must lie inside the model's folder, symbolic links resolved.

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <ptq/core/error.hpp>
#include <ptq/core/mapped_file.hpp>
#include <ptq/core/tensor.hpp>
#include <ptq/onnx/schema.hpp>

namespace ptq::onnx {

static_assert(std::endian::native == std::endian::little, "ONNX's raw data is little endian");

/// Where tensors come from: the file as named in errors, and the folder of external data (empty:
/// none allowed).
struct tensor_source {
  std::string file;
  std::filesystem::path folder;
  /// Keeps the model's bytes where they are; null where nothing does, and tensors copy them.
  std::shared_ptr<const std::byte> bytes = {};
  /// Files of external data that are mapped already, by path.
  std::shared_ptr<std::map<std::string, mapped_file>> external =
      std::make_shared<std::map<std::string, mapped_file>>();
};

/// IEEE half → float; exact.
inline float float_of_half(std::uint16_t h) {
  const std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000u) << 16;
  const std::uint32_t exponent = (h >> 10) & 0x1fu;
  const std::uint32_t fraction = h & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (fraction << 13));
  if (exponent != 0)
    return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (fraction << 13));
  const float magnitude = static_cast<float>(fraction) * 0x1p-24f;  // subnormal halves
  return sign ? -magnitude : magnitude;
}

/// Brain float → float; exact.
inline float float_of_brain(std::uint16_t b) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(b) << 16);
}

namespace detail_tensors {

[[noreturn]] inline void fail(const tensor_source& from, const tensor_proto& t,
                              const std::string& what) {
  throw import_error("import: " + from.file + ": tensor '" + t.name + "': " + what);
}

/// Bytes of one element in the file; 0 for types without a core type.
constexpr std::size_t file_size_of(std::int32_t type) {
  switch (type) {
    case type_double:
    case type_int64:
    case type_uint64:
      return 8;
    case type_float:
    case type_int32:
    case type_uint32:
      return 4;
    case type_float16:
    case type_bfloat16:
    case type_int16:
    case type_uint16:
      return 2;
    case type_int8:
    case type_uint8:
    case type_bool:
    case type_float8e4m3fn:
    case type_float8e5m2:
      return 1;
    default:
      return 0;
  }
}

inline std::int64_t saturated(std::uint64_t v) {
  constexpr auto top = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  return static_cast<std::int64_t>(std::min(v, top));
}

/// dst[i] = convert(src[i]), the source read unaligned.
template <class From, class To, class Convert>
void convert_raw(std::string_view raw, std::span<To> dst, Convert convert) {
  for (std::size_t i = 0; i < dst.size(); ++i) {
    From v;
    std::memcpy(&v, raw.data() + i * sizeof(From), sizeof(From));
    dst[i] = static_cast<To>(convert(v));
  }
}

/// `raw` holds exactly the file's bytes of every element; `owner`, if any, keeps them.
inline tensor from_raw(std::int32_t type, shape dims, std::string_view raw,
                       const std::shared_ptr<const std::byte>& owner) {
  dtype core{};
  core_type(type, core);
  const bool as_used =
      file_size_of(type) == size_of(core) && type != type_bool && type != type_uint64;
  if (owner && as_used && !raw.empty() &&
      reinterpret_cast<std::uintptr_t>(raw.data()) % size_of(core) == 0)
    return {core, std::move(dims), {owner, reinterpret_cast<const std::byte*>(raw.data())}};
  tensor out(core, std::move(dims));
  const auto as_is = [](auto v) { return v; };
  switch (type) {
    case type_float16:
      convert_raw<std::uint16_t>(raw, out.mutable_view<float>(), float_of_half);
      break;
    case type_bfloat16:
      convert_raw<std::uint16_t>(raw, out.mutable_view<float>(), float_of_brain);
      break;
    case type_double:
      convert_raw<double>(raw, out.mutable_view<float>(), as_is);
      break;
    case type_uint32:
      convert_raw<std::uint32_t>(raw, out.mutable_view<std::int64_t>(), as_is);
      break;
    case type_uint64:
      convert_raw<std::uint64_t>(raw, out.mutable_view<std::int64_t>(), saturated);
      break;
    case type_bool:
      for (std::size_t i = 0; i < raw.size(); ++i) out.mutable_data()[i] = std::byte{raw[i] != 0};
      break;
    default:
      if (!raw.empty()) std::memcpy(out.mutable_data(), raw.data(), raw.size());
  }
  return out;
}

/// From int32_data or int64_data.
inline tensor from_ints(std::int32_t type, shape dims, const std::vector<std::int64_t>& v) {
  dtype core{};
  core_type(type, core);
  tensor out(core, std::move(dims));
  const auto fill = [&]<class T>(std::span<T> dst) {
    for (std::size_t i = 0; i < dst.size(); ++i) dst[i] = static_cast<T>(v[i]);
  };
  switch (core) {
    case dtype::f32: {  // bits of halves and brain floats
      const auto dst = out.mutable_view<float>();
      for (std::size_t i = 0; i < dst.size(); ++i) {
        const auto bits = static_cast<std::uint16_t>(v[i]);
        dst[i] = type == type_float16 ? float_of_half(bits) : float_of_brain(bits);
      }
      break;
    }
    case dtype::s64:
      fill(out.mutable_view<std::int64_t>());
      break;
    case dtype::s32:
      fill(out.mutable_view<std::int32_t>());
      break;
    case dtype::s16:
      fill(out.mutable_view<std::int16_t>());
      break;
    case dtype::u16:
      fill(out.mutable_view<std::uint16_t>());
      break;
    case dtype::s8:
      fill(out.mutable_view<std::int8_t>());
      break;
    case dtype::u8:
      fill(out.mutable_view<std::uint8_t>());
      break;
    case dtype::boolean:
      for (std::size_t i = 0; i < v.size(); ++i) out.mutable_data()[i] = std::byte{v[i] != 0};
      break;
    case dtype::f8e4m3:
    case dtype::f8e5m2:
      for (std::size_t i = 0; i < v.size(); ++i) out.mutable_data()[i] = static_cast<std::byte>(v[i]);
      break;
  }
  return out;
}

inline std::uint64_t natural(const tensor_source& from, const tensor_proto& t,
                             const entry_proto& e) {
  std::uint64_t v = 0;
  const auto end = e.value.data() + e.value.size();
  const auto r = std::from_chars(e.value.data(), end, v);
  if (r.ec != std::errc() || r.ptr != end)
    fail(from, t, "external " + e.key + ": expected a number, got '" + e.value + "'");
  return v;
}

/// The file of external data, inside the model's folder.
inline std::filesystem::path external_path(const tensor_source& from, const tensor_proto& t,
                                           const std::string& location) {
  namespace fs = std::filesystem;
  if (from.folder.empty()) fail(from, t, "external data '" + location + "' without a folder");
  std::error_code bad;
  const fs::path relative(location);
  const fs::path root = fs::canonical(from.folder, bad);
  if (bad) fail(from, t, "folder '" + from.folder.string() + "': " + bad.message());
  const fs::path full = relative.is_absolute() ? fs::path() : fs::canonical(root / relative, bad);
  if (bad) fail(from, t, "external data '" + location + "': " + bad.message());
  const auto inside = std::mismatch(root.begin(), root.end(), full.begin(), full.end());
  if (full.empty() || inside.first != root.end())
    fail(from, t, "external data '" + location + "' lies outside the model's folder");
  if (!fs::is_regular_file(full, bad)) fail(from, t, "external data '" + location + "': no file");
  return full;
}

inline tensor from_external(const tensor_source& from, const tensor_proto& t, shape dims,
                            std::uint64_t bytes) {
  std::string location;
  std::uint64_t offset = 0, length = bytes;
  for (const auto& e : t.external_data) {
    if (e.key == "location") location = e.value;
    if (e.key == "offset") offset = natural(from, t, e);
    if (e.key == "length") length = natural(from, t, e);
  }
  const auto path = external_path(from, t, location);
  auto& mapped = (*from.external)[path.string()];
  if (!mapped.bytes) mapped = map_file(path, "import");
  const std::uint64_t there = mapped.size;
  if (length != bytes)
    fail(from, t,
         "external length: expected " + std::to_string(bytes) + " bytes for " + dims.text() +
             ", got " + std::to_string(length));
  if (offset > there || length > there - offset)
    fail(from, t,
         "external data '" + location + "': expected " + std::to_string(length) + " bytes at " +
             std::to_string(offset) + ", got a file of " + std::to_string(there));
  const auto* begin = reinterpret_cast<const char*>(mapped.bytes.get()) + offset;
  return from_raw(t.type, std::move(dims), {begin, static_cast<std::size_t>(length)}, mapped.bytes);
}

/// Number of elements; more than 2^48 is no tensor that a file can hold.
inline std::uint64_t count_elements(const tensor_source& from, const tensor_proto& t) {
  constexpr std::uint64_t most = std::uint64_t{1} << 48;
  constexpr std::size_t most_axes = 32;
  if (t.dims.size() > most_axes)
    fail(from, t, "rank: expected at most 32, got " + std::to_string(t.dims.size()));
  std::uint64_t n = 1;
  bool huge = false;
  for (auto d : t.dims) {
    if (d < 0) fail(from, t, "extent: expected >= 0, got " + std::to_string(d));
    if (d == 0) return 0;
    if (static_cast<std::uint64_t>(d) > most / n) {
      huge = true;
      n = 1;
    } else {
      n *= static_cast<std::uint64_t>(d);
    }
  }
  if (huge) fail(from, t, "extents " + shape(t.dims).text() + ": too many elements");
  return n;
}

}  // namespace detail_tensors

/// throws  import_error if the data doesn't fit the extents, unsupported for strings, complex and
/// sub-byte types
inline tensor read_tensor(const tensor_proto& t, const tensor_source& from) {
  using namespace detail_tensors;
  const std::size_t element = file_size_of(t.type);
  if (element == 0)
    throw unsupported("import: " + from.file + ": tensor '" + t.name + "': element type " +
                      std::to_string(t.type) + " is not supported");
  const std::uint64_t n = count_elements(from, t);
  shape dims(t.dims);
  const auto require = [&](const char* what, std::uint64_t expected, std::uint64_t got) {
    if (expected != got)
      fail(from, t,
           std::string(what) + ": expected " + std::to_string(expected) + " for " + dims.text() +
               ", got " + std::to_string(got));
  };
  if (t.external) return from_external(from, t, dims, n * element);
  if (t.has_raw) {
    require("bytes of raw_data", n * element, t.raw.size());
    return from_raw(t.type, std::move(dims), t.raw, from.bytes);
  }
  switch (t.type) {
    case type_float:
      require("elements of float_data", n, t.floats.size());
      return tensor::from<float>(std::move(dims), std::span<const float>(t.floats));
    case type_double: {
      require("elements of double_data", n, t.doubles.size());
      tensor out(dtype::f32, std::move(dims));
      std::transform(t.doubles.begin(), t.doubles.end(), out.mutable_view<float>().begin(),
                     [](double d) { return static_cast<float>(d); });
      return out;
    }
    case type_uint32:
    case type_uint64: {
      require("elements of uint64_data", n, t.naturals.size());
      tensor out(dtype::s64, std::move(dims));
      std::transform(t.naturals.begin(), t.naturals.end(), out.mutable_view<std::int64_t>().begin(),
                     saturated);
      return out;
    }
    default:
      require("elements of int32_data or int64_data", n, t.ints.size());
      return from_ints(t.type, std::move(dims), t.ints);
  }
}

}  // namespace ptq::onnx
