"""Models with layers between steps and rows, by Keras and by PyTorch's ONNX exporters, with inputs and outputs.

Needs torch, keras, onnx, onnxruntime, numpy and safetensors. Writes NAME.keras or NAME.onnx beside itself, and
NAME.io.safetensors with `in.…` and `truth.…`. Keras' numbers are computed in float64, PyTorch's by a float64 copy.
Names as arguments write those alone.
"""
import copy, os, pathlib, sys
os.environ.setdefault("KERAS_BACKEND", "torch")
import keras, numpy as np, onnx, torch
from keras import layers as L, ops
from safetensors.numpy import save_file
from torch import nn

HERE = pathlib.Path(__file__).parent
rng = np.random.default_rng(20261130)


def normal(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def wanted(name):
    return not sys.argv[1:] or name in sys.argv[1:]


def store(name, inputs, outputs):
    arrays = {f"in.{k}": np.ascontiguousarray(v) for k, v in inputs.items()}
    arrays.update({f"truth.{k}": np.ascontiguousarray(v, dtype=np.float64) for k, v in outputs.items()})
    save_file(arrays, HERE / f"{name}.io.safetensors")


def of_keras(name, build, x, key="x"):
    if not wanted(name):
        return
    model = build()
    weights = [0.5 * normal(*w.shape) for w in model.get_weights()]
    model.set_weights(weights)
    model.save(HERE / f"{name}.keras")
    keras.config.set_dtype_policy("float64")
    exact = build()
    exact.set_weights([w.astype(np.float64) for w in weights])
    keras.config.set_dtype_policy("float32")
    y = exact(x if x.dtype.kind == "i" else x.astype(np.float64))
    store(name, {key: x}, {"y": y.detach().cpu().numpy()})


def several():
    x = L.Input((7, 4))
    y = L.LSTM(5, return_sequences=True)(x)
    pools = [L.GlobalMaxPooling1D()(y), L.GlobalAveragePooling1D()(y), L.LSTM(3)(x)]
    return keras.Model(x, L.Dense(3, activation="softmax")(L.Concatenate()(pools)))


def operations():
    x = L.Input((None, 4))
    y = L.GRU(5, return_sequences=True)(x)
    pools = [ops.max(y, axis=1), ops.mean(y, axis=1), ops.min(y, axis=1), ops.sum(x, axis=-2)]
    return keras.Model(x, L.Dense(3)(L.Concatenate()(pools)))


ids = rng.integers(1, 9, (3, 7)).astype(np.int32)
ids[0, 5:], ids[1, :2], ids[2, 3] = 0, 0, 0
of_keras("k_max", lambda: keras.Sequential([L.Input((None, 4)), L.Bidirectional(L.GRU(5, return_sequences=True)), L.GlobalMaxPooling1D(), L.Dense(3)]), normal(3, 7, 4))
of_keras("k_mean_masked", lambda: keras.Sequential([L.Input((None,)), L.Embedding(9, 4, mask_zero=True), L.LSTM(5, return_sequences=True), L.GlobalAveragePooling1D(), L.Dense(2)]), ids, "ids")
of_keras("k_max_masked", lambda: keras.Sequential([L.Input((None,)), L.Embedding(9, 4, mask_zero=True), L.GRU(5, return_sequences=True), L.GlobalMaxPooling1D(), L.Dense(2)]), ids, "ids")
of_keras("k_several", several, normal(3, 7, 4))
of_keras("k_operations", operations, normal(3, 7, 4))
of_keras("k_kept", lambda: keras.Sequential([L.Input((6, 4)), L.LSTM(5, return_sequences=True), L.GlobalAveragePooling1D(keepdims=True), L.Flatten(), L.Dense(2)]), normal(3, 6, 4))
of_keras("k_flatten", lambda: keras.Sequential([L.Input((6, 4)), L.Bidirectional(L.LSTM(5, return_sequences=True)), L.Flatten(), L.Dense(3, activation="relu")]), normal(3, 6, 4))
of_keras("k_repeat", lambda: keras.Sequential([L.Input((6, 4)), L.GRU(5), L.RepeatVector(3), L.LSTM(4, return_sequences=True), L.TimeDistributed(L.Dense(4))]), normal(3, 6, 4))
of_keras("k_row_repeated", lambda: keras.Sequential([L.Input((5,)), L.Dense(6, activation="tanh"), L.RepeatVector(4), L.LSTM(4, return_sequences=True), L.Dense(2)]), normal(3, 5))
of_keras("k_row_reshaped", lambda: keras.Sequential([L.Input((12,)), L.Reshape((4, -1)), L.LSTM(5), L.Dense(2)]), normal(3, 12))
of_keras("k_steps_reshaped", lambda: keras.Sequential([L.Input((6, 4)), L.Reshape((3, 8)), L.GRU(5, return_sequences=True), L.Reshape((5, 3)), L.LSTM(2)]), normal(3, 6, 4))
of_keras("k_permute", lambda: keras.Sequential([L.Input((6, 4)), L.LSTM(5, return_sequences=True), L.Permute((2, 1)), L.GRU(3, return_sequences=True)]), normal(3, 6, 4))



def every():
    x = L.Input((None, 4))
    y = L.GRU(5, return_sequences=True)(x)
    return keras.Model(x, [L.Dense(3)(L.LSTM(4, return_sequences=True)(y[:, ::2])[:, 1:-1:2])])


def every_masked():
    ids = L.Input((None,))
    y = L.GRU(5, return_sequences=True)(L.Embedding(9, 4, mask_zero=True)(ids))
    return keras.Model(ids, [L.Dense(3)(L.LSTM(4)(L.Dense(3)(y[:, ::2])))])


# PyTorch, on which Keras computes, pads an even window otherwise than TensorFlow: these are odd.
of_keras("k_windows", lambda: keras.Sequential([L.Input((9, 4)), L.LSTM(5, return_sequences=True), L.MaxPooling1D(2), L.GRU(3, return_sequences=True), L.AveragePooling1D(3, strides=1, padding="same"), L.Dense(2)]), normal(3, 9, 4))
of_keras("k_windows_masked", lambda: keras.Sequential([L.Input((None,)), L.Embedding(9, 4, mask_zero=True), L.GRU(5, return_sequences=True), L.MaxPooling1D(3, strides=2, padding="same"), L.LSTM(3), L.Dense(2)]), ids, "ids")
of_keras("k_every", every, normal(3, 11, 4))
of_keras("k_every_masked", every_masked, ids, "ids")


class Net(nn.Module):
    """A stack, then what `after` makes of its steps."""

    def __init__(self, stack, after, before=None, head=None):
        super().__init__()
        self.stack, self.after, self.before, self.head = stack, after, before, head or nn.Identity()

    def forward(self, x, *more):
        x = self.before(x) if self.before else x
        return self.head(self.after(self, self.stack(x)))


def of_torch(name, net, x, dynamo=False, axes=None):
    if not wanted(name):
        return
    torch.manual_seed(len(name))
    for p in net.parameters():
        nn.init.normal_(p, std=0.5)
    net.eval()
    x = torch.from_numpy(x)
    axes = {0: "b"} if axes is None else axes
    path = HERE / f"{name}.onnx"
    if dynamo:
        shapes = ({i: torch.export.Dim(n, min=2, max=4096) for i, n in axes.items()},) if axes else None
        torch.onnx.export(net, (x,), path, input_names=["x"], output_names=["y"], dynamic_shapes=shapes, dynamo=True, external_data=False)
    else:
        torch.onnx.export(net, (x,), path, input_names=["x"], output_names=["y"], dynamic_axes={"x": axes, "y": {0: "b"}}, opset_version=17, dynamo=False)
    written = onnx.load(path)
    for part in [*written.graph.node, *written.graph.value_info, *written.graph.input, *written.graph.output]:
        part.doc_string = ""
        del part.metadata_props[:]
    del written.graph.metadata_props[:], written.metadata_props[:]
    onnx.save(written, path)
    with torch.no_grad():
        y = copy.deepcopy(net).double()(x.double())
    import onnxruntime as ort
    got = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"x": x.numpy()})[0]
    assert np.allclose(got, y, atol=1e-4), name
    store(name, {"x": x.numpy()}, {"y": y.numpy()})


class Decoder(Net):
    """The last state of a stack, as often as there are steps of another one."""

    def __init__(self, repeat):
        super().__init__(nn.GRU(4, 5, batch_first=True), None)
        self.repeat, self.decoder, self.out = repeat, nn.LSTM(5, 3, batch_first=True), nn.Linear(3, 2)

    def forward(self, x):
        h = self.stack(x)[1][-1]
        return self.out(self.decoder(self.repeat(h.unsqueeze(1)))[0])


gru = lambda size=4: nn.GRU(size, 5, batch_first=True)
both = lambda: nn.LSTM(4, 5, batch_first=True, bidirectional=True)
steps = {0: "b", 1: "t"}
for dynamo in (False, True):
    d = "_d" if dynamo else ""
    of_torch(f"o_max{d}", Net(both(), lambda net, y: y[0].max(1)[0], head=nn.Linear(10, 3)), normal(3, 7, 4), dynamo, steps)
    of_torch(f"o_mean{d}", Net(gru(), lambda net, y: y[0].mean(dim=1), head=nn.Linear(5, 3)), normal(3, 7, 4), dynamo, steps)
    of_torch(f"o_several{d}", Net(gru(), lambda net, y: torch.cat([y[0].amin(1), y[0].sum(1), y[0].amax(1), y[1][-1]], -1), head=nn.Linear(20, 3)), normal(3, 7, 4), dynamo, steps)
    of_torch(f"o_global_pool{d}", Net(gru(), lambda net, y: nn.functional.adaptive_avg_pool1d(y[0].transpose(1, 2), 1).squeeze(2), head=nn.Linear(5, 3)), normal(3, 7, 4), dynamo)
    of_torch(f"o_flatten{d}", Net(both(), lambda net, y: y[0].flatten(1), head=nn.Linear(70, 3)), normal(3, 7, 4), dynamo)
    of_torch(f"o_view{d}", Net(gru(), lambda net, y: y[0].reshape(y[0].shape[0], -1), head=nn.Linear(35, 3)), normal(3, 7, 4), dynamo)
    of_torch(f"o_row{d}", Net(gru(3), lambda net, y: y[0][:, -1], lambda x: x.view(-1, 4, 3), nn.Linear(5, 2)), normal(3, 12), dynamo)
    of_torch(f"o_reshaped{d}", Net(gru(8), lambda net, y: y[0], lambda x: x.reshape(x.shape[0], 3, 8), nn.Linear(5, 2)), normal(3, 6, 4), dynamo)
    of_torch(f"o_repeated{d}", Decoder(lambda h: h.repeat(1, 6, 1)), normal(3, 7, 4), dynamo)
    of_torch(f"o_expanded{d}", Decoder(lambda h: h.expand(-1, 6, -1)), normal(3, 7, 4), dynamo)


class Convolved(nn.Module):
    """Convolutions before a stack: one with a stride, and one of groups that looks back."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv1d(4, 6, 3, stride=2, padding=1), nn.Conv1d(6, 6, 3, dilation=2, groups=3)
        self.stack, self.head = nn.GRU(6, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, x):
        x = torch.relu(self.first(x.transpose(1, 2)))
        x = self.second(nn.functional.pad(x, (4, 0)))
        return self.head(self.stack(x.transpose(1, 2))[0])


class Normed(nn.Module):
    """A convolution over both directions, normalised."""

    def __init__(self):
        super().__init__()
        self.stack, self.conv = both(), nn.Conv1d(10, 6, 2, bias=False)
        self.norm, self.head = nn.BatchNorm1d(6), nn.Linear(6, 3)

    def forward(self, x):
        y = torch.relu(self.norm(self.conv(self.stack(x)[0].transpose(1, 2))))
        return self.head(y.transpose(1, 2))


of_keras("k_conv", lambda: keras.Sequential([L.Input((None, 4)), L.Conv1D(6, 3, padding="causal", dilation_rate=2, activation="relu"), L.Conv1D(8, 2, strides=2, padding="same", groups=2, use_bias=False), L.LSTM(5), L.Dense(2)]), normal(3, 7, 4))
of_keras("k_conv_masked", lambda: keras.Sequential([L.Input((None,)), L.Embedding(9, 4, mask_zero=True), L.Conv1D(5, 3, padding="same"), L.LSTM(5), L.Dense(2)]), ids, "ids")
of_keras("k_conv_separable", lambda: keras.Sequential([L.Input((9, 4)), L.SeparableConv1D(6, 3, depth_multiplier=2, activation="tanh"), L.DepthwiseConv1D(3, depth_multiplier=2, padding="same"), L.GRU(4, return_sequences=True)]), normal(3, 9, 4))
for dynamo in (False, True):
    d = "_d" if dynamo else ""
    of_torch(f"o_conv{d}", Convolved(), normal(3, 9, 4), dynamo, steps)
    of_torch(f"o_conv_norm{d}", Normed(), normal(3, 7, 4), dynamo)


def windows(net, y):
    """Pools of windows, one behind the other, as PyTorch has them: batch, features, time."""
    y = nn.functional.max_pool1d(y[0].transpose(1, 2), 3, stride=2, padding=1, ceil_mode=True)
    return nn.functional.avg_pool1d(y, 2, stride=1, padding=1, count_include_pad=True).transpose(1, 2)


def means(net, y):
    y = nn.functional.avg_pool1d(y[0].transpose(1, 2), 3, stride=2, padding=1, ceil_mode=True, count_include_pad=False)
    return nn.functional.max_pool1d(y, 2, stride=1, dilation=2).transpose(1, 2)


of_torch("o_windows", Net(gru(), windows, head=nn.Linear(5, 3)), normal(3, 8, 4), axes=steps)
of_torch("o_means", Net(both(), means, head=nn.Linear(10, 3)), normal(3, 8, 4))
of_torch("o_every", Net(gru(), lambda net, y: y[0][:, 1::2], lambda x: x[:, :-1:2], nn.Linear(5, 3)), normal(3, 9, 4), axes=steps)


class Around(nn.Module):
    """Convolutions that take steps of the sequence itself around it."""

    def __init__(self):
        super().__init__()
        modes = ["reflect", "circular", "replicate"]
        self.convs = nn.ModuleList(nn.Conv1d(4, 4, 3, padding=2, padding_mode=mode) for mode in modes)
        self.stack = nn.GRU(4, 5, batch_first=True)

    def forward(self, x):
        x = x.transpose(1, 2)
        for conv in self.convs:
            x = torch.tanh(conv(x))
        return self.stack(x.transpose(1, 2))[0]


class First(nn.Module):
    """An input of batch, features and time behind padding and a function, and pools that leave one step for a stack."""

    def __init__(self):
        super().__init__()
        self.conv, self.stack = nn.Conv1d(3, 4, 3), nn.GRU(4, 5, batch_first=True)

    def forward(self, x):
        x = self.conv(torch.relu(nn.functional.pad(x, (2, 1), mode="reflect")))
        x = nn.functional.max_pool1d(x, 3, stride=2)
        x = nn.functional.max_pool1d(x, 6, stride=6, ceil_mode=True)
        return self.stack(x.transpose(1, 2))[0]


for dynamo in (False, True):
    d = "_d" if dynamo else ""
    of_torch(f"o_around{d}", Around(), normal(3, 6, 4), dynamo, steps)
    of_torch(f"o_first{d}", First(), normal(2, 3, 9), dynamo)
