#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what the build needs (Debian 12 or 13), builds, and runs every test.
#   bash tests/run.sh [PRESET]
set -euo pipefail
cd "$(dirname "$0")/.."
bash cmake/install_dependencies.sh
preset=${1:-dev}
cmake --preset "$preset"
cmake --build --preset "$preset"
ctest --preset "$preset" -j "$(nproc)"
