"""A traced graph → a description: each node computes values with named axes, and adds layers.

Where the axes of a parameter of `forward` matter and nothing tells them, each candidate is tried, likely ones first.
`modules`, `functions`, `shapes` and `attention` know what nodes do.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any, Callable

import torch
from torch import fx, nn

from .describe import Description, Ends, fuse, shown
from .trace import INNER, Line, Traced, strip
from .values import (
    ANY, BATCH, EVERY, FEATURES, ONE, PAIR, SEQUENCES, STATE, Extremes, Largest, Layout, Lengths, NeedLayout, Refused,
    StateInput, States, Value, Weights, Zeros,
)

#: Handlers of functions and methods by name, and of modules by type: filled by the modules that define them.
FUNCTIONS: dict[str, Callable[..., Any]] = {}
MODULES: dict[type, Callable[..., Any]] = {}


def function(*names: str) -> Callable[[Any], Any]:
    """Registers a handler for functions and methods of these names."""

    def register(handler: Any) -> Any:
        FUNCTIONS.update(dict.fromkeys(names, handler))
        return handler

    return register


def module(*types: type) -> Callable[[Any], Any]:
    """Registers a handler for modules of these types."""

    def register(handler: Any) -> Any:
        MODULES.update(dict.fromkeys(types, handler))
        return handler

    return register

#: What the names of tensors begin with that are none of the module's own. No module has such a name.
CONSTANT = "constant:"


@dataclass
class Result:
    """A description, its tensors, and where each tensor is in the module."""

    description: dict[str, Any]
    tensors: dict[str, Any]
    #: The names in the module of tensors that have another name there; those that the module lacks have none.
    names: dict[str, str | None] = field(default_factory=dict)
    #: The parameters of `forward` that are used, and their sizes.
    layouts: dict[str, Layout] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)


def interpret(traced: Traced, example: dict[str, Any], vocabulary: str | None) -> Result:
    """Returns the description of a traced module. Raises `Refused` if gatewave cannot compute a part of it."""
    return _attempt(traced, {}, example, vocabulary)


def _attempt(traced: Traced, layouts: dict[str, Layout], example: dict[str, Any], vocabulary: str | None) -> Result:
    try:
        return Interpreter(traced, layouts, example).run(vocabulary)
    except NeedLayout as need:
        failures = []
        for layout in need.candidates:
            if not _fits(layout, example.get(need.name)):
                continue
            try:
                return _attempt(traced, {**layouts, need.name: layout}, example, vocabulary)
            except Refused as refused:
                failures.append(refused)
        if not failures:
            text = f"example: expected {need.name} with other axes or of another type, got {_told(example[need.name])}"
            raise Refused(text) from need
        # What was understood furthest is nearest to what is meant, unless the likeliest lacks no more than a size.
        if failures[0].needs_example:
            raise failures[0] from None
        raise max(failures, key=lambda refused: refused.progress) from None


def _fits(layout: Layout, example: Any) -> bool:
    if example is None:
        return True
    if layout.kind == "pair":
        return isinstance(example, (tuple, list))
    if isinstance(example, (tuple, list)):
        return False
    whole = not example.is_floating_point()
    return example.dim() == len(layout.axes) and whole == (layout.kind in ("tokens", "lengths"))


def _told(example: Any) -> str:
    if isinstance(example, torch.Tensor):
        return f"{example.dtype} {list(example.shape)}"
    return type(example).__name__


class Interpreter:
    """Walks through a graph once."""

    def __init__(self, traced: Traced, layouts: dict[str, Layout], example: dict[str, Any]):
        self.traced, self.layouts, self.example = traced, layouts, example
        self.graph = traced.graph
        self.modules = dict(traced.root.named_modules())
        self.made = Description({node.target for node in self.graph.nodes if node.op == "placeholder"})
        self.node: fx.Node | None = None
        #: The features of parameters of `forward`, told by layers that take them.
        self.sizes: dict[str, int] = {}
        #: Lengths, the time axis that they are of, and the nodes that read a time axis beyond each row's own steps.
        self.lengths: dict[str, str] = {}
        self.read_whole: list[tuple[str | None, fx.Node | None, str]] = []
        self.met: list[set[str | None]] = []
        #: Parameters that states begin at: their word and their layers.
        self.begun: dict[str, tuple[str, list[str]]] = {}
        self._names = self._tensor_names()
        #: Sums of features: the parts that are not known yet, and the sum of the others.
        self._sums: dict[str, tuple[list[str], int]] = {}
        self._constants = 0

    # Running

    def run(self, vocabulary: str | None) -> Result:
        needed = self._needed()
        env: dict[fx.Node, Any] = {}
        done = 0
        try:
            for node in self.graph.nodes:
                self.node = node
                self._check_in_place(node)
                if node not in needed:
                    continue
                if node.op == "output":
                    outputs = self._outputs(node, fx.node.map_arg(node.args[0], lambda n: env[n]))
                    continue
                env[node] = self._step(node, env)
                done += 1
            return self._finish(outputs, vocabulary)
        except Refused as refused:
            refused.node = refused.node or self.node
            refused.progress = max(refused.progress, done)
            raise

    def _needed(self) -> set[fx.Node]:
        output = next(node for node in self.graph.nodes if node.op == "output")
        needed, left = {output}, [output]
        while left:
            for node in left.pop().all_input_nodes:
                if node not in needed:
                    needed.add(node)
                    left.append(node)
        return needed

    def _check_in_place(self, node: fx.Node) -> None:
        """Refuses a change in place of what other nodes read as well: they would see another value."""
        in_place = node.op == "call_method" and str(node.target).endswith("_") and not str(node.target).endswith("__")
        if node.op == "call_module":
            in_place = getattr(self.modules.get(node.target), "inplace", False)
        if node.op == "call_function":
            in_place = bool(node.kwargs.get("inplace")) or getattr(node.target, "__name__", "").startswith("i") and (
                getattr(node.target, "__module__", "") == "_operator"
                and getattr(node.target, "__name__", "") in ("iadd", "isub", "imul", "itruediv")
            )
        if in_place and node.all_input_nodes and len(node.all_input_nodes[0].users) > 1:
            self.refuse("expected no change in place of a tensor that is read elsewhere, got one; write y = f(x)")

    def _step(self, node: fx.Node, env: dict[fx.Node, Any]) -> Any:
        args = fx.node.map_arg(node.args, lambda n: env[n])
        keywords = fx.node.map_arg(node.kwargs, lambda n: env[n])
        if node.op == "placeholder":
            return self._placeholder(str(node.target))
        if node.op == "get_attr":
            return self._tensor(str(node.target))
        if node.op == "call_module":
            return self._module(str(node.target), args, keywords)
        name = node.target if node.op == "call_method" else getattr(node.target, "__name__", str(node.target))
        name = str(name)
        base = name.rstrip("_") if not name.startswith("_") else name
        handler = FUNCTIONS.get(name) or FUNCTIONS.get(base)
        if handler is None:
            self.refuse(f"expected functions that gatewave computes, got {self.called(node)}")
        return self._call(handler, self.called(node), args, keywords)

    def _module(self, target: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        of = self.modules[target]
        handler = next((MODULES[base] for base in type(of).__mro__ if base in MODULES), None)
        if handler is None:
            self.refuse(f"expected modules that gatewave computes, got {type(of).__name__}")
        if of._forward_hooks or any(not _is_weight_hook(hook) for hook in of._forward_pre_hooks.values()):
            self.refuse(f"expected a module without hooks, got {type(of).__name__} with some")
        for hook in of._forward_pre_hooks.values():
            hook(of, ())
        return self._call(handler, type(of).__name__, (of, strip(target), *args), keywords)

    def _call(self, handler: Any, called: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        try:
            inspect.signature(handler).bind(self, *args, **keywords)
        except TypeError as error:
            self.refuse(f"expected arguments that gatewave knows, got {called} with others ({error})")
        return handler(self, *args, **keywords)

    def called(self, node: fx.Node) -> str:
        """Returns the name of what a node calls, for messages."""
        if node.op == "call_method":
            return f"Tensor.{node.target}"
        name = getattr(node.target, "__name__", str(node.target))
        where = getattr(node.target, "__module__", None) or "torch"
        return name if where == "_operator" else f"{where}.{name}"

    def refuse(self, text: str) -> Any:
        """Refuses the node that is being computed."""
        raise Refused(text, self.node)

    # Parameters of `forward` and tensors of the module

    def _placeholder(self, name: str) -> Any:
        if name.startswith("*"):
            self.refuse(f"expected parameters of forward with names, got {name}")
        layout = self.layouts.get(name)
        if layout is None:
            return Value(name, None, None, True, source=name, clock=name)
        if layout.kind == "lengths":
            return Lengths(name)
        if layout == STATE:
            return StateInput(name)
        if layout == PAIR:
            return (StateInput("h_0", "hidden"), StateInput("c_0", "cell"))
        tokens = layout.kind == "tokens"
        features = 1 if layout.bare else self._size_of_example(name, layout)
        if features:
            self.sizes.setdefault(name, features)
        time = layout.kind != "row"
        return Value(name, layout.axes, features, time, source=name, tokens=tokens, clock=name if time else None)

    def _size_of_example(self, name: str, layout: Layout) -> int | None:
        example = self.example.get(name)
        if not isinstance(example, torch.Tensor) or FEATURES not in layout.axes:
            return None
        return int(example.shape[layout.axes.index(FEATURES)])

    def demand(self, value: Any, candidates: tuple[Layout, ...] = ANY) -> Any:
        """Asks for the axes of a parameter of `forward` that nothing has told yet."""
        if isinstance(value, Value) and value.axes is None:
            raise NeedLayout(str(value.source), candidates)
        return value

    def value(self, value: Any, candidates: tuple[Layout, ...] = ANY) -> Value:
        """Checks that `value` is features with known axes."""
        value = self.demand(value, candidates)
        if isinstance(value, States) and value.layers * value.directions == 1:
            value = self.row_of(value)
        if isinstance(value, StateInput):
            self.refuse("expected features, got states that forward takes, which only a recurrent layer reads")
        if not isinstance(value, Value):
            self.refuse(f"expected a tensor of features, got {shown(value)}")
        if value.tokens:
            self.refuse("expected features, got tokens, which only nn.Embedding and one_hot read")
        if value.packed:
            self.refuse("expected a tensor, got a PackedSequence, which only a recurrent layer reads")
        return value

    def row_of(self, states: States) -> Value:
        """Returns the states of the last layer, both directions side by side, in place of an axis of layers."""
        axes = tuple(axis if axis in (BATCH, FEATURES) else ONE for axis in states.axes)
        pin = "final_hidden" if states.word == "hidden" else "final_cell"
        return Value(f"{states.layer}.{pin}", axes, states.directions * states.size, False)

    def features(self, value: Value) -> int:
        """Returns the number of features, which must be known."""
        known = value.features or self.sizes.get(str(value.source))
        if known is None:
            text = f"expected a layer that tells the size of {value.source} before this, got none"
            refused = Refused(f"{text}; give from_torch an example of what forward takes (example=…)", self.node)
            refused.needs_example = True
            raise refused
        return known

    def tell(self, value: Value, features: int, what: str) -> None:
        """Checks, or learns, that `value` has so many features."""
        known = value.features or self.sizes.get(str(value.source))
        if known is None:
            self._learn(str(value.source), features, what)
        elif known != features:
            self.refuse(f"expected {features} features for {what}, got {known}")

    def sum_of(self, values: list[Value]) -> tuple[int | None, str | None]:
        """Returns the number of features of several values side by side, or a name for it if one is not known yet."""
        sizes = [value.features or self.sizes.get(str(value.source)) for value in values]
        if None not in sizes:
            return sum(size or 0 for size in sizes), None
        name = f"sum {len(self._sums)}"
        unknown = [str(value.source) for value, size in zip(values, sizes) if size is None]
        self._sums[name] = (unknown, sum(size or 0 for size in sizes))
        return None, name

    def _learn(self, name: str, features: int, what: str) -> None:
        """Learns a number of features, and with a sum the one part of it that is not known."""
        self.sizes[name] = features
        unknown, known = self._sums.get(name, ([], 0))
        if not unknown:
            return
        left, short = divmod(features - known, len(unknown))
        if len(set(unknown)) > 1:
            names = " and ".join(sorted(set(unknown)))
            self.refuse(f"expected a layer that tells the sizes of {names}, got their sum; give an example (example=…)")
        if short or left < 1:
            self.refuse(f"expected more than {known} features for {what}, got {features}")
        self._learn(unknown[0], left, what)

    def _tensor_names(self) -> dict[int, str]:
        """Returns the first name of each tensor of the module."""
        names: dict[int, str] = {}
        root = self.traced.root
        for name, tensor in [*root.named_parameters(), *root.named_buffers()]:
            names.setdefault(id(tensor), strip(name))
        return names

    def own(self, of: nn.Module, path: str, local: str) -> Weights | None:
        """Returns the tensor `local` of the module at `path`, or nothing if it has none."""
        tensor = getattr(of, local, None)
        if tensor is None:
            return None
        return Weights(tensor, self._names.get(id(tensor), f"{path}.{local}" if path else local))

    def _tensor(self, target: str) -> Any:
        root: Any = self.traced.root
        if target in self.traced.made:
            made = self.traced.made[target]
            return Zeros() if made.is_floating_point() and not made.any() else self.constant(made)
        for part in target.split("."):
            root = getattr(root, part)
        if not isinstance(root, torch.Tensor):
            self.refuse(f"expected a tensor, got {type(root).__name__}")
        if not isinstance(root, nn.Parameter) and root.is_floating_point() and not root.any():
            return Zeros()
        return Weights(root, self._names.get(id(root), strip(target)))

    def constant(self, tensor: torch.Tensor) -> Weights:
        """Returns a tensor that is none of the module's own."""
        self._constants += 1
        return Weights(tensor, f"{CONSTANT}{self._constants}")

    # Layers

    def name(self, usual: str) -> str:
        """Returns the name for a layer: that of the module, or the place and the name of the function."""
        path = str(self.node.meta.get("path", "")) if self.node is not None else ""
        if self.node is not None and self.node.op == "call_module":
            return strip(str(self.node.target)) or usual
        return f"{path}.{usual}" if path else usual

    def add(self, kind: str, sources: Any, usual: str | None = None, **keys: Any) -> str:
        """Adds a layer and returns its name."""
        refs = [source.ref for source in sources] if isinstance(sources, (list, tuple)) else sources.ref
        return self.made.add(kind, self.name(usual or kind), refs, **keys)

    def path(self) -> str:
        """Returns the path of the module whose line is being computed."""
        if self.node is None:
            return ""
        if self.node.op == "call_module":
            return strip(str(self.node.target))
        return str(self.node.meta.get("path", ""))

    def observe(self, value: Value, what: str) -> None:
        """Notes that something reads steps beyond each row's own."""
        if value.has_time and not value.padded:
            self.read_whole.append((value.clock, self.node, what))

    def meet(self, values: list[Value]) -> None:
        """Notes that values share a time axis, with all of its lengths."""
        self.met += [{value.clock for value in values}] if len(values) > 1 else []

    def _same_axis(self, clock: str | None) -> set[str | None]:
        same: set[str | None] = {clock}
        for _ in self.met:
            for group in self.met:
                same |= group if group & same else set()
        return same

    # Results

    def _outputs(self, node: fx.Node, result: Any) -> list[dict[str, Any]]:
        flat = self._flat(result)
        if not flat:
            self.refuse("expected results of forward, got none")
        plain = [name for name, value in flat if not isinstance(value, States)]
        outputs, numbers = [], {"hidden": 0, "cell": 0}
        for index, (name, value) in enumerate(flat):
            if isinstance(value, States):
                if name is None:
                    number = numbers[value.word]
                    name = ("h_n" if value.word == "hidden" else "c_n") + (f".{number}" if number else "")
                numbers[value.word] += 1
                outputs.append(self._state_output(name, value))
                continue
            if name is None:
                name = "output" if len(plain) == 1 else f"output_{_before(flat, index)}"
            outputs.append(self._output(name, value))
        names = [output["name"] for output in outputs]
        for name in names:
            if names.count(name) > 1:
                self.refuse(f"expected results with names of their own, got {name} twice")
        return outputs

    def _flat(self, result: Any, name: str | None = None) -> list[tuple[str | None, Any]]:
        if isinstance(result, dict):
            return [pair for key, value in result.items() for pair in self._flat(value, str(key))]
        if isinstance(result, (tuple, list)):
            # Several values under one name have numbers.
            named = [f"{name}_{index}" if name else None for index in range(len(result))]
            return [pair for value, one in zip(result, named) for pair in self._flat(value, one)]
        return [] if result is None else [(name, result)]

    def _state_output(self, name: str, states: States) -> dict[str, Any]:
        if set(states.axes) != set(STATE.axes):
            self.refuse(f"expected states as a recurrent layer gives them, or its last layer's, got {shown(states)}")
        return {"name": name, "from": f"{states.layer}.{states.word}", "axes": states.axes, "state": states.word}

    def _output(self, name: str, value: Any) -> dict[str, Any]:
        if isinstance(value, Largest):
            axes = tuple(axis for axis in value.value.axes or () if axis != FEATURES)
            has_time = value.value.has_time
            return {"name": name, "from": value.value.ref, "axes": axes, "has_time": has_time, "largest": True}
        if isinstance(value, Extremes):
            self.refuse("expected tensors as results, got values and indices; return .values")
        value = self.value(value)
        if EVERY in (value.axes or ()):
            self.refuse("expected results of their own steps, got a row expanded to the steps of another tensor")
        for axis in value.axes or ():
            if isinstance(axis, tuple):
                self.refuse(
                    f"expected results with axes of their own, got {shown(value)}; "
                    "return the tensor before it is reshaped, with batch, time and features apart"
                )
        return {"name": name, "from": value.ref, "axes": value.axes, "has_time": value.has_time}

    def _finish(self, outputs: list[dict[str, Any]], vocabulary: str | None) -> Result:
        for clock, node, what in self.read_whole:
            for name in sorted(self._same_axis(clock) & set(self.lengths), key=str):
                text = f"expected every use of {name} by its lengths ({self.lengths[name]}), got {what} without them"
                raise Refused(f"{text}; pack the sequence before it", node)
        layers = self.made.layers
        if not layers:
            self.refuse("expected layers, got none")
        fuse(layers, outputs)
        ends = Ends(self._ordered(), self.sizes, layers, self.traced.named)
        for name, (word, stacks) in self.begun.items():
            ends.begin(name, word, stacks)
        for sequence, name in self.lengths.items():
            ends.lengths(name, sequence)
        description: dict[str, Any] = {"gatewave": 1, "name": type(self._user()).__name__}
        if vocabulary is not None:
            description["vocabulary"] = vocabulary
        ends.write(description, outputs)
        others = {key: name for key, name in self.made.names.items() if key != name}
        names = {key: None if name.startswith(CONSTANT) else name for key, name in others.items()}
        return Result(description, self.made.tensors, names, self.layouts, self.sizes)

    def _user(self) -> nn.Module:
        return getattr(self.traced.root, INNER) if INNER in self.modules and not self.traced.named else self.traced.root

    def _ordered(self) -> dict[str, Layout]:
        """Returns the layouts in the order of `forward`'s parameters; those that nothing told are sequences."""
        taken = {name for layer in self.made.layers for name in _names(layer["from"])}
        taken |= {layer[key] for layer in self.made.layers for key in ("h_0", "c_0") if key in layer}
        layouts = {}
        for node in self.graph.nodes:
            name = str(node.target)
            if node.op == "placeholder" and name in taken:
                layouts[name] = self.layouts.get(name, SEQUENCES[0])
        return layouts


def _names(sources: Any) -> list[str]:
    return sources if isinstance(sources, list) else [sources]


def _before(flat: list[tuple[str | None, Any]], index: int) -> int:
    return sum(name is None and not isinstance(value, States) for name, value in flat[:index])


def _is_weight_hook(hook: Any) -> bool:
    """Whether a hook computes a weight, as torch.nn.utils.weight_norm does."""
    return type(hook).__module__ == "torch.nn.utils.weight_norm"


def line_of(refused: Refused, start: Line | None) -> Line | None:
    """Returns the user's line of what was refused."""
    line = refused.line or (refused.node.meta.get("line") if refused.node is not None else None)
    return line or start

