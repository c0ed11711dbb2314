// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <ptq/data/records.hpp>

#include "../support/temp_folder.hpp"

using namespace ptq_test;
using ptq::shape;

TEST_CASE("records are equal runs of elements") {
  const temp_folder folder;
  const auto file = folder.write("x.bin", from_hex("0100"
                                                   "feff"
                                                   "0300"
                                                   "0400"));
  const ptq::samples s = ptq::record_samples(file, {ptq::data::format_named("int16"), {1, 2}, 0});
  CHECK(s.count() == 2);
  CHECK(s.at(0)->inputs[0].value.dims() == shape{1, 2});
  CHECK(s.at(0)->inputs[0].value.view<std::int16_t>()[1] == -2);
  CHECK(s.at(1)->inputs[0].value.view<std::int16_t>()[0] == 3);
  CHECK_FALSE(s.label(0));
}

TEST_CASE("CIFAR-10 records are a label and planar RGB") {
  const temp_folder folder;
  std::string bytes;
  for (int label : {3, 9}) {
    bytes += static_cast<char>(label);
    for (int plane : {10, 20, 30}) bytes += std::string(1024, static_cast<char>(plane + label));
  }
  const ptq::samples s = ptq::record_samples(folder.write("x.bin", bytes), ptq::cifar10_format());
  CHECK(s.count() == 2);
  CHECK(s.label(0) == 3);
  CHECK(s.label(1) == 9);
  const auto image = s.at(1)->inputs[0].value;
  CHECK(image.dims() == shape{3, 32, 32});
  CHECK(image.view<std::uint8_t>()[1023] == 19);
  CHECK(image.view<std::uint8_t>()[1024] == 29);
  CHECK(image.view<std::uint8_t>()[3071] == 39);
}

TEST_CASE("a file that is no multiple of a record is refused with the values") {
  const temp_folder folder;
  const auto file = folder.write("x.bin", "12345");
  auto refused = [&](const ptq::record_format& f) {
    return text_of<ptq::data_error>([&] { ptq::record_samples(file, f); });
  };
  CHECK(contains(refused({{'u', 1}, {2}, 0}), "a multiple of 2"));
  CHECK(contains(refused({{'u', 1}, {2}, 0}), "got 5"));
  CHECK(contains(refused({{'f', 4}, {1 << 30, 1 << 30, 1 << 30}, 0}), "got 5 bytes"));
  CHECK(contains(refused({{'f', 4}, {0}, 0}), "x.bin"));
  CHECK(contains(refused({{'u', 1}, {1}, -1}), "x.bin"));
  CHECK(refused({{'u', 1}, {4}, 1}).empty());
  folder.write("x.bin", "");
  CHECK(refused({{'u', 1}, {1}, 0}) != "");
  CHECK_THROWS_AS(ptq::data::format_named("int7"), ptq::data_error);
}
