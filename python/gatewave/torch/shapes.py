"""What names axes in another way: views, transpositions, sizes. Adds layers only where steps or features go."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from .describe import named, shown
from .interpret import Interpreter, function, module
from .values import (
    BATCH, DIRECTIONS, EVERY, FEATURES, LAYERS, ONE, STATES, TIME, Extremes, Opaque, Product, Scores, Shape, Size,
    States, Value, Weighted, Weights, Zeros,
)


def rank(value: Any) -> int:
    return len(value.axes or ())


def axis_of(it: Interpreter, value: Any, dim: Any) -> int:
    """Returns the place of axis `dim`, which may count from the end."""
    count = rank(value)
    if not isinstance(dim, int) or not -count <= dim < count:
        it.refuse(f"expected a dim of {named(value.axes)}, got {shown(dim)}")
    return dim % count


def numbers(it: Interpreter, items: Any) -> list[int]:
    items = list(items) if isinstance(items, (tuple, list)) else [items]
    for item in items:
        if not isinstance(item, int):
            it.refuse(f"expected fixed numbers, got {shown(item)}")
    return items


def shaped(it: Interpreter, input: Any) -> Any:
    """Returns what has axes: a value, states, scores or weighted steps."""
    input = it.demand(input)
    if not isinstance(input, (Value, States, Scores, Weighted)):
        it.refuse(f"expected a tensor, got {shown(input)}")
    return input


def _with_axes(value: Any, axes: tuple[Any, ...]) -> Any:
    return replace(value, axes=axes)


# Sizes


@function("size")
def size(it: Interpreter, input: Any, dim: Any = None) -> Any:
    if not isinstance(input, (Value, States)):
        return Opaque("a size")
    return Shape(input) if dim is None else length_of(it, Size(input, dim))


def length_of(it: Interpreter, size: Size) -> Any:
    """Returns a length as a number, if it is one in every call."""
    value = size.value
    if value.axes is None or not isinstance(size.axis, int):
        return size
    axis = value.axes[axis_of(it, value, size.axis)]
    if isinstance(value, Value):
        if axis == FEATURES and (value.features or it.sizes.get(str(value.source))):
            return it.features(value)
        if axis == TIME and value.steps:
            return value.steps
    return 1 if axis == ONE else size


@function("dim", "ndimension")
def dimension(it: Interpreter, input: Any) -> int:
    return rank(shaped(it, input))


@function("getattr")
def attribute(it: Interpreter, input: Any, name: str) -> Any:
    if name == "shape":
        return size(it, input)
    if name in ("device", "dtype", "is_cuda", "requires_grad"):
        return Opaque(name)
    if name == "data":
        return input
    if name in ("T", "mT"):
        return transpose(it, input, -2, -1)
    if isinstance(input, Extremes) and name in ("values", "indices"):
        return getattr(input, name)
    return it.refuse(f"expected an attribute that gatewave knows, got .{name}")


# Order of axes


@function("transpose", "swapaxes", "swapdims")
def transpose(it: Interpreter, input: Any, dim0: int, dim1: int) -> Any:
    value = shaped(it, input)
    axes = list(value.axes or ())
    first, second = axis_of(it, value, dim0), axis_of(it, value, dim1)
    axes[first], axes[second] = axes[second], axes[first]
    return _with_axes(value, tuple(axes))


@function("t")
def turn(it: Interpreter, input: Any) -> Any:
    value = shaped(it, input)
    if rank(value) != 2:
        it.refuse(f"expected two axes for t(), got {named(value.axes)}")
    return transpose(it, value, 0, 1)


@function("permute")
def permute(it: Interpreter, input: Any, *dims: Any) -> Any:
    value = shaped(it, input)
    order = numbers(it, dims[0] if len(dims) == 1 and isinstance(dims[0], (tuple, list)) else dims)
    places = [axis_of(it, value, dim) for dim in order]
    if sorted(places) != list(range(rank(value))):
        it.refuse(f"expected each axis of {named(value.axes)} once, got {tuple(order)}")
    return _with_axes(value, tuple((value.axes or ())[place] for place in places))


# Axes of length 1


@function("unsqueeze")
def unsqueeze(it: Interpreter, input: Any, dim: int) -> Any:
    if isinstance(input, (Weights, Zeros)):
        return input
    value = shaped(it, input)
    count = rank(value) + 1
    if not isinstance(dim, int) or not -count <= dim < count:
        it.refuse(f"expected a dim of {count} axes, got {shown(dim)}")
    axes = list(value.axes or ())
    # A feature without an axis gets its axis back.
    bare = isinstance(value, Value) and FEATURES not in axes and value.features == 1 and dim % count == count - 1
    axes.insert(dim % count, FEATURES if bare else ONE)
    return _with_axes(value, tuple(axes))


@function("squeeze")
def squeeze(it: Interpreter, input: Any, dim: Any = None) -> Any:
    value = shaped(it, input)
    if isinstance(value, States) and value.layers * value.directions == 1:
        value = it.row_of(value)
    axes = list(value.axes or ())
    places = range(len(axes)) if dim is None else [axis_of(it, value, one) for one in numbers(it, dim)]
    short = [place for place in places if _is_one(it, value, axes[place])]
    for place in places if dim is not None else ():
        # An axis that is longer stays, as in PyTorch.
        if place not in short and axes[place] != FEATURES:
            it.refuse(f"expected an axis of length 1, got dim={dim} of {named(value.axes)}")
    return _with_axes(value, tuple(axis for place, axis in enumerate(axes) if place not in short))


def _is_one(it: Interpreter, value: Any, axis: Any) -> bool:
    if axis == FEATURES and isinstance(value, Value):
        return (value.features or it.sizes.get(str(value.source))) == 1
    if axis == FEATURES and isinstance(value, Scores):
        return value.key is None
    return axis == ONE


# Expansion


@function("expand", "repeat", "expand_as")
def expand(it: Interpreter, input: Any, *sizes: Any) -> Any:
    method = str(it.node.target) if it.node is not None else "expand"
    if isinstance(input, Zeros):
        return input
    if isinstance(input, Weights):
        return Weights(input.tensor, input.name, expanded=True)
    value = it.value(shaped(it, input))
    if method == "expand_as":
        like = it.value(sizes[0])
        wanted: list[Any] = [Size(like, place) for place in range(rank(like))]
    else:
        wanted = list(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else list(sizes)
    axes = list(value.axes or ())
    if len(wanted) != len(axes):
        it.refuse(f"expected a length for each axis of {named(value.axes)}, got {len(wanted)}")
    count: Any = None
    for place, (axis, length) in enumerate(zip(axes, wanted)):
        stays = length in ((1,) if method == "repeat" else (-1, 1))
        length = length_of(it, length) if isinstance(length, Size) else length
        if stays or isinstance(length, Size) and _axis_of_size(it, length) == axis:
            continue
        if method != "repeat" and axis == FEATURES and length == it.features(value):
            continue
        if axis != ONE or not value.is_row or count is not None:
            it.refuse(f"expected one axis of length 1 to expand, got {named(value.axes)} to {shown(length)}")
        count, at = length, place
    if count is None:
        return value
    if isinstance(count, int):
        axes[at] = TIME
        layer = it.add("repeat", value, count=count)
        return value.but(ref=layer, axes=tuple(axes), has_time=True, steps=count, clock=layer, padded=True)
    axes[at] = EVERY
    return value.but(axes=tuple(axes))


def _axis_of_size(it: Interpreter, size: Size) -> Any:
    value = it.demand(size.value)
    return (value.axes or ())[axis_of(it, value, size.axis)]


# Views


@function("flatten")
def flatten(it: Interpreter, input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    value = shaped(it, input)
    first, last = axis_of(it, value, start_dim), axis_of(it, value, end_dim)
    axes = value.axes or ()
    return _merged(it, value, (*axes[:first], axes[first:last + 1], *axes[last + 1:]))


@module(nn.Flatten)
def flatten_module(it: Interpreter, of: Any, path: str, input: Any) -> Any:
    return flatten(it, input, of.start_dim, of.end_dim)


def _merged(it: Interpreter, value: Any, axes: tuple[Any, ...]) -> Any:
    """Returns the value with groups of axes as one: those of length 1 go."""
    merged = []
    for axis in axes:
        if not isinstance(axis, tuple):
            merged.append(axis)
            continue
        atoms = tuple(part for one in axis for part in (one if isinstance(one, tuple) else (one,)) if part != ONE)
        merged.append(atoms[0] if len(atoms) == 1 else atoms or ONE)
    return settled(it, _with_axes(value, tuple(merged)))


def settled(it: Interpreter, value: Any) -> Any:
    """Returns a row in place of states whose directions and features are one axis."""
    if not isinstance(value, States):
        return value
    axes = tuple(FEATURES if axis in ((DIRECTIONS, FEATURES), (STATES, FEATURES)) else axis for axis in value.axes)
    whole = (STATES, FEATURES) not in value.axes or value.layers == 1
    if whole and set(axes) == {BATCH, FEATURES} and (value.last or value.layers == 1):
        return it.row_of(value).but(axes=axes)
    return value


@function("view", "reshape")
def view(it: Interpreter, input: Any, *shape: Any) -> Any:
    value = shaped(it, input)
    wanted = list(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else list(shape)
    if len(wanted) == 1 and isinstance(wanted[0], Shape):
        wanted = [Size(wanted[0].value, place) for place in range(rank(it.demand(wanted[0].value)))]
    groups = [axis if isinstance(axis, tuple) else (axis,) for axis in value.axes or ()]
    atoms = [part for group in groups for part in group if part != ONE]
    return _View(it, value, atoms).match(wanted)


class _View:
    """Finds which axes of a value the lengths of a view are."""

    def __init__(self, it: Interpreter, value: Any, atoms: list[Any]):
        self.it, self.value, self.atoms = it, value, atoms
        self.steps = value.steps if isinstance(value, Value) else None

    def match(self, wanted: list[Any]) -> Any:
        places = [place for place, length in enumerate(wanted) if isinstance(length, int) and length == -1]
        if len(places) > 1:
            self.it.refuse("expected one -1 at most, got several")
        cut = places[0] if places else len(wanted)
        front = [self._take(length, first=True) for length in wanted[:cut]]
        back = [self._take(length, first=False) for length in reversed(wanted[cut + 1:])]
        middle: list[Any] = []
        if places:
            middle = [tuple(self.atoms)]
            self.atoms = []
        if self.atoms:
            self._unfit(wanted)
        value = self.value.but(steps=self.steps) if isinstance(self.value, Value) else self.value
        return _merged(self.it, value, (*front, *middle, *reversed(back)))

    def _unfit(self, wanted: list[Any]) -> None:
        shape = ", ".join(self._word(length) for length in wanted)
        self.it.refuse(
            f"expected a view that keeps the batch, gives it by x.size(…), and joins or splits whole axes, "
            f"got {named(self.value.axes)} to ({shape})"
        )

    def _word(self, length: Any) -> str:
        if isinstance(length, int):
            return str(length)
        return f"size({length.axis})" if isinstance(length, Size) else type(length).__name__.lower()

    def _take(self, length: Any, first: bool) -> Any:
        """Takes the axes of one length, from the front or from the back."""
        length = length_of(self.it, length) if isinstance(length, Size) else length
        if isinstance(length, Product):
            parts = [self._take(part, first) for part in (length.factors if first else reversed(length.factors))]
            return tuple(parts if first else reversed(parts))
        if isinstance(length, Size):
            axis = _axis_of_size(self.it, length)
            if axis == ONE:
                return ONE
            if not self.atoms or self.atoms[0 if first else -1] != axis:
                self._unfit([length])
            return self.atoms.pop(0 if first else -1)
        if not isinstance(length, int):
            self._unfit([length])
        return self._take_number(length, first)

    def _take_number(self, length: int, first: bool) -> Any:
        if length == 1 and not (self.atoms and self._known(self.atoms[0 if first else -1]) == 1):
            return ONE
        if not self.atoms:
            self._unfit([length])
        axis = self.atoms[0 if first else -1]
        known = self._known(axis)
        if axis == BATCH:
            self._unfit([length])
        if axis == STATES and isinstance(self.value, States) and known != length:
            return self._split_states(length, first)
        if known is None and axis == TIME:
            self.steps = length
        elif known != length:
            return self._take_several(length, known, first)
        return self.atoms.pop(0 if first else -1)

    def _take_several(self, length: int, known: int | None, first: bool) -> Any:
        """Takes steps and features, or directions and features, as one axis."""
        if len(self.atoms) < 2 or not known or length % known:
            self._unfit([length])
        axis = self.atoms.pop(0 if first else -1)
        other = self._take_number(length // known, first)
        return (axis, other) if first else (other, axis)

    def _known(self, axis: Any) -> int | None:
        value = self.value
        if isinstance(value, States):
            lengths = {STATES: value.layers * value.directions, LAYERS: value.layers, DIRECTIONS: value.directions}
            return value.size if axis == FEATURES else lengths.get(axis)
        if not isinstance(value, Value):
            return None
        if axis == FEATURES:
            return value.features or self.it.sizes.get(str(value.source))
        return self.steps if axis == TIME else None

    def _split_states(self, length: int, first: bool) -> Any:
        value = self.value
        parts = [LAYERS, DIRECTIONS]
        if length != (value.layers if first else value.directions):
            self._unfit([length])
        self.atoms.remove(STATES)
        if first:
            self.atoms.insert(0, parts[1])
            return parts[0]
        self.atoms.append(parts[0])
        return parts[1]
