// SPDX-License-Identifier: Apache-2.0
// The stages of ptq/compiled.hpp, instantiated once for ptq::dispatch, for the baseline.

#include <ptq/compiled.hpp>

namespace ptq {

template graph import_onnx(std::span<const std::byte>, const std::filesystem::path&,
                           std::string_view);
template graph import_model(const std::filesystem::path&);
template graph fold(graph);
template graph fuse(graph);
template program lower(graph, const kernels::kernel_table&, const lower_options&);
template void save_program(const program&, const kernels::kernel_table&,
                           const std::filesystem::path&);
template program load_program(const std::filesystem::path&, const kernels::kernel_table&,
                              const load_options&);
template statistics calibrate(const graph&, const kernels::kernel_table&, samples,
                              const calibrate_options&);
template calibration::evidence collect(const graph&, const kernels::kernel_table&, const samples&,
                                       const calibrate_options&);
template accuracy classify(runner&, samples, std::span<const std::int64_t>,
                           const validate_options&);
template comparison compare(runner&, runner&, samples, const validate_options&);
template calibrate_options observations(const graph&, const quantize_options&);
template graph quantize(const graph&, const statistics&, const quantize_options&);
template quantize_result quantize(const graph&, const kernels::kernel_table&, samples,
                                  const quantize_options&);
template std::string export_onnx(const graph&, const export_options&);
template void export_model(const graph&, const std::filesystem::path&, const export_options&);
template accuracy_control_result quantize_with_accuracy_control(
    const graph&, const kernels::kernel_table&, samples, const labelled_samples&,
    const accuracy_control_options&);
template attribution attribute(const graph&, const graph&, const kernels::kernel_table&,
                               const samples&, const attribute_options&);

// What stages call and programs may: every operator's shapes and emission, the JSON library and <regex> take the time.
template std::vector<inferred> infer_node(const graph&, const node&, const partial_values&);
template inference_result infer_elements(graph);
template std::vector<tensor> evaluate(const graph&, const node&);
template graph extracted(graph, const graph_cut&);
template nlohmann::json json(const report&);
template std::vector<std::string> quantization::ignored_nodes(const graph&,
                                                              const ignored_scope&);
namespace kernels {
template const kernel_table& reference_kernels();
}  // namespace kernels
namespace lowering {
template void resolve_shapes(graph&);
}  // namespace lowering
namespace quantization {
template placement place(const graph&, const quantize_options&,
                         const std::map<std::string, std::string>&);
}  // namespace quantization
namespace calibration {
template void save(const artefact&, const std::filesystem::path&);
template artefact load(const std::filesystem::path&);
}  // namespace calibration
namespace control {
template nlohmann::json json(const outcome&);
template std::string cost_text(const cost_table&);
template cost_table read_costs(const std::filesystem::path&);
}  // namespace control

}  // namespace ptq
