"""A model under training."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _arrays, _errors, _native
from ._model import Model, load
from ._settings import losses_of, optimizer_of
from ._tensors import Signature

if TYPE_CHECKING:
    Path = str | os.PathLike[str]


class Trainer:
    """A model under training: its weights and the state of its optimizer, on a device.

    Args:
        model: a `Model`, whose weights are copied; the path of a model's file; or a description (a `dict`, or the path
            of a ``.json`` file), whose weights are drawn.
        loss: ``"cross_entropy"``, ``"binary_cross_entropy"``, ``"mse"``, ``"mae"``, ``"huber"``, or `CrossEntropy`,
            `BinaryCrossEntropy` or `Huber` with their settings; a `dict` of these by output, if the model has several.
        optimizer: `SGD`, `RMSprop`, `Adam` or `AdamW`, or its name. What it leaves out is as in `like`.
        seed: the seed of first weights and of dropout.
        like: whose formulas, defaults and first weights are used: ``"torch"`` or ``"keras"``.
        device: as for `load`.
        clip_norm: bounds the norm of all gradients together.
        clip_tensor_norm: bounds the norm of each tensor's gradient (Keras' clipnorm).
        clip_value: bounds each element of the gradients.
        carry: whether each batch begins with the final states of the one before it.
        loss_weights: the factor of each output's loss.

    A batch is an input and its targets, or a `dict` of arrays by name::

        loss = trainer.step(x, y)
        loss = trainer.step({"x": x, "lengths": n, "y": y})

    Targets of classes are whole numbers; all others are numbers in the shape of the output. A model of several outputs
    takes a `dict` of targets by output. Threads may share the object: updates take turns.
    """

    def __init__(
        self,
        model: Model | Mapping[str, Any] | Path,
        loss: Any,
        optimizer: Any = "adam",
        seed: int = 0,
        like: str = "torch",
        *,
        device: str = "auto",
        clip_norm: float | None = None,
        clip_tensor_norm: float | None = None,
        clip_value: float | None = None,
        carry: bool = False,
        loss_weights: Mapping[str, float] | None = None,
    ):
        settings = _errors.to_json(
            "settings",
            {
                "losses": losses_of(loss, loss_weights),
                "optimizer": optimizer_of(optimizer),
                "seed": seed,
                "like": like,
                "clip_norm": clip_norm,
                "clip_tensor_norm": clip_tensor_norm,
                "clip_value": clip_value,
                "carry": carry,
            },
        )
        self._begin(_native_trainer(model, settings, device), device)

    def _begin(self, trainer: _native.Trainer, device: str) -> None:
        self._trainer = trainer
        self._device = device
        self._signature = Signature.of(trainer.inputs(), trainer.outputs())
        self._classes = _outputs_of_classes(trainer.settings())

    @classmethod
    def resume(cls, path: Path, device: str = "auto") -> Trainer:
        """Goes on where a trainer was saved: its next step is the one that would have followed."""
        trainer = cls.__new__(cls)
        trainer._begin(_native.Trainer.of_checkpoint(os.fspath(path), None, device), device)
        return trainer

    def save(self, path: Path) -> None:
        """Writes all that the training needs to go on to a ``.safetensors`` file, which `load` reads as a model."""
        self._trainer.save(os.fspath(path))

    def step(self, x: Any, y: Any | None = None, **named: Any) -> float:
        """Trains on one batch.

        Args:
            x: the input, ``[B, T, F]`` or ``[B, T]``; or a `dict` of all arrays by name.
            y: the targets.
            named: further arrays by name: ``lengths``, ``mask``, ``sample_weight`` (``[B]``, or one for each step),
                initial states.

        Returns:
            The loss before the update.
        """
        return self._named(self._trainer.step, self._batch(x, y, named))[0]

    def gradients(self, x: Any, y: Any | None = None, **named: Any) -> tuple[float, NDArray[np.float32]]:
        """Computes the loss of a batch and its gradient; the weights stay as they are.

        Returns:
            The loss, and the gradients of all tensors as one flat array, in the order of `layout`. It may be summed
            over machines in place, and `apply` takes it.
        """
        return self._named(self._trainer.gradients, self._batch(x, y, named))

    def apply(self, gradients: Any, loss: float = 0.0) -> float:
        """Updates the weights by a flat gradient, such as the mean of those of several machines.

        Returns:
            The norm of the gradient, before it is clipped.
        """
        flat = _arrays.floats("gradients", gradients)
        if flat.ndim != 1:
            raise _arrays.wrong(f"gradients: expected one axis, got {list(flat.shape)}")
        return self._trainer.apply(flat, loss)[0]

    def loss(self, x: Any, y: Any | None = None, **named: Any) -> float:
        """Computes the loss of a batch. Dropout drops nothing."""
        return self._named(self._trainer.loss, self._batch(x, y, named))

    def run(self, inputs: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """Runs the model with its present weights, as `Model.run` does."""
        return dict(self._named(self._trainer.run, self._signature.named(inputs)))

    @property
    def layout(self) -> dict[str, slice]:
        """The part of a flat gradient that each tensor has, by name. The order depends on the model alone."""
        parts, first = {}, 0
        for name, shape in self._trainer.layout():
            end = first + int(np.prod(shape, dtype=np.int64))
            parts[name], first = slice(first, end), end
        return parts

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor that is trained, by name, in the order of `layout`."""
        return {name: tuple(shape) for name, shape in self._trainer.layout()}

    def model(self, device: str | None = None, precision: str = "f32") -> Model:
        """Makes a model of a copy of the present weights, which later updates do not change."""
        options = (self._device if device is None else device, precision, None)
        return Model(self._trainer.engine(options), options, None)

    def state_dict(self) -> dict[str, NDArray[np.float32]]:
        """Copies of the present weights by name."""
        return dict(self._trainer.state_dict())

    @property
    def description(self) -> dict[str, Any]:
        """The model's description."""
        return json.loads(self._trainer.description())

    @property
    def updates(self) -> int:
        """How many updates there were."""
        return self._trainer.position()[1]

    @property
    def epochs(self) -> int:
        """How many epochs there were."""
        return self._trainer.position()[2]

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next update. To set it ends any schedule."""
        return self._trainer.position()[0]

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        self._trainer.set_learning_rate(rate)

    @property
    def device(self) -> str:
        """The device that computes, in words."""
        name, detail, _, is_cpu = self._trainer.device()
        return f"{name}{': ' if is_cpu else ', '}{detail}"

    def schedule(self, words: str | None, updates: int = 0, warm_up: int = 0) -> None:
        """Sets how the learning rate changes.

        Args:
            words: ``"cosine"`` or ``"linear"`` down to zero at the last update; ``"step,N,F"`` times F after every N
                epochs; ``"exponential,F"`` times F after each epoch; ``"plateau,N,F"`` times F after N epochs that are
                not better.
            updates: all updates of the training, which cosine, linear and a warm-up need.
            warm_up: raises the rate in a line from zero over so many updates first.
        """
        self._trainer.set_schedule(words, updates, warm_up)

    def end_epoch(self, loss: float) -> None:
        """Counts an epoch, and tells its loss to the schedule. `fit` does so by itself."""
        self._trainer.end_epoch(loss)

    def reset_states(self) -> None:
        """Forgets the states that batches carry: the next one begins where the model does."""
        self._trainer.reset_states()

    def __repr__(self) -> str:
        settings = json.loads(self._trainer.settings())
        losses = ", ".join(term["loss"]["name"] for term in settings["losses"])
        return (
            f"<gatewave.Trainer of {losses} by {settings['optimizer']['name']}, {self.updates} updates, {self.device}>"
        )

    def _named(self, compute: Any, arrays: list[tuple[str, NDArray[Any]]]) -> Any:
        try:
            return compute(arrays)
        except ValueError as error:
            self._signature.renamed(error)
            raise

    def _batch(self, x: Any, y: Any | None, named: Mapping[str, Any]) -> list[tuple[str, NDArray[Any]]]:
        return batch(self._signature, self._classes, x, y, named)


def _native_trainer(model: Any, settings: str, device: str) -> _native.Trainer:
    if isinstance(model, Model):
        return _native.Trainer.of_engine(model._engine, settings, device)
    if isinstance(model, Mapping):
        return _native.Trainer.of_description(_errors.to_json("description", model), settings, device)
    if isinstance(model, (str, os.PathLike)):
        path = os.fspath(model)
        if os.path.splitext(path)[1].lower() != ".json":
            return _native.Trainer.of_engine(load(path, device="cpu")._engine, settings, device)
        with open(path, encoding="utf-8") as file:
            return _native.Trainer.of_description(file.read(), settings, device)
    kind = f"{type(model).__module__}.{type(model).__name__}"
    raise _errors.make("model", f"model: expected a gatewave.Model, a description or a path, got {kind}")


def _outputs_of_classes(settings: str) -> set[str | None]:
    """Returns the outputs whose targets are classes; `None` stands for all."""
    return {term.get("output") for term in json.loads(settings)["losses"] if term["loss"]["name"] == "cross_entropy"}


def batch(
    signature: Signature,
    classes: set[str | None],
    x: Any,
    y: Any | None,
    named: Mapping[str, Any],
) -> list[tuple[str, NDArray[Any]]]:
    """Returns inputs and targets by name, as the native module takes them."""
    if isinstance(x, tuple) and len(x) == 2 and y is None:
        x, y = x
    given = signature.call([x], None, None, named) if x is not None else dict(named)
    if y is not None:
        targets = {f"y_{name}": value for name, value in y.items()} if isinstance(y, Mapping) else {"y": y}
        if not isinstance(y, Mapping) and len(signature.results) > 1:
            known = ", ".join(info.name for info in signature.results)
            raise _arrays.wrong(f"y: expected a dict of targets by output ({known}), got one array")
        both = sorted(given.keys() & targets.keys())
        if both:
            raise _arrays.wrong(f"{both[0]}: expected it once, got it twice")
        given.update(targets)
    arrays = []
    for name, value in given.items():
        kind = signature.kinds.get(name)
        if kind is not None:
            arrays.append((name, _arrays.of_kind(kind, name, value)))
        elif name == "y" or name.startswith("y_"):
            of = None if name == "y" else name[2:]
            is_class = None in classes or of in classes or (of is None and bool(classes))
            arrays.append((name, _arrays.integers(name, value) if is_class else _arrays.floats(name, value)))
        elif name.startswith("sample_weight"):
            arrays.append((name, _arrays.floats(name, value)))
        else:
            arrays.append((name, _arrays.either(name, value)))
    return arrays
