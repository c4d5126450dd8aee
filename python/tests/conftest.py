"""What the tests share."""

from __future__ import annotations

import os

import numpy as np
import pytest
from core_support import SHAKESPEARE, small

import gatewave as gw

# What compares with the command line needs its binary: scripts/python.sh passes it on.
collect_ignore = [] if os.environ.get("GATEWAVE_BINARY") else ["test_core_command_line.py"]


@pytest.fixture
def model() -> gw.Model:
    return small()


@pytest.fixture(scope="session")
def shakespeare() -> gw.Model:
    return gw.load(SHAKESPEARE / "shakespeare.safetensors", SHAKESPEARE / "model.json", device="cpu")


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(4, 7, 3)).astype(np.float32)
