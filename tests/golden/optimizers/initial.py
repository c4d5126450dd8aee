"""Prints the hashes of initial weights that `src/train/tests/initial.rs` expects, computed here from the laws themselves.

Needs numpy, whose QR is LAPACK's: with the signs of R's diagonal it is the same matrix, up to what 32-bit floats hold.
"""

import math

import numpy as np

WORD = 0xFFFFFFFF
SEED = 1234


def threefry(key, counter):
    keys = [*key, 0x1BD11BDA ^ key[0] ^ key[1]]
    a, b = counter
    for group in range(6):
        a, b = a + keys[group % 3] & WORD, b + keys[(group + 1) % 3] + group & WORD
        if group < 5:
            for by in [[13, 15, 26, 6], [17, 29, 16, 24]][group % 2]:
                a = a + b & WORD
                b = (b << by | b >> 32 - by) & WORD ^ a
    return a, b


def pair(key, attempt, place):
    return [(word + 0.5) / 2**31 - 1 for word in threefry(key, (attempt, place))]


def uniform(key, count):
    return np.array([x for place in range((count + 1) // 2) for x in pair(key, 0, place)][:count])


def normal(key, count):
    numbers = []
    for place in range((count + 1) // 2):
        attempt, square = 0, 2.0
        while square >= 1:
            x, y = pair(key, attempt, place)
            attempt, square = attempt + 1, x * x + y * y
        factor = math.sqrt(-2 * math.log(square) / square)
        numbers += [factor * x, factor * y]
    return np.array(numbers[:count])


def orthogonal(key, rows, columns):
    q, r = np.linalg.qr(normal(key, rows * columns).reshape(columns, rows).T)
    return (q * np.sign(np.diag(r))).ravel()


def glorot(inputs, outputs):
    return lambda key, count: math.sqrt(6 / (inputs + outputs)) * uniform(key, count)


def zero(_, count):
    return np.zeros(count)


def stack(prefix, gates, inputs, hidden, layers=1, directions=1, biases=2, peepholes=False, learned=False):
    """The parameters of a stack: name, shape, PyTorch's law, Keras' law."""
    rows = gates * hidden
    even = lambda key, count: uniform(key, count) / math.sqrt(hidden)
    ones = lambda _, count: np.concatenate([np.full(hidden, float(gates == 4 and gate == 1)) for gate in range(gates)])
    for layer in range(layers):
        for direction in range(directions):
            width = inputs if layer == 0 else hidden * directions
            end = f"_l{layer}" + "_reverse" * direction
            yield f"{prefix}weight_ih{end}", rows * width, even, glorot(width, rows)
            yield f"{prefix}weight_hh{end}", rows * hidden, even, lambda key, _: orthogonal(key, rows, hidden)
            yield f"{prefix}bias_ih{end}", rows, even, ones
            if biases == 2:
                yield f"{prefix}bias_hh{end}", rows, even, zero
            if peepholes:
                yield f"{prefix}weight_ch{end}", 3 * hidden, even, glorot(hidden, hidden)
    if learned:
        yield f"{prefix}h_0", layers * directions * hidden, zero, zero


def padded(table):
    """With row 0, of ten numbers, zero."""
    return lambda key, count: np.concatenate([np.zeros(10), table(key, count)[10:]])


def model():
    yield "0.weight", 300, padded(normal), padded(lambda key, count: 0.05 * uniform(key, count))
    yield from stack("1.", 4, 10, 24, layers=2, directions=2, peepholes=True)
    yield from stack("2.", 3, 48, 33, learned=True)
    yield from stack("3.", 1, 33, 17, biases=1)
    linear = lambda key, count: uniform(key, count) / math.sqrt(17)
    yield "4.weight", 85, linear, glorot(17, 5)
    yield "4.bias", 5, linear, zero


for framework in [0, 1]:
    tensors = {}
    for index, (name, count, *laws) in enumerate(model()):
        key = threefry((SEED, 0), (index, 0x696E6974))
        tensors[name] = laws[framework](key, count).astype("<f4")
    hash = 0xCBF29CE484222325
    for name in sorted(tensors):
        for byte in tensors[name].tobytes():
            hash = (hash ^ byte) * 0x100000001B3 & (1 << 64) - 1
    print(["PyTorch", "Keras"][framework], hex(hash))
