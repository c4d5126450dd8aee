"""Files of PyTorch and NumPy as they come, with what is in them: python make.py

Made with torch 2.15, numpy 2.4. `NAME.pt` is a file of torch.save or of torch.jit; the tensors that its reader must find
are in `NAME.safetensors`, or in `lstm.safetensors` if there is none. `io.safetensors` has inputs of that model, and its
outputs as PyTorch computes them in float64.
"""

import argparse
import copy
import pathlib
import sys
import types
import zipfile

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.fc = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x):
        return self.fc(self.rnn(x)[0])


def drawn(net, scale=0.4):
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    return net.eval()


def numbers(net, x):
    with torch.no_grad():
        return copy.deepcopy(net).double()(x.double()).float()


def floats(tensors):
    return {name: tensor.detach().float().contiguous() for name, tensor in tensors.items() if tensor.is_floating_point()}


def save(name, held, **options):
    torch.save(held, HERE / name, **options)


net = drawn(Net())
state = net.state_dict()
x = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(3))
save_file(floats(state), HERE / "lstm.safetensors")
save_file({"x": x, "output": numbers(net, x)}, HERE / "io.safetensors")

# Containers and protocols.
save("zip.pt", state)
save("legacy.pt", state, _use_new_zipfile_serialization=False)
save("legacy4.pt", state, _use_new_zipfile_serialization=False, pickle_protocol=4)
save("protocol4.pt", state, pickle_protocol=4)
save("parameters.pt", dict(net.named_parameters()))
for name, script in (("traced.pt", torch.jit.trace(net, x)), ("scripted.pt", torch.jit.script(net))):
    script.save(HERE / name)
    # Without what names the files of this machine.
    with zipfile.ZipFile(HERE / name) as whole:
        members = [(member.filename, whole.read(member)) for member in whole.infolist() if "debug" not in member.filename]
    with zipfile.ZipFile(HERE / name, "w") as stripped:
        for member, held in members:
            stripped.writestr(zipfile.ZipInfo(member), held)

# Checkpoints.
optimizer = torch.optim.Adam(net.parameters())
numbers_before = {name: tensor.clone() for name, tensor in state.items()}
net(x).sum().backward()
optimizer.step()
net.load_state_dict(numbers_before)
state = net.state_dict()
parsing = types.ModuleType("pytorch_lightning.utilities.parsing")
parsing.AttributeDict = type("AttributeDict", (dict,), {"__module__": parsing.__name__})
sys.modules.update({"pytorch_lightning": types.ModuleType("pytorch_lightning"), parsing.__name__: parsing})
lightning = {
    "epoch": 3,
    "global_step": 12,
    "pytorch-lightning_version": "2.5.0",
    "state_dict": type(state)((f"net.{name}", tensor) for name, tensor in state.items()),
    "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 4}}}},
    "callbacks": {"ModelCheckpoint{'monitor': 'loss'}": {"best_model_score": torch.tensor(0.5), "best_k_models": {}}},
    "optimizer_states": [optimizer.state_dict()],
    "lr_schedulers": [{"_last_lr": [np.float64(0.1)], "best": float("inf")}],
    "hparams_name": "kwargs",
    "hyper_parameters": parsing.AttributeDict(hidden=4, rate=np.float32(0.5), path=pathlib.PurePosixPath("a/b"), big=1 << 80),
}
save("lightning.ckpt", lightning)
save("nested.pt", {"epoch": 3, "model": state, "optimizer": optimizer.state_dict(), "args": argparse.Namespace(hidden=4, tags={1, 2})})
save("trained.pt", {"optimizer_state_dict": optimizer.state_dict(), "model_state_dict": state, "loss": 0.25, "rng": torch.get_rng_state()})
save("two.pt", {"first": state, "second": {"fc.weight": state["fc.weight"] * 2}, "step": 7})
save("wrapped.pt", {f"module._orig_mod.{name}": tensor for name, tensor in state.items()})
save_file({f"{of}.{name}": tensor for of, part in (("first", floats(state)), ("second", {"fc.weight": state["fc.weight"] * 2})) for name, tensor in part.items()}, HERE / "two.safetensors")

# Types, strides and offsets.
whole = torch.arange(24.0).reshape(4, 6)
views = {
    "whole": whole,
    "transposed": whole.t(),
    "rows": whole[1:3],
    "columns": whole[:, 2:5],
    "every_second": whole[::2, 1::2],
    "permuted": torch.arange(24.0).reshape(2, 3, 4).permute(2, 0, 1),
    "expanded": torch.tensor([1.5, -2.0]).expand(3, 2),
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 3),
    "half": torch.tensor([1.0, -0.333, 65504.0]).half(),
    "bfloat": torch.tensor([1.0, -0.333, 3e38]).bfloat16(),
    "double": torch.tensor([1.0, -1 / 3, 1e-30], dtype=torch.float64),
    "parameter": nn.Parameter(torch.tensor([[0.25, 0.5]])),
    "channels_last": torch.arange(16.0).reshape(1, 2, 2, 4).to(memory_format=torch.channels_last),
    "num_batches_tracked": torch.tensor(7),
    "flags": torch.tensor([True, False]),
    "bytes": torch.tensor([1, 200], dtype=torch.uint8),
    "waves": torch.tensor([1 + 2j]),
    "tiny": torch.tensor([1.0, 0.5]).to(torch.float8_e4m3fn),
}
save("views.pt", views)
save("views_legacy.pt", {name: tensor for name, tensor in views.items() if name != "tiny"}, _use_new_zipfile_serialization=False)
plain = {name: tensor.detach().float().clone(memory_format=torch.contiguous_format) for name, tensor in views.items() if tensor.is_floating_point() and name != "tiny"}
save_file(plain, HERE / "views.safetensors")

# Normalized weights.
normal = drawn(Net())
normal.fc = nn.utils.weight_norm(normal.fc)
normal.rnn = nn.utils.weight_norm(normal.rnn, "weight_hh_l0")
parametrized = drawn(Net())
nn.utils.parametrizations.weight_norm(parametrized.fc, dim=1)
nn.utils.parametrizations.weight_norm(parametrized.rnn, "weight_hh_l0", dim=None)
for name, normalized in (("weight_norm", normal), ("parametrized", parametrized)):
    with torch.no_grad():
        for key, tensor in normalized.state_dict().items():
            if key.endswith(("_g", "original0")):
                tensor.mul_(1.5)
    save(f"{name}.pt", normalized.state_dict())
    with torch.no_grad():
        normalized(x)
    save_file({"rnn.weight_hh_l0": normalized.rnn.weight_hh_l0.detach().contiguous(), "fc.weight": normalized.fc.weight.detach().contiguous()}, HERE / f"{name}.safetensors")
spectral = drawn(Net())
nn.utils.spectral_norm(spectral.fc)
save("spectral.pt", spectral.state_dict())
spectral = drawn(Net())
nn.utils.parametrizations.spectral_norm(spectral.fc)
save("spectral_parametrized.pt", spectral.state_dict())

# What is refused.
save("module.pt", net)
save("sequential.pt", nn.Sequential(nn.Linear(2, 2)))
save("inside.pt", {"model": net, "epoch": 3})


class Call:
    def __reduce__(self):
        return (print, ("a pickle is a program",))


save("call.pt", {"weight": torch.zeros(2), "extra": Call()})
save("tensor.pt", torch.zeros(2))
save("none.pt", {"epoch": 3, "loss": [0.5]})

# Arrays.
arrays = {name: tensor.numpy() for name, tensor in floats(state).items()}
np.savez(HERE / "plain.npz", **arrays)
arrays["rnn.weight_ih_l0"] = np.asfortranarray(arrays["rnn.weight_ih_l0"])
arrays["rnn.weight_hh_l0"] = arrays["rnn.weight_hh_l0"].astype(">f4")
arrays["fc.weight"] = arrays["fc.weight"].astype(np.float64)
arrays["steps"] = np.arange(3)
arrays["names"] = np.array(["a", "bc"])
np.savez_compressed(HERE / "packed.npz", **arrays)
