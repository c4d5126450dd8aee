"""What an actor of Ray has: threads, a device, and a model in the process's memory."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import ray

import gatewave
from gatewave import Model, _errors


def take_threads(threads: int | None) -> int:
    """Sets the threads of this process to `threads`, or to the CPUs that Ray gave the actor; returns how many."""
    if threads is None:
        threads = max(1, int(_assigned().get("CPU", 1)))
    try:
        gatewave.set_threads(threads)
    except gatewave.Error:
        # Something has computed in this process already, with the threads that it found.
        pass
    return gatewave.threads()


def device_of(device: str | Sequence[str]) -> str:
    """Returns the device for this actor. A list has a name for each GPU index of Ray."""
    indices = [int(index) for index in ray.get_gpu_ids()]
    if isinstance(device, str):
        return "gpu" if indices and device == "auto" else device
    if not indices:
        raise _errors.make("device", "device: expected an actor with a GPU for a list of devices, got one without; "
                           "set num_gpus=1")
    if indices[0] >= len(device):
        text = f"device: expected a name for GPU {indices[0]} of this node, got {len(device)} names"
        raise _errors.make("device", text)
    return device[indices[0]]


def _assigned() -> Mapping[str, Any]:
    return ray.get_runtime_context().get_assigned_resources()


def model_of(
    model: Any, description: Any, device: str, precision: str, numbers: Mapping[str, float] | None
) -> Model:
    """Returns the model of a path, of the bytes of a file, or of a `Model`, on `device`."""
    if isinstance(model, Model):
        if description is not None:
            raise _errors.make("model", "description: expected none beside a Model, which has its own")
        return gatewave.from_tensors(model.description, model.state_dict(), device, precision, metadata=model.metadata)
    return gatewave.load(model, description, device, precision, numbers)


def data_of(model: Any) -> Any:
    """Returns what actors are given: a path stays one, and the numbers of a `Model` go once into Ray's store."""
    return model if isinstance(model, (str, os.PathLike)) else ray.put(model)


def found(model: Any) -> Any:
    """Returns what `data_of` put into Ray's store, or the path."""
    return ray.get(model) if isinstance(model, ray.ObjectRef) else model
