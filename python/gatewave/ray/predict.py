"""Batch inference: an actor for `Dataset.map_batches`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import ray.data

from gatewave import Model, TensorInfo, _errors

from .actors import data_of, device_of, found, model_of, take_threads

#: What a row of one value is padded with.
_PAD = 0


class Predictor:
    """Runs a model on the batches of a dataset: for `Dataset.map_batches`, as a class of actors.

    ::

        ds.map_batches(Predictor, fn_constructor_args=("model.onnx",), fn_constructor_kwargs={"keep": ["id"]},
                       compute=ray.data.ActorPoolStrategy(size=4), num_cpus=1, batch_size=256)

    The first axis of each column is the rows, whatever the order of axes in the model. Rows of different lengths are
    padded, and their lengths passed to the model. What it gives for steps has each row's own length again.

    Args:
        model: the path of a model's file, its bytes, or a `Model`.
        description: the description beside a file that holds weights alone, as for `gatewave.load`.
        inputs: the column of each input, by the input's name. An input that is left out has a column of its name; a
            model of one input takes the only column that is not kept.
        outputs: the name of the column of each result, by the result's name. By default all that are no final states.
        keep: columns that go on as they are, such as a row's id. The order of rows is not kept by Ray.
        threads: the threads to compute with; by default the actor's CPUs.
        device: where to compute, as for `gatewave.load`; or a list of names, one for each GPU index of the node.
        precision: how weights are stored, as for `gatewave.load`.
        set: numbers of inputs of an ONNX graph, as for `gatewave.load`.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes | Model,
        description: Any = None,
        *,
        inputs: Mapping[str, str] | None = None,
        outputs: Mapping[str, str] | None = None,
        keep: Sequence[str] = (),
        threads: int | None = None,
        device: str | Sequence[str] = "auto",
        precision: str = "f32",
        set: Mapping[str, float] | None = None,
    ) -> None:
        self.threads = take_threads(threads)
        self.model = model_of(found(model), description, device_of(device), precision, set)
        self._keep = [keep] if isinstance(keep, str) else list(keep)
        self._taken = {info.name: info for info in self.model.inputs}
        self._given = {info.name: info for info in self.model.outputs}
        results = [info.name for info in self.model.outputs if not info.kind.endswith("state")]
        self._outputs = dict(outputs) if outputs is not None else {name: name for name in results or self._given}
        self._inputs = dict(inputs or {})
        for what, names, known in (("inputs", self._inputs, self._taken), ("outputs", self._outputs, self._given)):
            unknown = [name for name in names if name not in known]
            if unknown:
                text = f"{what}: expected names of the model ({', '.join(known)}), got {unknown[0]}"
                raise _errors.make("shape", text)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Computes one batch of columns."""
        columns = self._columns(batch)
        given: dict[str, Any] = {}
        lengths: dict[str, Any] = {}
        for name, column in columns.items():
            array, own = _dense(batch[column], column, self._taken[name])
            given[name] = _to_axes(array, self._taken[name], column)
            if own is not None:
                lengths[name] = own
                given[self._lengths(name)] = own
        kept = {column: batch[column] for column in self._keep}
        rows = len(next(iter(batch.values()))) if batch else 0
        if rows == 0:
            empty = {column: np.zeros((0,), np.float32) for column in self._outputs.values()}
            return {**kept, **empty}
        results = self.model.run(given, list(self._outputs))
        every = next(iter(lengths.values())) if lengths else None
        out = {}
        for name, column in self._outputs.items():
            out[column] = _to_rows(results[name], self._given[name], every)
        return {**kept, **out}

    def _columns(self, batch: Mapping[str, Any]) -> dict[str, str]:
        """Returns the column of each input."""
        columns = dict(self._inputs)
        needed = [name for name, info in self._taken.items() if info.required and name not in columns]
        free = [column for column in batch if column not in self._keep and column not in columns.values()]
        if len(needed) == 1 and needed[0] not in batch and len(free) == 1:
            columns[needed[0]] = free[0]
        else:
            columns.update({name: name for name in needed})
        # Lengths, masks and states may be there, under their own names.
        columns.update({name: name for name in self._taken if name in batch and name not in columns})
        missing = [column for column in [*self._keep, *columns.values()] if column not in batch]
        if missing:
            text = f"{missing[0]}: expected a column of this name, got {', '.join(batch)}; inputs={{…}} names others"
            raise _errors.make("shape", text)
        return columns

    def _lengths(self, name: str) -> str:
        own = f"{name}_lengths"
        known = [info.name for info in self._taken.values() if info.kind == "lengths"]
        for candidate in (own, "lengths", *(known if len(known) == 1 else ())):
            if candidate in known:
                return candidate
        raise _errors.make(
            "shape", f"{name}: expected rows of one length, since the model takes no lengths, got rows of several; "
            "sort them by length, or pad them"
        )


def _dense(column: Any, name: str, info: TensorInfo) -> tuple[Any, Any]:
    """Returns a column as one array, and the lengths of its rows if they differ."""
    array = np.asarray(column)
    if array.dtype != object:
        return array, None
    rows = [np.asarray(row.tolist() if getattr(row, "dtype", None) == object else row) for row in column]
    if any(row.dtype == object or row.dtype.kind in "USOM" for row in rows):
        raise _errors.make("shape", f"{name}: expected numbers, got {next(iter(rows)).dtype}")
    shapes = {row.shape for row in rows}
    if len(shapes) <= 1:
        return np.stack(rows) if rows else np.zeros((0,), np.float32), None
    tails = {shape[1:] for shape in shapes}
    if len(tails) != 1 or () in shapes or "T" not in info.axes:
        got = " and ".join(str(list(shape)) for shape in sorted(shapes)[:2])
        raise _errors.make("shape", f"{name}: expected rows that differ in their number of steps alone, got {got}")
    lengths = np.array([len(row) for row in rows], np.int64)
    padded = np.full((len(rows), int(lengths.max()), *tails.pop()), _PAD, np.result_type(*rows))
    for place, row in enumerate(rows):
        padded[place, :len(row)] = row
    return padded, lengths


def _to_axes(array: Any, info: TensorInfo, column: str) -> Any:
    """Moves the rows from the first axis to the place that the model has for them."""
    place = info.axes.find("B")
    if array.ndim == len(info.axes) - 1 and info.axes.endswith("F") and info.shape[-1] == 1:
        # A feature of one number needs no axis.
        array = array[..., None]
    if array.ndim != len(info.axes):
        got = list(array.shape)
        text = f"{column}: expected {len(info.axes)} axes, rows first, for {info.name} ({info.axes}), got {got}"
        raise _errors.make("shape", text)
    return np.moveaxis(array, 0, place) if place > 0 else array


def _to_rows(array: Any, info: TensorInfo, lengths: Any) -> Any:
    """Moves the rows to the first axis, and cuts each to its own length."""
    place = info.axes.find("B")
    array = np.moveaxis(array, place, 0) if place > 0 else array
    axes = "B" + info.axes.replace("B", "")
    if lengths is None or "T" not in axes:
        return array
    steps = axes.index("T")
    if array.shape[steps] != int(lengths.max()):
        # The steps are of the model's own making: they are not those of the rows.
        return array
    rows = np.empty(len(lengths), object)
    for place, length in enumerate(lengths):
        rows[place] = np.ascontiguousarray(array[place].take(range(int(length)), axis=steps - 1))
    return rows


def predict(
    dataset: ray.data.Dataset,
    model: str | os.PathLike[str] | bytes | Model,
    description: Any = None,
    *,
    actors: int | tuple[int, int] = 1,
    batch_size: int | None = 256,
    num_cpus: float = 1,
    num_gpus: float = 0,
    **options: Any,
) -> ray.data.Dataset:
    """Returns the dataset of a model's results: `Dataset.map_batches` with a pool of `Predictor`.

    Args:
        dataset: the dataset.
        model, description, options: as for `Predictor`.
        actors: how many actors, or the least and the most. Leave a CPU of the cluster free beside them: see
            `docs/scale.md`.
        batch_size: the rows of a batch.
        num_cpus, num_gpus: what each actor has. It computes with as many threads as it has CPUs.
    """
    size = {"size": actors} if isinstance(actors, int) else {"min_size": actors[0], "max_size": actors[1]}
    return dataset.map_batches(
        Predictor,
        fn_constructor_args=(data_of(model), description),
        fn_constructor_kwargs=options,
        compute=ray.data.ActorPoolStrategy(**size),
        batch_size=batch_size,
        batch_format="numpy",
        num_cpus=num_cpus,
        num_gpus=num_gpus or None,
    )
