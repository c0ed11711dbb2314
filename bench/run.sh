#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# bash bench/run.sh [--json FILE] [--quick]: builds the benchmarks and prints one Markdown table of all kernels on
# this machine, one thread. Run it on an otherwise idle one.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
build=${PTQ_BENCH_BUILD:-$root/build/bench}
{
  cmake -S "$root" --preset bench -B "$build"
  cmake --build "$build" --target ptq_suite
} >&2
exec "$build/bench/suite" "$@"
