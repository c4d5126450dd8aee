"""Modules of torch.nn → layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .describe import named, shown
from .interpret import Interpreter, function, module
from .values import (
    BATCH, BY_CHANNEL, CHANNELS, EVERY, FEATURES, LENGTHS, ONE, PAIR, ROW, ROWS, SEQUENCE, SEQUENCES, STATE, STATES,
    TIME, TIME_MAJOR, TOKEN, TOKENS, Lengths, States, StateInput, Value, Weights, Zeros,
)


# Recurrent layers


@module(nn.LSTM, nn.GRU, nn.RNN)
def recurrent(it: Interpreter, of: Any, path: str, input: Any, hx: Any = None) -> Any:
    value = it.demand(input, (SEQUENCES[0] if of.batch_first else SEQUENCES[1],))
    packed = isinstance(value, Value) and value.packed
    value = it.value(value.but(packed=False) if packed else value)
    wanted = SEQUENCE if of.batch_first else TIME_MAJOR
    if not packed and value.axes != wanted:
        _wrong_axes(it, of, value, wanted)
    if not packed:
        it.observe(value, "a recurrent layer")
    it.tell(value, of.input_size, path or type(of).__name__)
    if value.is_row:
        it.refuse("expected a sequence, got a row that was expanded to steps; repeat it a fixed number of times")
    kind = next(base for base in (nn.LSTM, nn.GRU, nn.RNN) if isinstance(of, base)).__name__.lower()
    keys: dict[str, Any] = {"input_size": of.input_size, "hidden_size": of.hidden_size, "num_layers": of.num_layers}
    keys.update(bidirectional=bool(of.bidirectional), bias=bool(of.bias), dropout=of.dropout or None)
    if kind == "lstm":
        keys["proj_size"] = of.proj_size or None
    if kind == "rnn":
        keys["nonlinearity"] = of.nonlinearity
    locals_ = {local: it.own(of, path, local) for local in of._flat_weights_names}
    locals_.update(_initial(it, of, kind, hx, keys))
    keys["weights"] = it.made.weights(path, {local: weights for local, weights in locals_.items() if weights})
    inputs = {key: keys.pop(key) for key in ("h_0", "c_0") if isinstance(keys.get(key), StateInput)}
    layer = it.add(kind, value, kind, **keys)
    for key, state in inputs.items():
        _begin(it, layer, key, state)
    directions = 2 if of.bidirectional else 1
    size = getattr(of, "proj_size", 0) or of.hidden_size
    out = value.but(ref=layer, features=directions * size, source=None, packed=packed, padded=packed or value.padded)
    hidden = States(layer, "hidden", of.num_layers, directions, size)
    if kind != "lstm":
        return out, hidden
    return out, (hidden, States(layer, "cell", of.num_layers, directions, of.hidden_size))


def _wrong_axes(it: Interpreter, of: Any, value: Value, wanted: tuple[str, ...]) -> None:
    got = value.axes or ()
    if EVERY in got:
        it.refuse("expected a sequence, got a row that was expanded to the steps of another tensor")
    first = "batch first" if of.batch_first else "time first"
    hint = ""
    if set(got) == set(wanted):
        hint = f"; set batch_first={not of.batch_first}, or transpose its input"
    it.refuse(f"expected {named(wanted)} for {type(of).__name__} (batch_first={of.batch_first}: {first}), "
              f"got {named(got)}{hint}")


def _initial(it: Interpreter, of: Any, kind: str, hx: Any, keys: dict[str, Any]) -> dict[str, Weights]:
    """Reads initial states: zeros, states of another layer, rows, parameters of `forward` or of the module."""
    if isinstance(hx, Value) and hx.axes is None:
        hx = it.demand(hx, (PAIR,) if kind == "lstm" else (STATE,))
    if hx is None or isinstance(hx, Zeros):
        return {}
    states = hx if kind == "lstm" else (hx,)
    count = 2 if kind == "lstm" else 1
    if not isinstance(states, (tuple, list)) or len(states) != count:
        it.refuse(f"expected {count} initial states for {type(of).__name__}, got {shown(hx)}")
    learned: dict[str, Weights] = {}
    for key, state in zip(("h_0", "c_0"), states):
        state = it.demand(state, (STATE,))
        if isinstance(state, Zeros):
            continue
        if isinstance(state, Weights):
            learned[key] = _learned(it, of, key, state)
        else:
            keys[key] = _begins_at(it, of, state)
    if learned and kind == "lstm":
        for key in {"h_0", "c_0"} - set(learned):
            if key in keys:
                it.refuse("expected both initial states from parameters of the module, or none, got one")
            rows = of.num_layers * (2 if of.bidirectional else 1)
            width = of.hidden_size if key == "c_0" else of.proj_size or of.hidden_size
            learned[key] = it.constant(torch.zeros(rows, width))
    return learned


def _learned(it: Interpreter, of: Any, key: str, state: Weights) -> Weights:
    rows = of.num_layers * (2 if of.bidirectional else 1)
    size = of.hidden_size if key == "c_0" else getattr(of, "proj_size", 0) or of.hidden_size
    shape = [length for length in state.tensor.shape if length != 1]
    if shape != [length for length in (rows, size) if length != 1]:
        got = list(state.tensor.shape)
        it.refuse(f"expected initial states [{rows}, {size}] (layers · directions, size), got {got}")
    return Weights(state.tensor.reshape(rows, size), state.name)


def _begins_at(it: Interpreter, of: Any, state: Any) -> Any:
    if isinstance(state, StateInput):
        return state
    if isinstance(state, States) and state.axes == (STATES, BATCH, FEATURES):
        return f"{state.layer}.{state.word}"
    value = it.value(state)
    if of.num_layers > 1 or of.bidirectional or value.axes not in ((ONE, *ROW), (STATES, *ROW)):
        it.refuse(f"expected initial states of every layer and direction, got {shown(value)}")
    return value.ref


def _begin(it: Interpreter, layer: str, key: str, state: StateInput) -> None:
    word = "hidden" if key == "h_0" else "cell"
    known, stacks = it.begun.setdefault(state.name, (word, []))
    if known != word:
        it.refuse(f"expected {state.name} to be hidden or cell states, got both")
    if stacks:
        last = it.made.last()
        assert last is not None
        last[key] = state.name
    stacks.append(layer)


@function("pack_padded_sequence")
def pack(
    it: Interpreter, input: Any, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> Value:
    lengths = it.demand(lengths, (LENGTHS,))
    value = it.value(it.demand(input, (SEQUENCES[0] if batch_first else SEQUENCES[1],)))
    if not isinstance(lengths, Lengths):
        it.refuse(f"expected lengths that forward takes, got {shown(lengths)}")
    wanted = SEQUENCE if batch_first else TIME_MAJOR
    if value.axes != wanted:
        it.refuse(f"expected {named(wanted)} (batch_first={batch_first}), got {named(value.axes)}")
    if value.clock not in it.layouts and value.clock not in {n.target for n in it.graph.nodes if n.op == "placeholder"}:
        it.refuse("expected lengths of the steps that forward takes, got those of steps that a layer makes")
    if it.lengths.setdefault(str(value.clock), lengths.name) != lengths.name:
        it.refuse(f"expected one lengths for {value.clock}, got {it.lengths[str(value.clock)]} and {lengths.name}")
    return value.but(packed=True)


@function("pad_packed_sequence")
def pad(
    it: Interpreter, sequence: Any, batch_first: bool = False, padding_value: float = 0.0, total_length: Any = None
) -> Any:
    if not isinstance(sequence, Value) or not sequence.packed:
        it.refuse(f"expected a PackedSequence, got {shown(sequence)}")
    if padding_value != 0.0:
        it.refuse(f"expected padding_value=0, got {padding_value}")
    lengths = Lengths(it.lengths[str(sequence.clock)])
    return sequence.but(packed=False, axes=SEQUENCE if batch_first else TIME_MAJOR), lengths


@module(nn.LSTMCell, nn.GRUCell, nn.RNNCell)
def cell(it: Interpreter, of: Any, path: str, *args: Any) -> Any:
    whole = type(of).__name__.removesuffix("Cell")
    it.refuse(f"expected whole sequences, got {type(of).__name__}, which takes one step; use nn.{whole}")


# Products


@module(nn.Linear)
def linear_module(it: Interpreter, of: Any, path: str, input: Any) -> Value:
    return linear(it, input, it.own(of, path, "weight"), it.own(of, path, "bias"), path)


@function("linear")
def linear(it: Interpreter, input: Any, weight: Any, bias: Any = None, path: str | None = None) -> Value:
    value = _last_features(it, input)
    if not isinstance(weight, Weights) or not isinstance(bias, (Weights, type(None))):
        it.refuse("expected weights of the module, got those that forward computes")
    outputs, inputs = weight.tensor.shape
    value = flat(it, value, inputs)
    it.tell(value, inputs, path or "linear")
    tensors = {"weight": weight, **({"bias": bias} if bias else {})}
    prefix = it.path() if path is None else path
    layer = it.add("linear", value, in_features=inputs, out_features=outputs, bias=bias is not None,
                   weights=it.made.weights(prefix, tensors))
    return value.but(ref=layer, features=outputs, source=None)


def flat(it: Interpreter, value: Value, features: int) -> Value:
    """Returns the row of a flattened sequence; `features` is the number that its taker says."""
    last = (value.axes or ((),))[-1]
    if not isinstance(last, tuple):
        return value
    one = it.features(value)
    steps = value.steps or features // one
    if steps * one != features:
        it.refuse(f"expected {features} features, got steps of {one}, flattened")
    ref = value
    if last == (FEATURES, TIME):
        ref = value.but(ref=it.add("permute", ref, steps=steps, features=one))
    layer = it.add("flatten", ref, steps=one if last == (FEATURES, TIME) else steps)
    return Value(layer, (*(value.axes or ())[:-1], FEATURES), features, False)


def _last_features(it: Interpreter, input: Any) -> Value:
    value = it.value(input, (SEQUENCES[0], ROWS, SEQUENCES[1]))
    last = (value.axes or ((),))[-1]
    if last not in (FEATURES, (TIME, FEATURES), (FEATURES, TIME)):
        it.refuse(f"expected features on the last axis, got {named(value.axes)}")
    return value


@module(nn.Embedding)
def embedding_module(it: Interpreter, of: Any, path: str, input: Any) -> Value:
    return embedding(it, input, it.own(of, path, "weight"), of.padding_idx, of.max_norm, path=path)


@function("embedding")
def embedding(
    it: Interpreter, input: Any, weight: Any, padding_idx: int | None = None, max_norm: float | None = None,
    norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False, path: str | None = None,
) -> Value:
    if max_norm is not None:
        it.refuse(f"expected an embedding without max_norm, got max_norm={max_norm}")
    if not isinstance(weight, Weights):
        it.refuse("expected weights of the module, got those that forward computes")
    tokens = _tokens(it, input)
    rows, columns = weight.tensor.shape
    it.tell(tokens, rows, "an embedding")
    if padding_idx is not None and padding_idx < 0:
        padding_idx += rows
    layer = it.add("embedding", tokens, num_embeddings=rows, embedding_dim=columns, padding_idx=padding_idx,
                   weights=it.made.weights(it.path() if path is None else path, {"weight": weight}))
    return _of_tokens(it, tokens, layer, columns)


@function("one_hot")
def one_hot(it: Interpreter, tensor: Any, num_classes: int = -1) -> Value:
    if not isinstance(num_classes, int) or num_classes < 1:
        it.refuse(f"expected a fixed number of classes, got {shown(num_classes)}")
    tokens = _tokens(it, tensor)
    it.tell(tokens, num_classes, "one_hot")
    return _of_tokens(it, tokens, it.add("one_hot", tokens, num_classes=num_classes), num_classes)


def _tokens(it: Interpreter, input: Any) -> Value:
    value = it.demand(input, (*TOKENS, TOKEN))
    if not isinstance(value, Value) or not value.tokens:
        it.refuse(f"expected tokens that forward takes, got {shown(value)}")
    return value


def _of_tokens(it: Interpreter, tokens: Value, layer: str, features: int) -> Value:
    axes = (*(tokens.axes or ()), FEATURES)
    value = Value(layer, axes, features, True, clock=tokens.clock, steps=tokens.steps)
    if TIME in axes:
        return value
    # One token for each row is a sequence of one step.
    return value.but(ref=it.add("select", value, what="last_step"), has_time=False, clock=None, steps=None)


# Convolutions and pools


@module(nn.Conv1d)
def convolution(it: Interpreter, of: Any, path: str, input: Any) -> Value:
    value = it.value(input, (BY_CHANNEL,))
    if value.axes != CHANNELS:
        it.refuse(f"expected {named(CHANNELS)} for Conv1d, got {named(value.axes)}")
    if of.padding_mode != "zeros":
        it.refuse(f"expected padding_mode='zeros', got {of.padding_mode!r}")
    it.observe(value, "a convolution")
    it.tell(value, of.in_channels, path or "Conv1d")
    padding = of.padding if isinstance(of.padding, str) else of.padding[0]
    if padding == "same":
        span = of.dilation[0] * (of.kernel_size[0] - 1)
        padding = [span // 2, span - span // 2]
    tensors = {"weight": it.own(of, path, "weight"), "bias": it.own(of, path, "bias")}
    layer = it.add(
        "conv1d", value, in_features=of.in_channels, out_features=of.out_channels, kernel_size=of.kernel_size[0],
        stride=of.stride[0], dilation=of.dilation[0], groups=of.groups, padding=padding, bias=of.bias is not None,
        all_steps=value.padded or None,
        weights=it.made.weights(path, {local: weights for local, weights in tensors.items() if weights}),
    )
    return made_steps(value, layer, of.out_channels)


def made_steps(value: Value, layer: str, features: int | None, steps: int | None = None) -> Value:
    """Returns a value whose steps the layer makes."""
    source = None if features else value.source
    return value.but(ref=layer, features=features, source=source, steps=steps, clock=layer, padded=True)


def _one(it: Interpreter, size: Any) -> int:
    size = size[0] if isinstance(size, (tuple, list)) and len(size) == 1 else size
    if not isinstance(size, int):
        it.refuse(f"expected a fixed size, got {shown(size)}")
    return size


@module(nn.MaxPool1d)
def max_pool(it: Interpreter, of: Any, path: str, input: Any) -> Value:
    return window(it, input, "max", of.kernel_size, of.stride, of.padding, of.dilation, of.ceil_mode, False)


@module(nn.AvgPool1d)
def mean_pool(it: Interpreter, of: Any, path: str, input: Any) -> Value:
    return window(it, input, "mean", of.kernel_size, of.stride, of.padding, 1, of.ceil_mode, of.count_include_pad)


def window(
    it: Interpreter, input: Any, reduce: str, size: Any, stride: Any, padding: Any, dilation: Any, ceil: bool,
    counts: bool,
) -> Value:
    """Adds a pool of windows."""
    value = _by_channel(it, input)
    it.observe(value, "a pool")
    size = _one(it, size)
    stride = size if stride is None or stride == [] else _one(it, stride)
    padding, dilation = _one(it, padding), _one(it, dilation)
    layer = it.add(
        "window_pool", value, reduce=reduce, size=size, stride=stride, dilation=dilation, before=padding or None,
        after=padding or None, ceil=bool(ceil) or None, counts_padding=bool(counts and padding) or None,
    )
    return made_steps(value, layer, value.features)


def _by_channel(it: Interpreter, input: Any) -> Value:
    value = it.value(input, (BY_CHANNEL,))
    if value.axes != CHANNELS:
        it.refuse(f"expected {named(CHANNELS)} for a pool, got {named(value.axes)}")
    return value


@module(nn.AdaptiveMaxPool1d)
def adaptive_max(it: Interpreter, of: Any, path: str, input: Any) -> Value:
    return adaptive(it, input, "max", of.output_size)


@module(nn.AdaptiveAvgPool1d)
def adaptive_mean(it: Interpreter, of: Any, path: str, input: Any) -> Value:
    return adaptive(it, input, "mean", of.output_size)


def adaptive(it: Interpreter, input: Any, reduce: str, size: Any) -> Value:
    """Adds a pool of all steps."""
    value = _by_channel(it, input)
    if _one(it, size) != 1:
        it.refuse(f"expected output_size=1, got {size}")
    return pooled(it, value, reduce).but(axes=(BATCH, FEATURES, ONE))


def pooled(it: Interpreter, value: Value, reduce: str) -> Value:
    """Adds what all steps come to: a row."""
    if value.is_row:
        it.refuse("expected a sequence, got a row")
    it.observe(value, f"the {reduce} of steps")
    layer = it.add("global_pool", value, reduce=reduce, all_steps=value.padded or None)
    axes = tuple(axis for axis in value.axes or () if axis != TIME)
    return value.but(ref=layer, axes=axes, has_time=False, steps=None, clock=None, padded=False)


# What normalises


@module(nn.LayerNorm)
def layer_norm_module(it: Interpreter, of: Any, path: str, input: Any) -> Value:
    weight, bias = it.own(of, path, "weight"), it.own(of, path, "bias")
    return layer_norm(it, input, of.normalized_shape, weight, bias, of.eps, path)


@function("layer_norm")
def layer_norm(
    it: Interpreter, input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5,
    path: str | None = None,
) -> Value:
    return _normalised(it, input, "layer_norm", normalized_shape, {"weight": weight, "bias": bias}, eps, path)


@module(nn.RMSNorm)
def rms_norm_module(it: Interpreter, of: Any, path: str, input: Any) -> Value:
    return rms_norm(it, input, of.normalized_shape, it.own(of, path, "weight"), of.eps, path)


@function("rms_norm")
def rms_norm(
    it: Interpreter, input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None,
    path: str | None = None,
) -> Value:
    eps = torch.finfo(torch.float32).eps if eps is None else eps
    return _normalised(it, input, "rms_norm", normalized_shape, {"weight": weight}, eps, path)


def _normalised(
    it: Interpreter, input: Any, kind: str, shape: Any, tensors: dict[str, Any], eps: float, path: str | None
) -> Value:
    value = _last_features(it, input)
    features = _one(it, list(shape) if isinstance(shape, (tuple, list)) else shape)
    value = flat(it, value, features)
    it.tell(value, features, kind)
    tensors = {local: weights for local, weights in tensors.items() if weights is not None}
    if not all(isinstance(weights, Weights) for weights in tensors.values()):
        it.refuse("expected weights of the module, got those that forward computes")
    flags = {"scale": "weight" in tensors}
    if kind == "layer_norm":
        flags["bias"] = "bias" in tensors
    weights = it.made.weights(it.path() if path is None else path, tensors)
    return value.but(ref=it.add(kind, value, features=features, eps=eps, **flags, weights=weights), source=None,
                     features=features)


@module(nn.BatchNorm1d)
def batch_norm(it: Interpreter, of: Any, path: str, input: Any) -> Value:
    value = it.value(input, (BY_CHANNEL, ROWS))
    if of.running_mean is None:
        it.refuse("expected track_running_stats=True, got BatchNorm1d that uses the numbers of each batch")
    if value.axes not in (CHANNELS, ROW):
        it.refuse(f"expected {named(CHANNELS)} or {named(ROW)} for BatchNorm1d, got {named(value.axes)}")
    it.tell(value, of.num_features, path or "BatchNorm1d")
    locals_ = ("weight", "bias", "running_mean", "running_var")
    tensors = {local: it.own(of, path, local) for local in locals_ if getattr(of, local) is not None}
    frozen = of.affine and not of.weight.requires_grad or None
    layer = it.add("batch_norm", value, features=of.num_features, eps=of.eps, scale=of.affine, bias=of.affine,
                   frozen=frozen, weights=it.made.weights(path, {k: v for k, v in tensors.items() if v}))
    return value.but(ref=layer, features=of.num_features, source=None)


@module(nn.PReLU)
def prelu(it: Interpreter, of: Any, path: str, input: Any) -> Value:
    value = it.value(input)
    # PyTorch's channels are axis 1.
    if of.num_parameters > 1 and (value.axes or ())[1:2] != (FEATURES,):
        it.refuse(f"expected features on axis 1 for PReLU of several parameters, got {named(value.axes)}")
    features = it.features(value)
    weight = it.own(of, path, "weight")
    assert weight is not None
    layer = it.add("prelu", value, features=features, shared=of.num_parameters == 1 and features > 1,
                   weights=it.made.weights(path, {"weight": weight}))
    return value.but(ref=layer)
