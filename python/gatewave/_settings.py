"""Optimizers and losses: their settings, which the library checks. What is left out is as `like` says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from . import _errors


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent, with or without momentum."""

    learning_rate: float | None = None
    momentum: float | None = None
    dampening: float | None = None
    nesterov: bool | None = None
    weight_decay: float | None = None

    _name = "sgd"


@dataclass(frozen=True)
class RMSprop:
    """RMSprop; `alpha` is what Keras calls rho."""

    learning_rate: float | None = None
    alpha: float | None = None
    epsilon: float | None = None
    momentum: float | None = None
    centered: bool | None = None
    weight_decay: float | None = None

    _name = "rmsprop"


@dataclass(frozen=True)
class Adam:
    """Adam."""

    learning_rate: float | None = None
    betas: tuple[float, float] | None = None
    epsilon: float | None = None
    amsgrad: bool | None = None
    weight_decay: float | None = None

    _name = "adam"


@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay."""

    learning_rate: float | None = None
    betas: tuple[float, float] | None = None
    epsilon: float | None = None
    amsgrad: bool | None = None
    weight_decay: float | None = None

    _name = "adamw"


@dataclass(frozen=True)
class CrossEntropy:
    """A loss of classes. Targets are whole numbers, in the output's shape without its features.

    Attributes:
        ignore: the target that does not count.
        class_weights: a weight for each class.
        smoothing: the share of each target that is spread over all classes.
    """

    ignore: int = -100
    class_weights: Sequence[float] | None = None
    smoothing: float = 0.0

    _name = "cross_entropy"


@dataclass(frozen=True)
class BinaryCrossEntropy:
    """A loss of yes and no for each feature. Targets are from 0 to 1, in the output's shape.

    Attributes:
        class_weights: the weights of targets 0 and 1, for an output of one feature.
        smoothing: how far targets are moved towards a half.
    """

    class_weights: tuple[float, float] | None = None
    smoothing: float = 0.0

    _name = "binary_cross_entropy"


@dataclass(frozen=True)
class Huber:
    """Squared up to an error of `delta`, absolute beyond it. Targets have the output's shape."""

    delta: float = 1.0

    _name = "huber"


Optimizer = SGD | RMSprop | Adam | AdamW
Loss = CrossEntropy | BinaryCrossEntropy | Huber

_OPTIMIZERS = {kind._name: kind for kind in (SGD, RMSprop, Adam, AdamW)}


def _wrong(message: str) -> Exception:
    return _errors.make("training", message)


def settings_of(value: Any) -> dict[str, Any]:
    """Returns an optimizer or a loss as the native module takes it."""
    keys = {key: setting for key, setting in asdict(value).items() if setting is not None}
    for key in ("class_weights", "betas"):
        if key in keys:
            keys[key] = list(keys[key])
    return {"name": value._name, **keys}


def optimizer_of(value: Any) -> dict[str, Any]:
    """Returns the settings of an optimizer, which may be given by its name."""
    if isinstance(value, str):
        kind = _OPTIMIZERS.get(value.lower())
        if kind is None:
            raise _wrong(f"optimizer: expected one of {', '.join(_OPTIMIZERS)}, got {value!r}")
        value = kind()
    if not isinstance(value, tuple(_OPTIMIZERS.values())):
        known = "gatewave.SGD, RMSprop, Adam or AdamW"
        raise _wrong(f"optimizer: expected {known}, or a name, got {type(value).__module__}.{type(value).__name__}")
    return settings_of(value)


def losses_of(loss: Any, weights: Mapping[str, float] | None) -> list[dict[str, Any]]:
    """Returns the losses of a model's outputs: one for all of them, or one for each by name."""
    weights = dict(weights or {})
    if not isinstance(loss, Mapping):
        if weights:
            # One loss for the outputs that have a weight.
            return [{"output": name, "weight": float(weight), "loss": _loss(loss)} for name, weight in weights.items()]
        return [{"loss": _loss(loss)}]
    unknown = sorted(weights.keys() - loss.keys())
    if unknown:
        raise _wrong(f"loss_weights: expected outputs with a loss ({', '.join(loss)}), got {unknown[0]}")
    return [{"output": name, "weight": float(weights.get(name, 1.0)), "loss": _loss(own)} for name, own in loss.items()]


def _loss(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, (CrossEntropy, BinaryCrossEntropy, Huber)):
        return settings_of(value)
    known = "a name, gatewave.CrossEntropy, BinaryCrossEntropy or Huber"
    raise _wrong(f"loss: expected {known}, got {type(value).__module__}.{type(value).__name__}")
