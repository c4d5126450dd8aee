"""Keras models → models of gatewave, and trained weights back into Keras models."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import keras
import numpy as np

from . import _errors
from ._model import Model, from_tensors, load

__all__ = ["from_keras", "to_keras"]

#: How many elements a 32-bit float can number exactly, with room to spare.
_BASE = 1 << 20


def from_keras(model: Any, *, device: str = "auto", precision: str = "f32") -> Model:
    """Returns a model of gatewave that computes what ``model.predict`` computes.

    A single input is ``x``, and a single output ``y``. Several inputs and outputs have the names of the Keras model:
    those of its input layers, and ``model.output_names``. Keras gives all outputs of a layer one name, such as ``lstm``
    for steps and states: here they are ``lstm``, ``lstm_1`` and ``lstm_2``.

    Args:
        model: a Keras 3 model that has been built: `Sequential`, functional, or with models as layers.
        device: where to compute, as for `gatewave.load`.
        precision: how weights are stored, as for `gatewave.load`.

    Raises:
        ValueError: a layer, or an option of one, is not supported. The error names it.
    """
    data = _saved(model)
    outputs = _unique(list(getattr(model, "output_names", None) or []))
    if len(outputs) < 2:
        return load(data, device=device, precision=precision)
    read = load(data, device="cpu")
    description = read.description
    _rename(description, {f"y_{index}": name for index, name in enumerate(outputs)})
    return from_tensors(
        description, read.state_dict(), device=device, precision=precision, metadata=read.metadata
    )


def to_keras(model: Model, keras_model: Any) -> Any:
    """Copies the weights of `model` into `keras_model`, from which `from_keras` made it, and returns the latter.

    Args:
        model: a model of gatewave, such as a trained one: ``trainer.model()``.
        keras_model: the Keras model. Weights that gatewave does not have stay as they are.

    Raises:
        ValueError: the weights are not those of this Keras model.
    """
    weights = keras_model.get_weights()
    places = _places(keras_model, weights)
    given = model.state_dict()
    for name, values in given.items():
        if name not in places:
            known = ", ".join(list(places)[:20])
            text = f"to_keras: {name}: expected one of {known}, got a tensor that the Keras model lacks"
            raise _errors.make("weights", text, tensor=name)
        if places[name].shape != values.shape:
            text = f"to_keras: {name}: expected {list(places[name].shape)}, got {list(values.shape)}"
            raise _errors.make("weights", text, tensor=name)
    flat = np.concatenate([np.asarray(values, np.float32).ravel() for values in weights] or [np.zeros(0, np.float32)])
    for name, values in given.items():
        # A place of 0 is a number that the Keras model does not have, such as the bias of a layer without one.
        own = places[name] > 0
        flat[places[name][own] - 1] = values[own]
    ends = np.cumsum([values.size for values in weights])[:-1]
    parts = np.split(flat, ends) if weights else []
    keras_model.set_weights([part.reshape(values.shape).astype(values.dtype) for part, values in zip(parts, weights)])
    return keras_model


def _saved(model: Any) -> bytes:
    """Returns the bytes of a model's `.keras` file."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"from_keras: expected a keras.Model, got {type(model).__name__}")
    if not model.built:
        text = "from_keras: expected a model that has been built, got one without weights; call model.build(…)"
        raise _errors.make("model", text)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.keras")
        model.save(path)
        with open(path, "rb") as file:
            return file.read()


def _unique(names: list[str]) -> list[str]:
    """Returns `names` with a number behind each that stands before it already."""
    seen: set[str] = set(names)
    found: list[str] = []
    for name in names:
        own, number = name, 0
        while own in found or (number and own in seen):
            number += 1
            own = f"{name}_{number}"
        found.append(own)
    return found


def _rename(description: dict[str, Any], names: dict[str, str]) -> None:
    """Changes the names of outputs. A value that has such a name has no other."""
    ports = description.get("ports", {}).get("outputs", [])
    renamed = [{**port, "name": None} for port in ports if port["name"] in names]
    ports[:] = [port for port in ports if port["name"] in names or {**port, "name": None} not in renamed]
    for output in [*ports, *description.get("outputs", [])]:
        output["name"] = names.get(output["name"], output["name"])


def _places(model: Any, weights: list[Any]) -> dict[str, Any]:
    """Returns, for each tensor of gatewave, which number of the Keras weights each element is, counted from 1.

    A copy of the model is saved with the numbers as its weights, and read. So transpositions and the order of gates
    are those of the reader, and stand in one place.
    """
    count = sum(values.size for values in weights)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.keras")
        model.save(path)
        copy = keras.models.load_model(path, compile=False)
    digits = []
    for divisor in (1, _BASE):
        if divisor > 1 and count < _BASE:
            break
        numbers = np.arange(count, dtype=np.int64) // divisor % _BASE + 1
        ends = np.cumsum([values.size for values in weights])[:-1]
        parts = np.split(numbers.astype(np.float32), ends)
        copy.set_weights([part.reshape(values.shape) for part, values in zip(parts, weights)])
        read = load(_saved(copy), device="cpu").state_dict()
        digits.append({name: values.astype(np.int64) for name, values in read.items()})
    low = digits[0]
    if len(digits) == 1:
        return low
    # An element that is 0 is none of the weights.
    return {name: np.where(low[name] > 0, low[name] + (digits[1][name] - 1) * _BASE, 0) for name in low}
