"""The package and the command line compute the same, bit for bit. Collected where GATEWAVE_BINARY is set."""

import json
import os
import subprocess

import numpy as np
from core_support import DESCRIPTION, SHAKESPEARE, small

import gatewave as gw

MODEL = [str(SHAKESPEARE / "shakespeare.safetensors"), "--model", str(SHAKESPEARE / "model.json"), "--device", "cpu"]


def command(*arguments):
    done = subprocess.run([os.environ["GATEWAVE_BINARY"], *map(str, arguments)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_a_call_gives_the_bits_of_run(tmp_path, shakespeare):
    tokens = np.random.default_rng(0).integers(0, 65, (3, 11))
    np.savez(tmp_path / "in.npz", x=tokens, lengths=[11, 4, 7])
    command("run", *MODEL, "--input", tmp_path / "in.npz", "--output", tmp_path / "out.npz")
    theirs = np.load(tmp_path / "out.npz")
    ours = shakespeare.run({"x": tokens, "lengths": [11, 4, 7]})
    assert set(ours) == set(theirs.files)
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name])


def test_a_text_is_that_of_generate(shakespeare):
    for options in ([], ["--temperature", "0.5", "--top-k", "5"]):
        theirs = command("generate", *MODEL, "--prompt", "ROMEO:", "-n", 100, "--seed", 7, *options)
        numbers = {"temperature": 0.5, "top_k": 5} if options else {}
        ours = "ROMEO:" + shakespeare.generate("ROMEO:", 100, seed=7, **numbers)
        assert ours == theirs or ours + "\n" == theirs


def test_a_training_is_that_of_train(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 6, 3)).astype(np.float32), rng.normal(size=(50, 6, 2)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    (tmp_path / "model.json").write_text(json.dumps(DESCRIPTION))
    out = command(
        "train",
        tmp_path / "model.json",
        "--data",
        tmp_path / "data.npz",
        "--loss",
        "mse",
        "--optimizer",
        "adam",
        "--learning-rate",
        0.01,
        "--epochs",
        3,
        "--batch-size",
        8,
        "--seed",
        4,
        "--validation-split",
        0.2,
        "--schedule",
        "cosine",
        "--device",
        "cpu",
        "--json",
        "--output",
        tmp_path / "out.safetensors",
    )
    epochs = [json.loads(line) for line in out.splitlines() if '"epoch"' in line and '"loss"' in line]
    history = gw.fit(
        tmp_path / "model.json",
        (x, y),
        3,
        8,
        loss="mse",
        optimizer=gw.Adam(0.01),
        seed=4,
        validation_split=0.2,
        schedule="cosine",
        device="cpu",
    )
    assert [epoch["loss"] for epoch in epochs] == history.loss
    theirs = gw.load(tmp_path / "out.safetensors", device="cpu").state_dict()
    for name, array in history.model.state_dict().items():
        np.testing.assert_array_equal(array, theirs[name])


def test_a_saved_model_runs_there(tmp_path):
    model, x = small(), np.ones((2, 3, 3), np.float32)
    model.save(tmp_path / "m.safetensors")
    np.savez(tmp_path / "in.npz", x=x, output=model(x))
    command("run", tmp_path / "m.safetensors", "--input", tmp_path / "in.npz", "--compare=0", "--device", "cpu")
