#!/usr/bin/env bash
# The first hour of a new user, in a crate outside of this folder: README's lines for Cargo.toml, README's program, a file of
# each format, the time of a call in a debug build and in a release build, a timeout around an asynchronous call, and the
# tests of what one writes first, against the library without the feature `testing`. Then the library with each reader alone.
#
# Builds the library seven times, so that continuous integration does not run it. Takes tokio from the registry.
#   scripts/first-hour.sh
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}/first-hour
# The most times that a call may be slower in a debug build.
most=10

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
mkdir -p "$place"/{src/bin,tests}

# The block NUMBER of LANGUAGE under the heading "As a library".
block() {
    awk -v fence="\`\`\`$1" -v wanted="$2" '
        /^## / { here = $0 == "## As a library" }
        here && $0 == fence { inside = ++seen == wanted; next }
        /^```$/ { inside = 0 }
        inside' README.md
}

{
    # `first_hour.rs` asks which formats are built, by the names of our features: all are by default.
    printf '[package]\nname = "user"\nversion = "0.0.0"\nedition = "2024"\ndefault-run = "user"\n\n'
    printf '[features]\ndefault = ["keras", "onnx"]\nkeras = []\nonnx = []\n\n'
    block toml 1 | sed "s#\"../gatewave\"#\"$root\"#"
    printf 'tokio = { version = "1", features = ["macros", "rt", "time"] }\n\n[dev-dependencies]\npollster = "1"\n\n'
    block toml 2
} >"$place/Cargo.toml"
grep -q "path = \"$root\"" "$place/Cargo.toml" || { echo "first-hour: README has no line for Cargo.toml" >&2; exit 1; }
cp Cargo.lock "$place/"
cp scripts/first-hour/main.rs "$place/src/main.rs"
block rust 1 >"$place/src/bin/readme.rs"
cp tests/first_hour.rs tests/inputs.rs "$place/tests/"
ln -s "$root/models" "$place/models"

files=(models/shakespeare/shakespeare.safetensors "$root"/tests/golden/roads/model.{onnx,keras}
    "$root/tests/golden/keras/k3_o_lstm_last.h5")
cd "$place"
# Returns the milliseconds of the call that main.rs times.
milliseconds() { sed -n 's/^call \(.*\) ms$/\1/p'; }
for profile in dev release; do
    printf '== %s\n' "$profile"
    cargo run --quiet --profile "$profile" --bin readme
    cargo run --quiet --profile "$profile" -- "${files[@]}" | tee "$place/$profile"
done
debug=$(milliseconds <"$place/dev") release=$(milliseconds <"$place/release")
awk -v debug="$debug" -v release="$release" -v most="$most" 'BEGIN {
    printf "a call takes %.1f times as long in a debug build\n", debug / release
    exit debug > most * release
}' || { echo "first-hour: expected at most $most times" >&2; exit 1; }

echo '== what one writes first'
cargo test --quiet --tests

cd "$root"
for feature in "" keras onnx torch csv; do
    printf '== the library with %s\n' "${feature:-no feature}"
    cargo check --quiet --locked --package gatewave --lib --no-default-features --features "$feature"
done
echo "first-hour: all is well"
