// SPDX-License-Identifier: Apache-2.0
// Samples and labels from the options of the command line.

#include <filesystem>

#include <ptq/data/open.hpp>

#include "support.hpp"

namespace cli {

namespace {

/// Arrays hold the model's own input unless an option says what to do with them.
bool only_arrays(const std::vector<std::string>& paths) {
  for (const auto& p : paths)
    if (!p.ends_with(".npy") && !p.ends_with(".npz")) return false;
  return true;
}

}  // namespace

ptq::samples open_data(const std::vector<std::string>& paths, const sample_arguments& a,
                       const ptq::graph& model) {
  ptq::preprocessing p{
      .resize = a.resize,
      .crop = a.crop,
      .channels = a.channels == "bgr"    ? ptq::channel_order::bgr
                  : a.channels == "gray" ? ptq::channel_order::gray
                                         : ptq::channel_order::rgb,
      .scale = a.scale,
      .mean = a.mean,
      .std = a.std,
      .layout = a.layout == "nhwc" ? ptq::image_layout::nhwc : ptq::image_layout::nchw};
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

std::vector<std::int64_t> open_classes(const std::string& path, const sample_arguments& a,
                                       const ptq::samples& from) {
  return ptq::open_labels(path, from, a.label_offset);
}

}  // namespace cli
