"""A model on a device: how it is loaded, its calls, and what it tells about itself."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from . import _arrays, _errors, _native
from ._generate import generate
from ._streams import Streams
from ._tensors import Signature, TensorInfo

if TYPE_CHECKING:
    Path = str | os.PathLike[str]
    Description = Mapping[str, Any]


def load(
    path: Path | bytes,
    model: Path | Description | None = None,
    device: str = "auto",
    precision: str = "f32",
    set: Mapping[str, float] | None = None,
    *,
    strategy: str | None = None,
) -> Model:
    """Loads a model onto a device.

    Args:
        path: a file: ``.onnx``, ``.keras``, ``.h5``, ``.safetensors``, ``.pt``, ``.pth``, ``.ckpt``, ``.bin`` or
            ``.npz``; or the bytes of one.
        model: the description beside a file that holds weights alone: a path, or the same as a `dict`. Beside weights
            of Keras (``.weights.h5``) it is what ``model.to_json()`` gives.
        device: ``"auto"`` (the best GPU, else the CPU), ``"cpu"``, ``"gpu"``, or a part of a GPU's name.
        precision: how weights are stored: ``"f32"``, ``"f16"`` or ``"int8"``.
        set: numbers of inputs of an ONNX graph that decide what it computes: ``{"sr": 16000}``.
        strategy: how recurrent layers go through time: ``"step"``, ``"wavefront"``, ``"scan"`` or ``"persistent"``.
            By default the sizes and the device decide.

    Raises:
        ValueError: the model or its weights are wrong.
        OSError: the file cannot be read, or is of a format that is not supported.
        Error: there is no such device, or the weights do not fit it.
    """
    options = (device, precision, strategy)
    numbers = {name: float(number) for name, number in (set or {}).items()}
    if isinstance(path, (bytes, bytearray, memoryview)):
        text = _text(model)
        if isinstance(model, (str, os.PathLike)):
            with open(model, encoding="utf-8") as file:
                text = file.read()
        origin: tuple[Any, ...] = ("bytes", bytes(path), text, numbers)
        return Model(_native.load_bytes(bytes(path), text, numbers, options), options, origin)
    path = os.fspath(path)
    beside = os.fspath(model) if isinstance(model, (str, os.PathLike)) else None
    text = _text(model)
    origin = ("file", path, beside, text, numbers)
    return Model(_native.load(path, beside, text, numbers, options), options, origin)


def from_tensors(
    description: Description | str,
    tensors: Mapping[str, Any],
    device: str = "auto",
    precision: str = "f32",
    *,
    strategy: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Model:
    """Makes a model of its description and its weights by name, as a file of named tensors holds them.

    Args:
        description: the description as a `dict` or JSON, with the keys of ``docs/model-format.md``. Sizes that it
            leaves out are those of the arrays.
        tensors: the weights: arrays of floats by name, such as a ``state_dict``. Integers (a counter) are not used.
        device, precision, strategy: as for `load`.
        metadata: texts to keep beside the model, under keys that begin with ``gatewave.``.

    Raises:
        ValueError: the description is wrong, or an array is missing or has another shape than the description needs.
    """
    options = (device, precision, strategy)
    arrays = [(name, _weights(name, value)) for name, value in tensors.items()]
    text = description if isinstance(description, str) else _errors.to_json("description", description)
    return Model(_native.from_tensors(text, arrays, dict(metadata or {}), options), options, None)


def describe(path: Path) -> dict[str, Any]:
    """Drafts the description of a file of named tensors (a ``state_dict``), which does not record the order of layers.

    Correct what the draft assumes, and pass it to `load` as `model`. The assumptions are warnings of the logger
    ``gatewave``.
    """
    text, notes, unplaced = _native.describe(os.fspath(path))
    from ._logging import emit

    for note in notes:
        emit("WARN", "gatewave.describe", note)
    for name, why in unplaced:
        emit("WARN", "gatewave.describe", f"{name}: in no layer: {why}")
    return json.loads(text)


def _text(model: Any) -> str | None:
    """Returns a description that was not given as a path as JSON."""
    if model is None or isinstance(model, (str, os.PathLike)):
        return None
    if isinstance(model, Mapping):
        return _errors.to_json("description", model)
    raise _errors.make("model", f"model: expected a path or a dict, got {type(model).__name__}")


def _weights(name: str, value: Any) -> NDArray[Any]:
    return _arrays.either(name, value)


def rebuilt(state: Mapping[str, Any], options: tuple[str, str, str | None]) -> Model:
    """Makes the model that was pickled."""
    device, precision, strategy = options
    return from_tensors(
        state["description"], state["tensors"], device, precision, strategy=strategy, metadata=state["metadata"]
    )


def reloaded(origin: tuple[Any, ...], options: tuple[str, str, str | None]) -> Model:
    """Loads the model whose path was pickled."""
    device, precision, strategy = options
    kind, path, *beside = origin
    if kind == "bytes":
        text, numbers = beside
        model = json.loads(text) if text is not None else None
    else:
        file, text, numbers = beside
        model = file if file is not None else json.loads(text) if text is not None else None
    return load(path, model, device, precision, numbers, strategy=strategy)


class Model:
    """A model with its weights on a device, ready to run. `load` and `from_tensors` make one.

    Call it with an array, or `run` it with arrays by name. Threads may share it: calls may overlap, and none holds the
    interpreter's lock while it computes.

    Arrays may be of NumPy, of PyTorch (on the CPU), or anything else with DLPack or ``__array__``, or lists. Results
    are arrays of NumPy, which are not copied.
    """

    __slots__ = ("_engine", "_options", "_origin", "_signature", "__weakref__")

    def __init__(self, engine: _native.Engine, options: tuple[str, str, str | None], origin: tuple[Any, ...] | None):
        self._engine = engine
        self._options = options
        self._origin = origin
        self._signature = Signature.of(engine.inputs(), engine.outputs())

    def __call__(self, *args: Any, lengths: Any | None = None, mask: Any | None = None, **named: Any) -> Any:
        """Runs the model: one array in, one array out.

        Args:
            args: the input, ``[B, T, F]`` of features or ``[B, T]`` of tokens; ``[T, F]`` or ``[T]`` is one sequence.
                (It is time first if the model is.) A model of several inputs takes them in its order.
            lengths: ``[B]``, the number of steps of each row; what comes after them is not read.
            mask: ``[B, T]``, which steps of each row count.
            named: other inputs by name: rows, initial states (``h_0``, ``c_0``).

        Returns:
            The output as an array; a tuple of them if the model has several. Final states come from `run` alone.
        """
        signature = self._signature
        given = signature.named(signature.call(args, lengths, mask, named))
        wanted = [info.name for info in signature.results]
        results = self._run(given, wanted)
        if len(results) == 1:
            return results[0][1]
        return tuple(array for _, array in results)

    def run(self, inputs: Mapping[str, Any], outputs: str | list[str] | None = None) -> dict[str, NDArray[Any]]:
        """Runs the model on arrays by name.

        Args:
            inputs: arrays by the names of `inputs`. Lengths, masks and initial states may be left out.
            outputs: the names of the results to return, or one; all by default.

        Returns:
            The results by the names of `outputs`, final states among them.
        """
        if not isinstance(inputs, Mapping) or not all(isinstance(name, str) for name in inputs):
            got = "a name that is no str" if isinstance(inputs, Mapping) else type(inputs).__name__
            raise _arrays.wrong(f"inputs: expected a dict of arrays by name, got {got}; model(x) takes one array")
        if isinstance(outputs, str):
            outputs = [outputs]
        if outputs is not None:
            known = [name for names in self._signature.names for name in names]
            unknown = [name for name in outputs if name not in known]
            if unknown:
                raise _arrays.wrong(
                    f"{unknown[0]}: expected an output of the model ({', '.join(known)}), got another name"
                )
            outputs = list(outputs)
        return dict(self._run(self._signature.named(inputs), outputs))

    def _run(self, given: list[tuple[str, NDArray[Any]]], wanted: list[str] | None) -> list[tuple[str, NDArray[Any]]]:
        try:
            return self._engine.run(given, wanted)
        except ValueError as error:
            self._signature.renamed(error)
            raise

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """What a call takes: names, shapes (`None` where a call decides), types."""
        return self._signature.inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """What a call gives, as `run` names it."""
        return self._signature.outputs

    def state_dict(self) -> dict[str, NDArray[np.float32]]:
        """Copies of the weights, by the names of the description: PyTorch's names after each layer's prefix."""
        return dict(self._engine.state_dict())

    @property
    def description(self) -> dict[str, Any]:
        """The model's description, with the keys of ``docs/model-format.md``."""
        return json.loads(self._engine.description())

    @property
    def metadata(self) -> dict[str, str]:
        """What the model's file says beside it, by key: a vocabulary, labels."""
        return self._engine.metadata()

    def save(self, path: Path, precision: str = "f32") -> None:
        """Writes a ``.safetensors`` file with the description inside. `load` reads it, and so does the command line.

        Args:
            path: the file; it is replaced once the new one is whole.
            precision: how weights are stored there: ``"f32"``, ``"f16"`` or ``"int8"``.
        """
        path = os.fspath(path)
        if os.path.splitext(path)[1].lower() != ".safetensors":
            raise _errors.make("io", f"{path}: expected a name that ends in .safetensors")
        self._engine.save(path, precision)

    def streams(self, capacity: int = 1) -> Streams:
        """Makes room for `capacity` independent sequences that arrive frame by frame; see `Streams`."""
        return Streams(self, capacity)

    @overload
    def generate(
        self,
        prompt: Any,
        length: int = ...,
        temperature: float = ...,
        top_k: int | None = ...,
        seed: int = ...,
        *,
        stream: Literal[False] = ...,
        output: str | None = ...,
        inputs: Mapping[str, Any] | None = ...,
    ) -> Any: ...
    @overload
    def generate(
        self,
        prompt: Any,
        length: int = ...,
        temperature: float = ...,
        top_k: int | None = ...,
        seed: int = ...,
        *,
        stream: Literal[True],
        output: str | None = ...,
        inputs: Mapping[str, Any] | None = ...,
    ) -> Iterator[Any]: ...
    def generate(
        self,
        prompt: Any,
        length: int = 200,
        temperature: float = 0.8,
        top_k: int | None = None,
        seed: int = 0,
        *,
        stream: bool = False,
        output: str | None = None,
        inputs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Continues a text, or a sequence of tokens. The same seed gives the same text on every device.

        Args:
            prompt: a text, if the model has a vocabulary; or tokens ``[T]``.
            length: how many characters or words, or tokens, to draw.
            temperature: how freely to choose: 0 takes the likeliest, 1 draws by the model's own probabilities.
            top_k: chooses from the likeliest alone.
            seed: the seed of the draws.
            stream: whether to return an iterator of pieces, as they are drawn, in place of the whole.
            output: the output that tokens are drawn from; the first by default.
            inputs: what the model takes besides, by name: rows and initial states.

        Returns:
            What follows the prompt: a text, or tokens ``[length]``.
        """
        pieces = generate(self, prompt, length, temperature, top_k, seed, output, inputs or {})
        if stream:
            return pieces
        if isinstance(prompt, str):
            return "".join(pieces)
        all_pieces = list(pieces)
        return np.concatenate(all_pieces) if all_pieces else np.zeros(0, np.int64)

    def summary(self) -> Summary:
        """The layers, their output shapes and parameters, as Keras prints them: ``print(model.summary())``."""
        return Summary(self._engine.summary())

    def plan(self, batch: int = 1, steps: int = 100) -> str:
        """What a call of `batch` rows and `steps` steps would run: its buffers and dispatches, as a text."""
        if batch < 1 or steps < 1:
            raise _arrays.wrong(f"plan: expected at least one step and one row, got steps={steps}, batch={batch}")
        return self._engine.plan(batch, steps)

    @property
    def device(self) -> str:
        """The device that computes, in words."""
        name, detail, _, is_cpu = self._engine.device()
        return f"{name}{': ' if is_cpu else ', '}{detail}"

    @property
    def precision(self) -> str:
        """How weights are stored on the device."""
        return self._engine.precision()

    @property
    def parameters(self) -> int:
        """The number of trainable parameters."""
        return self._engine.parameters()

    @property
    def vocabulary(self) -> int | None:
        """The number of characters or words that the model knows; `None` if it has no vocabulary."""
        found = self._engine.vocabulary()
        return None if found is None else found[1]

    def encode(self, text: str) -> NDArray[np.int64]:
        """The tokens of a text, ``[T]``."""
        return np.array(self._engine.encode(text)[0], np.int64)

    def decode(self, tokens: Any) -> str:
        """The text of tokens ``[T]`` that continue others: each word follows a space."""
        return self._engine.decode(_arrays.integers("tokens", tokens).ravel().tolist())

    def reset_states(self) -> None:
        """Forgets the states that stateful layers of Keras keep from call to call."""
        self._engine.reset_states()

    def to_torch(self, module: Any) -> Any:
        """Copies the weights into a module of PyTorch that `from_torch` was given; returns it."""
        from .torch import to_torch

        return to_torch(self, module)

    def to_keras(self, model: Any) -> Any:
        """Copies the weights into a model of Keras that `from_keras` was given; returns it."""
        from .keras import to_keras

        return to_keras(self, model)

    def take_weights(self, other: Model) -> None:
        """Takes the weights of `other`, which is of the same description: a trained copy of this model."""
        if self._engine.description() != other._engine.description():
            raise _errors.make("model", "expected weights of the same model, got those of another")
        self._engine, self._origin = other._engine, None

    def __reduce__(self) -> tuple[Any, ...]:
        # A file is named, so that processes which share it need not send its weights; else all is sent.
        if self._origin is not None:
            return reloaded, (self._origin, self._options)
        engine = self._engine
        state = {"description": engine.description(), "metadata": engine.metadata(), "tensors": self.state_dict()}
        return rebuilt, (state, self._options)

    def __repr__(self) -> str:
        inputs = ", ".join(str(info) for info in self._signature.inputs if info.required)
        outputs = ", ".join(str(info) for info in self._signature.results)
        return f"<gatewave.Model ({inputs}) -> ({outputs}), {self.parameters:,} parameters, {self.device}>"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>{self.summary()._repr_html_()}"


class Summary(str):
    """The table of a model's layers. A notebook shows it as one."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        rows = [line for line in self.splitlines() if line[:1] in "┃│"]
        cells = [
            [html.escape(cell.strip()) for cell in line[1:-1].split("┃" if line[0] == "┃" else "│")] for line in rows
        ]
        if not cells:
            return f"<pre>{html.escape(self)}</pre>"
        lines = self.splitlines()
        title = f"<caption>{html.escape(lines[0].strip())}</caption>"
        head = "".join(f"<th>{cell}</th>" for cell in cells[0])
        body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in cells[1:])
        last = next(at for at, line in reversed(list(enumerate(lines))) if line[:1] == "└")
        totals = "".join(f"<li>{html.escape(line.strip())}</li>" for line in lines[last + 1 :] if line.strip())
        return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><ul>{totals}</ul>"
