"""Weights to start from: a submission as a folder or zip, or a public checkpoint."""

from __future__ import annotations

import pytest

from benchmark.interfaces import FaceVeilError
from benchmark.runtime.home import cache_dir
from benchmark.submissions.checkpoint_import import import_submission, open_weights
from benchmark.submissions.submission import load_submission, pack_zip


def test_submissions_are_read_as_they_are(flow, tmp_path, fresh_home):
    folder = flow.submission.path
    zipped = pack_zip(folder, tmp_path / "entry.zip")
    assert open_weights(folder).submission_id == flow.submission.submission_id
    assert open_weights(zipped).submission_id == flow.submission.submission_id
    assert not (cache_dir() / "imported").exists()


def test_missing_weights_are_said(tmp_path, fresh_home):
    with pytest.raises(FaceVeilError, match=r"no weights at .*nowhere\.ckpt: give a submission folder"):
        open_weights(tmp_path / "nowhere.ckpt")


def test_what_is_no_checkpoint_leaves_nothing_behind(tmp_path, fresh_home):
    (tmp_path / "bad.ckpt").write_bytes(b"not a checkpoint")
    with pytest.raises(FaceVeilError):
        open_weights(tmp_path / "bad.ckpt")
    with pytest.raises(FaceVeilError):
        import_submission(tmp_path / "bad.ckpt", tmp_path / "out", name="bad", track="faces-112")
    assert not (tmp_path / "out").exists()
    assert not list(cache_dir().rglob("card.json"))


@pytest.mark.realdata
def test_a_public_checkpoint_is_imported_once(testdata, fresh_home):
    file = testdata / "mobilefacenet_casia.ckpt"
    if not file.is_file():
        pytest.skip("no mobilefacenet_casia.ckpt among the test data")
    first = open_weights(file)
    (card,) = cache_dir().glob("imported/*/card.json")
    written = card.stat().st_mtime_ns
    assert open_weights(file).submission_id == first.submission_id
    assert card.stat().st_mtime_ns == written
    assert load_submission(card.parent).submission_id == first.submission_id
    assert first.card.name == "mobilefacenet_casia"
    assert first.card.backbone.name == "mobilefacenet"
    assert [d.name for d in first.card.additional_data] == ["mobilefacenet_casia.ckpt"]
    assert first.card.training["file_sha256"]
