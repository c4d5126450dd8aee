"""The exceptions of gatewave, and which of the library's errors becomes which of them.

Every exception that gatewave raises about a model, a call, a file or a device has these attributes:

- `kind`: a word that says what a caller can do: ``"model"``, ``"weights"``, ``"shape"``, ``"training"``, ``"numeric"``,
  ``"busy"``, ``"limits"``, ``"device"``, ``"lost"``, ``"io"``, ``"internal"`` or ``"fork"``;
- `layer`, `node`, `tensor`, `input`: the layer, the node of an ONNX graph, the tensor of weights, or the input of an
  ONNX graph that the error is about, by name; each is `None` if the error is about none.
"""

from __future__ import annotations

import json
import re
from typing import Any


class Error(RuntimeError):
    """An error that is neither about a value that was passed (`ValueError`) nor about a file (`OSError`).

    For example: there is no such device, the work does not fit it, or a number is no longer finite.
    """

    kind: str = "internal"
    layer: str | None = None
    node: str | None = None
    tensor: str | None = None
    input: str | None = None


class TrainingError(Error, ValueError):
    """A setting of a training is out of range, or settings contradict each other."""

    kind: str = "training"


# What the library advises in the words of its command line, and how a Python program does it.
_WORDS = [
    (re.compile(r"--device cpu"), 'device="cpu"'),
    (re.compile(r"--precision f16 or int8"), 'precision="f16" or "int8"'),
    (re.compile(r"--precision (f16|int8)"), r'precision="\1"'),
    (re.compile(r"--strategy auto"), "strategy=None"),
    (re.compile(r"--set ([^ =]+)=([^ ,]+), or formats::Reader::set in Rust"), r'set={"\1": \2}'),
    (
        re.compile(
            r"gatewave describe FILE -o model\.json drafts one from the tensors: correct it, and give it beside the "
            r"file \(--model model\.json\)"
        ),
        "gatewave.describe(path) drafts one from the tensors: correct it, and give it beside the file (model=…)",
    ),
    (re.compile(r"`?gatewave convert MODEL OUT\.safetensors`?"), "model.save(path)"),
    (re.compile(r"Trainer::save(_fitting)?"), "Trainer.save"),
]

_OS_ERROR = re.compile(r"\(os error (\d+)\)$")

_VALUES = {"model", "weights", "shape"}


def to_json(what: str, value: Any) -> str:
    """Returns settings as JSON; numbers may be NumPy's. What cannot be written is an error of `what`."""

    def item(other: Any) -> Any:
        if hasattr(other, "tolist"):
            return other.tolist()
        raise TypeError(f"got {type(other).__name__}")

    try:
        return json.dumps(value, default=item, allow_nan=False)
    except TypeError as error:
        raise make("training" if what == "settings" else "model", f"{what}: expected plain values, {error}") from error
    except ValueError as error:
        kind = "training" if what == "settings" else "model"
        raise make(kind, f"{what}: expected finite numbers, got NaN or infinity") from error


def make(
    kind: str,
    message: str,
    code: int | None = None,
    layer: str | None = None,
    node: str | None = None,
    tensor: str | None = None,
    input: str | None = None,
) -> Exception:
    """Returns the exception of an error of `kind`; `code` is the system's number of it, if a file was the cause."""
    for pattern, words in _WORDS:
        message = pattern.sub(words, message)
    error: Any
    if kind in _VALUES:
        error = ValueError(message)
    elif kind == "io":
        found = _OS_ERROR.search(message) if code is None else None
        code = int(found[1]) if found else code
        # With its number Python takes the fitting class: FileNotFoundError, PermissionError.
        error = OSError(message) if code is None else OSError(code, message)
    elif kind == "training":
        error = TrainingError(message)
    else:
        error = Error(message)
    error.kind, error.layer, error.node, error.tensor, error.input = kind, layer, node, tensor, input
    return error
