"""``faceveil panel | invert | bench inversion``."""

from __future__ import annotations

import json

import pytest
from record_factory import make_record
from tiny_world import FLOW
from typer.testing import CliRunner

from attacks.generators.files import save_generator
from attacks.generators.stylegan2 import Generator
from benchmark.cli.app import app
from benchmark.interfaces import FaceVeilError
from benchmark.protocol.tracks import TRACKS
from benchmark.records.beside import InversionFile, place
from benchmark.records.results import InversionRecord
from benchmark.runtime.seeding import seeded
from benchmark.service.store import Store
from leaderboard.board.galleries import pictures


@pytest.fixture(autouse=True)
def track(monkeypatch):
    monkeypatch.setitem(TRACKS, FLOW.name, FLOW)


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    with seeded(0):
        made = Generator(32, z_dim=8, w_dim=8, mapping_layers=2, channel_base=64, channel_max=8)
    path = tmp_path_factory.mktemp("generator") / "small.safetensors"
    save_generator(made, path)
    return path


def invoke(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def document(*arguments):
    result = invoke(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_judges_are_made_and_shown(fresh_home):
    judges = document("panel", "--track", FLOW.name, "--device", "cpu")
    assert [j["name"] for j in judges] == ["iresnet_slim", "mobilefacenet"]
    assert all(j["trained_on"] == "the track's judges" for j in judges)
    text = invoke("panel", "--track", FLOW.name, "--device", "cpu").stdout
    assert "TAR@FAR=1e-2" in text


def test_from_a_submission_to_the_verdict(flow, fresh_home, generator, tmp_path):
    out = tmp_path / "inversion.json"
    arguments = (
        "invert", flow.submission.path, "--track", FLOW.name, "--generator", generator, "--targets", 2, "--reconstructions", 3,
        "--attacks", "random_latents,nearest_public:photos=20,template:steps=2:pool=8:validation=false", "--out", out,
        "--device", "cpu",
    )  # fmt: skip
    found = document(*arguments)
    assert json.loads(out.read_text()) == found
    read = InversionRecord.model_validate(found)
    assert read.generator == "small.safetensors, 32 px"
    assert {r.status for r in read.results} == {"ok"}
    assert "2 of 100 templates were tried" in read.unranked
    shown = invoke(*arguments).stdout
    assert "random_latents (control)" in shown
    assert "unranked:" in shown


def test_pictures_of_a_track_that_shows_none_are_refused_first(flow, fresh_home, tmp_path):
    result = invoke("invert", flow.submission.path, "--track", FLOW.name, "--gallery", tmp_path / "pictures")
    assert isinstance(result.exception, FaceVeilError)
    assert "never shown" in str(result.exception)
    assert not list(fresh_home.rglob("*.npz"))


def test_the_record_in_the_store_takes_the_result_and_the_board_its_pictures(flow, fresh_home, generator, monkeypatch):
    monkeypatch.setitem(TRACKS, FLOW.name, FLOW.model_copy(update={"shows_faces": True}))
    arguments = (
        "invert", flow.submission.path, "--track", FLOW.name, "--generator", generator, "--targets", 2, "--attacks",
        "template:steps=1:pool=4:latents=1,nearest_public:photos=4", "--keep", "--device", "cpu",
        "--beside", fresh_home / "records",
    )  # fmt: skip
    assert "Evaluate it, or import its record" in str(invoke(*arguments).exception)
    assert not list(fresh_home.rglob("*.npz")), "told before anything is computed"
    identity = flow.submission.submission_id
    made = make_record(track=FLOW.name)
    record = made.model_copy(update={"provenance": made.provenance.model_copy(update={"submission_id": identity})})
    Store().add_record(record)
    found = document(*arguments)
    stored = Store().record(identity, FLOW.name)
    assert stored.inversion == InversionRecord.model_validate(found)
    assert {"template", "nearest_public"} <= set(stored.attacks)
    assert stored.membership == record.membership
    assert [path.name for path in pictures(stored)] == ["template-template.png"]
    beside = InversionFile.model_validate_json(place(fresh_home / "records", identity).read_bytes())
    assert (beside.submission_id, beside.track, beside.inversion) == (identity, FLOW.name, stored.inversion)
    assert set(beside.attacks) == {"template", "nearest_public"}
    assert (fresh_home / "records" / "galleries" / identity[:16] / "template-template.png").is_file()


def test_the_record_of_other_weights_is_refused(flow, fresh_home, tmp_path):
    path = tmp_path / "record.json"
    path.write_text(make_record().model_dump_json())
    result = invoke("invert", flow.submission.path, "--track", FLOW.name, "--record", path)
    assert "another submission" in str(result.exception)


def test_bench_sets_every_step_beside_the_plain_loop(flow, fresh_home, generator):
    found = document(
        "bench", "inversion", flow.submission.path, "--track", FLOW.name, "--generator", generator, "--images", 2,
        "--iterations", 2, "--batch", 2, "--device", "cpu",
    )  # fmt: skip
    assert found["rows"][0]["name"].startswith("plain")
    assert found["device"] == "cpu"
    assert all(row["rate"] for row in found["rows"][:4])
