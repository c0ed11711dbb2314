// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <ptq/data/image.hpp>

#include "../support/temp_folder.hpp"
#include "../support/write_image.hpp"

using namespace ptq_test;
using ptq::shape;

namespace {

std::vector<std::uint8_t> ramp(int h, int w, int c) {
  std::vector<std::uint8_t> p;
  for (int i = 0; i < h * w * c; ++i) p.push_back(static_cast<std::uint8_t>(i * 5));
  return p;
}

/// The pixels of a planar image, interleaved as they were written.
std::vector<std::uint8_t> values(const ptq::tensor& t) {
  auto v = t.view<std::uint8_t>();
  std::vector<std::uint8_t> p;
  for (std::size_t i = 0; i < v.size() / 3; ++i)
    for (std::size_t c = 0; c < 3; ++c) p.push_back(v[c * v.size() / 3 + i]);
  return p;
}

std::string contents(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

TEST_CASE("a PNG is decoded to its RGB pixels, gray repeated and alpha dropped") {
  const temp_folder folder;
  const auto file = folder.path() / "x.png";
  write_png(file, 2, 3, ramp(2, 3, 3));
  CHECK(ptq::read_image(file).dims() == shape{3, 2, 3});
  CHECK(values(ptq::read_image(file)) == ramp(2, 3, 3));
  write_png(file, 1, 2, {7, 9});
  CHECK(values(ptq::read_image(file)) == std::vector<std::uint8_t>{7, 7, 7, 9, 9, 9});
  write_png(file, 1, 1, {1, 2, 3, 4});
  CHECK(values(ptq::read_image(file)) == std::vector<std::uint8_t>{1, 2, 3});
}

TEST_CASE("a JPEG of one colour is decoded to that colour within the codec's error") {
  const temp_folder folder;
  const auto file = folder.path() / "x.jpg";
  std::vector<std::uint8_t> flat;
  for (int i = 0; i < 16 * 24; ++i) flat.insert(flat.end(), {200, 100, 50});
  write_jpeg(file, 16, 24, flat);
  const auto image = ptq::read_image(file);
  CHECK(image.dims() == shape{3, 16, 24});
  const auto v = values(image);
  for (std::size_t i = 0; i < v.size(); ++i) CHECK(std::abs(v[i] - flat[i]) <= 3);
}

TEST_CASE("a damaged image is refused by name") {
  const temp_folder folder;
  auto refused = [&](const std::string& name, const std::string& bytes) {
    const auto file = folder.write(name, bytes);
    const auto text = text_of<ptq::data_error>([&] { ptq::read_image(file); });
    CAPTURE(text);
    CHECK(contains(text, name));
  };
  refused("noise.jpg", "this is no JPEG");
  refused("empty.png", "");
  write_jpeg(folder.path() / "good.jpg", 64, 64, ramp(64, 64, 3));
  const auto jpeg = contents(folder.path() / "good.jpg");
  refused("cut.jpg", jpeg.substr(0, 200));
  refused("half.jpg", jpeg.substr(0, jpeg.size() / 2));
  write_png(folder.path() / "good.png", 64, 64, ramp(64, 64, 3));
  const auto png = contents(folder.path() / "good.png");
  refused("half.png", png.substr(0, png.size() / 2));
  std::string huge = png;
  huge[17] = '\x7f';  // a width of 8 million
  refused("huge.png", huge);
}

TEST_CASE("a JPEG whose Huffman table claims more codes than symbols is refused") {
  const temp_folder folder;
  write_jpeg(folder.path() / "x.jpg", 8, 8, ramp(8, 8, 3));
  auto jpeg = contents(folder.path() / "x.jpg");
  const auto table = jpeg.find("\xff\xc4");
  REQUIRE(table != std::string::npos);
  for (std::size_t i = 0; i < 3; ++i) jpeg[table + 15 + i] = '\x7f';  // 381 codes of 11 … 13 bits
  const auto text = text_of<ptq::data_error>([&] { ptq::read_image(folder.write("x.jpg", jpeg)); });
  CHECK(contains(text, "x.jpg"));
  CHECK(contains(text, "at most 256 codes"));
}

TEST_CASE("the images of a folder are sorted by path, whatever else lies there") {
  const temp_folder folder;
  write_png(folder.path() / "b.PNG", 1, 1, {2, 2, 2});
  write_png(folder.path() / "a.png", 1, 1, {1, 1, 1});
  write_jpeg(folder.path() / "c.JPEG", 8, 8, std::vector<std::uint8_t>(192, 128));
  folder.write(".hidden.png", "x");
  folder.write("labels.csv", "a.png,0\n");
  const ptq::samples s = ptq::image_folder(folder.path());
  CHECK(s.count() == 3);
  CHECK(s.name(0) == "a.png");
  CHECK(s.name(1) == "b.PNG");
  CHECK(s.at(1)->inputs[0].value.view<std::uint8_t>()[0] == 2);
  CHECK_FALSE(s.label(0));
}

TEST_CASE("class folders are numbers, or ranks of their names") {
  const temp_folder folder;
  for (const char* f :
       {"named/cat/1.png", "named/ant/2.png", "named/dog/deep/3.png", "numbered/10/1.png",
        "numbered/9/2.png", "single/images/1.png", "mixed/1.png", "mixed/a/1.png", "mixed/b/1.png"})
    write_png(folder.path() / f, 1, 1, {0, 0, 0});
  const ptq::samples named = ptq::image_folder(folder.path() / "named");
  CHECK(named.name(0) == "ant/2.png");
  CHECK(named.label(0) == 0);
  CHECK(named.label(1) == 1);
  CHECK(named.label(2) == 2);
  const ptq::samples numbered = ptq::image_folder(folder.path() / "numbered");
  CHECK(numbered.name(0) == "10/1.png");
  CHECK(numbered.label(0) == 10);
  CHECK(numbered.label(1) == 9);
  CHECK_FALSE(ptq::image_folder(folder.path() / "single").label(0));
  CHECK_FALSE(ptq::image_folder(folder.path() / "mixed").label(0));
}

TEST_CASE("a folder that does not exist is an input error") {
  CHECK_THROWS_AS(ptq::image_folder("no/such/folder"), ptq::io_error);
}
