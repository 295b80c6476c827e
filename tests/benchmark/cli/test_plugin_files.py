"""Defences and attacks of one's own, from files outside the project."""

from __future__ import annotations

import hashlib
import json
from contextlib import closing

import pytest
from tiny_world import FLOW
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.interfaces import FaceVeilError
from benchmark.protocol import registry
from benchmark.protocol.tracks import TRACKS
from benchmark.service.store import Store

TRACK = f"{FLOW.name}[shadows=0]"
FILE = '''
from typing import ClassVar

import numpy as np
import torch

from benchmark.interfaces import (
    Access, AttackSpec, Contrast, Defense, MembershipAttack, Reference,
)
from benchmark.signals.answers import Embedding


class MyNoise(Defense):
    """Noise on every weight."""

    name: ClassVar[str] = "my_noise"
    summary: ClassVar[str] = "Noise on every weight."
    reference: ClassVar[Reference] = Reference(title="mine")
    family: ClassVar[str] = "training"
    post_hoc: ClassVar[bool] = True

    sigma: float = SIGMA

    def release(self, backbone, context):
        generator = torch.Generator().manual_seed(context.seed)
        with torch.no_grad():
            for p in backbone.parameters():
                p += self.sigma * torch.randn(p.shape, generator=generator)
        return backbone

    def adaptive_attacks(self):
        return (AttackSpec(name="my_attack"),)


class MyAttack(MembershipAttack):
    """The first dimension."""

    name: ClassVar[str] = "my_attack"
    summary: ClassVar[str] = "The first dimension."
    reference: ClassVar[Reference] = Reference(title="mine")
    access: ClassVar[Access] = Access.EMBEDDING
    contrasts: ClassVar[tuple[Contrast, ...]] = (Contrast.SAMPLE,)

    def requests(self):
        return (Embedding(),)

    def score(self, signals):
        return np.asarray(signals[self.requests()[0]])[:, 0]
'''


@pytest.fixture
def plugin(tmp_path, monkeypatch, fresh_home, plugin_table):
    monkeypatch.setitem(TRACKS, FLOW.name, FLOW)
    path = tmp_path / "mine.py"
    path.write_text(FILE.replace("SIGMA", "0.01"))
    return path


def document(*arguments):
    result = CliRunner().invoke(app, [*map(str, arguments), "--json", "--device", "cpu"])
    if isinstance(result.exception, Exception):
        raise result.exception
    return json.loads(result.stdout)


def test_a_defence_from_a_file_composes_and_is_recorded_by_its_hash(plugin, tmp_path):
    digest = hashlib.sha256(plugin.read_bytes()).hexdigest()
    entry = tmp_path / "entry"
    made = document(
        "--plugin", plugin, "train", "--track", TRACK, "--out", entry, "--defense", "early_stopping+my_noise",
        "--set", "my_noise.sigma=0.02",
    )  # fmt: skip
    card = json.loads((entry / "card.json").read_text())
    assert card["plugin_files"] == {"my_noise": digest}
    assert [d["name"] for d in card["defenses"]] == ["early_stopping", "my_noise"]
    assert card["defenses"][1]["settings"] == {"sigma": 0.02}

    record = document("--plugin", plugin, "evaluate", entry, "--track", TRACK)
    assert record["provenance"]["submission_id"] == made["submission_id"]
    assert record["board"] == "verified"
    assert record["defenses"]["my_noise"]["file_sha256"] == digest
    assert record["attacks"]["my_attack"]["file_sha256"] == digest
    assert record["defenses"]["early_stopping"]["file_sha256"] == ""
    adaptive = {a["spec"]["name"]: a["adaptive"] for a in record["membership"]}
    assert adaptive["my_attack"]
    assert not any("adaptively" in reason for reason in record["unranked"])

    # Another file of that name is another defence: refused before any work, and nothing that is stored changes.
    registry._table.cache_clear()
    registry._from_files.clear()
    plugin.write_text(FILE.replace("SIGMA", "0.5"))
    with closing(Store()) as store:
        before = store.fingerprints()
        result = CliRunner().invoke(app, ["--plugin", str(plugin), "evaluate", str(entry), "--track", TRACK])
        assert isinstance(result.exception, FaceVeilError)
        assert "my_noise" in str(result.exception)
        assert store.fingerprints() == before
