// SPDX-License-Identifier: Apache-2.0
// Samples from a lambda, and a look at every value while the network runs:
//   tap_values examples/models/fashion_resnet.onnx

#include <ptq/compiled.hpp>
#include <ptq/dispatch.hpp>
#include <ptq/ptq.hpp>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>

int main(int argc, char** argv) try {
  if (argc != 2) return 2;
  const ptq::graph network = ptq::fuse(ptq::fold(ptq::import_model(argv[1])));
  // Any function of the index is a source; it ends by returning nothing. The images here are
  // gradients of 28 x 28 pixels: take yours from a camera, a database, a generator.
  const ptq::samples images = [](std::int64_t i) -> std::optional<ptq::sample> {
    if (i == 4) return std::nullopt;
    ptq::tensor image(ptq::dtype::f32, {1, 1, 28, 28});
    auto pixel = image.mutable_view<float>();
    for (std::size_t p = 0; p < pixel.size(); ++p)
      pixel[p] = static_cast<float>((p * static_cast<std::size_t>(i + 1)) % 28) / 28.0f - 0.5f;
    return ptq::sample(image);
  };
  // keep_values: nothing is fused away, so the tap sees the value of every node.
  ptq::runner run(network, ptq::dispatched_kernels(), {.keep_values = true});
  for (auto source = images; auto s = source.next();)
    run.run(*s, [](const ptq::tapped& t) {
      if (t.type != ptq::dtype::f32) return;
      const auto [low, high] = std::minmax_element(static_cast<const float*>(t.data),
                                                   static_cast<const float*>(t.data) + t.size());
      std::printf("%-40.*s %-16s %10.4f .. %.4f\n", static_cast<int>(t.value.size()),
                  t.value.data(), t.dims.text().c_str(), static_cast<double>(*low),
                  static_cast<double>(*high));
    });
} catch (const ptq::error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
