"""One array in and one out, by name, of any type and layout; and what is wrong, said with its name."""

import json

import numpy as np
import pytest
from core_support import DESCRIPTION, SHAKESPEARE, small

import gatewave as gw


def test_a_call_and_a_run_give_the_same(model, x):
    y = model(x)
    out = model.run({"x": x})
    assert y.shape == (4, 7, 2) and y.dtype == np.float32 and y.flags.writeable and y.flags.c_contiguous
    assert list(out) == ["output", "h_n", "c_n"] and out["h_n"].shape == (2, 4, 5)
    np.testing.assert_array_equal(out["output"], y)
    np.testing.assert_array_equal(model.run({"x": x}, ["h_n"])["h_n"], out["h_n"])
    # One sequence without a batch.
    np.testing.assert_allclose(model(x[0]), y[0], atol=1e-6)


def test_lengths_masks_and_states_come_by_name(model, x):
    lengths = [7, 3, 5, 1]
    y = model(x, lengths=lengths)
    for row, length in enumerate(lengths):
        np.testing.assert_allclose(y[row, :length], model(x[row : row + 1, :length])[0], atol=1e-6)
    mask = np.arange(7) < np.array(lengths)[:, None]
    np.testing.assert_array_equal(model(x, mask=mask), y)
    first = model.run({"x": x[:, :4]})
    rest = model(x[:, 4:], h_0=first["h_n"], c_0=first["c_n"])
    np.testing.assert_allclose(rest, model(x)[:, 4:], atol=1e-6)


class OnlyDlpack:
    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def unaligned(x):
    raw = np.zeros(x.nbytes + 1, np.uint8)
    array = raw[1:].view(np.float32).reshape(x.shape)
    array[...] = x
    return array


LAYOUTS = {
    "float64": lambda x: x.astype(np.float64),
    "fortran": np.asfortranarray,
    "big_endian": lambda x: x.astype(">f4"),
    "every_other": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "backwards": lambda x: np.ascontiguousarray(x[:, ::-1])[:, ::-1],
    "read_only": read_only,
    "unaligned": unaligned,
    "list": lambda x: x.tolist(),
    "dlpack": OnlyDlpack,
    "memoryview": memoryview,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_gives_the_same_bits(layout, model, x):
    np.testing.assert_array_equal(model(LAYOUTS[layout](x)), model(x))


@pytest.mark.parametrize("dtype", [np.float16, np.int8, np.uint8, np.int16, np.int32, np.int64, np.uint64, bool])
def test_any_real_type_is_taken(dtype, model):
    x = np.random.default_rng(0).integers(0, 2, (2, 3, 3)).astype(dtype)
    np.testing.assert_array_equal(model(x), model(x.astype(np.float32)))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.uint64, np.float32, np.float64])
def test_tokens_may_be_of_any_type_that_holds_them(dtype, shakespeare):
    tokens = np.arange(10).reshape(1, 10)
    np.testing.assert_array_equal(shakespeare(tokens.astype(dtype)), shakespeare(tokens))


def test_a_result_outlives_its_model(x):
    y = small()(x)
    np.testing.assert_array_equal(y, small()(x))


def test_what_is_passed_is_not_written_to(model, x):
    kept = x.copy()
    model(x)[...] = 0
    np.testing.assert_array_equal(x, kept)


WRONG = {
    "width": (lambda m: m(np.zeros((2, 3, 4))), ["x: expected", "3", "4"]),
    "axes": (lambda m: m(np.zeros((2, 3, 4, 5))), ["x: expected [B, T, 3]", "got [2, 3, 4, 5]"]),
    "array": (lambda m: m.run(np.zeros((1, 2, 3))), ["inputs: expected a dict of arrays by name, got ndarray"]),
    "unknown": (lambda m: m.run({"x": np.zeros((1, 2, 3)), "z": 1.0}), ["z: unknown tensor", "x"]),
    "missing": (lambda m: m.run({}), ["x: expected", "got nothing"]),
    "lengths": (lambda m: m(np.zeros((2, 4, 3)), lengths=[9, 1]), ["lengths", "9"]),
    "complex": (lambda m: m(np.zeros((1, 2, 3), complex)), ["x: expected numbers", "complex128"]),
    "text": (lambda m: m(np.full((1, 2, 3), "a")), ["x: expected numbers"]),
    "ragged": (
        lambda m: m([[[1, 2, 3]], [[1, 2, 3], [4, 5, 6]]]),
        ["x: expected numbers in rows of one length", "lengths"],
    ),
    "twice": (lambda m: m(np.zeros((1, 2, 3)), x=1.0), ["x: expected it once"]),
    "too_many": (lambda m: m(1.0, 2.0), ["expected at most 1 inputs", "x"]),
    "output": (lambda m: m.run({"x": np.zeros((1, 2, 3))}, ["y"]), ["y: expected an output", "output, h_n, c_n"]),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_call_says_what_was_expected_and_what_came(what, model):
    call, words = WRONG[what]
    with pytest.raises(ValueError) as raised:
        call(model)
    assert raised.value.kind == "shape"
    for word in words:
        assert word in str(raised.value)


def test_each_error_is_of_the_class_of_its_kind(tmp_path):
    with pytest.raises(FileNotFoundError) as raised:
        gw.load(tmp_path / "no.onnx")
    assert raised.value.kind == "io" and "no.onnx" in str(raised.value)
    with pytest.raises(FileNotFoundError, match="no_folder"):
        small().save(tmp_path / "no_folder" / "m.safetensors")
    with pytest.raises(OSError, match="expected a name that ends in .safetensors"):
        small().save(tmp_path / "m.onnx")
    with pytest.raises(OSError, match="a.txt"):
        (tmp_path / "a.txt").write_text("x")
        gw.load(tmp_path / "a.txt")
    with pytest.raises(ValueError) as raised:
        (tmp_path / "a.onnx").write_bytes(b"nothing of the kind")
        gw.load(tmp_path / "a.onnx")
    assert raised.value.kind == "weights" and raised.value.layer is None
    with pytest.raises(ValueError) as raised:
        gw.from_tensors(DESCRIPTION, {"out.weight": np.zeros((2, 5)), "out.bias": np.zeros(2)})
    error = raised.value
    assert (error.kind, error.layer) == ("weights", "0") and error.tensor.startswith("lstm.weight_ih_l0")
    with pytest.raises(ValueError) as raised:
        gw.from_tensors({**DESCRIPTION, "layers": [{"type": "lstn"}]}, {})
    assert raised.value.kind == "model" and "lstn" in str(raised.value)
    with pytest.raises(gw.Error) as raised:
        small(device="voodoo")
    assert raised.value.kind == "device" and isinstance(raised.value, RuntimeError)
    with pytest.raises(ValueError, match="f99"):
        small(precision="f99")


def test_a_description_is_a_path_a_dict_or_beside_bytes():
    path, beside = SHAKESPEARE / "shakespeare.safetensors", SHAKESPEARE / "model.json"
    description = json.loads(beside.read_text())
    tokens = [[1, 2, 3]]
    wanted = gw.load(str(path), str(beside), device="cpu")(tokens)
    for source, model in [(path, description), (path.read_bytes(), description), (path.read_bytes(), beside)]:
        np.testing.assert_array_equal(gw.load(source, model, device="cpu")(tokens), wanted)


def test_weights_alone_need_a_description_which_is_drafted(tmp_path, model, x, caplog):
    path = tmp_path / "w.npz"
    np.savez(path, **model.state_dict())
    with pytest.raises(ValueError) as raised:
        gw.load(path, device="cpu")
    assert "gatewave.describe(path)" in str(raised.value) and "--model" not in str(raised.value)
    draft = gw.describe(path)
    assert [layer["type"] for layer in draft["layers"]] == ["lstm", "select", "linear"]
    assert any("leave it out for every step" in record.getMessage() for record in caplog.records)
    del draft["layers"][1]
    np.testing.assert_array_equal(gw.load(path, draft, device="cpu")(x), model(x))


def test_a_saved_model_is_the_same_model(tmp_path, model, x):
    path = tmp_path / "out.safetensors"
    model.save(path)
    again = gw.load(path, device="cpu")
    np.testing.assert_array_equal(again(x), model(x))
    assert again.description == model.description
    weights = again.state_dict()
    assert list(weights) == sorted(weights) and weights["lstm.weight_ih_l0"].shape == (20, 3)
    third = gw.from_tensors(again.description, weights, device="cpu")
    np.testing.assert_array_equal(third(x), model(x))
    model.save(tmp_path / "half.safetensors", precision="f16")
    assert (tmp_path / "half.safetensors").stat().st_size < path.stat().st_size


def test_a_model_tells_what_it_takes_and_gives(model, shakespeare):
    by_name = {info.name: info for info in model.inputs}
    assert list(by_name) == ["x", "lengths", "mask", "h_0", "c_0"]
    assert (by_name["x"].shape, by_name["x"].dtype, by_name["x"].required) == ((None, None, 3), "float32", True)
    assert (by_name["h_0"].shape, by_name["h_0"].required) == ((2, None, 5), False)
    assert [(info.name, info.shape) for info in model.outputs][:2] == [
        ("output", (None, None, 2)),
        ("h_n", (2, None, 5)),
    ]
    assert shakespeare.inputs[0].kind == "tokens" and shakespeare.inputs[0].dtype == "int64"
    assert "x: float32[?, ?, 3]" in repr(model) and "output: float32[?, ?, 2]" in repr(model)
    summary = model.summary()
    assert "Total params" in summary and str(summary) == repr(summary)
    shown = summary._repr_html_()
    assert shown.count("<tr>") == 3 and "Output Shape" in shown and "Total params" in shown
    assert "<table>" in model._repr_html_()
    plan = model.plan(batch=2, steps=10)
    assert plan.startswith("plan ") and len(plan.splitlines()) > 5
    with pytest.raises(ValueError, match="at least one step"):
        model.plan(steps=0)


def test_a_model_of_several_inputs_and_outputs():
    description = {
        "gatewave": 1,
        "batch_first": True,
        "inputs": [
            {"name": "words", "type": "tokens", "size": 20},
            {"name": "sensor", "type": "sequence", "size": 2},
        ],
        "layers": [
            {"type": "embedding", "name": "vectors", "embedding_dim": 4, "weights": "e.", "from": "words"},
            {"type": "concat", "name": "both", "from": ["vectors", "sensor"]},
            {"type": "gru", "name": "stack", "hidden_size": 3, "weights": "g.", "from": "both"},
            {"type": "linear", "name": "tags", "out_features": 5, "weights": "t.", "from": "stack"},
        ],
        "outputs": [{"name": "tags", "from": "tags"}, {"name": "hidden", "from": "stack"}],
    }
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.normal(size=shape)  # noqa: E731
    tensors = {
        "e.weight": draw(20, 4),
        "g.weight_ih_l0": draw(9, 6),
        "g.weight_hh_l0": draw(9, 3),
        "g.bias_ih_l0": draw(9),
        "g.bias_hh_l0": draw(9),
        "t.weight": draw(5, 3),
        "t.bias": draw(5),
    }
    model = gw.from_tensors(description, tensors, device="cpu")
    words, sensor = rng.integers(0, 20, (2, 6)), draw(2, 6, 2)
    tags, hidden = model(words, sensor)
    out = model.run({"words": words, "sensor": sensor})
    np.testing.assert_array_equal(tags, out["tags"])
    np.testing.assert_array_equal(hidden, out["hidden"])
    np.testing.assert_array_equal(model({"sensor": sensor, "words": words})[0], tags)
    with pytest.raises(ValueError, match="sensor"):
        model(words)
    streams = model.streams(2)
    a, b = streams.join(), streams.join()
    for step in range(6):
        y = streams.push({s: {"words": words[i, step], "sensor": sensor[i, step]} for i, s in enumerate((a, b))})
        np.testing.assert_array_equal(y[b]["tags"], tags[1, step])
        np.testing.assert_array_equal(y[a]["hidden"], hidden[0, step])
