#pragma once
// SPDX-License-Identifier: Apache-2.0
// Model file → graph: the first stage. The format is recognised from the file; each has a row in
// `import_formats` and a folder of its own (onnx/).
//
// A model's file is mapped, and tensors that nothing changes stay in it.
//
// Files are untrusted: whatever their bytes, the result is a graph that passes check(), or an error
// that names the file, the node and the values.

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include <ptq/core/error.hpp>
#include <ptq/core/mapped_file.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/onnx/model.hpp>
#include <ptq/onnx/reader.hpp>

namespace ptq {

/// A model in ONNX's protobuf form → graph in topological order.
///
/// bytes     ModelProto, opset 7 to 25 of ai.onnx
/// folder_for_external_data  where tensors that live outside the bytes are looked for; empty: such
/// tensors are refused file      the name used in errors returns   operators as op.hpp states them,
/// attributes of old opsets brought to one form; half and double tensors as
///           f32; Q → DQ pairs as qparams on values, DQ of constants as constants with qparams;
///           Identity, Dropout and what nobody reads removed
/// throws    import_error if the bytes are damaged or contradict themselves; unsupported if they
/// are well-formed but not
///           covered, all missing operators with their nodes listed in one text
template <class = void>
graph import_onnx(std::span<const std::byte> bytes,
                         const std::filesystem::path& folder_for_external_data = {},
                         std::string_view file = "model.onnx") {
  return onnx::graph_of(onnx::reader(file).read(bytes),
                        {std::string(file), folder_for_external_data});
}

namespace detail_import {

struct format {
  std::string_view name;
  bool (*matches)(std::string_view extension, std::span<const std::byte> bytes);
  graph (*read)(const mapped_file& file, const std::filesystem::path& path);
};

inline std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

/// Protobuf has no magic number; ONNX writers put ir_version, field 1, a small varint, first.
inline bool looks_like_onnx(std::string_view extension, std::span<const std::byte> bytes) {
  constexpr std::byte ir_version_tag{0x08};
  return extension == ".onnx" ||
         (bytes.size() > 2 && bytes[0] == ir_version_tag && bytes[1] < std::byte{64});
}

inline constexpr format import_formats[] = {
    {"ONNX", looks_like_onnx,
     [](const mapped_file& file, const std::filesystem::path& path) {
       const auto name = path.filename().string();
       return onnx::graph_of(onnx::reader(name).read(file.view()),
                             {name, folder_of(path), file.bytes});
     }},
};

}  // namespace detail_import

/// A model file of any known format → graph.
///
/// The file stays mapped while a tensor of the graph views it: replace it by renaming, don't write to it.
///
/// throws  io_error if the file can't be read, unsupported if its format is unknown, and what the
/// format's own reader
///         throws
template <class = void>
graph import_model(const std::filesystem::path& path) {
  using namespace detail_import;
  const auto file = map_file(path, "import");
  const std::string extension = path.extension().string();
  std::string known;
  for (const auto& f : import_formats) {
    if (f.matches(extension, file.view())) return f.read(file, path);
    known += (known.empty() ? "" : ", ") + std::string(f.name);
  }
  throw unsupported("import: '" + path.string() + "': format: expected one of " + known +
                    ", got a file of " + std::to_string(file.size) + " bytes");
}

}  // namespace ptq
