"""PyTorch modules → models of gatewave, and trained weights back into modules.

`from_torch` traces `forward`, so the order of layers is that of the calls. What gatewave does not compute is refused
with the line of `forward` that calls it.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from . import activations, attention, functions, modules, parts, shapes  # noqa: F401 (they register what they know)
from .check import difference
from .interpret import Result, interpret, line_of
from .trace import Traced, trace
from .values import Refused

__all__ = ["describe", "from_torch", "to_torch"]

#: The key of the names in the module of a model's tensors, in its metadata.
_NAMES = "gatewave.torch"


def from_torch(
    module: nn.Module,
    *,
    device: str = "auto",
    precision: str = "f32",
    example: Any = None,
    constants: Mapping[str, Any] | None = None,
    vocabulary: str | None = None,
    check: bool = True,
) -> Any:
    """Returns a model of gatewave that computes what `module.eval()` computes.

    The inputs have the names of `forward`'s parameters, and their axes. Those of a module of torch.nn itself are `x`.
    A result has the name `output`; several have `output_0`, `output_1`, …, or the keys of a dict. Final states have
    `h_n` and `c_n`. Lengths of `pack_padded_sequence` are an input. They may be left out of a call. Results behind
    `pad_packed_sequence` have as many steps as the call.

    Args:
        module: The module. Its mode does not matter, and stays.
        device: Where to compute, as in `gatewave.load`.
        precision: How weights are stored, as in `gatewave.load`.
        example: A tensor that `forward` takes, or a tuple or a dict of them. Only their axes and types count. It is
            needed if nothing in the module tells whether an input is a row or a sequence, or its size.
        constants: Values of parameters of `forward` that are no tensors. Defaults that are flags, numbers or texts
            are constants already.
        vocabulary: The characters of a character model, in token order, for `model.generate`.
        check: Whether to compare both once, on random numbers. What depends on a type of Python (`isinstance`) may take
            another branch while `forward` is traced.

    Raises:
        ValueError: If gatewave does not compute a part of the module: with the file and the line, what was expected,
            and what came. Its attribute `layer` is the path of the module.
    """
    import gatewave

    result, traced = _described(module, example, constants, vocabulary)
    metadata = {_NAMES: json.dumps(result.names)} if result.names else None
    model = gatewave.from_tensors(
        result.description, result.tensors, device=device, precision=precision, metadata=metadata
    )
    if check:
        found = difference(model, _unwrapped(module), traced, result, dict(constants or {}), precision)
        if found is not None:
            raise _error(f"from_torch: {found}\n  {traced.start}" if traced.start else f"from_torch: {found}", "", None)
    return model


def describe(
    module: nn.Module,
    *,
    example: Any = None,
    constants: Mapping[str, Any] | None = None,
    vocabulary: str | None = None,
) -> dict[str, Any]:
    """Returns the description that `from_torch` makes of `module`, for a file beside its weights."""
    result, _ = _described(module, example, constants, vocabulary)
    if None in result.names.values():
        text = "describe: expected a module without tensors that forward makes, got one; save its model"
        raise _error(f"{text}: from_torch(module).save(path)", "", None)
    for layer in result.description["layers"]:
        prefix = layer.get("weights", "")
        locals_ = {key.removeprefix(prefix): name for key, name in result.names.items() if key.startswith(prefix)}
        names = {local: name for local, name in locals_.items() if "." not in local}
        if names and "weights" in layer:
            layer["weights"] = {"prefix": prefix, **names}
    return result.description


def to_torch(model: Any, module: nn.Module) -> nn.Module:
    """Copies the weights of `model` into `module`, from which `from_torch` made it, and returns the module.

    Args:
        model: A model of gatewave, such as a trained one: `trainer.model()`.
        module: The module. Tensors that the model does not have stay as they are.

    Raises:
        ValueError: If a tensor of the model has no place in the module, or another shape there.
    """
    module = _unwrapped(module)
    own = _places(module)
    names = json.loads(model.metadata.get(_NAMES, "{}"))
    tensors: dict[str, Any] = {}
    for key, values in model.state_dict().items():
        name = names.get(key, key)
        if name is None:
            continue
        if name in tensors and not np.array_equal(tensors[name].ravel(), values.ravel()):
            text = f"to_torch: {name}: expected one tensor, which layers of the module share, got several in the model"
            raise _error(text, "", name)
        tensors[name] = values
    for name, values in tensors.items():
        if name not in own:
            known = ", ".join(list(own)[:20])
            raise _error(f"to_torch: {name}: expected one of {known}, got a tensor that the module lacks", "", name)
        shape = tuple(own[name].shape)
        if own[name].numel() != values.size:
            raise _error(f"to_torch: {name}: expected {list(shape)}, got {list(values.shape)}", "", name)
    with torch.no_grad():
        for name, values in tensors.items():
            _put(module, name, torch.from_numpy(values).reshape(own[name].shape))
    return module


def _described(
    module: Any, example: Any, constants: Mapping[str, Any] | None, vocabulary: str | None
) -> tuple[Result, Traced]:
    if not isinstance(module, nn.Module):
        raise TypeError(f"from_torch: expected a torch.nn.Module, got {type(module).__name__}")
    module = _unwrapped(module)
    traced: Traced | None = None
    try:
        traced = trace(module, dict(constants or {}))
        return interpret(traced, _examples(module, traced, example), vocabulary), traced
    except Refused as refused:
        raise _refused(refused, traced) from refused.__cause__


def _unwrapped(module: Any) -> nn.Module:
    """Returns the module inside `torch.compile`, `DataParallel` and `DistributedDataParallel`."""
    while True:
        if hasattr(module, "_orig_mod"):
            module = module._orig_mod
        elif isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            module = module.module
        else:
            return module


def _examples(module: nn.Module, traced: Traced, example: Any) -> dict[str, Any]:
    if example is None:
        return {}
    parameters = list(inspect.signature(traced.root.forward).parameters)
    if isinstance(example, Mapping):
        given = dict(example)
    else:
        given = dict(zip(parameters, example if isinstance(example, (tuple, list)) else (example,)))
    for name, value in given.items():
        if name not in parameters:
            raise Refused(f"example: expected parameters of forward ({', '.join(parameters)}), got {name}")
        if not isinstance(value, (torch.Tensor, tuple, list)):
            raise Refused(f"example: {name}: expected a tensor, got {type(value).__name__}")
    return given


def _refused(refused: Refused, traced: Traced | None) -> ValueError:
    line = line_of(refused, traced.start if traced else None)
    path = ""
    if refused.node is not None:
        path = str(refused.node.target if refused.node.op == "call_module" else refused.node.meta.get("path", ""))
        path = path.removeprefix("inner.").removeprefix("inner")
    place = f"{path}: " if path else ""
    text = f"from_torch: {place}{refused}"
    return _error(f"{text}\n  {line}" if line else text, path, None)


def _error(text: str, layer: str, tensor: str | None) -> ValueError:
    error = ValueError(text)
    # As the errors of the native module have them.
    error.kind, error.layer, error.tensor = "model", layer or None, tensor  # type: ignore[attr-defined]
    return error


def _places(module: nn.Module) -> dict[str, torch.Tensor]:
    """Returns the tensors of a module by the names that `from_torch` gives them."""
    places = dict(module.named_parameters(remove_duplicate=False))
    places.update(module.named_buffers(remove_duplicate=False))
    for path, part in module.named_modules():
        for name in getattr(part, "parametrizations", {}):
            places[f"{path}.{name}" if path else name] = getattr(part, name)
    return places


def _put(module: nn.Module, name: str, values: torch.Tensor) -> None:
    path, _, local = name.rpartition(".")
    owner = module.get_submodule(path)
    if local in getattr(owner, "parametrizations", {}):
        # The parametrization finds what gives these weights.
        setattr(owner, local, values.to(getattr(owner, local)))
    else:
        getattr(owner, local).copy_(values)
