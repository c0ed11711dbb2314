#pragma once
// SPDX-License-Identifier: Apache-2.0
// What is measured: shapes of published networks, squares, and shapes that leave a tail in every
// tile.

#include <cstdint>

#include <ptq/kernels/args.hpp>

namespace ptq_bench {

struct gemm_shape {
  const char* origin;
  std::int64_t m, n, k;
};

/// c[m,n] = a[m,k] · b[k,n]
inline constexpr gemm_shape gemm_shapes[] = {
    {"bert_base.query", 128, 768, 768},  // Devlin et al. 2018, 128 tokens
    {"bert_base.ffn_up", 128, 3072, 768},
    {"bert_base.ffn_down", 128, 768, 3072},
    {"vit_small.ffn_up", 197, 1536, 384},    // Touvron et al. 2020, DeiT-S
    {"resnet50.classifier", 1, 1000, 2048},  // He et al. 2015
    // one token of a 1.2 billion parameter language model: Llama 3.2 1B, Meta 2024
    {"llama_1b.query", 1, 2048, 2048},
    {"llama_1b.ffn_up", 1, 8192, 2048},
    {"llama_1b.ffn_down", 1, 2048, 8192},
    {"matvec.16MiB", 1, 4096, 4096},
    {"rows.2", 2, 768, 768},
    {"rows.4", 4, 768, 768},
    {"rows.8", 8, 768, 768},
    {"rows.16", 16, 768, 768},
    {"square.256", 256, 256, 256},
    {"square.1024", 1024, 1024, 1024},
    {"tail.primes", 127, 131, 251},
    {"tail.one_row", 1, 257, 255},
};

struct conv_shape {
  const char* origin;
  ptq::kernels::conv_geometry geometry;
};

/// Square image, square kernel, "same" padding.
struct square_conv {
  std::int64_t side, in, out, kernel = 1, stride = 1, groups = 1;
};
constexpr ptq::kernels::conv_geometry square(const square_conv& s) {
  ptq::kernels::conv_geometry g;
  g.in_h = g.in_w = s.side;
  g.in_c = s.in;
  g.out_c = s.out;
  g.kernel_h = g.kernel_w = s.kernel;
  g.stride_h = g.stride_w = s.stride;
  g.pad_top = g.pad_left = s.kernel / 2;
  g.out_h = g.out_w = (s.side + 2 * (s.kernel / 2) - s.kernel) / s.stride + 1;
  g.groups = s.groups;
  return g;
}

inline constexpr conv_shape conv_shapes[] = {
    // He et al. 2015, 224 x 224: the first layer, then one of each stage
    {"resnet50.conv1", square({.side = 224, .in = 3, .out = 64, .kernel = 7, .stride = 2})},
    {"resnet50.conv2.reduce", square({.side = 56, .in = 256, .out = 64})},
    {"resnet50.conv2.3x3", square({.side = 56, .in = 64, .out = 64, .kernel = 3})},
    {"resnet50.conv2.expand", square({.side = 56, .in = 64, .out = 256})},
    {"resnet50.conv3.3x3", square({.side = 28, .in = 128, .out = 128, .kernel = 3})},
    {"resnet50.conv4.3x3", square({.side = 14, .in = 256, .out = 256, .kernel = 3})},
    {"resnet50.conv5.3x3", square({.side = 7, .in = 512, .out = 512, .kernel = 3})},
    {"resnet50.conv4.shortcut", square({.side = 28, .in = 512, .out = 1024, .stride = 2})},
    // Sandler et al. 2018, 224 x 224
    {"mobilenet_v2.expand", square({.side = 56, .in = 24, .out = 144})},
    {"mobilenet_v2.project", square({.side = 14, .in = 384, .out = 96})},
    {"mobilenet_v2.last", square({.side = 7, .in = 320, .out = 1280})},
    // Liu 2020, EfficientNet-lite0, 224 x 224
    {"efficientnet_lite0.stem",
     square({.side = 224, .in = 3, .out = 32, .kernel = 3, .stride = 2})},
    {"efficientnet_lite0.expand", square({.side = 28, .in = 40, .out = 240})},
    {"efficientnet_lite0.project", square({.side = 14, .in = 672, .out = 112})},
    // Jocher 2020, YOLOv5s, 640 x 640
    {"yolov5s.down2", square({.side = 320, .in = 32, .out = 64, .kernel = 3, .stride = 2})},
    {"yolov5s.bottleneck", square({.side = 80, .in = 64, .out = 64, .kernel = 3})},
    {"yolov5s.down5", square({.side = 40, .in = 256, .out = 512, .kernel = 3, .stride = 2})},
    // small ones: those of the default models, and a squeeze-and-excitation of MobileNetV3
    {"fashion_resnet.conv1", square({.side = 28, .in = 1, .out = 16, .kernel = 3})},
    {"fashion_mobilenet.expand", square({.side = 14, .in = 16, .out = 96})},
    {"lenet.conv1", square({.side = 28, .in = 1, .out = 32, .kernel = 5})},  // LeCun et al. 1998
    {"mobilenet_v3.squeeze", square({.side = 1, .in = 960, .out = 240})},
    {"tail.3x3", square({.side = 13, .in = 19, .out = 37, .kernel = 3})},
    {"tail.grouped", square({.side = 15, .in = 36, .out = 44, .kernel = 3, .groups = 4})},
};

inline constexpr conv_shape depthwise_shapes[] = {
    {"mobilenet_v2.dw.112", square({.side = 112, .in = 32, .out = 32, .kernel = 3, .groups = 32})},
    {"mobilenet_v2.dw.112.stride2",
     square({.side = 112, .in = 96, .out = 96, .kernel = 3, .stride = 2, .groups = 96})},
    {"mobilenet_v2.dw.56", square({.side = 56, .in = 144, .out = 144, .kernel = 3, .groups = 144})},
    {"mobilenet_v2.dw.14", square({.side = 14, .in = 384, .out = 384, .kernel = 3, .groups = 384})},
    {"mobilenet_v2.dw.7", square({.side = 7, .in = 960, .out = 960, .kernel = 3, .groups = 960})},
    // Howard et al. 2019
    {"mobilenet_v3.dw5.14",
     square({.side = 14, .in = 672, .out = 672, .kernel = 5, .groups = 672})},
    {"efficientnet_lite0.dw5.28.stride2",
     square({.side = 56, .in = 144, .out = 144, .kernel = 5, .stride = 2, .groups = 144})},
    {"efficientnet_lite0.dw5.28",
     square({.side = 28, .in = 240, .out = 240, .kernel = 5, .groups = 240})},
    // Liu et al. 2022, ConvNeXt-T
    {"convnext_t.dw7.56", square({.side = 56, .in = 96, .out = 96, .kernel = 7, .groups = 96})},
    {"tail.dw", square({.side = 13, .in = 37, .out = 37, .kernel = 3, .groups = 37})},
};

/// Elements of a feature map that fits the first, the second, and no cache.
inline constexpr std::int64_t element_counts[] = {8 * 1024 + 7, 56 * 56 * 256, 64 << 20};

}  // namespace ptq_bench
