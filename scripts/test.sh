#!/usr/bin/env bash
# All tests: everything on lavapipe, and beside it what runs on an adapter once more on SwiftShader. `gatewave verify` walks the
# conformance table on lavapipe. SwiftShader compiles kernels slowly, and takes a sample of the table that meets each kernel
# and each option; the whole of it takes a quarter of an hour there.
# Installs the two software adapters first where they are missing. Ends with status 0 if all is well.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/adapters.sh

if ! { vulkan_loader && lavapipe_icd && swiftshader_icd; } >/dev/null; then
    scripts/setup.sh
fi
lavapipe=$(lavapipe_icd)
swiftshader=$(swiftshader_icd)

say() { printf '\n== %s (after %s s)\n' "$*" "$SECONDS"; }
cargo_test() { cargo test --release --locked "$@"; }

# All at once, so that no core waits. Tests of the command line bring the binary.
say "building"
cargo_test --lib --bins --tests --no-run
gatewave=${CARGO_TARGET_DIR:-target}/release/gatewave

# What runs on SwiftShader.
on_swiftshader() {
    say "gatewave verify, on SwiftShader"
    on_adapter "$swiftshader" swiftshader "$gatewave" adapters
    on_adapter "$swiftshader" swiftshader "$gatewave" verify --quick
    say "the tests of an adapter, on SwiftShader"
    # Files are read alike whoever computes. Slot by slot, plans by scans alone: the others are whole in `verify` above, and
    # slot by slot on lavapipe. Gradients slot by slot: the kernels below, and whole gradients above. A NaN goes through each
    # function by itself, and not through each product that ends in one. That planted bugs are found is no matter of the device.
    on_adapter "$swiftshader" swiftshader cargo_test --test gpu -- \
        --skip _case_of_the_table_gives --skip formats:: --skip plans_of_gradients_give \
        --skip plans_for_a_gpu_give --skip plans_for_a_narrow_device_give \
        --skip through_every_elementwise_activation --skip a_planted_bug_ --skip a_bug_in_a_plan_
    # What `verify` does not draw: models of any layers, whole and in pieces, and that all drop the same.
    GATEWAVE_CPU=0 GATEWAVE_RANDOM=4 on_adapter "$swiftshader" swiftshader cargo_test --test training -- \
        gradients_of_random_models the_same_is_dropped
    # Each kernel of training against its sentence: not each update of each model once more.
    on_adapter "$swiftshader" swiftshader cargo_test --test trainer -- --skip a_step_is_the_gradients_of_its_batch
    on_adapter "$swiftshader" swiftshader cargo_test --lib cpu::tests
}
# Two lanes side by side: a driver compiles kernels on one core. This one has the table of cases on lavapipe too, so that
# both are as long.
other_lane() {
    on_swiftshader
    say "gatewave verify, on lavapipe"
    on_adapter "$lavapipe" llvmpipe "$gatewave" verify
    say "the other lane is done"
}
other_lane_says=$(mktemp)
# In a process group of its own, so that all of it ends where the other lane fails.
set -m
(other_lane) >"$other_lane_says" 2>&1 &
beside=$!
set +m
trap 'kill -- -"$beside" 2>/dev/null || true; rm -f "$other_lane_says"' EXIT

say "all tests, on lavapipe"
on_adapter "$lavapipe" llvmpipe "$gatewave" adapters
# `verify` walks the table of cases as every strategy does, forward and back.
on_adapter "$lavapipe" llvmpipe cargo_test --lib --bins --tests -- --exact \
    --skip every_case_of_the_table_gives_the_truth --skip gradients_of_every_case_of_the_table_are_true
say "the examples in the documentation"
on_adapter "$lavapipe" llvmpipe cargo_test --doc

status=0
wait "$beside" || status=$?
cat "$other_lane_says"
if [ "$status" -ne 0 ]; then
    echo "test: the other lane failed" >&2
    exit "$status"
fi
say "all tests passed"
