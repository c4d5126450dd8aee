#!/usr/bin/env bash
# The Python package: builds the wheel in a fresh virtual environment, installs it there, and runs python/tests.
#
#   scripts/python.sh                  what needs NumPy alone
#   scripts/python.sh --frameworks     with PyTorch, Keras, Ray and matplotlib, and the tests that need them
#
# Takes the target directory and the profile of its environment, so that what another build compiled is not compiled again.
# With GATEWAVE_BINARY, results are compared with that command line's bit for bit. GATEWAVE_PYTHON names the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."

frameworks=
for word in "$@"; do
    case $word in
        --frameworks) frameworks=yes ;;
        *) echo "$0: expected --frameworks or nothing, got $word" >&2; exit 2 ;;
    esac
done

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"${GATEWAVE_PYTHON:-python3}" -m venv "$scratch/venv"
export PATH="$scratch/venv/bin:$PATH" PIP_DISABLE_PIP_VERSION_CHECK=1
pip install --quiet 'maturin>=1.9,<2' numpy pytest
maturin build --release --locked --manifest-path python/Cargo.toml --interpreter python --out "$scratch/wheels"
pip install --quiet "$scratch"/wheels/gatewave-*.whl

# From another folder: what is tested is the installed package, and not the sources beside it.
repository=$PWD
cd "$scratch"
python -m pytest -c "$repository/python/pyproject.toml" --rootdir "$repository/python" -p no:cacheprovider \
    "$repository/python/tests"
if [ -n "$frameworks" ]; then
    pip install --quiet torch
    pip install --quiet keras 'ray[data,serve]' matplotlib
    KERAS_BACKEND=torch python -m pytest -c "$repository/python/pyproject.toml" --rootdir "$repository/python" \
        -p no:cacheprovider -o norecursedirs= "$repository/python/tests/frameworks"
fi
