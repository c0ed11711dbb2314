#pragma once
// SPDX-License-Identifier: Apache-2.0
// Small ONNX files for tests: nodes, tensors and attributes put together by hand, then serialized.

#include <cstdint>
#include <deque>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <ptq/import.hpp>
#include <ptq/onnx/exporter.hpp>
#include <ptq/onnx/writer.hpp>

namespace ptq_test {

using ints = std::vector<std::int64_t>;

class onnx_model {
 public:
  explicit onnx_model(int opset = 13) {
    m.ir_version = 8;
    m.opsets.push_back({"", opset});
    m.graph.name = "test";
  }

  onnx_model& input(const std::string& name, const ints& dims,
                    std::int32_t type = ptq::onnx::type_float) {
    m.graph.inputs.push_back(info(name, dims, type));
    return *this;
  }
  onnx_model& output(const std::string& name, std::int32_t type = ptq::onnx::type_float) {
    m.graph.outputs.push_back(info(name, {}, type));
    m.graph.outputs.back().shaped = false;
    return *this;
  }
  onnx_model& constant(const std::string& name, ptq::tensor t) {
    kept_.push_back(std::move(t));
    m.graph.initializers.push_back(ptq::onnx::exporter::proto_of(kept_.back(), name));
    return *this;
  }
  onnx_model& node(const std::string& op_type, std::vector<std::string> in,
                   std::vector<std::string> out, const std::string& name = {}) {
    ptq::onnx::node_proto n;
    n.op_type = op_type;
    n.inputs = std::move(in);
    n.outputs = std::move(out);
    n.name = name;
    m.graph.nodes.push_back(std::move(n));
    return *this;
  }
  /// An attribute of the node added last.
  template <class V>
  onnx_model& with(const char* name, const V& v) {
    ptq::onnx::exporter::set(m.graph.nodes.back(), name, v);
    return *this;
  }

  std::string bytes() const { return ptq::onnx::serialized(m); }
  ptq::graph import() const {
    const auto b = bytes();
    return ptq::import_onnx(std::as_bytes(std::span<const char>(b)));
  }

  ptq::onnx::model_proto m;

 private:
  static ptq::onnx::value_info_proto info(const std::string& name, const ints& dims,
                                          std::int32_t type) {
    ptq::onnx::value_info_proto v;
    v.name = name;
    v.is_tensor = true;
    v.type = type;
    v.shaped = true;
    for (auto d : dims) v.dims.push_back({d, {}});
    return v;
  }
  std::deque<ptq::tensor> kept_;
};

inline ptq::tensor floats(ptq::shape dims, std::initializer_list<float> v) {
  return ptq::tensor::from<float>(std::move(dims), v);
}
inline ptq::tensor indices(std::initializer_list<std::int64_t> v) {
  return ptq::tensor::from<std::int64_t>({static_cast<std::int64_t>(v.size())}, v);
}
inline ptq::graph import_bytes(const std::string& b) {
  return ptq::import_onnx(std::as_bytes(std::span<const char>(b)));
}

/// Text of the ptq::error of type E that `run` throws; "" if it throws none.
template <class E, class F>
std::string error_of(F run) {
  try {
    run();
  } catch (const E& e) {
    return e.what();
  }
  return {};
}

}  // namespace ptq_test
