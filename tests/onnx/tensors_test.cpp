// SPDX-License-Identifier: Apache-2.0
#include <ptq/onnx/tensors.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "support/onnx_model.hpp"

using namespace ptq::onnx;
using ptq_test::error_of;

namespace {

tensor_proto proto(std::int32_t type, std::vector<std::int64_t> dims) {
  tensor_proto t;
  t.name = "w";
  t.type = type;
  t.dims = std::move(dims);
  return t;
}

const tensor_source here{"file.onnx", {}};

/// A folder that disappears with the test.
struct folder {
  std::filesystem::path path;
  explicit folder(const char* name) : path(std::filesystem::temp_directory_path() / name) {
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path / "inside");
  }
  ~folder() { std::filesystem::remove_all(path); }
};

}  // namespace

TEST_CASE("halves become the floats that IEEE 754 names") {
  CHECK(float_of_half(0x3c00) == 1.0f);
  CHECK(float_of_half(0xc000) == -2.0f);
  CHECK(float_of_half(0x7bff) == 65504.0f);            // largest
  CHECK(float_of_half(0x0001) == 0x1p-24f);            // smallest subnormal
  CHECK(float_of_half(0x0400) == 0x1p-14f);            // smallest normal
  CHECK(float_of_half(0x03ff) == 1023.0f * 0x1p-24f);  // largest subnormal
  CHECK(std::signbit(float_of_half(0x8000)));
  CHECK(float_of_half(0xfc00) == -std::numeric_limits<float>::infinity());
  CHECK(std::isnan(float_of_half(0x7e00)));
  CHECK(float_of_brain(0x3fc0) == 1.5f);
}

TEST_CASE("raw and typed fields give the same tensor") {
  auto raw = proto(type_int16, {2});
  raw.raw = std::string_view("\xff\xff\x02\x01", 4);
  raw.has_raw = true;
  auto typed = proto(type_int16, {2});
  typed.ints = {-1, 0x0102};
  const auto a = read_tensor(raw, here), b = read_tensor(typed, here);
  CHECK(a.type() == ptq::dtype::s16);
  CHECK(a.view<std::int16_t>()[0] == -1);
  CHECK(a.view<std::int16_t>()[1] == 258);
  CHECK(b.view<std::int16_t>()[0] == -1);
  CHECK(b.view<std::int16_t>()[1] == 258);
}

TEST_CASE("double, half and brain floats become f32, unsigned 64-bit saturates to s64") {
  auto d = proto(type_double, {2});
  d.doubles = {0.5, -3.0};
  CHECK(read_tensor(d, here).view<float>()[1] == -3.0f);
  auto h = proto(type_float16, {1});
  h.ints = {0x3c00};
  CHECK(read_tensor(h, here).view<float>()[0] == 1.0f);
  auto b = proto(type_bfloat16, {1});
  b.raw = std::string_view("\xc0\x3f", 2);
  b.has_raw = true;
  CHECK(read_tensor(b, here).view<float>()[0] == 1.5f);
  auto u = proto(type_uint64, {2});
  u.naturals = {7, ~std::uint64_t{0}};
  CHECK(read_tensor(u, here).view<std::int64_t>()[0] == 7);
  CHECK(read_tensor(u, here).view<std::int64_t>()[1] == std::numeric_limits<std::int64_t>::max());
}

TEST_CASE("bool bytes are 0 or 1 whatever the file holds") {
  auto t = proto(type_bool, {3});
  t.raw = std::string_view("\x00\x05\xff", 3);
  t.has_raw = true;
  const auto b = read_tensor(t, here);
  CHECK(static_cast<int>(b.data()[0]) == 0);
  CHECK(static_cast<int>(b.data()[1]) == 1);
  CHECK(static_cast<int>(b.data()[2]) == 1);
}

TEST_CASE("a tensor views the file's bytes where they are stored as they are used, and copies them to write") {
  const auto file = ptq::allocate_aligned(64);
  const auto at = [&](std::size_t offset, std::size_t bytes) {
    return std::string_view(reinterpret_cast<const char*>(file.get()) + offset, bytes);
  };
  const tensor_source from{"file.onnx", {}, file};
  const auto read = [&](std::int32_t type, std::string_view raw) {
    auto t = proto(type, {2});
    t.raw = raw;
    t.has_raw = true;
    return read_tensor(t, from);
  };
  auto w = read(type_float, at(8, 8));
  CHECK(w.data() == file.get() + 8);
  w.mutable_view<float>()[0] = 1;  // its only owner may not write either
  CHECK(file.get()[11] == std::byte{0});
  CHECK(w.data() != file.get() + 8);
  CHECK(read(type_int8, at(3, 2)).data() == file.get() + 3);
  CHECK(read(type_float, at(3, 8)).data() != file.get() + 3);  // no address for a float
  for (auto type : {type_float16, type_bool})
    CHECK(read(type, at(0, type == type_bool ? 2 : 4)).data() != file.get());
  CHECK(read(ptq::onnx::type_uint64, at(0, 16)).data() != file.get());  // saturates
}

TEST_CASE("data that doesn't fit the extents is refused before anything is allocated") {
  auto t = proto(type_float, {3, 3});
  t.raw = std::string_view("12345678901234567890123456789012345", 35);
  t.has_raw = true;
  const auto text = error_of<ptq::import_error>([&] { read_tensor(t, here); });
  CHECK(text == "import: file.onnx: tensor 'w': bytes of raw_data: expected 36 for [3,3], got 35");
  t.dims = {std::int64_t{1} << 40, std::int64_t{1} << 40};
  CHECK(error_of<ptq::import_error>([&] { read_tensor(t, here); }).find("too many elements") !=
        std::string::npos);
  t.dims = {std::int64_t{1} << 40};
  CHECK_FALSE(error_of<ptq::import_error>([&] { read_tensor(t, here); }).empty());
  t.dims = {-2};
  CHECK(error_of<ptq::import_error>([&] { read_tensor(t, here); }).find("got -2") !=
        std::string::npos);
  t.dims = ptq_test::ints(40, 1);
  CHECK_FALSE(error_of<ptq::import_error>([&] { read_tensor(t, here); }).empty());
  CHECK_FALSE(
      error_of<ptq::unsupported>([&] { read_tensor(proto(type_string, {1}), here); }).empty());
}

TEST_CASE("external data is read at its offset, and only inside the model's folder") {
  const folder f("ptq_external_data_test");
  std::ofstream(f.path / "inside" / "weights.bin", std::ios::binary)
      << "abcd" << std::string(4, '\0') << "tail";
  std::ofstream(f.path / "outside.bin", std::ios::binary) << std::string(64, 'x');
  const tensor_source from{"file.onnx", f.path / "inside"};
  auto t = proto(type_float, {1});
  t.external = true;
  t.external_data = {{"location", "weights.bin"}, {"offset", "4"}, {"length", "4"}};
  CHECK(read_tensor(t, from).view<float>()[0] == 0.0f);
  const auto refused = [&](std::vector<entry_proto> data) {
    t.external_data = std::move(data);
    return error_of<ptq::import_error>([&] { read_tensor(t, from); });
  };
  CHECK(refused({{"location", "../outside.bin"}}).find("outside the model's folder") !=
        std::string::npos);
  CHECK(refused({{"location", (f.path / "outside.bin").string()}}).find("outside") !=
        std::string::npos);
  CHECK(refused({{"location", "weights.bin"}, {"offset", "10"}})
            .find("expected 4 bytes at 10, got a file of 12") != std::string::npos);
  CHECK(refused({{"location", "weights.bin"}, {"offset", "-1"}}).find("'-1'") != std::string::npos);
  CHECK(refused({{"location", "weights.bin"}, {"offset", "18446744073709551615"}})
            .find("got a file of 12") != std::string::npos);
  CHECK(refused({{"location", "weights.bin"}, {"length", "8"}}).find("expected 4 bytes") !=
        std::string::npos);
  CHECK_FALSE(refused({{"location", "missing.bin"}}).empty());
  CHECK_FALSE(refused({}).empty());
  std::filesystem::create_symlink(f.path / "outside.bin", f.path / "inside" / "link.bin");
  CHECK(refused({{"location", "link.bin"}}).find("outside") != std::string::npos);
  t.external_data = {{"location", "weights.bin"}};
  CHECK(error_of<ptq::import_error>([&] { read_tensor(t, here); }).find("without a folder") !=
        std::string::npos);
}
