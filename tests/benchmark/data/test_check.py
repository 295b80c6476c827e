from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pair_files import write_pairs
from record_files import jpeg, record_set
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.data.check import check_set
from benchmark.data.readers import recordio
from benchmark.protocol.tracks import TRACKS


@pytest.fixture
def public_set(tmp_path: Path) -> Path:
    """The layout of public sets: train.rec, train.idx, property and lists of pairs, one of them damaged."""
    folder = record_set(tmp_path / "faces", people=60, photos=5).parent
    write_pairs(folder / "lfw.bin", [jpeg(7000 + i) for i in range(40)], np.arange(20) % 2 == 0)
    cut = [jpeg(8000 + i) for i in range(4)]
    write_pairs(folder / "agedb_30.bin", [cut[0][:60], *cut[1:]], np.array([True, False]))
    (folder / "cfp_fp.bin").write_bytes(b"not a list")
    return folder


@pytest.mark.parametrize("scanned", [20_000, 10])
def test_what_a_public_set_holds(public_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scanned: int) -> None:
    monkeypatch.setattr(recordio, "SCAN_UP_TO", scanned)
    found = check_set(public_set, tracks=list(TRACKS.values()), cache=tmp_path / "cache")
    assert found.kind == "RecordIO, with the records of InsightFace's own index"
    assert found.report is not None
    assert (found.report.people, found.report.photos) == (60, 300)
    assert found.report.sizes == {(16, 16): 300}
    assert found.photos_per_person == (5, 5.0, 5)
    assert found.stated == "60 people, 16x16 pixels"
    lists = {pairs.file: pairs for pairs in found.pairs}
    assert (lists["lfw.bin"].pairs, lists["lfw.bin"].same, lists["lfw.bin"].problem) == (20, 10, "")
    assert lists["agedb_30.bin"].problem == "1 of 2 pairs have a photo that cannot be used"
    assert "is not a file of pairs" in lists["cfp_fp.bin"].problem
    fits = {fit.track: fit for fit in found.tracks}
    assert all(TRACKS[name].source == "folder" for name in fits)
    assert fits["faces-112"].people
    assert not fits["faces-112"].complete


def test_a_property_file_that_differs_is_a_warning(public_set: Path) -> None:
    (public_set / "property").write_text("85742,112,112")
    found = check_set(public_set)
    assert found.report is not None
    text = " ".join(found.report.warnings)
    assert "states 85742 people, and 60 are there" in text
    assert "states 112x112 pixels, and no photo has them" in text


def test_the_command(public_set: Path, fresh_home: Path) -> None:
    runner = CliRunner()
    found = runner.invoke(app, ["data", "check", str(public_set), "--json"])
    assert found.exit_code == 1, "a list of pairs is unreadable"
    document = json.loads(found.stdout)
    assert document["people"] == 60
    assert document["sizes"] == {"16x16": 300}
    (public_set / "cfp_fp.bin").unlink()
    shown = runner.invoke(app, ["data", "check", str(public_set)])
    assert shown.exit_code == 0, shown.output
    for text in ("60 people, 300 photos", "property: 60 people", "lfw.bin", "faces-112"):
        assert text in shown.output
    alone = runner.invoke(app, ["data", "check", str(public_set / "lfw.bin"), "--json"])
    assert json.loads(alone.stdout)["pairs"][0]["pairs"] == 20
