// SPDX-License-Identifier: Apache-2.0
// Samples and labels from the options of the command line.

#include <filesystem>

#include <ptq/data/open.hpp>
#include <ptq/data/synthetic.hpp>

#include "support.hpp"

namespace cli {

namespace {

/// Arrays hold the model's own input unless an option says what to do with them.
bool only_arrays(const std::vector<std::string>& paths) {
  for (const auto& p : paths)
    if (!p.ends_with(".npy") && !p.ends_with(".npz")) return false;
  return true;
}

ptq::preprocessing preprocessing_of(const sample_arguments& a) {
  return {.resize = a.resize,
          .crop = a.crop,
          .channels = a.channels == "bgr"    ? ptq::channel_order::bgr
                      : a.channels == "gray" ? ptq::channel_order::gray
                                             : ptq::channel_order::rgb,
          .scale = a.scale,
          .mean = a.mean,
          .std = a.std,
          .layout = a.layout == "nhwc" ? ptq::image_layout::nhwc : ptq::image_layout::nchw};
}

/// More would tell no more: a range is that of numbers all alike.
constexpr std::int64_t most_synthetic = 64;

}  // namespace

ptq::samples open_data(const std::vector<std::string>& paths, const sample_arguments& a,
                       const ptq::graph& model) {
  auto p = preprocessing_of(a);
  const auto type = model.inputs.size() == 1 ? model[model.inputs[0]].type : ptq::dtype::f32;
  const bool bytes = type == ptq::dtype::u8 || type == ptq::dtype::s8;
  if (bytes && (p.active() || !only_arrays(paths))) p.type = type;
  return ptq::open_samples({.paths = paths,
                            .preprocessing = p,
                            .record_dtype = a.record_dtype,
                            .record_shape = ptq::shape(a.record_shape),
                            .record_label_bytes = a.record_label_bytes,
                            .subset_size = a.subset_size,
                            .shuffle = a.shuffle,
                            .seed = a.seed});
}

ptq::samples synthetic_data(const sample_arguments& a, const ptq::graph& model) {
  const std::int64_t asked = a.subset_size > 0 ? a.subset_size : most_synthetic;
  const auto count = std::min(asked, most_synthetic);
  const auto& only = model[model.inputs.at(0)];
  const bool last = a.layout == "nhwc";
  if (model.inputs.size() == 1 && only.dims.rank() == 4 && only.type == ptq::dtype::f32) {
    const auto channels = only.dims[last ? 3 : 1];
    const auto height = only.dims[last ? 1 : 2], width = only.dims[last ? 2 : 3];
    if (channels > 0 && height > 0 && width > 0) {
      auto p = preprocessing_of(a);
      p.resize = p.crop = 0;  // they are made in the input's own extents
      if (channels != 3) p.channels = ptq::channel_order::rgb;
      return ptq::preprocessed(
          ptq::synthetic_images({.channels = channels, .height = height, .width = width}, count,
                                a.seed),
          p);
    }
  }
  const auto shapes = bound_inputs(model, {});
  return [shapes,
          types =
              [&] {
                std::vector<ptq::dtype> t;
                for (const auto& s : shapes) t.push_back(model[model.find(s.first)].type);
                return t;
              }(),
          count, seed = a.seed](std::int64_t i) -> std::optional<ptq::sample> {
    if (i >= count) return std::nullopt;
    ptq::sample s;
    for (std::size_t k = 0; k < shapes.size(); ++k)
      s.inputs.push_back({shapes[k].first,
                          ptq::synthetic_tensor(types[k], shapes[k].second,
                                                seed + static_cast<std::uint64_t>(i) * 1000 + k)});
    return s;
  };
}

std::vector<std::int64_t> open_classes(const std::string& path, const sample_arguments& a,
                                       const ptq::samples& from) {
  return ptq::open_labels(path, from, a.label_offset);
}

}  // namespace cli
