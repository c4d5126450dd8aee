#!/usr/bin/env bash
# Licenses, bans and sources of all dependencies, as deny.toml allows them: by cargo-deny if it is installed. There is no
# binary of it to fetch, and to build it takes many minutes: otherwise what `cargo metadata` tells is held against the lists.
set -euo pipefail
cd "$(dirname "$0")/.."

if command -v cargo-deny >/dev/null; then
    exec cargo deny check licenses bans sources
fi
cargo metadata --format-version 1 --locked --all-features | python3 scripts/licenses.py
