#!/usr/bin/env bash
# What a GPU does with gatewave, in one folder and within ten minutes: the adapters, whether results and gradients are right,
# the work list by each strategy and precision, each kernel beside the device's peaks, the cost of a dispatch, streams, and
# training; beside it PyTorch with cuDNN where a python3 has it. Builds nothing: takes the programs that
# `cargo build --release --features cli --bin gatewave --example streams` has made.
#
#   scripts/hardware.sh DEVICE FOLDER [SECONDS]      DEVICE as in --device: a part of the adapter's name
set -uo pipefail
cd "$(dirname "$0")/.."
if [ $# -lt 2 ] || [ $# -gt 3 ]; then
    echo "usage: scripts/hardware.sh DEVICE FOLDER [SECONDS]" >&2
    exit 2
fi
device=$1 folder=$2 seconds=${3:-600}
programs=${CARGO_TARGET_DIR:-target}/release
gatewave=${GATEWAVE:-$programs/gatewave}
[ -x "$gatewave" ] || { echo "hardware: expected a program at $gatewave; build it, or name it by GATEWAVE" >&2; exit 2; }
[ ! -e "$folder" ] || { echo "hardware: $folder: already exists; name a new folder" >&2; exit 2; }
case $seconds in '' | *[!0-9]*) echo "hardware: expected whole seconds, got $seconds" >&2; exit 2 ;; esac
mkdir -p "$folder" || exit 2

failed=0
# Runs a command into FILE of the folder, for SHARE percent of the time at most. What fails is told and does not end the rest.
part() {
    local file=$1 share=$2 start=$SECONDS status=0
    shift 2
    timeout "$((seconds * share / 100))" "$@" >"$folder/$file" 2>"$folder/${file%.*}.log" || status=$?
    if [ "$status" -eq 124 ]; then status="out of time"; fi
    printf '%-26s %4s s  %s\n' "$file" "$((SECONDS - start))" "$([ "$status" = 0 ] && echo done || echo "failed: $status")"
    [ "$status" = 0 ] || failed=$((failed + 1))
}

{
    date -u +%Y-%m-%dT%H:%M:%SZ
    "$gatewave" --version
    uname -srm
    grep -m1 'model name' /proc/cpuinfo 2>/dev/null
    command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,driver_version,clocks.max.sm,power.limit --format=csv,noheader
} >"$folder/machine.txt"

# What is right, before what is fast.
part adapters.txt 5 "$gatewave" adapters
part verify.jsonl 20 "$gatewave" verify --device "$device" --quick --json
part forward.jsonl 10 "$gatewave" bench --device "$device" --runs 10 --json
part training.jsonl 12 "$gatewave" bench --device "$device" --runs 5 --train --json
for strategy in step scan wavefront persistent; do
    part "$strategy.jsonl" 5 "$gatewave" bench --device "$device" --runs 5 --json --strategy "$strategy" \
        --only numpy-100x32x64,vad-lstm,denoise-gru,mps-bigru
done
for precision in f16 int8; do
    part "$precision.jsonl" 6 "$gatewave" bench --device "$device" --runs 5 --json --precision "$precision" \
        --only mps-bigru,wide-lstm,cudnn-sample
done
part kernels.jsonl 8 "$gatewave" bench --device "$device" --runs 5 --kernels --json \
    --only vad-lstm,tagger-bilstm,cudnn-sample,wide-lstm
# A step of this layer is one dispatch with next to nothing in it: the slope of the line is the cost of a dispatch.
part dispatch.txt 4 "$gatewave" bench --device "$device" --runs 10 --strategy step \
    --cell rnn --input-size 16 --hidden-size 16 --batch 1 --sweep T=64..2048
if [ -x "$programs/examples/streams" ]; then
    part streams.txt 5 "$programs/examples/streams" "$device"
else
    echo "streams: left out, as $programs/examples/streams is not built"
fi
if python3 -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    part cudnn.jsonl 8 python3 scripts/hardware/cudnn.py bench/shapes.json
    part cudnn-training.jsonl 8 python3 scripts/hardware/cudnn.py bench/shapes.json --train
else
    echo "cudnn: left out, as python3 has no torch with CUDA"
fi
echo "$folder: $failed parts failed, $SECONDS s in all"
[ "$failed" -eq 0 ]
