#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Exported models in ONNX Runtime (from npm) beside our own executor. Uses the build of a preset.
#   bash tests/interop/run.sh [PRESET]        results: build/PRESET/interop/interop.json
# PTQ_DATA_DIR: a folder with zoo.json; its classifiers are compared too. Where neither Node.js nor npm's
# registry can be had, says so and passes.
set -euo pipefail
cd "$(dirname "$0")/../.."
preset=${1:-dev}
build=build/$preset
work=$PWD/$build/interop
runtime=onnxruntime-node@1.30.0

skip() {
  echo "interop: skipped: $1"
  exit 0
}

if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
  sudo=
  [ "$(id -u)" -eq 0 ] || sudo=sudo
  echo "installing: nodejs npm"
  export DEBIAN_FRONTEND=noninteractive
  { $sudo apt-get update -qq && $sudo apt-get install -y -qq --no-install-recommends nodejs npm >/dev/null; } ||
    skip "no Node.js: apt-get install nodejs npm failed"
fi
mkdir -p "$work/runtime"
if [ ! -d "$work/runtime/node_modules/onnxruntime-node" ]; then
  # The package holds the CPU library; its install script would fetch the GPU's.
  ONNXRUNTIME_NODE_INSTALL=skip npm install --no-audit --no-fund --silent --prefix "$work/runtime" "$runtime" ||
    skip "npm can't install $runtime"
fi

[ -f "$build/build.ninja" ] || cmake --preset "$preset"
cmake --build "$build" --target ptq_cli ptq_interop
rm -rf "$work/models"
mkdir -p "$work/models"
NODE_PATH=$work/runtime/node_modules node tests/interop/interop.js \
  --ptq "$PWD/$build/ptq" --tool "$PWD/$build/tests/interop/ptq_interop" \
  --work "$work/models" --json "$work/interop.json" ${PTQ_DATA_DIR:+--zoo "$PTQ_DATA_DIR"}
if [ -n "${PTQ_DATA_DIR:-}" ]; then
  NODE_PATH=$work/runtime/node_modules node tests/interop/float_zoo.js \
    --ptq "$PWD/$build/ptq" --zoo "$PTQ_DATA_DIR" --work "$work/models"
fi
