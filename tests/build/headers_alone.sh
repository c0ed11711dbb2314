#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every public header compiles alone, as the first include of a file.
#   headers_alone.sh ROOT COMPILER "FOLDER;FOLDER…" "SKIPPED;SKIPPED…"
set -euo pipefail
root=$1 compiler=$2 folders=$3 skipped=${4:-}
flags=(-std=c++20 -fsyntax-only -Wall -Wextra -Wconversion -Werror -I "$root/include" -I "$root/kernels")
IFS=';' read -ra list <<<"$folders"
for folder in "${list[@]}"; do
  # A system folder named again would change the order of the compiler's own headers.
  [ -z "$folder" ] || [ "$folder" = /usr/include ] || [ ! -d "$folder" ] || flags+=(-isystem "$folder")
done
failed=$(mktemp)
trap 'rm -f "$failed"' EXIT

check() {
  local header=$1
  shift
  "$@" -x c++ - <<<"#include <$header>" || { echo "not alone: $header"; echo "$header" >>"$failed"; }
}
export -f check
export failed

headers() {
  (cd "$root/include" && find ptq -name '*.hpp')
  (cd "$root/kernels" && find ptq -name '*.hpp')
}
wanted=$(headers | sort | grep -vxF -f <(tr ';' '\n' <<<"${skipped:-none}"))
xargs -P "$(nproc)" -I{} bash -c 'check "$@"' _ {} "$compiler" "${flags[@]}" <<<"$wanted"
count=$(wc -l <<<"$wanted")
broken=$(wc -l <"$failed")
echo "headers: $((count - broken)) of $count compile alone"
[ "$broken" -eq 0 ]
