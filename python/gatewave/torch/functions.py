"""Functions and methods of tensors → layers: joins, arithmetic, dropout, reductions, pools."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from . import attention
from .activations import activate, with_constants
from .describe import named, shown
from .interpret import Interpreter, function, module
from .modules import adaptive, made_steps, pooled, window
from .shapes import axis_of, numbers, rank
from .values import (
    BATCH, EVERY, FEATURES, ONE, ROW, TIME, Extremes, Largest, Opaque, Product, Scores, Size, States, Value, Weighted,
    Weights, Zeros,
)

# What changes no number


@function("contiguous", "clone", "detach", "to", "float", "double", "half", "bfloat16", "long", "int", "type", "cpu",
          "cuda", "type_as", "requires_grad", "flatten_parameters")
def same(it: Interpreter, input: Any, *args: Any, **keywords: Any) -> Any:
    return input


@module(nn.Identity)
def identity(it: Interpreter, of: Any, path: str, input: Any) -> Any:
    return input


@function("_assert", "_assert_is_none")
def asserted(it: Interpreter, *args: Any, **keywords: Any) -> Opaque:
    return Opaque("an assertion")


# Dropout


@module(nn.Dropout)
def dropout_module(it: Interpreter, of: Any, path: str, input: Any) -> Any:
    return dropout(it, input, of.p)


@function("dropout")
def dropout(it: Interpreter, input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    if p == 0 or isinstance(input, (Scores, States)):
        # Dropout of scores and of states is of training alone.
        return input
    if isinstance(input, Value) and input.axes is None:
        return input.but(ref=it.add("dropout", input, p=float(p)))
    value = it.value(input)
    return value.but(ref=it.add("dropout", value, p=float(p)))


@module(nn.Dropout1d)
def dropout1d(it: Interpreter, of: Any, path: str, input: Any) -> Value:
    value = it.value(input)
    if value.axes != (BATCH, FEATURES, TIME):
        it.refuse(f"expected [batch, features, time] for Dropout1d, got {named(value.axes)}")
    return value.but(ref=it.add("dropout", value, p=float(of.p), drops="features"))


# Joins and arithmetic


@function("cat", "concat", "concatenate")
def cat(it: Interpreter, tensors: Any, dim: int = 0, axis: int | None = None) -> Value:
    dim = dim if axis is None else axis
    # Rows tell the parameters beside them what they are.
    values = [it.value(value) for value in tensors]
    place = axis_of(it, values[0], dim)
    for value in values:
        if rank(value) != rank(values[0]):
            it.refuse(f"expected tensors of as many axes, got {named(values[0].axes)} and {named(value.axes)}")
    what = {(value.axes or ())[place] for value in values}
    if what == {FEATURES}:
        axes = _common(it, values, place)
        features, source = it.sum_of(values)
        return _joined(it, "concat", values, axes, features).but(source=source)
    if what <= {TIME, ONE} and FEATURES in axis_set(values):
        first = next((value for value in values if TIME in (value.axes or ())), None)
        axes = tuple(TIME if index == place else axis for index, axis in enumerate(values[0].axes or ()))
        like = first or values[0]
        layer = it.add("concat_steps", values)
        clocked = like.but(ref=layer, axes=axes, has_time=True)
        return made_steps(clocked, layer, it.features(values[0])).but(padded=all(v.padded or v.is_row for v in values))
    return it.refuse(f"expected a join of features or of steps, got dim={dim} of {named(values[0].axes)}")


def axis_set(values: list[Value]) -> set[Any]:
    return {axis for value in values for axis in value.axes or ()}


@function("stack")
def stack(it: Interpreter, tensors: Any, dim: int = 0) -> Value:
    values = [it.value(value) for value in tensors]
    if any(value.axes != ROW for value in values) or dim not in (1, -2):
        got = ", ".join(named(value.axes) for value in values)
        it.refuse(f"expected rows [batch, features] that become steps (dim=1), got dim={dim} of {got}")
    layer = it.add("concat_steps", values)
    return Value(layer, (BATCH, TIME, FEATURES), it.features(values[0]), True, len(values), clock=layer, padded=True)


def _common(it: Interpreter, values: list[Value], free: int | None = None) -> tuple[Any, ...]:
    """Returns the axes of values that meet: a row that lacks steps meets every step."""
    longest = max(values, key=rank)
    axes = []
    for index in range(rank(longest)):
        found = []
        for value in values:
            place = index - rank(longest) + rank(value)
            found.append((value.axes or ())[place] if place >= 0 else ONE)
        kinds = {axis for axis in found if axis not in (ONE, EVERY)}
        if len(kinds) > 1:
            got = " and ".join(named(value.axes) for value in values)
            it.refuse(f"expected tensors with the same axes, got {got}")
        axes.append(kinds.pop() if kinds else found[0])
    return tuple(axes)


def _joined(it: Interpreter, kind: str, values: list[Value], axes: tuple[Any, ...], features: int | None) -> Value:
    timed = [value for value in values if value.has_time]
    # Tensors of one time axis have one number of steps.
    like = timed[0] if timed else values[0]
    it.meet(timed)
    return like.but(ref=it.add(kind, values), axes=axes, features=features, source=None if features else like.source,
                    padded=all(value.padded for value in timed) if timed else False, packed=False)


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return float(value)
    if isinstance(value, Weights) and value.tensor.numel() == 1 and not isinstance(value.tensor, nn.Parameter):
        return float(value.tensor)
    return None


def _affine(it: Interpreter, input: Any, alpha: float, beta: float, usual: str) -> Any:
    if isinstance(input, Scores) and beta == 0 and not input.soft:
        return attention.scaled(input, alpha)
    return activate(it, input, with_constants("affine", alpha=alpha, beta=beta), usual)


def _elementwise(it: Interpreter, kind: str, left: Any, right: Any) -> Any:
    if isinstance(left, Weights) or isinstance(right, Weights):
        return _with_vector(it, kind, left, right)
    pair = [it.demand(left), it.demand(right)]
    if kind == "multiply":
        weighted = attention.weighted(it, *pair)
        if weighted is not None:
            return weighted
    values = [it.value(value) for value in pair]
    axes = _common(it, values)
    sizes = [it.features(value) for value in values]
    if sizes[0] != sizes[1]:
        it.refuse(f"expected equal features, got {sizes[0]} and {sizes[1]}")
    return _joined(it, kind, values, axes, sizes[0])


def _with_vector(it: Interpreter, kind: str, left: Any, right: Any) -> Value:
    """Adds, or multiplies with, a vector of the module: a batch norm of mean 0 and variance 1."""
    weights, other = (left, right) if isinstance(left, Weights) else (right, left)
    value = it.value(other)
    tensor = weights.tensor.detach().float()
    if tensor.numel() > 1:
        it.tell(value, tensor.numel(), "a vector of the module")
    features = it.features(value)
    own = isinstance(weights.tensor, nn.Parameter)
    if tensor.numel() != features or (tensor.shape or (1,))[-1] != features or (value.axes or ())[-1] != FEATURES:
        it.refuse(f"expected a vector of {features} features, got {list(tensor.shape)} beside {named(value.axes)}")
    flip = kind in ("subtract", "divide") and weights is left
    if flip or own and kind in ("subtract", "divide"):
        it.refuse(f"expected a tensor to {kind} a constant of the module from, or by, got a parameter or the reverse")
    if kind == "divide":
        tensor = 1 / tensor
    if kind == "subtract":
        tensor = -tensor
    vector = weights if own else it.constant(tensor.reshape(-1))
    vector = Weights(vector.tensor.reshape(-1), vector.name)
    scale = kind in ("multiply", "divide")
    tensors = {"running_mean": it.constant(torch.zeros(features)), "running_var": it.constant(torch.ones(features))}
    tensors["weight" if scale else "bias"] = vector
    layer = it.add("batch_norm", value, kind, features=features, eps=1e-12, scale=scale, bias=not scale, frozen=True,
                   weights=it.made.weights(it.path(), tensors))
    return value.but(ref=layer)


@function("add", "iadd")
def add(it: Interpreter, input: Any, other: Any, alpha: float = 1) -> Any:
    if alpha != 1:
        other = _affine(it, other, alpha, 0, "mul")
    for one, number in ((input, _number(other)), (other, _number(input))):
        if number is not None:
            return one if isinstance(one, (Size, Product)) else _affine(it, one, 1, number, "add")
    return _elementwise(it, "add", input, other)


@function("sub", "isub", "subtract")
def sub(it: Interpreter, input: Any, other: Any, alpha: float = 1) -> Any:
    if isinstance(input, (Size, Product)):
        return Opaque("arithmetic with sizes")
    if alpha != 1:
        other = _affine(it, other, alpha, 0, "mul")
    if _number(other) is not None:
        return _affine(it, input, 1, -(_number(other) or 0.0), "sub")
    if _number(input) is not None:
        return _affine(it, other, -1, _number(input) or 0.0, "sub")
    return _elementwise(it, "subtract", input, other)


@function("rsub")
def rsub(it: Interpreter, input: Any, other: Any, alpha: float = 1) -> Any:
    return sub(it, other, input, alpha)


@function("mul", "imul", "multiply")
def mul(it: Interpreter, input: Any, other: Any) -> Any:
    if all(isinstance(value, (Size, Product, int)) for value in (input, other)):
        parts = [value.factors if isinstance(value, Product) else (value,) for value in (input, other)]
        return Product((*parts[0], *parts[1]))
    for one, number in ((input, _number(other)), (other, _number(input))):
        if number is not None:
            return _affine(it, one, number, 0, "mul")
    return _elementwise(it, "multiply", input, other)


@function("truediv", "div", "itruediv", "divide")
def div(it: Interpreter, input: Any, other: Any, rounding_mode: str | None = None) -> Any:
    number = _number(other)
    if isinstance(input, (Size, Product)):
        return Opaque("arithmetic with sizes")
    if number is None and isinstance(other, Weights):
        return _elementwise(it, "divide", input, other)
    if number is None or number == 0 or rounding_mode is not None:
        it.refuse(f"expected a division by a number, got one by {shown(other)}")
    return _affine(it, input, 1 / number, 0, "div")


@function("neg", "negative")
def neg(it: Interpreter, input: Any) -> Any:
    return _affine(it, input, -1, 0, "neg")


@function("pow", "square")
def power(it: Interpreter, input: Any, exponent: Any = 2) -> Any:
    if exponent != 2:
        it.refuse(f"expected the power 2, got {shown(exponent)}")
    return _elementwise(it, "multiply", input, input)


@function("maximum")
def maximum(it: Interpreter, input: Any, other: Any) -> Any:
    return _elementwise(it, "maximum", input, other)


@function("floordiv")
def floordiv(it: Interpreter, *args: Any) -> Opaque:
    return Opaque("arithmetic with sizes")


# Reductions


def _reduced(it: Interpreter, input: Any, dim: Any, keepdim: bool, reduce: str) -> Any:
    if isinstance(input, Weighted):
        if reduce != "sum":
            it.refuse(f"expected a sum of weighted steps, got their {reduce}")
        return attention.summed(it, input, dim, keepdim)
    value = it.value(input)
    dims = numbers(it, dim) if dim is not None else None
    if dims is None or len(dims) != 1:
        it.refuse(f"expected one dim, that of the steps, got dim={dim} of {named(value.axes)}")
    place = axis_of(it, value, dims[0])
    if (value.axes or ())[place] != TIME:
        it.refuse(f"expected a {reduce} over the steps, got dim={dims[0]} of {named(value.axes)}")
    row = pooled(it, value, reduce)
    if not keepdim:
        return row
    return row.but(axes=tuple(ONE if axis == TIME else axis for axis in value.axes or ()))


@function("mean")
def mean(it: Interpreter, input: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    return _reduced(it, input, dim, keepdim, "mean")


@function("sum")
def total(it: Interpreter, input: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    return _reduced(it, input, dim, keepdim, "sum")


@function("amax")
def amax(it: Interpreter, input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return _reduced(it, input, dim, keepdim, "max")


@function("amin")
def amin(it: Interpreter, input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return _reduced(it, input, dim, keepdim, "min")


def _extreme(it: Interpreter, input: Any, dim: Any, keepdim: bool, reduce: str) -> Any:
    if isinstance(dim, (Value, States)):
        return _elementwise(it, "maximum", input, dim) if reduce == "max" else it.refuse("expected max, got min of two")
    value = it.value(input)
    if dim is not None and reduce == "max" and (value.axes or ())[axis_of(it, value, dim)] == FEATURES:
        return Extremes(Opaque("the largest feature"), argmax(it, value, dim, keepdim))
    return Extremes(_reduced(it, value, dim, keepdim, reduce), Opaque("the places of the extremes of steps"))


@function("max")
def largest(it: Interpreter, input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return _extreme(it, input, dim, keepdim, "max")


@function("min")
def smallest(it: Interpreter, input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return _extreme(it, input, dim, keepdim, "min")


@function("argmax")
def argmax(it: Interpreter, input: Any, dim: Any = None, keepdim: bool = False) -> Largest:
    value = it.value(input)
    if dim is None or keepdim or (value.axes or ())[axis_of(it, value, dim)] != FEATURES:
        it.refuse(f"expected argmax over the features without keepdim, got dim={dim} of {named(value.axes)}")
    return Largest(value)


# Pools as functions


@function("max_pool1d")
def max_pool1d(
    it: Interpreter, input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Value:
    whole = _whole(it, input, kernel_size)
    if whole is not None:
        return adaptive(it, whole, "max", 1)
    return window(it, input, "max", kernel_size, stride, padding, dilation, ceil_mode, False)


@function("avg_pool1d")
def avg_pool1d(
    it: Interpreter, input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Value:
    whole = _whole(it, input, kernel_size)
    if whole is not None:
        return adaptive(it, whole, "mean", 1)
    return window(it, input, "mean", kernel_size, stride, padding, 1, ceil_mode, count_include_pad)


def _whole(it: Interpreter, input: Any, size: Any) -> Value | None:
    """Returns the value if the window is all of its steps: `x.size(2)`."""
    size = size[0] if isinstance(size, (tuple, list)) and len(size) == 1 else size
    if not isinstance(size, Size):
        return None
    value = it.value(input)
    same = isinstance(size.value, Value) and size.value.clock == value.clock
    if not same or (value.axes or ())[axis_of(it, value, size.axis)] != TIME:
        it.refuse("expected a fixed window, or the number of steps of its input, got another size")
    return value


@function("adaptive_max_pool1d")
def adaptive_max_pool1d(it: Interpreter, input: Any, output_size: Any, return_indices: bool = False) -> Value:
    return adaptive(it, input, "max", output_size)


@function("adaptive_avg_pool1d")
def adaptive_avg_pool1d(it: Interpreter, input: Any, output_size: Any) -> Value:
    return adaptive(it, input, "mean", output_size)


# Zeros


@function("zeros", "new_zeros", "zeros_like")
def zeros(it: Interpreter, *args: Any, **keywords: Any) -> Zeros:
    return Zeros()

