from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from attacks.shared.centres import regrow, regrow_weighted, unit
from attacks.shared.fitted_centres import fit_centres, margin_losses, places, regrow_fitted
from benchmark.models.heads import ArcFace

SCALE = 16.0


@pytest.fixture
def crowd():
    """Embeddings of 12 people with 4 photos each, and whose they are, in no order."""
    rng = np.random.default_rng(0)
    person = rng.permutation(np.repeat(np.arange(12), 4))
    centres = unit(rng.normal(size=(12, 16)))
    return unit(centres[person] + 0.25 * rng.normal(size=(48, 16))), person


def test_the_loss_is_that_of_the_training_head():
    head = ArcFace(8, 5, SCALE, 0.5, torch.Generator().manual_seed(0))
    embeddings = torch.randn(40, 8, generator=torch.Generator().manual_seed(1))
    classes = torch.arange(40) % 5
    embeddings[0] = -head.weight[0]  # beyond the angle where the margin is cut
    cosines = F.normalize(embeddings) @ F.normalize(head.weight).T
    expected = F.cross_entropy(head(embeddings, classes), classes, reduction="none")
    torch.testing.assert_close(margin_losses(cosines, classes, SCALE), expected, atol=1e-4, rtol=1e-4)


def test_fitting_lowers_the_loss_below_that_of_the_means(crowd):
    embeddings, person = crowd
    means = np.stack([unit(embeddings[person == p].sum(0)) for p in range(12)])
    fitted = fit_centres(embeddings, person, np.ones(48), SCALE)

    def loss(centres):
        return margin_losses(torch.from_numpy(embeddings @ centres.T), torch.from_numpy(person), SCALE).mean().item()

    assert loss(fitted) < 0.9 * loss(means)
    np.testing.assert_allclose(np.linalg.norm(fitted, axis=1), 1)


def test_photos_without_weight_have_no_say(crowd):
    embeddings, person = crowd
    weights = np.where(places(person, np.arange(48)) == 0, 0.0, 1.0)
    moved = np.where(weights[:, None] == 0, np.roll(embeddings, 1, axis=1), embeddings)
    np.testing.assert_allclose(
        fit_centres(embeddings, person, weights, SCALE), fit_centres(moved, person, weights, SCALE), atol=1e-6
    )


def test_no_photo_has_a_say_in_its_own_centre(crowd, monkeypatch):
    embeddings, person = crowd
    monkeypatch.setattr("attacks.shared.fitted_centres.weigh", lambda *_: np.ones(48))
    before = regrow_fitted(embeddings, person, SCALE)
    place = places(person, regrow_weighted(embeddings, person, SCALE).log_odds)
    photo = int(np.flatnonzero(place == 2)[0])
    kept = place != 2
    centre = fit_centres(embeddings[kept], person[kept], np.ones(kept.sum()), SCALE)[person[photo]]
    assert before.own[photo] == pytest.approx(SCALE * embeddings[photo] @ centre)


def test_it_tells_own_photos_from_those_of_others(crowd):
    embeddings, person = crowd
    wrong = np.roll(person, 1)
    assert np.median(regrow_fitted(embeddings, person, SCALE).log_odds) > 2
    assert np.corrcoef(regrow_fitted(embeddings, person, SCALE).own, regrow(embeddings, person, SCALE).own)[0, 1] > 0.8
    assert np.median(regrow_fitted(embeddings, wrong, SCALE).log_odds) < 2


def test_places_count_each_persons_photos():
    assert places(np.array([2, 0, 2, 2, 1, 0]), np.array([0.1, 5, 0.3, 0.2, 9, 4])).tolist() == [0, 1, 2, 1, 0, 0]
