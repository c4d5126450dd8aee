"""What flows through a traced module: values with named axes, states, sizes and scores. Knows no module."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

BATCH, TIME, FEATURES = "batch", "time", "features"
#: An axis of length 1.
ONE = "one"
#: A row that `expand` or `repeat` has put beside every step of a sequence.
EVERY = "every step"
#: The axes of states: layers and directions in one axis, or in two.
STATES, LAYERS, DIRECTIONS = "layers · directions", "layers", "directions"

SEQUENCE = (BATCH, TIME, FEATURES)
TIME_MAJOR = (TIME, BATCH, FEATURES)
CHANNELS = (BATCH, FEATURES, TIME)
ROW = (BATCH, FEATURES)


class Refused(Exception):
    """A part of a module that gatewave cannot compute. `node` is its node in the graph, if it has one."""

    def __init__(self, text: str, node: Any = None):
        super().__init__(text)
        self.node = node
        #: The user's line, if no node tells it.
        self.line: Any = None
        #: Whether an example of what `forward` takes would tell what is missing.
        self.needs_example = False
        #: How many nodes were understood before it.
        self.progress = 0


class NeedLayout(Exception):
    """The axes of the parameter `name` of `forward` matter here. `candidates` are those that fit, likely ones first."""

    def __init__(self, name: str, candidates: tuple["Layout", ...]):
        super().__init__(name)
        self.name, self.candidates = name, candidates


@dataclass(frozen=True)
class Layout:
    """What a parameter of `forward` is (`sequence`, `tokens`, `row`, `lengths`, `state`, `pair`), and its axes."""

    kind: str
    axes: tuple[str, ...]
    #: The number of features that have no axis: 1.
    bare: bool = False


ROWS = Layout("row", ROW)
SEQUENCES = Layout("sequence", SEQUENCE), Layout("sequence", TIME_MAJOR)
BY_CHANNEL = Layout("sequence", CHANNELS)
BARE = Layout("sequence", (BATCH, TIME), bare=True), Layout("sequence", (TIME, BATCH), bare=True)
TOKENS = Layout("tokens", (BATCH, TIME)), Layout("tokens", (TIME, BATCH))
TOKEN = Layout("tokens", (BATCH,))
LENGTHS = Layout("lengths", (BATCH,))
STATE = Layout("state", (STATES, BATCH, FEATURES))
PAIR = Layout("pair", ())
#: What a parameter may be if an operation does not say it.
ANY = (SEQUENCES[0], ROWS, SEQUENCES[1], BY_CHANNEL, *TOKENS, *BARE, TOKEN, STATE, PAIR)


@dataclass(frozen=True)
class Value:
    """A value of the model: features of a row, or of each step of a sequence."""

    #: Its name in the description.
    ref: str
    #: Its axes in the module. A tuple is several axes in one. `None`: not known yet.
    axes: tuple[Any, ...] | None
    #: The number of features; `None`: that of the parameter `source`.
    features: int | None
    #: Whether it has steps.
    has_time: bool
    #: The number of steps, if the module fixes it.
    steps: int | None = None
    #: The parameter of `forward` that tells its features, or its axes.
    source: str | None = None
    #: Whether it is tokens.
    tokens: bool = False
    #: The name of its time axis: that of the parameter or the layer that makes it.
    clock: str | None = None
    #: Whether it is a PackedSequence, or was one: its padding is zero in the module too.
    packed: bool = False
    padded: bool = False

    def but(self, **changes: Any) -> "Value":
        return replace(self, **changes)

    @property
    def is_row(self) -> bool:
        return not self.has_time


@dataclass(frozen=True)
class States:
    """Final states of a recurrent layer: `[L·D, B, S]`, or what reshaping makes of them."""

    layer: str
    word: str  # "hidden" or "cell"
    layers: int
    directions: int
    size: int
    axes: tuple[Any, ...] = (STATES, BATCH, FEATURES)
    #: Whether it is the states of the last layer alone.
    last: bool = False


@dataclass(frozen=True)
class StateInput:
    """A parameter of `forward` that states begin at. `word` is known once a layer takes it."""

    name: str
    word: str | None = None


@dataclass(frozen=True)
class Weights:
    """A tensor of the module itself: a parameter, a buffer or a constant."""

    tensor: Any
    name: str
    #: Whether it was expanded along the batch.
    expanded: bool = False


@dataclass(frozen=True)
class Zeros:
    """Zeros of any shape, such as initial states."""


@dataclass(frozen=True)
class Lengths:
    """The numbers of steps of rows, which come as the parameter `name`."""

    name: str


@dataclass(frozen=True)
class Size:
    """The length of axis `axis` of `value`."""

    value: Value | States
    axis: int


@dataclass(frozen=True)
class Shape:
    """The shape of `value`."""

    value: Value | States


@dataclass(frozen=True)
class Product:
    """A product of lengths."""

    factors: tuple[Any, ...]


@dataclass(frozen=True)
class Opaque:
    """Something that is no number of the model: a device, a type, arithmetic with sizes."""

    what: str


@dataclass(frozen=True)
class Extremes:
    """What `max(dim)` gives: `values` and `indices`."""

    values: Any
    indices: Any


@dataclass(frozen=True)
class Largest:
    """The place of the largest feature of `value`."""

    value: Value


@dataclass(frozen=True)
class Scores:
    """Scores of the steps of `key` for each step of `query`; or of given scores, `query` alone."""

    query: Value
    key: Value | None
    axes: tuple[Any, ...]
    scale: float = 1.0
    #: Whether a softmax over the steps made weights of them.
    soft: bool = False


@dataclass(frozen=True)
class Weighted:
    """The steps of `value`, each with a weight: a sum over them is an attention."""

    scores: Scores
    value: Value
    axes: tuple[Any, ...]
