"""Models with attention: Keras' layers, and what PyTorch's exporter makes of attention written by hand.

Needs torch, keras, onnx, numpy and safetensors. Writes each model beside itself, with an input and the numbers that its
own framework gives for it in float64. With names as arguments, it writes only these.
"""
import math, os, pathlib, sys, warnings
os.environ.setdefault("KERAS_BACKEND", "torch")
import keras, numpy as np, onnx, torch
import torch.nn.functional as F
from keras import layers as L
from safetensors.numpy import save_file

warnings.simplefilter("ignore")
HERE = pathlib.Path(__file__).parent
rng = np.random.default_rng(20)
ONLY = set(sys.argv[1:])


def normal(*shape, scale=1.0):
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def save(name, inputs, truths):
    tensors = {f"in.{k}": np.ascontiguousarray(v) for k, v in inputs.items()}
    tensors |= {f"truth.{k}": np.ascontiguousarray(v, dtype=np.float64) for k, v in truths.items()}
    save_file(tensors, HERE / f"{name}.io.safetensors")


# Keras

def case(name, build, inputs, file="keras"):
    if ONLY and name not in ONLY:
        return
    keras.config.set_floatx("float32"), keras.config.set_dtype_policy("float32")
    model = build()
    weights = [normal(*w.shape, scale=0.6) for w in model.get_weights()]
    model.set_weights(weights)
    model.save(HERE / f"{name}.{file}")
    keras.config.set_floatx("float64"), keras.config.set_dtype_policy("float64")
    truth = build()
    truth.set_weights(weights)
    args = {k: v.astype(np.float64) if v.dtype.kind == "f" else v for k, v in inputs.items()}
    given = truth(list(args.values()) if len(args) > 1 else next(iter(args.values())), training=False)
    given = given if isinstance(given, (list, tuple)) else [given]
    save(name, inputs, {n.split("/")[0]: g.detach().numpy() for n, g in zip(model.output_names, given)})


def itself():
    x = L.Input((None, 3), name="x")
    h = L.Bidirectional(L.LSTM(5, return_sequences=True))(x)
    return keras.Model(x, L.Dense(2, name="y")(L.Attention()([h, h])))


def masked():
    q, v = L.Input((None,), dtype="int32", name="q"), L.Input((None,), dtype="int32", name="v")
    query = L.GRU(6, return_sequences=True)(L.Embedding(9, 4, mask_zero=True)(q))
    value = L.LSTM(6, return_sequences=True)(L.Embedding(8, 4, mask_zero=True)(v))
    return keras.Model([q, v], L.GRU(3, return_sequences=True, name="y")(L.Attention(use_scale=True)([query, value])))


def additive():
    a, b = L.Input((None, 3), name="a"), L.Input((None, 4), name="b")
    value = L.Bidirectional(L.GRU(5, return_sequences=True))(b)
    query, key = L.LSTM(7, return_sequences=True)(a), L.Dense(7, activation="sigmoid")(value)
    return keras.Model([a, b], L.Dense(2, name="y")(L.AdditiveAttention()([query, value, key])))


def concat(causal):
    def build():
        x = L.Input((None, 3), name="x")
        h = L.LSTM(5, return_sequences=True)(x)
        layer = L.Attention(use_scale=True, score_mode="concat", dropout=0.2)
        return keras.Model(x, L.Dense(2, name="y")(layer([h, h], use_causal_mask=causal)))
    return build


def unscaled():
    x = L.Input((None, 3), name="x")
    h = L.LSTM(5, return_sequences=True)(x)
    return keras.Model(x, L.Dense(2, name="y")(L.AdditiveAttention(use_scale=False)([h, h], use_causal_mask=True)))


q = np.array([[1, 4, 2, 0, 0], [3, 8, 7, 5, 1], [2, 0, 6, 6, 0]], dtype=np.int32)
v = np.array([[5, 0, 3, 1, 7, 2, 0], [1, 1, 0, 0, 0, 0, 0], [2, 3, 4, 5, 6, 7, 1]], dtype=np.int32)
case("itself", itself, {"x": normal(3, 7, 3)})
case("masked", masked, {"q": q, "v": v})
case("masked-h5", masked, {"q": q, "v": v}, "h5")
case("additive", additive, {"a": normal(3, 5, 3), "b": normal(3, 8, 4)})
case("concat", concat(False), {"x": normal(2, 6, 3)})
case("concat-causal", concat(True), {"x": normal(2, 6, 3)})
case("unscaled", unscaled, {"x": normal(2, 6, 3)})

# PyTorch


class Net(torch.nn.Module):
    def __init__(self, of, both=False):
        super().__init__()
        self.of, self.both = of, both
        self.rnn = torch.nn.LSTM(3, 5, batch_first=True, bidirectional=both)
        n = 10 if both else 5
        self.q, self.k, self.v = torch.nn.Linear(n, 4), torch.nn.Linear(n, 4), torch.nn.Linear(n, 6)
        self.hidden, self.score, self.one = torch.nn.Linear(n, 7), torch.nn.Linear(7, 1, bias=False), torch.nn.Linear(4, 1)
        self.own = torch.nn.Parameter(torch.zeros(n))

    def forward(self, x):
        h, (state, _) = self.rnn(x)
        return self.of(self, h, state[-1])


def products(net, h, _):
    q, k, v = net.q(h), net.k(h), net.v(h)
    return torch.bmm(torch.softmax(torch.bmm(q, k.transpose(1, 2)) / math.sqrt(4), dim=2), v)


def alone(net, h, _):
    return torch.softmax(h @ h.permute(0, 2, 1) * 0.3, -1) @ h


def pooled(net, h, _):
    return (torch.softmax(net.score(torch.tanh(net.hidden(h))), dim=1) * h).sum(1)


def pooled_by_product(net, h, _):
    w = F.softmax(net.score(torch.tanh(net.hidden(h))).squeeze(-1), 1)
    return torch.bmm(w.unsqueeze(1), h).squeeze(1)


def pooled_from_the_left(net, h, _):
    return (h.transpose(1, 2) @ F.softmax(net.score(torch.tanh(net.hidden(h))), 1)).squeeze(2)


def by_parameter(net, h, _):
    w = F.softmax(torch.matmul(torch.tanh(h), net.own), dim=1).unsqueeze(-1)
    return F.relu(torch.sum(h * w, 1))


def by_state(net, h, state):
    w = F.softmax(torch.bmm(h, state.unsqueeze(2)).squeeze(2), 1)
    return torch.cat([torch.bmm(h.transpose(1, 2), w.unsqueeze(2)).squeeze(2), state], 1)


def bahdanau(net, h, state):
    w = torch.softmax(net.one(torch.tanh(net.q(state).unsqueeze(1) + net.k(h))), 1)
    return torch.sum(w * h, 1)


def built_in(net, h, _):
    return F.scaled_dot_product_attention(net.q(h), net.k(h), net.v(h))


def export(of, both=False, dynamo=False, net=Net):
    torch.manual_seed(5)
    net = net(of, both).eval()
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape) * 0.6)
    x = torch.randn(3, 7, 3)
    name = of.__name__.replace("_", "-") + ("-dynamo" if dynamo else "")
    if ONLY and name not in ONLY:
        return
    path = str(HERE / f"{name}.onnx")
    if dynamo:
        dim = torch.export.Dim.DYNAMIC
        torch.onnx.export(net, (x,), path, input_names=["x"], output_names=["y"], dynamo=True, external_data=False, dynamic_shapes={"x": {0: dim, 1: dim}})
    else:
        axes = {"x": {0: "b", 1: "t"}}
        torch.onnx.export(net, (x,), path, input_names=["x"], output_names=["y"], dynamic_axes=axes, opset_version=17, dynamo=False)
    model = onnx.load(path)
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output]:
        del value.metadata_props[:]
    del model.metadata_props[:], model.graph.metadata_props[:]
    onnx.save(model, path)
    other = torch.randn(2, 5, 3)
    with torch.no_grad():
        save(name, {"x": other.numpy()}, {"y": net.double()(other.double()).numpy()})


for of, both in [(products, False), (alone, True), (pooled, True), (pooled_by_product, True), (pooled_from_the_left, False),
                 (by_parameter, True), (by_state, False), (bahdanau, False), (built_in, False)]:
    export(of, both)
for of, both in [(products, True), (pooled, False), (by_state, False)]:
    export(of, both, dynamo=True)


# Keras' Dot


def luong():
    a, b = L.Input((None, 3), name="a"), L.Input((None, 4), name="b")
    key, query = L.LSTM(5, return_sequences=True)(b), L.GRU(5, return_sequences=True)(a)
    weights = L.Dropout(0.25)(L.Activation("softmax")(L.Dot(axes=[2, 2])([query, key])))
    context = L.Dot(axes=[2, 1])([weights, key])
    return keras.Model([a, b], L.Dense(2, name="y")(L.Concatenate()([context, query])))


def last_queries():
    x = L.Input((6, 3), name="x")
    h, state = L.GRU(5, return_sequences=True, return_state=True)(x)
    weights = L.Softmax()(L.Dot(axes=(2, 1))([h, state]))
    return keras.Model(x, L.Dense(2, name="y")(L.Dot(axes=1)([h, weights])))


def over_steps():
    x = L.Input((6, 3), name="x")
    h = L.Bidirectional(L.LSTM(4, return_sequences=True))(x)
    weights = L.Softmax(axis=1)(L.Dense(1, activation="tanh")(h))
    one = L.Flatten()(L.Dot(axes=1)([weights, h]))
    other = keras.ops.sum(L.Multiply()([h, weights]), axis=1)
    bare = L.Dot(axes=[1, 1])([L.Activation("softmax")(L.Flatten()(L.Dense(1)(h))), h])
    return keras.Model(x, L.Dense(2, name="y")(L.Concatenate()([one, other, bare])))


case("dots", luong, {"a": normal(3, 5, 3), "b": normal(3, 8, 4)})
case("dots-of-state", last_queries, {"x": normal(3, 6, 3)})
case("dots-over-steps", over_steps, {"x": normal(3, 6, 3)})


class Heads(Net):
    def __init__(self, of, both):
        super().__init__(of, both)
        self.heads = torch.nn.MultiheadAttention(10, 5, batch_first=True)


def heads(net, h, _):
    return net.heads(h, h, h)[0]


def heads_alone(net, h, _):
    return net.heads(h, h, h, need_weights=False)[0]


def heads_apart(net, h, _):
    return net.heads(h, net.hidden(h).relu()[..., :1] * h, h, need_weights=False)[0]


# The older exporter fixes the steps of a layer whose query is its key: its file is of no other number.
export(heads_apart, True, net=Heads)
for of in [heads, heads_alone, heads_apart]:
    export(of, True, dynamo=True, net=Heads)
