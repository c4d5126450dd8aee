"""One model of eight nodes by four roads: model.json with weights.safetensors, model.keras, model.onnx (PyTorch's exporter).

Needs torch, keras, onnx, numpy and safetensors. Writes the files beside itself; expected numbers are PyTorch's.
"""
import json, os, pathlib
os.environ.setdefault("KERAS_BACKEND", "jax")
import keras, numpy as np, torch
from keras import layers as L
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
torch.manual_seed(7)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.lower, self.upper = torch.nn.Embedding(20, 8), torch.nn.LSTM(8, 8, batch_first=True), torch.nn.LSTM(8, 6, batch_first=True)
        self.hidden, self.tags, self.score = torch.nn.Linear(3, 4), torch.nn.Linear(6, 5), torch.nn.Linear(10, 1)

    def forward(self, words, facts):
        x = self.embedding(words)
        y, (h, _) = self.upper(x + self.lower(x)[0])
        joined = torch.cat([h[0], torch.relu(self.hidden(facts))], -1)
        return torch.sigmoid(self.score(joined)), torch.softmax(self.tags(y), -1)


net = Net().eval()
words, facts = torch.randint(0, 20, (3, 7)), torch.randn(3, 3)
with torch.no_grad():
    score, tags = net(words, facts)
state = {k: v.detach().contiguous() for k, v in net.state_dict().items()}
save_file(state, HERE / "weights.safetensors")
save_file({"in.words": words, "in.facts": facts, "out.score": score.contiguous(), "out.tags": tags.contiguous()}, HERE / "io.safetensors")
axes = {"words": {0: "b", 1: "t"}, "facts": {0: "b"}, "score": {0: "b"}, "tags": {0: "b", 1: "t"}}
torch.onnx.export(net, (words, facts), HERE / "model.onnx", input_names=["words", "facts"], output_names=["score", "tags"], dynamic_axes=axes, opset_version=17, dynamo=False)

w, f = L.Input((None,), dtype="int32", name="words"), L.Input((3,), name="facts")
x = L.Embedding(20, 8, name="embedding")(w)
y, h, _ = L.LSTM(6, return_sequences=True, return_state=True, name="upper")(L.Add(name="sum")([x, L.LSTM(8, return_sequences=True, name="lower")(x)]))
joined = L.Concatenate(name="joined")([h, L.Dense(4, activation="relu", name="hidden")(f)])
model = keras.Model([w, f], [L.Dense(1, activation="sigmoid", name="score")(joined), L.Dense(5, activation="softmax", name="tags")(y)])
n = {k: v.numpy() for k, v in state.items()}
model.get_layer("embedding").set_weights([n["embedding.weight"]])
for name in ("lower", "upper"):
    model.get_layer(name).set_weights([n[f"{name}.weight_ih_l0"].T, n[f"{name}.weight_hh_l0"].T, n[f"{name}.bias_ih_l0"] + n[f"{name}.bias_hh_l0"]])
for name in ("hidden", "score", "tags"):
    model.get_layer(name).set_weights([n[f"{name}.weight"].T, n[f"{name}.bias"]])
model.save(HERE / "model.keras")
got = model.predict({"words": words.numpy(), "facts": facts.numpy()}, verbose=0)
assert np.allclose(got[0], score, atol=1e-5) and np.allclose(got[1], tags, atol=1e-5)

(HERE / "model.json").write_text(json.dumps({
    "gatewave": 1, "batch_first": True,
    "inputs": [{"name": "words", "type": "tokens", "size": 20}, {"name": "facts", "type": "row", "size": 3}],
    "layers": [
        {"type": "embedding", "name": "embedding", "from": "words", "weights": "embedding."},
        {"type": "lstm", "name": "lower", "from": "embedding", "weights": "lower."},
        {"type": "add", "name": "sum", "from": ["embedding", "lower"]},
        {"type": "lstm", "name": "upper", "from": "sum", "weights": "upper."},
        {"type": "linear", "name": "hidden", "from": "facts", "activation": "relu", "weights": "hidden."},
        {"type": "concat", "name": "joined", "from": ["upper.final_hidden", "hidden"]},
        {"type": "linear", "name": "tags", "from": "upper", "activation": "softmax", "weights": "tags."},
        {"type": "linear", "name": "score", "from": "joined", "activation": "sigmoid", "weights": "score."}],
    "outputs": [{"name": "score", "from": "score"}, {"name": "tags", "from": "tags"}]}, indent=1) + "\n")
