"""A deployment of Ray Serve: requests of one sequence each, computed together."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ray import serve

from gatewave import Model, TensorInfo, _errors

from .actors import data_of, device_of, found, model_of, take_threads


class Server:
    """Answers requests of one sequence each. Those that wait, and have the same shapes, are one call of the model.

    A request is a `dict` of inputs by name, without the batch axis: ``{"x": [[0.1, 0.2], …]}`` as JSON over HTTP, or
    arrays through a handle: ``await handle.predict.remote({"x": frame})``. The answer has the results by name.

    Args:
        model, description, precision, set: as for `gatewave.load`; `model` may be the bytes of a file or a `Model`.
        outputs: the names of the results; by default all that are no final states.
        max_batch_size: the most requests of a call.
        wait: the most seconds that a request waits for others.
        threads, device: as for `Predictor`.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes | Model,
        description: Any = None,
        *,
        outputs: Sequence[str] | None = None,
        max_batch_size: int = 64,
        wait: float = 0.005,
        threads: int | None = None,
        device: str | Sequence[str] = "auto",
        precision: str = "f32",
        set: Mapping[str, float] | None = None,
    ) -> None:
        take_threads(threads)
        self.model = model_of(found(model), description, device_of(device), precision, set)
        self._taken = {info.name: info for info in self.model.inputs}
        self._given = {info.name: info for info in self.model.outputs}
        results = [info.name for info in self.model.outputs if not info.kind.endswith("state")]
        self._outputs = list(outputs) if outputs is not None else results or list(self._given)
        self._many.set_max_batch_size(max_batch_size)  # type: ignore[attr-defined]
        self._many.set_batch_wait_timeout_s(wait)  # type: ignore[attr-defined]

    async def predict(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Computes one request: arrays by name, without the batch axis."""
        answer = await self._many(_arrays(inputs, self._taken))
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def __call__(self, request: Any) -> Any:
        """Answers a request over HTTP: JSON in, JSON out."""
        from starlette.responses import JSONResponse

        try:
            inputs = await request.json()
            if not isinstance(inputs, Mapping):
                raise ValueError(f"expected an object of inputs by name, got {type(inputs).__name__}")
            results = await self.predict(inputs)
        except ValueError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        return JSONResponse({name: values.tolist() for name, values in results.items()})

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.005)
    async def _many(self, requests: list[dict[str, Any]]) -> list[Any]:
        """Computes requests together, and each alone if one of them is wrong."""
        groups: dict[Any, list[int]] = {}
        for place, arrays in enumerate(requests):
            shape = tuple(sorted((name, array.shape, array.dtype.str) for name, array in arrays.items()))
            groups.setdefault(shape, []).append(place)
        answers: list[Any] = [None] * len(requests)
        for places in groups.values():
            # The interpreter's lock is free while the model computes.
            results = await asyncio.to_thread(self._try, [requests[place] for place in places])
            for place, result in zip(places, results):
                answers[place] = result
        return answers

    def _try(self, group: list[dict[str, Any]]) -> list[Any]:
        try:
            return list(self._run(group))
        except Exception as error:
            return [error] if len(group) == 1 else [self._try([one])[0] for one in group]

    def _run(self, group: list[dict[str, Any]]) -> list[dict[str, Any]]:
        inputs = {}
        for name in group[0]:
            axes = self._taken[name].axes
            inputs[name] = np.stack([arrays[name] for arrays in group], axis=max(axes.find("B"), 0))
        results = self.model.run(inputs, self._outputs)
        rows = {name: np.moveaxis(results[name], max(self._given[name].axes.find("B"), 0), 0) for name in self._outputs}
        return [{name: values[place] for name, values in rows.items()} for place in range(len(group))]


def _arrays(inputs: Mapping[str, Any], taken: Mapping[str, TensorInfo]) -> dict[str, Any]:
    arrays = {}
    for name, value in inputs.items():
        if name not in taken:
            known = ", ".join(taken)
            raise _errors.make("shape", f"{name}: expected an input of the model ({known}), got another name")
        try:
            arrays[name] = np.asarray(value)
        except ValueError as error:
            raise _errors.make("shape", f"{name}: expected numbers of one shape, got {error}") from error
        if arrays[name].dtype.kind not in "biuf":
            raise _errors.make("shape", f"{name}: expected numbers, got {arrays[name].dtype}")
        if arrays[name].ndim != len(taken[name].axes) - 1:
            text = f"{name}: expected {len(taken[name].axes) - 1} axes (no batch), got {list(arrays[name].shape)}"
            raise _errors.make("shape", text)
    return arrays


def deployment(
    model: str | os.PathLike[str] | bytes | Model,
    description: Any = None,
    *,
    replicas: int = 1,
    num_cpus: float = 1,
    num_gpus: float = 0,
    name: str = "gatewave",
    **options: Any,
) -> serve.Application:
    """Returns an application for ``serve.run``: `replicas` of `Server`.

    Args:
        model, description, options: as for `Server`.
        replicas: how many processes answer.
        num_cpus, num_gpus: what each of them has.
        name: the name of the deployment.
    """
    resources = {"num_cpus": num_cpus, "num_gpus": num_gpus}
    made = serve.deployment(Server).options(name=name, num_replicas=replicas, ray_actor_options=resources)
    return made.bind(data_of(model), description, **options)
