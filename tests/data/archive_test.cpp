// SPDX-License-Identifier: Apache-2.0
// Compressed bytes below were written by Python's zlib, gzip and zipfile.
#include <doctest/doctest.h>

#include <ptq/data/archive.hpp>

#include "../support/temp_folder.hpp"

namespace {

using namespace ptq_test;
using ptq::shape;

ptq::data::byte_vector bytes_of(std::string_view s) {
  const auto* p = reinterpret_cast<const std::byte*>(s.data());
  return {p, p + s.size()};
}

std::string string_of(const ptq::data::byte_vector& v) {
  return {reinterpret_cast<const char*>(v.data()), v.size()};
}

std::string inflated(const std::string& src, std::size_t limit = 1 << 20) {
  std::size_t used = 0;
  auto out = ptq::data::inflate(bytes_of(src), limit, used, "stream");
  CHECK(used == src.size());
  return string_of(out);
}

/// np.savez_compressed: x f4 [2,3] = 0 … 5, ids u1 [2] = 7 9; zip64 fields in local headers as
/// NumPy writes them.
const char* const npz_hex =
    "504b03042d0000000800000021004fe9002affffffffffffffff05001400782e6e7079010010009800000000000000"
    "55"
    "000000000000009bec17ea1b10c9c850c650ad9e925a9c5ca46ea5a06e9366a2aea3a09e965f54529498179f5f9492"
    "0a"
    "12774bcc294e058a17672416a402f91a463a0ac69a3a0ab50a64032e063068b007120e4004c40d40bcc00100504b03"
    "04"
    "2d0000000800000021006c7ced9effffffffffffffff070014006964732e6e70790100100082000000000000004600"
    "00"
    "00000000009bec17ea1b10c9c850c650ad9e925a9c5ca46ea5a05e536aa8aea3a09e965f54529498179f5f94920a12"
    "77"
    "4bcc294e058a17672416a402f91a463a9a3a0ab50a14002e764e00504b01022d032d0000000800000021004fe9002a"
    "55"
    "00000098000000050000000000000000000000800100000000782e6e7079504b01022d032d0000000800000021006c"
    "7c"
    "ed9e460000008200000007000000000000000000000080018c0000006964732e6e7079504b05060000000002000200"
    "68"
    "0000000b0100000000";

const char* const gzip_hex = "1f8b08080000000002ff6e616d6500cb48cdc9c9d751c840a2009fa1ca0913000000";

}  // namespace

TEST_CASE("the check value of CRC-32 is that of its specification") {
  CHECK(ptq::data::crc32(bytes_of("123456789")) == 0xcbf43926u);
}

TEST_CASE("stored, fixed and dynamic blocks of deflate are decompressed") {
  CHECK(inflated(from_hex("010500faff706c61696e")) == "plain");
  CHECK(inflated(from_hex("4b4c4a4e842100")) == "abcabcabcabc");
  std::string expected;
  for (int i = 0; i < 400; ++i)
    expected += static_cast<char>(65 + (i * i / 90) % (i % 3 != 0 ? 5 : 11));
  expected += std::string(300, '\0');
  CHECK(inflated(from_hex(
            "ed90cb7545310803d31a92f0b7ff7e327e39d9a780b0b81764833c54fd8608db4977574d79a72f2a"
            "4a6938bb54e9c8b374499c25d3d6addd72d76a0acd96ca4bb17b870e1d6598236f331a973eede9e2"
            "b09e88178e719bf24627dad18a663c3aa332d4c31ac1ba97b1cb51dd30b4de7b25f4fd4a8597779f"
            "44e866b8611a360ab11b8f5a0f34b31ff1ca6bdb4e7fe82022bb9cbe04a55802ec8c63f655b632a1"
            "70b3147f48f971ad7e125ac417538c5e5bab67e1fbb8d816022cbb58309b6cc02f26e619b03fc3fd"
            "f51f7f8e6f")) == expected);
}

TEST_CASE("a damaged deflate stream is refused, wherever the damage is") {
  const std::string good = from_hex("4b4c4a4e842100");
  std::size_t used = 0;
  for (std::size_t n = 0; n < good.size(); ++n)  // cut short
    CHECK_THROWS_AS(ptq::data::inflate(bytes_of(good.substr(0, n)), 100, used, "x"),
                    ptq::data_error);
  CHECK_THROWS_AS(ptq::data::inflate(bytes_of(good), 11, used, "x"), ptq::data_error);
  CHECK_THROWS_AS(ptq::data::inflate(bytes_of("\x07"), 100, used, "x"), ptq::data_error);
  std::uint32_t state = 1;  // any bytes end in data or an error, within the limit
  for (int round = 0; round < 2000; ++round) {
    std::string noise;
    for (int i = 0; i < 64; ++i) {
      state = state * 1664525u + 1013904223u;  // Numerical Recipes' generator
      noise += static_cast<char>(state >> 24);
    }
    noise[0] = static_cast<char>((noise[0] & ~7) | (round % 2 != 0 ? 5 : 3));
    try {
      const auto out = ptq::data::inflate(bytes_of(noise), 1000, used, "x");
      CHECK(out.size() <= 1000);
      CHECK(used <= noise.size());
    } catch (const ptq::data_error&) {
    }
  }
}

TEST_CASE("gzip is decompressed, members one after another") {
  const std::string one = from_hex(gzip_hex);
  CHECK(string_of(ptq::data::gunzip(bytes_of(one), "x.gz")) == "hello, hello, hello");
  CHECK(string_of(ptq::data::gunzip(bytes_of(one + one), "x.gz")) ==
        "hello, hello, hellohello, hello, hello");
}

TEST_CASE("gzip of another checksum or size, or cut short, is refused by name") {
  const std::string good = from_hex(gzip_hex);
  auto refused = [](const std::string& bytes) {
    return text_of<ptq::data_error>([&] { ptq::data::gunzip(bytes_of(bytes), "x.gz"); });
  };
  std::string bad = good;
  bad[good.size() - 8] ^= 1;
  CHECK(contains(refused(bad), "'x.gz': gzip CRC-32"));
  bad = good;
  bad[good.size() - 4] ^= 1;
  CHECK(contains(refused(bad), "expected 18, got 19"));
  for (std::size_t n = 1; n < good.size(); ++n) CHECK(refused(good.substr(0, n)) != "");
}

TEST_CASE("each array of a .npz is a named input, its first axis the sample") {
  const temp_folder folder;
  const ptq::samples s = ptq::npz_samples(folder.write("x.npz", from_hex(npz_hex)));
  CHECK(s.count() == 2);
  const auto one = s.at(1);
  REQUIRE(one->inputs.size() == 2);
  CHECK(one->inputs[0].name == "x");
  CHECK(one->inputs[0].value.dims() == shape{1, 3});
  CHECK(one->inputs[0].value.view<float>()[2] == 5.0f);
  CHECK(one->inputs[1].name == "ids");
  CHECK(one->inputs[1].value.view<std::uint8_t>()[0] == 9);
}

TEST_CASE("each .npz of a folder is one sample with its own shapes, in the order of names") {
  const temp_folder folder;
  folder.write("b.npz", from_hex(npz_hex));
  folder.write("a.npz", from_hex(npz_hex));
  folder.write("labels.csv", "a.npz,1\n");
  const ptq::samples s = ptq::npz_folder(folder.path());
  CHECK(s.count() == 2);
  CHECK(s.name(0) == "a.npz");
  CHECK(s.at(0)->inputs[0].value.dims() == shape{2, 3});
}

TEST_CASE("a damaged .npz is refused, never misread") {
  const temp_folder folder;
  const std::string good = from_hex(npz_hex);
  auto read = [&](const std::string& bytes) {
    const auto file = folder.write("bad.npz", bytes);
    return text_of<ptq::data_error>([&] { ptq::npz_samples{file}; });
  };
  CHECK(read(good).empty());
  CHECK(contains(read("PK"), "bad.npz"));
  for (std::size_t n = 0; n < good.size(); n += 7) CHECK(read(good.substr(0, n)) != "");
  for (std::size_t i = 0; i < good.size(); ++i) {  // any byte: refused, or one that doesn't matter
    std::string bad = good;
    bad[i] ^= 0x55;
    CHECK_NOTHROW(read(bad));
  }
  std::string bad = good;
  bad[70] ^= 1;  // inside x's deflated bytes
  CHECK(contains(read(bad), "bad.npz:x.npy"));
}
