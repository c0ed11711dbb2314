// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <ptq/data/npy.hpp>

#include "../support/temp_folder.hpp"

namespace {

using namespace ptq_test;
using ptq::dtype;
using ptq::shape;
using ptq::tensor;

/// A .npy as NumPy writes it.
std::string npy(const std::string& descr, const std::string& dims, std::string_view raw,
                bool fortran = false, int major = 1) {
  std::string head = "{'descr': '" + descr + "', 'fortran_order': " + (fortran ? "True" : "False") +
                     ", 'shape': " + dims + ", }\n";
  std::string s = "\x93NUMPY";
  s += static_cast<char>(major);
  s += '\0';
  s += static_cast<char>(head.size());
  s.append(major == 1 ? 1 : 3, '\0');
  return s + head + std::string(raw);
}

template <class T>
std::vector<T> values(const tensor& t) {
  auto v = t.view<T>();
  return {v.begin(), v.end()};
}

}  // namespace

TEST_CASE("a tensor of every type is the same after writing and reading .npy") {
  const temp_folder folder;
  const auto file = folder.path() / "x.npy";
  auto same = [&](const tensor& t) {
    ptq::write_npy(file, t);
    const tensor r = ptq::read_npy(file);
    CHECK(r.type() == t.type());
    CHECK(r.dims() == t.dims());
    CHECK(std::memcmp(r.data(), t.data(), t.byte_count()) == 0);
  };
  same(tensor::from<float>({2, 3}, {0.5f, -1, 2, 3e9f, 4, 5}));
  same(tensor::from<std::int64_t>({2}, {INT64_MIN, INT64_MAX}));
  same(tensor::from<std::int32_t>({1, 2, 1}, {-7, 7}));
  same(tensor::from<std::int16_t>({2}, {-300, 300}));
  same(tensor::from<std::uint16_t>({1}, {65535}));
  same(tensor::from<std::int8_t>({3}, {-128, 0, 127}));
  same(tensor::from<std::uint8_t>({3}, {0, 128, 255}));
  same(tensor::scalar(2.5f));
  same(tensor(dtype::f32, {0, 3}));
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
  std::ifstream in(file, std::ios::binary);
  in.seekg(8);
  CHECK((10 + in.get() + 256 * in.get()) % 64 == 0);  // NumPy aligns the elements
}

TEST_CASE("half, double, unsigned and big-endian elements are converted") {
  const temp_folder folder;
  auto read = [&](const std::string& bytes) { return ptq::read_npy(folder.write("x.npy", bytes)); };
  // 1, -2, smallest subnormal, 65504, infinity
  CHECK(values<float>(read(npy("<f2", "(5,)", from_hex("003c00c00100ff7b007c")))) ==
        std::vector<float>{1.0f, -2.0f, std::ldexp(1.0f, -24), 65504.0f,
                           std::numeric_limits<float>::infinity()});
  CHECK(values<float>(read(npy("<f8", "(1,)", from_hex("000000000000f83f"))))[0] == 1.5f);
  CHECK(values<float>(read(npy(">f4", "(1,)", from_hex("3fc00000"))))[0] == 1.5f);
  CHECK(values<float>(read(npy(">f8", "(1,)", from_hex("3ff8000000000000"))))[0] == 1.5f);
  CHECK(values<std::int16_t>(read(npy(">i2", "(2,)", from_hex("0102fffe")))) ==
        std::vector<std::int16_t>{258, -2});
  CHECK(values<std::int32_t>(read(npy(">i4", "(1,)", from_hex("fffffffe"))))[0] == -2);
  CHECK(values<std::int64_t>(read(npy(">i8", "(1,)", from_hex("fffffffffffffffe"))))[0] == -2);
  CHECK(values<std::int64_t>(read(npy("<u4", "(1,)", from_hex("ffffffff"))))[0] == 4294967295);
  CHECK(values<std::int64_t>(read(npy("<u8", "(1,)", from_hex("0100000000000000"))))[0] == 1);
  CHECK(read(npy("|b1", "(2,)", from_hex("0001"))).type() == dtype::boolean);
  CHECK_THROWS_AS(read(npy("<u8", "(1,)", from_hex("ffffffffffffffff"))), ptq::data_error);
}

TEST_CASE("headers of versions 2 and 3, and the long integers of Python 2, are read") {
  const temp_folder folder;
  for (int major : {2, 3})
    CHECK(ptq::read_npy(folder.write("x.npy", npy("|u1", "(2, 1)", "ab", false, major))).dims() ==
          shape{2, 1});
  CHECK(ptq::read_npy(folder.write("x.npy", npy("|u1", "(2L, 1L)", "ab"))).dims() == shape{2, 1});
}

TEST_CASE("Fortran order comes out in C order") {
  const temp_folder folder;
  // a[i,j,k] = 100 i + 10 j + k of [2,3,2], the first index fastest
  std::string raw;
  for (int k = 0; k < 2; ++k)
    for (int j = 0; j < 3; ++j)
      for (int i = 0; i < 2; ++i) raw += static_cast<char>(100 * i + 10 * j + k);
  const auto file = folder.write("x.npy", npy("|u1", "(2, 3, 2)", raw, true));
  CHECK(values<std::uint8_t>(ptq::read_npy(file)) ==
        std::vector<std::uint8_t>{0, 1, 10, 11, 20, 21, 100, 101, 110, 111, 120, 121});
  CHECK(values<std::uint8_t>(ptq::npy_samples(file).at(1).inputs[0].value) ==
        std::vector<std::uint8_t>{100, 101, 110, 111, 120, 121});
}

TEST_CASE("the first axis of a .npy is the sample") {
  const temp_folder folder;
  const auto file = folder.path() / "x.npy";
  ptq::write_npy(file, tensor::from<float>({3, 2}, {0, 1, 2, 3, 4, 5}));
  const ptq::samples s = ptq::npy_samples(file, "x");
  CHECK(s.count() == 3);
  const auto one = s.at(2)->inputs[0];
  CHECK(one.name == "x");
  CHECK(one.value.dims() == shape{1, 2});
  CHECK(values<float>(one.value) == std::vector<float>{4, 5});
  ptq::write_npy(file, tensor::scalar(1.0f));
  CHECK_THROWS_AS(ptq::npy_samples{file}, ptq::data_error);
}

TEST_CASE("a .npy that lies is refused with its name and the values") {
  const temp_folder folder;
  auto refused = [&](const std::string& bytes, std::string_view part) {
    const auto file = folder.write("bad.npy", bytes);
    const auto text = text_of<ptq::data_error>([&] { ptq::read_npy(file); });
    CAPTURE(text);
    CHECK(contains(text, "bad.npy"));
    CHECK(contains(text, part));
  };
  refused("", "0 bytes");
  refused("not an array at all", "magic");
  refused(npy("<f4", "(2, 3)", std::string(20, 'x')), "expected 24 bytes for [2,3]");
  refused(npy("<f4", "(2, 3)", std::string(28, 'x')), "got 28");
  refused(npy("<f4", "(99999999999, 99999999999, 9)", "x"), "2^62");
  refused(npy("<f4", "(99999999999999999999,)", "x"), "2^58");
  refused(npy("<f4", "(-1,)", "x"), "digits");
  refused(npy("<c8", "(1,)", "01234567"), "'<c8'");
  refused(npy("|O", "(1,)", "01234567"), "'|O'");
  refused(npy("<f4", "(1,)", "1234").substr(0, 40), "truncated");
  refused(npy("<f4", "(1,)", "1234", false, 4), "version");
  std::string lie = npy("<f4", "(1,)", "1234", false, 2);
  lie[11] = '\x7f';  // a header of 2 GB
  refused(lie, "truncated");
  CHECK_THROWS_AS(ptq::read_npy(folder.path() / "absent.npy"), ptq::io_error);
  CHECK_THROWS_AS(ptq::read_npy(folder.path()), ptq::io_error);
}

TEST_CASE("a .npy that can't be written leaves nothing behind") {
  const temp_folder folder;
  const auto t = tensor::scalar(1.0f);
  CHECK_THROWS_AS(ptq::write_npy(folder.path() / "no" / "x.npy", t), ptq::io_error);
  std::filesystem::create_directories(folder.path() / "taken" / "inner");
  CHECK_THROWS_AS(ptq::write_npy(folder.path() / "taken", t), ptq::io_error);
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}
