"""The notebook of audits: its cells run, all of them in the slow test."""

import importlib.util
import json
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "docs" / "audit.ipynb"
CELLS = ["".join(c["source"]) for c in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
HAS_CLIENT = all(importlib.util.find_spec(name) for name in ("nbclient", "nbformat", "ipykernel"))


def test_five_strangers_are_audited():
    assert sum("faceveil.audit(train(" in cell for cell in CELLS) == 5


def test_the_first_cells_and_one_audit_run(capsys):
    names: dict = {}
    small = {"PEOPLE, PHOTOS, SIZE = 80, 4, 48": "PEOPLE, PHOTOS, SIZE = 36, 4, 48", "epochs=25": "epochs=2"}
    wanted = [
        cell for cell in CELLS if any(part in cell for part in ("import faceveil", "PEOPLE, PHOTOS", "def train", "plain ="))
    ]
    assert len(wanted) == 4
    for cell in wanted:
        for old, new in small.items():
            cell = cell.replace(old, new)
        exec(compile(cell, NOTEBOOK.name, "exec"), names)
    assert "bn_distance" in names["plain_report"].not_applicable()
    assert "not run:" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(not HAS_CLIENT, reason="nbclient, nbformat and ipykernel are not installed")
def test_every_cell_runs_and_the_overfitted_network_leaks():
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, 4)
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    text = ["".join(output.get("text", "") for output in cell.outputs) for cell in notebook.cells if cell.cell_type == "code"]
    leaks = [t for t in text if "[leak] a leak" in t]
    assert any("ResNet" in c.source for c in notebook.cells)
    assert leaks
    assert sum("not run:" in t for t in text) == 5
