"""`gatewave.ray`: each case is a program of its own, in a network of its own where that is allowed.

Ray takes the machine's outside address, and finds clusters that others have started. A network with nothing but the
loopback, and a folder of its own, keep both out.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytest.importorskip("ray")

from ray_cases import CASES  # noqa: E402

_SECONDS = 300


def _alone():
    """Returns the beginning of a command that has a network of its own, or nothing if that is not allowed."""
    command = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    allowed = shutil.which("unshare") and shutil.which("ip")
    return command if allowed and subprocess.run([*command, "true"], capture_output=True).returncode == 0 else []


@pytest.mark.parametrize("name", list(CASES))
def test_a_case_on_ray(name):
    # Sockets are in this folder, and their paths have to be short.
    folder = tempfile.mkdtemp(prefix="r", dir="/tmp")
    environment = {**os.environ, "RAY_TMPDIR": folder, "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled",
                   "RAY_DEDUP_LOGS": "0"}
    program = [*_alone(), sys.executable, str(Path(__file__).with_name("ray_cases.py")), name]
    try:
        run = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=_SECONDS)
        assert run.returncode == 0 and run.stdout.rstrip().endswith("passed"), f"{run.stdout}\n{run.stderr[-6000:]}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
