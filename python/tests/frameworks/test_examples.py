"""The notebooks of `python/examples`: valid, without results, and every cell runs."""

import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted(Path(__file__).resolve().parents[2].joinpath("examples").glob("*.ipynb"))


def test_there_are_notebooks():
    assert len(NOTEBOOKS) >= 3


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, monkeypatch, tmp_path):
    if path.stem in ("pytorch", "keras"):
        pytest.importorskip({"pytorch": "torch"}.get(path.stem, path.stem))
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "notebook"}
    for cell in notebook["cells"]:
        assert cell["cell_type"] in ("code", "markdown") and "source" in cell
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None, "a notebook is kept without results"
            exec(compile("".join(cell["source"]), f"{path.stem} {cell['id']}", "exec"), names)
