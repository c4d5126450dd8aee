"""Indices: a step, a feature, some of them, or states of one direction."""

from __future__ import annotations

from typing import Any

from .describe import named, shown
from .interpret import Interpreter, function
from .shapes import length_of, rank, settled, shaped
from .values import (
    DIRECTIONS, FEATURES, LAYERS, ONE, STATES, TIME, Extremes, Opaque, Shape, Size, StateInput, States, Value, Weights,
)


@function("getitem")
def item(it: Interpreter, input: Any, index: Any) -> Any:
    if isinstance(input, dict):
        return input[index]
    if isinstance(input, Shape):
        if isinstance(index, int):
            return length_of(it, Size(input.value, index))
        return Opaque("a part of a shape")
    if isinstance(input, Extremes):
        return (input.values, input.indices)[index]
    if isinstance(input, (tuple, list)):
        if not isinstance(index, (int, slice)) or isinstance(index, int) and not -len(input) <= index < len(input):
            it.refuse(f"expected one of {len(input)} results, got {shown(index)}")
        return input[index]
    if isinstance(input, (StateInput, Weights, Opaque)):
        it.refuse(f"expected a tensor to take a part of, got {shown(input)}")
    value = shaped(it, input)
    parts = list(index) if isinstance(index, tuple) else [index]
    for part in parts:
        plain = part is None or part is Ellipsis or isinstance(part, int) and not isinstance(part, bool)
        if not plain and not isinstance(part, slice):
            it.refuse(f"expected indices that are fixed numbers, got {shown(part)}")
    given = sum(part is not None and part is not Ellipsis for part in parts)
    if given > rank(value):
        it.refuse(f"expected at most {rank(value)} indices for {named(value.axes)}, got {given}")
    if Ellipsis in parts:
        at = parts.index(Ellipsis)
        parts[at:at + 1] = [slice(None)] * (rank(value) - given)
    parts += [slice(None)] * (rank(value) - sum(part is not None for part in parts))
    if isinstance(value, States):
        return _part_of_states(it, value, parts)
    if not isinstance(value, Value):
        return it.refuse(f"expected a tensor of features, got {shown(value)}")
    return _part(it, value, parts)


def _part(it: Interpreter, value: Value, parts: list[Any]) -> Value:
    axes, place = list(value.axes or ()), 0
    for part in parts:
        axis = axes[place] if part is not None else None
        if part is None:
            axes.insert(place, ONE)
        elif isinstance(part, int):
            value = _at(it, value, axis, part)
            axes.pop(place)
            continue
        elif part != slice(None):
            value = _between(it, value, axis, part)
        place += 1
    return value.but(axes=tuple(axes))


def _at(it: Interpreter, value: Value, axis: Any, index: int) -> Value:
    """Takes one step or one feature."""
    if axis == TIME:
        value = it.value(value)
        it.observe(value, "a step")
        if index == -1:
            layer = it.add("select", value, what="last_step")
        else:
            end = index + 1 or None
            steps = value.but(ref=it.add("slice_steps", value, start=index, end=end))
            # One step is its own sum.
            layer = it.add("global_pool", steps, "step", reduce="sum", all_steps=True)
        return value.but(ref=layer, has_time=False, steps=None, clock=None, padded=False)
    if axis == FEATURES:
        return _features(it, it.value(value), slice(index, index + 1 or None))
    if axis == ONE and index in (0, -1):
        return value
    return it.refuse(f"expected an index of steps or features, got {index} of {named((axis,))}")


def _between(it: Interpreter, value: Value, axis: Any, part: slice) -> Value:
    for bound in (part.start, part.stop, part.step):
        if not isinstance(bound, (int, type(None))):
            it.refuse(f"expected bounds that are fixed numbers, got {shown(bound)}")
    if axis == FEATURES:
        return _features(it, it.value(value), part)
    if axis != TIME:
        it.refuse(f"expected a slice of steps or features, got one of {named((axis,))}")
    value = it.value(value)
    it.observe(value, "a slice of steps")
    keys = {"start": part.start, "end": part.stop, "step": part.step if part.step != 1 else None}
    layer = it.add("slice_steps", value, **keys)
    steps = len(range(value.steps)[part]) if value.steps else None
    return value.but(ref=layer, steps=steps, clock=layer, padded=True)


def _features(it: Interpreter, value: Value, part: slice) -> Value:
    chosen = range(it.features(value))[part]
    if chosen.step != 1 or not chosen:
        it.refuse(f"expected features side by side, got {part}")
    if len(chosen) == it.features(value):
        return value
    layer = it.add("slice", value, first=chosen.start, count=len(chosen))
    return value.but(ref=layer, features=len(chosen), source=None)


def _part_of_states(it: Interpreter, states: States, parts: list[Any]) -> Any:
    """Takes states of the last layer: of one direction, or of both."""
    whole = [part for part in parts if part != slice(None)]
    if len(whole) != 1:
        return it.refuse(f"expected one index, of layers or directions, got {parts} of {named(states.axes)}")
    place = parts.index(whole[0])
    axis, part = states.axes[place], whole[0]
    others = tuple(one for at, one in enumerate(states.axes) if at != place)
    rows, directions = states.layers * states.directions, states.directions
    if axis == LAYERS and isinstance(part, int):
        _last_layer(it, states, range(states.layers)[part] if -states.layers <= part < states.layers else -1)
        return settled(it, States(states.layer, states.word, states.layers, directions, states.size, others, True))
    if axis == STATES and isinstance(part, slice):
        chosen = range(rows)[part]
        if directions == 2 and list(chosen) == [rows - 2, rows - 1]:
            axes = tuple(DIRECTIONS if one == STATES else one for one in states.axes)
            return States(states.layer, states.word, states.layers, directions, states.size, axes, True)
    if isinstance(part, int) and axis in (STATES, DIRECTIONS):
        count = rows if axis == STATES else directions
        if -count <= part < count:
            row = range(count)[part]
            if axis == STATES:
                _last_layer(it, states, row // directions)
            elif not states.last and states.layers > 1:
                return it.refuse(f"expected states of the last layer, got {named(states.axes)} of all layers")
            return _direction(it, states, row % directions, others)
    return it.refuse(f"expected final states of the last layer, got {part} of {named(states.axes)}")


def _last_layer(it: Interpreter, states: States, layer: int) -> None:
    if layer != states.layers - 1:
        it.refuse(
            f"expected final states of the last layer ({states.layers - 1}), got those of layer {layer}; "
            "make it a module of its own"
        )


def _direction(it: Interpreter, states: States, direction: int, axes: tuple[Any, ...]) -> Value:
    value = it.row_of(states).but(axes=tuple(ONE if axis in (LAYERS, DIRECTIONS) else axis for axis in axes))
    if states.directions == 1:
        return value
    layer = it.add("slice", value, "direction", first=direction * states.size, count=states.size)
    return value.but(ref=layer, features=states.size)
