"""Modules of PyTorch and models of Keras, drawn at random by a seed."""

import random

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

FUNCTIONS = [torch.tanh, torch.sigmoid, F.relu, F.gelu, F.silu, F.elu, F.softplus, F.leaky_relu, F.hardswish, F.mish]


class Drawn(nn.Module):
    """Blocks over a sequence, and a head, by the seed."""

    def __init__(self, seed):
        super().__init__()
        draw = self.draw = random.Random(seed)
        self.batch_first = draw.random() < 0.7
        self.tokens = draw.random() < 0.5
        width = draw.choice([3, 4, 6])
        self.features = width
        if self.tokens:
            self.embedding = nn.Embedding(12, width)
        self.packs = draw.random() < 0.3
        self.blocks, self.plan = nn.ModuleList(), []
        for _ in range(draw.randint(1, 4)):
            width = self.add(draw.choice(["rnn", "rnn", "norm", "linear", "function", "conv", "residual"]), width)
        width = self.add("rnn", width, last=True)
        self.heads = ["steps", "last", "mean", "max", "states", "first", "both", "attention"]
        self.head = draw.choice(["steps", "states"] if self.packs else self.heads)
        self.score = nn.Linear(width, 1)
        rnn = self.blocks[-1]
        directions = 2 if rnn.bidirectional else 1
        size = (getattr(rnn, "proj_size", 0) or rnn.hidden_size) * directions
        self.out = nn.Linear(width * 2 if self.head == "both" else size if self.head == "states" else width, 3)

    def add(self, kind, width, last=False):
        draw = self.draw
        if self.packs and kind in ("rnn", "conv", "residual") and not last:
            kind = "linear"
        out = draw.choice([4, 5, 8])
        if kind == "rnn":
            cell = draw.choice([nn.LSTM, nn.GRU, nn.RNN])
            keys = {"num_layers": draw.randint(1, 2), "bidirectional": draw.random() < 0.4, "bias": draw.random() < 0.8}
            if cell is nn.LSTM and draw.random() < 0.3:
                keys["proj_size"] = 3
            if cell is nn.RNN:
                keys["nonlinearity"] = draw.choice(["tanh", "relu"])
            block = cell(width, out, batch_first=self.batch_first, **keys)
            out = keys.get("proj_size", out) * (2 if keys["bidirectional"] else 1)
        elif kind == "residual":
            block, out = nn.GRU(width, width, batch_first=self.batch_first), width
        elif kind == "norm":
            block, out = draw.choice([nn.LayerNorm, nn.RMSNorm])(width), width
        elif kind == "linear":
            block = nn.Sequential(nn.Linear(width, out), draw.choice([nn.Tanh, nn.ReLU, nn.GELU])(), nn.Dropout(0.2))
        elif kind == "conv":
            block = nn.Conv1d(width, out, draw.choice([1, 2, 3]), padding=draw.choice([0, 1, "same"]))
        else:
            block, out = nn.Identity(), width
        self.blocks.append(block)
        self.plan.append((kind, draw.choice(FUNCTIONS)))
        return out

    def forward(self, x, lengths):
        if self.tokens:
            x = self.embedding(x)
        steps = 1 if self.batch_first else 0
        for block, (kind, function) in zip(self.blocks, self.plan):
            last = block is self.blocks[-1]
            if kind == "rnn" and last and self.packs:
                x = pack_padded_sequence(x, lengths, batch_first=self.batch_first, enforce_sorted=False)
            if kind == "rnn":
                x, states = block(x)
            elif kind == "residual":
                x = x + block(x)[0]
            elif kind == "conv":
                x = x.permute(0, 2, 1) if self.batch_first else x.permute(1, 2, 0)
                x = function(block(x))
                x = x.transpose(1, 2) if self.batch_first else x.permute(2, 0, 1)
            elif kind == "function":
                x = function(x)
            else:
                x = block(x)
        rnn = self.blocks[-1]
        if self.packs:
            x, _ = pad_packed_sequence(x, batch_first=self.batch_first)
        if self.head == "steps":
            return self.out(x)
        if self.head == "states":
            h = states[0] if isinstance(states, tuple) else states
            return self.out(torch.cat([h[-2], h[-1]], dim=-1) if rnn.bidirectional else h[-1])
        if self.head == "attention":
            weights = F.softmax(self.score(x), dim=steps)
            return self.out(torch.sum(weights * x, dim=steps))
        if self.head == "both":
            return self.out(torch.cat([x.mean(dim=steps), x.amax(dim=steps)], dim=1))
        if self.head == "first":
            return F.softmax(self.out(x[:, 0] if self.batch_first else x[0]), dim=-1)
        if self.head == "last":
            return self.out(x[:, -1] if self.batch_first else x[-1])
        return self.out(x.mean(steps) if self.head == "mean" else x.max(steps).values)

    def inputs(self):
        rows, steps = 3, 7
        shape = (rows, steps) if self.batch_first else (steps, rows)
        x = torch.randint(0, 12, shape) if self.tokens else torch.randn(*shape, self.features)
        return x, torch.tensor([4, 7, 2])


def keras_model(seed):
    """Returns a functional model of Keras and its inputs as arrays."""
    import keras
    import numpy as np
    from keras import layers as L

    draw, numbers = random.Random(seed), np.random.default_rng(seed)
    tokens, rows, steps = draw.random() < 0.5, 3, 8
    masks = tokens and draw.random() < 0.5
    if tokens:
        x = keras.Input((steps if draw.random() < 0.5 else None,), dtype="int32", name="words")
        value = L.Embedding(12, 6, mask_zero=masks)(x)
        array = numbers.integers(1, 12, (rows, steps))
        array[0, 5:] = 0
    else:
        x = keras.Input((steps, 4), name="series")
        value, array = x, numbers.standard_normal((rows, steps, 4)).astype("float32")
    given, arrays = [x], [array]
    for _ in range(draw.randint(1, 3)):
        kind = draw.choice(["rnn", "rnn", "norm", "dense", "residual"] + ([] if masks else ["conv", "pool"]))
        if kind == "rnn":
            value = wrapped(draw, cell(draw, True))(value)
        elif kind == "norm":
            value = draw.choice([L.LayerNormalization, L.BatchNormalization])()(value)
        elif kind == "dense":
            value = L.Dropout(0.2)(L.Dense(5, activation=draw.choice(["relu", "tanh", "gelu", "elu"]))(value))
        elif kind == "conv":
            value = L.Conv1D(5, draw.choice([2, 3]), padding=draw.choice(["same", "causal"]), activation="relu")(value)
        elif kind == "pool":
            value = draw.choice([L.MaxPooling1D, L.AveragePooling1D])(2, padding="same")(value)
        else:
            value = L.Add()([value, L.GRU(value.shape[-1], return_sequences=True)(value)])
    outputs = [L.TimeDistributed(L.Dense(3), name="tags")(value)] if draw.random() < 0.4 else []
    row = wrapped(draw, cell(draw, False))(value)
    if draw.random() < 0.4:
        facts = keras.Input((2,), name="facts")
        given, arrays = [x, facts], [array, numbers.standard_normal((rows, 2)).astype("float32")]
        row = L.Concatenate()([row, L.Dense(3, activation="relu")(facts)])
    outputs.append(L.Dense(4, activation="softmax", name="kind")(row))
    model = keras.Model(given if len(given) > 1 else given[0], outputs if len(outputs) > 1 else outputs[0])
    weights = [numbers.uniform(0.5, 1.5, w.shape) if w.ndim == 1 else w for w in model.get_weights()]
    model.set_weights(weights)
    return model, arrays


def cell(draw, sequences):
    from keras import layers as L

    kind = draw.choice([L.LSTM, L.GRU, L.SimpleRNN])
    keys = {"use_bias": draw.random() < 0.8, "go_backwards": False}
    if kind is L.GRU:
        keys["reset_after"] = draw.random() < 0.5
    if kind is L.SimpleRNN:
        keys["activation"] = draw.choice(["tanh", "relu"])
    return kind(draw.choice([4, 6]), return_sequences=sequences, **keys)


def wrapped(draw, layer):
    from keras import layers as L

    return L.Bidirectional(layer, merge_mode=draw.choice(["concat", "sum", "ave"])) if draw.random() < 0.4 else layer
