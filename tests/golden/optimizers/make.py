"""Writes updates.json and schedules.json: what PyTorch and Keras compute, in 64-bit floats.

    python make.py [FOLDER]

Needs torch (2.15) and keras (3.15), which computes on torch here. `updates.json`: two small tensors, a kernel and a bias,
after each of eight updates, whose gradients and rates differ. `schedules.json`: learning rates, by update or by epoch.
"""

import json
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import torch

keras.config.set_floatx("float64")
FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else __file__).resolve()
FOLDER = FOLDER if FOLDER.is_dir() else FOLDER.parent

UPDATES = 8
SIZES = {"kernel": 5, "bias": 3}
FACTORS = [1.0, 1.0, 0.5, 2.0, 0.25, 1.5, 1.0, 0.1]

rng = np.random.default_rng(12)


def floats(size, scale):
    """Numbers that are 32-bit floats, and short in a file."""
    return (np.round(rng.normal(size=size) * scale * 1024) / 1024).tolist()


WEIGHTS = {name: floats(size, 1.0) for name, size in SIZES.items()}
# Small, large, none at all, and of either sign.
SCALES = [0.5, 2.0, 0.1, 10.0, 0.0, 1.0, 0.01, 1.0]
GRADIENTS = [{name: floats(size, scale) for name, size in SIZES.items()} for scale in SCALES]


def clip_torch(tensors, clip):
    match clip:
        case {"global_norm": bound}:
            torch.nn.utils.clip_grad_norm_(tensors, bound)
        case {"tensor_norm": bound}:
            for tensor in tensors:
                torch.nn.utils.clip_grad_norm_([tensor], bound)
        case {"value": bound}:
            torch.nn.utils.clip_grad_value_(tensors, bound)


def in_torch(optimizer, settings, clip, spared, l2):
    tensors = {n: torch.tensor(w, dtype=torch.float64, requires_grad=True) for n, w in WEIGHTS.items()}
    kinds = {"sgd": torch.optim.SGD, "rmsprop": torch.optim.RMSprop, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    names = {"learning_rate": "lr", "epsilon": "eps"}
    settings = {names.get(name, name): value for name, value in settings.items()}
    groups = [{"params": [t], **({"weight_decay": 0.0} if n in spared else {})} for n, t in tensors.items()]
    made = kinds[optimizer](groups, **settings)
    base = made.param_groups[0]["lr"]
    after = []
    for factor, gradients in zip(FACTORS, GRADIENTS):
        for name, tensor in tensors.items():
            penalty = 2 * l2 * tensor.detach() if name == "kernel" else 0
            tensor.grad = torch.tensor(gradients[name], dtype=torch.float64) + penalty
        clip_torch(list(tensors.values()), clip)
        for group in made.param_groups:
            group["lr"] = base * factor
        made.step()
        after.append({name: tensor.tolist() for name, tensor in tensors.items()})
    return after, [base * factor for factor in FACTORS]


def in_keras(optimizer, settings, clip, spared, l2):
    variables = {n: keras.Variable(np.array(w), name=n) for n, w in WEIGHTS.items()}
    kinds = {"sgd": keras.optimizers.SGD, "rmsprop": keras.optimizers.RMSprop, "adam": keras.optimizers.Adam,
             "adamw": keras.optimizers.AdamW}
    settings = dict(settings)
    if "betas" in settings:
        settings["beta_1"], settings["beta_2"] = settings.pop("betas")
    if "alpha" in settings:
        settings["rho"] = settings.pop("alpha")
    names = {"global_norm": "global_clipnorm", "tensor_norm": "clipnorm", "value": "clipvalue"}
    settings |= {names[name]: bound for name, bound in clip.items()}
    made = kinds[optimizer](**settings)
    if spared:
        made.exclude_from_weight_decay(var_names=spared)
    base = float(keras.ops.convert_to_numpy(made.learning_rate))
    regularizer = keras.regularizers.L2(l2)
    after = []
    for factor, gradients in zip(FACTORS, GRADIENTS):
        made.learning_rate = base * factor
        pairs = []
        for name, variable in variables.items():
            gradient = torch.tensor(gradients[name], dtype=torch.float64)
            if l2 and name == "kernel":
                w = variable.value.detach().clone().requires_grad_()
                regularizer(w).backward()
                gradient = gradient + w.grad
            pairs.append((gradient, variable))
        with torch.no_grad():
            made.apply_gradients(pairs)
        after.append({name: keras.ops.convert_to_numpy(v).tolist() for name, v in variables.items()})
    return after, [base * factor for factor in FACTORS]


def case(like, optimizer, settings=None, clip=None, spared=(), l2=0.0):
    settings, clip = settings or {}, clip or {}
    after, rates = (in_torch if like == "torch" else in_keras)(optimizer, settings, clip, list(spared), l2)
    digits = lambda tensors: {name: [float(f"{x:.10g}") for x in values] for name, values in tensors.items()}
    return {"like": like, "optimizer": optimizer, "settings": settings, "clip": clip, "spared": list(spared), "l2": l2,
            "rates": rates, "after": [digits(tensors) for tensors in after]}


def updates():
    cases = []
    for like in ["torch", "keras"]:
        add = lambda *args, **kwargs: cases.append(case(like, *args, **kwargs))
        decay = {"weight_decay": 0.1}
        add("sgd")
        add("sgd", {"learning_rate": 0.1, "momentum": 0.9})
        add("sgd", {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True})
        add("sgd", {"learning_rate": 0.1, "momentum": 0.5, "nesterov": True, **decay})
        add("sgd", {"learning_rate": 0.1, **decay}, spared=["bias"])
        if like == "torch":
            add("sgd", {"learning_rate": 0.1, "momentum": 0.9, "dampening": 0.3})
        add("rmsprop")
        add("rmsprop", {"learning_rate": 0.05, "alpha": 0.8, "epsilon": 1e-3})
        add("rmsprop", {"momentum": 0.9})
        add("rmsprop", {"centered": True, "epsilon": 1e-3})
        add("rmsprop", {"centered": True, "momentum": 0.7, "epsilon": 1e-3, **decay}, spared=["bias"])
        add("adam")
        add("adam", {"learning_rate": 0.05, "betas": [0.8, 0.95], "epsilon": 1e-3})
        add("adam", {"learning_rate": 0.05, "amsgrad": True, "betas": [0.9, 0.7]})
        add("adam", {"learning_rate": 0.05, **decay})
        add("adamw", {"learning_rate": 0.05})
        add("adamw", {"learning_rate": 0.05, "amsgrad": True, **decay}, spared=["bias"])
        for clip in [{"global_norm": 1.5}, {"tensor_norm": 0.75}, {"value": 0.5}]:
            add("sgd", {"learning_rate": 0.1, "momentum": 0.9, **decay}, clip)
            add("adam", {"learning_rate": 0.05}, clip, l2=0.05)
        add("sgd", {"learning_rate": 0.1}, l2=0.1)
    return {"weights": WEIGHTS, "gradients": GRADIENTS, "cases": cases}


def schedules():
    base, cases = 0.5, []
    add = lambda name, args, per, rates: cases.append({"name": name, "args": args, "per": per, "rates": list(rates)})

    def by_torch(name, args, make, epochs=13):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=base)
        scheduler, rates = make(optimizer), []
        for _ in range(epochs):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        add(name, args, "epoch", rates)

    torch_lr = torch.optim.lr_scheduler
    by_torch("step", [3, 0.4], lambda o: torch_lr.StepLR(o, 3, 0.4))
    by_torch("multi_step", [[2, 3, 8], 0.3], lambda o: torch_lr.MultiStepLR(o, [2, 3, 8], 0.3))
    by_torch("exponential", [1, 0.9], lambda o: torch_lr.ExponentialLR(o, 0.9))
    by_torch("cosine_annealing", [5, 0.01], lambda o: torch_lr.CosineAnnealingLR(o, 5, 0.01))
    by_torch("linear", [1 / 3, 1.0, 5], lambda o: torch_lr.LinearLR(o))
    by_torch("linear", [0.1, 0.8, 4], lambda o: torch_lr.LinearLR(o, 0.1, 0.8, 4))

    keras_lr = keras.optimizers.schedules

    def by_keras(name, args, schedule, updates=16):
        add(name, args, "update", [float(keras.ops.convert_to_numpy(schedule(s))) for s in range(updates)])

    by_keras("exponential", [4, 0.5], keras_lr.ExponentialDecay(base, 4, 0.5))
    by_keras("step", [4, 0.5], keras_lr.ExponentialDecay(base, 4, 0.5, staircase=True))
    by_keras("cosine", [10, 0.1], keras_lr.CosineDecay(base, 10, 0.1))
    by_keras("cosine_after_warm_up", [4, 2.0, 8, 0.1], keras_lr.CosineDecay(base, 8, 0.1, warmup_target=2.0, warmup_steps=4))
    return {"base": base, "cases": cases, "plateaus": plateaus(base)}


def plateaus(base):
    falling = [1.0, 0.9, 0.89999, 0.9, 0.91, 0.8, 0.8, 0.79995, 0.85, 0.9, 0.8, 0.8, 0.8, 0.7, 0.75, 0.75, 0.75, 0.75, 0.75, 0.75,
               0.75, 0.75, 0.75, 0.75]
    cases = []
    for like in ["torch", "keras"]:
        for settings in [
            {"patience": 2},
            {"patience": 0, "factor": 0.5},
            {"patience": 1, "cooldown": 2, "factor": 0.3},
            {"patience": 2, "threshold": 0.05},
            {"patience": 1, "least": 0.1, "factor": 0.5},
            {"patience": 1, "factor": 0.01},
            {"patience": 2, "score": True},
        ]:
            values = [round(1 - x, 6) for x in falling] if settings.get("score") else falling
            cases.append({"like": like, "settings": settings, "values": values, "rates": plateau(like, base, settings, values)})
    return cases


def plateau(like, base, settings, values):
    settings = dict(settings)
    mode = "max" if settings.pop("score", False) else "min"
    names = {"least": "min_lr", "threshold": "threshold" if like == "torch" else "min_delta"}
    settings = {names.get(name, name): value for name, value in settings.items()}
    rates = []
    if like == "torch":
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=base)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode=mode, **settings)
        for value in values:
            scheduler.step(value)
            rates.append(optimizer.param_groups[0]["lr"])
    else:
        callback = keras.callbacks.ReduceLROnPlateau(mode=mode, **settings)
        callback._model = SimpleNamespace(optimizer=SimpleNamespace(learning_rate=base))
        callback.on_train_begin()
        for epoch, value in enumerate(values):
            callback.on_epoch_end(epoch, {"val_loss": value})
            rates.append(float(callback.model.optimizer.learning_rate))
    return rates


for name, content in [("updates.json", updates()), ("schedules.json", schedules())]:
    content = {"torch": torch.__version__.split("+")[0], "keras": keras.__version__, **content}
    # A list of numbers on one line.
    text = re.sub(r"\[[^\[\]{}]*\]", lambda found: " ".join(found[0].split()), json.dumps(content, indent=1))
    (FOLDER / name).write_text(text.replace("[ ", "[").replace(" ]", "]") + "\n")
