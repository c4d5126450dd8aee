#!/usr/bin/env bash
# Misspelt words in texts and names, by `typos`. typos.toml lists what is right all the same. If the program is not installed,
# it is taken from PyPI, whose package has it built.
set -euo pipefail
cd "$(dirname "$0")/.."
version=1.52.0

typos=typos
if ! command -v typos >/dev/null; then
    at=${CARGO_TARGET_DIR:-target}/typos-$version
    typos=$at/bin/typos
    if [ ! -x "$typos" ]; then
        python3 -m pip install --quiet --disable-pip-version-check --no-deps --target "$at" "typos==$version" || {
            echo "spelling: expected typos, or python3 with pip to fetch it; install typos-cli" >&2
            exit 1
        }
    fi
fi
"$typos"
echo "spelling: no mistakes"
