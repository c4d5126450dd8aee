"""Layers, inputs and outputs → a description and its tensors. Knows the words of descriptions; knows no module."""

from __future__ import annotations

from itertools import chain, count
from typing import Any

import numpy as np
import torch

from .values import BATCH, FEATURES, LENGTHS, ONE, ROW, STATES, TIME, Layout, Refused, Value, Weights

#: The words of `ports` for axes.
_DIMS = {BATCH: "batch", TIME: "time", FEATURES: "features", ONE: "one", STATES: "layers"}
_STATE_AXES = (STATES, BATCH, FEATURES)
#: The layers that have a function of their own.
_WITH_FUNCTION = ("linear", "conv1d")


class Description:
    """A description in the making."""

    def __init__(self, taken: set[str]):
        self.layers: list[dict[str, Any]] = []
        self.tensors: dict[str, np.ndarray] = {}
        #: The name in the module of each tensor.
        self.names: dict[str, str] = {}
        #: Names of inputs, which no layer may have.
        self._taken = set(taken)

    def add(self, kind: str, name: str, sources: Any, **keys: Any) -> str:
        """Adds a layer and returns its name: `name`, or a variant that is free."""
        name = name.replace(".", "_").strip("_") or kind
        free, number = name, 1
        while free in self._taken:
            free, number = f"{name}_{number}", number + 1
        self._taken.add(free)
        sources = list(sources) if isinstance(sources, (list, tuple)) else sources
        layer = {"type": kind, "name": free, "from": sources}
        layer.update({key: value for key, value in keys.items() if value is not None})
        self.layers.append(layer)
        return free

    def weights(self, path: str, tensors: dict[str, Weights]) -> str:
        """Adds the tensors of a layer. Returns their prefix.

        Two layers that have a tensor in common take one prefix, if that is its only difference: they share it.
        """
        own = f"{path}." if path else ""
        named_alike = [(local, one.name) for local, one in tensors.items() if one.name.endswith(f".{local}")]
        shared = [name[:-len(local)] for local, name in named_alike]
        for prefix in chain(dict.fromkeys(shared), [own], (f"part_{number}." for number in count())):
            keys = {f"{prefix}{local}": weights for local, weights in tensors.items()}
            if all(self.names.get(key, weights.name) == weights.name for key, weights in keys.items()):
                break
        for key, weights in keys.items():
            self.names[key] = weights.name
            self.tensors[key] = array(weights.tensor)
        return prefix

    def last(self) -> dict[str, Any] | None:
        return self.layers[-1] if self.layers else None


def array(tensor: torch.Tensor) -> np.ndarray:
    """Returns a copy of a tensor's numbers as 32-bit floats."""
    return np.array(tensor.detach().to(device="cpu", dtype=torch.float32).numpy(), copy=True, order="C")


def fuse(layers: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
    """Moves functions into the layers that they follow, where nothing else takes what that layer gives."""
    by_name = {layer["name"]: layer for layer in layers}
    for layer in list(layers):
        before = by_name.get(layer["from"]) if isinstance(layer["from"], str) else None
        if layer["type"] != "activation" or before is None or before["type"] not in _WITH_FUNCTION:
            continue
        if "activation" in before or _takers(before["name"], layers, outputs) != 1:
            continue
        before["activation"] = layer["activation"]
        layers.remove(layer)
        _rename(layer["name"], before["name"], layers, outputs)


def _takers(name: str, layers: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> int:
    taken = [source for layer in layers for source in _sources(layer)]
    taken += [output["from"] for output in outputs]
    return sum(source == name for source in taken)


def _sources(layer: dict[str, Any]) -> list[str]:
    sources = layer["from"] if isinstance(layer["from"], list) else [layer["from"]]
    return sources + [layer[key] for key in ("h_0", "c_0") if key in layer]


def _rename(old: str, new: str, layers: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
    def one(name: str) -> str:
        return new if name == old else name

    for layer in layers:
        layer["from"] = [one(name) for name in layer["from"]] if isinstance(layer["from"], list) else one(layer["from"])
        layer.update({key: one(layer[key]) for key in ("h_0", "c_0") if key in layer})
    for output in outputs:
        output["from"] = one(output["from"])


class Ends:
    """The inputs and outputs of a description, and the ports if their names or axes are not the usual ones."""

    def __init__(self, layouts: dict[str, Layout], sizes: dict[str, int], layers: list[dict[str, Any]], named: bool):
        self._layers, self._named = layers, named
        self._inputs: list[tuple[str, str, tuple[str, ...], dict[str, Any]]] = []
        self._lengths: list[tuple[str, str]] = []
        self._begun: dict[str, list[str]] = {}
        stacks = [layer["name"] for layer in layers if layer["type"] in ("rnn", "lstm", "gru")]
        self._stack = {name: index for index, name in enumerate(stacks)}
        first = next((layout for layout in layouts.values() if TIME in layout.axes), None)
        self.batch_first = first is None or first.axes.index(BATCH) < first.axes.index(TIME)
        for name, layout in layouts.items():
            if layout.kind in ("sequence", "tokens", "row"):
                size = sizes.get(name, 1 if layout.bare else None)
                self._inputs.append((name, layout.kind, layout.axes, {"size": size} if size else {}))

    def begin(self, name: str, word: str, stacks: list[str]) -> None:
        """Adds an input of states that the layers `stacks` begin at."""
        self._inputs.append((name, word, _STATE_AXES, {"stack": stacks[0]}))
        self._begun[name] = stacks

    def lengths(self, name: str, sequence: str) -> None:
        """Adds the lengths of the input `sequence`."""
        self._lengths.append((name, sequence))

    def write(self, description: dict[str, Any], outputs: list[dict[str, Any]]) -> None:
        """Adds `batch_first`, `inputs`, `outputs` and `ports` to `description`."""
        features = [name for name, kind, *_ in self._inputs if kind in ("sequence", "tokens", "row")]
        if len(features) == 1 and not self._named:
            self._call_usual(features[0])
            features = ["x"]
        if not features:
            raise Refused("expected a forward that computes with what it takes, got none")
        description["batch_first"] = self.batch_first
        ports = self._input_ports()
        usual = len(self._inputs) == 1 and features == ["x"] and not ports
        if not usual or not self._is_told():
            inputs = [{"name": name, "type": kind, **keys} for name, kind, _, keys in self._inputs]
            description["inputs"] = inputs
        description["layers"] = self._layers
        given = self._output_ports(outputs)
        if given or not self._are_usual(outputs):
            description["outputs"] = [{"name": output["name"], "from": output["from"]} for output in outputs]
        if ports or given:
            description["ports"] = {key: value for key, value in (("inputs", ports), ("outputs", given)) if value}

    def _is_told(self) -> bool:
        """Whether the first layer that takes the only input tells its size."""
        name = self._inputs[0][0]
        taker = next((layer for layer in self._layers if name in _sources(layer)), None)
        return taker is not None and taker["type"] in ("embedding", "linear", "conv1d", "rnn", "lstm", "gru", "one_hot")

    def _call_usual(self, name: str) -> None:
        _rename(name, "x", self._layers, [])
        self._inputs = [("x" if one == name else one, *rest) for one, *rest in self._inputs]  # type: ignore[misc]

    def _standard(self, kind: str) -> tuple[str, ...]:
        if kind == "row":
            return ROW
        if kind in ("hidden", "cell"):
            return _STATE_AXES
        steps = (BATCH, TIME) if self.batch_first else (TIME, BATCH)
        return steps if kind == "tokens" else (*steps, FEATURES)

    def _main(self) -> int:
        kinds = [kind for _, kind, *_ in self._inputs]
        return next((index for index, kind in enumerate(kinds) if kind in ("sequence", "tokens")), 0)

    def _input_ports(self) -> list[dict[str, Any]]:
        main = self._main()
        usual = all(axes == self._standard(kind) for _, kind, axes, _ in self._inputs)
        sequences = [name for name, kind, *_ in self._inputs if kind in ("sequence", "tokens")]
        # The only sequence has lengths without its name.
        short = {sequences[0]} if len(sequences) == 1 else set()
        for name, sequence in self._lengths:
            usual = usual and (name == f"{sequence}_lengths" or sequence in short and name == "lengths")
        if usual:
            return []
        ports = []
        for index, (name, kind, axes, _) in enumerate(self._inputs):
            values: list[dict[str, Any]] = [{"value": "input", "input": index}]
            if kind in ("hidden", "cell"):
                values = [{"value": kind, "stack": self._stack[stack]} for stack in self._begun[name]]
            elif index == main:
                values = [{"value": "sequence"}]
            ports += [{"name": name, **value, "axes": dims(axes)} for value in values]
        for name, sequence in self._lengths:
            index = [name for name, *_ in self._inputs].index(sequence)
            ports.append({"name": name, "value": "lengths", "input": index, "axes": dims(LENGTHS.axes)})
        return ports

    def _output_ports(self, outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        usual = True
        ports, features = [], 0
        for output in outputs:
            axes, word = output["axes"], output.get("state")
            port: dict[str, Any] = {"name": output["name"]}
            if word:
                usual = usual and axes == _STATE_AXES
                port.update(value=word, stacks=[self._stack[output["from"].rpartition(".")[0]]])
            else:
                kind = "sequence" if output["has_time"] else "row"
                usual = usual and axes == self._standard(kind) and not output.get("largest")
                if output.get("largest"):
                    port.update(value="largest", another=features)
                elif features:
                    port.update(value="another", another=features)
                else:
                    port["value"] = "output"
                features += 1
            ports.append({**port, "axes": dims(axes)})
        return [] if usual else ports

    def _are_usual(self, outputs: list[dict[str, Any]]) -> bool:
        """Whether a description without outputs gives the same: what its last layer gives first, then all states."""
        first, *states = outputs
        if first.get("state") or self._layers[-1]["name"] != first["from"] or first["name"] != "output":
            return False
        given = {(output["name"], output["from"]) for output in states}
        return not states or given == set(self._usual_states())

    def _usual_states(self) -> list[tuple[str, str]]:
        names = []
        for stack, index in self._stack.items():
            kind = next(layer["type"] for layer in self._layers if layer["name"] == stack)
            behind = f".{index}" if index else ""
            words = (("h_n", "hidden"), ("c_n", "cell")) if kind == "lstm" else (("h_n", "hidden"),)
            names += [(f"{name}{behind}", f"{stack}.{word}") for name, word in words]
        return names


def dims(axes: tuple[Any, ...]) -> list[str]:
    """Returns the words of `axes` in a port."""
    for axis in axes:
        if axis not in _DIMS:
            raise Refused(f"expected results with axes of their own, got {named(axes)}")
    return [_DIMS[axis] for axis in axes]


def named(axes: tuple[Any, ...] | None) -> str:
    """Returns `axes` for a message: `[batch, time, features]`."""
    if axes is None:
        return "[unknown axes]"
    words = ["·".join(axis) if isinstance(axis, tuple) else str(axis) for axis in axes]
    return f"[{', '.join(words)}]"


def shown(value: Any) -> str:
    """Returns what a value is, for a message."""
    if isinstance(value, Value):
        return ("tokens " if value.tokens else "") + named(value.axes)
    if hasattr(value, "axes"):
        return f"{type(value).__name__.lower()} {named(value.axes)}"
    return type(value).__name__ if not isinstance(value, (int, float, str, bool, type(None))) else repr(value)
