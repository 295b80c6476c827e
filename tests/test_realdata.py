"""A public checkpoint on real faces: the figures that other software finds, too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.evaluation.recognition import recognise
from benchmark.submissions.checkpoint_import import import_submission

pytestmark = pytest.mark.realdata
CHECKPOINT = "mobilefacenet_casia.ckpt"
LONDON = "london_arcface112.tar"


def present(folder: Path, name: str) -> Path:
    if not (folder / name).is_file():
        pytest.skip(f"no {name} among the test data")
    return folder / name


@pytest.fixture(scope="module")
def public(testdata, tmp_path_factory):
    out = tmp_path_factory.mktemp("public") / "mobilefacenet"
    submission, notes = import_submission(present(testdata, CHECKPOINT), out, name="public", track="faces-112")
    assert notes
    return submission


@pytest.mark.parametrize(
    ("name", "people", "photos", "auc", "tar"),
    [
        (LONDON, 102, 204, 1.0000, 1.000),
        ("orl_arcface112.zip", 40, 400, 0.9997, 0.979),
        pytest.param("lfw_arcface112.zip", 1680, 7381, 0.9980, 0.935, marks=pytest.mark.slow),
    ],
)
def test_the_public_checkpoint_reaches_its_known_figures(public, testdata, name, people, photos, auc, tar):
    report = recognise(public, present(testdata, name), seed=0, device="cpu", step=lambda _text: None)
    print(f"{name}: AUC {report.metrics['auc'].value:.4f}, TAR@FAR=1e-3 {report.metrics['tar@far=1e-3'].value:.4f}")
    assert (report.people, report.photos, report.skipped) == (people, photos, ())
    assert report.metrics["auc"].value == pytest.approx(auc, abs=0.001)
    assert report.metrics["tar@far=1e-3"].value == pytest.approx(tar, abs=0.001)


def test_import_and_utility_from_the_command_line(testdata, tmp_path):
    out = tmp_path / "entry"
    imported = CliRunner().invoke(app, ["import", str(present(testdata, CHECKPOINT)), "--out", str(out), "--json"])
    assert imported.exit_code == 0, imported.stderr
    report = json.loads(imported.stdout)
    assert report["backbone"] == "mobilefacenet"
    assert report["notes"]
    arguments = ["utility", str(out), "--data", str(present(testdata, LONDON)), "--device", "cpu", "--json"]
    measured = CliRunner().invoke(app, arguments)
    assert measured.exit_code == 0, measured.stderr
    figures = json.loads(measured.stdout)
    assert (figures["people"], figures["photos"]) == (102, 204)
    assert figures["metrics"]["auc"]["value"] == pytest.approx(1.0, abs=0.001)
    assert figures["metrics"]["tar@far=1e-3"]["value"] == pytest.approx(1.0, abs=0.001)
    assert "embedding 204 photos" in measured.stderr
