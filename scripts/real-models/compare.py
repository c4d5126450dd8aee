"""Compares gatewave with the frameworks of models that people run, and times both. `scripts/real-models.sh` calls it.

    compare.py GATEWAVE CACHE [NAME…]

Each model of `models.py` brings its file, the tensors of a few calls, and what its framework gives for them. `gatewave run`
must give the same within 1e-4. Times are medians of calls on one thread: of the framework in this process, and of gatewave by
`gatewave bench`, or the mean of calls of `gatewave run` where it runs a graph in parts.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import models

TOLERANCE = "1e-4"
DEVICES = ["cpu", "llvmpipe"]
RUNS = 20


def save(path, tensors):
    np.savez(path, **tensors)
    return str(path)


def run(gatewave, *args):
    environment = dict(os.environ, RAYON_NUM_THREADS="1")
    environment.pop("GATEWAVE_ADAPTER", None)
    return subprocess.run([gatewave, *args], capture_output=True, text=True, env=environment)


def last_line(text):
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1] if lines else "no output"


def compared(gatewave, model, folder):
    """Returns what each device says of the calls: "yes", or what is wrong."""
    inputs = []
    for index, call in enumerate(model.calls):
        inputs += ["--input", save(folder / f"{index}.npz", call.inputs | call.outputs)]
    says = {}
    for device in DEVICES:
        ran = run(gatewave, "run", *model.arguments, *inputs, f"--compare={TOLERANCE}", "--device", device, "--quiet")
        if ran.returncode == 0:
            says[device] = "yes"
        elif ran.returncode == 1:
            says[device] = "differs"
            print(ran.stdout, file=sys.stderr)
        else:
            says[device] = "refused: " + last_line(ran.stderr).removeprefix(f"error: {model.arguments[0]}: ")
    return says


def times(gatewave, model, folder):
    """Returns milliseconds of a call: gatewave's and the framework's."""
    example = save(folder / "example.npz", model.calls[0].inputs)
    if model.in_parts:
        return parted(gatewave, model, example), of_framework(model)
    ran = run(gatewave, "bench", *model.arguments, "--input", example, "--device", "cpu", "--json", "--quiet",
              "--runs", str(RUNS), *(f"--set={name}={number:g}" for name, number in model.numbers.items()))
    if ran.returncode != 0:
        sys.exit(f"{model.name}: {ran.stderr}")
    return json.loads(ran.stdout)["ms_median"], of_framework(model)


def parted(gatewave, model, example):
    """Returns milliseconds of a call of a graph in parts: what RUNS more calls of one process take."""
    walls = []
    for count in (1, 1 + RUNS):
        start = time.perf_counter()
        ran = run(gatewave, "run", *model.arguments, *["--input", example] * count, "--device", "cpu", "--quiet")
        walls.append((time.perf_counter() - start) * 1e3)
        if ran.returncode != 0:
            sys.exit(f"{model.name}: {ran.stderr}")
    return (walls[1] - walls[0]) / RUNS


def of_framework(model):
    walls = []
    for _ in range(RUNS + 3):
        start = time.perf_counter()
        model.peer()
        walls.append((time.perf_counter() - start) * 1e3)
    return statistics.median(walls[3:])


def main():
    gatewave, cache, *only = sys.argv[1:]
    rows, fails, ratios = [], False, []
    for make in models.ALL:
        if only and make.__name__ not in only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            for model in make(Path(cache), Path(folder)):
                says = compared(gatewave, model, Path(folder))
                fails |= any(text == "differs" for text in says.values())
                row = [model.name, model.framework, str(len(model.calls)), *says.values()]
                if says["cpu"] == "yes":
                    ours, theirs = times(gatewave, model, Path(folder))
                    ratios.append(ours / theirs)
                    row += [f"{ours:.3f}", f"{theirs:.3f}", f"{ours / theirs:.2f}"]
                else:
                    row += ["", "", ""]
                rows.append(row)
                print(" | ".join(row), file=sys.stderr)
    print("| model | framework | calls | CPU | lavapipe | gatewave, ms | framework, ms | ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    if ratios:
        print(f"\nThe geometric mean of the ratios is {statistics.geometric_mean(ratios):.2f}.")
    sys.exit(fails)


main()
