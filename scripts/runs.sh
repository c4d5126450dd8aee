#!/usr/bin/env bash
# Kills a training a hundred times at random moments and goes on with it each time: its files are whole models whenever it is
# killed, and it ends in the bytes of a run that was never killed.
# Longer than a test may be, so that continuous integration runs six kills (tests/cli/runs.rs). Needs a built gatewave and cmp.
#   scripts/runs.sh [KILLS]
set -euo pipefail
cd "$(dirname "$0")/.."
kills=${1:-100}
gatewave=${GATEWAVE:-${CARGO_TARGET_DIR:-target}/release/gatewave}
export GATEWAVE_ADAPTER=cpu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
flags=(train examples/models/bidirectional.json --data examples/reviews.tsv --validation-split 0.2 --epochs 2400
    --batch-size 16 --early-stopping 2400 --learning-rate 0.001)

"$gatewave" "${flags[@]}" --run "$work/whole" -o "$work/whole.safetensors" 2>/dev/null
seen=0
for ((kill = 1; kill <= kills; kill++)); do
    if [ -f "$work/cut/args.json" ]; then
        command=(train --resume "$work/cut")
    else
        command=("${flags[@]}" --run "$work/cut" -o "$work/cut.safetensors")
    fi
    "$gatewave" "${command[@]}" 2>/dev/null &
    sleep "$((RANDOM % 2)).$((RANDOM % 10))$((RANDOM % 10))"
    if ! kill -9 $! 2>/dev/null; then break; fi
    wait $! 2>/dev/null || true
    for file in "$work"/cut/{best,last}.safetensors; do
        [ ! -f "$file" ] || "$gatewave" summary "$file" >/dev/null
    done
    seen=$kill
done
[ -f "$work/cut.safetensors" ] || "$gatewave" train --resume "$work/cut" 2>/dev/null >/dev/null
cmp "$work/whole/best.safetensors" "$work/cut/best.safetensors"
cmp "$work/whole.safetensors" "$work/cut.safetensors"
cmp <(cut -d, -f1-5 "$work/whole/history.csv") <(cut -d, -f1-5 "$work/cut/history.csv")
echo "killed $seen times: the bytes of a run that was never killed"
