"""Text and tokens that a model draws, each from its output at the step before."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _arrays, _native

if TYPE_CHECKING:
    from ._model import Model

# Tokens that are drawn in one call: enough that a device is seldom asked, few enough to watch.
AT_ONCE = 32


def generate(
    model: Model,
    prompt: Any,
    length: int,
    temperature: float,
    top_k: int | None,
    seed: int,
    output: str | None,
    inputs: Mapping[str, Any],
) -> Iterator[Any]:
    """Returns an iterator of pieces of text, or of arrays of tokens. Mistakes are found before the first of them."""
    engine, signature = model._engine, model._signature
    is_text = isinstance(prompt, str)
    length, seed = _arrays.whole("length", length, 0), _arrays.whole("seed", seed, 0)
    top_k = None if top_k is None else _arrays.whole("top_k", top_k, 1, 2**32 - 1)
    if is_text:
        found = engine.vocabulary()
        tokens, unknown = engine.encode(prompt)
        if unknown and found is not None:
            warnings.warn(f"prompt: the model's vocabulary lacks {unknown} of its {found[0]}", stacklevel=3)
    else:
        array = _arrays.integers("prompt", prompt)
        if array.dtype != np.int64 or array.ndim != 1:
            raise _arrays.wrong(f"prompt: expected a text or tokens [T], got {array.dtype} {list(array.shape)}")
        tokens = array.tolist()
    if not tokens:
        raise _arrays.wrong("prompt: expected at least one token, got none")
    named = [info.name for info in signature.sequences if "T" in info.axes]
    if len(named) != 1 or signature.kinds[named[0]] != "tokens":
        raise _arrays.wrong("expected a model of one sequence of tokens to generate from, got another")
    streams = _native.Streams(engine, 1, [])
    stream = streams.join()
    if inputs:
        streams.set(stream, signature.named(inputs))
    *before, last = tokens
    if before:
        streams.push([stream] * len(before), [(named[0], np.array(before, np.int64))], "unwanted")

    def pieces() -> Iterator[Any]:
        token, left = last, length
        while left:
            steps = min(left, AT_ONCE)
            drawn = streams.generate([stream], [token], [seed], temperature, top_k, steps, output)[0]
            token, left = int(drawn[-1]), left - steps
            yield engine.decode(drawn.tolist()) if is_text else drawn

    return pieces()
