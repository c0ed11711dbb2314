#pragma once
// SPDX-License-Identifier: Apache-2.0
// Bytes → evidence. Nothing in a file is trusted: every count is checked against the bytes that are
// there before anything is allocated for it, every number against what the writer could have
// written.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <ptq/calibrate/artefact_write.hpp>
#include <ptq/calibrate/evidence.hpp>
#include <ptq/core/error.hpp>

namespace ptq::calibration {

namespace artefact_parts {

/// Stops the parser, which recurses, at a depth that no artefact has.
template <class Json>
class depth_guard : public nlohmann::json_sax<Json> {
 public:
  using typename nlohmann::json_sax<Json>::number_integer_t;
  using typename nlohmann::json_sax<Json>::number_unsigned_t;
  using typename nlohmann::json_sax<Json>::number_float_t;
  using typename nlohmann::json_sax<Json>::string_t;
  using typename nlohmann::json_sax<Json>::binary_t;

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool key(string_t&) override { return true; }
  bool start_object(std::size_t) override { return ++depth_ <= deepest; }
  bool end_object() override { return --depth_ >= 0; }
  bool start_array(std::size_t) override { return ++depth_ <= deepest; }
  bool end_array() override { return --depth_ >= 0; }
  bool parse_error(std::size_t at, const std::string&,
                   const typename Json::exception&) override {
    where_ = at;
    return false;
  }
  std::size_t where() const { return where_; }

 private:
  static constexpr int deepest = 16;
  int depth_ = 0;
  std::size_t where_ = 0;
};

/// A place in the file, for errors.
template <class Json>
struct place {
  const Json& at;
  std::string path;

  [[noreturn]] void fail(const std::string& expected) const {
    std::string got =
        at.is_binary() ? "a byte string" : at.dump(-1, ' ', false, Json::error_handler_t::replace);
    if (got.size() > 40) got = got.substr(0, 40) + "…";
    throw calibration_error("calibration file: " + path + ": expected " + expected + ", got " +
                            got);
  }
  place operator[](const char* key) const {
    if (!at.is_object()) fail("an object");
    const auto it = at.find(key);
    if (it == at.end())
      throw calibration_error("calibration file: " + path + ": expected a member '" + key +
                              "', got none");
    return {*it, path + "." + key};
  }
  std::int64_t integer(std::int64_t low, std::int64_t high) const {
    const std::string wanted =
        "an integer from " + std::to_string(low) + " to " + std::to_string(high);
    if (!at.is_number_integer()) fail(wanted);
    if (at.is_number_unsigned() &&
        at.template get<std::uint64_t>() > static_cast<std::uint64_t>(high))
      fail(wanted);
    const auto v = at.template get<std::int64_t>();
    if (v < low || v > high) fail(wanted);
    return v;
  }
  std::uint64_t natural() const {
    if (!at.is_number_unsigned()) fail("an integer that is not negative");
    return at.template get<std::uint64_t>();
  }
  bool boolean() const {
    if (!at.is_boolean()) fail("true or false");
    return at.template get<bool>();
  }
  double real() const {
    if (!at.is_number() || !std::isfinite(at.template get<double>())) fail("a finite number");
    return at.template get<double>();
  }
  float real32() const {
    const double v = real();
    if (std::fabs(v) > static_cast<double>(std::numeric_limits<float>::max())) fail("a float");
    return static_cast<float>(v);
  }
  std::string text() const {
    if (!at.is_string()) fail("a text");
    return at.template get<std::string>();
  }
  const typename Json::array_t& array(std::size_t most) const {
    if (!at.is_array() || at.size() > most)
      fail("an array of at most " + std::to_string(most) + " elements");
    return at.template get_ref<const typename Json::array_t&>();
  }
  std::span<const std::uint8_t> bytes() const {
    if (!at.is_binary()) fail("a byte string");
    return at.get_binary();
  }
};

/// Takes a sum off the front of the bytes.
template <class Json>
exact_sum sum_from(std::span<const std::uint8_t>& b, const place<Json>& p) {
  if (b.size() < 3) p.fail("the digits of a sum");
  const std::size_t first = b[1], count = b[2];
  if (b[0] > 1 || first + count > exact_sum::digits || b.size() < 3 + 4 * count)
    p.fail("the digits of a sum");
  std::array<std::int64_t, exact_sum::digits> d{};
  for (std::size_t i = 0; i < count; ++i)
    for (std::size_t k = 0; k < 4; ++k)
      d[first + i] |= static_cast<std::int64_t>(b[3 + 4 * i + k]) << (8 * k);
  if (b[0] == 1)
    for (auto& e : d) e = -e;
  b = b.subspan(3 + 4 * count);
  return exact_sum::of_digits(d);
}

template <class Json>
histogram histogram_from(const place<Json>& p) {
  if (p.at.is_null()) return {};
  std::vector<std::uint64_t> counts;
  const place<Json> list = p["counts"];
  for (const auto& n : list.array(static_cast<std::size_t>(histogram::bins)))
    counts.push_back(place<Json>{n, list.path}.natural());
  counts.resize(static_cast<std::size_t>(histogram::bins));
  auto h =
      histogram::of_state({p["min"].real32(), p["max"].real32()}, p["zeros"].natural(), counts);
  if (!h || h->total() == 0) p.fail("a histogram that its extremes and zeros fit");
  return *std::move(h);
}

template <class Json>
scalar_set scalars_from(const place<Json>& p) {
  const place<Json> digits = p["sum"];
  auto bytes = digits.bytes();
  const exact_sum sum = sum_from(bytes, digits);
  if (!bytes.empty()) digits.fail("one sum");
  if (p.at.contains("counts")) return scalar_set::of_state(sum, {}, histogram_from(p["counts"]));
  std::vector<float> values;
  const place<Json> list = p["values"];
  for (const auto& v : list.array(scalar_set::kept))
    values.push_back(place<Json>{v, list.path}.real32());
  if (!std::is_sorted(values.begin(), values.end())) list.fail("rising numbers");
  return scalar_set::of_state(sum, std::move(values), {});
}

template <class Json>
sketch_needs needs_from(const place<Json>& p) {
  sketch_needs n{p["counts"].boolean(), p["mean"].boolean(), {}};
  const place<Json> list = p["quantiles"];
  constexpr std::size_t most = 64;  // far above what options can ask for
  for (const auto& q : list.array(most)) {
    const double share = place<Json>{q, list.path}.real();
    if (share < 0 || share >= 0.5 || (!n.quantiles.empty() && share <= n.quantiles.back()))
      list.fail("rising shares from 0 to below 0.5");
    n.quantiles.push_back(share);
  }
  return n;
}

template <class Json>
sketch sketch_from(const place<Json>& p, const sketch_needs& needs) {
  sketch s(needs);
  const auto read = [&](const std::string& name, auto& part) {
    const place<Json> at = p[name.c_str()];
    if constexpr (std::is_same_v<std::decay_t<decltype(part)>, histogram>) {
      part = histogram_from(at);
      if ((part.total() == 0) != (s.samples() == 0)) at.fail("counts of the samples");
    } else {
      part = scalars_from(at);
      if (part.count() != s.samples()) at.fail("one number for each sample");
    }
  };
  sketch::parts(s, read);
  return s;
}

template <class Json>
void read_means(value_evidence& v, const place<Json>& p) {
  v.wants_means = true;
  v.mean_axis = static_cast<int>(p["axis"].integer(-64, 63));
  const auto count = p["count"].integer(0, std::int64_t{1} << 60);
  const place<Json> sums = p["sums"];
  auto bytes = sums.bytes();
  // A sum takes at least three bytes.
  const auto channels = p["channels"].integer(0, static_cast<std::int64_t>(bytes.size() / 3));
  std::vector<exact_sum> all;
  for (std::int64_t c = 0; c < channels; ++c) all.push_back(sum_from(bytes, sums));
  if (!bytes.empty() || (count == 0) != all.empty()) sums.fail("one sum for each channel");
  v.means = channel_mean::of_state(std::move(all), count);
}

template <class Json>
value_evidence value_from(const place<Json>& p) {
  value_evidence v;
  v.seen = p["seen"].boolean();
  const place<Json> dims = p["dims"];
  constexpr std::size_t most_axes = 64;
  for (const auto& d : dims.array(most_axes))
    v.dims.dims.push_back(place<Json>{d, dims.path}.integer(0, std::int64_t{1} << 40));
  if (p.at.contains("numbers")) v.numbers = sketch_from(p["numbers"], needs_from(p["needs"]));
  if (p.at.contains("means")) read_means(v, p["means"]);
  if (p.at.contains("channels")) {
    const place<Json> c = p["channels"];
    v.channel_axis = static_cast<int>(c["axis"].integer(-64, 63));
    v.channel_needs = needs_from(c["needs"]);
    const place<Json> list = c["numbers"];
    for (const auto& one : list.array(std::size_t{1} << 24))
      v.channels.push_back(sketch_from(place<Json>{one, list.path}, v.channel_needs));
  }
  return v;
}

}  // namespace artefact_parts

/// throws  calibration_error naming the place in the file
template <class Json = nlohmann::json>
artefact from_bytes(std::span<const std::uint8_t> bytes) {
  using namespace artefact_parts;
  depth_guard<Json> guard;
  if (!Json::sax_parse(bytes.begin(), bytes.end(), &guard, Json::input_format_t::cbor))
    throw calibration_error("calibration file: expected CBOR, got " + std::to_string(bytes.size()) +
                            " bytes that are none, or are cut off, from byte " +
                            std::to_string(guard.where()));
  const Json file = Json::from_cbor(bytes.begin(), bytes.end(), true, false);
  const place<Json> p{file, "file"};
  if (!file.is_object() || !file.contains("format") || file["format"] != artefact_format)
    throw calibration_error("calibration file: expected the format '" +
                            std::string(artefact_format) + "'");
  if (p["version"].integer(1, std::numeric_limits<std::int32_t>::max()) > artefact_version)
    throw calibration_error("calibration file: expected a version up to " +
                            std::to_string(artefact_version) + ", got " + file["version"].dump() +
                            ", written by ptq " + p["library"].text());
  artefact a;
  a.library = p["library"].text();
  a.settings = p["settings"].text();
  a.model_hash = p["model"].natural();
  a.seen.data_hash = p["data"].natural();
  a.seen.samples = p["samples"].integer(1, std::int64_t{1} << 60);
  const place<Json> values = p["values"];
  if (!values.at.is_object()) values.fail("an object");
  for (const auto& [name, v] : values.at.items())
    a.seen.values.emplace(name, value_from(place<Json>{v, "value '" + name + "'"}));
  return a;
}

/// throws  io_error naming the file
inline std::vector<std::uint8_t> read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw io_error("'" + path.string() + "': can't be read");
  std::vector<std::uint8_t> bytes{std::istreambuf_iterator<char>(in), {}};
  if (in.bad()) throw io_error("'" + path.string() + "': can't be read");
  return bytes;
}

}  // namespace ptq::calibration
