"""A public checkpoint on real faces: the figures that other software finds, too."""

from __future__ import annotations

import json
import zipfile
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


@pytest.fixture(scope="module")
def lfw_150(testdata, tmp_path_factory) -> Path:
    """The first 150 people of the file of LFW, by name: 679 photos, 2,704 pairs of one person."""
    out = tmp_path_factory.mktemp("lfw") / "lfw150.zip"
    with zipfile.ZipFile(present(testdata, "lfw_arcface112.zip")) as everyone, zipfile.ZipFile(out, "w") as some:
        photos = sorted(name for name in everyone.namelist() if name.endswith(".jpg"))
        people = sorted({name.split("/")[0] for name in photos})[:150]
        for name in photos:
            if name.split("/")[0] in people:
                some.writestr(name, everyone.read(name))
    return out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("weights", "order", "embedding", "auc", "tar"),
    [
        pytest.param("face_recognition_sface_2021dec_int8bq.onnx", [], 128, 0.9999, 0.992, id="sface"),
        # Published without a word on its channels; `faceveil import --check` finds them, too, in some minutes.
        pytest.param("faceplugin_fr_feature.onnx", ["--order", "BGR"], 512, 0.9997, 0.990, id="faceplugin"),
    ],
)
def test_published_onnx_files_reach_their_known_figures(testdata, lfw_150, tmp_path, weights, order, embedding, auc, tar):
    file = present(testdata / "models", weights)
    out = tmp_path / "entry"
    imported = CliRunner().invoke(app, ["import", str(file), "--out", str(out), *order, "--json"])
    assert imported.exit_code == 0, imported.stderr
    assert json.loads(imported.stdout)["embedding_size"] == embedding
    # Half a unit of the last digit for rounding, and as much for another processor's sums, which may carry two of the
    # LFW pairs across a threshold. Another scale of the pixels costs 0.015 of AUC.
    for data, people, known in ((present(testdata, LONDON), 102, (1.0, 1.0)), (lfw_150, 150, (auc, tar))):
        measured = CliRunner().invoke(app, ["utility", str(out), "--data", str(data), "--device", "cpu", "--json"])
        assert measured.exit_code == 0, measured.stderr
        figures = json.loads(measured.stdout)
        found = [figures["metrics"][name]["value"] for name in ("auc", "tar@far=1e-3")]
        print(f"{weights} on {data.name}: AUC {found[0]:.4f}, TAR@FAR=1e-3 {found[1]:.4f}")
        assert figures["people"] == people
        assert found[0] == pytest.approx(known[0], abs=1e-4)
        assert found[1] == pytest.approx(known[1], abs=1e-3)
