"""Models that PyTorch and Keras saved, with what these frameworks computed."""

import json

import numpy as np
import pytest
from core_support import GOLDEN, inputs_and_wanted

import gatewave as gw

PYTORCH = json.loads((GOLDEN / "manifest.json").read_text())
KERAS = json.loads((GOLDEN / "keras.json").read_text())


def layers(case):
    c = case["config"]
    nonlinearity = {"nonlinearity": c.get("nonlinearity") or "tanh"}
    if case["kind"] == "pytorch.layer":
        keys = ["input_size", "hidden_size", "num_layers", "bidirectional", "bias", "proj_size"]
        layer = {"type": c["kind"].lower(), **{key: c[key] for key in keys}, "weights": c["key_prefix"]}
        return [layer | (nonlinearity if layer["type"] == "rnn" else {})]
    modules = c["modules"]
    stack = {
        "type": c["cell"].lower(),
        "input_size": c["embed"],
        "hidden_size": c["hidden"],
        "num_layers": c["layers"],
        "bidirectional": c["bi"],
        "weights": modules["rnn"],
    }
    embedding = {"type": "embedding", "num_embeddings": c["vocab"], "embedding_dim": c["embed"]}
    return [
        embedding | {"padding_idx": c.get("padding_idx"), "weights": modules["embedding"]},
        stack | (nonlinearity if stack["type"] == "rnn" else {}),
        {"type": "select", "what": "all_steps" if c["head"] == "per_step" else c["head"]},
        {
            "type": "linear",
            "in_features": (2 if c["bi"] else 1) * c["hidden"],
            "out_features": c["classes"],
            "activation": c.get("final") or "linear",
            "weights": modules["fc"],
        },
    ]


@pytest.mark.parametrize("case", PYTORCH, ids=lambda case: case["id"])
def test_a_pytorch_model_gives_what_pytorch_gave(case):
    description = {"gatewave": 1, "batch_first": case["config"]["batch_first"], "layers": layers(case)}
    model = gw.load(GOLDEN / case["files"]["weights"], model=description, device="cpu")
    inputs, wanted = inputs_and_wanted(GOLDEN / case["files"]["io"][0])
    out = model.run(inputs)
    tolerance = case["tolerance"]
    compared = 0
    for name, array in wanted.items():
        name = "output" if name == "logits" else name
        np.testing.assert_allclose(out[name], array, atol=tolerance["atol"], rtol=tolerance["rtol"], err_msg=name)
        compared += 1
    assert compared > 0
    assert model.parameters == case["config"]["params"]


@pytest.mark.parametrize("case", KERAS, ids=lambda case: case["id"])
def test_a_keras_model_gives_what_keras_gave(case):
    for key in ("model", "model_h5"):
        if key not in case["files"]:
            continue
        path = GOLDEN / case["files"][key]
        # From the file, and from its bytes.
        for source in (path, path.read_bytes()):
            model = gw.load(source, device="cpu")
            for io in case["files"]["io"]:
                inputs, wanted = inputs_and_wanted(GOLDEN / io)
                out = model.run(inputs)
                for name, array in wanted.items():
                    np.testing.assert_allclose(out[name], array, atol=1e-5, rtol=1e-5, err_msg=f"{path} {name}")
