#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From nothing to three quantized networks and one table, on Debian 12 or 13:
#   bash examples/quickstart.sh [OUT]          OUT: out/quickstart
# Accuracy is measured on 2,000 labelled test images, latency at batch 1 on one thread.
set -euo pipefail
export LC_ALL=C  # decimal points
cd "$(dirname "$0")/.."
out=${1:-out/quickstart}
models=examples/models

bash cmake/install_dependencies.sh
cmake --preset release -D PTQ_ISAS=native >/dev/null  # kernels for this machine alone
cmake --build --preset release --target ptq_cli
mkdir -p "$out"

for model in fashion_resnet fashion_mobilenet fashion_vit; do
  echo "quantizing $model" >&2
  build/release/ptq quantize $models/$model.onnx -o "$out/$model.int8.onnx" --brief \
    --data $models/calibration-images.idx3.gz \
    --validation $models/test-images.idx3.gz --labels $models/test-labels.idx1.gz \
    --scale 0.00392156862745098 --mean 0.2860 --std 0.3530 \
    --json "$out/$model.report.json"
done >"$out/table.tsv"

awk -F '\t' '
  BEGIN {
    line = "%-18s  %8s %8s  %10s %10s %6s  %8s %8s %7s\n"
    printf line, "", "top-1 %", "", "bytes", "", "", "ms", "", ""
    printf line, "model", "float", "int8", "float", "int8", "ratio", "float", "int8", "faster"
  }
  { printf line, $1, $2, $3, $4, $5, sprintf("%.3f", $5 / $4), sprintf("%.3f", $6),
           sprintf("%.3f", $7), sprintf("%.2fx", $6 / $7) }' "$out/table.tsv"
echo "models and reports: $out"
