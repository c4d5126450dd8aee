"""What the library logs, as records of Python's `logging`: loggers are `gatewave`, `gatewave.engine` and so on."""

from __future__ import annotations

import logging

_LEVELS = {
    "ERROR": logging.ERROR,
    "WARN": logging.WARNING,
    "INFO": logging.INFO,
    "DEBUG": logging.DEBUG,
    "TRACE": logging.DEBUG,
}


def emit(level: str, logger: str, text: str) -> None:
    """Passes a record on. Those of other libraries, such as the GPU's interface, are under `gatewave` too."""
    name = logger if logger.split(".")[0] == "gatewave" else f"gatewave.{logger}"
    logging.getLogger(name).log(_LEVELS.get(level, logging.INFO), "%s", text)
