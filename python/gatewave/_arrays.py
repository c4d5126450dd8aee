"""What users pass → NumPy arrays of 32-bit floats or 64-bit integers, which the native module takes.

Arrays of NumPy, anything with `__array__` or DLPack (PyTorch's tensors, JAX's arrays), lists and numbers are taken.
They may be of any real type, not contiguous, or read-only.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _errors

_CPU = 1
_F32 = np.dtype(np.float32)
_I64 = np.dtype(np.int64)


def wrong(message: str) -> Exception:
    """Returns the `ValueError` of a value that does not fit."""
    return _errors.make("shape", message)


def whole(name: str, value: Any, least: int, most: int = 2**64 - 1) -> int:
    """Returns the setting `name`, a whole number from `least` to `most`."""
    bound = f"a whole number from {least} on" if most == 2**64 - 1 else f"a whole number from {least} to {most}"
    try:
        number = operator.index(value)
    except TypeError:
        raise wrong(f"{name}: expected {bound}, got {value!r}") from None
    if not least <= number <= most:
        raise wrong(f"{name}: expected {bound}, got {number}")
    return number


def plain(name: str, value: Any) -> NDArray[Any]:
    """Returns `value`, called `name` in errors, as an array of any type, without a copy where that can be."""
    if isinstance(value, np.ndarray):
        return value
    if hasattr(value, "detach"):
        # A tensor of PyTorch that requires a gradient gives nothing away; here it is data.
        value = value.detach()
    if hasattr(value, "__dlpack__") and hasattr(value, "__dlpack_device__"):
        device = value.__dlpack_device__()[0]
        if int(device) != _CPU:
            where = getattr(value, "device", f"device {device}")
            raise wrong(f"{name}: expected an array in the CPU's memory, got one on {where}; pass {name}.cpu()")
        try:
            return np.from_dlpack(value)
        except (BufferError, RuntimeError, TypeError, ValueError) as error:
            if not hasattr(value, "__array__"):
                kind = getattr(value, "dtype", type(value).__name__)
                raise wrong(f"{name}: expected numbers that NumPy knows, got {kind}: {error}") from error
    try:
        return np.asarray(value)
    except (TypeError, ValueError) as error:
        kind = getattr(value, "dtype", None)
        if kind is not None:
            raise wrong(f"{name}: expected numbers that NumPy knows, got {kind}: {error}") from error
        raise wrong(
            f"{name}: expected numbers in rows of one length, got {error}; "
            "pad the rows, and pass the length of each (lengths)"
        ) from error


def floats(name: str, value: Any) -> NDArray[np.float32]:
    """Returns `value` as 32-bit floats."""
    array = plain(name, value)
    if array.dtype == _F32 and array.flags.aligned:
        return array
    if array.dtype.kind not in "fiub":
        raise wrong(f"{name}: expected numbers, got {_dtype(array)}")
    return np.require(array, _F32, ["A"])


def integers(name: str, value: Any) -> NDArray[Any]:
    """Returns `value` as 64-bit integers. Floats that are whole numbers are taken too; others stay floats, which the
    library refuses with their place."""
    array = plain(name, value)
    if array.dtype == _I64 and array.flags.aligned:
        return array
    if array.dtype.kind in "iub":
        if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
            raise wrong(f"{name}: expected integers of 64 bits with a sign, got {array.max()}")
        return np.require(array, _I64, ["A"])
    if array.dtype.kind == "f":
        whole = np.require(array, requirements=["A"])
        if np.all(np.isfinite(whole)) and np.all(whole == np.trunc(whole)) and np.all(np.abs(whole) < 2**53):
            return whole.astype(_I64)
        return floats(name, whole)
    raise wrong(f"{name}: expected whole numbers, got {_dtype(array)}")


def either(name: str, value: Any) -> NDArray[Any]:
    """Returns `value` as integers if it is of integers, else as floats."""
    array = plain(name, value)
    return integers(name, array) if array.dtype.kind in "iub" else floats(name, array)


def of_kind(kind: str, name: str, value: Any) -> NDArray[Any]:
    """Returns `value` as an input of `kind` takes it."""
    return integers(name, value) if kind in ("tokens", "lengths") else floats(name, value)


def _dtype(array: NDArray[Any]) -> str:
    return f"an array of {array.dtype}"
