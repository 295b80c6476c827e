from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from pair_files import draw_pairs, write_pairs
from PIL import Image
from record_files import jpeg
from tiny_world import FLOW
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.data.pack import write_records
from benchmark.data.procedural.faces import SyntheticFaces
from benchmark.interfaces import Contrast
from benchmark.protocol.track import Budget, HeadSpec, Roles, ShadowBudget, Track, TrainingConfig
from benchmark.protocol.tracks import PAPER, TRACKS

MINI = Track(
    name="mini-webface",
    summary="The layout of a public set, in seconds.",
    source="folder",
    image_size=32,
    roles=Roles(pool=40, photos=4, verification=20, auxiliary=20, judges=8),
    population=2,
    backbone=FLOW.backbone,
    head=HeadSpec(name="arcface", scale=32.0, margin=0.2, sample=0.9),
    training=TrainingConfig(epochs=2, batch_size=16, lr=0.05),
    shadows=ShadowBudget(auxiliary=1),
    attacks=PAPER,
    budget=Budget(cpu_minutes=0.1),
    conclusive=False,
)
GENERATOR = (
    "resolution=16", "z_dim=8", "w_dim=8", "mapping_layers=1", "channel_base=64", "channel_max=8", "discriminator_base=64",
    "discriminator_max=8", "warmup_images=16", "images=32", "batch_size=8",
)  # fmt: skip


@pytest.fixture(scope="module")
def public_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """faces_webface_112x112 in small: train.rec, train.idx, property and three lists of pairs of other people."""
    folder = tmp_path_factory.mktemp("sets") / "faces_mini"
    pairs = np.stack([np.repeat(np.arange(130), 4), np.tile(np.arange(4), 130)], axis=1)
    faces = SyntheticFaces(pairs, 32, 7)
    encoded = []
    for image in faces.load(np.arange(len(faces))).permute(0, 2, 3, 1).numpy():
        out = io.BytesIO()
        Image.fromarray(image).save(out, "JPEG", quality=95)
        encoded.append(out.getvalue())
    write_records(folder, ((encoded[4 * p + i], p) for p in range(100) for i in range(4)), size=(32, 32))
    for seed, name in enumerate(("lfw", "cfp_fp", "agedb_30")):
        rows, answers = draw_pairs(pairs[400:, 0], 20, seed)
        write_pairs(folder / f"{name}.bin", [encoded[400 + row] for row in rows.reshape(-1)], answers)
    return folder


@pytest.mark.slow
def test_the_paper_runs_end_to_end_on_the_layout_of_a_public_set(
    public_set: Path, tmp_path: Path, fresh_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TRACKS, MINI.name, MINI)
    command = ["paper", "--track", MINI.name, "--data", str(public_set), "--out", str(tmp_path / "out"), "--device", "cpu"]
    command += ["--backbone", "iresnet_slim", "--backbone", "mobilefacenet", "--workers", "1", "--reconstructions", "4"]
    command += ["--generator", "train", *(part for setting in GENERATOR for part in ("--generator-set", setting))]
    found = CliRunner().invoke(app, [*command, "--json"])
    assert found.exit_code == 0, found.output[-3000:]
    runs = json.loads(found.stdout)["runs"]
    assert [run["backbone"] for run in runs] == ["iresnet_slim", "mobilefacenet"]
    for run in runs:
        membership = {attack["knowledge"]: attack for attack in run["record"]["membership"]}
        assert set(membership) == {"partial", "auxiliary"}
        for attack in membership.values():
            assert attack["status"] == "ok", attack["reason"]
            assert attack["contrasts"].keys() == {contrast.value for contrast in Contrast}
        assert [entry["file"] for entry in run["lists"]] == ["agedb_30", "cfp_fp", "lfw"]
        assert all(0 <= entry["metrics"]["accuracy_10_fold"]["value"] <= 1 for entry in run["lists"])
        inversion = {result["spec"]["name"]: result for result in run["inversion"]["results"]}
        assert inversion["bn_guided"]["status"] == "ok", inversion["bn_guided"]["reason"]
        assert inversion["bn_guided"]["images"] == 4
        assert "490,000 photos x 2 epochs / " in run["projected_hours"]["CASIA-WebFace"]
    assert (tmp_path / "out" / "mobilefacenet.json").exists()
    shown = CliRunner().invoke(app, command)  # what is there is used again
    assert shown.exit_code == 0, shown.output[-3000:]
    assert "linear attack on the distances" in shown.output


def test_a_set_too_small_for_shadows_is_refused_before_anything_is_trained(
    tmp_path: Path, fresh_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = MINI.model_copy(update={"roles": Roles(pool=16, photos=4, verification=4, auxiliary=8, judges=2)})
    monkeypatch.setitem(TRACKS, MINI.name, few)
    drawn = ((jpeg(4 * person + photo, 32), person) for person in range(40) for photo in range(4))
    write_records(tmp_path / "set", drawn, size=(32, 32))
    found = CliRunner().invoke(
        app, ["paper", "--track", MINI.name, "--data", str(tmp_path / "set"), "--out", str(tmp_path / "out"), "--device", "cpu"]
    )
    assert "too few for a shadow backbone" in str(found.exception or found.output)
    assert not (tmp_path / "out").exists()


def test_a_track_that_draws_its_faces_is_refused(tmp_path: Path) -> None:
    found = CliRunner().invoke(
        app, ["paper", "--track", "synthetic-quick", "--data", str(tmp_path), "--out", str(tmp_path / "o")]
    )
    assert "draws its own faces" in str(found.exception or found.output)


def test_the_tracks_of_public_sets() -> None:
    for name, people in (("webface-112", 10_575), ("ms1m-112", 85_742)):
        track = TRACKS[name]
        roles = track.roles
        assert roles.pool + roles.verification + roles.auxiliary + roles.judges <= people
        assert track.source == "folder"
        assert "projected, not measured" in track.budget.note
