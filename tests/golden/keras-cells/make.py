"""Recurrent layers of Keras beside its usual ones, and weights without their model: python make.py

Made with keras 3.15 on torch 2.15, h5py 3.16. `NAME.io.safetensors` has inputs of NAME.keras and NAME.h5, and the outputs
as Keras computes them in float64. Files of cuDNN have the layout of Keras 2 (`preprocess_weights_for_loading`): Keras 3
has no such layers, so the outputs are those of the layers that Keras 2 turns them into.
`cudnn-lstm-2.h5` and `cudnn-gru-2.h5` are of TensorFlow 2.21 with tf_keras.
"""

import json
import os
import pathlib

os.environ["KERAS_BACKEND"] = "torch"

import h5py
import keras
import numpy as np
from keras import Input, Model, Sequential, layers as L
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).resolve().parent
rng = np.random.default_rng(11)


def normal(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def numbers(model, inputs):
    """The outputs of `model`, by the names that a reader gives them."""
    arrays = [v.astype(np.float64) if v.dtype.kind == "f" else v for v in inputs.values()]
    outputs = model(arrays[0] if len(arrays) == 1 else arrays, training=False)
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    outputs = [o.detach().cpu().numpy().astype(np.float64) for o in outputs]
    return {"y": outputs[0]} if len(outputs) == 1 else {f"y_{i}": o for i, o in enumerate(outputs)}


def write(name, model, inputs):
    io = {f"in.{k}": v for k, v in inputs.items()} | {f"truth.{k}": v for k, v in numbers(model, inputs).items()}
    save_file({k: np.ascontiguousarray(v) for k, v in io.items()}, HERE / f"{name}.io.safetensors")


def in_float64(build, weights):
    keras.backend.clear_session()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    model = build()
    model.set_weights(weights)
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    return model


def case(name, build, inputs, endings=("keras",)):
    keras.backend.clear_session()
    model = build()
    weights = [normal(*w.shape) * 0.4 for w in model.get_weights()]
    model.set_weights(weights)
    for ending in endings:
        model.save(HERE / f"{name}.{ending}")
    write(name, in_float64(build, weights), inputs)
    return weights


def one_cell():
    return Sequential([
        Input((7, 3)),
        L.RNN(L.LSTMCell(5, dropout=0.25), return_sequences=True),
        L.RNN(L.GRUCell(4, reset_after=False, recurrent_activation="hard_sigmoid"), return_sequences=True),
        L.RNN(L.SimpleRNNCell(3, activation="relu", use_bias=False)),
        L.Dense(2),
    ])


def several():
    x = Input((6, 3), name="x")
    cells = [L.LSTMCell(5), L.GRUCell(4), L.SimpleRNNCell(2)]
    cells[0].trainable = False  # an .h5 file lists the variables of such a cell behind the others
    y, *states = L.RNN(cells, return_sequences=True, return_state=True)(L.Masking()(x))
    flat = [s for state in states for s in keras.tree.flatten(state)]
    return Model(x, [L.Dense(2)(y), *flat])


def backwards():
    return Sequential([
        Input((6, 3)),
        L.RNN([L.GRUCell(4), L.LSTMCell(3)], go_backwards=True, return_sequences=True),
        L.Dense(2),
    ])


def both_ways():
    x = Input((6,), dtype="int32", name="x")
    cells = [L.LSTMCell(4), L.GRUCell(3)]
    cells[0].trainable = False
    layer = L.RNN(cells, return_sequences=True, return_state=True)
    y, *states = L.Bidirectional(layer)(L.Embedding(9, 3, mask_zero=True)(x))
    flat = [s for state in states for s in keras.tree.flatten(state)]
    return Model(x, [L.Dense(2)(y), *flat])


def both_ways_last():
    return Sequential([
        Input((6, 3)),
        L.Bidirectional(L.RNN([L.SimpleRNNCell(4), L.StackedRNNCells([L.GRUCell(4), L.GRUCell(3)])]), merge_mode="ave"),
        L.Dense(2),
    ])


def differ():
    x = Input((6,), dtype="int32", name="x")
    layer, other = L.LSTM(4, return_sequences=True), L.GRU(4, return_sequences=True, go_backwards=True)
    y = L.Bidirectional(layer, backward_layer=other)(L.Embedding(9, 3, mask_zero=True)(x))
    return Model(x, L.LSTM(3)(y))


def states():
    x = Input((6, 3), name="x")
    y, fh, fc, bh, bc = L.Bidirectional(L.LSTM(4, return_state=True), merge_mode="mul")(x)
    _, f, b = L.Bidirectional(L.GRU(3, return_state=True, return_sequences=True))(x)
    return Model(x, [y, bc, fh, L.Concatenate()([bh, fc]), L.Dense(2)(L.Concatenate()([f, b]))])


def begun():
    x, h, c, g = Input((6, 3), name="x"), Input((4,), name="h"), Input((4,), name="c"), Input((3,), name="g")
    y = L.RNN([L.LSTMCell(4), L.GRUCell(3)], return_sequences=True)(x, initial_state=[[h, c], [g]])
    return Model([x, h, c, g], L.Dense(2)(y))


def masked(rows, steps, tokens):
    """Rows whose ends, and some steps between, are masked."""
    live = rng.random((rows, steps)) < 0.7
    live[:, 0], live[0, -2:] = True, False
    if tokens:
        return np.where(live, rng.integers(1, 9, (rows, steps)), 0).astype(np.int32)
    return np.where(live[..., None], normal(rows, steps, 3), 0).astype(np.float32)


def of_cudnn(kernel, gates):
    """A kernel in the layout of cuDNN: the transposed matrix of each gate, in a block of the shape that it had."""
    return np.hstack([np.ascontiguousarray(k.T).reshape(k.shape) for k in np.hsplit(kernel, gates)])


def both_of_cudnn():
    """Bidirectional layers of cuDNN, which Keras 2 writes; the file of the same model without them is changed."""
    name = "cudnn-both-2"

    def build():
        return Sequential([
            Input((6, 3)),
            L.Bidirectional(L.LSTM(4, return_sequences=True), name="a"),
            L.Bidirectional(L.GRU(3), name="b"),
        ])

    weights = case(name, build, {"x": normal(3, 6, 3)}, endings=["h5"])
    path = HERE / f"{name}.h5"
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for layer, units in zip(config["config"]["layers"][1:], (4, 3)):
            inner = layer["config"].pop("layer")
            layer["config"].pop("backward_layer")
            kept = ["name", "trainable", "return_sequences", "return_state", "go_backwards", "stateful", "units"]
            kept = {key: inner["config"][key] for key in kept}
            layer["config"]["layer"] = {"class_name": "CuDNN" + inner["class_name"], "config": kept}
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = "2.2.4"
        for layer, gates in (("a", 4), ("b", 3)):
            group = file[f"model_weights/{layer}"]
            for variable in group.attrs["weight_names"]:
                variable = variable if isinstance(variable, str) else variable.decode()
                value = group[variable][()]
                kind = variable.split("/")[-1].split(":")[0]
                if kind != "bias":
                    value = of_cudnn(value, gates)
                elif gates == 3:
                    value = value.reshape(-1)
                else:
                    part = normal(*value.shape) * 0.4
                    value = np.concatenate([part, value - part])
                del group[variable]
                group[variable] = value
    return weights


def weights_alone():
    """What `save_weights("x.h5")` of Keras 2 writes: the same groups without one around them, and no description."""
    for name in ("k2_o_embed_mask_lstm_clf",):
        with h5py.File(HERE.parent / "keras2" / f"{name}.h5", "r") as whole:
            described = json.loads(whole.attrs["model_config"]) | {"keras_version": "2.15.0", "backend": "tensorflow"}
            (HERE / "weights-2.json").write_text(json.dumps(described))
            with h5py.File(HERE / "weights-2.weights.h5", "w") as alone:
                inside = whole["model_weights"]
                for layer in inside:
                    inside.copy(layer, alone)
                for key, value in inside.attrs.items():
                    alone.attrs[key] = value


if __name__ == "__main__":
    case("one-cell-3", one_cell, {"x": normal(3, 7, 3)}, endings=["keras", "h5"])
    case("several-cells-3", several, {"x": masked(3, 6, False)}, endings=["keras", "h5"])
    case("backwards-3", backwards, {"x": normal(3, 6, 3)})
    case("both-ways-3", both_ways, {"x": masked(3, 6, True)}, endings=["keras", "h5"])
    case("both-ways-last-3", both_ways_last, {"x": normal(3, 6, 3)})
    case("differ-3", differ, {"x": masked(3, 6, True)})
    case("states-3", states, {"x": normal(3, 6, 3)})
    case("begun-3", begun, {"x": normal(3, 6, 3), "h": normal(3, 4), "c": normal(3, 4), "g": normal(3, 3)})
    both_of_cudnn()
    weights_alone()
