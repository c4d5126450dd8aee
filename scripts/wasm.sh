#!/usr/bin/env bash
# Type-checks the library for wasm32-unknown-unknown, with a GPU and the readers of files and without them, as a program
# depends on it: without the feature `testing`. A warning is an error. Builds no page.
#
# Uses the installed toolchain where it has the target (`rustup target add wasm32-unknown-unknown`). Else, on Debian, it
# fetches Debian's compiler for browsers with the standard library's source, unpacks both into a folder of the user's
# cache, and compiles the standard library from there: nothing is installed.
set -euo pipefail
cd "$(dirname "$0")/.."

target=wasm32-unknown-unknown
cache=${GATEWAVE_WASM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/gatewave/wasm}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/wasm
# As a page is built: vectors, which all browsers have.
export RUSTFLAGS="-Ctarget-feature=+simd128"
# Nothing is debugged there.
export CARGO_PROFILE_DEV_DEBUG=false
cargo=(cargo)
options=(--target "$target")

# The compiler's packages and the libraries that it needs of other sources than its own, one a line. Their names hold
# versions. Linkers and C compilers are not needed.
packages() {
    local names='rustc-web cargo-web rust-web-src libstd-rust-web-dev' found
    local library='libstd-rust-web-[0-9.]*|libllvm[0-9]+|libgit2-[0-9.]+|libhttp-parser[0-9.]+|libmbed[a-z0-9-]+|libz3-[0-9]+'
    for _ in 1 2 3; do
        # shellcheck disable=SC2086 # a list
        found=$(apt-cache depends $names | sed -nE "s/^ *\\|?Depends: ($library)\$/\\1/p")
        names=$(printf '%s\n' $names $found | sort -u)
    done
    printf '%s\n' $names
}

unpack_compiler() {
    command -v apt-get >/dev/null || {
        echo "wasm: the toolchain lacks the target; run: rustup target add $target" >&2
        exit 1
    }
    echo "wasm: fetching Debian's compiler for browsers into $cache"
    local fetched
    fetched=$(mktemp -d)
    # The names of versions come with the lists.
    if [ "$(id -u)" -eq 0 ]; then apt-get update -q; fi
    (cd "$fetched" && packages | xargs apt-get download -q)
    rm -rf "$cache.part"
    mkdir -p "$cache.part"
    for package in "$fetched"/*.deb; do dpkg -x "$package" "$cache.part"; done
    rm -rf "$fetched" "$cache"
    # Whole or not at all.
    mv "$cache.part" "$cache"
}

if ! [ -d "$(rustc --print sysroot)/lib/rustlib/$target" ]; then
    [ -x "$cache/usr/bin/rustc" ] || unpack_compiler
    export RUSTC=$cache/usr/bin/rustc RUSTC_BOOTSTRAP=1
    LD_LIBRARY_PATH=$(echo "$cache"/usr/lib/*-linux-gnu)
    export LD_LIBRARY_PATH
    cargo=("$cache/usr/bin/cargo")
    # Without what prints a backtrace, which nothing here does.
    options+=(-Zbuild-std=std,panic_abort -Zbuild-std-features=)
fi

for features in "" gpu,onnx,keras,torch; do
    echo "wasm: features: ${features:-none}"
    "${cargo[@]}" rustc --locked --package gatewave --lib --profile check --no-default-features --features "$features" "${options[@]}" -- -D warnings
done
