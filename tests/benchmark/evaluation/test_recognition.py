from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from benchmark.evaluation.recognition import recognise, utility_metrics, verify_photos
from benchmark.interfaces import Access, FaceVeilError
from benchmark.metrics.verification import verification
from benchmark.signals.target import Target


@pytest.fixture(scope="module")
def faces(flow, tmp_path_factory):
    """The flow track's verification people as a folder of PNG, and one damaged file."""
    root = tmp_path_factory.mktemp("faces")
    photos = flow.populations.verification
    images = photos.load(np.arange(len(photos))).permute(0, 2, 3, 1).numpy()
    for number, (image, person) in enumerate(zip(images, photos.identity, strict=True)):
        (root / f"p{person:03d}").mkdir(exist_ok=True)
        Image.fromarray(image).save(root / f"p{person:03d}" / f"{number:04d}.png")
    (root / f"p{person:03d}" / "broken.png").write_bytes(b"\x89PNG broken")
    return root


def naive_auc(embeddings: np.ndarray, people: np.ndarray) -> float:
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    scores, same = [], []
    for i in range(len(people)):
        for j in range(i):
            scores.append(float(unit[i] @ unit[j]))
            same.append(people[i] == people[j])
    return roc_auc_score(same, scores)


def test_a_folder_of_faces_is_measured_over_all_pairs(flow, faces, fresh_home):
    told: list[str] = []
    report = recognise(flow.submission.path, faces, seed=0, device="cpu", step=told.append)
    photos = flow.populations.verification
    assert (report.people, report.photos) == (40, 160)
    assert [name.endswith("broken.png") for name, _ in report.skipped] == [True]
    embeddings = Target(flow.submission, Access.EMBEDDING).embed(photos.load(np.arange(len(photos)))).numpy()
    assert report.metrics["auc"].value == pytest.approx(naive_auc(embeddings, np.asarray(photos.identity)), abs=1e-4)
    assert told == ["reading photos", "embedding 160 photos"]


def test_the_same_figures_from_the_cache(flow, faces, fresh_home):
    first, again = (recognise(flow.submission, faces, seed=0, device="cpu", step=lambda _t: None) for _ in range(2))
    assert first == again
    assert list((fresh_home / "cache" / "signals").glob("*.npy"))


def test_a_trained_backbone_recognises_better_than_an_untrained_one(tiny, tmp_path):
    from benchmark.training.build import make_untrained

    untrained = make_untrained(tiny.track, tmp_path / "untrained")
    areas = []
    for submission in (tiny.submission, untrained):
        target = Target(submission, Access.EMBEDDING)
        areas.append(verify_photos(target, tiny.populations.verification, seed=0, cache=tmp_path).auc)
    assert areas[0].low > areas[1].high


def test_every_figure_has_a_name_a_direction_and_a_note_where_it_cannot_be():
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(10), 3)
    embeddings = rng.standard_normal((10, 8))[people] + 0.5 * rng.standard_normal((30, 8))
    metrics = utility_metrics(verification(embeddings, people, seed=0))
    assert {"tar@far=1e-3", "auc", "eer", "d_prime", "accuracy_10_fold", "rank1"} <= set(metrics)
    assert metrics["tar@far=1e-3"].value is None
    assert metrics["tar@far=1e-3"].note == "not measurable: 405 different-person pairs, 10000 needed"
    assert metrics["auc"].higher_is_better
    assert metrics["eer"].higher_is_better is False
    assert all(m.low <= m.value <= m.high for m in metrics.values() if m.value is not None)


def test_missing_photos_are_an_error(flow, tmp_path, fresh_home):
    with pytest.raises(FaceVeilError, match="no such file or folder"):
        recognise(flow.submission, tmp_path / "nowhere", seed=0, device="cpu", step=lambda _t: None)
