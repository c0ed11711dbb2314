# SPDX-License-Identifier: Apache-2.0
# Sourced by the tests of the tool: TOOL MODELS as arguments, a folder of its own as $dir.
set -u
tool=$1
models=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failures=0
common=(--scale 0.00392156862745098 --mean 0.2860 --std 0.3530 --threads 1)
calibration=$models/calibration-images.idx3.gz

wrong() {
  echo "FAILED: $*" >&2
  failures=$((failures + 1))
}

# succeeds COMMAND...: exit code 0; standard output in $dir/out, standard error in $dir/err.
succeeds() {
  "$tool" "$@" >"$dir/out" 2>"$dir/err" || wrong "ptq $*: exit code $?: $(cat "$dir/err")"
}

# fails CODE TEXT COMMAND...: that exit code; code 1 comes with one line that holds TEXT; nothing
# half-written is left.
fails() {
  local code=$1 text=$2
  shift 2
  "$tool" "$@" >"$dir/out" 2>"$dir/err"
  local got=$?
  [ "$got" -eq "$code" ] || wrong "ptq $*: expected exit code $code, got $got"
  if [ "$code" -eq 1 ]; then
    [ "$(wc -l <"$dir/err")" -eq 1 ] || wrong "ptq $*: expected one line, got: $(cat "$dir/err")"
    grep -q '^ptq: error: ' "$dir/err" || wrong "ptq $*: expected 'ptq: error: ', got: $(cat "$dir/err")"
  fi
  grep -qe "$text" "$dir/err" || wrong "ptq $*: expected '$text' in: $(cat "$dir/err")"
  local left
  left=$(find "$dir" -name '*.partial' -o -name '*.part[0-9]*' -o -name 'new.onnx' -o -name 'new.json')
  [ -z "$left" ] || wrong "ptq $*: left behind: $left"
}

# holds FILE TEXT: the file has it.
holds() { grep -qe "$2" "$1" || wrong "expected '$2' in $1: $(head -c 2000 "$1")"; }

# number FILE KEY: the first number under that key of a JSON file.
number() { sed -n "s/.*\"$2\": \(-\{0,1\}[0-9.e+-]*\).*/\1/p" "$1" | head -n 1; }

# at_least X Y: X >= Y, as decimals.
at_least() { awk -v x="$1" -v y="$2" 'BEGIN { exit !(x != "" && x >= y) }' || wrong "expected $1 >= $2"; }

# npy DIMS BYTES: a .npy of zero bytes (u1) on standard output.
npy() {
  printf '\x93NUMPY\x01\x00\x76\x00%-117s\n' \
    "{'descr': '|u1', 'fortran_order': False, 'shape': ($1), }"
  head -c "$2" /dev/zero
}

finish() {
  [ "$failures" -eq 0 ] || { echo "$failures checks failed" >&2; exit 1; }
  echo "all checks passed"
}
