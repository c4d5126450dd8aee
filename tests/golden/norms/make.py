"""Models with layers that normalise, by Keras and PyTorch: a file of each, inputs and results in 64 bits, and gradients.

Needs torch, keras, onnx, numpy and safetensors. Writes the files beside itself.
"""
import json, os, pathlib, warnings
os.environ.setdefault("KERAS_BACKEND", "torch")
import keras, numpy as np, onnx, torch
from keras import layers as L
from safetensors.numpy import save_file
from torch import nn

HERE = pathlib.Path(__file__).parent
warnings.filterwarnings("ignore")
rng = np.random.default_rng(4)
normal = lambda *shape: rng.standard_normal(shape).astype(np.float32)
positive = lambda *shape: (np.abs(normal(*shape)) * 0.5 + 0.5).astype(np.float32)


def write(name, x, y, more={}):
    truths = {f"truth.{key}": np.ascontiguousarray(value, np.float64) for key, value in {"y": y, **more}.items()}
    save_file({"in.x": np.ascontiguousarray(x)} | truths, HERE / f"{name}.io.safetensors")


def of_keras(name, build, x, suffixes=("keras", "h5")):
    keras.config.set_floatx("float32")
    model = build()
    weights = []
    for variable in model.weights:
        leaf = variable.path.rsplit("/", 1)[-1]
        scale = leaf in ("gamma", "scale", "moving_variance", "variance")
        weights.append(np.zeros((), np.int64) if leaf == "count" else positive(*variable.shape) if scale else normal(*variable.shape) * np.float32(0.4))
    model.set_weights(weights)
    for suffix in suffixes:
        model.save(HERE / f"{name}.{suffix}")
    keras.config.set_floatx("float64")
    truth = build()
    truth.set_weights(weights)
    with torch.no_grad():
        y = truth(torch.from_numpy(x).double(), training=False).cpu().numpy()
    write(name, x, y)


def block(kind):
    def build():
        x = L.Input((9, 6), name="x")
        h = L.GRU(6, return_sequences=True, name="gru")(x)
        h = L.Bidirectional(L.LSTM(5, return_sequences=True, name="lstm"), name="both")(kind(h))
        return keras.Model(x, L.Dense(3, name="y")(h))
    return build


def wide():
    x = L.Input((None, 6), name="x")
    h = L.Normalization(mean=[1.0, -2.0, 0.5, 0.0, 3.0, 1.0], variance=[4.0, 0.5, 2.0, 1.0, 0.0, 9.0], name="norm")(x)
    h = L.Rescaling(0.5, offset=-0.25, name="rescaling")(h)
    h = L.Bidirectional(L.LSTM(5, return_sequences=True, name="lstm"), name="both")(h)
    h = L.BatchNormalization(name="batch", center=False)(h)
    h = L.LayerNormalization(name="layer", scale=False)(h)
    h = L.PReLU(shared_axes=[1], name="slopes")(h)
    h = L.RMSNormalization(name="rms")(h)
    h = L.GRU(6, name="gru")(h)
    h = L.UnitNormalization(name="unit")(h)
    h = L.BatchNormalization(name="rows", scale=False)(h)
    h = L.PReLU(name="slope")(h)
    return keras.Model(x, L.Normalization(mean=[0.5], variance=[4.0], invert=True, name="back")(L.Dense(3, name="head")(h)))


def first():
    x = L.Input((7, 6), name="x")
    h = L.Normalization(name="adapted")(x)
    h = L.TimeDistributed(L.LayerNormalization(epsilon=0.01, name="inner"), name="each")(h)
    h = L.PReLU(shared_axes=[1, 2], name="one")(h)
    h = L.Rescaling([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], offset=0.5, name="scales")(h)
    return keras.Model(x, L.SimpleRNN(4, name="y")(h))


def masked():
    x = L.Input((7, 6), name="x")
    h = L.Masking(0.0, name="masking")(x)
    h = L.LayerNormalization(name="layer")(h)
    h = L.LSTM(5, return_sequences=True, name="lstm")(h)
    h = L.BatchNormalization(name="batch")(h)
    return keras.Model(x, L.GRU(4, name="y")(h))


x = normal(3, 9, 6)
of_keras("keras-batch", block(L.BatchNormalization(name="norm")), x)
of_keras("keras-layer", block(L.LayerNormalization(name="norm")), x)
of_keras("keras-wide", wide, x)
of_keras("keras-first", first, x[:, :7])
holes = x[:, :7].copy()
holes[0, 4:], holes[2, 2] = 0.0, 0.0
of_keras("keras-masked", masked, holes)


class Rms(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


class Unit(nn.Module):
    def forward(self, x):
        return nn.functional.normalize(x, dim=-1)


class Flat(nn.Module):
    """Batch norm over time and batch as one axis, as Deep Speech has it."""
    def __init__(self, n):
        super().__init__()
        self.norm = nn.BatchNorm1d(n)

    def forward(self, x):
        return self.norm(x.reshape(-1, x.shape[-1])).reshape(x.shape)


class Turned(nn.Module):
    """Batch norm with the features before time."""
    def __init__(self, n):
        super().__init__()
        self.norm = nn.BatchNorm1d(n)

    def forward(self, x):
        return self.norm(x.transpose(1, 2)).transpose(1, 2)


class Net(nn.Module):
    def __init__(self, first, second):
        super().__init__()
        self.first, self.second = first, second
        self.lstm, self.head = nn.LSTM(6, 5, batch_first=True, bidirectional=True), nn.Linear(10, 3)

    def forward(self, x):
        return self.head(self.second(self.lstm(self.first(x))[0]))


def drawn(net):
    with torch.no_grad():
        for name, p in list(net.named_parameters()) + list(net.named_buffers()):
            if p.dtype.is_floating_point:
                scale = "var" in name or p.ndim == 1 and "weight" in name
                p.copy_(torch.from_numpy(positive(*p.shape) if scale else normal(*p.shape) * np.float32(0.4)))
    return net.eval()


def of_onnx(name, net, opset):
    net = drawn(net)
    t = torch.from_numpy(x)
    axes = {"x": {0: "b", 1: "t"}, "y": {0: "b", 1: "t"}}
    torch.onnx.export(net, (t,), HERE / f"{name}.onnx", input_names=["x"], output_names=["y"], dynamic_axes=axes, opset_version=opset, dynamo=False)
    print(name, sorted({node.op_type for node in onnx.load(HERE / f"{name}.onnx").graph.node}))
    with torch.no_grad():
        write(name, x, net.double()(t.double()).numpy())


of_onnx("onnx-layer-parts", Net(nn.LayerNorm(6), nn.LayerNorm(10, eps=1e-3)), 13)
of_onnx("onnx-layer-bare-parts", Net(nn.LayerNorm(6, elementwise_affine=False), nn.LayerNorm(10, bias=False)), 14)
of_onnx("onnx-layer", Net(nn.LayerNorm(6), nn.LayerNorm(10, eps=1e-3)), 17)
of_onnx("onnx-rms", Net(Rms(6), Rms(10)), 17)
of_onnx("onnx-unit", Net(Unit(), Unit()), 17)
of_onnx("onnx-batch-flat", Net(Flat(6), Flat(10)), 17)
of_onnx("onnx-batch-turned", Net(Turned(6), Turned(10)), 17)
of_onnx("onnx-slopes", Net(nn.PReLU(), nn.Sequential(nn.PReLU(), nn.Tanh(), nn.PReLU())), 17)


class Chain(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.layer, self.gru = nn.LSTM(6, 5, batch_first=True, bidirectional=True), nn.LayerNorm(10), nn.GRU(10, 7, batch_first=True)
        self.rms, self.slopes, self.batch, self.slope, self.head = nn.RMSNorm(7), nn.PReLU(7), nn.BatchNorm1d(7), nn.PReLU(), nn.Linear(7, 3)

    def forward(self, x):
        h = self.rms(self.gru(self.layer(self.lstm(x)[0]))[0])
        h = self.slopes((h - 1.0).transpose(1, 2).transpose(1, 2).flatten(0, 1)).view(h.shape)
        h = self.batch(h.transpose(1, 2)).transpose(1, 2)
        return self.head(nn.functional.normalize(self.slope(h), dim=-1))


net = drawn(Chain())
save_file({key: value.numpy().copy() for key, value in net.state_dict().items() if value.dtype.is_floating_point}, HERE / "torch.safetensors")
(HERE / "torch.json").write_text(json.dumps({"gatewave": 1, "batch_first": True, "layers": [
    {"type": "lstm", "weights": "lstm."}, {"type": "layer_norm", "weights": "layer."}, {"type": "gru", "weights": "gru."},
    {"type": "rms_norm", "weights": "rms."}, {"type": "activation", "activation": {"name": "affine", "alpha": 1.0, "beta": -1.0}},
    {"type": "prelu", "weights": "slopes."}, {"type": "batch_norm", "frozen": True, "weights": "batch."},
    {"type": "prelu", "features": 7, "weights": "slope."}, {"type": "l2_norm", "features": 7}, {"type": "linear", "weights": "head."}]}, indent=1) + "\n")
net = net.double()
t = torch.from_numpy(x).double().requires_grad_()
y = net(t)
target = normal(*y.shape)
loss = nn.functional.mse_loss(y, torch.from_numpy(target).double())
loss.backward()
gradients = {f"of.{key}": p.grad.numpy() for key, p in net.named_parameters()}
write("torch", x, y.detach().numpy(), {"target": target, "loss": np.array([loss.item()]), "of.x": t.grad.numpy(), **gradients})
