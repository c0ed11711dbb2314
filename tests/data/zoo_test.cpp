// SPDX-License-Identifier: Apache-2.0
// The data sets of zoo.json, each opened as its entry there says. Expected counts and classes are
// from the data's notes and label files.
#include <doctest/doctest.h>

#include <cmath>
#include <ptq/data/open.hpp>

#include "../support/data_dir.hpp"

using ptq::dtype;
using ptq::open_labels;
using ptq::open_samples;
using ptq::preprocessing;
using ptq::shape;

namespace {

/// A path below the data folder; "" where there is none.
std::string zoo(const std::string& name) {
  const auto dir = ptq_test::data_dir();
  if (!dir) {
    MESSAGE("PTQ_DATA_DIR is not set: skipped");
    return "";
  }
  return (*dir / "data" / name).string();
}

std::int64_t sum(const std::vector<std::int64_t>& v) {
  std::int64_t s = 0;
  for (auto x : v) s += x;
  return s;
}

}  // namespace

TEST_CASE("the ImageNet photos are cropped, reordered and labelled") {
  const auto folder = zoo("imagenet_val650");
  if (folder.empty()) return;
  const preprocessing squeezenet{
      .crop = 224, .channels = ptq::channel_order::bgr, .mean = {104, 117, 123}, .std = {1, 1, 1}};
  const auto s = open_samples({.paths = {folder}, .preprocessing = squeezenet});
  CHECK(s.count() == 650);
  const auto bgr = s.at(0)->inputs[0].value;
  CHECK(bgr.dims() == shape{1, 3, 224, 224});
  const auto raw = ptq::read_image(std::filesystem::path(folder) / s.name(0));
  CHECK(raw.dims() == shape{3, 227, 227});
  // Blue at the crop's first pixel, row 1 column 1 of 227.
  CHECK(bgr.view<float>()[0] ==
        static_cast<float>(raw.view<std::uint8_t>()[2 * 227 * 227 + 228]) - 104);
  const auto l = open_labels(folder, s);
  REQUIRE(l.size() == 650);
  CHECK(l[0] == 472);
  CHECK(l[1] == 300);
  const auto u8 = open_samples(
      {.paths = {folder},
       .preprocessing = {.resize = 128, .layout = ptq::image_layout::nhwc, .type = dtype::u8}});
  CHECK(u8.at(1)->inputs[0].value.dims() == shape{1, 128, 128, 3});
  CHECK(open_labels(folder, u8, 1)[0] == 473);
}

TEST_CASE("photos of full size are resized by their shorter side") {
  for (const char* name : {"imagenet_calibration100", "coco30"}) {
    const auto folder = zoo(name);
    if (folder.empty()) return;
    const auto s = open_samples({.paths = {folder}, .preprocessing = {.resize = 256, .crop = 224}});
    CHECK(s.count() == (std::string(name) == "coco30" ? 30 : 100));
    for (std::int64_t i = 0; i < 4; ++i)
      CHECK(s.at(i)->inputs[0].value.dims() == shape{1, 3, 224, 224});
  }
}

TEST_CASE("the CIFAR-10 records have balanced classes and normalized pixels") {
  const auto file = zoo("cifar10/test_dev500.bin");
  if (file.empty()) return;
  const preprocessing p{
      .scale = 1 / 255.0f, .mean = {0.485f, 0.456f, 0.406f}, .std = {0.229f, 0.224f, 0.225f}};
  const auto s = open_samples({.paths = {file}, .preprocessing = p});
  CHECK(s.count() == 500);
  CHECK(open_samples({.paths = {zoo("cifar10/train_calib_dev1000.bin")}}).count() == 1000);
  const auto l = open_labels(file, s);
  CHECK(l.size() == 500);
  for (auto c : l) CHECK((c >= 0 && c <= 9));
  const auto raw = open_samples({.paths = {file}}).at(7)->inputs[0].value;
  const auto x = s.at(7)->inputs[0].value;
  CHECK(x.dims() == shape{1, 3, 32, 32});
  for (std::size_t c = 0; c < 3; ++c) {
    const double v = raw.view<float>()[c * 1024 + 5];
    CHECK(x.view<float>()[c * 1024 + 5] ==
          doctest::Approx((v / 255 - static_cast<double>(p.mean[c])) /
                          static_cast<double>(p.std[c])));
  }
}

TEST_CASE("the keyword features are signed bytes about zero point 83") {
  const auto file = zoo("kws500/features_int8_490.bin");
  if (file.empty()) return;
  const auto s =
      open_samples({.paths = {file},
                    .preprocessing = {.scale = 0.5847029f, .mean = {48.5303407f}, .std = {1}},
                    .record_dtype = "int8",
                    .record_shape = {1, 49, 10}});
  CHECK(s.count() == 500);
  const auto x = s.at(0)->inputs[0].value;
  CHECK(x.dims() == shape{1, 1, 49, 10});
  // The file's first two bytes are 02 and 55.
  CHECK(x.view<float>()[0] == doctest::Approx((2 - 83) * 0.5847029).epsilon(1e-6));
  CHECK(std::abs(x.view<float>()[1] - (0x55 - 83) * 0.5847029) < 1e-4);
  const auto l = open_labels(zoo("kws500/labels.csv"), s);
  CHECK(l[0] == 7);
  CHECK(l[1] == 6);
}

TEST_CASE("the MNIST records are a label and 784 pixels") {
  const auto file = zoo("mnist/mnist_test3000.bin");
  if (file.empty()) return;
  const auto s = open_samples({.paths = {file},
                               .record_dtype = "uint8",
                               .record_shape = {1, 28, 28},
                               .record_label_bytes = 1});
  CHECK(s.count() == 3000);
  CHECK(s.at(2999)->inputs[0].value.dims() == shape{1, 1, 28, 28});
  const auto l = open_labels(file, s);
  for (auto c : l) CHECK((c >= 0 && c <= 9));
  CHECK(static_cast<double>(sum(l)) / 3000.0 == doctest::Approx(4.5).epsilon(0.05));
}
