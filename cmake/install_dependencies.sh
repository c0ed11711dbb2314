#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs the packages that ptq is built with on Debian 12 and 13, if any is missing.
set -euo pipefail
packages=(g++ cmake ninja-build libxsimd-dev libdnnl-dev doctest-dev libbenchmark-dev libprotozero-dev
  nlohmann-json3-dev libcli11-dev libstb-dev)
missing=()
for p in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0
sudo=
[ "$(id -u)" -eq 0 ] || sudo=sudo
echo "installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
$sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
