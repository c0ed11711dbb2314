// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cstdint>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include <ptq/calibrate/artefact.hpp>

#include "numbers.hpp"

namespace {

using namespace ptq;
using namespace ptq::calibration;
using namespace ptq_test;

/// Evidence of samples [first, last) of a made-up network of two values.
artefact made(unsigned first, unsigned last) {
  artefact a;
  a.model_hash = 42;
  a.settings = "test";
  for (const char* name : {"in", "out"}) {
    auto& v = a.seen.values[name];
    v.numbers.emplace(needs_of_all({}));
    v.wants_means = true;
    v.channel_axis = 1;
    v.channel_needs = {.counts = true};
    v.channels.assign(2, sketch(v.channel_needs));
    v.dims = {1, 2, 50};
    for (unsigned i = first; i < last; ++i) {
      v.seen = true;
      const auto x = normal(100, i + 7, 1 + 0.01 * i);
      v.numbers->add(x, extremes_of(x));
      double sums[2] = {};
      add_plane_sums(x.data(), 1, sums, 50);
      v.means.add(sums, 50);
      for (std::size_t c = 0; c < 2; ++c) {
        const auto part = std::span(x).subspan(50 * c, 50);
        v.channels[c].add(part, extremes_of(part));
      }
    }
  }
  for (unsigned i = first; i < last; ++i) a.seen.data_hash += 1000003ULL * (i + 1);
  a.seen.samples = last - first;
  return a;
}

struct folder {
  std::filesystem::path path = std::filesystem::temp_directory_path() /
                               ("ptq_artefact_test_" + std::to_string(std::random_device()()));
  folder() { std::filesystem::create_directory(path); }
  ~folder() { std::filesystem::remove_all(path); }
};

}  // namespace

TEST_CASE("evidence comes back from a file with every bit and every range") {
  const folder f;
  const auto a = made(0, 12);
  save(a, f.path / "a.cal");
  const auto b = load(f.path / "a.cal");
  CHECK(to_bytes(a) == to_bytes(b));
  CHECK(b.model_hash == 42);
  CHECK(b.settings == "test");
  CHECK(b.library == version);
  CHECK(b.seen.samples == 12);
  const auto& v = a.seen.values.at("out");
  const auto& w = b.seen.values.at("out");
  CHECK(v.means.means() == w.means.means());
  CHECK(w.dims == shape{1, 2, 50});
  for (const auto& [estimator, name] : range_estimators) {
    const observer_options o{.estimator = estimator};
    CHECK(range_of(*v.numbers, o) == range_of(*w.numbers, o));
  }
  CHECK(range_of(v.channels[1], {}) == range_of(w.channels[1], {}));
  CHECK(std::distance(std::filesystem::directory_iterator(f.path), {}) == 1);  // no part is left
}

TEST_CASE(
    "merged parts are the file of the whole, in any order, also beyond what is kept exactly") {
  for (unsigned n : {10u, 1500u}) {
    const auto whole = to_bytes(made(0, n));
    CHECK(to_bytes(merged(made(0, n / 2), made(n / 2, n))) == whole);
    CHECK(to_bytes(merged(merged(made(n - 3, n), made(2, n - 3)), made(0, 2))) == whole);
    // Through files, too.
    const auto a = from_bytes(to_bytes(made(0, n / 3))), b = from_bytes(to_bytes(made(n / 3, n)));
    CHECK(to_bytes(merged(b, a)) == whole);
  }
}

TEST_CASE("files of two models, or of different contents, do not merge") {
  auto a = made(0, 3), b = made(3, 5);
  b.model_hash = 43;
  CHECK_THROWS_WITH_AS(merged(a, b), doctest::Contains("002b"), calibration_error);
  b = made(3, 5);
  b.settings = "other";
  CHECK_THROWS_AS(merged(a, b), calibration_error);
  b = made(3, 5);
  b.seen.values.erase("in");
  CHECK_THROWS_WITH_AS(merged(a, b), doctest::Contains("'in'"), calibration_error);
  b = made(3, 5);
  b.seen.values["in"].numbers.emplace(sketch_needs{});
  CHECK_THROWS_AS(merged(a, b), calibration_error);
  b = made(3, 5);
  b.seen.values["in"].means = {};
  b.seen.values["in"].means.add(std::vector<double>(3), 1);
  CHECK_THROWS_WITH_AS(merged(a, b), doctest::Contains("channels"), calibration_error);
}

TEST_CASE("a difference lists what moved, the farthest first") {
  auto a = made(0, 8), b = made(0, 8);
  CHECK(difference(a.seen, b.seen, {}).empty());
  const std::vector<float> far{-1, 90};
  b.seen.values["out"].numbers->add(far, {-1, 90});
  b.seen.values["new"];
  const auto d = difference(a.seen, b.seen, {.estimator = range_estimator::minmax});
  REQUIRE(d.size() == 2);
  CHECK(d[0].value == "out");
  CHECK(d[0].b.max == 90);
  CHECK(d[0].moved > 1);
  CHECK(d[1].value == "new");
}

TEST_CASE("steady bounds are certain, scattered ones ask for more samples") {
  evidence e;
  auto& steady = e.values["steady"].numbers.emplace();
  auto& scattered = e.values["scattered"].numbers.emplace();
  for (int i = 0; i < 100; ++i) {
    const std::vector<float> one{-1, 1}, two{-1, i % 2 ? 1.0f : 3.0f};
    steady.add(one, {-1, 1});
    scattered.add(two, {-1, two[1]});
  }
  const auto s = stability(e);
  REQUIRE(s.size() == 2);
  CHECK(s[0].value == "scattered");
  // Deviation 1 of a bound, over 10, over a range of 3.
  CHECK(s[0].mean_error == doctest::Approx(1 / std::sqrt(99.0) / 3).epsilon(1e-6));
  CHECK(s[1].mean_error == 0);
  CHECK(s[1].exceeding == doctest::Approx(1.0 / 101));
}

TEST_CASE("a file cut off anywhere is refused") {
  const auto whole = to_bytes(made(0, 2));
  for (std::size_t n = 0; n < whole.size(); n += 1 + n / 16)
    CHECK_THROWS_AS(from_bytes(std::span(whole).first(n)), calibration_error);
  auto longer = whole;
  longer.push_back(0);
  CHECK_THROWS_AS(from_bytes(longer), calibration_error);
}

TEST_CASE("a damaged file is refused or read as evidence that can be used, never worse") {
  const auto whole = to_bytes(made(0, 2));
  std::mt19937 random(11);
  int refused = 0, usable = 0;
  for (int turn = 0; turn < 4000; ++turn) {
    auto bytes = whole;
    for (unsigned k = 0; k <= random() % 3; ++k)
      bytes[random() % bytes.size()] = static_cast<std::uint8_t>(random());
    try {
      auto a = from_bytes(bytes);
      for (const auto& [name, v] : a.seen.values)
        for (const auto& [estimator, called] : range_estimators) try {
            if (v.numbers) range_of(*v.numbers, {.estimator = estimator});
          } catch (const calibration_error&) {
          }
      stability(a.seen);
      to_bytes(a);
      ++usable;
    } catch (const calibration_error&) {
      ++refused;
    }
  }
  CHECK(refused > 1000);
  CHECK(usable > 100);
}

TEST_CASE("hostile files are refused in one line that names the place") {
  using nlohmann::json;
  const auto fails = [](const std::vector<std::uint8_t>& bytes, const char* text) {
    CHECK_THROWS_WITH_AS(from_bytes(bytes), doctest::Contains(text), calibration_error);
  };
  fails(std::vector<std::uint8_t>(1 << 20, 0x81), "CBOR");  // a million arrays in each other
  fails({0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
        "CBOR");  // 2^63 elements, none there
  fails({0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, "CBOR");
  fails(json::to_cbor(json{{"format", "something"}}), "format");
  json good = json::from_cbor(to_bytes(made(0, 2)));
  const auto with = [&](const char* pointer, const json& v) {
    json j = good;
    j[json::json_pointer(pointer)] = v;
    return json::to_cbor(j);
  };
  fails(with("/version", 2), "version up to 1, got 2");
  fails(with("/samples", -1), "file.samples");
  fails(with("/samples", 1e300), "file.samples");
  fails(with("/values", 3), "file.values");
  fails(with("/values/in/dims", json::array({-5})), "value 'in'.dims");
  fails(with("/values/in/numbers/min/values", json::array({1.0, 0.5})), "rising");
  fails(with("/values/in/numbers/min/values", json::array({1.0, 1e300})), "float");
  fails(with("/values/in/numbers/max/values", json::array({1.0})), "each sample");
  fails(with("/values/in/numbers/counts/zeros", 1000000), "histogram");
  fails(with("/values/in/numbers/counts/max", 1e30), "histogram");
  fails(with("/values/in/needs/quantiles", json::array({0.9})), "shares");
  fails(with("/values/in/means/channels", 1 << 30), "means.channels");
  fails(with("/values/in/means/sums", json::binary({0, 11, 200, 0, 0, 0})), "sum");
  CHECK_THROWS_AS(load("/nonexistent/file.cal"), io_error);
  CHECK_THROWS_AS(save(made(0, 1), "/nonexistent/file.cal"), io_error);
}
