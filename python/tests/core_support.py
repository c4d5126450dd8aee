"""The golden cases of the repository, and a small model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

import gatewave as gw

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
SHAKESPEARE = ROOT / "models" / "shakespeare"

_DTYPES = {"F32": np.float32, "F64": np.float64, "I32": np.int32, "I64": np.int64}


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Reads a file without any package, so that nothing of ours is in the comparison."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    arrays = {}
    for name, info in header.items():
        if name != "__metadata__":
            first, last = info["data_offsets"]
            part = data[8 + length + first : 8 + length + last]
            arrays[name] = np.frombuffer(part, _DTYPES[info["dtype"]]).reshape(info["shape"])
    return arrays


def inputs_and_wanted(path: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The inputs of an io file, and the wanted outputs: `truth` in f64 goes before `out`."""
    arrays = read_safetensors(path)
    part = lambda group: {name.split(".", 1)[1]: a for name, a in arrays.items() if name.startswith(group + ".")}  # noqa: E731
    return part("in"), part("out") | part("truth")


def small(seed: int = 0, **options) -> gw.Model:
    """A model of features: an LSTM of two layers and a linear layer on each step."""
    rng = np.random.default_rng(seed)
    draw = lambda *shape: rng.normal(0, 0.4, shape).astype(np.float32)  # noqa: E731
    tensors = {"out.weight": draw(2, 5), "out.bias": draw(2)}
    for layer, inputs in enumerate([3, 5]):
        tensors[f"lstm.weight_ih_l{layer}"] = draw(20, inputs)
        tensors[f"lstm.weight_hh_l{layer}"] = draw(20, 5)
        tensors[f"lstm.bias_ih_l{layer}"] = draw(20)
        tensors[f"lstm.bias_hh_l{layer}"] = draw(20)
    return gw.from_tensors(DESCRIPTION, tensors, **{"device": "cpu"} | options)


DESCRIPTION = {
    "gatewave": 1,
    "batch_first": True,
    "layers": [
        {"type": "lstm", "input_size": 3, "hidden_size": 5, "num_layers": 2, "weights": "lstm."},
        {"type": "linear", "in_features": 5, "out_features": 2, "weights": "out."},
    ],
}
