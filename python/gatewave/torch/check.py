"""A module and its model on the same random numbers: they must agree. Knows what parameters of `forward` are."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from torch import nn

from .interpret import Result
from .trace import Traced
from .values import BATCH, FEATURES, TIME, Layout

_LOG = logging.getLogger("gatewave.torch")
_ROWS = 2
#: Numbers of steps to try: a window may need many.
_STEPS = (5, 24, 200)
#: How far results may be apart, beside 1 and relatively, by how weights are stored.
_MOST = {"f32": 1e-3, "f16": 0.1, "int8": 0.5}


def difference(
    model: Any, module: nn.Module, traced: Traced, result: Result, constants: dict[str, Any], precision: str
) -> str | None:
    """Returns what differs, or nothing if both give the same, or if no numbers fit."""
    for steps in _STEPS:
        try:
            inputs, arrays = _drawn(traced, result, steps)
            wanted = _computed(module, inputs, constants)
            got = model.run(arrays)
        except (RuntimeError, ValueError, IndexError, KeyError, TypeError) as error:
            # The module, or the model, may be made for another number of steps.
            _LOG.debug("not compared with %d steps: %s", steps, error)
            continue
        return _compared(wanted, got, _MOST.get(precision, _MOST["f32"]))
    _LOG.info("from_torch did not compare the model with the module: no random numbers fit both")
    return None


def _drawn(traced: Traced, result: Result, steps: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draws what `forward` takes, by its names, and the same for the model."""
    draw = np.random.default_rng(0)
    fixed = result.description.get("steps")
    steps = fixed if isinstance(fixed, int) else steps
    inputs: dict[str, Any] = {}
    arrays: dict[str, Any] = {}
    renamed = not traced.named
    stacks = {layer["name"]: layer for layer in result.description["layers"] if layer["type"] in ("rnn", "lstm", "gru")}
    begun = {one["name"]: stacks[one["stack"]] for one in result.description.get("inputs", []) if "stack" in one}
    for node in traced.graph.nodes:
        if node.op != "placeholder" or not node.users:
            continue
        name = str(node.target)
        layout = result.layouts.get(name)
        if layout is None:
            layout = Layout("sequence", (BATCH, TIME, FEATURES))
        if layout.kind == "pair":
            inputs[name] = tuple(_state(draw, begun[one], one) for one in ("h_0", "c_0"))
            arrays.update({one: state.numpy() for one, state in zip(("h_0", "c_0"), inputs[name])})
            continue
        if layout.kind == "state":
            inputs[name] = _state(draw, begun[name], name)
        elif layout.kind == "lengths":
            # The longest row first, for enforce_sorted.
            inputs[name] = torch.tensor([steps, max(1, steps - 2)])
        else:
            lengths = {BATCH: _ROWS, TIME: steps, FEATURES: result.sizes.get(name, 1)}
            shape = tuple(lengths[axis] for axis in layout.axes)
            if layout.kind == "tokens":
                inputs[name] = torch.from_numpy(draw.integers(0, lengths[FEATURES], shape))
            else:
                inputs[name] = torch.from_numpy(draw.standard_normal(shape).astype(np.float32))
        arrays["x" if renamed else name] = inputs[name].numpy()
    return inputs, arrays


def _state(draw: np.random.Generator, stack: dict[str, Any], name: str) -> torch.Tensor:
    rows = stack["num_layers"] * (2 if stack["bidirectional"] else 1)
    size = stack["hidden_size"] if name == "c_0" else stack.get("proj_size") or stack["hidden_size"]
    return torch.from_numpy(draw.standard_normal((rows, _ROWS, size)).astype(np.float32))


def _computed(module: nn.Module, inputs: dict[str, Any], constants: dict[str, Any]) -> list[Any]:
    modes = [(part, part.training) for part in module.modules()]
    like = next((one for one in [*module.parameters(), *module.buffers()] if one.is_floating_point()), torch.zeros(1))

    def placed(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(placed(one) for one in value)
        return value.to(like) if value.is_floating_point() else value.to(like.device)

    try:
        module.eval()
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            given = {name: placed(value) for name, value in inputs.items()}
            result = module(*given.values()) if _is_torchs(module) else module(**given, **constants)
    finally:
        for part, training in modes:
            part.training = training
    return _flat(result)


def _is_torchs(module: nn.Module) -> bool:
    return getattr(type(module).forward, "__module__", "").startswith("torch.")


def _flat(result: Any) -> list[Any]:
    if isinstance(result, dict):
        result = tuple(result.values())
    if isinstance(result, (tuple, list)):
        return [one for part in result for one in _flat(part)]
    return [result] if isinstance(result, torch.Tensor) else []


def _compared(wanted: list[Any], got: dict[str, Any], most: float) -> str | None:
    text = "expected what the module gives on random numbers, got"
    for tensor, (name, values) in zip(wanted, got.items()):
        numbers = tensor.detach().cpu().float().numpy()
        if numbers.shape != values.shape:
            return f"{text} {name} of shape {list(values.shape)} in place of {list(numbers.shape)}"
        if not tensor.is_floating_point():
            continue
        apart = np.abs(numbers - values) > most * (1 + np.abs(numbers))
        if apart.any():
            place = [int(index) for index in np.argwhere(apart)[0]]
            return f"{text} {values[tuple(place)]} in place of {numbers[tuple(place)]} in {name} {place}"
    return None


