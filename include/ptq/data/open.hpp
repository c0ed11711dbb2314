#pragma once
// SPDX-License-Identifier: Apache-2.0
// Paths → samples and labels: tells formats apart and puts the readers of this folder together, the
// same for every command. What a path may be:
//   folder of JPEG/PNG (with class folders, or labels.csv), or of .npz (one sample each)
//   .npy (first axis = sample), NAME=x.npy for each input, .npz (named arrays, first axis = sample)
//   IDX, also gzip'd; CIFAR-10 binary records; raw records where record_dtype and record_shape are
//   given
// Raw values (images, IDX, records) are preprocessed; .npy only where preprocessing asks for
// something; several inputs and .npz never.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <ptq/data/archive.hpp>
#include <ptq/data/idx.hpp>
#include <ptq/data/image.hpp>
#include <ptq/data/labels.hpp>
#include <ptq/data/npy.hpp>
#include <ptq/data/preprocess.hpp>
#include <ptq/data/records.hpp>
#include <ptq/data/samples.hpp>

namespace ptq {

/// Where samples come from and what happens to them.
struct sample_options {
  std::vector<std::string> paths = {};  // PATH, or NAME=PATH for one input each
  ptq::preprocessing preprocessing = {};
  std::string record_dtype =
      {};                   // of raw records: int8, uint8, int16, …, float32; "" = no raw records
  shape record_shape = {};  // of one record, without a batch axis
  std::int64_t record_label_bytes = 0;  // in front of each record
  std::int64_t subset_size = 0;         // the first so many, after shuffling; 0 = all
  bool shuffle = false;
  std::uint64_t seed = 0;
};

namespace detail_open {

namespace fs = std::filesystem;

struct named_path {
  std::string name;
  fs::path path;
};

/// "NAME=x.npy" → name and path; a path that exists as it is has no name.
inline named_path split(const std::string& text) {
  const std::size_t at = text.find('=');
  std::error_code none;
  if (at == std::string::npos || fs::exists(text, none)) return {"", text};
  return {text.substr(0, at), text.substr(at + 1)};
}

/// Samples whose inputs come from one source each.
class joined_samples {
 public:
  joined_samples(std::vector<named_path> paths, std::vector<samples> parts)
      : paths_(std::move(paths)), parts_(std::move(parts)) {
    for (std::size_t i = 1; i < parts_.size(); ++i)
      if (parts_[i].count() != parts_[0].count())
        data::fail(paths_[i].path.string(), "samples",
                   std::to_string(*parts_[0].count()) + " as in '" + paths_[0].path.string() + "'",
                   std::to_string(*parts_[i].count()));
  }
  std::int64_t count() const { return *parts_[0].count(); }
  sample at(std::int64_t i) const {
    sample s;
    for (std::size_t p = 0; p < parts_.size(); ++p) {
      auto one = parts_[p].at(i);
      for (auto& input : one->inputs)
        s.inputs.push_back(
            {paths_[p].name.empty() ? input.name : paths_[p].name, std::move(input.value)});
    }
    return s;
  }

 private:
  std::vector<named_path> paths_;
  std::vector<samples> parts_;
};

/// Integer records that are no pixels (tokens, say) reach the model as they are, unless
/// preprocessing asks for more.
inline sample as_input(sample s, const preprocessing& p) {
  for (auto& input : s.inputs) {
    const dtype t = input.value.type();
    if ((t == dtype::s32 || t == dtype::s64 || t == dtype::boolean) && !p.active()) {
      shape dims = input.value.dims();
      dims.dims.insert(dims.dims.begin(), 1);
      input.value = input.value.reshaped(std::move(dims));
    } else {
      input.value = preprocess(input.value, p);
    }
  }
  return s;
}

inline samples raw(const samples& from, const preprocessing& p) {
  return transformed(from, [p](sample s) { return as_input(std::move(s), p); });
}

/// Rows [1,…] of an array without that axis: values as preprocess takes them.
inline samples unbatched(const samples& from) {
  return transformed(from, [](sample s) {
    for (auto& input : s.inputs) {
      const auto& dims = input.value.dims().dims;
      input.value =
          input.value.reshaped(shape(std::vector<std::int64_t>(dims.begin() + 1, dims.end())));
    }
    return s;
  });
}

inline samples open_folder(const fs::path& path, const preprocessing& p) {
  npz_folder arrays(path);
  if (arrays.count() > 0) return arrays;
  image_folder images(path);
  if (images.count() == 0)
    data::fail(path.string(), "samples", "a folder of .jpg, .jpeg, .png or .npz files",
               "none of them");
  return raw(images, p);
}

inline samples open_path(const fs::path& path, const sample_options& o) {
  if (fs::is_directory(path)) return open_folder(path, o.preprocessing);
  const std::string extension = path.extension().string();
  if (!o.record_dtype.empty())
    return raw(record_samples(path, {data::format_named(o.record_dtype), o.record_shape,
                                     o.record_label_bytes}),
               o.preprocessing);
  if (extension == ".npy") {
    samples rows = npy_samples(path);
    return o.preprocessing.active() ? preprocessed(unbatched(rows), o.preprocessing) : rows;
  }
  if (extension == ".npz") return npz_samples(path);
  if (detail_image::is_image_name(path))
    return raw(
        [path](std::int64_t i) {
          return i == 0 ? std::optional(sample(read_image(path))) : std::nullopt;
        },
        o.preprocessing);
  const data::byte_run run = data::open_maybe_gzip(path);
  const bool cifar = extension == ".bin" && run.size() % 3073 == 0;  // 1 + 3 · 32 · 32
  if (!cifar && data::is_idx(run)) return raw(idx_samples(run), o.preprocessing);
  if (cifar && run.size() > 0) return raw(record_samples(run, cifar10_format()), o.preprocessing);
  data::fail(
      path.string(), "samples",
      ".npy, .npz, JPEG, PNG, IDX, a .bin of k * 3073 bytes (CIFAR-10), or raw records with their "
      "dtype and shape",
      "a file of " + std::to_string(run.size()) + " bytes of none of these");
}

}  // namespace detail_open

/// The samples that the options name, preprocessed, in order or shuffled.
///
/// throws  io_error if a path does not exist; data_error if it can't be read as any format, holds
///         no sample, or the counts of several inputs differ
inline samples open_samples(const sample_options& o) {
  namespace d = detail_open;
  if (o.paths.empty()) throw data_error("data: samples: expected at least one path, got none");
  std::vector<d::named_path> paths;
  std::vector<samples> parts;
  for (const auto& text : o.paths) {
    paths.push_back(d::split(text));
    std::error_code none;
    if (!std::filesystem::exists(paths.back().path, none))
      throw io_error("data: '" + paths.back().path.string() + "': no such file or folder");
  }
  const bool single = paths.size() == 1;
  sample_options each = o;
  if (!single) each.preprocessing = {};
  for (const auto& p : paths) parts.push_back(d::open_path(p.path, each));
  samples all =
      single && paths[0].name.empty() ? parts[0] : samples(d::joined_samples(paths, parts));
  if (all.count() == 0) data::fail(paths[0].path.string(), "samples", "at least one", "0");
  if (o.shuffle) all = shuffled(all, o.seed);
  return o.subset_size > 0 ? take(all, o.subset_size) : all;
}

/// The class of each sample plus `offset`.
///
/// path    CSV, .npy, IDX (also gzip'd), CIFAR-10 records, one byte per sample, or a folder with
///         labels.csv; "" or the samples' own path: what is stored with them (label bytes, class
///         folders)
/// throws  io_error, or data_error where labels are missing, malformed or as many as another set's
inline std::vector<std::int64_t> open_labels(const std::filesystem::path& path, const samples& from,
                                             std::int64_t offset = 0) {
  namespace fs = std::filesystem;
  auto found = [&]() -> std::vector<std::int64_t> {
    if (path.empty()) return stored_labels(from);
    if (fs::is_directory(path))
      return fs::exists(path / "labels.csv") ? match_labels(read_label_csv(path / "labels.csv"),
                                                            from, (path / "labels.csv").string())
                                             : stored_labels(from);
    const std::string file = path.string();
    const std::string extension = path.extension().string();
    if (extension == ".csv" || extension == ".txt")
      return match_labels(read_label_csv(path), from, file);
    if (extension == ".npy")
      return match_labels(labels_of_tensor(read_npy(path), file), from, file);
    const data::byte_run run = data::open_maybe_gzip(path);
    const bool bytes = static_cast<std::int64_t>(run.size()) == from.origin_count();
    if (!bytes && data::is_idx(run))
      return match_labels(labels_of_tensor(data::idx_array(run).whole(), file), from, file);
    if (!bytes && from.count().value_or(0) > 0 && from.label(0)) return stored_labels(from);
    label_table rows;
    if (bytes) {
      for (std::byte b : run.read()) rows.push_back({"", std::to_integer<std::int64_t>(b)});
    } else if (run.size() > 0 && run.size() % 3073 == 0) {
      const record_samples records(run, cifar10_format());
      for (std::int64_t i = 0; i < records.count(); ++i) rows.push_back({"", *records.label(i)});
    } else {
      data::fail(file, "labels", "CSV, .npy, IDX, CIFAR-10 records, or one byte per sample",
                 "a file of " + std::to_string(run.size()) + " bytes of none of these");
    }
    return match_labels(rows, from, file);
  };
  auto labels = found();
  for (auto& label : labels) label += offset;
  return labels;
}

}  // namespace ptq
