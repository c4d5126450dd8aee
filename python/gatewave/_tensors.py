"""The inputs and outputs of a model: what a call takes and gives, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from . import _arrays


@dataclass(frozen=True)
class TensorInfo:
    """An input or an output of a model.

    Attributes:
        name: the name under which a call takes or gives it.
        shape: the length of each axis; `None` where each call decides it (the batch, the steps).
        dtype: ``"float32"`` or ``"int64"``. What is passed is converted.
        axes: a letter for each axis: T (time), B (batch), F (features), L (layers times directions), D (directions), 1.
        kind: what it is: ``"features"``, ``"tokens"``, ``"lengths"``, ``"mask"``, ``"state"`` or ``"weights"`` of an
            input; ``"output"``, ``"largest"`` (an index), ``"hidden state"`` or ``"cell state"`` of an output.
        required: whether a call must have it.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    axes: str
    kind: str
    required: bool = True

    def __str__(self) -> str:
        shape = ", ".join("?" if length is None else str(length) for length in self.shape)
        return f"{self.name}: {self.dtype}[{shape}]"


@dataclass(frozen=True)
class Signature:
    """What a model takes and gives, as the native module lists it."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    # Every name of an input and its kind: one input may have several names.
    kinds: Mapping[str, str]
    # The names of each output: those of one value side by side.
    names: tuple[tuple[str, ...], ...] = field(default=())

    @staticmethod
    def of(inputs: Sequence[tuple[Any, ...]], outputs: Sequence[tuple[Any, ...]]) -> Signature:
        """Reads the lists of the native module, where a value may come under several names."""
        taken, seen = [], set()
        for name, kind, dtype, axes, shape, required, value in inputs:
            if value not in seen:
                seen.add(value)
                taken.append(TensorInfo(name, tuple(shape), dtype, axes, kind, required))
        given: dict[str, list[TensorInfo]] = {}
        for name, kind, dtype, axes, shape, value in outputs:
            given.setdefault(value, []).append(TensorInfo(name, tuple(shape), dtype, axes, kind))
        kinds = {name: kind for name, kind, *_ in inputs}
        names = tuple(tuple(info.name for info in group) for group in given.values())
        return Signature(tuple(taken), tuple(group[0] for group in given.values()), kinds, names)

    @property
    def sequences(self) -> tuple[TensorInfo, ...]:
        """The inputs of features and tokens, in the order of the model."""
        return tuple(info for info in self.inputs if info.kind in ("features", "tokens"))

    @property
    def results(self) -> tuple[TensorInfo, ...]:
        """The outputs that are no final states; all outputs if each is one."""
        results = tuple(info for info in self.outputs if not info.kind.endswith("state"))
        return results or self.outputs

    def named(self, given: Mapping[str, Any]) -> list[tuple[str, NDArray[Any]]]:
        """Returns inputs by name, as the native module takes them."""
        # A name that the model does not know goes as it is: the library says which names there are.
        kinds = self.kinds
        return [
            (name, _arrays.of_kind(kinds[name], name, value) if name in kinds else _arrays.either(name, value))
            for name, value in given.items()
        ]

    def renamed(self, error: ValueError) -> ValueError:
        """Returns `error` with the name of the input: the library calls the one sequence of a model "input"."""
        sequences = self.sequences
        text = str(error)
        if len(sequences) == 1 and text.startswith("input: "):
            error.args = (f"{sequences[0].name}: {text[len('input: ') :]}",)
        return error

    def call(
        self,
        args: Sequence[Any],
        lengths: Any | None,
        mask: Any | None,
        named: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Returns the inputs of a call by name: those without a name are the model's sequences in their order."""
        sequences = self.sequences
        if len(args) > len(sequences):
            known = ", ".join(info.name for info in sequences)
            raise _arrays.wrong(
                f"expected at most {len(sequences)} inputs without a name ({known}), got {len(args)}; "
                "pass others by name"
            )
        if len(args) == 1 and isinstance(args[0], Mapping):
            given = dict(args[0])
        else:
            given = {info.name: value for info, value in zip(sequences, args)}
        both = sorted(given.keys() & named.keys())
        if both:
            raise _arrays.wrong(f"{both[0]}: expected it once, got it by its place and by its name")
        given.update(named)
        for name, value in (("lengths", lengths), ("mask", mask)):
            if value is not None:
                given[name] = value
        return given
