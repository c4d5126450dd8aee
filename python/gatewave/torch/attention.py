"""Sums of steps by softmax weights → `attention`: what products with transposed steps, and a softmax, come to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .describe import named, shown
from .interpret import Interpreter, function
from .values import BATCH, FEATURES, ONE, TIME, Scores, Value, Weighted

#: The axis of the steps of a key, among those of scores.
KEYS = "steps of the key"


def given(it: Interpreter, value: Value) -> Scores:
    """Returns weights of the steps: a softmax over one feature of each."""
    return Scores(value, None, value.axes or (), soft=True)


def scaled(scores: Scores, factor: float) -> Scores:
    return replace(scores, scale=scores.scale * factor)


def soften(it: Interpreter, scores: Scores, dim: Any) -> Scores:
    """Returns the softmax over the steps of the key."""
    axes = scores.axes
    if scores.soft or not isinstance(dim, int) or not -len(axes) <= dim < len(axes) or axes[dim] != KEYS:
        it.refuse(f"expected a softmax over the steps of the key, got dim={dim} of {named(axes)}")
    return replace(scores, soft=True)


@function("matmul", "bmm")
def product(it: Interpreter, input: Any, other: Any) -> Any:
    if isinstance(input, Scores):
        return _sum(it, input, it.value(other))
    if isinstance(other, Scores):
        return _sum_turned(it, it.value(input), other)
    left, right = it.value(input), it.value(other)
    first, second = left.axes or (), right.axes or ()
    if len(first) == 3 and len(second) == 3 and first[2] == FEATURES == second[1] and second[2] == TIME:
        return Scores(left, right, (*first[:2], KEYS))
    if len(first) == 3 and len(second) == 3 and first[1] == TIME and first[2] == FEATURES == second[1]:
        # Keys times a query: [batch, time, features] times [batch, features, 1].
        return Scores(right, left, (BATCH, KEYS, ONE))
    return it.refuse(f"expected a product with the weights of the module, or of queries and keys, "
                     f"got {shown(left)} times {shown(right)}")


def weighted(it: Interpreter, left: Any, right: Any) -> Weighted | None:
    """Returns steps times their weights, if one of both is weights."""
    for scores, value in ((left, right), (right, left)):
        if isinstance(scores, Scores):
            value = it.value(value)
            one_sum = scores.key is None or ONE in scores.axes
            if not scores.soft or not one_sum or TIME not in (value.axes or ()):
                it.refuse("expected weights of steps after a softmax, times a sequence")
            return Weighted(scores, value, value.axes or ())
    return None


def summed(it: Interpreter, of: Weighted, dim: Any, keepdim: bool) -> Value:
    axes = of.axes
    if not isinstance(dim, int) or not -len(axes) <= dim < len(axes) or axes[dim] != TIME:
        it.refuse(f"expected a sum over the steps, got dim={dim} of {named(axes)}")
    value = _attend(it, of.scores, of.value)
    left = tuple(ONE if axis == TIME else axis for axis in axes if axis != TIME or keepdim)
    return value.but(axes=left)


def _sum(it: Interpreter, scores: Scores, value: Value) -> Value:
    """Returns the product of weights and steps."""
    axes = value.axes or ()
    if not scores.soft:
        it.refuse("expected a softmax of the scores before the product, got none")
    if len(axes) != 3 or axes[1] != TIME or axes[2] != FEATURES:
        it.refuse(f"expected [batch, time, features] for what is weighted, got {named(axes)}")
    if scores.key is None:
        ends = (BATCH, ONE, TIME), (BATCH, FEATURES, TIME)
        if scores.axes not in ends:
            it.refuse(f"expected weights [batch, 1, time], got {named(scores.axes)}")
        return _attend(it, scores, value).but(axes=(BATCH, ONE, FEATURES))
    if scores.axes[-1] != KEYS:
        it.refuse(f"expected the steps of the key on the last axis, got {named(scores.axes)}")
    return _attend(it, scores, value).but(axes=(*scores.axes[:2], FEATURES))


def _sum_turned(it: Interpreter, value: Value, scores: Scores) -> Value:
    """Returns the product of turned steps, [batch, features, time], and weights, [batch, time, 1 or queries]."""
    axes = scores.axes
    steps_first = len(axes) == 3 and axes[1] == (TIME if scores.key is None else KEYS)
    if not scores.soft or value.axes != (BATCH, FEATURES, TIME) or not steps_first:
        it.refuse(f"expected [batch, features, time] times weights [batch, time, 1], got {shown(value)} "
                  f"times {shown(scores)}")
    last = ONE if scores.key is None else axes[2]
    return _attend(it, scores, value).but(axes=(BATCH, FEATURES, last))


def _attend(it: Interpreter, scores: Scores, value: Value, causal: bool = False) -> Value:
    for one in (scores.query, scores.key, value):
        if one is not None and one.clock in it.lengths:
            it.refuse("expected attention to steps without lengths, got it behind pack_padded_sequence, "
                      "whose padding PyTorch counts")
        if one is not None:
            it.observe(one, "attention")
    query = scores.query
    if scores.key is None:
        layer = it.add("attention", [query, value], scores="given", features=1)
    else:
        sources = [query, value] if scores.key.ref == value.ref else [query, value, scores.key]
        scale = None if scores.scale == 1 else scores.scale
        layer = it.add("attention", sources, features=it.features(query), scores="dot", scale=scale,
                       causal=causal or None)
    timed = scores.key is not None and query.has_time
    clock = query.clock if timed else None
    return Value(layer, None, it.features(value), timed, query.steps if timed else None, clock=clock)


@function("scaled_dot_product_attention")
def scaled_dot_product(
    it: Interpreter, query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Value:
    if attn_mask is not None or enable_gqa:
        it.refuse("expected attention without a mask or groups, got one with them")
    q, k, v = it.value(query), it.value(key), it.value(value)
    wanted = (BATCH, TIME, FEATURES)
    if k.axes != wanted or v.axes != wanted or (q.axes or ())[-1:] != (FEATURES,) or len(q.axes or ()) != 3:
        it.refuse(f"expected [batch, time, features], got {named(q.axes)}, {named(k.axes)}, {named(v.axes)}")
    factor = it.features(q) ** -0.5 if scale is None else scale
    return _attend(it, Scores(q, k, (), factor), v, is_causal).but(axes=q.axes)
