#pragma once
// SPDX-License-Identifier: Apache-2.0
// Graph → model file. A quantized value is written as Q → DQ, so that the file means to any runtime
// what the graph means to us: import of an export is the same graph. Each format has a row in
// `export_formats`.

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>

#include <ptq/core/error.hpp>
#include <ptq/core/version.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/onnx/exporter.hpp>
#include <ptq/onnx/ops/write_control.hpp>
#include <ptq/onnx/ops/write_table.hpp>
#include <ptq/onnx/schema.hpp>
#include <ptq/onnx/writer.hpp>

namespace ptq {

struct export_options {
  int opset = onnx::lowest_written_opset;  // at least this one; raised to what the operators need
};

namespace detail_export {

/// The IR version that came with an opset (onnx/docs/Versioning.md).
constexpr std::int64_t ir_version_for(int opset) {
  return opset <= 18 ? 8 : opset <= 20 ? 9 : opset <= 22 ? 10 : 11;
}

inline void refuse_huge(const graph& g) {
  constexpr std::uint64_t most = (std::uint64_t{1} << 31) - 1;  // a protobuf message's limit
  std::uint64_t bytes = 0;
  for (const auto& v : g.values)
    if (v.constant) bytes += v.constant->byte_count();
  if (bytes > most)
    throw unsupported("export: constants: expected at most " + std::to_string(most) +
                      " bytes in one ONNX file, got " + std::to_string(bytes));
}

}  // namespace detail_export

/// A graph in ONNX's protobuf form.
///
/// g        passes check()
/// returns  the file's bytes: opset 13 or what the operators need, Q → DQ for each value with
/// qparams and a DQ per
///          reader, names of inputs, outputs and free dimensions kept
/// throws   unsupported for what ONNX can't express up to opset 23, and beyond 2 GiB
/// exact    import_onnx of the bytes is the same graph, but for what ONNX spells with several nodes
/// (silu, clamps)
template <class = void>
std::string export_onnx(const graph& g, const export_options& options = {}) {
  using namespace detail_export;
  refuse_huge(g);
  const int opset = std::max(options.opset, onnx::opset_for(g));
  if (opset > onnx::newest_written_opset)
    throw unsupported("export: opset: expected at most " +
                      std::to_string(onnx::newest_written_opset) + ", got " +
                      std::to_string(opset));
  onnx::exporter e(g, opset);
  for (auto id : g.inputs) {
    e.out.inputs.push_back(onnx::info_of(g[id]));
    e.finish(id, g[id].name);
  }
  for (const auto& n : g.nodes) onnx::write_node(e, n);
  for (auto id : g.outputs) {
    if (g[id].constant) e.operand(id);
    e.out.outputs.push_back(onnx::info_of(g[id]));
  }
  onnx::model_proto m;
  m.ir_version = ir_version_for(opset);
  m.producer_name = "ptq";
  m.producer_version = version;
  m.opsets.push_back({"", opset});
  for (const auto& entry : g.metadata) m.metadata.push_back({entry.key, entry.text});
  m.graph = std::move(e.out);
  m.graph.name = g.name.empty() ? "graph" : g.name;
  return onnx::serialized(m);
}

namespace detail_export {

struct format {
  std::string_view name, extension;
  std::string (*bytes)(const graph&, const export_options&);
};

inline constexpr format export_formats[] = {{"ONNX", ".onnx", export_onnx<>}};

/// Writes beside the target, then renames: an interrupted run leaves the old file whole.
inline void replace_file(const std::filesystem::path& path, const std::string& bytes) {
  auto beside = path;
  beside += ".partial";
  std::error_code bad;
  {
    std::ofstream out(beside, std::ios::binary | std::ios::trunc);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    out.close();
    if (!out) {
      std::filesystem::remove(beside, bad);
      throw io_error("export: '" + beside.string() + "': can't write " +
                     std::to_string(bytes.size()) + " bytes");
    }
  }
  std::filesystem::rename(beside, path, bad);
  if (!bad) return;
  const std::string why = bad.message();
  std::filesystem::remove(beside, bad);
  throw io_error("export: '" + path.string() + "': can't be replaced: " + why);
}

}  // namespace detail_export

/// Writes a graph to a file, the format chosen by the name's extension.
///
/// throws  unsupported for an unknown extension and as export_onnx, io_error if the file can't be
/// written
template <class = void>
void export_model(const graph& g, const std::filesystem::path& path,
                         const export_options& options = {}) {
  using namespace detail_export;
  std::string known;
  for (const auto& f : export_formats) {
    if (path.extension() == f.extension) return replace_file(path, f.bytes(g, options));
    known += (known.empty() ? "" : ", ") + std::string(f.extension);
  }
  throw unsupported("export: '" + path.string() + "': extension: expected one of " + known +
                    ", got '" + path.extension().string() + "'");
}

}  // namespace ptq
