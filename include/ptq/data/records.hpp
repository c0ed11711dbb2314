#pragma once
// SPDX-License-Identifier: Apache-2.0
// Raw records: equal runs of bytes without a header, each optionally behind a label. CIFAR-10's
// binary version is one of them: a label byte and 3 x 32 x 32 planar RGB (Krizhevsky, CIFAR-10
// page).

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include <ptq/core/tensor.hpp>
#include <ptq/data/array.hpp>
#include <ptq/data/bytes.hpp>
#include <ptq/data/samples.hpp>

namespace ptq {

/// How a file of records is cut up.
struct record_format {
  data::element_format element = {'u', 1, false};
  shape dims = {};               // of one record
  std::int64_t label_bytes = 0;  // in front of each record; the first of them is the class
};

inline record_format cifar10_format() { return {{'u', 1, false}, {3, 32, 32}, 1}; }

/// Raw samples of a file of records, each of the record's own extents.
///
/// throws  io_error if there is no such file; data_error if its size is no multiple of a record
class record_samples {
 public:
  record_samples(const std::filesystem::path& file, const record_format& format)
      : record_samples(data::byte_run(file), format) {}
  record_samples(const data::byte_run& run, const record_format& format) {
    const std::string what = format.dims.text() + " of " + std::to_string(format.element.bytes) +
                             " bytes each behind " + std::to_string(format.label_bytes) +
                             " label bytes";
    std::uint64_t bytes = static_cast<std::uint64_t>(format.element.bytes);
    for (auto d : format.dims.dims) {
      if (d <= 0 || bytes > run.size() / static_cast<std::uint64_t>(d))
        data::fail(run.name(), "records", "records " + what, std::to_string(run.size()) + " bytes");
      bytes *= static_cast<std::uint64_t>(d);
    }
    bytes += static_cast<std::uint64_t>(format.label_bytes);
    if (run.size() == 0 || format.label_bytes < 0 || run.size() % bytes != 0)
      data::fail(run.name(), "size",
                 "a multiple of " + std::to_string(bytes) + " (records " + what + ")",
                 std::to_string(run.size()));
    array_.bytes = run;
    array_.format = format.element;
    array_.skip = static_cast<std::uint64_t>(format.label_bytes);
    array_.dims = format.dims;
    array_.dims.dims.insert(array_.dims.dims.begin(),
                            static_cast<std::int64_t>(run.size() / bytes));
  }

  std::int64_t count() const { return array_.rows(); }
  sample at(std::int64_t i) const { return sample(array_.row(i)); }
  std::optional<std::int64_t> label(std::int64_t i) const {
    return array_.skip == 0 ? std::nullopt : std::optional<std::int64_t>(array_.label_byte(i));
  }

 private:
  data::stored_array array_;
};

}  // namespace ptq
