"""Frame by frame, and text."""

import numpy as np
import pytest

import gatewave as gw


def test_streams_give_the_bits_of_one_call(model, x):
    wanted = model(x)
    streams = model.streams(2)
    ids = [streams.join() for _ in range(4)]
    assert len(streams) == 4 and streams.capacity >= 4
    got = np.zeros_like(wanted)
    # Each at its own pace: one frame, several, or none.
    for first, counts in [(0, [1, 2, 1, 3]), (1, [0, 0, 2, 0])]:
        frames, at = {}, [0, 0, 1, 0] if first else [0, 0, 0, 0]
        for row, count in enumerate(counts):
            if count:
                frames[ids[row]] = x[row, at[row] : at[row] + count]
        for row, stream in enumerate(ids):
            if stream in frames:
                got[row, at[row] : at[row] + counts[row]] = 0
        y = streams.push(frames)
        for row, stream in enumerate(ids):
            if stream in y:
                np.testing.assert_array_equal(y[stream], wanted[row, at[row] : at[row] + counts[row]])
    one = streams.push({ids[0]: x[0, 1]})
    np.testing.assert_array_equal(one[ids[0]], wanted[0, 1])
    assert one[ids[0]].shape == (2,)
    # A list of streams with an array beside it.
    y = streams.push(ids[:2], x[:2, 2])
    np.testing.assert_array_equal(y, wanted[:2, 2])
    streams.reset(ids[0])
    np.testing.assert_array_equal(streams.push({ids[0]: x[0, 0]})[ids[0]], wanted[0, 0])


def test_results_may_be_left_out_or_come_later(model, x):
    wanted = model(x)
    streams = model.streams(2)
    a, b = streams.join(), streams.join()
    assert streams.push({a: x[0, 0], b: x[1, 0]}, results="unwanted") is None
    assert streams.push({a: x[0, 1]}, results="deferred") is None
    assert streams.push([b], x[1:2, 1], results="deferred") is None
    np.testing.assert_array_equal(streams.receive()[a], wanted[0, 1])
    np.testing.assert_array_equal(streams.receive(), wanted[1:2, 1])


def test_streams_begin_at_given_states(model, x):
    first = model.run({"x": x[:, :3]})
    streams = model.streams()
    stream = streams.join(h_0=first["h_n"][:, :1], c_0=first["c_n"][:, :1])
    np.testing.assert_allclose(streams.push({stream: x[0, 3]})[stream], model(x)[0, 3], atol=1e-6)


def test_wrong_pushes_say_what_is_wrong(model, x):
    streams = model.streams()
    stream = streams.join()
    for push, words in [
        (lambda: streams.push({stream: x[0, 0, :2]}), "x: expected 3 features, got 2"),
        (lambda: streams.push({stream: x}), "expected one frame or several"),
        (lambda: streams.push({stream: {"z": 1.0}}), "z"),
        (lambda: streams.push([stream], x[:2, 0]), "expected 1 frames"),
        (lambda: streams.push({stream: x[0, 0]}, results="later"), "results: expected one of wanted"),
        (lambda: streams.join(x=x), "x: expected what a stream is given once"),
        (lambda: model.streams(10**15), "capacity: expected 1 to"),
        (lambda: model.streams(0), "capacity: expected 1 to"),
    ]:
        with pytest.raises(ValueError, match=words):
            push()
    assert len(streams) == 1
    streams.leave(stream)
    with pytest.raises(ValueError, match="it has left"):
        streams.push({stream: x[0, 0]})
    with pytest.raises(ValueError, match="needs later frames"):
        description = {**model.description}
        description["layers"] = [{**description["layers"][0], "bidirectional": True, "num_layers": 1}]
        rng = np.random.default_rng(0)
        shapes = {"weight_ih_l0": (20, 3), "weight_hh_l0": (20, 5), "bias_ih_l0": (20,), "bias_hh_l0": (20,)}
        draw = {f"lstm.{name}{end}": rng.normal(size=s) for name, s in shapes.items() for end in ("", "_reverse")}
        layer = {"type": "lstm", "input_size": 3, "hidden_size": 5, "bidirectional": True, "weights": "lstm."}
        gw.from_tensors({"gatewave": 1, "batch_first": True, "layers": [layer]}, draw, device="cpu").streams()


def test_a_text_goes_on_the_same_in_pieces_and_as_tokens(shakespeare):
    text = shakespeare.generate("ROMEO:", 70, seed=3)
    pieces = list(shakespeare.generate("ROMEO:", 70, seed=3, stream=True))
    assert len(text) == 70 and "".join(pieces) == text and [len(piece) for piece in pieces] == [32, 32, 6]
    tokens = shakespeare.generate(shakespeare.encode("ROMEO:"), 70, seed=3)
    assert tokens.dtype == np.int64 and shakespeare.decode(tokens) == text
    assert shakespeare.generate("ROMEO:", 70, seed=4) != text
    # The likeliest token is the largest logit of a call.
    likeliest = shakespeare.generate([1, 2, 3], 1, temperature=0)
    assert likeliest[0] == shakespeare([[1, 2, 3]])[0, -1].argmax()
    assert shakespeare.generate("A", 0) == "" and len(shakespeare.generate([1], 0)) == 0


def test_wrong_prompts_say_what_is_wrong(shakespeare, model):
    for call, words in [
        (lambda: shakespeare.generate(""), "at least one"),
        (lambda: shakespeare.generate("é"), "é"),
        (lambda: shakespeare.generate([[1]]), r"prompt: expected a text or tokens \[T\]"),
        (lambda: shakespeare.generate([99]), "expected a token from 0 to 64, got 99"),
        (lambda: shakespeare.generate("A", -1), "length: expected a whole number from 0 on, got -1"),
        (lambda: shakespeare.generate("A", seed=None), "seed: expected a whole number from 0 on, got None"),
        (lambda: shakespeare.generate("A", top_k=0), "top_k: expected a whole number from 1 to 4294967295, got 0"),
        (lambda: shakespeare.generate("A", temperature=-1.0), "temperature"),
        (lambda: shakespeare.generate("A", output="no"), "no: expected an output"),
        (lambda: model.generate("A"), "vocabulary: expected a model of characters or words"),
        (lambda: model.generate([1]), "expected a model of one sequence of tokens"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()
