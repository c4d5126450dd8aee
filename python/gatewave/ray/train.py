"""Data-parallel training: each worker has a part of every batch, and all apply the mean of their gradients."""

from __future__ import annotations

import importlib.util
import os
import tempfile
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayError

from gatewave import CrossEntropy, Model, Trainer, _errors

from .actors import device_of, take_threads

#: Counts what a loss is a mean over, in a batch of arrays by name.
Count = Callable[[Mapping[str, Any]], float]


@dataclass
class Training:
    """What `train` gave.

    Attributes:
        model: the trained model, on the CPU of the driver.
        losses: the mean loss of each epoch, before its updates.
        updates: how many updates there were, those of an earlier run included.
        restarts: how often workers were lost, and started again from the last checkpoint.
        backend: how gradients were averaged: ``"gloo"`` or ``"plain"``.
    """

    model: Model
    losses: list[float] = field(default_factory=list)
    updates: int = 0
    restarts: int = 0
    backend: str = ""


def train(
    model: Any,
    data: Any,
    loss: Any,
    optimizer: Any = "adam",
    *,
    epochs: int = 1,
    batch_size: int = 32,
    workers: int = 2,
    shuffle: bool = True,
    seed: int = 0,
    like: str = "torch",
    num_cpus: float = 1,
    num_gpus: float = 0,
    device: Any = "cpu",
    backend: str = "auto",
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    max_restarts: int = 3,
    count: Count | None = None,
    callback: Callable[[int, float], Any] | None = None,
    **options: Any,
) -> Training:
    """Trains a model on several workers, with the same updates as `Trainer.step` on whole batches.

    Every batch of `batch_size` rows is cut into parts, one for each worker. Gradients have the weight of what counts in
    their part: rows, or live steps with a target. So the mean is that of the whole batch, up to rounding. The weights
    of all workers are equal after each update.

    Args:
        model, loss, optimizer, seed, like, options: as for `gatewave.Trainer`. Workers draw the same dropout for rows
            at the same place of their parts.
        data: a pair of input and targets, or a `dict` of arrays by name, as `Trainer.step` takes them. They go once
            into Ray's store.
        epochs: how often to go through the data.
        batch_size: the rows of a batch, over all workers.
        workers: how many workers.
        shuffle: whether each epoch has an order of its own, by the seed.
        num_cpus, num_gpus, device: what each worker has, and where it computes; see `Predictor`.
        backend: ``"gloo"`` averages between workers by `ray.util.collective`, which needs PyTorch in each worker;
            ``"plain"`` sends gradients to the driver. ``"auto"`` takes gloo if workers have PyTorch.
        checkpoint: a file that the driver keeps up to date; without it, checkpoints stay in memory.
        checkpoint_every: the updates from one checkpoint to the next; an epoch by default.
        resume: goes on from `checkpoint`, if there is such a file.
        max_restarts: how often to start again from the last checkpoint after a worker is lost.
        count: returns what counts in a batch of arrays by name. It is needed if the model masks steps by itself, or has
            several outputs and lengths.
        callback: is called with the epoch, counted from 1, and its loss; a true result ends the training.

    Raises:
        ValueError: the model or the data do not fit, or `count` is needed.
        ray.exceptions.RayError: more workers were lost than `max_restarts` allows.
    """
    if workers < 1 or batch_size < 1 or epochs < 0:
        text = f"workers, batch_size: expected 1 or more, got {workers} and {batch_size}"
        raise _errors.make("training", text)
    if backend not in ("auto", "gloo", "plain"):
        raise _errors.make("training", f"backend: expected auto, gloo or plain, got {backend}")
    arrays = _named(data)
    first = _first_state(model, loss, optimizer, seed, like, options, checkpoint if resume else None)
    axes = _BatchAxes(first.model(device="cpu"), arrays)
    if count is None:
        count = _usual_count(first, loss, arrays)
    plan = _Plan(axes.rows(arrays), batch_size, workers, shuffle, seed)
    every = plan.steps if checkpoint_every is None else max(1, checkpoint_every)
    run = _Run(ray.put(arrays), axes, plan, count, _bytes_of(first), workers, num_cpus, num_gpus, device, backend)
    result = Training(first.model(device="cpu"), updates=first.updates)
    sums: dict[int, np.ndarray] = {}
    try:
        while result.updates < epochs * plan.steps:
            epoch = result.updates // plan.steps
            end = min((epoch + 1) * plan.steps, result.updates + every)
            try:
                run.start()
                found = run.steps(result.updates, end)
                data_bytes = run.save()
            except RayError:
                result.restarts += 1
                run.stop()
                if result.restarts > max_restarts:
                    raise
                continue
            run.state, result.updates = data_bytes, end
            sums[epoch] = sums.get(epoch, np.zeros(2)) + found
            if checkpoint is not None:
                _replace(checkpoint, data_bytes)
            if end % plan.steps == 0:
                mean = float(sums[epoch][0] / sums[epoch][1])
                result.losses.append(mean)
                if callback is not None and callback(epoch + 1, mean):
                    break
    finally:
        run.stop()
    result.backend = run.backend
    result.model = _resumed(run.state, "cpu").model(device="cpu")
    return result


def _named(data: Any) -> dict[str, Any]:
    """Returns the data as arrays by name; an input without a name is `x`."""
    if isinstance(data, tuple) and len(data) == 2:
        x, y = data
        named = dict(x) if isinstance(x, Mapping) else {"": x}
        named.update({f"y_{name}": value for name, value in y.items()} if isinstance(y, Mapping) else {"y": y})
    elif isinstance(data, Mapping):
        named = dict(data)
    else:
        text = f"data: expected a pair of input and targets, or a dict of arrays, got {type(data).__name__}"
        raise _errors.make("shape", text)
    return {name: np.asarray(value) for name, value in named.items()}


def _first_state(
    model: Any, loss: Any, optimizer: Any, seed: int, like: str, options: Mapping[str, Any], path: Any
) -> Trainer:
    if path is not None and os.path.exists(path):
        return Trainer.resume(path, device="cpu")
    return Trainer(model, loss, optimizer, seed, like, device="cpu", **options)


class _BatchAxes:
    """The axis of the rows in each array, whose name the model may leave out."""

    def __init__(self, model: Model, arrays: Mapping[str, Any]):
        taken = {info.name: info.axes for info in model.inputs}
        results = [info for info in model.outputs if not info.kind.endswith("state")] or list(model.outputs)
        given = {info.name: info.axes for info in results}
        main = next((info for info in model.inputs if info.kind in ("features", "tokens")), model.inputs[0])
        self.of: dict[str, int] = {}
        for name in arrays:
            if name == "":
                axes = main.axes
            elif name in taken:
                axes = taken[name]
            else:
                # Targets and weights have the axes of their output, as far as they go.
                output = next((one for one in given if name in (f"y_{one}", f"sample_weight_{one}")), results[0].name)
                axes = given[output]
            place = axes.find("B")
            self.of[name] = place if 0 <= place < arrays[name].ndim else 0
        self.main = main.name

    def rows(self, arrays: Mapping[str, Any]) -> int:
        counts = {array.shape[self.of[name]] for name, array in arrays.items()}
        if len(counts) != 1:
            told = ", ".join(f"{name or self.main} {list(array.shape)}" for name, array in arrays.items())
            raise _errors.make("shape", f"data: expected as many rows in each array, got {told}")
        rows = counts.pop()
        if rows == 0:
            raise _errors.make("shape", "data: expected at least one row, got none")
        return rows

    def part(self, arrays: Mapping[str, Any], rows: Any) -> dict[str, Any]:
        """Returns some rows of all arrays."""
        return {name or self.main: array.take(rows, axis=self.of[name]) for name, array in arrays.items()}


class _Plan:
    """Which rows each worker has in each step: a matter of the seed and the step alone."""

    def __init__(self, rows: int, batch_size: int, workers: int, shuffle: bool, seed: int):
        self.rows, self.batch_size, self.workers = rows, batch_size, workers
        self.shuffle, self.seed = shuffle, seed
        self.steps = -(-rows // batch_size)

    def part(self, step: int, worker: int) -> Any:
        epoch, place = divmod(step, self.steps)
        order = np.arange(self.rows)
        if self.shuffle:
            order = np.random.default_rng([self.seed, epoch]).permutation(self.rows)
        batch = order[place * self.batch_size:(place + 1) * self.batch_size]
        return np.array_split(batch, self.workers)[worker]


def _usual_count(trainer: Trainer, loss: Any, arrays: Mapping[str, Any]) -> Count:
    """Returns what counts the rows, or the live steps with a target that is not ignored."""
    model = trainer.model(device="cpu")
    results = [info for info in model.outputs if not info.kind.endswith("state")] or list(model.outputs)
    steps = any("T" in info.axes for info in results)
    masks = [layer for layer in model.description["layers"]
             if layer["type"] == "masking" or layer.get("mask_token") is not None]
    lengths = [info.name for info in model.inputs if info.kind in ("lengths", "mask") and info.name in arrays]
    if steps and (masks or lengths and len(results) > 1):
        why = "masks steps by itself" if masks else "has several outputs and lengths"
        text = f"count: expected a function that counts what the loss is a mean over, since the model {why}, got none"
        raise _errors.make("training", text)
    target = "y" if "y" in arrays else f"y_{results[0].name}"
    if target not in arrays:
        raise _errors.make("shape", f"data: expected targets under y, got {', '.join(arrays)}")
    ignored = loss.ignore if isinstance(loss, CrossEntropy) else -100
    classes = isinstance(loss, CrossEntropy) or loss == "cross_entropy"
    return _UsualCount(target, results[0].axes if len(results) == 1 else "B", classes, ignored, lengths)


@dataclass
class _UsualCount:
    target: str
    axes: str
    classes: bool
    ignored: int
    lengths: list[str]

    def __call__(self, part: Mapping[str, Any]) -> float:
        y = part[self.target]
        axes = self.axes.replace("F", "")
        if "T" not in axes or y.ndim < len(axes):
            return float(np.sum(y != self.ignored) if self.classes else y.shape[0])
        # Rows first, then steps.
        y = y if axes.index("B") == 0 else np.swapaxes(y, 0, 1)
        live = np.ones(y.shape[:2], bool)
        for name in self.lengths:
            given = part[name]
            live &= (np.arange(y.shape[1]) < given[:, None]) if given.ndim == 1 else given != 0
        if self.classes:
            live &= y.reshape(live.shape) != self.ignored
        return float(live.sum())


class _Worker:
    """Holds a trainer, and computes its part of each batch."""

    def __init__(self, arrays: Any, axes: _BatchAxes, plan: _Plan, count: Count, rank: int, state: bytes, device: Any):
        take_threads(None)
        # Ray gives the arrays themselves in place of the reference, read-only and shared by the workers of a node.
        self._arrays, self._axes, self._plan, self._count, self._rank = arrays, axes, plan, count, rank
        self._trainer = _resumed(state, device_of(device))
        self._group: str | None = None

    def has_torch(self) -> bool:
        return importlib.util.find_spec("torch") is not None

    def join(self, group: str, world: int) -> None:
        from ray.util import collective

        collective.init_collective_group(world, self._rank, "gloo", group_name=group)
        self._group = group

    def gradient(self, step: int) -> Any:
        """Returns the gradient of this worker's part times what counts in it; then the loss likewise, and the count."""
        part = self._axes.part(self._arrays, self._plan.part(step, self._rank))
        size = sum(piece.stop - piece.start for piece in self._trainer.layout.values())
        sums = np.zeros(size + 2, np.float32)
        rows = next(iter(part.values())).size
        counted = self._count(part) if rows else 0.0
        if counted > 0:
            loss, flat = self._trainer.gradients(part)
            sums[:size] = flat * np.float32(counted)
            sums[size:] = loss * counted, counted
        return sums

    def apply(self, sums: Any) -> Any:
        """Updates by the sums of all workers. Returns the sum of the loss and the count."""
        counted = sums[-1]
        if counted <= 0:
            raise _errors.make("training", "data: expected something that counts in each batch, got none")
        self._trainer.apply(sums[:-2] / counted, float(sums[-2] / counted))
        return sums[-2:].astype(np.float64)

    def steps(self, first: int, end: int) -> Any:
        """Computes steps by itself, with sums between workers."""
        from ray.util import collective

        total = np.zeros(2)
        for step in range(first, end):
            sums = self.gradient(step)
            collective.allreduce(sums, self._group)
            total += self.apply(sums)
        return total

    def save(self) -> bytes:
        return _bytes_of(self._trainer)

    def weights(self) -> dict[str, Any]:
        return self._trainer.state_dict()


class _Run:
    """The workers of a training, which may be lost and started again."""

    def __init__(
        self, arrays: Any, axes: _BatchAxes, plan: _Plan, count: Count, state: bytes, workers: int, num_cpus: float,
        num_gpus: float, device: Any, backend: str,
    ):
        self._given = (arrays, axes, plan, count)
        self._workers, self._device = workers, device
        self._actor = ray.remote(_Worker).options(num_cpus=num_cpus, num_gpus=num_gpus)
        self.state, self.backend = state, backend
        self.actors: list[Any] = []

    def start(self) -> None:
        """Starts workers from the last state, if there are none."""
        if self.actors:
            return
        arrays, axes, plan, count = self._given
        state = ray.put(self.state)
        self.actors = [self._actor.remote(arrays, axes, plan, count, rank, state, self._device)
                       for rank in range(self._workers)]
        have_torch = all(ray.get([actor.has_torch.remote() for actor in self.actors]))
        if self.backend == "auto":
            self.backend = "gloo" if have_torch and self._workers > 1 else "plain"
        if self.backend == "gloo":
            if not have_torch:
                raise _errors.make("training", "backend: expected PyTorch in each worker for gloo, got none; use plain")
            group = f"gatewave-{uuid.uuid4()}"
            ray.get([actor.join.remote(group, self._workers) for actor in self.actors])

    def steps(self, first: int, end: int) -> Any:
        """Computes steps. Returns the sum of the loss and of what counts."""
        if self.backend == "gloo":
            return ray.get([actor.steps.remote(first, end) for actor in self.actors])[0]
        total = np.zeros(2)
        for step in range(first, end):
            parts = ray.get([actor.gradient.remote(step) for actor in self.actors])
            sums = ray.put(np.sum(parts, axis=0))
            total += ray.get([actor.apply.remote(sums) for actor in self.actors])[0]
        return total

    def save(self) -> bytes:
        return ray.get(self.actors[0].save.remote())

    def stop(self) -> None:
        for actor in self.actors:
            ray.kill(actor)
        self.actors = []


def _bytes_of(trainer: Trainer) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "checkpoint.safetensors")
        trainer.save(path)
        with open(path, "rb") as file:
            return file.read()


def _resumed(state: bytes, device: str) -> Trainer:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "checkpoint.safetensors")
        with open(path, "wb") as file:
            file.write(state)
        return Trainer.resume(path, device=device)


def _replace(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes a file that is whole whenever somebody reads it."""
    beside = f"{os.fspath(path)}.part"
    with open(beside, "wb") as file:
        file.write(data)
    os.replace(beside, path)
