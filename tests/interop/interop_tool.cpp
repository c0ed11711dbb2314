// SPDX-License-Identifier: Apache-2.0
// Our side of the comparison with another runtime, which interop.js makes:
//   ptq_interop single_ops DIR            one quantized operator per model, with inputs and outputs
//   ptq_interop run MODEL SPEC.json DIR   our outputs of an exported model, and the samples as it
//                                         saw them: DIR/inputs.npy, DIR/outputs.npy [n,…]
// Both print one JSON object. SPEC names the samples and their preprocessing as zoo.json does.

#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <ptq/data/open.hpp>
#include <ptq/dispatch.hpp>

#include "interop/single_ops.hpp"

namespace {

using namespace ptq;
using document = nlohmann::json;
namespace fs = std::filesystem;

/// Tensors of equal extents, one after the other along a first axis of their own.
tensor stacked(const std::vector<tensor>& parts) {
  shape dims = parts.at(0).dims();
  dims.dims.insert(dims.dims.begin(), static_cast<std::int64_t>(parts.size()));
  tensor all(parts[0].type(), dims);
  std::byte* to = all.mutable_data();
  for (const auto& p : parts) {
    if (p.dims() != parts[0].dims()) throw data_error("interop: outputs differ in shape");
    std::memcpy(to, p.data(), p.byte_count());
    to += p.byte_count();
  }
  return all;
}

/// As any user of an exported file runs it.
graph imported(const fs::path& model) { return fuse(fold(import_model(model))); }

document single_op_files(const fs::path& folder) {
  document cases = document::array();
  for (const auto& one : ptq_interop::single_ops()) {
    const graph g = ptq_interop::quantized(one);
    const auto model = folder / (one.name + ".onnx");
    export_model(g, model);
    runner ours(imported(model), dispatched_kernels());
    document inputs = document::array();
    constexpr std::uint32_t unseen = 100;  // a seed that calibration did not use
    const auto s = ptq_interop::random_sample(g, unseen);
    for (const auto& input : s.inputs) {
      const auto file = folder / (one.name + "." + input.name + ".npy");
      write_npy(file, input.value);
      inputs.push_back({{"name", input.name}, {"file", file.string()}});
    }
    const auto expected = folder / (one.name + ".expected.npy");
    write_npy(expected, ours.run(s).at(0));
    cases.push_back({{"name", one.name},
                     {"model", model.string()},
                     {"inputs", inputs},
                     {"expected", expected.string()},
                     {"step", g[g.outputs[0]].quant->scale[0]},
                     {"fused", one.fused},
                     {"integer", ours.current_program().integer()}});
  }
  return {{"cases", cases}};
}

std::vector<float> numbers(const document& spec, const char* key) {
  return spec.value(key, std::vector<float>());
}

sample_options sample_spec(const document& spec) {
  sample_options o;
  o.paths = {spec.at("samples").get<std::string>()};
  o.subset_size = spec.value("count", std::int64_t{0});
  o.record_dtype = spec.value("record_dtype", std::string());
  o.record_shape = shape(spec.value("record_shape", std::vector<std::int64_t>()));
  auto& p = o.preprocessing;
  p.resize = spec.value("resize", std::int64_t{0});
  p.crop = spec.value("crop", std::int64_t{0});
  const auto channels = spec.value("channels", std::string("rgb"));
  p.channels = channels == "bgr" ? channel_order::bgr : channel_order::rgb;
  p.scale = spec.value("scale", 1.0f);
  p.mean = numbers(spec, "mean");
  p.std = numbers(spec, "std");
  if (spec.value("layout", std::string("nchw")) == "nhwc") p.layout = image_layout::nhwc;
  return o;
}

/// Convolutions on codes, by name; those with a real result can't be one integer operator
/// elsewhere.
document convolutions(const graph& g) {
  document integer = document::array(), real_result = document::array(), real = document::array();
  for (const auto& n : g.nodes) {
    if (!std::holds_alternative<op::conv>(n.what)) continue;
    const bool codes = g[n.inputs[0]].quant && g[n.inputs[1]].quant;
    auto& list = !codes ? real : g[n.outputs[0]].quant ? integer : real_result;
    list.push_back(n.name);
  }
  return {{"integer", integer}, {"real_result", real_result}, {"real", real}};
}

document run_samples(const fs::path& model, const fs::path& spec_file, const fs::path& folder) {
  std::ifstream text(spec_file);
  auto data = open_samples(sample_spec(document::parse(text)));
  const graph g = imported(model);
  runner ours(g, dispatched_kernels());
  std::vector<tensor> inputs, outputs;
  while (const auto s = data.next()) {
    inputs.push_back(ours.bind(*s).at(0));
    outputs.push_back(ours.run(*s).at(0));
  }
  write_npy(folder / "inputs.npy", stacked(inputs));
  write_npy(folder / "outputs.npy", stacked(outputs));
  return {{"n", inputs.size()},
          {"input", g[g.inputs[0]].name},
          {"output", g[g.outputs[0]].name},
          {"convolutions", convolutions(g)},
          {"isa", dispatched_kernels().isa}};
}

}  // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string> words(argv + 1, argv + argc);
  document result;
  if (words.size() == 2 && words[0] == "single_ops") {
    result = single_op_files(words[1]);
  } else if (words.size() == 4 && words[0] == "run") {
    result = run_samples(words[1], words[2], words[3]);
  } else {
    std::fputs("usage: ptq_interop single_ops DIR | run MODEL SPEC.json DIR\n", stderr);
    return 2;
  }
  std::puts(result.dump().c_str());
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "ptq_interop: %s\n", e.what());
  return 1;
}
