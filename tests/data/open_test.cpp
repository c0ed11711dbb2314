// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <ptq/data/open.hpp>

#include "../support/temp_folder.hpp"
#include "../support/write_image.hpp"

using namespace ptq_test;
using ptq::dtype;
using ptq::open_labels;
using ptq::open_samples;
using ptq::shape;
using ptq::tensor;
using labels = std::vector<std::int64_t>;

namespace {

std::string at(const temp_folder& folder, const std::string& name) {
  return (folder.path() / name).string();
}

/// np.savez(x=[[1.0], [2.0]] f4), stored, as Python's zipfile wrote it.
std::string stored_npz() {
  const temp_folder folder;
  ptq::write_npy(folder.path() / "x.npy", tensor::from<float>({2, 1}, {1, 2}));
  std::ifstream in(folder.path() / "x.npy", std::ios::binary);
  const std::string npy{std::istreambuf_iterator<char>(in), {}};
  auto number = [](std::size_t v, int bytes) {
    std::string s;
    for (int i = 0; i < bytes; ++i, v >>= 8) s += static_cast<char>(v & 255);
    return s;
  };
  const auto crc = ptq::data::crc32(std::as_bytes(std::span<const char>(npy)));
  const std::string sizes = number(crc, 4) + number(npy.size(), 4) + number(npy.size(), 4);
  const std::string name = "x.npy";
  const std::string local = number(0x04034b50, 4) + number(20, 2) + std::string(8, '\0') + sizes +
                            number(5, 2) + number(0, 2) + name + npy;
  const std::string directory = number(0x02014b50, 4) + number(20, 2) + number(20, 2) +
                                std::string(8, '\0') + sizes + number(5, 2) +
                                std::string(16, '\0') + name;
  return local + directory + number(0x06054b50, 4) + std::string(4, '\0') + number(1, 2) +
         number(1, 2) + number(directory.size(), 4) + number(local.size(), 4) + number(0, 2);
}

std::string cifar(std::initializer_list<int> classes) {
  std::string bytes;
  for (int c : classes) bytes += static_cast<char>(c) + std::string(3072, static_cast<char>(c));
  return bytes;
}

}  // namespace

TEST_CASE("a folder of images is preprocessed and labelled by its labels.csv") {
  const temp_folder folder;
  write_png(folder.path() / "images/b.png", 1, 2, {4, 5, 6, 4, 5, 6});
  write_png(folder.path() / "images/a.png", 1, 2, {1, 2, 3, 1, 2, 3});
  folder.write("labels.csv", "b.png,20\na.png,10\n");
  const auto s = open_samples(
      {.paths = {folder.path().string()}, .preprocessing = {.scale = 2, .mean = {1, 0, 0}}});
  CHECK(s.count() == 2);
  const auto image = s.at(0)->inputs[0].value;
  CHECK(image.dims() == shape{1, 3, 1, 2});
  CHECK(image.view<float>()[0] == 1);
  CHECK(image.view<float>()[2] == 4);
  CHECK(image.view<float>()[5] == 6);
  CHECK(open_labels(folder.path(), s) == labels{10, 20});
  CHECK(open_labels(folder.path() / "labels.csv", s, 1) == labels{11, 21});
  folder.write("labels.csv", "b.png,20\n");
  CHECK(contains(text_of<ptq::data_error>([&] { open_labels(folder.path(), s); }), "a.png"));
}

TEST_CASE("class folders are labels") {
  const temp_folder folder;
  for (const char* f : {"dog/1.png", "cat/1.png", "cat/2.png"})
    write_png(folder.path() / f, 1, 1, {0, 0, 0});
  const auto s = open_samples({.paths = {folder.path().string()}});
  CHECK(open_labels("", s) == labels{0, 0, 1});
  CHECK(open_labels(folder.path(), s) == labels{0, 0, 1});
}

TEST_CASE("a single image is one sample") {
  const temp_folder folder;
  write_png(folder.path() / "a.png", 2, 2, std::vector<std::uint8_t>(12, 9));
  auto s = open_samples({.paths = {at(folder, "a.png")},
                         .preprocessing = {.layout = ptq::image_layout::nhwc, .type = dtype::u8}});
  CHECK(s.next()->inputs[0].value.dims() == shape{1, 2, 2, 3});
  CHECK_FALSE(s.next());
}

TEST_CASE(".npy is taken as it is unless preprocessing asks for something") {
  const temp_folder folder;
  ptq::write_npy(folder.path() / "x.npy", tensor::from<std::uint8_t>({2, 1, 2}, {1, 2, 3, 4}));
  ptq::write_npy(folder.path() / "y.npy", tensor::from<std::int64_t>({2}, {5, 6}));
  const auto same = open_samples({.paths = {at(folder, "x.npy")}});
  CHECK(same.at(1)->inputs[0].value.dims() == shape{1, 1, 2});
  CHECK(same.at(1)->inputs[0].value.type() == dtype::u8);
  CHECK(open_labels(at(folder, "y.npy"), same) == labels{5, 6});
  const auto scaled =
      open_samples({.paths = {at(folder, "x.npy")}, .preprocessing = {.scale = 0.5f}});
  CHECK(scaled.at(1)->inputs[0].value.view<float>()[1] == 2.0f);
  CHECK(scaled.at(1)->inputs[0].value.dims() == shape{1, 1, 2});
}

TEST_CASE("several inputs come from several files of equal count") {
  const temp_folder folder;
  ptq::write_npy(folder.path() / "x.npy", tensor::from<float>({2}, {1, 2}));
  ptq::write_npy(folder.path() / "y.npy", tensor::from<std::int64_t>({2, 1}, {5, 6}));
  ptq::write_npy(folder.path() / "z.npy", tensor::from<float>({3}, {1, 2, 3}));
  const auto s = open_samples({.paths = {"a=" + at(folder, "x.npy"), "b=" + at(folder, "y.npy")}});
  const auto two = s.at(1);
  REQUIRE(two->inputs.size() == 2);
  CHECK(two->inputs[0].name == "a");
  CHECK(two->inputs[1].name == "b");
  CHECK(two->inputs[1].value.view<std::int64_t>()[0] == 6);
  const auto text = text_of<ptq::data_error>([&] {
    open_samples({.paths = {"a=" + at(folder, "x.npy"), "c=" + at(folder, "z.npy")}});
  });
  CHECK(contains(text, "z.npy"));
  CHECK(contains(text, "expected 2"));
  CHECK(contains(text, "got 3"));
}

TEST_CASE(".npz and folders of .npz give named inputs") {
  const temp_folder folder;
  folder.write("rows.npz", stored_npz());
  const auto rows = open_samples({.paths = {at(folder, "rows.npz")}});
  CHECK(rows.count() == 2);
  CHECK(rows.at(1)->inputs[0].name == "x");
  CHECK(rows.at(1)->inputs[0].value.view<float>()[0] == 2.0f);
  folder.write("more.npz", stored_npz());
  const auto whole = open_samples({.paths = {folder.path().string()}});
  CHECK(whole.count() == 2);
  CHECK(whole.at(0)->inputs[0].value.dims() == shape{2, 1});
}

TEST_CASE("IDX and CIFAR-10 are recognised, and their labels") {
  const temp_folder folder;
  folder.write("t10k-images-idx3-ubyte", from_hex("00000803"
                                                  "00000002"
                                                  "00000001"
                                                  "00000002"
                                                  "01020304"));
  folder.write("t10k-labels-idx1-ubyte", from_hex("00000801"
                                                  "00000002"
                                                  "0709"));
  const auto idx = open_samples({.paths = {at(folder, "t10k-images-idx3-ubyte")}});
  CHECK(idx.at(1)->inputs[0].value.dims() == shape{1, 1, 1, 2});
  CHECK(idx.at(1)->inputs[0].value.view<float>()[1] == 4.0f);
  CHECK(open_labels(at(folder, "t10k-labels-idx1-ubyte"), idx) == labels{7, 9});
  folder.write("test.bin", cifar({3, 8, 1}));
  const auto records = open_samples({.paths = {at(folder, "test.bin")}, .subset_size = 2});
  CHECK(records.count() == 2);
  CHECK(records.at(1)->inputs[0].value.dims() == shape{1, 3, 32, 32});
  CHECK(open_labels(at(folder, "test.bin"), records) == labels{3, 8});
  CHECK(open_labels("", records) == labels{3, 8});
  folder.write("three.labels", "\x01\x02\x03");
  CHECK(open_labels(at(folder, "three.labels"), records) == labels{1, 2});
  CHECK_THROWS_AS(open_labels(at(folder, "t10k-labels-idx1-ubyte"), records), ptq::data_error);
}

TEST_CASE("raw records keep integers that are no pixels, unless asked for more") {
  const temp_folder folder;
  folder.write("tokens.bin", from_hex("0100000002000000"));
  ptq::sample_options o{
      .paths = {at(folder, "tokens.bin")}, .record_dtype = "int32", .record_shape = {2}};
  CHECK(open_samples(o).at(0)->inputs[0].value.type() == dtype::s32);
  CHECK(open_samples(o).at(0)->inputs[0].value.dims() == shape{1, 2});
  o.preprocessing.scale = 0.5f;
  CHECK(open_samples(o).at(0)->inputs[0].value.view<float>()[1] == 1.0f);
  o = {.paths = o.paths,
       .record_dtype = "uint8",
       .record_shape = {1, 1, 3},
       .record_label_bytes = 1};
  CHECK(open_samples(o).count() == 2);
  CHECK(open_samples(o).at(1)->inputs[0].value.dims() == shape{1, 1, 1, 3});
  CHECK(open_labels("", open_samples(o)) == labels{1, 2});
}

TEST_CASE("a shuffled subset has the labels of its samples") {
  const temp_folder folder;
  tensor x(dtype::f32, {20});
  auto v = x.mutable_view<float>();
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(i);
  ptq::write_npy(folder.path() / "x.npy", x);
  const auto s =
      open_samples({.paths = {at(folder, "x.npy")}, .subset_size = 6, .shuffle = true, .seed = 3});
  const auto l = open_labels(at(folder, "x.npy"), s);
  REQUIRE(l.size() == 6);
  for (std::int64_t i = 0; i < 6; ++i)
    CHECK(static_cast<float>(l[static_cast<std::size_t>(i)]) ==
          s.at(i)->inputs[0].value.view<float>()[0]);
}

TEST_CASE("what can't be samples is refused by name") {
  const temp_folder folder;
  auto refused = [&](const std::string& name) {
    return text_of<ptq::error>([&] { open_samples({.paths = {at(folder, name)}}); });
  };
  std::filesystem::create_directories(folder.path() / "empty");
  CHECK(contains(refused("empty"), "empty': samples: expected a folder of"));
  CHECK(contains(refused("absent"), "absent': no such file"));
  folder.write("some.txt", "words");
  CHECK(contains(refused("some.txt"), "a file of 5 bytes"));
  folder.write("odd.bin", std::string(3074, 'x'));
  CHECK(contains(refused("odd.bin"), "3074 bytes"));
  folder.write("zero.bin", "");
  CHECK(contains(refused("zero.bin"), "zero.bin"));
  ptq::write_npy(folder.path() / "none.npy", tensor(dtype::f32, {0, 3}));
  CHECK(contains(refused("none.npy"), "at least one"));
  CHECK_THROWS_AS(open_samples({}), ptq::data_error);
  // A corrupt image is met when it is decoded, with its path.
  folder.write("photos/bad.jpg", "no JPEG");
  auto s = open_samples({.paths = {at(folder, "photos")}});
  CHECK(contains(text_of<ptq::data_error>([&] { s.next(); }), "bad.jpg"));
  CHECK_THROWS_AS(open_labels(at(folder, "absent.csv"), s), ptq::io_error);
}
