"""Training over epochs, as Keras' `fit` does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import _arrays, _errors, _native
from ._model import Model
from ._trainer import Trainer, batch

if TYPE_CHECKING:
    Path = str | os.PathLike[str]


@dataclass(frozen=True)
class Epoch:
    """The results of an epoch.

    Attributes:
        number: the number of the epoch, counted from 1 over all of the trainer's.
        loss: the mean loss of its batches before their updates.
        val_loss: the loss on the validation rows after it; `None` without such.
        metrics: the metrics on the training rows, if they are measured.
        val_metrics: the metrics on the validation rows.
        better: whether it is the best so far.
        learning_rate: the learning rate of its last update.
        seconds: the time it took, validation included.
    """

    number: int
    loss: float
    val_loss: float | None
    metrics: Mapping[str, float]
    val_metrics: Mapping[str, float]
    better: bool
    learning_rate: float
    seconds: float

    def __str__(self) -> str:
        parts = [f"epoch {self.number}", f"loss {self.loss:.4f}"]
        if self.val_loss is not None:
            parts.append(f"val_loss {self.val_loss:.4f}")
        parts += [f"{name} {value:.4f}" for name, value in self.metrics.items()]
        parts += [f"val_{name} {value:.4f}" for name, value in self.val_metrics.items()]
        return "  ".join(parts)


@dataclass
class History:
    """What a `fit` gave.

    Attributes:
        epochs: the results of each epoch.
        model: the trained model: that of the best epoch, if the fit may stop early.
        trainer: the trainer, which can go on.
        end: why it ended: ``"epochs"``, ``"stopped"`` (early), ``"time_limit"`` or ``"callback"``.
    """

    epochs: list[Epoch]
    model: Model
    trainer: Trainer
    end: str = field(default="epochs")

    @property
    def loss(self) -> list[float]:
        """The training loss of each epoch."""
        return [epoch.loss for epoch in self.epochs]

    @property
    def val_loss(self) -> list[float | None]:
        """The validation loss of each epoch."""
        return [epoch.val_loss for epoch in self.epochs]

    @property
    def best(self) -> Epoch | None:
        """The best epoch: its validation loss is the smallest, or its loss if nothing is validated."""
        return next((epoch for epoch in reversed(self.epochs) if epoch.better), None)

    @property
    def history(self) -> dict[str, list[Any]]:
        """All numbers by name, as Keras' `History.history`: ``loss``, ``val_loss``, metrics and ``learning_rate``."""
        rows: dict[str, list[Any]] = {"loss": self.loss}
        if any(loss is not None for loss in self.val_loss):
            rows["val_loss"] = self.val_loss
        for epoch in self.epochs:
            for name, value in epoch.metrics.items():
                rows.setdefault(name, []).append(value)
            for name, value in epoch.val_metrics.items():
                rows.setdefault(f"val_{name}", []).append(value)
        rows["learning_rate"] = [epoch.learning_rate for epoch in self.epochs]
        return rows

    def plot(self, ax: Any | None = None) -> Any:
        """Draws the losses with matplotlib, into `ax` if it is given. Returns the axes."""
        if ax is None:
            try:
                from matplotlib import pyplot
            except ImportError as error:
                raise ImportError("history.plot() draws with matplotlib: pip install matplotlib") from error
            ax = pyplot.figure().add_subplot()
        numbers = [epoch.number for epoch in self.epochs]
        ax.plot(numbers, self.loss, label="loss")
        if "val_loss" in self.history:
            ax.plot(numbers, self.val_loss, label="val_loss")
        ax.set_xlabel("epoch")
        ax.legend()
        return ax

    def __iter__(self) -> Iterator[Epoch]:
        return iter(self.epochs)

    def __len__(self) -> int:
        return len(self.epochs)

    def __repr__(self) -> str:
        last = f", {self.epochs[-1]}" if self.epochs else ""
        return f"<gatewave.History of {len(self.epochs)} epochs{last}>"


def fit(
    model: Model | Trainer | Mapping[str, Any] | Path,
    data: Any,
    epochs: int = 1,
    batch_size: int = 32,
    *,
    loss: Any | None = None,
    optimizer: Any = "adam",
    validation: Any | None = None,
    validation_split: float | None = None,
    early_stopping: int | None = None,
    min_delta: float | None = None,
    metrics: Sequence[str] = (),
    measure_training: bool = False,
    shuffle: bool = True,
    buckets: bool = False,
    seed: int = 0,
    like: str = "torch",
    schedule: str | None = None,
    warm_up: int = 0,
    time_limit: float | None = None,
    device: str | None = None,
    callback: Callable[[Epoch], Any] | None = None,
    **settings: Any,
) -> History:
    """Trains over epochs.

    Args:
        model: a `Model`, which has the trained weights in the end; a description (`dict` or path) or a file, from which
            a model is made; or a `Trainer`, which goes on.
        data: ``(x, y)``, or a `dict` of arrays by name (``x``, ``lengths``, ``y``); a row for each example.
        epochs: how often to go over all rows.
        batch_size: the rows of an update.
        loss: as for `Trainer`. By default cross-entropy for targets of classes, else the mean square.
        optimizer, seed, like, device: as for `Trainer`; the device is the model's by default.
        validation: rows to validate with after each epoch, in the form of `data`.
        validation_split: validates with this share of the rows, the last ones, and does not train on them.
        early_stopping: ends after so many epochs in a row whose validation loss is not smaller than the best; the
            weights are then those of the best epoch.
        min_delta: by how much a loss must be smaller to be better.
        metrics: ``"accuracy"``, ``"perplexity"``, ``"precision"``, ``"recall"``, ``"f1"``, ``"auc"``, ``"mae"``,
            measured on the validation rows; on the training rows as well with `measure_training`.
        shuffle: whether each epoch takes the rows in another order.
        buckets: whether the rows of a batch have similar lengths.
        schedule, warm_up: how the learning rate changes, as for `Trainer.schedule`.
        time_limit: ends after so many seconds.
        callback: is called with each `Epoch`; what it returns ends the training if it is true.
        settings: further settings of `Trainer`: ``clip_norm``, ``loss_weights``.

    Returns:
        The history of the epochs, with the trained model.

    Raises:
        What `callback` raises, and `KeyboardInterrupt`: `model` then has the weights that it has come to.
    """
    words = {
        "epochs": epochs,
        "batch_size": batch_size,
        "shuffle": shuffle,
        "buckets": buckets,
        "seed": seed,
        "metrics": [metrics] if isinstance(metrics, str) else list(metrics),
        "measure_training": measure_training,
        "early_stopping": early_stopping,
        "min_delta": min_delta,
        "schedule": schedule,
        "warm_up": warm_up,
        "time_limit": time_limit,
    }
    if callback is not None and not callable(callback):
        raise _errors.make("training", f"callback: expected a function of an Epoch, got {callback!r}")
    x, y = _parted(data)
    if isinstance(model, Trainer):
        if settings or loss is not None:
            given = next(iter(settings), "loss")
            raise _errors.make("training", f"{given}: expected none beside a trainer, which has its own")
        trainer = model
    else:
        if loss is None:
            loss = _usual_loss(y if y is not None else x.get("y") if isinstance(x, Mapping) else None)
        if device is None:
            device = model._options[0] if isinstance(model, Model) else "auto"
        trainer = Trainer(model, loss, optimizer, seed, like, device=device, **settings)
    signature, classes = trainer._signature, trainer._classes
    rows = batch(signature, classes, x, y, {})
    validation_rows = None
    if validation is not None:
        validation_rows = batch(signature, classes, *_parted(validation), {})
    fitting = _native.Fitting(
        trainer._trainer, rows, validation_rows, validation_split, _errors.to_json("settings", words)
    )
    try:
        end = _run(fitting, trainer._trainer, callback)
    except BaseException:
        # An interrupt, or an error of a callback: the model has what it has learned so far.
        _trained(model, trainer)
        raise
    fitting.restore_best(trainer._trainer)
    return History(_epochs(fitting), _trained(model, trainer), trainer, end)


def _trained(model: Any, trainer: Trainer) -> Model:
    """Returns the trained model: `model` itself with the new weights, if it is one."""
    trained = trainer.model()
    if not isinstance(model, Model):
        return trained
    if model._options[1:] != ("f32", None):
        device, precision, strategy = model._options
        trained = Model(trainer._trainer.engine((device, precision, strategy)), model._options, None)
    model.take_weights(trained)
    return model


def _run(fitting: _native.Fitting, trainer: _native.Trainer, callback: Callable[[Epoch], Any] | None) -> str:
    """Goes over the batches until the training ends. Whatever ends it, the trainer can be used then."""
    try:
        while True:
            event = fitting.next(trainer)[0]
            if event == "batch":
                continue
            if event != "epoch":
                return event
            if callback is not None and callback(_epochs(fitting)[-1]):
                return "callback"
    except BaseException:
        fitting.settle(trainer)
        raise


def _epochs(fitting: _native.Fitting) -> list[Epoch]:
    return [
        Epoch(number, loss, val_loss, dict(metrics), dict(val_metrics), better, rate, seconds)
        for number, loss, val_loss, metrics, val_metrics, better, rate, seconds in fitting.epochs()
    ]


def _parted(data: Any) -> tuple[Any, Any]:
    """Returns inputs and targets; all are in the first if they come by name."""
    if isinstance(data, Mapping):
        return data, None
    if isinstance(data, (tuple, list)) and len(data) == 2:
        return data[0], data[1]
    kind = type(data).__name__
    raise _arrays.wrong(f"data: expected (x, y), or a dict of arrays by name, got {kind}")


def _usual_loss(targets: Any) -> str:
    """Returns the loss of targets, if none was said: that of classes for whole numbers."""
    if targets is None or isinstance(targets, Mapping):
        raise _errors.make("training", "loss: expected one, or a dict of losses by output, got none")
    kind = _arrays.plain("y", targets).dtype.kind
    return "cross_entropy" if kind in "iu" else "mse"


__all__ = ["Epoch", "History", "fit"]
