// SPDX-License-Identifier: Apache-2.0
// Models that others quantized run in integers with their own scales, as accurately as their
// labels say: 67 and 65 % of the photographs (the data's notes), within two standard errors of the
// 200 that are looked at.
#include <doctest/doctest.h>

#include <string>

#include <ptq/data/open.hpp>
#include <ptq/ptq.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#include <ptq/dispatch.hpp>
#endif

#include "../support/data_dir.hpp"

using namespace ptq;

namespace {

constexpr std::int64_t looked_at = 200;
constexpr double two_standard_errors = 6.7;  // of 66 % of these

struct foreign {
  const char* file;
  preprocessing pixels;
  std::int64_t label_offset;
  double expected;
};

void check_model(const foreign& f) {
  const auto dir = ptq_test::data_dir();
  if (!dir) {
    MESSAGE("PTQ_DATA_DIR is not set: skipped");
    return;
  }
  const auto network =
      fuse(fold(import_model(*dir / "models/prequantized" / (std::string(f.file) + ".onnx"))));
  const auto photos = (*dir / "data/imagenet_val650").string();
  const auto data = open_samples({.paths = {photos}, .preprocessing = f.pixels});
  const auto labels = open_labels(photos, data, f.label_offset);
#ifdef PTQ_TEST_DISPATCH
  runner run(network, dispatched_kernels());
#else
  runner run(network, native_kernels());
#endif
  const auto a = classify(run, data, labels, {.limit = looked_at, .report = {}});
  CHECK(a.top1 > f.expected - two_standard_errors);
  std::int64_t macs = 0, integer = 0;
  for (const auto& s : run.current_program().steps) {
    macs += s.macs;
    integer += s.integer ? s.macs : 0;
  }
  CHECK(macs > 0);
  CHECK(integer == macs);
  CHECK_THROWS_AS(observations(network, {}), unsupported);
}

}  // namespace

TEST_CASE("a network of QLinearConv with unsigned weights runs in integers") {
  check_model({"mobilenet_v2_torch_qlinear",
               {.crop = 224,
                .scale = 1.0F / 255,
                .mean = {0.485F, 0.456F, 0.406F},
                .std = {0.229F, 0.224F, 0.225F}},
               0,
               67});
}

TEST_CASE("a network of Q/DQ with unsigned weights runs in integers") {
  check_model({"mobilenet_v1_0.5_128_qdq_uint8",
               {.resize = 128, .layout = image_layout::nhwc, .type = dtype::u8},
               1,
               65});
}
