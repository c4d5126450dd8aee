"""Where gatewave can compute, and with how many threads."""

from __future__ import annotations

from dataclasses import dataclass

from . import _errors, _native


@dataclass(frozen=True)
class DeviceInfo:
    """A device that `load` can take.

    Attributes:
        name: what to pass as `device`: ``"cpu"``, or the name of a GPU, of which a part is enough.
        backend: the interface that reaches it: ``"Vulkan"``, ``"Metal"``, ``"DX12"``, or ``"CPU"``.
        kind: ``"cpu"``, ``"discrete"``, ``"integrated"`` and so on. A software adapter computes only if it is named.
        detail: what it is, in words.
    """

    name: str
    backend: str
    kind: str
    detail: str

    def __str__(self) -> str:
        return self.detail


def devices() -> list[DeviceInfo]:
    """Lists the devices: the CPU, then each GPU that is found."""
    count = _native.threads()
    cpu = DeviceInfo("cpu", "CPU", "cpu", f"CPU: {count} thread{'' if count == 1 else 's'}")
    return [cpu, *(DeviceInfo(*found) for found in _native.devices())]


def threads() -> int:
    """Returns how many threads the CPU computes with."""
    return _native.threads()


def set_threads(count: int) -> None:
    """Sets how many threads the CPU computes with, before anything computes. So does ``RAYON_NUM_THREADS``.

    Raises:
        Error: something has computed already.
    """
    if count < 1:
        raise _errors.make("shape", f"threads: expected 1 or more, got {count}")
    if not _native.set_threads(count):
        text = "threads: expected this before anything computes, got it later; call it first, or set RAYON_NUM_THREADS"
        raise _errors.make("busy", text)
