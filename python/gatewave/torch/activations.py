"""Activations: functions and modules of each number, softmax and normalisation over the features."""

from __future__ import annotations

from typing import Any

from torch import nn

from . import attention
from .describe import named, shown
from .interpret import Interpreter, function, module
from .shapes import axis_of
from .values import FEATURES, TIME, Scores, Value

#: Functions without constants, by the names of functions and of modules.
_PLAIN = {
    "sigmoid": "sigmoid", "tanh": "tanh", "relu": "relu", "silu": "silu", "mish": "mish", "selu": "selu",
    "softsign": "softsign", "logsigmoid": "log_sigmoid", "tanhshrink": "tanh_shrink", "exp": "exponential",
}
_MODULES = {
    nn.Sigmoid: "sigmoid", nn.Tanh: "tanh", nn.ReLU: "relu", nn.SiLU: "silu", nn.Mish: "mish", nn.SELU: "selu",
    nn.Softsign: "softsign", nn.LogSigmoid: "log_sigmoid", nn.Tanhshrink: "tanh_shrink",
}


def activate(it: Interpreter, input: Any, word: Any, usual: str | None = None) -> Any:
    """Adds a function of each number."""
    if isinstance(input, Value) and input.axes is None and not input.tokens:
        # A function of each number needs no axes.
        return input.but(ref=it.add("activation", input, usual or _name(word), activation=word))
    value = it.value(input)
    return value.but(ref=it.add("activation", value, usual or _name(word), activation=word))


def _name(word: Any) -> str:
    return word if isinstance(word, str) else str(word["name"])


def _plain_function(word: str) -> Any:
    def handler(it: Interpreter, input: Any, inplace: bool = False) -> Any:
        return activate(it, input, word)

    return handler


def _plain_module(word: str) -> Any:
    def handler(it: Interpreter, of: Any, path: str, input: Any) -> Any:
        return activate(it, input, word)

    return handler


for _function, _word in _PLAIN.items():
    function(_function)(_plain_function(_word))
for _type, _word in _MODULES.items():
    module(_type)(_plain_module(_word))


def with_constants(name: str, **constants: float) -> dict[str, Any]:
    return {"name": name, **{key: float(value) for key, value in constants.items()}}


@function("leaky_relu")
def leaky_relu(it: Interpreter, input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    return activate(it, input, with_constants("leaky_relu", alpha=negative_slope))


@function("elu")
def elu(it: Interpreter, input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    return activate(it, input, with_constants("elu", alpha=alpha))


@function("celu")
def celu(it: Interpreter, input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    return activate(it, input, with_constants("celu", alpha=alpha))


@function("gelu")
def gelu(it: Interpreter, input: Any, approximate: str = "none") -> Any:
    return activate(it, input, "gelu" if approximate == "none" else "gelu_tanh")


@function("relu6")
def relu6(it: Interpreter, input: Any, inplace: bool = False) -> Any:
    return activate(it, input, with_constants("clamp", alpha=0, beta=6))


@function("hardtanh")
def hardtanh(it: Interpreter, input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
    return activate(it, input, with_constants("clamp", alpha=min_val, beta=max_val))


@function("clamp", "clip")
def clamp(it: Interpreter, input: Any, min: float | None = None, max: float | None = None) -> Any:
    low, high = (default if bound is None else bound for bound, default in ((min, "-inf"), (max, "inf")))
    for bound in (low, high):
        if not isinstance(bound, (int, float, str)):
            it.refuse(f"expected bounds that are numbers, got {shown(bound)}")
    return activate(it, input, {"name": "clamp", "alpha": low, "beta": high})


@function("hardsigmoid")
def hardsigmoid(it: Interpreter, input: Any, inplace: bool = False) -> Any:
    return activate(it, input, with_constants("hard_sigmoid", alpha=1 / 6, beta=0.5))


@function("hardswish")
def hardswish(it: Interpreter, input: Any, inplace: bool = False) -> Any:
    return activate(it, input, "hard_silu")


@function("softplus")
def softplus(it: Interpreter, input: Any, beta: float = 1, threshold: float = 20) -> Any:
    if beta != 1:
        it.refuse(f"expected softplus with beta=1, got {beta}")
    return activate(it, input, "softplus")


@function("hardshrink")
def hardshrink(it: Interpreter, input: Any, lambd: float = 0.5) -> Any:
    return activate(it, input, with_constants("hard_shrink", alpha=lambd))


@function("softshrink")
def softshrink(it: Interpreter, input: Any, lambd: float = 0.5) -> Any:
    return activate(it, input, with_constants("soft_shrink", alpha=lambd))


#: Modules with constants: the function, and the attributes that are its arguments.
_WITH_CONSTANTS: dict[type, tuple[Any, tuple[str, ...]]] = {
    nn.LeakyReLU: (leaky_relu, ("negative_slope",)), nn.ELU: (elu, ("alpha",)), nn.CELU: (celu, ("alpha",)),
    nn.GELU: (gelu, ("approximate",)), nn.ReLU6: (relu6, ()), nn.Hardtanh: (hardtanh, ("min_val", "max_val")),
    nn.Hardsigmoid: (hardsigmoid, ()), nn.Hardswish: (hardswish, ()), nn.Softplus: (softplus, ("beta", "threshold")),
    nn.Hardshrink: (hardshrink, ("lambd",)), nn.Softshrink: (softshrink, ("lambd",)),
}


def _module_with_constants(of_function: Any, attributes: tuple[str, ...]) -> Any:
    def handler(it: Interpreter, of: Any, path: str, input: Any) -> Any:
        return of_function(it, input, *(getattr(of, attribute) for attribute in attributes))

    return handler


for _type, (_handler, _attributes) in _WITH_CONSTANTS.items():
    # The first type of a handler's module wins: nn.ReLU6 is an nn.Hardtanh.
    module(_type)(_module_with_constants(_handler, _attributes))


@function("softmax")
def softmax(it: Interpreter, input: Any, dim: Any = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    if isinstance(input, Scores):
        return attention.soften(it, input, dim)
    value = it.value(input)
    axis = (value.axes or ())[axis_of(it, value, dim)] if dim is not None else None
    if axis == TIME and it.features(value) == 1:
        return attention.given(it, value)
    return _over_features(it, value, dim, "softmax")


@function("log_softmax")
def log_softmax(it: Interpreter, input: Any, dim: Any = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    return _over_features(it, it.value(input), dim, "log_softmax")


def _over_features(it: Interpreter, value: Value, dim: Any, word: str) -> Value:
    if dim is None:
        it.refuse(f"expected a dim for {word}, got none")
    axis = (value.axes or ())[axis_of(it, value, dim)]
    if axis != FEATURES:
        it.refuse(f"expected {word} over the features, got dim={dim} of {named(value.axes)}")
    return activate(it, value, word)


@module(nn.Softmax)
def softmax_module(it: Interpreter, of: Any, path: str, input: Any) -> Any:
    return softmax(it, input, of.dim)


@module(nn.LogSoftmax)
def log_softmax_module(it: Interpreter, of: Any, path: str, input: Any) -> Any:
    return log_softmax(it, input, of.dim)


@function("normalize")
def normalize(it: Interpreter, input: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Any = None) -> Value:
    value = it.value(input)
    if p != 2 or (value.axes or ())[axis_of(it, value, dim)] != FEATURES:
        it.refuse(f"expected normalize with p=2 over the features, got p={p}, dim={dim} of {named(value.axes)}")
    return value.but(ref=it.add("l2_norm", value, features=it.features(value), eps=eps))
