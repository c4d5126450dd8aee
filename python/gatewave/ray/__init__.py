"""gatewave on Ray: batch inference over datasets, data-parallel training, and a deployment of Ray Serve.

`pip install "gatewave[ray]"`. `docs/scale.md` says what holds and what does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .predict import Predictor, predict
from .train import Training, train

if TYPE_CHECKING:
    from .serve import Server, deployment

__all__ = ["Predictor", "Server", "Training", "deployment", "predict", "train"]


def __getattr__(name: str) -> Any:
    # Ray Serve is imported with its first use: it is an extra of Ray of its own.
    if name in ("Server", "deployment"):
        from . import serve

        return getattr(serve, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
