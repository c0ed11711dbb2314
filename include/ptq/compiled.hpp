#pragma once
// SPDX-License-Identifier: Apache-2.0
// The stages as ptq::dispatch carries them, compiled: a file that includes this beside ptq.hpp takes
// them from the library and does not compile them again, which is most of its build time. Nothing
// else changes; without this header the same templates are compiled where they are used.
//
// Each stage's entry is a template on nothing for this purpose alone.

#include <ptq/ptq.hpp>

namespace ptq {

extern template graph import_onnx(std::span<const std::byte>, const std::filesystem::path&,
                                  std::string_view);
extern template graph import_model(const std::filesystem::path&);
extern template graph fold(graph);
extern template graph fuse(graph);
extern template program lower(graph, const kernels::kernel_table&, const lower_options&);
extern template void save_program(const program&, const kernels::kernel_table&,
                                  const std::filesystem::path&);
extern template program load_program(const std::filesystem::path&, const kernels::kernel_table&,
                                     const load_options&);
extern template statistics calibrate(const graph&, const kernels::kernel_table&, samples,
                                     const calibrate_options&);
extern template calibration::evidence collect(const graph&, const kernels::kernel_table&,
                                              const samples&, const calibrate_options&);
extern template accuracy classify(runner&, samples, std::span<const std::int64_t>,
                                  const validate_options&);
extern template comparison compare(runner&, runner&, samples, const validate_options&);
extern template calibrate_options observations(const graph&, const quantize_options&);
extern template graph quantize(const graph&, const statistics&, const quantize_options&);
extern template quantize_result quantize(const graph&, const kernels::kernel_table&, samples,
                                         const quantize_options&);
extern template std::string export_onnx(const graph&, const export_options&);
extern template void export_model(const graph&, const std::filesystem::path&,
                                  const export_options&);
extern template accuracy_control_result quantize_with_accuracy_control(
    const graph&, const kernels::kernel_table&, samples, const labelled_samples&,
    const accuracy_control_options&);
extern template attribution attribute(const graph&, const graph&, const kernels::kernel_table&,
                                      const samples&, const attribute_options&);

// What stages call and programs may: every operator's shapes and emission, the JSON library and <regex> take the time.
extern template std::vector<inferred> infer_node(const graph&, const node&, const partial_values&);
extern template inference_result infer_elements(graph);
extern template std::vector<tensor> evaluate(const graph&, const node&);
extern template graph extracted(graph, const graph_cut&);
extern template nlohmann::json json(const report&);
extern template std::vector<std::string> quantization::ignored_nodes(const graph&,
                                                                     const ignored_scope&);
namespace kernels {
extern template const kernel_table& reference_kernels();
}  // namespace kernels
namespace lowering {
extern template void resolve_shapes(graph&);
}  // namespace lowering
namespace quantization {
extern template placement place(const graph&, const quantize_options&,
                                const std::map<std::string, std::string>&);
}  // namespace quantization
namespace calibration {
extern template void save(const artefact&, const std::filesystem::path&);
extern template artefact load(const std::filesystem::path&);
}  // namespace calibration
namespace control {
extern template nlohmann::json json(const outcome&);
extern template std::string cost_text(const cost_table&);
extern template cost_table read_costs(const std::filesystem::path&);
}  // namespace control

}  // namespace ptq
