"""Steps, flat gradients, checkpoints and fits."""

import numpy as np
import pytest
from core_support import DESCRIPTION, small

import gatewave as gw


@pytest.fixture
def y():
    return np.random.default_rng(2).normal(size=(4, 7, 2)).astype(np.float32)


def weights(trainer):
    return np.concatenate([array.ravel() for array in trainer.state_dict().values()])


def test_a_step_is_a_gradient_and_its_update(model, x, y):
    trainer = gw.Trainer(model, "mse", gw.SGD(0.1), device="cpu")
    before = trainer.state_dict()
    loss, flat = trainer.gradients(x, y)
    assert flat.dtype == np.float32 and flat.shape == (model.parameters,)
    np.testing.assert_allclose(loss, np.mean((model(x) - y) ** 2), rtol=1e-6)
    layout = trainer.layout
    assert list(layout) == sorted(layout) and layout["out.bias"].stop - layout["out.bias"].start == 2
    assert trainer.step(x, y) == loss and trainer.updates == 1
    for name, array in trainer.state_dict().items():
        moved = before[name] - np.float32(0.1) * flat[layout[name]].reshape(trainer.shapes[name])
        np.testing.assert_allclose(array, moved, atol=1e-7)
    other = gw.Trainer(model, "mse", gw.SGD(0.1), device="cpu")
    other.apply(flat, loss)
    np.testing.assert_array_equal(weights(other), weights(trainer))
    # A change of each weight changes the loss as the gradient says.
    tensors = {name: array.astype(np.float64) for name, array in before.items()}
    shifted = tensors | {"out.bias": tensors["out.bias"] + [1e-2, 0]}
    change = gw.Trainer(gw.from_tensors(DESCRIPTION, shifted, device="cpu"), "mse", device="cpu").loss(x, y) - loss
    assert abs(change / 1e-2 - flat[layout["out.bias"]][0]) < 2e-2


def test_halves_of_a_batch_give_the_gradient_of_the_whole(model, x, y):
    trainer = gw.Trainer(model, "mse", device="cpu")
    _, whole = trainer.gradients(x, y)
    halves = [trainer.gradients(x[part], y[part])[1] for part in (slice(0, 2), slice(2, 4))]
    np.testing.assert_allclose(sum(halves) / 2, whole, atol=1e-7)


def test_a_batch_comes_in_three_forms(model, x, y):
    trainer = gw.Trainer(model, "mse", device="cpu")
    loss = trainer.loss(x, y)
    assert (
        trainer.loss((x, y)) == loss == trainer.loss({"x": x, "y": y}) == trainer.loss(x.tolist(), y.astype(np.float64))
    )
    short = trainer.loss(x, y, lengths=[7, 7, 7, 3])
    assert short == trainer.loss({"x": x, "y": y, "lengths": np.array([7, 7, 7, 3], np.int32)}) != loss
    weighed = trainer.loss(x, y, sample_weight=[2, 0, 0, 0])
    np.testing.assert_allclose(weighed, 2 * np.sum((model(x)[0] - y[0]) ** 2) / y.size, rtol=1e-5)


def test_a_training_goes_on_from_its_file_as_if_it_had_not_ended(tmp_path, x):
    classes = np.random.default_rng(3).integers(0, 2, (4, 7))
    settings = {
        "optimizer": gw.Adam(np.float64(1e-2), betas=(0.8, 0.99)),
        "seed": np.int64(5),
        "like": "keras",
        "clip_norm": 1.0,
    }
    trainer = gw.Trainer(DESCRIPTION, gw.CrossEntropy(smoothing=0.1), device="cpu", **settings)
    trainer.schedule("cosine", updates=20, warm_up=2)
    first = [trainer.step(x, classes) for _ in range(5)]
    path = tmp_path / "t.safetensors"
    trainer.save(path)
    again = gw.Trainer.resume(path, device="cpu")
    assert (again.updates, again.learning_rate) == (5, trainer.learning_rate)
    assert [again.step(x, classes) for _ in range(5)] == [trainer.step(x, classes) for _ in range(5)]
    np.testing.assert_array_equal(weights(again), weights(trainer))
    assert trainer.loss(x, classes) < first[0]
    # The file is a model too.
    np.testing.assert_array_equal(gw.load(path, device="cpu").description, trainer.description)
    with pytest.raises(ValueError, match="expected a checkpoint|without its settings"):
        small().save(tmp_path / "m.safetensors")
        gw.Trainer.resume(tmp_path / "m.safetensors", device="cpu")


def test_the_same_seed_draws_the_same_weights():
    drawn = [
        weights(gw.Trainer(DESCRIPTION, "mse", seed=seed, like=like, device="cpu"))
        for seed, like in [(1, "torch"), (1, "torch"), (2, "torch"), (1, "keras")]
    ]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any() and (drawn[0] != drawn[3]).any()


def test_a_fit_learns_stops_early_and_changes_the_model():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 6, 3)).astype(np.float32)
    y = np.stack([x.sum(axis=2).cumsum(axis=1), x[..., 0]], axis=2)
    model = small()
    before, seen = model(x), []
    history = gw.fit(
        model,
        (x, y),
        epochs=30,
        batch_size=20,
        optimizer=gw.Adam(2e-2),
        validation_split=0.25,
        early_stopping=3,
        metrics=["mae"],
        callback=seen.append,
    )
    assert history.end in ("epochs", "stopped") and seen == history.epochs and len(history) == len(history.loss)
    assert history.loss[-1] < 0.5 * history.loss[0] and history.best.val_loss == min(history.val_loss)
    assert list(history.history) == ["loss", "val_loss", "val_mae", "learning_rate"]
    assert history.model is model and (model(x) != before).any()
    np.testing.assert_allclose(np.mean((model(x[90:]) - y[90:]) ** 2), history.best.val_loss, rtol=1e-4)
    # A trained model holds its weights when it is pickled or saved.
    np.testing.assert_array_equal(model.state_dict()["out.bias"], history.trainer.state_dict()["out.bias"])
    # A callback ends it, and a trainer goes on.
    assert gw.fit(history.trainer, (x, y), epochs=9, callback=lambda epoch: epoch.number > 0).end == "callback"
    # The same call gives the same numbers.
    runs = [gw.fit(DESCRIPTION, {"x": x, "y": y}, 2, seed=3, device="cpu").loss for _ in range(2)]
    assert runs[0] == runs[1]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_fit_that_is_interrupted_leaves_what_was_learned(error):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(40, 6, 3)).astype(np.float32), rng.normal(size=(40, 6, 2)).astype(np.float32)
    model, whole = small(), small()

    def after_two(epoch):
        if epoch.number == 2:
            raise error("by the callback")

    with pytest.raises(error):
        gw.fit(model, (x, y), 9, callback=after_two)
    gw.fit(whole, (x, y), 2)
    np.testing.assert_array_equal(weights(model), weights(whole))


def test_classes_are_told_by_their_type():
    x, y = np.zeros((8, 3, 3)), np.zeros((8, 3), np.uint8)
    history = gw.fit(DESCRIPTION, (x, y), 1, device="cpu")
    assert "cross_entropy" in repr(history.trainer) and "mse" in repr(
        gw.fit(DESCRIPTION, (x, y[..., None] + np.zeros(2)), 1, device="cpu").trainer
    )
    trained = history.model
    assert gw.fit(trained, (x, y), 1).model is trained


WRONG = {
    "loss": (lambda m, x, y: gw.Trainer(m, "mape"), 'expected one of cross_entropy, .*, got "mape"'),
    "loss_type": (lambda m, x, y: gw.Trainer(m, 3), "loss: expected a name"),
    "optimizer": (lambda m, x, y: gw.Trainer(m, "mse", "lion"), "optimizer: expected one of sgd"),
    "nan_rate": (lambda m, x, y: gw.Trainer(m, "mse", gw.SGD(float("nan"))), "expected finite numbers"),
    "seed": (lambda m, x, y: gw.Trainer(m, "mse", seed=-1), "seed: expected a whole number"),
    "object": (lambda m, x, y: gw.Trainer(m, "mse", gw.SGD(object())), "expected plain values, got object"),
    "rate": (lambda m, x, y: gw.Trainer(m, "mse", gw.SGD(-1)), "learning_rate"),
    "like": (lambda m, x, y: gw.Trainer(m, "mse", like="jax"), "like: expected torch or keras"),
    "clips": (lambda m, x, y: gw.Trainer(m, "mse", clip_norm=1, clip_value=1), "expected one of them"),
    "output": (lambda m, x, y: gw.Trainer(m, {"no": "mse"}), r"expected an output of the model \(output\), got no"),
    "callback": (lambda m, x, y: gw.fit(m, (x, y), 1, callback=5), "callback: expected a function of an Epoch, got 5"),
    "epochs": (lambda m, x, y: gw.fit(m, (x, y), 0), "epochs: expected 1 or more"),
    "stopping": (lambda m, x, y: gw.fit(m, (x, y), 1, early_stopping=1), "examples to validate with"),
    "metric": (lambda m, x, y: gw.fit(m, (x, y), 1, metrics="auc"), "auc: expected one loss"),
    "split": (lambda m, x, y: gw.fit(m, (x, y), 1, validation_split=2.0), "validation_split"),
    "schedule": (lambda m, x, y: gw.fit(m, (x, y), 1, schedule="sine"), "schedule: expected cosine"),
    "nan": (lambda m, x, y: gw.Trainer(m, "mse").step(x * np.nan, y), "finite"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_settings_are_refused(what, model, x, y):
    call, words = WRONG[what]
    with pytest.raises(gw.Error, match=words):
        call(model, x, y)


def test_wrong_batches_say_what_is_wrong(model, x, y):
    trainer = gw.Trainer(model, "mse", device="cpu")
    for call, words in [
        (lambda: trainer.step(x), "y"),
        (lambda: trainer.step(x, y[:2]), "4"),
        (lambda: trainer.step(x, y, z=1.0), "z: unknown tensor"),
        (lambda: trainer.apply(np.zeros(3)), "expected .* elements, as layout says, got 3"),
        (lambda: trainer.apply(np.zeros((1, 3))), "one axis"),
        (lambda: gw.fit(model, x), r"data: expected \(x, y\)"),
        (lambda: gw.Trainer(3, "mse"), "model: expected a gatewave.Model"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()
    assert trainer.updates == 0


def test_a_flat_gradient_leaves_out_what_layers_keep():
    description = {
        "gatewave": 1,
        "batch_first": True,
        "layers": [
            {"type": "batch_norm", "features": 3, "frozen": True, "weights": "norm."},
            {"type": "gru", "input_size": 3, "hidden_size": 4, "weights": "gru."},
        ],
    }
    x, y = np.random.default_rng(0).normal(size=(3, 5, 3)), np.zeros((3, 5, 4))
    trainer, other = (gw.Trainer(description, "mse", gw.SGD(0.1), device="cpu") for _ in range(2))
    loss, flat = trainer.gradients(x, y)
    kept = set(trainer.state_dict()) - set(trainer.layout)
    assert kept == {"norm.running_mean", "norm.running_var"} and "norm.weight" in trainer.layout
    trainer.apply(flat, loss)
    other.step(x, y)
    np.testing.assert_array_equal(weights(other), weights(trainer))
