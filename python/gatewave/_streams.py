"""Many independent sequences that arrive frame by frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _arrays, _native

if TYPE_CHECKING:
    from ._model import Model

Stream = _native.Stream

_RESULTS = ("wanted", "unwanted", "deferred")


class Streams:
    """Independent sequences of one model in one batch: microphones, sensors, sessions. `Model.streams` makes one.

    Each stream has its own states, which stay on the device between pushes. A stream gives the same results as one call
    over all its frames: on the CPU bit for bit. Threads may share the object: pushes take turns.

    Example::

        streams = model.streams(1000)
        a, b = streams.join(), streams.join()
        y = streams.push({a: [0.1, 0.2], b: [0.3, 0.4]})   # one frame each
        y[a]                                               # what that frame gives, [F]
        streams.leave(a)
    """

    def __init__(self, model: Model, capacity: int = 1):
        signature = model._signature
        # Only what each frame gives: final states stay on the device, and an index is made on the host.
        self._outputs = [info.name for info in signature.results if info.kind == "output"]
        self._inputs = signature.sequences
        self._signature = signature
        self._streams = _native.Streams(model._engine, _size("capacity", capacity), self._outputs)
        self._widths = {info.name: info.shape[-1] for info in self._inputs if info.kind == "features"}
        self._pending: list[tuple[Any, ...]] = []

    def join(self, **once: Any) -> Stream:
        """Adds a stream. If there is no room, the next push makes twice as much.

        Args:
            once: what the stream is given once, by name, for a batch of one row: inputs without a time axis, initial
                states.
        """
        stream = self._streams.join()
        if once:
            try:
                self.set(stream, **once)
            except BaseException:
                self._streams.leave(stream)
                raise
        return stream

    def set(self, stream: Stream, **once: Any) -> None:
        """Sets what a stream is given once: inputs without a time axis, initial states."""
        self._streams.set(stream, self._signature.named(once))

    def leave(self, stream: Stream) -> None:
        """Ends a stream; its place is free for another."""
        self._streams.leave(stream)

    def reset(self, stream: Stream) -> None:
        """Begins a stream anew, as if it had just joined."""
        self._streams.reset(stream)

    def push(
        self,
        frames: Mapping[Stream, Any] | Sequence[Stream],
        values: Any | None = None,
        *,
        results: str = "wanted",
    ) -> Any:
        """Gives streams their next frames.

        Args:
            frames: the frames of each stream: ``[F]`` is one frame, ``[n, F]`` are n in the order of time; of a model
                of tokens it is one number, or ``[n]``. A frame of a model of several sequences is a `dict` by their
                names.
                Or a list of streams, with `values` beside it.
            values: ``[n, F]``, or ``[n]`` of tokens: a frame for each stream of the list `frames`, in its order.
            results: ``"wanted"``; ``"unwanted"`` if only the states go on, and nothing is read; ``"deferred"`` if
                `receive` takes them later, so that a GPU computes meanwhile.

        Returns:
            What the frames give, in the form in which they came: a `dict` by stream, or an array ``[n, F]``. Each is a
            `dict` by output if the model has several. `None` unless results are wanted.
        """
        if results not in _RESULTS:
            raise _arrays.wrong(f"results: expected one of {', '.join(_RESULTS)}, got {results!r}")
        if values is None:
            if not isinstance(frames, Mapping):
                raise _arrays.wrong("frames: expected a dict of frames by stream, or streams with values beside them")
            streams, parts, counts = self._gathered(frames)
        else:
            streams, counts = list(frames), None
            parts = self._parts(values, len(streams))
        form = (tuple(frames), counts) if counts is not None else None
        given = self._streams.push(streams, [(name, array) for name, array in parts.items()], results)
        if results == "deferred":
            self._pending.append((form,))
        return self._formed(form, given) if results == "wanted" else None

    def receive(self) -> Any:
        """Waits for the results of the oldest push that was deferred, and returns them as that push would have."""
        given = self._streams.receive()
        (form,) = self._pending.pop(0)
        return self._formed(form, given)

    def __len__(self) -> int:
        return self._streams.count()[0]

    @property
    def capacity(self) -> int:
        """How many streams there is room for."""
        return self._streams.count()[1]

    def __repr__(self) -> str:
        streams, capacity = self._streams.count()
        return f"<gatewave.Streams, {streams} streams, room for {capacity}>"

    def _gathered(self, frames: Mapping[Stream, Any]) -> tuple[list[Stream], dict[str, NDArray[Any]], list[int | None]]:
        """Lays the frames of all streams below each other; counts has how many each brings, `None` for one alone."""
        streams: list[Stream] = []
        counts: list[int | None] = []
        rows: dict[str, list[NDArray[Any]]] = {}
        for at, (stream, frame) in enumerate(frames.items()):
            count: int | None = 0
            for name, value in self._by_name(frame).items():
                array = self._array(name, value)
                axes = 1 if name in self._widths else 0
                own = None if array.ndim == axes else len(array) if array.ndim == axes + 1 else -1
                if own == -1 or (count not in (0, own) and count != own):
                    raise _arrays.wrong(
                        f"frame {at}: {name}: expected one frame or several below each other, got {list(array.shape)}"
                    )
                count = own
                rows.setdefault(name, []).append(array[np.newaxis] if own is None else array)
            counts.append(count)
            streams.extend([stream] * (1 if count is None else count))
        return streams, {name: self._joined(name, parts) for name, parts in rows.items()}, counts

    def _parts(self, values: Any, frames: int) -> dict[str, NDArray[Any]]:
        return {name: self._array(name, value) for name, value in self._by_name(values).items()}

    def _by_name(self, frame: Any) -> Mapping[str, Any]:
        if isinstance(frame, Mapping):
            return frame
        sequences = [info for info in self._inputs if "T" in info.axes]
        if len(sequences) != 1:
            known = ", ".join(info.name for info in sequences)
            raise _arrays.wrong(f"frames: expected a dict of parts by name ({known}), got one value alone")
        return {sequences[0].name: frame}

    def _array(self, name: str, value: Any) -> NDArray[Any]:
        kind = self._signature.kinds.get(name)
        return _arrays.of_kind(kind, name, value) if kind is not None else _arrays.either(name, value)

    def _joined(self, name: str, parts: list[NDArray[Any]]) -> NDArray[Any]:
        widths = {part.shape[1:] for part in parts}
        if len(widths) > 1:
            raise _arrays.wrong(
                f"{name}: expected frames of one width, got {sorted(width[0] for width in widths)} features"
            )
        return np.concatenate(parts)

    def _formed(self, form: tuple[Any, Any] | None, given: list[tuple[str, NDArray[Any]]]) -> Any:
        results = dict(given)
        if form is None:
            return next(iter(results.values())) if len(results) == 1 else results
        streams, counts = form
        out, first = {}, 0
        for stream, count in zip(streams, counts):
            end = first + (1 if count is None else count)
            own = {name: array[first] if count is None else array[first:end] for name, array in results.items()}
            out[stream] = next(iter(own.values())) if len(own) == 1 else own
            first = end
        return out


# The most rows that room is made for before any stream joins: it grows by itself.
_MOST = 1 << 24


def _size(name: str, value: int) -> int:
    if not 1 <= value <= _MOST:
        raise _arrays.wrong(f"{name}: expected 1 to {_MOST}, got {value}; it grows as streams join")
    return int(value)
