#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Accuracy control from the shell: bounds, limits, cost file, journal.  control_test.sh TOOL MODELS
. "$(dirname "$0")/support.sh"
float=$models/fashion_mobilenet.onnx
labels=$models/calibration-labels.idx1.gz
search=(quantize "$float" "${common[@]}" --data "$calibration" --subset-size 64 --labels "$labels"
  --report-samples 0 --repeats 0 --quiet)

# --- a bound that is met, and what is said of it; the costs are written ---
succeeds "${search[@]}" -o "$dir/a.onnx" --max-drop 0.2 --costs "$dir/costs.json" --json "$dir/a.json"
holds "$dir/out" 'accuracy control: the bound is met'
holds "$dir/a.json" '"status": "met"'
for key in front chosen drop_half_width samples_needed min_agreement; do
  holds "$dir/a.json" "\"$key\":"
done
holds "$dir/costs.json" '"float_us"'

# --- below the noise: said, with the samples that would tell it; the best is written, exit code 3 ---
# A stand-in for slow floats: every layer takes 2 us in float and 1 in integers, and time does not limit the
# search, which so is the same on every machine.
sed -E -e 's/"float_us": [0-9.e+-]+/"float_us": 1000000.0/' -e 's/"int8_us": [0-9.e+-]+/"int8_us": 100.0/' \
  -e 's/^ +[0-9.e+-]+,$/2.0,/' -e 's/^ +[0-9.e+-]+$/1.0/' "$dir/costs.json" >"$dir/loose.json"
tight=(--max-drop 0 --max-float-macs 1 --costs "$dir/loose.json")
"$tool" "${search[@]}" -o "$dir/b.onnx" "${tight[@]}" --json "$dir/b.json" >"$dir/out" 2>"$dir/err"
[ $? -eq 3 ] || wrong "an impossible bound: expected exit code 3: $(cat "$dir/err")"
holds "$dir/out" "can't be told from"
holds "$dir/out" 'NOT met; limited by'
holds "$dir/b.json" '"status": "not_met"'
[ -s "$dir/b.onnx" ] || wrong "the best model was not written"
succeeds inspect "$dir/b.onnx"

# --- killed ten times at seeded moments, the search ends with the same bytes ---
# How long the whole takes, so that the moments lie within it. It tunes: the bound is missed.
whole=(--effort fast "${tight[@]}")
begin=$(date +%s%N)
"$tool" "${search[@]}" -o "$dir/w.onnx" "${whole[@]}" >/dev/null 2>&1
took=$((($(date +%s%N) - begin) / 1000000))
RANDOM=7
killed=0
for turn in 1 2 3 4 5 6 7 8 9 10; do
  "$tool" "${search[@]}" -o "$dir/c.onnx" "${whole[@]}" --journal "$dir/journal" >/dev/null 2>&1 &
  pid=$!
  at=$((took * (RANDOM % 90 + 5) / 100))
  sleep "$((at / 1000)).$(printf %03d $((at % 1000)))"
  kill -9 $pid 2>/dev/null && killed=$((killed + 1))
  wait $pid 2>/dev/null
done
[ "$killed" -ge 5 ] || wrong "expected most of ten kills to hit a running search, got $killed"
"$tool" "${search[@]}" -o "$dir/c.onnx" "${whole[@]}" --journal "$dir/journal" >/dev/null 2>"$dir/err"
[ $? -eq 3 ] || wrong "after ten kills: expected exit code 3: $(cat "$dir/err")"
cmp -s "$dir/w.onnx" "$dir/c.onnx" || wrong "after ten kills the model differs"

# --- several metrics, each with its bound; only activations restored; the front as files ---
# A bound of 0 that the all-integer model misses by chance or not: what is looked at is what is written.
"$tool" "${search[@]}" -o "$dir/m.onnx" --effort fast --metric top1,top5 --max-drop 0,0.01 \
  --restore activations --costs "$dir/loose.json" --front "$dir/front" --front-points 3 \
  --json "$dir/m.json" >"$dir/out" 2>"$dir/err"
code=$?
[ $code -eq 0 ] || [ $code -eq 3 ] || wrong "several metrics: exit code $code: $(cat "$dir/err")"
for text in '"metric": "top1"' '"metric": "top5"'; do holds "$dir/m.json" "$text"; done
holds "$dir/out" 'top5 .* drop '
holds "$dir/front/front.json" '"model": "front-0.onnx"'
holds "$dir/front/front.json" '"model": "front-1.onnx"'
for model in "$dir"/front/front-*.onnx; do
  succeeds inspect "$model"
  holds "$dir/out" 'accuracy_control'
done
fails 1 'expected 1 or 2, one per metric, got 3' "${search[@]}" -o "$dir/new.onnx" \
  --metric top1,top5 --max-drop 0.1,0.1,0.1
fails 1 'expected it with --max-drop' "${search[@]}" -o "$dir/new.onnx" --front "$dir/none"

# --- a bound on time is kept by the tool's own benchmark: at twice the all-integer model's ---
"$tool" quantize "$float" "${common[@]}" --data "$calibration" --subset-size 32 --effort fast \
  --report-samples 0 --repeats 0 --quiet -o "$dir/int8.onnx" >/dev/null 2>&1
succeeds benchmark "$dir/int8.onnx" --repeats 100 --json "$dir/bench.json"
limit=$(awk -v x="$(number "$dir/bench.json" median_ms)" 'BEGIN { print 2 * x }')
"$tool" "${search[@]}" -o "$dir/t.onnx" --effort fast --max-latency "$limit" --max-drop 0 \
  --costs "$dir/loose.json" --json "$dir/t.json" >/dev/null 2>"$dir/err"
code=$?
[ $code -eq 0 ] || [ $code -eq 3 ] || wrong "--max-latency: exit code $code: $(cat "$dir/err")"
# The model's own measurement counts: the next one may meet a busier machine. Where none was fast enough, that is said.
grep -q 'the time limit' "$dir/t.json" ||
  at_least "$(awk -v x="$limit" 'BEGIN { print 1000 * x }')" "$(number "$dir/t.json" measured_us)"
holds "$dir/t.json" '"measured_us"'

# --- which rounding costs what ---
succeeds compare "$float" "$dir/int8.onnx" "${common[@]}" --data "$calibration" --subset-size 8 \
  --attribute --json "$dir/causes.json"
holds "$dir/out" 'share   weights      bias  clipping  rounding  layer'
for key in attribution weight_rounding clipping saturating_pairs remedy; do
  holds "$dir/causes.json" "\"$key\":"
done

# --- refused ---
fails 1 'of another search' "${search[@]}" -o "$dir/new.onnx" --max-drop 0.1 \
  --costs "$dir/loose.json" --journal "$dir/journal"
fails 1 'expected --labels or --annotation-free' quantize "$float" -o "$dir/new.onnx" \
  "${common[@]}" --data "$calibration" --max-drop 0.1
echo '{"float_us": 1}' >"$dir/bad.json"
fails 1 'int8_us: expected it' "${search[@]}" -o "$dir/new.onnx" --max-drop 0.1 --costs "$dir/bad.json"
fails 2 'max-drop' "${search[@]}" -o "$dir/new.onnx" --max-drop 2
succeeds quantize "$float" -o "$dir/d.onnx" "${common[@]}" --data "$calibration" --subset-size 32 \
  --annotation-free --max-drop 0.3 --report-samples 0 --repeats 0
holds "$dir/out" 'top1 1.0000 ->'
finish
