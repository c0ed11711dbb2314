#pragma once
// SPDX-License-Identifier: Apache-2.0
// Evidence → bytes. Equal evidence has equal bytes: sums as canonical digits, scalars in rising
// order, values by name. Integers are of any width, reals are floats; sums of channels are a byte
// string:
//   for each channel  sign (0 or 1), first digit, number of digits, digits of 32 bits, low first
//
// Templates on the JSON type, so that a file that writes none does not compile its library.

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <ptq/calibrate/evidence.hpp>
#include <ptq/core/error.hpp>
#include <ptq/core/version.hpp>

namespace ptq::calibration {

/// What a file holds.
struct artefact {
  evidence seen;
  std::uint64_t model_hash = 0;
  std::string settings;  // in words: what makes evidence of one model differ
  std::string library = version;
};

inline constexpr const char* artefact_format = "ptq calibration";
inline constexpr int artefact_version = 1;

inline std::string hex(std::uint64_t v) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(v));
  return text;
}

namespace artefact_parts {

inline void put(std::vector<std::uint8_t>& bytes, const exact_sum& s) {
  auto d = s.canonical();
  const bool negative = d.back() < 0;
  if (negative) {
    for (auto& e : d) e = -e;
    d = exact_sum::of_digits(d).canonical();
  }
  std::size_t first = 0, last = d.size();
  while (first < last && d[first] == 0) ++first;
  while (last > first && d[last - 1] == 0) --last;
  bytes.push_back(negative);
  bytes.push_back(static_cast<std::uint8_t>(first));
  bytes.push_back(static_cast<std::uint8_t>(last - first));
  for (std::size_t i = first; i < last; ++i)
    for (int b = 0; b < 32; b += 8) bytes.push_back(static_cast<std::uint8_t>(d[i] >> b));
}

template <class Json>
Json of(const exact_sum& s) {
  std::vector<std::uint8_t> bytes;
  put(bytes, s);
  return Json::binary(std::move(bytes));
}

template <class Json>
Json of(const histogram& h) {
  if (h.total() == 0) return nullptr;
  std::int64_t last = histogram::bins;
  while (h.count(last - 1) == 0) --last;
  Json counts = Json::array();
  for (std::int64_t i = 0; i < last; ++i) counts.push_back(h.count(i));
  return {{"min", h.extremes().min},
          {"max", h.extremes().max},
          {"zeros", h.zeros()},
          {"counts", std::move(counts)}};
}

template <class Json>
Json of(const scalar_set& s) {
  Json j{{"sum", of<Json>(s.sum())}};
  if (s.counts().total() > 0)
    j["counts"] = of<Json>(s.counts());
  else
    j["values"] = s.ordered();
  return j;
}

template <class Json>
Json of(const sketch_needs& n) {
  return {{"counts", n.counts}, {"mean", n.mean}, {"quantiles", n.quantiles}};
}

template <class Json>
Json of(const sketch& s) {
  Json j = Json::object();
  sketch::parts(s, [&](const std::string& name, const auto& part) { j[name] = of<Json>(part); });
  return j;
}

template <class Json>
Json of(const value_evidence& v) {
  Json j{{"seen", v.seen}, {"dims", v.dims.dims}};
  if (v.numbers) {
    j["needs"] = of<Json>(v.numbers->needs());
    j["numbers"] = of<Json>(*v.numbers);
  }
  if (v.wants_means) {
    std::vector<std::uint8_t> bytes;
    for (const auto& s : v.means.sums()) put(bytes, s);
    j["means"] = {{"axis", v.mean_axis},
                  {"count", v.means.count()},
                  {"channels", v.means.sums().size()},
                  {"sums", Json::binary(std::move(bytes))}};
  }
  if (v.channel_axis) {
    Json all = Json::array();
    for (const auto& c : v.channels) all.push_back(of<Json>(c));
    j["channels"] = {{"axis", *v.channel_axis},
                     {"needs", of<Json>(v.channel_needs)},
                     {"numbers", std::move(all)}};
  }
  return j;
}

}  // namespace artefact_parts

template <class Json = nlohmann::json>
std::vector<std::uint8_t> to_bytes(const artefact& a) {
  Json values = Json::object();
  for (const auto& [name, v] : a.seen.values) values[name] = artefact_parts::of<Json>(v);
  return Json::to_cbor(Json{{"format", artefact_format},
                            {"version", artefact_version},
                            {"library", a.library},
                            {"settings", a.settings},
                            {"model", a.model_hash},
                            {"data", a.seen.data_hash},
                            {"samples", a.seen.samples},
                            {"values", std::move(values)}});
}

/// Beside the target, then renamed.
///
/// throws  io_error naming the file
inline void write_file(const std::filesystem::path& path, std::span<const std::uint8_t> bytes) {
  auto beside = path;
  beside += ".part";
  std::ofstream out(beside, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(bytes.data()),
            static_cast<std::streamsize>(bytes.size()));
  out.close();
  std::error_code bad;
  if (out) std::filesystem::rename(beside, path, bad);
  if (!out || bad) {
    const std::string why = bad ? bad.message() : "can't be written";
    std::filesystem::remove(beside, bad);
    throw io_error("'" + path.string() + "': " + why);
  }
}

}  // namespace ptq::calibration
