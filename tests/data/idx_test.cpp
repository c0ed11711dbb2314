// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <ptq/data/idx.hpp>

#include "../support/temp_folder.hpp"

using namespace ptq_test;
using ptq::shape;

namespace {

ptq::data::byte_run run(const std::string& s) {
  const auto* p = reinterpret_cast<const std::byte*>(s.data());
  return {ptq::data::byte_vector(p, p + s.size()), "x-ubyte"};
}

}  // namespace

TEST_CASE("images of an IDX file are samples of one channel") {
  const ptq::samples s =
      ptq::idx_samples(run(from_hex("00000803"
                                    "00000002"
                                    "00000002"
                                    "00000003"
                                    "000102030405"
                                    "0a0b0c0d0eff")));
  CHECK(s.count() == 2);
  const auto image = s.at(1)->inputs[0].value;
  CHECK(image.dims() == shape{1, 2, 3});
  CHECK(image.view<std::uint8_t>()[0] == 10);
  CHECK(image.view<std::uint8_t>()[5] == 255);
}

TEST_CASE("labels and every element type of an IDX file are read") {
  auto whole = [](const char* hex) { return ptq::data::idx_array(run(from_hex(hex))).whole(); };
  CHECK(whole("00000801"
              "00000003"
              "070809")
            .view<std::uint8_t>()[2] == 9);
  CHECK(whole("00000901"
              "00000001"
              "ff")
            .view<std::int8_t>()[0] == -1);
  CHECK(whole("00000b01"
              "00000001"
              "fffe")
            .view<std::int16_t>()[0] == -2);
  CHECK(whole("00000c01"
              "00000001"
              "00010000")
            .view<std::int32_t>()[0] == 65536);
  CHECK(whole("00000d01"
              "00000001"
              "3fc00000")
            .view<float>()[0] == 1.5f);
  CHECK(whole("00000e01"
              "00000001"
              "3ff8000000000000")
            .view<float>()[0] == 1.5f);
}

TEST_CASE("an IDX file of another size than its header says is refused with the values") {
  auto refused = [](const char* hex) {
    return text_of<ptq::data_error>([&] { ptq::idx_samples{run(from_hex(hex))}; });
  };
  const auto text = refused(
      "00000803"
      "00000002"
      "00000002"
      "00000003"
      "000102");
  CHECK(contains(text, "x-ubyte"));
  CHECK(contains(text, "expected 12 bytes"));
  CHECK(contains(text, "got 3"));
  CHECK(contains(refused("00000803"
                         "ffffffff"
                         "ffffffff"
                         "ffffffff"
                         "00"),
                 "2^62"));
  CHECK(contains(refused("00000808"
                         "00000001"),
                 "truncated"));
  CHECK(contains(refused("00010801"
                         "00000001"
                         "00"),
                 "another kind"));
}
