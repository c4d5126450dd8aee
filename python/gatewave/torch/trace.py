"""`forward` of a module → a graph of torch.fx, with the user's own line of each node. Knows nothing of gatewave."""

from __future__ import annotations

import contextlib
import inspect
import linecache
import math
import os
import traceback
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch import fx, nn
from torch.nn.utils import rnn

from .values import Refused

#: Functions that make a sequence of a packed one, or a packed one of a sequence.
PACKING = (rnn.pack_padded_sequence, rnn.pad_packed_sequence)
#: Functions that make a tensor of sizes. torch.fx does not follow them.
_MAKERS = ("zeros", "ones", "full", "empty", "rand", "randn", "arange")
#: Modules of torch.nn that call others.
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
#: The frames below these folders are not the user's.
_FOREIGN = tuple(os.path.dirname(os.path.abspath(path)) + os.sep for path in (torch.__file__,))
_OWN = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
#: The attribute under which a module that torch.nn itself defines is traced.
INNER = "inner"


@dataclass(frozen=True)
class Line:
    """A line of the user's code."""

    file: str
    number: int
    function: str

    def __str__(self) -> str:
        code = linecache.getline(self.file, self.number).strip()
        place = f"{self.file}, line {self.number}, in {self.function}"
        return f"{place}: `{code}`" if code else place


class _Tracer(fx.Tracer):
    def __init__(self) -> None:
        super().__init__(autowrap_modules=(math,), autowrap_functions=PACKING)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return is_torchs_own(m)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        result = super().call_module(m, forward, args, kwargs)
        if isinstance(m, nn.RNNBase) and isinstance(result, fx.Proxy):
            # The user's code sees tuples, as it does without a tracer.
            states = (result[1][0], result[1][1]) if isinstance(m, nn.LSTM) else result[1]
            return result[0], states
        return result

    def create_node(self, *args: Any, **keywords: Any) -> fx.Node:
        node = super().create_node(*args, **keywords)
        node.meta["line"] = _line_of_frame()
        scope = getattr(self, "scope", None)
        node.meta["path"] = strip(getattr(scope, "module_path", "") or "")
        return node


class _Root(nn.Module):
    """Calls a module that torch.fx would otherwise look into, such as a bare `nn.LSTM`."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Any) -> Any:
        return self.inner(x)


@dataclass
class Traced:
    """A graph, and the module that it is of."""

    graph: fx.Graph
    root: nn.Module
    #: Whether `forward` is the user's own, and so the names of its parameters.
    named: bool
    #: The line where `forward` is defined.
    start: Line | None
    #: Tensors that `forward` makes, by name.
    made: dict[str, Any]


def is_torchs_own(module: nn.Module) -> bool:
    """Whether torch.nn defines what `module` computes, by itself."""
    if isinstance(module, _CONTAINERS):
        return False
    return getattr(type(module).forward, "__module__", "").startswith(("torch.nn", "torch.ao.nn"))


def strip(path: str) -> str:
    """Returns the path of a module as the user knows it."""
    return "" if path == INNER else path.removeprefix(INNER + ".")


def trace(module: nn.Module, constants: dict[str, Any]) -> Traced:
    """Traces `forward`. Flags, numbers and texts are constants: their defaults, or those given by name.

    Raises `Refused` with the user's line if `forward` cannot be traced.
    """
    own = is_torchs_own(module)
    root = _Root(module) if own else module
    known = _constants(root, constants)
    before = set(vars(root))
    modes = [(part, part.training) for part in root.modules()]
    tracer = _Tracer()
    try:
        root.eval()
        with _makers():
            graph = tracer.trace(root, known)
    except Exception as error:
        raise _refusal(error) from error
    finally:
        for part, training in modes:
            part.training = training
    # Tensors that `forward` makes, which the tracer keeps as attributes.
    made = {name: vars(root).pop(name) for name in set(vars(root)) - before if name.startswith("_tensor_constant")}
    torchs = getattr(type(root).forward, "__module__", "").startswith("torch.")
    return Traced(graph, root, not own and not torchs, _start(root), made)


def _constants(root: nn.Module, given: dict[str, Any]) -> dict[str, Any]:
    parameters = inspect.signature(root.forward).parameters
    for name in given:
        if name not in parameters:
            raise Refused(f"constants: expected parameters of forward ({', '.join(parameters)}), got {name}")
    plain = (bool, int, float, str)
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    known = {p.name: p.default for p in parameters.values() if isinstance(p.default, plain) and p.kind in kinds}
    return {**known, **given}


@contextlib.contextmanager
def _makers() -> Any:
    """Lets torch.fx follow functions that make a tensor of sizes."""
    with contextlib.ExitStack() as stack:
        for name in _MAKERS:
            stack.enter_context(mock.patch.object(torch, name, _followed(getattr(torch, name))))
        for function in PACKING:
            stack.enter_context(mock.patch.object(rnn, function.__name__, _followed(function)))
        yield


def _followed(function: Any) -> Any:
    def wrapped(*args: Any, **keywords: Any) -> Any:
        found: list[fx.Proxy] = []
        fx.node.map_aggregate((args, keywords), lambda item: found.append(item) if isinstance(item, fx.Proxy) else item)
        if not found:
            return function(*args, **keywords)
        return found[0].tracer.create_proxy("call_function", function, args, keywords)

    wrapped.__name__ = function.__name__
    return wrapped


def _line_of_frame() -> Line | None:
    frame = inspect.currentframe()
    frame = frame.f_back if frame else None
    seen_torch = False
    while frame is not None:
        file = os.path.abspath(frame.f_code.co_filename)
        if file.startswith(_FOREIGN):
            seen_torch = True
        elif not file.startswith(_OWN):
            return Line(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
        elif seen_torch and frame.f_code.co_name == "trace":
            # The caller of from_torch has no part in `forward`.
            return None
        frame = frame.f_back
    return None


def _start(root: nn.Module) -> Line | None:
    try:
        _, number = inspect.getsourcelines(type(root).forward)
        file = inspect.getsourcefile(type(root).forward)
    except (OSError, TypeError):
        return None
    if file is None or os.path.abspath(file).startswith((*_FOREIGN, _OWN)):
        return None
    return Line(file, number, "forward")


def _refusal(error: Exception) -> Refused:
    if isinstance(error, Refused):
        return error
    frames = traceback.extract_tb(error.__traceback__)
    foreign = (*_FOREIGN, _OWN)
    users = [frame for frame in frames if not os.path.abspath(frame.filename).startswith(foreign)]
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    if isinstance(error, fx.proxy.TraceError):
        text = (
            "expected the same computation for every input, got a branch or a loop that depends on a tensor; "
            "give a flag of forward as a constant (constants={…}), or move the branch out of forward"
        )
    elif "cannot be interpreted as an integer" in first:
        text = (
            "expected no loop over the steps of a tensor, got one; "
            "an nn.RNN, nn.LSTM or nn.GRU takes the whole sequence"
        )
    elif "item assignment" in first:
        text = "expected no change of a part of a tensor in place, got one; join its parts by torch.cat"
    else:
        text = f"expected a forward that torch.fx can trace, got {type(error).__name__}: {first}"
    refused = Refused(text)
    if users:
        last = users[-1]
        refused.line = Line(last.filename, last.lineno or 0, last.name)
    return refused
