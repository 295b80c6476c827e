"""Cached files that are cut or changed are made again, each with a line in the log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from submission_factory import make_submission

from benchmark.data.procedural.faces import SyntheticFaces
from benchmark.evaluation import findings
from benchmark.evaluation.membership.pooling import Scores, load_scores, save_scores
from benchmark.evaluation.membership.tasks import RunAttack
from benchmark.interfaces import AttackSpec, Contrast, FaceVeilError
from benchmark.records.results import CanaryAudit, Gate
from benchmark.runtime import checked
from benchmark.runtime.step_cache import Pieces
from benchmark.signals.cache import SignalFiles
from benchmark.submissions.cached import keep, kept


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flipped(data: bytes) -> bytes:
    middle = len(data) * 3 // 4
    return data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :]


each_damage = pytest.mark.parametrize("damage", [cut, flipped, lambda _data: b""], ids=["cut", "flipped", "emptied"])
Damage = Callable[[bytes], bytes]


def spoil(path: Path, damage: Damage) -> None:
    path.write_bytes(damage(path.read_bytes()))
    checked._tested.clear()  # as another process finds it


@each_damage
def test_a_file_is_intact_until_it_is_changed(tmp_path: Path, damage: Damage, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "x.bin"
    assert not checked.intact(path)
    with checked.writing(path) as temporary:
        temporary.write_bytes(b"content " * 20)
    assert checked.intact(path)
    spoil(path, damage)
    with caplog.at_level(logging.WARNING):
        assert not checked.intact(path)
    assert "x.bin is damaged" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_an_older_version_is_taken(tmp_path: Path) -> None:
    (tmp_path / "old.bin").write_bytes(b"x")
    assert checked.intact(tmp_path / "old.bin")


def test_a_change_is_seen_within_a_process(tmp_path: Path) -> None:
    with checked.writing(tmp_path / "x") as temporary:
        temporary.write_bytes(b"1234")
    assert checked.intact(tmp_path / "x")
    (tmp_path / "x").write_bytes(b"12345")
    assert not checked.intact(tmp_path / "x")


@each_damage
def test_a_piece_is_computed_again(tmp_path: Path, damage: Damage) -> None:
    pieces, calls = Pieces(tmp_path), []

    def compute() -> dict[str, float]:
        calls.append(1)
        return {"value": 0.1 + 0.2, "x": 12345.678}

    first = pieces.get("a", compute)
    spoil(tmp_path / "a.json", damage)
    assert pieces.seconds() == 0
    assert pieces.get("a", compute) == first
    assert len(calls) == 2
    assert pieces.has("a")


@each_damage
def test_signals_are_measured_again(tmp_path: Path, damage: Damage) -> None:
    """One changed byte silently changed the record."""
    files = SignalFiles(tmp_path, {"k": "name"})
    with files.writing(4) as write:
        write("k", 0, np.arange(12, dtype=np.float32).reshape(4, 3))
    assert files.has("k")
    assert files.read("k").shape == (4, 3)
    spoil(tmp_path / "name.npy", damage)
    assert not files.has("k")


@each_damage
def test_photos_are_drawn_again(tmp_path: Path, damage: Damage) -> None:
    pairs = np.array([(person, photo) for person in range(3) for photo in range(2)])
    first = SyntheticFaces(pairs, 32, 0, tmp_path).load(range(6)).numpy().copy()
    (path,) = tmp_path.glob("*.npy")
    spoil(path, damage)
    assert (SyntheticFaces(pairs, 32, 0, tmp_path).load(range(6)).numpy() == first).all()


@pytest.mark.parametrize("name", ["card.json", "model.safetensors"])
@each_damage
def test_a_backbone_of_ours_is_made_again_and_nobody_is_blamed(
    tmp_path: Path, name: str, damage: Damage, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "base"
    made = keep(make_submission(path))
    found = kept(path)
    assert found is not None
    assert found.submission_id == made.submission_id
    spoil(path / name, damage)
    with caplog.at_level(logging.WARNING):
        assert kept(path) is None
    assert "cached backbone" in caplog.text
    assert not path.exists()


@each_damage
def test_scores_of_an_attack_are_computed_again_with_their_result(
    tmp_path: Path, damage: Damage, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = {Contrast.SAMPLE: Scores(*(np.arange(6.0) for _ in range(len(Scores.__dataclass_fields__))))}
    calls = []

    def result(self: RunAttack) -> dict[str, Any]:
        calls.append(1)
        save_scores(self.scores, scores)
        return {"label": "x"}

    monkeypatch.setattr(RunAttack, "_result", result)
    gate = SimpleNamespace(verdict=lambda: Gate(valid=True, probes=()))
    task = RunAttack(SimpleNamespace(work=tmp_path), AttackSpec(name="bn_distance"), False, gate)  # type: ignore[arg-type]
    task()
    task()
    assert len(calls) == 1
    spoil(task.scores, damage)
    assert not task.finished()
    task()
    assert len(calls) == 2
    assert task.finished()
    assert (load_scores(task.scores)[Contrast.SAMPLE].score == np.arange(6.0)).all()


@each_damage
def test_what_only_the_user_can_make_again_is_named(tmp_path: Path, damage: Damage) -> None:
    """A finding that is lost in silence would be missing from the next record."""
    checked.write_sealed(tmp_path / "note.json", '{"audit": null, "attribution": null}')
    assert checked.read_sealed(tmp_path / "note.json", "do it again") == '{"audit": null, "attribution": null}'
    assert checked.read_sealed(tmp_path / "none.json", "do it again") is None
    spoil(tmp_path / "note.json", damage)
    with pytest.raises(FaceVeilError, match=r"note.json was damaged after it had been written: delete it, and do it again"):
        checked.read_sealed(tmp_path / "note.json", "do it again")
    findings.save(tmp_path, "x", "t", CanaryAudit.model_construct())
    (path,) = (tmp_path / "findings").glob("*.json")
    spoil(path, damage)
    with pytest.raises(FaceVeilError, match="run the audit or the attribution again"):
        findings.load(tmp_path, "x", "t")
