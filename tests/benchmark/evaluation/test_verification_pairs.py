from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from pair_files import draw_pairs, write_pairs
from PIL import Image
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.data.readers.folder import open_folder
from benchmark.evaluation.verification_pairs import recognise_pairs
from benchmark.interfaces import Access, FaceVeilError
from benchmark.metrics.verification import verify_pairs
from benchmark.signals.target import Target
from benchmark.submissions.checkpoint_import import open_weights


@pytest.fixture(scope="module")
def pairs(flow, tmp_path_factory):
    """40 people of the flow track's verification photos: the list, the photos, the answers."""
    photos = flow.populations.verification
    rows, answers = draw_pairs(np.asarray(photos.identity), 40)
    encoded = []
    for image in photos.load(rows.reshape(-1)).permute(0, 2, 3, 1).numpy():
        out = io.BytesIO()
        Image.fromarray(image).save(out, "PNG")
        encoded.append(out.getvalue())
    return write_pairs(tmp_path_factory.mktemp("pairs") / "lfw.bin", encoded, answers), rows, answers


def quiet(_text: str) -> None: ...


def test_figures_are_those_of_the_pairs_themselves(flow, pairs, fresh_home) -> None:
    file, rows, answers = pairs
    (report,) = recognise_pairs(flow.submission, [file], seed=0, device="cpu", step=quiet)
    assert (report.file, report.pairs, report.same) == ("lfw", 80, 40)
    embeddings = Target(flow.submission, Access.EMBEDDING).embed(flow.populations.verification.load(rows.reshape(-1))).numpy()
    direct = verify_pairs(embeddings[::2], embeddings[1::2], answers, np.arange(80) // 8)
    assert report.metrics["accuracy_10_fold"].value == direct.accuracy.value
    assert report.metrics["accuracy_10_fold"].n == 10
    assert report.metrics["auc"].value == direct.auc.value
    assert report.metrics["tar@far=1e-3"].value is None
    assert "40 different-person pairs, 10000 needed" in report.metrics["tar@far=1e-3"].note


def test_mirrored_photos_change_the_embedding(flow, pairs, fresh_home) -> None:
    file, _, _ = pairs
    plain, mirrored = (recognise_pairs(flow.submission, [file], flip=f, seed=0, device="cpu", step=quiet)[0] for f in (0, 1))
    assert plain.metrics["d_prime"].value != mirrored.metrics["d_prime"].value


def test_a_damaged_photo_costs_its_pair_and_moves_no_fold(flow, pairs, tmp_path, fresh_home) -> None:
    file, _, answers = pairs
    from benchmark.data.readers.pairs import _parts

    photos = _parts(file)[0]
    photos[3] = photos[3][:50]
    damaged = write_pairs(tmp_path / "damaged.bin", photos, answers)
    (report,) = recognise_pairs(flow.submission, [damaged], seed=0, device="cpu", step=quiet)
    assert report.pairs == 79
    assert [name for name, _ in report.skipped] == ["000001/1"]


def test_a_list_too_short_for_folds_is_refused(flow, pairs, tmp_path, fresh_home) -> None:
    from benchmark.data.readers.pairs import _parts

    short = write_pairs(tmp_path / "short.bin", _parts(pairs[0])[0][:20], np.arange(10) % 2 == 0)
    with pytest.raises(FaceVeilError, match="10 usable pairs are too few for 10 folds"):
        recognise_pairs(flow.submission, [short], seed=0, device="cpu", step=quiet)


def test_the_command(flow, pairs, fresh_home) -> None:
    runner = CliRunner()
    arguments = ["utility", str(flow.submission.path), "--pairs", str(pairs[0]), "--device", "cpu"]
    found = runner.invoke(app, [*arguments, "--pairs", str(pairs[0]), "--json"])
    assert found.exit_code == 0, found.output
    first, second = json.loads(found.stdout)["lists"]
    assert first == second
    assert first["metrics"]["accuracy_10_fold"]["low"] <= first["metrics"]["accuracy_10_fold"]["value"]
    shown = runner.invoke(app, arguments)
    assert "lfw: 80 pairs, 40 of one person" in shown.output
    assert runner.invoke(app, arguments[:2]).exit_code == 2
    assert runner.invoke(app, [*arguments, "--data", str(pairs[0])]).exit_code == 2


def test_the_public_checkpoint_has_the_same_figures_through_a_list_as_through_the_folder(testdata: Path, tmp_path, fresh_home):
    submission = open_weights(testdata / "mobilefacenet_casia.ckpt")
    photos = open_folder(testdata / "lfw_arcface112.zip")
    rows, answers = draw_pairs(photos.identity, 50)
    encoded = [photos.source.read(int(photos.rows[row])) for row in rows.reshape(-1)]
    file = write_pairs(tmp_path / "lfw.bin", encoded, answers)
    (report,) = recognise_pairs(submission, [file], seed=0, device="cpu", step=quiet)
    target = Target(submission, Access.EMBEDDING)
    shown, position = np.unique(rows, return_inverse=True)
    first, second = target.embed(photos.load(shown)).numpy()[position.reshape(-1, 2)].swapaxes(0, 1)
    folder = verify_pairs(first, second, answers, np.arange(100) // 10)
    assert report.metrics["accuracy_10_fold"].value == pytest.approx(folder.accuracy.value, abs=1e-9)
    assert report.metrics["auc"].value == pytest.approx(folder.auc.value, abs=1e-6)
    assert report.metrics["accuracy_10_fold"].value >= 0.95  # 98.95 % on the official list, with mirrored photos
    assert report.warnings == ()
