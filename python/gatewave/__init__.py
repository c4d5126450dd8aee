"""Recurrent networks on any GPU and on the CPU: models of PyTorch, Keras and ONNX, run and trained without them.

    import gatewave as gw

    model = gw.load("model.onnx")
    y = model(x)                       # one array in, one array out
    out = model.run({"x": x})          # names in, names out: outputs and final states

`load` opens a file. `from_torch` and `from_keras` take a model of these frameworks, and `from_tensors` a description
with its weights. `Model.streams` computes frame by frame, `Model.generate` continues a text. `Trainer` and `fit` train.
"""

from __future__ import annotations

import os as _os
from typing import TYPE_CHECKING, Any

from . import _native
from ._errors import Error, TrainingError
from ._fit import Epoch, History, fit
from ._model import Model, Summary, describe, from_tensors, load
from ._native import __version__
from ._settings import SGD, Adam, AdamW, BinaryCrossEntropy, CrossEntropy, Huber, RMSprop
from ._streams import Stream, Streams
from ._tensors import TensorInfo
from ._threads import devices, set_threads, threads
from ._trainer import Trainer

if TYPE_CHECKING:
    from . import nn as nn
    from .keras import from_keras, to_keras
    from .torch import from_torch, to_torch

# Threads do not survive a fork: the child is told so, in place of waiting for them for ever.
if hasattr(_os, "register_at_fork"):
    _os.register_at_fork(after_in_child=_native.after_fork)

# What needs a framework is imported with its first use.
_LAZY = {
    "from_torch": "torch",
    "to_torch": "torch",
    "from_keras": "keras",
    "to_keras": "keras",
}
_MODULES = ("keras", "nn", "ray", "torch")

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "Epoch",
    "Error",
    "History",
    "Huber",
    "Model",
    "RMSprop",
    "Stream",
    "Streams",
    "Summary",
    "TensorInfo",
    "Trainer",
    "TrainingError",
    "__version__",
    "describe",
    "devices",
    "fit",
    "from_keras",
    "from_tensors",
    "from_torch",
    "load",
    "set_threads",
    "threads",
    "to_keras",
    "to_torch",
]


def __getattr__(name: str) -> Any:
    import importlib

    if name in _LAZY:
        return getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY, *_MODULES])
