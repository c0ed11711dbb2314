#pragma once
// SPDX-License-Identifier: Apache-2.0
// Options → the codes of weights and activations. One table says what each target device takes, in
// NNCF's and POT's words; preset and explicit options choose from its row, and what the row does
// not have is an error that names the values.
//
// NNCF replaces GPU and NPU by CPU where all widths are 8; so do the rows: they differ below 8 bits
// only.

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <ptq/core/error.hpp>
#include <ptq/quantize/params.hpp>
#include <ptq/quantize/scheme.hpp>

namespace ptq::quantization {

/// Widths that a device takes, the preferred one first; 0 ends the list.
using widths = std::array<int, 9>;

struct device_row {
  target_device device;
  std::string_view name;
  widths activations, weights;
  bool asymmetric = true;    // takes asymmetric codes
  int accurate_weights = 0;  // bits that presets other than performance prefer, per tensor; 0: none
};

/// Activations are per tensor, symmetric or asymmetric; weights per output channel or per tensor,
/// symmetric or, where a kernel is exact, asymmetric.
inline constexpr device_row devices[] = {
    {target_device::any, "any", {8, 16}, {8, 7, 6, 5, 4, 3, 2, 16}},
    {target_device::cpu, "cpu", {8, 16}, {8, 7, 6, 5, 4, 3, 2, 16}},
    {target_device::gpu, "gpu", {8, 16}, {8, 16}},
    {target_device::npu, "npu", {8, 16}, {8, 16, 4, 2}},
    {target_device::gna, "gna", {16, 8}, {8, 16}, false, 16},
};

constexpr const device_row& row_of(target_device d) {
  for (const auto& row : devices)
    if (row.device == d) return row;
  return devices[0];
}

/// The device of a name; "vpu" is npu's older one.
///
/// throws  error naming the known ones
inline target_device device_named(std::string_view name) {
  if (name == "vpu") return target_device::npu;
  std::string known;
  for (const auto& row : devices) {
    if (row.name == name) return row.device;
    known += std::string(row.name) + ", ";
  }
  throw error("quantize: target device: expected one of " + known + "vpu, got '" +
              std::string(name) + "'");
}

/// `asked` bits, or the row's preferred ones for 0.
inline int width_of(const widths& known, int asked, const char* what, std::string_view device) {
  if (asked == 0) return known[0];
  std::string list;
  for (int bits : known) {
    if (bits == 0) break;
    if (bits == asked) return asked;
    list += (list.empty() ? "" : ", ") + std::to_string(bits);
  }
  throw error("quantize: " + std::string(what) + " on target '" + std::string(device) +
              "': bits: expected one of " + list + ", got " + std::to_string(asked));
}

/// The type of FP8 codes, or nothing in integer mode.
///
/// throws  error for options that have no meaning in FP8
inline std::optional<dtype> float8_of(const quantize_options& options) {
  if (options.mode == quantize_mode::integer) return std::nullopt;
  const auto require = [](bool fits, const char* what, const std::string& got) {
    if (!fits) throw error("quantize: fp8: " + std::string(what) + ", got " + got);
  };
  const auto& a = options.activations;
  const auto& w = options.weights;
  require(options.preset == preset::performance, "preset: expected performance", "another");
  require(options.target == target_device::any || options.target == target_device::cpu,
          "target device: expected any or cpu", std::string(row_of(options.target).name));
  require(w.fix == overflow_fix::none, "overflow fix: expected none", "another");
  require(a.bits == 0 || a.bits == 8, "activations: bits: expected 8", std::to_string(a.bits));
  require(w.bits == 0 || w.bits == 8, "weights: bits: expected 8", std::to_string(w.bits));
  require(a.mode != code_mode::asymmetric && w.mode != code_mode::asymmetric,
          "mode: expected symmetric", "asymmetric");
  require(a.sign == signedness::automatic, "signedness: expected automatic", "another");
  return options.mode == quantize_mode::fp8_e4m3 ? dtype::f8e4m3 : dtype::f8e5m2;
}

/// The codes of activations that the options ask for.
///
/// throws  error for what the device has not
inline activation_grid activation_grid_of(const quantize_options& options) {
  const auto& a = options.activations;
  const auto& row = row_of(options.target);
  activation_grid grid;
  if (const auto f = float8_of(options)) {
    grid.type = f;
    return grid;
  }
  grid.bits = width_of(row.activations, a.bits, "activations", row.name);
  grid.symmetric = a.mode == code_mode::symmetric ||
                   (a.mode == code_mode::automatic && options.preset == preset::performance);
  grid.sign = a.sign;
  if (!row.asymmetric) {
    if (a.mode == code_mode::asymmetric)
      throw error("quantize: activations on target '" + std::string(row.name) +
                  "': mode: expected symmetric, got asymmetric");
    grid.symmetric = true;
  }
  if (a.scales == granularity::per_channel)
    throw error(
        "quantize: activations: granularity: expected per_tensor, got per_channel: an input scale "
        "per channel can't leave an integer sum");
  if (a.sign != signedness::automatic && !grid.symmetric)
    throw error(
        "quantize: activations: signedness: expected symmetric codes with it, got asymmetric ones, "
        "whose zero point follows from the range");
  return grid;
}

/// The codes of weights that the options ask for.
///
/// throws  error for what the device has not, and for widths that no kernel runs exactly
inline weight_grid weight_grid_of(const quantize_options& options) {
  const auto& w = options.weights;
  const auto& row = row_of(options.target);
  weight_grid grid;
  if (const auto f = float8_of(options)) {
    grid.type = f;
    grid.per_channel = w.scales != granularity::per_tensor;
    return grid;
  }
  const bool accurate = row.accurate_weights != 0 && options.preset != preset::performance;
  const int asked = w.bits == 0 && accurate ? row.accurate_weights : w.bits;
  grid.bits = width_of(row.weights, asked, "weights", row.name);
  grid.symmetric = w.mode != code_mode::asymmetric;
  if (!grid.symmetric && !row.asymmetric)
    throw error("quantize: weights on target '" + std::string(row.name) +
                "': mode: expected symmetric, got asymmetric");
  // The kernels multiply codes less zero points, which must fit 16 bits.
  if (!grid.symmetric && grid.bits == 16)
    throw error("quantize: weights: asymmetric: expected 2 to 8 bits, got 16");
  grid.narrow = w.narrow_range;
  grid.per_channel = w.scales == granularity::automatic ? !(accurate && grid.bits == 16)
                                                        : w.scales == granularity::per_channel;
  return grid;
}

}  // namespace ptq::quantization
