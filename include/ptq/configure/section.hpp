#pragma once
// SPDX-License-Identifier: Apache-2.0
// What a configuration file says, and one object of it: every key that is asked for is known, and a
// key that nobody asked for is an error.

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <ptq/core/error.hpp>
#include <ptq/quantize/scheme.hpp>

namespace ptq {

/// What a file says; empty where it says nothing.
struct configuration {
  std::string model_name, model;
  std::string data_source;
  quantize_options options;
  bool data_free = false;     // ranges without data
  bool names_effort = false;  // the file says how much is tried
  bool shuffle = false;
  std::uint64_t seed = 0;
  std::vector<std::string> warnings;  // what the file asks for and does not change the result
};

// -------------------------------------------------------------------------------------------------

namespace detail_configure {

using nlohmann::json;

/// One object of the file, and where it stands.
class section {
 public:
  section(const json& j, std::string path, configuration& into)
      : j_(&j), path_(std::move(path)), into_(&into) {
    if (!j.is_object()) fail(path_, "an object", j.dump());
  }

  [[noreturn]] static void fail(const std::string& path, const std::string& expected,
                                const std::string& got) {
    constexpr std::size_t most = 60;
    throw data_error("config: " + path + ": expected " + expected + ", got " + got.substr(0, most));
  }
  std::string at(const char* key) const { return path_.empty() ? key : path_ + "." + key; }
  bool has(const char* key) {
    known_.emplace_back(key);
    return j_->contains(key) && !j_->at(key).is_null();
  }
  const json& operator[](const char* key) const { return j_->at(key); }
  section child(const char* key) const { return {j_->at(key), at(key), *into_}; }

  std::string text(const char* key, std::string otherwise = "") {
    if (!has(key)) return otherwise;
    if (!j_->at(key).is_string()) fail(at(key), "a string", j_->at(key).dump());
    return j_->at(key).get<std::string>();
  }
  bool flag(const char* key, bool otherwise) {
    if (!has(key)) return otherwise;
    if (!j_->at(key).is_boolean()) fail(at(key), "true or false", j_->at(key).dump());
    return j_->at(key).get<bool>();
  }
  std::int64_t count(const char* key, std::int64_t least, std::int64_t otherwise) {
    if (!has(key)) return otherwise;
    const auto& v = j_->at(key);
    if (!v.is_number_integer() || v.get<std::int64_t>() < least)
      fail(at(key), "an integer of at least " + std::to_string(least), v.dump());
    return v.get<std::int64_t>();
  }
  double real(const char* key, double otherwise) {
    if (!has(key)) return otherwise;
    if (!j_->at(key).is_number()) fail(at(key), "a number", j_->at(key).dump());
    return j_->at(key).get<double>();
  }
  std::vector<std::string> list(const char* key) {
    std::vector<std::string> all;
    if (!has(key)) return all;
    if (!j_->at(key).is_array()) fail(at(key), "a list of strings", j_->at(key).dump());
    for (const auto& e : j_->at(key)) {
      if (!e.is_string()) fail(at(key), "a list of strings", e.dump());
      all.push_back(e.get<std::string>());
    }
    return all;
  }
  /// One of the words, in any case; its index.
  std::size_t word(const char* key, std::initializer_list<const char*> words) {
    std::string v = text(key), all;
    for (char& c : v) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    std::size_t i = 0;
    for (const char* w : words) {
      if (v == w) return i;
      all += (i++ ? ", " : "") + std::string(w);
    }
    fail(at(key), "one of " + all, "'" + v + "'");
  }
  /// A key of POT's that changes nothing here.
  void idle(const char* key, const char* why) {
    if (has(key)) into_->warnings.push_back("config: " + at(key) + ": " + why);
  }
  /// A key of POT's that must have this value: another would change the result.
  void only(const char* key, const json& value, const char* why) {
    if (has(key) && j_->at(key) != value)
      fail(at(key), value.dump() + " (" + why + ")", j_->at(key).dump());
  }
  void end() const {
    for (const auto& [key, value] : j_->items()) {
      bool found = false;
      std::string all;
      for (const auto& k : known_) {
        found = found || k == key;
        all += (all.empty() ? "" : ", ") + k;
      }
      if (!found) throw data_error("config: " + at(key.c_str()) + ": unknown key; known: " + all);
    }
  }

 private:
  const json* j_;
  std::string path_;
  configuration* into_;
  std::vector<std::string> known_;
};

}  // namespace detail_configure

}  // namespace ptq
