#!/usr/bin/env bash
# The long check of gradients: random models of every layer and option against the oracle, ten thousand on the CPU and a
# thousand on each software adapter, as whole calls and cut into many pieces. It takes hours.
#
# scripts/gradients.sh [MODELS_ON_THE_CPU [MODELS_ON_AN_ADAPTER]]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/adapters.sh

on_cpu=${1:-10000} on_each=${2:-1000}

random() { cargo test --release --locked --test training gradients_of_random_models -- --nocapture; }

printf '== the oracle against finite differences, %s models\n' "$on_cpu"
GATEWAVE_RANDOM=$on_cpu cargo test --release --locked --test gradients slopes_of_random_models -- --nocapture
printf '== the CPU, %s models\n' "$on_cpu"
GATEWAVE_ADAPTER='' GATEWAVE_RANDOM=$on_cpu random
export GATEWAVE_CPU=0 GATEWAVE_RANDOM=$on_each
printf '== lavapipe, %s models\n' "$on_each"
on_adapter "$(lavapipe_icd)" llvmpipe random
printf '== SwiftShader, %s models\n' "$on_each"
on_adapter "$(swiftshader_icd)" swiftshader random
