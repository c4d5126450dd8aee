"""`from_keras` and `to_keras`: models give what Keras gives, and trained weights go back."""

import os

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")

from keras import layers as L  # noqa: E402

import gatewave as gw  # noqa: E402
from drawn import keras_model  # noqa: E402


def results(model, keras_model, arrays):
    """Returns pairs of what Keras gives and what gatewave gives."""
    wanted = keras_model.predict(arrays if len(arrays) > 1 else arrays[0], verbose=0)
    wanted = wanted if isinstance(wanted, list) else [wanted]
    if len(arrays) > 1:
        got = model.run(dict(zip([tensor.name for tensor in keras_model.inputs], arrays)))
    else:
        got = model.run({"x": arrays[0]})
    names = keras_model.output_names if len(wanted) > 1 else ["y"]
    return [(one, got[name]) for one, name in zip(wanted, names)]


@pytest.mark.parametrize("seed", range(20))
def test_a_drawn_model_gives_what_it_gives_in_keras(seed):
    of_keras, arrays = keras_model(seed)
    for wanted, got in results(gw.from_keras(of_keras, device="cpu"), of_keras, arrays):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_trained_weights_go_back(seed):
    trained, arrays = keras_model(seed)
    other = keras.models.clone_model(trained)
    other.set_weights([weights + 0.1 for weights in other.get_weights()])
    assert gw.from_keras(trained, device="cpu").to_keras(other) is other
    for wanted, got in zip(trained.get_weights(), other.get_weights()):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("cell", [L.LSTM, L.GRU])
def test_steps_and_states_of_one_layer_have_names_of_their_own(cell):
    x = L.Input((5, 3))
    outputs = cell(4, return_sequences=True, return_state=True, name="core")(x)
    model = keras.Model(x, outputs)
    array = np.random.default_rng(0).standard_normal((2, 5, 3)).astype("float32")
    got = gw.from_keras(model, device="cpu").run({"x": array})
    for index, wanted in enumerate(model.predict(array, verbose=0)):
        name = f"core_{index}" if index else "core"
        np.testing.assert_allclose(got[name], wanted, rtol=1e-5, atol=1e-5)


def test_a_model_that_gatewave_trained_goes_back():
    model = keras.Sequential([L.Input((None, 3)), L.Bidirectional(L.GRU(4)), L.Dense(2, activation="softmax")])
    numbers = np.random.default_rng(0)
    x, y = numbers.standard_normal((8, 5, 3)).astype("float32"), numbers.integers(0, 2, 8)
    trainer = gw.Trainer(gw.from_keras(model, device="cpu"), "cross_entropy", gw.Adam(1e-2), like="keras", device="cpu")
    before = trainer.step(x, y)
    for _ in range(20):
        after = trainer.step(x, y)
    trained = trainer.model()
    assert after < before
    np.testing.assert_allclose(trained.to_keras(model).predict(x, verbose=0), trained(x), rtol=1e-5, atol=1e-5)


def test_weights_of_another_model_do_not_go_back():
    one = keras.Sequential([L.Input((None, 3)), L.LSTM(4, name="lstm")])
    with pytest.raises(ValueError, match=r"lstm.*expected \[.*got \["):
        gw.from_keras(one, device="cpu").to_keras(keras.Sequential([L.Input((None, 3)), L.LSTM(5, name="lstm")]))
    with pytest.raises(ValueError, match="a tensor that the Keras model lacks"):
        gw.from_keras(one, device="cpu").to_keras(keras.Sequential([L.Input((None, 3)), L.LSTM(4, name="other")]))


def test_what_is_refused_names_the_layer_and_no_file():
    with pytest.raises(ValueError, match="layer conv (.*Conv2D)") as caught:
        gw.from_keras(keras.Sequential([L.Input((4, 4, 1)), L.Conv2D(2, 2, name="conv")]), device="cpu")
    assert "/tmp" not in str(caught.value) and "model.keras" not in str(caught.value)
    with pytest.raises(ValueError, match="has been built"):
        gw.from_keras(keras.Sequential([L.LSTM(2)]), device="cpu")
    with pytest.raises(TypeError, match="expected a keras.Model, got Dense"):
        gw.from_keras(L.Dense(2), device="cpu")
